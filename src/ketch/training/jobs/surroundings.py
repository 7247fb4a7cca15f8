"""Objects that a job's pods need beside themselves: made once, kept as they should be. A Secret gets a pair of keys.

What has the name of one of them and belongs to another is left alone, and told of: then no pod is made.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from ketch.kube.client import Client
from ketch.kube.errors import AlreadyExists, NotFound
from ketch.kube.events import EventRecorder
from ketch.kube.informer import Informer
from ketch.kube.meta import KubeObject
from ketch.kube.owners import controller_of
from ketch.kube.types.core import ConfigMap, Secret
from ketch.training.announcements import WARNING
from ketch.training.jobs.types import TrainingJob
from ketch.training.keys import new_pair

_EXISTS: Final = "ErrResourceExists"


class Surroundings:
    """Writes them for the jobs of one kind."""

    def __init__(self, client: Client, config_maps: Informer[ConfigMap], events: EventRecorder, manager: str) -> None:
        self._client, self._config_maps, self._events, self._manager = client, config_maps, events, manager

    async def ensure(self, job: TrainingJob, wanted: Sequence[KubeObject], *, all_of_them: bool) -> bool:
        """Whether they stand. ``all_of_them``: before pods are made; else only what changes with the pods."""
        for each in wanted:
            if (all_of_them or self._differs(each)) and not await self._ensure(job, each):
                return False
        return True

    def _differs(self, wanted: KubeObject) -> bool:
        """Whether it is a ConfigMap that says something else."""
        if not isinstance(wanted, ConfigMap):
            return False
        found = self._config_maps.get(wanted.key)
        return found is None or found.data != wanted.data

    async def _ensure(self, job: TrainingJob, wanted: KubeObject) -> bool:
        meta, kind = wanted.metadata, type(wanted)
        try:
            existing = await self._client.get(kind, meta.name, meta.namespace)
        except NotFound:
            if isinstance(wanted, Secret):
                wanted = msgspec.structs.replace(wanted, data=new_pair())
            try:
                await self._client.create(wanted, manager=self._manager)
            except AlreadyExists:
                return await self._ensure(job, wanted)
            return True
        if controller_of(wanted) is None:
            return True  # it outlives jobs, and is used as it is
        owner = controller_of(existing)
        if owner is None or owner.uid != job.metadata.uid:
            message = (
                f'Resource "{meta.name}" of Kind "{kind.resource.kind}" already exists and is not managed by'
                f" {type(job).resource.kind}"
            )
            await self._events.record(job, WARNING, _EXISTS, message)
            return False
        if not isinstance(existing, Secret):  # keys stay what they are
            await self._client.apply(wanted, manager=self._manager)
        return True
