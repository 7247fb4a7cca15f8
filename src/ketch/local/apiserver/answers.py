"""What handlers answer with, before a front gives it bytes: one object, a list, a watch, a stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from ketch.local.apiserver.custom.conversion import as_served, served
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Record
from ketch.local.apiserver.streams.nodedoor import Way
from ketch.local.apiserver.verbs.watching import EventStream


@dataclass(slots=True)
class ObjectAnswer:
    """One object: a stored ``record``, or a ``value`` made for this answer."""

    resource: ServedResource | None = None
    record: Record | None = None
    value: Any = None
    code: int = 200
    warnings: tuple[str, ...] = ()

    def json(self) -> Any:
        """The object as JSON in the version that was asked for."""
        if self.record is None:
            return self.value
        assert self.resource
        return as_served(self.resource, self.record.value)


@dataclass(slots=True)
class ListAnswer:
    """A page of a collection."""

    resource: ServedResource
    records: Sequence[Record]
    revision: int
    continue_token: str = ""
    remaining: int | None = None

    def metadata(self) -> dict[str, Any]:
        """metav1.ListMeta."""
        meta: dict[str, Any] = {"resourceVersion": str(self.revision)}
        if self.continue_token:
            meta["continue"] = self.continue_token
        if self.remaining is not None:
            meta["remainingItemCount"] = self.remaining
        return meta

    def json(self) -> dict[str, Any]:
        """The list as JSON; its items are shared with the store."""
        return {
            "kind": f"{self.resource.kind}List",
            "apiVersion": self.resource.api_version,
            "metadata": self.metadata(),
            "items": [as_served(self.resource, record.value) for record in self.records],
        }


@dataclass(slots=True)
class WatchAnswer:
    """A watch not yet begun. Entering it begins."""

    resource: ServedResource
    events: AbstractAsyncContextManager[EventStream]


@dataclass(slots=True)
class StreamAnswer:
    """Bytes as they come (pod logs)."""

    chunks: AbstractAsyncContextManager[AsyncIterator[bytes]]
    content_type: str = "text/plain"


@dataclass(slots=True)
class TextAnswer:
    """Text or ready-made bytes (health, documents)."""

    text: str | bytes
    content_type: str = "text/plain"
    code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ConnectAnswer:
    """A live connection that a node serves: ``path`` at the end of ``way``, with the client's query and handshake."""

    way: Way
    path: str


@dataclass(frozen=True, slots=True)
class RelayAnswer:
    """What somebody else answers: the request as it came, but for its path and who its sender is.

    ``connect`` reaches them, ``host`` is their name for themselves and ``what`` is theirs in messages. The first
    ``segments`` segments of the path, and ``proxy`` behind them, are this server's; ``root`` is what they stand for.
    """

    connect: Callable[[Callable[[], asyncio.Protocol]], Awaitable[asyncio.Transport]]
    host: str
    what: str
    segments: int = 0
    root: str = ""
    headers: Sequence[tuple[str, str]] = ()


Answer = ObjectAnswer | ListAnswer | WatchAnswer | StreamAnswer | TextAnswer | ConnectAnswer | RelayAnswer


async def converted(answer: Answer) -> Answer:
    """An answer whose objects are of the version that was asked for, by their kind's converter. Raises APIError."""
    match answer:
        case ObjectAnswer(resource=ServedResource() as resource, record=Record() as record):
            (answer.record,) = await served(resource, [record])
        case ListAnswer():
            answer.records = await served(answer.resource, answer.records)
        case _:
            pass
    return answer
