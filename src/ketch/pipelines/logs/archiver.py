"""LogArchiver: puts the logs of ended steps into the object store, and then lets their pods go.

The finalizer is what makes it safe: it is on the pod from its creation, so that whoever deletes the pod, whenever and
whatever dies meanwhile, the log is read before the pod is gone.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import Final

import msgspec

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.controller import Result
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.pods import Pod
from ketch.metadata.objects import StoreError
from ketch.pipelines.logs.archive import LogArchive, log_uri
from ketch.pipelines.steps.observation import ended_at
from ketch.pipelines.steps.step import MAIN, RUN_LABEL, Step

FINALIZER: Final = "pipelines.ketch.dev/log"
ANNOTATION: Final = "pipelines.ketch.dev/log-uri"
QUIET: Final = timedelta(seconds=60)
"""How long after a step's end its log is put away when nobody deletes the pod: a busy run comes first."""

PAUSE: Final = 0.2
"""Seconds of rest of a worker after a log that was not urgent."""

PATIENCE: Final = timedelta(minutes=2)
"""How long a pod that was deleted stays for a log that cannot be read or stored: its node may be gone for good."""

_TRIES: Final = 5
_ENDED: Final = ("Succeeded", "Failed")

log = logging.getLogger(__name__)

Known = Callable[[str], Awaitable[bool]]
"""Whether there still is a run of that id."""


def keeping(step: Step, pod: Pod) -> Pod:
    """The pod, which does not go before its log is kept; where an archiver works. Pure."""
    if not step.carriage.keeps_logs:
        return pod
    meta = pod.metadata
    meta = msgspec.structs.replace(
        meta,
        finalizers=(*meta.finalizers, FINALIZER),
        annotations={**meta.annotations, ANNOTATION: log_uri(step.place)},
    )
    return msgspec.structs.replace(pod, metadata=meta)


class LogArchiver:
    """Reconciles pods by their keys. Register ``keys`` as the map of ``pods``' changes."""

    def __init__(self, client: Client, pods: Informer[Pod], archive: LogArchive, known: Known, clock: Clock) -> None:
        self._client, self._pods, self._archive, self._known, self._clock = client, pods, archive, known, clock

    def keys(self, pod: Pod) -> Iterable[ObjectKey]:
        """The pod, once its log concerns us."""
        if FINALIZER in pod.metadata.finalizers and (pod.status.phase in _ENDED or pod.metadata.deletion_timestamp):
            return (pod.key,)
        return ()

    async def reconcile(self, key: ObjectKey) -> Result:
        """Put the log away if it is time to."""
        pod = self._pods.get(key)
        if pod is None or FINALIZER not in pod.metadata.finalizers:
            return Result()
        now, deleted = self._clock.now(), pod.metadata.deletion_timestamp
        if deleted is None:
            quiet = (ended_at(pod) or now) + QUIET
            if pod.status.phase not in _ENDED:
                return Result()
            if now < quiet:
                return Result(requeue_after=(quiet - now).total_seconds())
        elif _ending(pod):
            return Result()  # what it says at its end belongs to the log
        try:
            await self._keep(pod)
        except (StoreError, TransportError, APIError) as error:
            if deleted is None or now < deleted + PATIENCE:
                log.warning("the log of pod %s is not kept yet: %s", key, error)
                raise
            log.warning("the log of pod %s is given up: %s", key, error)
        if not await self._release(key):
            return Result(requeue_after=1.0)
        if deleted is None:
            await self._clock.sleep(PAUSE)
        return Result()

    async def _keep(self, pod: Pod) -> None:
        uri, meta = pod.metadata.annotations.get(ANNOTATION, ""), pod.metadata
        statuses = pod.status.container_statuses
        if not uri or not any(each.state.terminated or each.state.running for each in statuses):
            return  # it never ran, and said nothing
        if not await self._known(meta.labels.get(RUN_LABEL, "")):
            return
        try:
            async with self._client.logs(meta.name, meta.namespace, container=MAIN) as chunks:
                await self._archive.write(meta.namespace, uri, chunks)
        except NotFound:
            return  # gone meanwhile

    async def _release(self, key: ObjectKey) -> bool:
        """Take the finalizer away, whatever else changes the pod meanwhile: its log is not read again for that."""
        for _ in range(_TRIES):
            try:
                meta = (await self._client.get(Pod, key.name, key.namespace)).metadata
                others = [each for each in meta.finalizers if each != FINALIZER]
                body = {"metadata": {"resourceVersion": meta.resource_version, "finalizers": others or None}}
                if len(others) < len(meta.finalizers):
                    await self._client.patch(Pod, key.name, key.namespace, body, content_type=MERGE_PATCH)
            except NotFound:
                return True
            except Conflict:
                continue
            else:
                return True
        return False


def _ending(pod: Pod) -> bool:
    """Whether a deleted pod's containers may still say something."""
    if pod.status.phase in _ENDED or not pod.spec.node_name or pod.metadata.deletion_grace_period_seconds == 0:
        return False
    return any(each.state.running for each in pod.status.container_statuses) or not pod.status.container_statuses
