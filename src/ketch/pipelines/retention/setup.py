"""Puts retention together."""

from collections.abc import Callable

from ketch.kube.informer import Informer
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import Pod
from ketch.metadata.database import Database
from ketch.pipelines.records.tables import Run
from ketch.pipelines.retention.pods import ALL_PODS, MOST_ENDED, QUIET_SECONDS, EndedPods
from ketch.pipelines.retention.resources import RunResourcesReconciler
from ketch.pipelines.retention.runs import ALL_RUNS, RunCollector
from ketch.pipelines.settings import Retention


async def setup(
    manager: Manager,
    database: Database,
    retention: Retention,
    pods: Informer[Pod],
    deleted: Callable[[ObjectKey], None],
    most_ended: int = MOST_ENDED,
) -> Callable[[Run], None]:
    """Register the controllers; the database is open. ``pods`` are those of steps, ``deleted`` is told of runs that
    went. Returns what to tell of runs that have ended."""
    resources = RunResourcesReconciler(manager.client, database, manager.clock)
    of_resources = manager.controller("run-resources", resources)
    for key in await resources.waiting():
        of_resources.enqueue(key)

    ended_pods = EndedPods(manager.client, pods, database, manager.clock, most_ended)
    of_pods = manager.controller("ended-step-pods", ended_pods, workers=1)

    def pod_changed(old: Pod | None, new: Pod | None) -> None:
        if ended_pods.seen(old, new):
            of_pods.enqueue_after(ALL_PODS, QUIET_SECONDS)

    pods.add_handler(pod_changed)
    collector = RunCollector(database, retention, manager.clock, deleted)
    of_runs = manager.controller("run-collector", collector, workers=1)
    if collector.is_on:
        of_runs.enqueue(ALL_RUNS)

    def ended(run: Run) -> None:
        if run.resource_ttl:
            of_resources.enqueue(ObjectKey(run.namespace, run.id))

    return ended
