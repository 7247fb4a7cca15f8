"""The reconciler of all kinds of kubeflow.org/v1: reads a job and what it owns, decides, acts, reports."""

from datetime import datetime
from typing import Any, Final

from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, APIError, Forbidden, Invalid, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.expectations import Expectations
from ketch.kube.manager import Manager
from ketch.kube.meta import KubeObject, ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.autoscaling import HorizontalPodAutoscaler
from ketch.kube.types.batch import Job
from ketch.kube.types.core import ConfigMap, Service
from ketch.kube.types.podgroups import PodGroup
from ketch.kube.types.pods import Pod, PodTemplateSpec
from ketch.training.announcements import NORMAL, WARNING
from ketch.training.equipment import Equipment
from ketch.training.jobs.decisions import Decision, decide, differs, reconciled
from ketch.training.jobs.framework import Group, JobKind
from ketch.training.jobs.surroundings import Surroundings
from ketch.training.jobs.types import TrainingJob
from ketch.training.writing import delete, report, together

_RETRY_SECONDS: Final = 30.0
"""After so long it is seen whether what was another's has gone."""


class JobReconciler:
    """Reconciles the jobs of one kind."""

    def __init__(self, kind: JobKind[Any], manager: Manager, equipment: Equipment | None = None) -> None:
        self._kind, self._client, self._clock = kind, manager.client, manager.clock
        self._equipment = equipment or Equipment()
        self._jobs = manager.informer(kind.kind)
        self._pods, self._services = manager.informer(Pod), manager.informer(Service)
        self._autoscalers = manager.informer(HorizontalPodAutoscaler)
        self._expected = Expectations(self._pods, manager.clock)
        self._events = EventRecorder(manager.client, kind.controller, manager.clock)
        config_maps = manager.informer(ConfigMap)
        self._surroundings = Surroundings(manager.client, config_maps, self._events, kind.controller)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        job: TrainingJob | None = self._jobs.get(key)
        if job is None or job.metadata.deletion_timestamp is not None or not self._expected.met(job.metadata.uid):
            return Result()  # what it owns goes with it
        if not self._kind.concerns(job):
            return Result()
        group = self._kind.understand(job)
        if group.policy.managed_by not in ("", *self._kind.managers):
            return Result()
        now = self._clock.now()
        decision = self._decide(group, job.metadata.uid, now)
        if decision.remove_job:
            await delete(self._client, job, "Background")  # its time after the end is over
            return Result()
        await self._act(job, decision)
        for each in decision.announcements:
            await self._events.record(job, each.type, each.reason, each.message)
        if decision.news or differs(job.status, decision.status):
            await report(self._client, job, reconciled(decision.status, now), self._kind.controller)
        return Result(requeue_after=decision.look_again)

    def _decide(self, group: Group[Any], uid: str, now: datetime) -> Decision:
        return decide(self._kind, group, self._pods.owned_by(uid), self._services.owned_by(uid), now)

    async def _act(self, job: TrainingJob, decision: Decision) -> None:
        """Services first, so that names are known before anyone asks for them."""
        fresh = bool(decision.create_pods or decision.create_jobs)
        wanted = (*decision.surroundings, *self._equipment.objects(job)) if fresh else decision.surroundings
        if not await self._surroundings.ensure(job, wanted, all_of_them=fresh):
            decision.create_pods.clear()
            decision.create_jobs.clear()
            decision.look_again = min(decision.look_again or _RETRY_SECONDS, _RETRY_SECONDS)
        if decision.group is not None:
            await self._group(job, decision.group)
        await self._autoscale(job, decision.autoscaler)
        await together([self._create(job, each, "Service") for each in decision.create_services])
        await together([self._create(job, self._equipped(job, each), "Pod") for each in decision.create_pods])
        await together([self._create(job, self._equipped_job(job, each), "Job") for each in decision.create_jobs])
        await together([self._set_suspended(each, suspended) for each, suspended in decision.set_suspended])
        await together([self._remove(job, each, "Pod") for each in decision.delete_pods])
        await together([self._remove(job, each, "Service") for each in decision.delete_services])

    async def _set_suspended(self, launcher: Job, suspended: bool) -> None:  # the value itself
        meta, change = launcher.metadata, {"spec": {"suspend": suspended}}
        try:
            await self._client.patch(Job, meta.name, meta.namespace, change, content_type=MERGE_PATCH)
        except NotFound:
            return

    def _equipped(self, job: TrainingJob, pod: Pod) -> Pod:
        main = self._kind.main(PodTemplateSpec(spec=pod.spec))
        return pod if main is None else self._equipment.pod(job, pod, main.name)

    def _equipped_job(self, job: TrainingJob, launcher: Job) -> Job:
        main = self._kind.main(launcher.spec.template)
        return launcher if main is None else self._equipment.batch_job(job, launcher, main.name)

    async def _create(self, job: TrainingJob, wanted: Pod | Service | Job, word: str) -> None:
        name = wanted.metadata.name
        try:
            made = await self._client.create(wanted, manager=self._kind.controller)
        except AlreadyExists:
            await self._check_owner(job, wanted, word)
            return
        except APIError as error:
            await self._events.record(job, WARNING, f"FailedCreate{word}", f"Error creating: {error}")
            raise
        if isinstance(made, Pod):
            self._expected.created(job.metadata.uid, made)
        await self._events.record(job, NORMAL, f"SuccessfulCreate{word}", f"Created {word.lower()}: {name}")

    async def _group(self, job: TrainingJob, group: PodGroup) -> None:
        """As it should be now: the job may have been scaled. Where there are none, pods are scheduled one by one."""
        try:
            await self._client.apply(group, manager=self._kind.controller)
        except NotFound:
            message = "this cluster has no PodGroups (scheduling.x-k8s.io): the pods will not be placed together"
            await self._events.record(job, WARNING, "FailedCreatePodGroup", message)
        except APIError as error:
            await self._events.record(job, WARNING, "FailedCreatePodGroup", f"Error creating: {error}")
            raise

    async def _autoscale(self, job: TrainingJob, wanted: HorizontalPodAutoscaler | None) -> None:
        """Have the job's autoscaler as it should be, or not at all; a job without one runs as well."""
        mine = self._autoscalers.owned_by(job.metadata.uid)
        if wanted is None:
            await together([self._remove(job, each, "Autoscaler") for each in mine])
        elif all(each.spec != wanted.spec for each in mine):
            try:
                if mine or await self._check_owner(job, wanted, "Autoscaler"):
                    await self._client.apply(wanted, manager=self._kind.controller)
            except (Invalid, Forbidden) as error:
                await self._events.record(job, WARNING, "FailedCreateAutoscaler", f"Error creating: {error}")

    async def _check_owner(self, job: TrainingJob, wanted: KubeObject, word: str) -> bool:
        """Whether what has the name is the job's own, not seen yet; what is someone else's only its user can settle."""
        try:
            existing = await self._client.get(type(wanted), wanted.metadata.name, wanted.metadata.namespace)
        except NotFound:
            return True
        owner = controller_of(existing)
        if owner is None or owner.uid != job.metadata.uid:
            message = f"Error creating: {word.lower()} {wanted.metadata.name} exists and is not this job's"
            await self._events.record(job, WARNING, f"FailedCreate{word}", message)
            return False
        return True

    async def _remove(self, job: TrainingJob, doomed: KubeObject, word: str) -> None:
        if not await delete(self._client, doomed):
            return
        if isinstance(doomed, Pod):
            self._expected.deleted(job.metadata.uid, doomed)
        await self._events.record(
            job, NORMAL, f"SuccessfulDelete{word}", f"Deleted {word.lower()}: {doomed.metadata.name}"
        )
