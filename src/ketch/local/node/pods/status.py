"""A pod's status from the facts of its state machine, in the kubelet's words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from ketch.kube.conditions import find, set_conditions
from ketch.kube.types.containers import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
)
from ketch.kube.types.core import Pod, PodStatus
from ketch.kube.types.pods import PodCondition, PodIP
from ketch.local.node.pods.containers import LONGEST_BACKOFF, Role, Stage, Termination, TrackedContainer
from ketch.local.node.pods.ending import EVICTED, Ending
from ketch.local.node.pods.images import BACKOFF_REASON, PULL_REASON
from ketch.local.node.pods.needs import Need

DISRUPTED = "DisruptionTarget"
"""The condition of a pod that goes through no fault of its own work: a Job's failure policy may ignore it."""
PENDING, RUNNING, SUCCEEDED, FAILED = "Pending", "Running", "Succeeded", "Failed"
TERMINAL_PHASES = (SUCCEEDED, FAILED)
IMAGE_REASON_SHOWN = timedelta(seconds=2)
"""How long ErrImagePull is told before ImagePullBackOff."""

BEFORE = (Role.INIT, Role.SIDECAR)
"""Containers that begin before the main ones."""

SERVING = (Role.SIDECAR, Role.MAIN)
"""Containers that must be ready for the pod to be."""

SANDBOX_READY, INITIALIZED, READY, CONTAINERS_READY = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
)


class Facts(Protocol):
    """What a status is made from; PodMachine has it."""

    pod: Pod
    host_ip: str
    pod_ip: str
    start_time: datetime
    containers: list[TrackedContainer]
    images: dict[str, Need]
    volumes: Need
    ending: Ending | None
    released: Need
    reported: PodStatus

    @property
    def deleted(self) -> bool:
        """Whether somebody asked for the pod's end."""
        ...

    def eligible(self) -> list[TrackedContainer]:
        """The containers whose turn has come."""
        ...


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Why a condition holds or not."""

    holds: bool
    reason: str = ""
    message: str = ""


def pod_status(facts: Facts, now: datetime) -> PodStatus:
    """What the API server should say of the pod."""
    ended = phase(facts)
    failure = facts.ending.reason if facts.ending is not None and facts.ending.failure and ended == FAILED else None
    generation = facts.pod.metadata.generation
    old = facts.reported
    eligible = {each.name for each in facts.eligible()}
    statuses = {each.name: container_status(facts, each, each.name in eligible, now) for each in facts.containers}
    return PodStatus(
        observed_generation=generation,
        phase=ended,
        conditions=set_conditions(old.conditions, *_conditions(facts, ended), generation=generation, now=now),
        reason=failure.reason if failure else "",
        message=failure.message if failure else "",
        nominated_node_name=old.nominated_node_name,
        host_ip=facts.host_ip,
        host_ips=(PodIP(ip=facts.host_ip),),
        pod_ip=facts.pod_ip,
        pod_ips=(PodIP(ip=facts.pod_ip),) if facts.pod_ip else (),
        start_time=facts.start_time.replace(microsecond=0),
        init_container_statuses=tuple(statuses[each.name] for each in facts.containers if each.role in BEFORE),
        container_statuses=tuple(statuses[each.name] for each in facts.containers if each.role is Role.MAIN),
        ephemeral_container_statuses=tuple(
            statuses[each.name] for each in facts.containers if each.role is Role.EPHEMERAL
        ),
        qos_class=old.qos_class,
        unknown_fields=old.unknown_fields,
    )


def phase(facts: Facts) -> str:
    """The pod's phase. It is terminal only once no container is left running."""
    policy = facts.pod.spec.restart_policy
    mains = [each for each in facts.containers if each.role is Role.MAIN]
    inits = [each for each in facts.containers if each.role in BEFORE]
    alive = any(each.alive for each in facts.containers)
    if facts.ending is not None and not alive:
        worked = all(each.succeeded for each in mains) and not facts.ending.failure
        return SUCCEEDED if worked else FAILED
    if any(_never_ran(each) for each in mains):
        return PENDING
    if any(each.role is Role.INIT and not each.succeeded for each in inits):
        return PENDING
    if alive or any(each.restarts(policy) for each in mains):
        return RUNNING
    return SUCCEEDED if all(each.succeeded for each in mains) else FAILED


def _never_ran(each: TrackedContainer) -> bool:
    return each.stage in (Stage.WAITING, Stage.STARTING) and each.termination is None


# --- conditions ---


def _conditions(facts: Facts, ended: str) -> list[PodCondition]:
    verdicts = {
        # Of a pod that has ended nothing will start again: so it is told with its end, not by a write of its own.
        SANDBOX_READY: _Verdict(bool(facts.pod_ip) and not facts.released.met and ended not in TERMINAL_PHASES),
        INITIALIZED: _initialized(facts, ended),
        READY: _ready(facts, ended),
        CONTAINERS_READY: _containers_ready(facts, ended),
    }
    if facts.ending is not None and facts.ending.reason.reason == EVICTED:
        verdicts[DISRUPTED] = _Verdict(True, "TerminationByKubelet", facts.ending.reason.message)
    return [
        PodCondition(
            type=name,
            status="True" if verdict.holds else "False",
            reason=verdict.reason,
            message=verdict.message,
        )
        for name, verdict in verdicts.items()
    ]


