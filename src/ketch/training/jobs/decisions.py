"""What to do about a job, and what to report, from the pods that there are. Pure: one pass, one ``Decision``.

Follows the semantics of upstream's Training Operator 1.9. One addition: how often pods were replaced is kept in the
status, so that a back-off limit holds across restarts of the controller.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from ketch.kube.meta import KubeObject, LabelSelector
from ketch.kube.types.autoscaling import HorizontalPodAutoscaler
from ketch.kube.types.batch import Job
from ketch.kube.types.core import Service
from ketch.kube.types.podgroups import PodGroup
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.training.announcements import NORMAL, WARNING, Announcement
from ketch.training.checkpoints.resizing import is_outdated
from ketch.training.jobs.conditions import (
    CREATED,
    FAILED,
    RESTARTING,
    RUNNING,
    SUCCEEDED,
    SUSPENDED,
    added,
    holds,
)
from ketch.training.jobs.desired import (
    INDEX_LABEL,
    TYPE_LABEL,
    autoscaler,
    job_labels,
    pod_group,
    pod_of,
    services,
)
from ketch.training.jobs.framework import (
    ALWAYS,
    EXIT_CODE,
    FIRST_RETRYABLE_CODE,
    ON_FAILURE,
    Ends,
    Group,
    JobKind,
    Replicas,
)
from ketch.training.jobs.types import JobCondition, JobStatus, ReplicaStatus

_KEPT, _UNFINISHED, _EVERYTHING = "None", "Running", "All"
_TERMINAL: Final = ("Succeeded", "Failed")


_OVERRIDDEN: Final = Announcement(
    WARNING,
    "SetPodTemplateRestartPolicy",
    "Restart policy in pod template overridden by restart policy in replica spec",
)


@dataclass(slots=True)
class Decision:
    """What one pass does; ``status`` is what to report afterwards."""

    kind: str
    now: datetime
    status: JobStatus
    group: PodGroup | None = None
    """What must be there, and up to date, before pods are made."""

    autoscaler: HorizontalPodAutoscaler | None = None
    """What changes the job's size while it runs; one that is there and is not wanted goes."""

    surroundings: Sequence[KubeObject] = ()
    """What pods need beside themselves, as it should be now."""

    create_pods: list[Pod] = field(default_factory=list[Pod])
    create_services: list[Service] = field(default_factory=list[Service])
    create_jobs: list[Job] = field(default_factory=list[Job])
    set_suspended: list[tuple[Job, bool]] = field(default_factory=list[tuple[Job, bool]])
    delete_pods: list[Pod] = field(default_factory=list[Pod])
    delete_services: list[Service] = field(default_factory=list[Service])
    announcements: list[Announcement] = field(default_factory=list[Announcement])
    look_again: float | None = None
    """Seconds until time alone changes something."""

    news: bool = False
    """Whether there is something to report though the status is what it was."""

    remove_job: bool = False

    def tell(self, type_: str, message: str, *, status: str = "True", reason: str = "", announce: bool = True) -> None:
        """Add a condition, and tell of it when it is new; its reason is the kind's name and the type, if not said."""
        reason = reason or f"{self.kind}{type_}"
        condition = JobCondition(type=type_, status=status, reason=reason, message=message)
        conditions = added(self.status.conditions, condition, self.now)
        if conditions == self.status.conditions:
            return
        self.status = msgspec.structs.replace(self.status, conditions=conditions)
        if announce:
            severity = WARNING if type_ in (FAILED, RESTARTING) else NORMAL
            self.announcements.append(Announcement(severity, reason, message))


def decide(
    kind: JobKind[Any], group: Group[Any], pods: Sequence[Pod], found: Sequence[Service], now: datetime
) -> Decision:
    """One pass over a job that exists and is this operator's."""
    decision = Decision(kind.name, now, group.job.status)
    if not holds(decision.status.conditions, CREATED):
        decision.tell(CREATED, f"{kind.name} {group.name} is created.", announce=False)
    if holds(decision.status.conditions, SUCCEEDED, FAILED):
        finish(decision, group, pods, found)
    elif group.policy.suspend:
        suspend(decision, group, pods, found)
    else:
        Pass(kind, group, pods, found, decision).run()
    return decision


