"""Controllers decide themselves what webhooks would have: an object that came without is completed, or fails.

What an update may not change cannot be seen afterwards: that only webhooks hold.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ketch.kube.admission import Admission
from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.codec import format_time
from ketch.kube.controller import Controller, Reconciler, Result
from ketch.kube.informer import Informer
from ketch.kube.manager import For, Manager, Watch
from ketch.kube.meta import KubeObject, ObjectKey
from ketch.kube.transport import JSON_PATCH, MERGE_PATCH
from ketch.kube.webhooks.reviews import Reviewer, difference, reasons

log = logging.getLogger(__name__)

FAILED, REASON = "Failed", "AdmissionFailed"
FINAL = ("Succeeded", "Complete", "Completed", FAILED)
"""Conditions of what is over: nobody decides about it any more."""

Judged = tuple[str, str]


class Guarded:
    """``reconciler``, which only ever acts on objects that its domain would have admitted."""

    def __init__(
        self,
        reconciler: Reconciler,
        admission: Admission[Any],
        informer: Informer[Any],
        client: Client,
        clock: Clock,
    ) -> None:
        self._reconciler = reconciler
        self._admission = admission
        self._informer = informer
        self._client = client
        self._clock = clock
        self._reviewer = Reviewer((admission,), client, clock)
        self._admitted: dict[ObjectKey, Judged] = {}
        """Which specification of an object was admitted: by uid and generation."""

    async def reconcile(self, key: ObjectKey) -> Result:
        """Act for the object, or say why not."""
        obj: KubeObject | None = self._informer.get(key)
        if obj is None:
            self._admitted.pop(key, None)
        elif not await self._admits(obj):
            return Result()
        return await self._reconciler.reconcile(key)

    async def _admits(self, obj: KubeObject) -> bool:
        meta = obj.metadata
        version = (meta.uid, str(meta.generation))
        if self._admitted.get(obj.key) == version or meta.deletion_timestamp is not None:
            return True
        raw = obj.to_json()
        status: Mapping[str, Any] = raw.get("status") or {}
        conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
        if any(each.get("type") in FINAL and each.get("status") == "True" for each in conditions):
            return not any(each.get("reason") == REASON for each in conditions)
        complete = {**raw, **await self._reviewer.complete(self._admission, raw, None)}
        judgement = await self._reviewer.judge(self._admission, complete, None)
        if judgement.causes:
            await self._fail(obj, conditions, reasons(judgement))
            return False
        if operations := list(difference(raw, complete)):
            await self._complete(obj, operations)
            return False  # its next version brings it back
        self._admitted[obj.key] = version
        return True

    async def _complete(self, obj: KubeObject, operations: Sequence[Mapping[str, Any]]) -> None:
        meta = obj.metadata
        unchanged = {"op": "test", "path": "/metadata/resourceVersion", "value": meta.resource_version}
        body = [unchanged, *operations]
        await self._client.patch(type(obj), meta.name, meta.namespace, body, content_type=JSON_PATCH)

    async def _fail(self, obj: KubeObject, conditions: Sequence[Mapping[str, Any]], why: str) -> None:
        meta, now = obj.metadata, format_time(self._clock.now().replace(microsecond=0))
        log.warning("%s %s is refused: %s", obj.resource.kind, obj.key, why)
        condition = {"type": FAILED, "status": "True", "reason": REASON, "message": why, "lastTransitionTime": now}
        others = [each for each in conditions if each.get("type") != FAILED]
        body = {"metadata": {"uid": meta.uid}, "status": {"conditions": [*others, condition]}}
        await self._client.patch(
            type(obj), meta.name, meta.namespace, body, content_type=MERGE_PATCH, subresource="status"
        )


class GuardedManager(Manager):
    """A manager whose controllers of kinds with an admission are guarded."""

    def __init__(self, client: Client, clock: Clock, admissions: Sequence[Admission[Any]]) -> None:
        super().__init__(client, clock)
        self._admissions: Mapping[type[KubeObject], Admission[Any]] = {each.kind: each for each in admissions}

    def controller(self, name: str, reconciler: Reconciler, *watches: Watch, workers: int = 4) -> Controller:
        """A controller that acts on what was, or would have been, admitted."""
        for watch in watches:
            if isinstance(watch, For) and (admission := self._admissions.get(watch.informer.kind)) is not None:
                reconciler = Guarded(reconciler, admission, watch.informer, self.client, self.clock)
        return super().controller(name, reconciler, *watches, workers=workers)
