"""An informer: a local copy of a collection, kept by one list and one watch.

Handlers see every change once, in order, synchronously on the loop, and must be quick. A watch that ends is resumed
from the last resourceVersion; when the server no longer remembers it, the collection is listed again and handlers see
the difference. The copy may be slightly old: names derived from the owner make acting on old data harmless.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from ketch.kube.client import Reader, WatchEvent
from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, Gone, TransportError
from ketch.kube.meta import KubeObject, ObjectKey
from ketch.kube.owners import controller_of
from ketch.kube.selectors import Selector

log = logging.getLogger(__name__)

K = TypeVar("K", bound=KubeObject)
Handler = Callable[[K | None, K | None], None]
"""Called with the object before and after: (None, new) added, (old, new) changed, (old, None) gone."""

PAGE_SIZE = 1000
WATCH_SECONDS = 300
SHORTEST_BACK_OFF = 0.1
LONGEST_BACK_OFF = 30.0
_BURST = 256  # events handled before others on the loop have a turn
_OWNER = "metadata.ownerReferences.controller"


class _Index(Generic[K]):
    """Objects by what ``values`` says of them."""

    def __init__(self, values: Callable[[K], Iterable[str]]) -> None:
        self._values = values
        self._objects: dict[str, dict[ObjectKey, K]] = {}

    def get(self, value: str) -> list[K]:
        return list(self._objects.get(value, {}).values())

    def count(self, value: str) -> int:
        return len(self._objects.get(value, ()))

    def put(self, obj: K) -> None:
        for value in self._values(obj):
            self._objects.setdefault(value, {})[obj.key] = obj

    def drop(self, obj: K) -> None:
        for value in self._values(obj):
            found = self._objects.get(value, {})
            found.pop(obj.key, None)
            if not found:
                self._objects.pop(value, None)


def _controller_uid(obj: KubeObject) -> Iterator[str]:
    owner = controller_of(obj)
    if owner is not None:
        yield owner.uid


class Informer(Generic[K]):
    """The objects of ``kind`` that the selectors choose. ``run`` keeps it; reads answer at once from memory.

    ``lean`` says what is kept of an object: without it, all.
    """

    def __init__(
        self,
        client: Reader,
        kind: type[K],
        clock: Clock,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        lean: Callable[[K], K] | None = None,
    ) -> None:
        self.kind = kind
        self.problem = ""
        """Why it is out of touch with the server; empty when it is in touch."""
        self._client = client
        self._clock = clock
        self._namespace = namespace
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._lean = lean
        self._objects: dict[str, dict[ObjectKey, K]] = {}
        self._indexes: dict[str, _Index[K]] = {}
        self._handlers: list[Handler[K]] = []
        self._synced = asyncio.Event()
        self._version = ""

    @property
    def is_synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Until the first list is in and handlers have seen it."""
        await self._synced.wait()

    def get(self, key: ObjectKey) -> K | None:
        """The object, None when absent."""
        return self._objects.get(key.namespace, {}).get(key)

    def list(self, namespace: str = "", selector: Selector | None = None) -> "list[K]":
        """Objects of a namespace (all when empty) whose labels ``selector`` matches."""
        found = self._objects.get(namespace, {}).values() if namespace else self._all()
        return [obj for obj in found if selector is None or selector.matches(obj.metadata.labels)]

    def add_index(self, name: str, values: Callable[[K], Iterable[str]]) -> None:
        """Find objects by the texts that ``values`` derives from them. Adding a name again does nothing."""
        if name not in self._indexes:
            index = self._indexes[name] = _Index(values)
            for obj in self._all():
                index.put(obj)

    def by_index(self, name: str, value: str) -> "list[K]":
        """Objects from which index ``name`` derived ``value``. Raises KeyError when there is no such index."""
        return self._indexes[name].get(value)

    def count_by_index(self, name: str, value: str) -> int:
        """How many objects ``by_index`` would find. Raises KeyError when there is no such index."""
        return self._indexes[name].count(value)

    def owned_by(self, uid: str) -> "list[K]":
        """Objects whose controller is the object of that uid."""
        self.add_index(_OWNER, _controller_uid)
        return self.by_index(_OWNER, uid)

    def add_handler(self, handler: Handler[K]) -> None:
        """Tell ``handler`` of every change; of objects already here as added, at once."""
        self._handlers.append(handler)
        for obj in list(self._all()):
            self._tell(handler, None, obj)

    async def run(self) -> None:
        """Keep the copy until cancelled, whatever the server does."""
        failures = 0
        while True:
            before = self._version
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                failures = 0
                continue
            except Gone as error:
                self._version = ""
                log.info("%s: listing again: %s", self.kind.__name__, error)
            except (APIError, TransportError) as error:
                self.problem = f"{type(error).__name__}: {error}"
                log.warning("%s: out of touch: %s", self.kind.__name__, self.problem)
            failures = 0 if before and self._version != before else failures + 1
            if failures:
                await self._clock.sleep(min(LONGEST_BACK_OFF, SHORTEST_BACK_OFF * 2 ** min(failures - 1, 16)))

    async def _list(self) -> None:
        """Take a fresh copy and tell handlers how it differs."""
        fresh: dict[ObjectKey, K] = {}
        token = ""
        while True:
            page = await self._client.list(
                self.kind,
                self._namespace,
                label_selector=self._label_selector,
                field_selector=self._field_selector,
                limit=PAGE_SIZE,
                continue_token=token,
            )
            fresh.update((obj.key, obj) for obj in page.items)
            token = page.continue_token
            if not token:
                break
        for obj in [obj for obj in self._all() if obj.key not in fresh]:
            self._change(obj, None)
        for key, obj in fresh.items():
            self._put(key, obj)
        self._version = page.resource_version
        self.problem = ""
        self._synced.set()

    async def _watch(self) -> None:
        """Follow changes until the server ends the watch."""
        seen = 0
        async with self._client.watch(
            self.kind,
            self._namespace,
            resource_version=self._version,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            timeout_seconds=WATCH_SECONDS,
        ) as events:
            self.problem = ""
            async for event in events:
                self._take(event)
                seen += 1
                if seen % _BURST == 0:
                    await self._clock.sleep(0)

    def _take(self, event: WatchEvent[K]) -> None:
        obj = event.object
        if event.type == "DELETED":
            if self.get(obj.key) is not None:
                self._change(obj, None)
        elif event.type in ("ADDED", "MODIFIED"):
            self._put(obj.key, obj)
        self._version = obj.metadata.resource_version

    def _put(self, key: ObjectKey, obj: K) -> None:
        if self._lean is not None:
            obj = self._lean(obj)
        old = self.get(key)
        if old is not None and old.metadata.uid != obj.metadata.uid:
            self._change(old, None)  # deleted and made anew while nobody looked
            old = None
        if old is None or old.metadata.resource_version != obj.metadata.resource_version:
            self._change(old, obj)

    def _change(self, old: K | None, new: K | None) -> None:
        """The one place where the copy changes; ``old`` of a removal is the object's last version."""
        key = new.key if new is not None else old.key if old is not None else ObjectKey("", "")
        objects = self._objects.setdefault(key.namespace, {})
        stored = objects.pop(key, None) if new is None else objects.get(key)
        if stored is not None:
            for index in self._indexes.values():
                index.drop(stored)
        if new is not None:
            objects[key] = new
            for index in self._indexes.values():
                index.put(new)
        elif not objects:
            del self._objects[key.namespace]
        for handler in self._handlers:
            self._tell(handler, old, new)

    def _tell(self, handler: Handler[K], old: K | None, new: K | None) -> None:
        try:
            handler(old, new)
        except Exception:  # the loop's owner: one handler's error must not cost the others the event
            log.exception("%s: a handler failed", self.kind.__name__)

    def _all(self) -> Iterator[K]:
        for objects in self._objects.values():
            yield from objects.values()
