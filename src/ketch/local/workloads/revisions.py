"""ControllerRevisions: the templates that a StatefulSet or DaemonSet had, so that `kubectl rollout undo` finds them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ketch.kube.codec import decode, encode
from ketch.kube.errors import AlreadyExists, APIError, NotFound
from ketch.kube.manager import Manager
from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.owners import controlled_by, controller_of
from ketch.kube.selectors import Selector
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.apps import ControllerRevision, DaemonSet, StatefulSet
from ketch.kube.types.pods import PodTemplateSpec
from ketch.local.workloads.claiming import Claims
from ketch.local.workloads.digests import digest
from ketch.local.workloads.dying import is_dying
from ketch.local.workloads.reporting import report

REVISION_LABEL = "controller-revision-hash"
"""On a pod: which template it was made from."""
HASH_LABEL = "controller.kubernetes.io/hash"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
DEFAULT_LIMIT = 10


class _Collision(Exception):
    """Another template's revision has the name."""


def data_of(template: PodTemplateSpec) -> dict[str, Any]:
    """The template as the strategic merge patch that brings it back."""
    return {"spec": {"template": {**encode(template), "$patch": "replace"}}}


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision remembers."""
    raw = revision.data.get("spec", {}).get("template", {})
    return decode(PodTemplateSpec, {name: value for name, value in raw.items() if name != "$patch"})


def number(revision: ControllerRevision) -> int:
    """Its place in the history."""
    return revision.revision or 0


def in_order(revisions: Collection[ControllerRevision]) -> list[ControllerRevision]:
    """Oldest first."""
    return sorted(revisions, key=lambda each: (number(each), each.metadata.name))


def outlived(
    revisions: Sequence[ControllerRevision], live: Collection[str], limit: int | None
) -> list[ControllerRevision]:
    """Those beyond the limit that nothing uses (``live`` names those that are used); oldest first."""
    idle = [each for each in revisions if each.metadata.name not in live]
    return idle[: max(0, len(idle) - (DEFAULT_LIMIT if limit is None else limit))]


@dataclass(frozen=True)
class History:
    """All revisions of an owner, oldest first; ``newest`` is that of its present template."""

    revisions: tuple[ControllerRevision, ...]
    newest: ControllerRevision

    def named(self, name: str) -> ControllerRevision | None:
        """The revision of that name."""
        return next((each for each in self.revisions if each.metadata.name == name), None)


class Histories:
    """Keeps the histories of one controller's owners."""

    def __init__(self, manager: Manager, name: str) -> None:
        self._client = manager.client
        self._name = name
        self._revisions = manager.informer(ControllerRevision)
        self._claims = Claims(manager.client, self._revisions, name)

    async def of(self, owner: StatefulSet | DaemonSet, selector: Selector) -> History | None:
        """The owner's history, its present template included. Raises APIError.

        None when this pass ends here: the namespace is going, or another template's revision has the name, which is
        counted in the owner's status, so that the next pass tries another name.
        """
        collisions = owner.status.collision_count or 0
        try:
            return await self._of(owner, selector, owner.spec.template, collisions)
        except _Collision:
            status = msgspec.structs.replace(owner.status, collision_count=collisions + 1)
            await report(self._client, owner, status, self._name)
        except APIError as error:
            if not is_dying(error):
                raise
        return None

    async def _of(self, owner: KubeObject, selector: Selector, template: PodTemplateSpec, collisions: int) -> History:
        held = in_order(await self._claims.claimed(owner, selector, self._revisions))
        wanted = data_of(template)
        same = [each for each in held if each.data == wanted]
        following = number(held[-1]) + 1 if held else 1
        if not same:
            made = await self._make(owner, wanted, template, following, collisions)
            return History((*held, made), made)
        newest = same[-1]
        if newest is not held[-1]:
            # An older template again: it is the newest now.
            name, namespace = newest.metadata.name, newest.metadata.namespace
            body = {"revision": following, "metadata": {"resourceVersion": newest.metadata.resource_version}}
            newest = await self._client.patch(
                ControllerRevision, name, namespace, body, content_type=MERGE_PATCH, manager=self._name
            )
        return History((*(each for each in held if each is not same[-1]), newest), newest)

    async def _make(
        self, owner: KubeObject, data: dict[str, Any], template: PodTemplateSpec, place: int, collisions: int
    ) -> ControllerRevision:
        text = digest(data, collisions)
        annotations = {key: value for key, value in owner.metadata.annotations.items() if key != LAST_APPLIED}
        meta = ObjectMeta(
            name=f"{owner.metadata.name}-{text}",
            namespace=owner.metadata.namespace,
            labels={**template.metadata.labels, HASH_LABEL: text},
            annotations=annotations,
        )
        revision = controlled_by(owner, ControllerRevision(metadata=meta, data=data, revision=place))
        try:
            return await self._client.create(revision, manager=self._name)
        except AlreadyExists:
            taken = await self._client.get(ControllerRevision, meta.name, meta.namespace)
        holder = controller_of(taken)
        if taken.data == data and holder is not None and holder.uid == owner.metadata.uid:
            return taken  # the cache is behind
        raise _Collision(meta.name)

    async def prune(self, history: History, live: Collection[str], limit: int | None) -> None:
        """Forget what is beyond the limit."""
        for each in outlived(history.revisions, {*live, history.newest.metadata.name}, limit):
            try:
                await self._client.delete(ControllerRevision, each.metadata.name, each.metadata.namespace)
            except NotFound:
                continue


def labelled(meta: ObjectMeta, revision: str) -> ObjectMeta:
    """A pod's metadata with the mark of its revision."""
    return msgspec.structs.replace(meta, labels={**meta.labels, REVISION_LABEL: revision})
