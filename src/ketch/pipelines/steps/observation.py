"""From a pod's status to what it means for its task, in words that help. Pure."""

import re
from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Final

import msgspec

from ketch.kube.types.containers import ContainerStateTerminated, ContainerStateWaiting, ContainerStatus
from ketch.kube.types.pods import Pod

_HOPELESS: Final = frozenset({"InvalidImageName", "ErrImageNeverPull"})
"""Reasons for waiting that no time heals."""

_TROUBLE: Final = frozenset(
    {
        "ImagePullBackOff",
        "ErrImagePull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "StartError",
    }
)
"""Reasons for waiting that may heal, or not."""

_BEFORE_THE_START: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons for waiting that every pod has for a while; with a message (a volume cannot be had) they may not heal."""

_TRACEBACK: Final = "Traceback (most recent call last):"
_BANNER: Final = re.compile(r"^\[KFP Executor [^]\n]*INFO]: (?:Got executor_input:\n\{.*?^\}$|[^\n]*)\n?", re.M | re.S)
"""What the SDK's executor says of itself before and after a step."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
"""A terminal's, as notebooks and some loggers write them whoever reads."""

_LONGEST: Final = 1500
_LAST_LINES: Final = 12


class Phase(Enum):
    """Where a step is."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Observation(msgspec.Struct, frozen=True):
    """What a pod says. ``message`` tells why it waits or failed; ``trouble`` that the wait may never end, ``hopeless``
    that it will not."""

    phase: Phase
    message: str = ""
    trouble: bool = False
    hopeless: bool = False


def observe(pod: Pod) -> Observation:
    """What the pod's status means for its task."""
    status = pod.status
    if status.phase == "Succeeded":
        return Observation(Phase.SUCCEEDED)
    if status.phase == "Failed":
        return Observation(Phase.FAILED, _failure(pod) + _beforehand(pod))
    containers = (*status.init_container_statuses, *status.container_statuses)
    for container in containers:
        waiting = container.state.waiting
        if waiting and (waiting.reason in _HOPELESS | _TROUBLE or _stuck(waiting)):
            message = f"{waiting.reason}: {waiting.message}" if waiting.message else waiting.reason
            return Observation(Phase.WAITING, message, trouble=True, hopeless=waiting.reason in _HOPELESS)
    if any(container.state.running for container in status.container_statuses):
        return Observation(Phase.RUNNING)
    for condition in status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return Observation(Phase.WAITING, f"{condition.reason or 'Unschedulable'}: {condition.message}")
    return Observation(Phase.WAITING)


def _stuck(waiting: ContainerStateWaiting) -> bool:
    return bool(waiting.message) and waiting.reason in _BEFORE_THE_START


def useful_end(output: str) -> str:
    """The part of a step's last words that explains its failure: last frame and exception, or the last lines."""
    text = _BANNER.sub("", _COLOURS.sub("", output)).strip()
    if _TRACEBACK in text:
        lines = text[text.rindex(_TRACEBACK) :].splitlines()
        frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
        text = "\n".join(lines[frames[-1] :]) if frames else "\n".join(lines)
    else:
        text = "\n".join(text.splitlines()[-_LAST_LINES:])
    return text if len(text) <= _LONGEST else f"...{text[-_LONGEST:]}"


def _failure(pod: Pod) -> str:
    status = pod.status
    ended = _ended_badly((*status.container_statuses, *status.init_container_statuses))
    if status.reason == "DeadlineExceeded":
        return f"DeadlineExceeded: {status.message or 'the step ran longer than it may'}"
    if ended is None:
        words = [word for word in (status.reason, status.message) if word]
        return ": ".join(words) or "the pod failed and says no reason"
    if ended.reason == "OOMKilled":
        return f"OOMKilled: the step used more memory than its limit{_memory_limit(pod)}"
    if ended.reason == "NodeShutdown":
        return "NodeShutdown: the platform was stopped while the step ran; retry the run and it goes on from here"
    said = useful_end(ended.message)
    signal = f" (signal {ended.signal})" if ended.signal else ""
    reason = f"{ended.reason}: " if ended.reason not in ("", "Error") else ""
    head = f"{reason}exit code {ended.exit_code}{signal}"
    if status.reason:
        head = f"{status.reason}: {head}"
    return f"{head}: {said}" if said else head


def _beforehand(pod: Pod) -> str:
    """What containers that prepared the step, and ended well, had to say: an input that is not there, say."""
    ends = (container.state.terminated for container in pod.status.init_container_statuses)
    said = [end.message.strip() for end in ends if end is not None and end.exit_code == 0 and end.message.strip()]
    return f" (before it began: {'; '.join(said)})" if said else ""


def ended_at(pod: Pod) -> datetime | None:
    """When its last container ended."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    moments = (each.state.terminated.finished_at for each in statuses if each.state.terminated)
    return max((moment for moment in moments if moment is not None), default=None)


def _ended_badly(containers: Sequence[ContainerStatus]) -> ContainerStateTerminated | None:
    ends = (container.state.terminated for container in containers)
    return next((end for end in ends if end is not None and end.exit_code != 0), None)


def _memory_limit(pod: Pod) -> str:
    limits = (container.resources.limits.get("memory") for container in pod.spec.containers)
    limit = next((limit for limit in limits if limit), None)
    return f" of {limit}" if limit else ""
