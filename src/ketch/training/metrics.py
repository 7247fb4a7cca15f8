"""What is counted of training jobs, under the names of upstream's Training Operator and JobSet."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from ketch.kube.conditions import is_true
from ketch.kube.informer import Informer
from ketch.kube.meta import KubeObject
from ketch.kube.metrics import Counter, Registry
from ketch.training.jobs.conditions import FAILED, SUCCEEDED, holds
from ketch.training.jobs.framework import JobKind
from ketch.training.jobsets.decisions import COMPLETED
from ketch.training.jobsets.decisions import FAILED as JOBSET_FAILED
from ketch.training.jobsets.types import JobSet

_JOBS: Final = ("created", "deleted", "successful", "failed", "restarted")
_JOB_LABELS: Final = ("job_namespace", "framework")
_JOBSET_LABELS: Final = ("jobset_name", "namespace")

Handler = Callable[[Any, Any], None]


class TrainingMetrics:
    """Counts what happens from ``since`` on; what was there before is no news."""

    def __init__(self, registry: Registry, since: datetime) -> None:
        self._since = since.replace(microsecond=0)
        self._jobs = {
            each: Counter(f"training_operator_jobs_{each}_total", f"Counts number of jobs {each}", _JOB_LABELS)
            for each in _JOBS
        }
        self._completed = Counter("jobset_completed_total", "The total number of completed JobSets", _JOBSET_LABELS)
        self._failed = Counter("jobset_failed_total", "The total number of failed JobSets", _JOBSET_LABELS)
        for counter in (*self._jobs.values(), self._completed, self._failed):
            registry.add(counter.lines)

    def watch_jobs(self, kind: JobKind[Any], jobs: Informer[Any]) -> None:
        """Count the jobs of a kind."""
        framework = kind.container

        def seen(old: Any, new: Any) -> None:
            for word in self._happened(old, new):
                self._jobs[word].count((new or old).metadata.namespace, framework)

        jobs.add_handler(seen)

    def _happened(self, old: Any, new: Any) -> list[str]:
        if new is None:
            return ["deleted"]
        if old is None:
            return ["created"] if self._is_new(new) else []
        before, after = old.status, new.status
        found: list[str] = []
        for word, type_ in (("successful", SUCCEEDED), ("failed", FAILED)):
            if holds(after.conditions, type_) and not holds(before.conditions, type_):
                found.append(word)
        if _restarts(after) > _restarts(before):
            found.append("restarted")
        return found

    def watch_jobsets(self, jobsets: Informer[JobSet]) -> None:
        """Count JobSets; of one that is gone, its own series goes too, so that they do not add up."""

        def seen(old: JobSet | None, new: JobSet | None) -> None:
            obj = new or old
            if obj is None:
                return
            values = obj.metadata.name, obj.metadata.namespace
            if new is None:
                self._completed.forget(*values)
                self._failed.forget(*values)
            elif old is not None:
                for counter, type_ in ((self._completed, COMPLETED), (self._failed, JOBSET_FAILED)):
                    if is_true(new.status.conditions, type_) and not is_true(old.status.conditions, type_):
                        counter.count(*values)

        jobsets.add_handler(seen)

    def _is_new(self, obj: KubeObject) -> bool:
        created = obj.metadata.creation_timestamp
        return created is not None and created >= self._since


def _restarts(status: Any) -> int:
    return sum(each.restarts for each in status.replica_statuses.values())
