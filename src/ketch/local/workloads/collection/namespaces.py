"""Namespaces: one that is being deleted is emptied of every served resource, then let go."""

from collections.abc import Mapping, Sequence

from ketch.kube.conditions import set_conditions
from ketch.kube.controller import Result
from ketch.kube.errors import APIError, Conflict, MethodNotAllowed, NotFound
from ketch.kube.manager import For, Manager
from ketch.kube.meta import Condition, ObjectKey, ObjectMeta, Resource
from ketch.kube.types.core import Namespace, NamespaceStatus
from ketch.local.workloads.collection.discovering import Metadata, discover, metadata_of
from ketch.local.workloads.collection.monitor import Monitor

MANAGER = "namespace-controller"
NAME = "namespaces"
FINALIZER = "kubernetes"
FAILED, REMAINING, HELD = (
    "NamespaceDeletionContentFailure",
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
)
PATIENCE_SECONDS = 15.0
"""How long to wait for news of what is left before looking again."""


def remaining_text(left: Mapping[Resource, int]) -> str:
    """What is left, by resource."""
    parts = [f"{_qualified(each)} has {count} resource instances" for each, count in sorted(left.items(), key=_name)]
    return f"Some resources are remaining: {', '.join(parts)}"


def held_text(finalizers: Sequence[str]) -> str:
    """What holds that which is left, and how often."""
    counts = {each: finalizers.count(each) for each in sorted(set(finalizers))}
    parts = [f"{each} in {count} resource instances" for each, count in counts.items()]
    return f"Some content in the namespace has finalizers remaining: {', '.join(parts)}"


def _qualified(resource: Resource) -> str:
    return f"{resource.plural}.{resource.group}"


def _name(item: tuple[Resource, int]) -> str:
    return _qualified(item[0])


def verdicts(left: Mapping[Resource, int], finalizers: Sequence[str], failures: Sequence[str]) -> list[Condition]:
    """The conditions that tell how far the emptying is."""
    return [
        Condition(type=FAILED, status="True", reason="ContentDeletionFailed", message="; ".join(failures))
        if failures
        else Condition(
            type=FAILED,
            status="False",
            reason="ContentDeleted",
            message="All content successfully deleted, may be waiting on finalization",
        ),
        Condition(type=REMAINING, status="True", reason="SomeResourcesRemain", message=remaining_text(left))
        if left
        else Condition(
            type=REMAINING, status="False", reason="ContentRemoved", message="All content successfully removed"
        ),
        Condition(type=HELD, status="True", reason="SomeFinalizersRemain", message=held_text(finalizers))
        if finalizers
        else Condition(
            type=HELD,
            status="False",
            reason="ContentHasNoFinalizers",
            message="All content-preserving finalizers finished",
        ),
    ]


class NamespaceReconciler:
    """Empties namespaces."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._clock = manager.clock
        self._namespaces = manager.informer(Namespace)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One pass."""
        namespace = self._namespaces.get(key)
        if namespace is None or namespace.metadata.deletion_timestamp is None:
            return Result()
        if FINALIZER not in namespace.spec.finalizers:
            return Result()
        left: dict[Resource, int] = {}
        finalizers: list[str] = []
        failures: list[str] = []
        for resource in [each for each in await discover(self._client) if each.namespaced]:
            try:
                held = await self._empty(metadata_of(resource), key.name)
            except (NotFound, MethodNotAllowed):
                continue  # not served any more
            except APIError as error:
                failures.append(f"{_qualified(resource)}: {error}")
                continue
            if held:
                left[resource] = len(held)
                finalizers += [each for obj in held for each in obj.metadata.finalizers]
        if not left and not failures:
            await self._let_go(namespace)
            return Result()
        await self._report(namespace, verdicts(left, finalizers, failures))
        return Result(requeue_after=PATIENCE_SECONDS)

    async def _empty(self, kind: type[Metadata], namespace: str) -> Sequence[Metadata]:
        """Ask every object of a kind to go; what is still there afterwards."""
        found = (await self._client.list(kind, namespace)).items
        if any(obj.metadata.deletion_timestamp is None for obj in found):
            await self._client.delete_collection(kind, namespace)
            found = (await self._client.list(kind, namespace)).items
        return found

    async def _let_go(self, namespace: Namespace) -> None:
        left = [each for each in namespace.spec.finalizers if each != FINALIZER]
        body = {**namespace.to_json(), "spec": {"finalizers": left}}
        try:
            path = namespace.resource.path("", namespace.metadata.name, "finalize")
            await self._client.request("PUT", path, {"fieldManager": MANAGER}, body)
        except (NotFound, Conflict):
            return

    async def _report(self, namespace: Namespace, conditions: Sequence[Condition]) -> None:
        merged = set_conditions(namespace.status.conditions, *conditions, now=self._clock.now())
        if merged == namespace.status.conditions:
            return
        status = NamespaceStatus(conditions=merged)
        meta = ObjectMeta(name=namespace.metadata.name)
        try:
            await self._client.apply_status(Namespace(metadata=meta, status=status), manager=MANAGER)
        except NotFound:
            return


def setup(manager: Manager, monitor: Monitor) -> None:
    """Run the controller; an object that goes from a dying namespace brings it back, as ``monitor`` sees it."""
    namespaces = manager.informer(Namespace)
    controller = manager.controller(NAME, NamespaceReconciler(manager), For(namespaces))

    def gone(old: Metadata | None, new: Metadata | None) -> None:
        if old is None or new is not None or not old.metadata.namespace:
            return
        key = ObjectKey("", old.metadata.namespace)
        namespace = namespaces.get(key)
        if namespace is not None and namespace.metadata.deletion_timestamp is not None:
            controller.enqueue(key)

    monitor.add_handler(gone)
