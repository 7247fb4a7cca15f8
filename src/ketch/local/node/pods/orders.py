"""What a pod's state machine may ask for. Orders are data; the worker executes them and feeds back events."""

from dataclasses import dataclass
from datetime import datetime

from ketch.kube.types.core import PodStatus
from ketch.local.node.pods.events import Hook, ProbeKind


@dataclass(frozen=True, slots=True)
class PrepareVolumes:
    """Put all volumes in place. Answered by VolumesReady or VolumesFailed."""


@dataclass(frozen=True, slots=True)
class AttachNetwork:
    """Give the pod its network. Answered by NetworkAttached or NetworkFailed."""


@dataclass(frozen=True, slots=True)
class ResolveImage:
    """Find, build or pull what the name means. Answered by ImageReady or ImageFailed, maybe by ImagePulling before."""

    image: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Start one run of a container. Answered by ContainerStarted (and later ContainerExited) or StartFailed."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Signal:
    """Ask the container's process to end."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Kill:
    """End all processes of the container."""

    container: str
    attempt: int


@dataclass(frozen=True, slots=True)
class RunProbe:
    """Probe now. Answered by ProbeDone."""

    container: str
    attempt: int
    kind: ProbeKind


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run a lifecycle hook. Answered by HookDone."""

    container: str
    attempt: int
    hook: Hook


@dataclass(frozen=True, slots=True)
class ReportStatus:
    """The pod's status is now this."""

    status: PodStatus


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell people: an Event about the pod. ``type`` is Normal or Warning."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Release:
    """Stop preparing anything, then give back network and volumes. Answered by Released."""


@dataclass(frozen=True, slots=True)
class RemovePod:
    """The pod has ended for good: delete it from the API server."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Nothing is left to do: remove the pod's directory; no event follows."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Send TimerDue at this moment; replaces the moment asked for before."""

    at: datetime


Order = (
    PrepareVolumes
    | AttachNetwork
    | ResolveImage
    | StartContainer
    | Signal
    | Kill
    | RunProbe
    | RunHook
    | ReportStatus
    | Announce
    | Release
    | RemovePod
    | Forget
    | Wake
)