def _initialized(facts: Facts, ended: str) -> _Verdict:
    inits = [each for each in facts.containers if each.role in BEFORE]
    if ended == SUCCEEDED:
        return _Verdict(True, "PodCompleted" if inits else "")
    begun = any(each.role is Role.MAIN and not _never_ran(each) for each in facts.containers)
    # Once the main containers have begun, a sidecar that is down makes the pod unready, not uninitialized.
    late = begun or ended == FAILED
    incomplete = [each.name for each in inits if not each.passed and not (late and each.role is Role.SIDECAR)]
    if incomplete:
        return _Verdict(False, "ContainersNotInitialized", f"containers with incomplete status: {_names(incomplete)}")
    return _Verdict(True)


def _containers_ready(facts: Facts, ended: str) -> _Verdict:
    if ended == SUCCEEDED:
        return _Verdict(False, "PodCompleted")
    if ended == FAILED:
        return _Verdict(False, "PodFailed")
    unready = [each.name for each in facts.containers if each.role in SERVING and not each.ready]
    if unready:
        return _Verdict(False, "ContainersNotReady", f"containers with unready status: {_names(unready)}")
    return _Verdict(True)


def _ready(facts: Facts, ended: str) -> _Verdict:
    verdict = _containers_ready(facts, ended)
    if not verdict.holds:
        return verdict
    for gate in facts.pod.spec.readiness_gates:
        condition = find(facts.pod.status.conditions, gate.condition_type)
        if condition is None or condition.status != "True":
            what = "does not exist" if condition is None else f'is "{condition.status}", instead of "True"'
            text = f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {what}'
            if condition is None:
                text = f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.'
            return _Verdict(False, "ReadinessGatesNotReady", text)
    return verdict


def _names(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"


# --- containers ---


def container_status(facts: Facts, each: TrackedContainer, has_turn: bool, now: datetime) -> ContainerStatus:
    """One container's line of the status."""
    state, last = _states(facts, each, has_turn, now)
    return ContainerStatus(
        name=each.name,
        state=state,
        last_state=last,
        ready=each.ready and each.role is not Role.EPHEMERAL,
        restart_count=max(0, each.attempt - (1 if each.stage is Stage.STARTING and each.attempt > 0 else 0)),
        image=each.image or each.spec.image,
        image_id=each.image_id if each.container_id else "",
        container_id=each.container_id,
        started=each.started,
    )


def _states(
    facts: Facts, each: TrackedContainer, has_turn: bool, now: datetime
) -> tuple[ContainerState, ContainerState]:
    previous = _terminated(each.previous)
    if each.stage is Stage.RUNNING:
        return ContainerState(running=ContainerStateRunning(started_at=_whole(each.started_at))), previous
    latest = _terminated(each.termination)
    if each.termination is not None:
        waiting = _pause(facts, each, now)
        if waiting is None:
            return latest, previous
        return ContainerState(waiting=waiting), latest
    return ContainerState(waiting=_first_wait(facts, each, has_turn, now)), previous


def _pause(facts: Facts, each: TrackedContainer, now: datetime) -> ContainerStateWaiting | None:
    """Why the next run of a container that ended does not begin yet; None when none is to come, or it comes now."""
    if facts.ending is not None or not each.restarts(facts.pod.spec.restart_policy) or each.stage is Stage.STARTING:
        return None
    if each.restart_at is not None and now < each.restart_at:
        meta = facts.pod.metadata
        seconds = _duration((each.backoff / 2) if each.backoff < LONGEST_BACKOFF else LONGEST_BACKOFF)
        where = f"{meta.name}_{meta.namespace}({meta.uid})"
        text = f"back-off {seconds} restarting failed container={each.name} pod={where}"
        return ContainerStateWaiting(reason="CrashLoopBackOff", message=text)
    return _trouble(facts, each, now)


def _first_wait(facts: Facts, each: TrackedContainer, has_turn: bool, now: datetime) -> ContainerStateWaiting:
    """Why a container has not run yet."""
    if has_turn and (trouble := _trouble(facts, each, now)) is not None:
        return trouble
    has_inits = bool(facts.pod.spec.init_containers) and each.role is not Role.EPHEMERAL
    reason = "PodInitializing" if has_inits else "ContainerCreating"
    return ContainerStateWaiting(reason=reason, message=facts.volumes.message)


def _trouble(facts: Facts, each: TrackedContainer, now: datetime) -> ContainerStateWaiting | None:
    """What keeps a container from starting although its turn has come."""
    image = facts.images.get(each.spec.image)
    if image is not None and image.reason:
        fresh = image.failed_at is not None and now < image.failed_at + IMAGE_REASON_SHOWN
        if fresh or image.reason != PULL_REASON:
            return ContainerStateWaiting(reason=image.reason, message=image.message)
        text = f'Back-off pulling image "{each.spec.image}": {PULL_REASON}: {image.message}'
        return ContainerStateWaiting(reason=BACKOFF_REASON, message=text)
    if each.start.reason:
        return ContainerStateWaiting(reason=each.start.reason, message=each.start.message)
    return None


def _terminated(termination: Termination | None) -> ContainerState:
    if termination is None:
        return ContainerState()
    return ContainerState(
        terminated=ContainerStateTerminated(
            exit_code=termination.exit_code,
            reason=termination.reason,
            message=termination.message,
            started_at=_whole(termination.started_at),
            finished_at=_whole(termination.finished_at),
            container_id=termination.container_id,
        )
    )


def _whole(moment: datetime | None) -> datetime | None:
    """As the API keeps times: whole seconds."""
    return moment.replace(microsecond=0) if moment is not None else None


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
