"""What may happen to a pod: the only way in which anything reaches its state machine."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ketch.kube.types.core import Pod


class ProbeKind(StrEnum):
    """The three probes, in the words of events about them."""

    STARTUP = "Startup"
    LIVENESS = "Liveness"
    READINESS = "Readiness"


class Hook(StrEnum):
    """The two lifecycle hooks."""

    POST_START = "postStart"
    PRE_STOP = "preStop"


@dataclass(frozen=True, slots=True)
class PodChanged:
    """The API server has a newer version of the pod."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class PodGone:
    """The API server no longer has the pod."""


@dataclass(frozen=True, slots=True)
class ReferencesChanged:
    """An object that the pod refers to (ConfigMap, Secret, claim) changed: what failed for it may succeed now."""


@dataclass(frozen=True, slots=True)
class VolumesReady:
    """All volumes are in place."""


@dataclass(frozen=True, slots=True)
class VolumesFailed:
    """A volume could not be prepared; the message names it and what is missing."""

    message: str


@dataclass(frozen=True, slots=True)
class NetworkAttached:
    """The pod has its network."""

    ip: str


@dataclass(frozen=True, slots=True)
class NetworkFailed:
    """The pod could not be given a network."""

    message: str


@dataclass(frozen=True, slots=True)
class ImagesChanged:
    """What images' names mean on this machine changed: what failed for it may succeed now."""


@dataclass(frozen=True, slots=True)
class ImagePulling:
    """A registry is about to be asked for an image."""

    image: str


@dataclass(frozen=True, slots=True)
class ImageReady:
    """An image name was resolved; ``seconds`` is how long it took (None: it was there already)."""

    image: str
    image_id: str
    seconds: float | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class ImageFailed:
    """An image cannot be had. Reasons: ErrImagePull, ErrImageNeverPull, InvalidImageName."""

    image: str
    message: str
    reason: str = "ErrImagePull"


@dataclass(frozen=True, slots=True)
class ContainerStarted:
    """The container's process runs."""

    container: str
    attempt: int
    started_at: datetime


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The container never ran. Reasons: CreateContainerConfigError, CreateContainerError."""

    container: str
    attempt: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ContainerExited:
    """The container's process ended. Reasons: Completed, Error, OOMKilled, ContainerStatusUnknown, NodeShutdown."""

    container: str
    attempt: int
    exit_code: int
    reason: str
    finished_at: datetime
    message: str = ""


@dataclass(frozen=True, slots=True)
class ProbeDone:
    """A probe answered, or did not in time."""

    container: str
    attempt: int
    kind: ProbeKind
    success: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class HookDone:
    """A lifecycle hook ended; ``error`` is empty when it did well."""

    container: str
    attempt: int
    hook: Hook
    error: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    """Network and volumes are given back."""


@dataclass(frozen=True, slots=True)
class Evicted:
    """The node cannot keep the pod: it takes more than it may."""

    message: str


@dataclass(frozen=True, slots=True)
class TimerDue:
    """A moment asked for by ``Wake`` has come."""


ContainerEvent = ContainerStarted | StartFailed | ContainerExited | ProbeDone | HookDone

Event = (
    PodChanged
    | PodGone
    | ReferencesChanged
    | VolumesReady
    | VolumesFailed
    | NetworkAttached
    | NetworkFailed
    | ImagesChanged
    | ImagePulling
    | ImageReady
    | ImageFailed
    | ContainerEvent
    | Released
    | Evicted
    | TimerDue
)