def finish(decision: Decision, group: Group[Any], pods: Sequence[Pod], found: Sequence[Service]) -> None:
    """What is left of a job that is over."""
    policy = group.policy.clean_pod_policy or _KEPT
    if policy == _EVERYTHING:
        decision.delete_pods += [pod for pod in pods if pod.metadata.deletion_timestamp is None]
        decision.delete_services += found
    elif policy == _UNFINISHED:
        unfinished = [pod for pod in pods if pod.status.phase not in _TERMINAL]
        decision.delete_pods += [pod for pod in unfinished if pod.metadata.deletion_timestamp is None]
        names = {pod.metadata.name for pod in unfinished}
        decision.delete_services += [each for each in found if each.metadata.name in names]
    if any(each.active for each in decision.status.replica_statuses.values()) and policy != _KEPT:
        idle = {
            role: msgspec.structs.replace(each, active=0) for role, each in decision.status.replica_statuses.items()
        }
        decision.status = msgspec.structs.replace(decision.status, replica_statuses=idle)
    ttl, ended = group.policy.ttl_seconds_after_finished, decision.status.completion_time
    if ttl is not None and ended is not None:
        left = (ended + timedelta(seconds=ttl) - decision.now).total_seconds()
        decision.remove_job = left <= 0
        decision.look_again = max(left, 0.0) or None


