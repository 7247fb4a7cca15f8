"""The manager: shared informers, the controllers on them, and their life together.

Informers run from the start; controllers begin once every informer is synced and, with leader election, once this
process leads. When cancelled, controllers finish what they have begun while informers still run.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.controller import Controller, Reconciler
from ketch.kube.informer import Informer
from ketch.kube.leader import LeaseLock
from ketch.kube.meta import KubeObject, ObjectKey
from ketch.kube.metrics import Registry, family
from ketch.kube.owners import controller_of

log = logging.getLogger(__name__)

K = TypeVar("K", bound=KubeObject)

_QUIET_TURNS = 25  # turns of the loop without work that make an in-process system idle
_SOON = 0.2


@dataclass(frozen=True, slots=True)
class For(Generic[K]):
    """Reconcile the objects themselves."""

    informer: Informer[K]

    def keys(self, obj: K) -> Iterable[ObjectKey]:
        """Which keys a change of ``obj`` concerns."""
        return (obj.key,)


@dataclass(frozen=True, slots=True)
class Owns(Generic[K]):
    """Reconcile the ``owner_kind`` that controls the changed object."""

    informer: Informer[K]
    owner_kind: type[KubeObject]

    def keys(self, obj: K) -> Iterable[ObjectKey]:
        """Which keys a change of ``obj`` concerns."""
        owner = controller_of(obj)
        resource = self.owner_kind.resource
        if owner is None or owner.kind != resource.kind:
            return ()
        group = owner.api_version.rpartition("/")[0]
        if group != resource.group:
            return ()
        return (ObjectKey(obj.metadata.namespace if resource.namespaced else "", owner.name),)


@dataclass(frozen=True, slots=True)
class Maps(Generic[K]):
    """Reconcile what ``map`` derives from the changed object, asked for its old and its new version."""

    informer: Informer[K]
    map: Callable[[K], Iterable[ObjectKey]]

    def keys(self, obj: K) -> Iterable[ObjectKey]:
        """Which keys a change of ``obj`` concerns."""
        return self.map(obj)


Watch = For[Any] | Owns[Any] | Maps[Any]


class Manager:
    """Composes informers, controllers and tasks around one client. Register before or while it runs.

    ``lean`` says, by kind, what informers keep of an object.
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        *,
        leader: LeaseLock | None = None,
        lean: Mapping[type[KubeObject], Callable[[Any], Any]] | None = None,
    ) -> None:
        self.client = client
        self.clock = clock
        self.metrics = Registry()
        self.metrics.add(self._counted)
        self._leader = leader
        self._lean = lean or {}
        self._informers: dict[tuple[Any, ...], Informer[Any]] = {}
        self._controllers: dict[str, Controller] = {}
        self._tasks: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._watching: dict[asyncio.Task[None], str] = {}
        self._working: dict[asyncio.Task[None], str] = {}
        self._observing = False
        self._acting = False
        self._failure: asyncio.Future[None] | None = None

    def informer(
        self, kind: type[K], namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Informer[K]:
        """The one informer of that kind and selection."""
        chosen = (kind, namespace, label_selector, field_selector)
        found = self._informers.get(chosen)
        if found is None:
            found = self._informers[chosen] = Informer(
                self.client,
                kind,
                self.clock,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                lean=self._lean.get(kind),
            )
            if self._observing:
                self._spawn(self._watching, found.run(), f"informer {kind.__name__}")
        return found

    def controller(self, name: str, reconciler: Reconciler, *watches: Watch, workers: int = 4) -> Controller:
        """A controller that is told the keys of what ``watches`` see. Names are unique."""
        if name in self._controllers:
            raise ValueError(f"there is a controller {name!r} already")
        controller = self._controllers[name] = Controller(name, reconciler, self.clock, workers)
        for watch in watches:
            watch.informer.add_handler(_enqueuer(controller, watch))
        if self._acting:
            self._spawn(self._working, self._started(controller), f"controller {name}")
        return controller

    def add(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``task`` beside the controllers; it is cancelled at the end. Its error ends the manager."""
        self._tasks.append(task)
        if self._acting:
            self._spawn(self._working, task(), getattr(task, "__qualname__", "task"))

    def _counted(self) -> Iterable[str]:
        """What controllers did and have to do, under controller-runtime's names."""
        outcomes = [(name, each.outcomes) for name, each in sorted(self._controllers.items())]
        counts = [
            ((name, result), count)
            for name, each in outcomes
            for result, count in (
                ("success", each.done),
                ("requeue_after", each.requeued),
                ("error", each.failed + each.terminal),
            )
        ]
        reconciled = "controller_runtime_reconcile_total"
        yield from family(reconciled, "Reconciliations.", "counter", ("controller", "result"), counts)
        waiting = [((name,), len(each.queue)) for name, each in self._controllers.items()]
        yield from family("workqueue_depth", "Keys that wait for a worker.", "gauge", ("name",), waiting)

    async def ready(self) -> None:
        """Until every informer is synced."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    def health(self) -> Mapping[str, str]:
        """What is not well, by part; empty when all is."""
        unwell = {f"informer {i.kind.__name__}": i.problem for i in self._informers.values() if i.problem}
        unsynced = {
            f"informer {i.kind.__name__}": "not synced yet" for i in self._informers.values() if not i.is_synced
        }
        return unsynced | unwell

    async def idle(self) -> None:
        """Until there is nothing to do (for tests): no key waits, none is worked on or about to be tried again.

        Keys delayed by ``requeue_after`` do not count. Sound over the in-process transport, where a write's event is on
        the loop when the write returns; over HTTP, wait for a condition instead.
        """
        await self.ready()
        quiet = 0
        while quiet < _QUIET_TURNS:
            await asyncio.sleep(0)  # noqa: TID251  # a turn of the loop, no time
            quiet = quiet + 1 if self._is_quiet() else 0

    def _is_quiet(self) -> bool:
        return all(each.queue.is_idle and not each.queue.retries_within(_SOON) for each in self._controllers.values())

    async def run(self) -> None:
        """Run until cancelled. Raises LeadershipLost, and the error of a task that failed."""
        self._failure = asyncio.get_running_loop().create_future()
        self._observing = True
        for informer in self._informers.values():
            self._spawn(self._watching, informer.run(), f"informer {informer.kind.__name__}")
        starting = asyncio.create_task(self._start())
        try:
            await asyncio.wait([starting, self._failure], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
            await self._failure
        finally:
            self._observing = self._acting = False
            starting.cancel()
            await _stop(self._working)
            if self._leader is not None:
                await self._leader.release()
            await _stop(self._watching)
            if self._failure.done() and not self._failure.cancelled():
                self._failure.exception()  # seen, even when the cancellation came first

    async def _start(self) -> None:
        await self.ready()
        if self._leader is not None:
            await self._leader.acquire()
            self._spawn(self._working, self._leader.hold(), "leader election")
        self._acting = True
        for controller in self._controllers.values():
            self._spawn(self._working, controller.run(), f"controller {controller.name}")
        for task in self._tasks:
            self._spawn(self._working, task(), getattr(task, "__qualname__", "task"))

    async def _started(self, controller: Controller) -> None:
        await self.ready()
        await controller.run()

    def _spawn(self, group: dict[asyncio.Task[None], str], work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        group[task] = name
        task.add_done_callback(lambda done: self._ended(group, done))

    def _ended(self, group: dict[asyncio.Task[None], str], task: asyncio.Task[None]) -> None:
        name = group.pop(task, "")
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("%s failed", name, exc_info=error)
            if self._failure is not None and not self._failure.done():
                self._failure.set_exception(error)


def _enqueuer(controller: Controller, watch: Watch) -> Callable[[KubeObject | None, KubeObject | None], None]:
    """Queue the keys of the new version, and of the old one where they differ."""

    def handle(old: KubeObject | None, new: KubeObject | None) -> None:
        for obj in (old, new):
            if obj is not None:
                for key in watch.keys(obj):
                    controller.enqueue(key)

    return handle


async def _stop(group: dict[asyncio.Task[None], str]) -> None:
    tasks = list(group)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
