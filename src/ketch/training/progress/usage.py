"""What the pods of running jobs use, as metrics.k8s.io measures it, in their jobs' statuses; where there is no such API
nothing is said."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, NotFound, TransportError
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.quantities import format_quantity, parse_quantity
from ketch.kube.types.pods import Pod
from ketch.training.progress.merging import measured
from ketch.training.progress.recorder import ProgressRecorder, Target
from ketch.training.progress.types import PodUsage

PERIOD: Final = 15.0
"""Seconds between two looks; as often as metrics are made elsewhere."""

PERIOD_WITHOUT_METRICS: Final = 60.0
MOST_JOBS_A_SECOND: Final = 20
"""With very many jobs each is looked at less often, so that a cluster is not kept busy by being watched."""

log = logging.getLogger(__name__)

_PATH: Final = "/apis/metrics.k8s.io/v1beta1/pods"

JobOf = Callable[[Pod], Target | None]
"""The job that a pod belongs to."""


class UsageSampler:
    """Looks from time to time."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        pods: Informer[Pod],
        jobs: Sequence[Informer[Any]],
        job_of: JobOf,
        recorder: ProgressRecorder,
    ) -> None:
        self._client, self._clock, self._pods, self._jobs = client, clock, pods, jobs
        self._job_of, self._recorder = job_of, recorder

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            wait = PERIOD_WITHOUT_METRICS
            try:
                wait = await self.look()
            except Exception:  # what is measured must not end because it could not be
                log.exception("the usage of training jobs could not be told")
            await self._clock.sleep(wait)

    async def look(self) -> float:
        """One look; the seconds until the next one."""
        running = self._running()
        idle = [each for each in self._with_usage() if each not in running]
        if not running and not idle:
            return PERIOD
        usage: Mapping[ObjectKey, PodUsage] = {}
        if running:
            try:
                usage = usage_of((await self._client.request("GET", _PATH)).get("items") or ())
            except (APIError, TransportError):
                return PERIOD_WITHOUT_METRICS
        for target in (*running, *idle):
            await self._note(target, [usage[key] for key in running.get(target, ()) if key in usage])
        return max(PERIOD, len(running) / MOST_JOBS_A_SECOND)

    def _running(self) -> Mapping[Target, Sequence[ObjectKey]]:
        found: dict[Target, list[ObjectKey]] = {}
        for pod in self._pods.list():
            if pod.status.phase == "Running" and (target := self._job_of(pod)) is not None:
                found.setdefault(target, []).append(pod.key)
        return found

    def _with_usage(self) -> Iterable[Target]:
        return [Target(each.kind, job.key) for each in self._jobs for job in each.list() if job.status.usage]

    async def _note(self, target: Target, usage: Sequence[PodUsage]) -> None:
        try:
            await self._recorder.record(target, partial(measured, usage=usage))
        except NotFound:
            return  # it was deleted meanwhile
        except (APIError, TransportError):
            return  # the next look says it


def usage_of(items: Iterable[Mapping[str, Any]]) -> Mapping[ObjectKey, PodUsage]:
    """PodMetrics as what each pod uses: the sum of its containers. Pure."""
    found: dict[ObjectKey, PodUsage] = {}
    for item in items:
        meta, uses = item["metadata"], [each.get("usage", {}) for each in item.get("containers", ())]
        cpu = sum((parse_quantity(str(each.get("cpu", "0"))) for each in uses), start=parse_quantity("0"))
        memory = sum((parse_quantity(str(each.get("memory", "0"))) for each in uses), start=parse_quantity("0"))
        cores = f"{round(cpu * 1000)}m"
        found[ObjectKey(meta["namespace"], meta["name"])] = PodUsage(
            pod=meta["name"], cpu=cores, memory=format_quantity(memory, binary=True)
        )
    return found
