"""Events: what people see of an object's life. Telling is best effort; it never fails its caller."""

import asyncio
import logging
from collections import OrderedDict, deque
from datetime import datetime
from typing import NamedTuple

import msgspec

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.codec import format_time
from ketch.kube.errors import AlreadyExists, APIError, NotFound, TransportError
from ketch.kube.meta import KubeObject, ObjectMeta
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import Event, EventSource, ObjectReference

log = logging.getLogger(__name__)

REMEMBERED = 4096
_LONGEST_NAME = 253
_ATTEMPTS = 4
_LONGEST_MESSAGE = 1024

BURST, PER_SECOND = 20, 5.0
"""So many ordinary events are told at once, and then so many in each second."""
MOST_WAITING = 500
"""Objects of which there is something to tell yet. Of more, the oldest is not told any more."""


def reference(obj: KubeObject) -> ObjectReference:
    """A reference to ``obj`` as events and bindings carry it."""
    return ObjectReference(
        kind=obj.resource.kind,
        api_version=obj.resource.api_version,
        namespace=obj.metadata.namespace,
        name=obj.metadata.name,
        uid=obj.metadata.uid,
        resource_version=obj.metadata.resource_version,
    )


class _Known:
    """One event already told: its count, and the order of its writes."""

    def __init__(self) -> None:
        self.name = ""
        self.count = 0
        self.turn = asyncio.Lock()


class EventRecorder:
    """Writes Events as ``component``. The same about the same object again raises the count of the first."""

    def __init__(self, client: Client, component: str, clock: Clock, host: str = "") -> None:
        self._client = client
        self._clock = clock
        self._source = EventSource(component=component, host=host)
        self._known: OrderedDict[tuple[str, ...], _Known] = OrderedDict()
        self._latest = 0

    async def record(
        self,
        obj: KubeObject,
        type: str,  # noqa: A002  # the API's word
        reason: str,
        message: str,
        moment: datetime | None = None,
    ) -> None:
        """Tell that ``reason`` happened to ``obj`` (at ``moment``, if not just now); ``type`` is Normal or Warning."""
        moment = moment or self._clock.now()
        message = message[:_LONGEST_MESSAGE]
        facts = (obj.metadata.uid, obj.metadata.namespace, obj.metadata.name, type, reason, message)
        known = self._known.setdefault(facts, _Known())
        self._known.move_to_end(facts)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        try:
            async with known.turn:
                await self._write(self._event(obj, type, reason, message, moment), known)
        except (APIError, TransportError) as error:
            log.info("event %s of %s not written: %s", reason, obj.key, error)

    def _name(self, obj: KubeObject, moment: datetime) -> str:
        """A new event's name. Lists are in the order of names: of one object's events, the earlier stand first."""
        self._latest = max(self._latest + 1, int(moment.timestamp() * 1e9))
        return f"{obj.metadata.name[: _LONGEST_NAME - 17]}.{self._latest:016x}"

    def _event(self, obj: KubeObject, kind: str, reason: str, message: str, moment: datetime) -> Event:
        now = moment.replace(microsecond=0)
        return Event(
            metadata=ObjectMeta(name=self._name(obj, moment), namespace=obj.metadata.namespace or "default"),
            involved_object=reference(obj),
            reason=reason,
            message=message,
            type=kind,
            source=self._source,
            count=1,
            first_timestamp=now,
            last_timestamp=now,
            reporting_component=self._source.component,
            reporting_instance=self._source.host,
        )

    async def _write(self, event: Event, known: _Known) -> None:
        if known.count:
            try:
                await self._again(event, known)
            except NotFound:  # events expire
                known.count = 0
            else:
                known.count += 1
                return
        for _ in range(_ATTEMPTS):
            try:
                known.name = (await self._client.create(event)).metadata.name
            except AlreadyExists:  # another recorder told of the object at the same moment
                stem, _, stamp = event.metadata.name.rpartition(".")
                name = f"{stem}.{int(stamp, 16) + 1:016x}"
                event = msgspec.structs.replace(event, metadata=msgspec.structs.replace(event.metadata, name=name))
            else:
                known.count = 1
                return

    async def _again(self, event: Event, known: _Known) -> None:
        last = format_time(event.last_timestamp or self._clock.now())
        patch = {"count": known.count + 1, "lastTimestamp": last}
        await self._client.patch(Event, known.name, event.metadata.namespace, patch, content_type=MERGE_PATCH)


class _News(NamedTuple):
    """An ordinary event that waits for its turn."""

    obj: KubeObject
    reason: str
    message: str
    moment: datetime


class PacedEvents:
    """Tells ordinary events as fast as leaves room for the work they tell of; warnings go at once.

    A pod that lives for some milliseconds has more events than writes: of very many such pods, those that came last
    are told first, and what waits too long is not told.
    """

    def __init__(self, recorder: EventRecorder, clock: Clock, most: int = MOST_WAITING) -> None:
        self._recorder, self._clock, self._most = recorder, clock, most
        self._waiting: OrderedDict[str, deque[_News]] = OrderedDict()
        self._tokens, self._filled = float(BURST), clock.monotonic()
        self._telling: asyncio.Task[None] | None = None
        self._warnings: set[asyncio.Task[None]] = set()

    def tell(self, obj: KubeObject, type: str, reason: str, message: str, moment: datetime | None = None) -> None:  # noqa: A002  # the API's word
        """As ``EventRecorder.record``, some time."""
        moment = moment or self._clock.now()
        if type != "Normal":
            task = asyncio.create_task(self._recorder.record(obj, type, reason, message, moment))
            self._warnings.add(task)
            task.add_done_callback(self._warnings.discard)
            return
        self._waiting.setdefault(obj.metadata.uid, deque()).append(_News(obj, reason, message, moment))
        if len(self._waiting) > self._most:
            self._waiting.popitem(last=False)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def close(self) -> None:
        """Tell nothing more."""
        tasks = [*self._warnings, *([self._telling] if self._telling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell_all(self) -> None:
        while self._waiting:
            await self._turn()
            uid = next(reversed(self._waiting))
            news = self._waiting[uid].popleft()
            if not self._waiting[uid]:
                del self._waiting[uid]
            await self._recorder.record(news.obj, "Normal", news.reason, news.message, news.moment)

    async def _turn(self) -> None:
        """Until one more may be told."""
        now = self._clock.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * PER_SECOND)
        self._filled = now
        if self._tokens < 1:
            await self._clock.sleep((1 - self._tokens) / PER_SECOND)
            self._tokens, self._filled = 1.0, self._clock.monotonic()
        self._tokens -= 1
