"""Training jobs of both generations, as the API has them: which they are, how they stand, what their pods are. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ketch.cli.runs.steps import moment, part
from ketch.kube.meta import KubeObject
from ketch.training.jobs.desired import INDEX_LABEL, JOB_LABEL, TYPE_LABEL
from ketch.training.jobs.kinds import KINDS
from ketch.training.jobsets.desired import NAME_LABEL, REPLICATED_JOB_LABEL
from ketch.training.reporters import COMPLETION_INDEX
from ketch.training.trainjobs.policies import NODE
from ketch.training.trainjobs.types import TrainJob

PENDING, RUNNING, SUSPENDED = "Pending", "Running", "Suspended"
SUCCEEDED, FAILED, RESTARTING = "Succeeded", "Failed", "Restarting"

_ENDS: Final[Mapping[str, str]] = {"Complete": SUCCEEDED, "Succeeded": SUCCEEDED, "Failed": FAILED}
_TURN: Final = re.compile(r"(\d+)$")


@dataclass(frozen=True)
class Kind:
    """A kind of job: where it is found, and which container of its pods trains."""

    of: type[KubeObject]
    selector: str
    container: str

    @property
    def name(self) -> str:
        """``TrainJob``, ``PyTorchJob``, ..."""
        return self.of.resource.kind

    def collection(self, namespace: str) -> str:
        """The path of a namespace's jobs, or of all there are."""
        return self.of.resource.path(namespace)

    def pods(self, job: str) -> str:
        """What selects a job's pods."""
        return f"{self.selector}={job}"


TRAINJOB: Final = Kind(TrainJob, NAME_LABEL, NODE)
ALL_KINDS: Final[Sequence[Kind]] = (
    TRAINJOB,
    *(Kind(each.kind, JOB_LABEL, each.container) for each in KINDS),
)


@dataclass(frozen=True)
class Job:
    """A job."""

    kind: Kind
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.body["metadata"]["namespace"])

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{self.kind.collection(self.namespace)}/{self.name}"

    @property
    def status(self) -> Mapping[str, Any]:
        """What is reported of it."""
        return part(self.body, "status")

    @property
    def created(self) -> datetime | None:
        """When."""
        return moment(self.body["metadata"].get("creationTimestamp"))

    @property
    def end(self) -> Mapping[str, Any] | None:
        """The condition that says that it is over."""
        return next((each for each in self._conditions() if each["type"] in _ENDS), None)

    @property
    def state(self) -> str:
        """In one word."""
        if (end := self.end) is not None:
            return _ENDS[end["type"]]
        holding = [each["type"] for each in self._conditions()]
        for state in (SUSPENDED, RESTARTING, RUNNING):
            if state in holding:
                return state
        return RUNNING if any(each.get("active") for each in self.status.get("jobsStatus", ())) else PENDING

    @property
    def ended(self) -> datetime | None:
        """When it was over."""
        end = self.end
        return moment(self.status.get("completionTime") or (end or {}).get("lastTransitionTime")) if end else None

    @property
    def message(self) -> str:
        """What its end says."""
        return str((self.end or {}).get("message", ""))

    @property
    def is_suspended(self) -> bool:
        """Whether it waits to be resumed."""
        spec = part(self.body, "spec")
        return bool(spec.get("suspend") or part(spec, "runPolicy").get("suspend"))

    def suspension(self, wanted: bool) -> Mapping[str, Any]:
        """The merge patch that suspends or resumes it."""
        spec = {"suspend": wanted}
        return {"spec": spec if self.kind is TRAINJOB else {"runPolicy": spec}}

    def progress(self) -> str:
        """How far it is, by its own word: ``40 %``."""
        told = part(self.status, "trainerStatus").get("progressPercentage")
        return "" if told is None else f"{told} %"

    def _conditions(self) -> Iterable[Mapping[str, Any]]:
        return [each for each in self.status.get("conditions") or () if each.get("status") == "True"]


@dataclass(frozen=True)
class Member:
    """A pod of a job: ``node-0``, ``worker-1``."""

    name: str
    uid: str
    pod: str
    phase: str
    container: str
    restarts: int
    has_begun: bool
    exit_code: int | None
    """Of the container that trains, when it has ended; of one that was started again, None."""

    ended: datetime | None
    waits_for: str

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.phase in (SUCCEEDED, FAILED)

    @property
    def turn(self) -> tuple[str, int]:
        """Orders members as their numbers are."""
        found = _TURN.search(self.name)
        return self.name[: found.start()] if found else self.name, int(found.group()) if found else 0


def members_of(kind: Kind, pods: Iterable[Mapping[str, Any]]) -> Sequence[Member]:
    """The job's pods in order."""
    return sorted((_member(kind, pod) for pod in pods), key=lambda each: each.turn)


def _member(kind: Kind, pod: Mapping[str, Any]) -> Member:
    metadata, status = pod["metadata"], part(pod, "status")
    container = _container(kind, pod)
    nothing: Mapping[str, Any] = {}
    containers: Sequence[Mapping[str, Any]] = status.get("containerStatuses") or ()
    told = next((each for each in containers if each["name"] == container), nothing)
    state = part(told, "state")
    ended = part(state, "terminated")
    return Member(
        name=_member_name(metadata.get("labels", {}), metadata["name"]),
        uid=metadata["uid"],
        pod=metadata["name"],
        phase=str(status.get("phase", PENDING)),
        container=container,
        restarts=int(told.get("restartCount", 0)),
        has_begun=state.get("running") is not None or bool(ended),
        exit_code=ended.get("exitCode"),
        ended=moment(ended.get("finishedAt")),
        waits_for=_waits_for(status),
    )


def _container(kind: Kind, pod: Mapping[str, Any]) -> str:
    """The container that trains; else, as of an initializer's pod, the first."""
    names = [each["name"] for each in pod["spec"]["containers"]]
    return kind.container if kind.container in names else names[0]


def _member_name(labels: Mapping[str, str], pod: str) -> str:
    if REPLICATED_JOB_LABEL in labels:
        step, index = labels[REPLICATED_JOB_LABEL], labels.get(COMPLETION_INDEX, "0")
        return step if step.endswith("-initializer") else f"{step}-{index}"
    if TYPE_LABEL in labels:
        index = labels.get(INDEX_LABEL)
        return f"{labels[TYPE_LABEL]}-{index}" if index is not None else labels[TYPE_LABEL]
    return pod


def _waits_for(status: Mapping[str, Any]) -> str:
    """Why it does not run yet."""
    for each in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = part(part(each, "state"), "waiting")
        if waiting.get("message"):
            return f"{waiting.get('reason', '')}: {waiting['message']}"
    for condition in status.get("conditions") or ():
        if condition.get("status") == "False" and condition.get("type") == "PodScheduled" and condition.get("message"):
            return str(condition["message"])
    return ""
