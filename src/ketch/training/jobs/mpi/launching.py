"""What to do about an MPIJob whose launcher is a batch Job, and what to report. Pure, as all decisions.

Workers are pods of the framework's; the launcher's retries, deadline and end are its Job's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from ketch.kube.conditions import find, is_true
from ketch.kube.meta import Condition
from ketch.kube.types.batch import Job
from ketch.kube.types.pods import Pod
from ketch.training.jobs.conditions import CREATED, FAILED, RUNNING, SUCCEEDED, holds
from ketch.training.jobs.decisions import Decision, Pass, exit_code, finish, suspend
from ketch.training.jobs.framework import Ends, Group
from ketch.training.jobs.mpi.ssh import MPIOverSSH
from ketch.training.jobs.mpi.types import LAUNCHER, WHEN_READY, WORKER, MPIJob
from ketch.training.jobs.types import ReplicaStatus

EVICTED = "Evicted"
COMPLETE, JOB_FAILED = "Complete", "Failed"


@dataclass(frozen=True, slots=True)
class Launcher:
    """The launcher's Job, None while there is none, and its pods."""

    job: Job | None = None
    pods: Sequence[Pod] = field(default_factory=tuple[Pod, ...])

    @property
    def has_succeeded(self) -> bool:
        """Whether mpirun has ended well."""
        return self.job is not None and is_true(self.job.status.conditions, COMPLETE)

    @property
    def failure(self) -> Condition | None:
        """Why it was given up."""
        found = find(self.job.status.conditions, JOB_FAILED) if self.job else None
        return found if found is not None and found.status == "True" else None

    @property
    def is_suspended(self) -> bool:
        """Whether its Job is told to wait."""
        return self.job is not None and bool(self.job.spec.suspend)


def decide(
    kind: MPIOverSSH, group: Group[MPIJob], workers: Sequence[Pod], launcher: Launcher, now: datetime
) -> Decision:
    """One pass over a job that exists and is this operator's."""
    decision = Decision(kind.name, now, group.job.status)
    if not holds(decision.status.conditions, CREATED):
        decision.tell(CREATED, f"MPIJob {group.namespace}/{group.name} is created.")
    if holds(decision.status.conditions, SUCCEEDED, FAILED):
        finish(decision, group, workers, ())
    elif group.policy.suspend:
        suspend(decision, group, workers, ())
        if launcher.job is not None and not launcher.is_suspended:
            decision.set_suspended.append((launcher.job, True))
    else:
        LauncherPass(kind, group, workers, launcher, decision).run()
    return decision


class LauncherPass(Pass):
    """One pass over a job that should run."""

    def __init__(
        self,
        kind: MPIOverSSH,
        group: Group[MPIJob],
        workers: Sequence[Pod],
        launcher: Launcher,
        decision: Decision,
    ) -> None:
        super().__init__(kind, group, workers, (), decision)
        self._kind, self._launcher, self._reason = kind, launcher, ""
        self.slots = {name: slot for name, slot in self.slots.items() if slot[0].role != LAUNCHER}

    def _ends(self) -> Ends:
        ends = super()._ends()
        launcher, job = self._launcher, self._launcher.job
        status = msgspec.structs.replace(
            ends.statuses.get(LAUNCHER, ReplicaStatus()),
            active=sum(pod.status.phase == "Running" for pod in launcher.pods),
            succeeded=int(launcher.has_succeeded),
            failed=job.status.failed if job else 0,
        )
        if launcher.has_succeeded or launcher.failure:
            status = msgspec.structs.replace(status, active=0)
        return Ends({**ends.statuses, LAUNCHER: status}, ends.first_succeeded)

    def _reason_to_give_up(self, failed: Sequence[Pod], start: datetime) -> str:
        """The launcher's end, or workers that this machine took away; a worker's own end is the launcher's to judge."""
        if failure := self._launcher.failure:
            self._reason = failure.reason
            said = failure.message or f"MPIJob {self.group.namespace}/{self.group.name} has failed"
            return f"{said}{_last_words(self._kind, self._launcher.pods)}"
        evicted = [pod for pod in failed if pod.status.reason == EVICTED and not self._may_restart(pod)]
        if evicted:
            self._reason = f"{self.kind.name}{EVICTED}"
            return f"{len(evicted)}/{self.group.count(WORKER)} workers are evicted"
        return "" if self._launcher.job is not None else self._overdue(start)

    def _give_up(self, why: str) -> None:
        self._end(FAILED, why, self._reason)  # which pods go is what cleanPodPolicy says
        launcher = self._launcher
        if launcher.job is not None and launcher.failure is None:
            self.decision.set_suspended.append((launcher.job, True))

    def _restart(self, failed: Iterable[Pod]) -> None:
        super()._restart(pod for pod in failed if self._may_restart(pod))

    def _converge(self) -> None:
        super()._converge()
        launcher, decision = self._launcher, self.decision
        if launcher.job is None:
            waits = self.group.job.spec.launcher_creation_policy == WHEN_READY
            if not waits or self._ready() == self.group.count(WORKER):
                decision.create_jobs.append(self._kind.launcher_of(self.group))
        elif launcher.is_suspended:
            decision.set_suspended.append((launcher.job, False))

    def _ready(self) -> int:
        ready = [
            pod for name, pod in self.pods.items() if name in self.slots and is_true(pod.status.conditions, "Ready")
        ]
        return len([pod for pod in ready if pod.metadata.deletion_timestamp is None])

    def _report_running(self, ends: Ends) -> None:
        everyone = ends.statuses[WORKER].active == self.group.count(WORKER) if WORKER in ends.statuses else True
        if ends.statuses[LAUNCHER].active and everyone and not self.decision.delete_pods:
            self.decision.tell(RUNNING, f"MPIJob {self.group.namespace}/{self.group.name} is running.")


def _last_words(kind: MPIOverSSH, pods: Sequence[Pod]) -> str:
    """How the last launcher ended: mpirun's exit code is that of the rank that failed."""
    if not pods:
        return ""
    last = max(pods, key=lambda pod: (str(pod.metadata.creation_timestamp), pod.metadata.name))
    code = exit_code(kind, last)
    words = [each for each in (last.status.message, "" if code is None else f"exit code {code}") if each]
    return f": {'; '.join(words)}" if words else ""
