"""What a job must be before it is stored: upstream's webhooks, for every kind. Pure.

Nothing is completed: defaults are understood by the controller and users read back what they wrote.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

from ketch.kube.admission import Admission, View
from ketch.kube.causes import immutable, invalid, unsupported
from ketch.kube.errors import Cause
from ketch.training.checkpoints.contract import problems as checkpoint_problems
from ketch.training.jobs.framework import JobKind
from ketch.training.jobs.types import RunPolicy, TrainingJob

_MULTIKUEUE: Final = "kueue.x-k8s.io/multikueue"
_DNS_1035: Final = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAME: Final = 63


class JobAdmission(Admission[TrainingJob]):
    """Checks jobs of one kind."""

    def __init__(self, kind: JobKind[Any]) -> None:
        self._kind = kind
        self.kind = kind.kind

    def check(self, obj: TrainingJob, old: TrainingJob | None, view: View) -> Iterable[Cause]:  # noqa: ARG002
        """What is wrong with the job."""
        if old is None:
            yield from self._check_name(obj)
        yield from checkpoint_problems(obj.metadata.annotations)
        yield from self._check_policy(_policy(obj), None if old is None else _policy(old))
        if old is not None:
            yield from self._kind.check_change(obj, old)
        found = list(self._kind.check_replicas(obj))
        yield from found
        if not found:
            yield from self._kind.check(obj)
            yield from self._check_gang(obj)

    def warn(self, obj: TrainingJob, old: TrainingJob | None, view: View) -> Iterable[str]:  # noqa: ARG002
        """What of the job should be written otherwise."""
        return self._kind.warn(obj)

    def _check_name(self, obj: TrainingJob) -> Iterable[Cause]:
        """Pods and services are named after the job, so the longest of their names must be one as well."""
        name = obj.metadata.name
        if not _DNS_1035.fullmatch(name):
            yield invalid("metadata.name", name, "a DNS-1035 label: lower case letters, digits and '-', a letter first")
            return
        group = self._kind.understand(obj)
        longest = max((len(group.host(each.role, max(each.count - 1, 0))) for each in group.replicas), default=0)
        if longest > _LONGEST_NAME:
            over = longest - _LONGEST_NAME
            yield invalid("metadata.name", name, f"its replicas' names would be {over} characters too long")

    def _check_gang(self, obj: TrainingJob) -> Iterable[Cause]:
        """More pods than there are would never come together."""
        scheduling, total = _policy(obj).scheduling_policy, self._kind.understand(obj).total
        if scheduling is not None and (scheduling.min_available or 0) > total:
            path = "spec.runPolicy.schedulingPolicy.minAvailable"
            yield invalid(path, scheduling.min_available, f"must not be more than the job's {total} replicas")

    def _check_policy(self, policy: RunPolicy, old: RunPolicy | None) -> Iterable[Cause]:
        managers = (*self._kind.managers, _MULTIKUEUE)
        if policy.managed_by and policy.managed_by not in managers:
            yield unsupported("spec.runPolicy.managedBy", policy.managed_by, managers)
        if old is None:
            return
        if policy.managed_by != old.managed_by:
            yield immutable("spec.runPolicy.managedBy", policy.managed_by)
        queue, before = (each.scheduling_policy.queue if each.scheduling_policy else "" for each in (policy, old))
        if queue != before:
            yield immutable("spec.runPolicy.schedulingPolicy.queue", queue)


def _policy(job: TrainingJob) -> RunPolicy:
    return job.spec.run_policy