def suspend(decision: Decision, group: Group[Any], pods: Sequence[Pod], found: Sequence[Service]) -> None:
    """Nothing of it runs; it begins anew when it is resumed."""
    decision.delete_pods += [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    decision.delete_services += found
    message = f"{decision.kind} {group.namespace}/{group.name} is suspended."
    decision.tell(SUSPENDED, message)
    none = {each.role: ReplicaStatus() for each in group.replicas}
    decision.status = msgspec.structs.replace(decision.status, start_time=None, replica_statuses=none)


class Pass:
    """One pass over a job that should run."""

    def __init__(
        self,
        kind: JobKind[Any],
        group: Group[Any],
        pods: Sequence[Pod],
        found: Sequence[Service],
        decision: Decision,
    ) -> None:
        self.kind, self.group, self.now, self.decision = kind, group, decision.now, decision
        self.services = {each.metadata.name: each for each in found}
        self.pods = {pod.metadata.name: pod for pod in pods}
        self.slots = {
            group.host(each.role, index): (each, index) for each in group.replicas for index in range(each.count)
        }
        self.restarts = Counter({role: each.restarts for role, each in self.decision.status.replica_statuses.items()})

    def run(self) -> None:
        """Decide."""
        decision, group = self.decision, self.group
        if holds(decision.status.conditions, SUSPENDED):
            message = f"{self.kind.name} {group.namespace}/{group.name} is resumed."
            decision.tell(SUSPENDED, message, status="False", reason=f"{self.kind.name}Resumed")
        start = decision.status.start_time or self.now.replace(microsecond=0)
        decision.status = msgspec.structs.replace(decision.status, start_time=start)
        ends = self._ends()
        failed = [pod for name, pod in self.pods.items() if name in self.slots and _has_failed(pod)]
        if self.kind.succeeded(group, ends):
            message = f"{self.kind.name} {group.namespace}/{group.name} successfully completed."
            self._end(SUCCEEDED, message)
        elif why := self._reason_to_give_up(failed, start):
            self._give_up(why)
        else:
            self._restart(failed)
            self._converge()
            self._report_running(ends)
            self._tell_of_latecomers()
        statuses = {role: self._counted(each, role) for role, each in ends.statuses.items()}
        decision.status = msgspec.structs.replace(decision.status, replica_statuses=statuses)

    def _counted(self, status: ReplicaStatus, role: str) -> ReplicaStatus:
        """As it is reported: once the job has succeeded, nothing of it counts as running."""
        active = status.active
        if holds(self.decision.status.conditions, SUCCEEDED):
            return msgspec.structs.replace(
                status, active=0, succeeded=status.succeeded + active, restarts=self.restarts[role]
            )
        return msgspec.structs.replace(status, restarts=self.restarts[role])

    def _ends(self) -> Ends:
        counted: dict[str, ReplicaStatus] = {}
        for each in self.group.replicas:
            phases = Counter(
                pod.status.phase
                for index in range(each.count)
                if (pod := self.pods.get(self.group.host(each.role, index))) and pod.metadata.deletion_timestamp is None
            )
            labels = {**job_labels(self.kind, self.group), TYPE_LABEL: each.role.lower()}
            counted[each.role] = ReplicaStatus(
                active=phases["Running"],
                succeeded=phases["Succeeded"],
                failed=phases["Failed"],
                selector=",".join(f"{name}={value}" for name, value in sorted(labels.items())),
                label_selector=LabelSelector(match_labels=labels),
            )
        first = self.pods.get(self.group.host(self.kind.roles[-1], 0)) or self.pods.get(self.group.host("Worker", 0))
        return Ends(counted, first is not None and first.status.phase == "Succeeded")

    def _reason_to_give_up(self, failed: Sequence[Pod], start: datetime) -> str:
        """Why the job has failed; empty when it goes on."""
        if overdue := self._overdue(start):
            return overdue
        final = [pod for pod in failed if not self._may_restart(pod)]
        if final:
            role = self._replicas(final[0]).role
            return self.kind.why_failed(self.group, role, [pod for pod in final if self._replicas(pod).role == role])
        limit = self.group.policy.backoff_limit
        if limit is None:
            return ""
        in_place = self._restarts_in_place()
        again = self.restarts.total() + len(failed) + in_place
        # As upstream: of pods that are replaced N may fail; where the node starts processes again the N-th is the last.
        if (failed and again > limit) or (in_place and again >= limit):
            return f"Job {self.group.name} has failed because it has reached the specified backoff limit"
        return ""

    def _overdue(self, start: datetime) -> str:
        deadline = self.group.policy.active_deadline_seconds
        if deadline is None:
            return ""
        left = (start + timedelta(seconds=deadline) - self.now).total_seconds()
        if left <= 0:
            return f"Job {self.group.name} has failed because it was active longer than specified deadline"
        self.decision.look_again = left
        return ""

    def _restarts_in_place(self) -> int:
        """What the node restarted by itself."""
        return sum(
            status.restart_count or 0
            for name, pod in self.pods.items()
            if name in self.slots and self.slots[name][0].restart_policy in (ALWAYS, ON_FAILURE)
            for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
        )

    def _replicas(self, pod: Pod) -> Replicas:
        return self.slots[pod.metadata.name][0]

    def _may_restart(self, pod: Pod) -> bool:
        policy = self._replicas(pod).restart_policy
        if policy == EXIT_CODE:
            code = exit_code(self.kind, pod)
            return code is not None and code >= FIRST_RETRYABLE_CODE
        return policy in (ALWAYS, ON_FAILURE)

    def _restart(self, failed: Iterable[Pod]) -> None:
        """Replace pods that failed and may try again."""
        for pod in failed:
            role = self._replicas(pod).role
            self.restarts[role] += 1
            self.decision.delete_pods.append(pod)
            code = exit_code(self.kind, pod)
            if code is not None:
                message = f"Pod: {self.group.namespace}.{pod.metadata.name} exited with code {code}"
                self.decision.announcements.append(Announcement(NORMAL, "ExitedWithCode", message))
            message = f"{self.kind.name} {self.group.name} is restarting because {role} replica(s) failed."
            self.decision.tell(RESTARTING, message)

    def _converge(self) -> None:
        """Make what is missing, remove what is too much."""
        for name, (replicas, index) in self.slots.items():
            if name in self.pods:
                self._resize(self.pods[name], replicas, index)
                continue
            self.decision.create_pods.append(pod_of(self.kind, self.group, replicas, index))
            if index == 0 and replicas.template.spec.restart_policy not in ("", replicas.restart_policy):
                self.decision.announcements.append(_OVERRIDDEN)
        if self.decision.create_pods:
            self.decision.group = pod_group(self.group)
        self.decision.autoscaler = autoscaler(self.kind, self.group)
        self.decision.surroundings = self.kind.surroundings(self.group, list(self.pods.values()))
        self.decision.create_services += [
            each for each in services(self.kind, self.group) if each.metadata.name not in self.services
        ]
        self.decision.delete_pods += [
            pod
            for name, pod in self.pods.items()
            if name not in self.slots and INDEX_LABEL in pod.metadata.labels and pod.metadata.deletion_timestamp is None
        ]
        self.decision.delete_services += [each for name, each in self.services.items() if name not in self.slots]

    def _resize(self, pod: Pod, replicas: Replicas, index: int) -> None:
        """What keeps checkpoints, and was told of another number of processes, begins again from the last one."""
        if not _is_active(pod):
            return
        if is_outdated(pod, self.group.job, self.kind.environment(self.group, replicas.role, index)):
            self.decision.delete_pods.append(pod)
            message = f"{self.kind.name} {self.group.name} is restarting because its number of processes was changed."
            self.decision.tell(RESTARTING, message)

    def _report_running(self, ends: Ends) -> None:
        led = [each.role for each in self.group.replicas if each.role in self.kind.masters and each.count]
        active = sum(each.active for role, each in ends.statuses.items() if role in led or not led)
        restarting = holds(self.decision.status.conditions, RESTARTING)
        there = sum(each.active + each.succeeded for each in ends.statuses.values())
        # What was replaced must be back, or the job would run and restart in turn.
        if active and not self.decision.delete_pods and (not restarting or there == self.group.total):
            message = f"{self.kind.name} {self.group.namespace}/{self.group.name} is running."
            self.decision.tell(RUNNING, message)

    def _tell_of_latecomers(self) -> None:
        """Of processes that began again after others had ended well: those they look for may not come any more."""
        pods = [pod for name, pod in self.pods.items() if name in self.slots]
        ends = [ended for pod in pods if pod.status.phase == "Succeeded" and (ended := _ended_at(pod)) is not None]
        if not ends or self.kind.is_elastic(self.group):
            return
        reported = self.decision.status.last_reconcile_time
        for pod in pods:
            began = _began_again_at(pod, replaced=self.restarts[self._replicas(pod).role] > 0)
            if began is None or began < min(ends) or (reported is not None and began <= reported):
                continue  # the last: it was told of then
            message = (
                f"{pod.metadata.name} began again after others of the job had ended: where it waits for them, it waits"
                " until its rendezvous times out"
            )
            self.decision.announcements.append(Announcement(WARNING, "PeersHaveEnded", message))
            self.decision.news = True

    def _give_up(self, why: str) -> None:
        self._end(FAILED, why)
        self.decision.delete_pods += [pod for pod in self.pods.values() if _is_active(pod)]

    def _end(self, type_: str, message: str, reason: str = "") -> None:
        self.decision.tell(type_, message, reason=reason)
        ended = self.now.replace(microsecond=0)
        self.decision.status = msgspec.structs.replace(self.decision.status, completion_time=ended)


def exit_code(kind: JobKind[Any], pod: Pod) -> int | None:
    """How the container that trains ended."""
    main = kind.main(PodTemplateSpec(spec=pod.spec))
    for status in pod.status.container_statuses:
        ended = status.state.terminated or status.last_state.terminated
        if main is not None and status.name == main.name and ended is not None:
            return ended.exit_code
    return None


def _ended_at(pod: Pod) -> datetime | None:
    """When the last of its containers ended."""
    ends = [each.state.terminated.finished_at for each in pod.status.container_statuses if each.state.terminated]
    return max((each for each in ends if each is not None), default=None)


def _began_again_at(pod: Pod, *, replaced: bool) -> datetime | None:
    """When a container of it began that is not its first attempt; ``replaced``: nor need the pod be."""
    begun = [
        each.state.running.started_at
        for each in pod.status.container_statuses
        if each.state.running and (replaced or each.restart_count)
    ]
    return max((each for each in begun if each is not None), default=None)


def _has_failed(pod: Pod) -> bool:
    return pod.status.phase == "Failed" and pod.metadata.deletion_timestamp is None


def _is_active(pod: Pod) -> bool:
    return pod.status.phase not in _TERMINAL and pod.metadata.deletion_timestamp is None


def differs(old: JobStatus, new: JobStatus) -> bool:
    """Whether there is anything to report; that a pass was made alone is not."""
    return msgspec.structs.replace(old, last_reconcile_time=None) != msgspec.structs.replace(
        new, last_reconcile_time=None
    )


def reconciled(status: JobStatus, now: datetime) -> JobStatus:
    """``status`` as of now."""
    return msgspec.structs.replace(status, last_reconcile_time=now.replace(microsecond=0))
