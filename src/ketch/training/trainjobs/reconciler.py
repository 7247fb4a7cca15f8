"""The reconciler of TrainJobs: keeps what the runtime said when the job began, makes the JobSet, reports its end."""

from typing import Final

import orjson

from ketch.kube.codec import decode, encode
from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, APIError, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.manager import Manager
from ketch.kube.meta import KubeObject, ObjectKey, ObjectMeta
from ketch.kube.owners import controlled_by
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import ConfigMap
from ketch.training.announcements import WARNING
from ketch.training.equipment import Equipment
from ketch.training.jobsets.types import JobSet
from ketch.training.trainjobs.assembly import AssemblyProblem, jobset_of, objects_of, pod_group_of
from ketch.training.trainjobs.decisions import is_finished, verdict
from ketch.training.trainjobs.policies import NODE
from ketch.training.trainjobs.types import (
    MANAGED_BY,
    RUNTIME,
    ClusterTrainingRuntime,
    TrainingRuntime,
    TrainingRuntimeSpec,
    TrainJob,
)
from ketch.training.writing import delete, ensure, report

MANAGER: Final = "trainer"
SNAPSHOT: Final = "runtime-snapshot"
_SPEC: Final = "spec.json"
_FAILED: Final = "TrainJobResourcesCreationFailed"


class TrainJobReconciler:
    """Reconciles TrainJobs."""

    def __init__(self, manager: Manager, equipment: Equipment) -> None:
        self._client, self._clock = manager.client, manager.clock
        self._equipment = equipment
        self._jobs, self._sets = manager.informer(TrainJob), manager.informer(JobSet)
        self._runtimes = manager.informer(TrainingRuntime)
        self._cluster_runtimes = manager.informer(ClusterTrainingRuntime)
        self._events = EventRecorder(manager.client, "trainjob-controller", manager.clock)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        job = self._jobs.get(key)
        if job is None or job.metadata.deletion_timestamp is not None or is_finished(job):
            return Result()  # what it owns goes with it, or stays for its logs
        if job.spec.managed_by not in (None, "", MANAGED_BY):
            return Result()
        jobset = self._sets.get(key)
        if jobset is None or jobset.spec.suspend:
            jobset = await self._make(job) or jobset
        elif job.spec.suspend:
            jobset = await self._suspend(jobset)
        outcome = verdict(job, jobset, self._clock.now())
        if outcome.end and jobset is not None:
            await delete(self._client, jobset)
        if outcome.status != job.status:
            await report(self._client, job, outcome.status, MANAGER)
        return Result(requeue_after=outcome.look_again)

    def waiting_for(self, runtime: KubeObject) -> list[ObjectKey]:
        """Jobs of this runtime that have no JobSet yet."""
        return [
            job.key
            for job in self._jobs.list(runtime.metadata.namespace)
            if job.spec.runtime_ref.name == runtime.metadata.name and self._sets.get(job.key) is None
        ]

    async def _make(self, job: TrainJob) -> JobSet | None:
        """The JobSet as it should be now; None, and an event, when it cannot be made."""
        runtime = await self._runtime(job)
        if runtime is None:
            reference = job.spec.runtime_ref
            message = f'{reference.kind} "{reference.name}" is not there'
            await self._events.record(job, WARNING, _FAILED, message)
            return None
        try:
            jobset = self._equipment.jobset(job, jobset_of(job, runtime), NODE)
            if not await self._surround(job, runtime):
                return None
            await self._group(job, runtime)
            return await self._client.apply(jobset, manager=MANAGER)
        except AssemblyProblem as problem:
            await self._events.record(job, WARNING, _FAILED, str(problem))
            return None
        except APIError as error:
            await self._events.record(job, WARNING, _FAILED, str(error))
            raise

    async def _surround(self, job: TrainJob, runtime: TrainingRuntimeSpec) -> bool:
        """Make what must be there before the pods; False, and an event, when another's object has the name."""
        for wanted in (*self._equipment.objects(job), *objects_of(job, runtime)):
            if not await ensure(self._client, wanted, MANAGER):
                kind, name = wanted.resource.kind, wanted.metadata.name
                message = f'{kind} "{name}" is there and is not this job\'s: delete it, or give the job another name'
                await self._events.record(job, WARNING, _FAILED, message)
                return False
        return True

    async def _group(self, job: TrainJob, runtime: TrainingRuntimeSpec) -> None:
        """What the scheduler must know before it sees the pods. Where there are none, they are placed one by one."""
        group = pod_group_of(job, runtime)
        if group is None:
            return
        try:
            await self._client.apply(group, manager=MANAGER)
        except NotFound:
            message = "this cluster has no PodGroups (scheduling.x-k8s.io): the pods will not be placed together"
            await self._events.record(job, WARNING, _FAILED, message)

    async def _runtime(self, job: TrainJob) -> TrainingRuntimeSpec | None:
        """What the runtime said when the job began: later edits are for later jobs."""
        name, namespace = f"{job.metadata.name}-{SNAPSHOT}", job.metadata.namespace
        try:
            kept = await self._client.get(ConfigMap, name, namespace)
        except NotFound:
            pass
        else:
            return decode(TrainingRuntimeSpec, orjson.loads(kept.data[_SPEC]))
        reference = job.spec.runtime_ref
        found: TrainingRuntime | ClusterTrainingRuntime | None
        if reference.kind == RUNTIME:
            found = self._runtimes.get(ObjectKey(namespace, reference.name))
        else:
            found = self._cluster_runtimes.get(ObjectKey("", reference.name))
        if found is None:
            return None
        spec = found.spec
        data = {_SPEC: orjson.dumps(encode(spec)).decode()}
        snapshot = ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data=data)
        try:
            await self._client.create(controlled_by(job, snapshot), manager=MANAGER)
        except AlreadyExists:
            return await self._runtime(job)
        return spec

    async def _suspend(self, jobset: JobSet) -> JobSet | None:
        """That alone: whatever else is new of the job may follow once nothing of it runs."""
        meta, change = jobset.metadata, {"spec": {"suspend": True}}
        try:
            return await self._client.patch(
                JobSet, meta.name, meta.namespace, change, content_type=MERGE_PATCH, manager=MANAGER
            )
        except NotFound:
            return None
