"""How a pod ends, and the steps by which one container is ended: preStop, SIGTERM, SIGKILL. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from ketch.kube.types.core import Pod
from ketch.local.node.pods import orders
from ketch.local.node.pods.containers import Stage, StopPhase, Stopping, TrackedContainer
from ketch.local.node.pods.events import Hook
from ketch.local.node.pods.orders import Order

DEFAULT_GRACE = 30
GONE_GRACE = timedelta(seconds=1)
"""What a pod gets that was deleted by force."""

AFTER_HOOK = timedelta(seconds=2)
"""What a process gets between SIGTERM and SIGKILL when its preStop hook used up the grace period."""

KILL_AGAIN = timedelta(seconds=5)

EVICTED = "Evicted"
"""The reason of a pod that the node could not keep."""


class EndReason(NamedTuple):
    """Why a pod ends; ``reason`` is empty unless the node itself makes it fail. ``at_once`` leaves it no time."""

    reason: str = ""
    message: str = ""
    by_deletion: bool = False
    at_once: bool = False

    @classmethod
    def deletion(cls) -> "EndReason":
        """Somebody deleted the pod."""
        return cls(by_deletion=True)

    @classmethod
    def finished(cls) -> "EndReason":
        """Its work is done, or can never be done."""
        return cls()


@dataclass(frozen=True, slots=True)
class Ending:
    """A pod's end has begun: no container is started any more, and after ``deadline`` they are killed."""

    reason: EndReason
    deadline: datetime
    deletion: bool = False
    gone: bool = False

    @property
    def failure(self) -> bool:
        """Whether the node makes the pod fail, whatever its containers did."""
        return bool(self.reason.reason)


def begin_ending(pod: Pod, reason: EndReason, now: datetime, *, gone: bool = False) -> Ending:
    """The end of ``pod``, beginning now. A deletion seen late still ends at the moment the API promised."""
    grace = pod.spec.termination_grace_period_seconds
    seconds = DEFAULT_GRACE if grace is None else grace
    if not reason.by_deletion:
        return Ending(reason, now if reason.at_once else now + timedelta(seconds=seconds))
    if gone:
        return Ending(reason, now + GONE_GRACE, deletion=True, gone=True)
    asked = pod.metadata.deletion_grace_period_seconds
    deadline = now + timedelta(seconds=seconds if asked is None else asked)
    if pod.metadata.deletion_timestamp is not None:
        # The API's time is cut to whole seconds; the fraction it lost belongs to the pod.
        deadline = min(deadline, pod.metadata.deletion_timestamp + timedelta(seconds=1))
    return Ending(reason, max(now, deadline), deletion=True)


def stop_step(
    each: TrackedContainer, deadline: datetime, now: datetime, *, with_hook: bool = True, hook_done: bool = False
) -> Iterator[Order]:
    """The next step, if it is due, towards the end of a running container until ``deadline``."""
    if each.stage is not Stage.RUNNING:
        return
    if each.stopping is None:
        lifecycle = each.spec.lifecycle
        each.stopping = Stopping(StopPhase.HOOK, deadline)
        if with_hook and deadline > now and lifecycle is not None and lifecycle.pre_stop is not None:
            yield orders.RunHook(each.name, each.attempt, Hook.PRE_STOP)
            return
        hook_done = True
    stopping = each.stopping
    if not stopping.final:
        stopping.deadline = min(stopping.deadline, max(deadline, now))
    if stopping.phase is StopPhase.HOOK:
        overdue = now >= stopping.deadline
        if hook_done and not overdue:
            stopping.phase = StopPhase.SIGNALLED
            yield orders.Signal(each.name, each.attempt)
            return
        if overdue and not hook_done:
            each.stopping = Stopping(StopPhase.SIGNALLED, now + AFTER_HOOK, final=True)
            yield orders.Signal(each.name, each.attempt)
            return
        if not hook_done:
            return
    if now >= stopping.deadline:
        each.stopping = Stopping(StopPhase.KILLED, now + KILL_AGAIN, final=True)
        yield orders.Kill(each.name, each.attempt)


def stop_due(each: TrackedContainer) -> datetime | None:
    """When the next step towards its end is due; None while nobody ends it."""
    return each.stopping.deadline if each.stopping is not None and each.stage is Stage.RUNNING else None
