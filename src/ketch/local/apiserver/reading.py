"""get, list and watch: answered from memory."""

import base64
import binascii
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from ketch.kube.clock import Clock
from ketch.kube.errors import BadRequest, Gone, NotFound, StatusDetails
from ketch.local.apiserver.answers import ListAnswer, ObjectAnswer, WatchAnswer, WatchedEvent
from ketch.local.apiserver.conversion import as_served
from ketch.local.apiserver.deadlines import Deadline
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.selection import Selection, selection
from ketch.local.apiserver.store.records import Change, Expired, Record, StoreKey
from ketch.local.apiserver.store.store import Store

BOOKMARK_SECONDS = 60.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class _Position(msgspec.Struct, frozen=True):
    """Where a paged list goes on; travels as an opaque token."""

    revision: int
    namespace: str
    name: str

    def token(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode()


def _position(token: str) -> _Position:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=_Position)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise BadRequest("continue key is not valid: list again without it") from None


def not_found(resource: ServedResource, name: str) -> NotFound:
    """The error for an absent object."""
    details = StatusDetails(name=name, group=resource.group, kind=resource.plural)
    return NotFound(f'{resource.qualified} "{name}" not found', details)


def too_old(revision: int, oldest: int) -> Gone:
    """The error for a revision that is no longer remembered."""
    return Gone(f"too old resource version: {revision} ({oldest})")


def store_key(resource: ServedResource, target: Target) -> StoreKey:
    """Where the store keeps what ``target`` names."""
    return StoreKey(resource.storage, target.namespace if resource.namespaced else "", target.name)


class ReadHandlers:
    """Reads cost what they return. Nothing here waits but watches."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def get(self, target: Target, resource: ServedResource) -> ObjectAnswer:
        """One object. Raises NotFound."""
        record = self._store.get(store_key(resource, target))
        if record is None:
            raise not_found(resource, target.name)
        return ObjectAnswer(resource, record)

    def list(self, call: Call, target: Target, resource: ServedResource) -> ListAnswer:
        """A page of objects at one revision. Raises BadRequest, Gone."""
        wanted = self._selection(call, target, resource)
        limit = call.number("limit") or 0
        position = _position(call.query["continue"]) if call.query.get("continue") else None
        asked = call.number("resourceVersion")
        if position is None and asked and call.query.get("resourceVersionMatch") == "Exact":
            position = _Position(asked, "", "")
        revision = position.revision if position else self._store.revision
        records = self._records(resource, wanted, position)
        page: list[Record] = []
        more = False
        for record in records:
            if wanted.matches is None or wanted.matches(record.value):
                if limit and len(page) == limit:
                    more = True
                    break
                page.append(record)
        if not more:
            return ListAnswer(resource, page, revision)
        last = page[-1].key
        remaining = None
        if wanted.matches is None and wanted.name is None:
            remaining = 1 + sum(1 for _ in records)
        return ListAnswer(resource, page, revision, _Position(revision, last.namespace, last.name).token(), remaining)

    def _selection(self, call: Call, target: Target, resource: ServedResource) -> Selection:
        labels, fields = call.query.get("labelSelector", ""), call.query.get("fieldSelector", "")
        return selection(resource, target.namespace, target.name, labels, fields)

    def _records(self, resource: ServedResource, wanted: Selection, position: _Position | None) -> Iterator[Record]:
        if wanted.name is not None and position is None and (wanted.namespace or not resource.namespaced):
            record = self._store.get(StoreKey(resource.storage, wanted.namespace or "", wanted.name))
            return iter([record] if record else [])
        namespace = wanted.namespace if resource.namespaced else None
        if position is None or position.revision == self._store.revision:
            after = (position.namespace, position.name) if position else ("", "")
            found = self._store.list(resource.storage, namespace, after)
        else:
            if position.revision > self._store.revision:
                raise BadRequest(f"Too large resource version: {position.revision}, current: {self._store.revision}")
            try:
                after = (position.namespace, position.name)
                found = self._store.list_at(resource.storage, position.revision, namespace, after)
            except Expired:
                raise Gone(
                    "The provided continue parameter is too old to display a consistent list result: "
                    "list again without it"
                ) from None
        if wanted.name is None:
            return found
        return (record for record in found if record.key.name == wanted.name)

    def watch(self, call: Call, target: Target, resource: ServedResource) -> WatchAnswer:
        """Changes from now or from a revision on. Raises BadRequest; Gone when the watch begins."""
        wanted = self._selection(call, target, resource)
        # Checked before the stream opens, so that bad parameters are an answer and not an event.
        after = call.number("resourceVersion")
        initial = call.flag("sendInitialEvents") if "sendInitialEvents" in call.query else not after
        bookmarks = call.flag("allowWatchBookmarks")
        seconds = call.number("timeoutSeconds")
        if "sendInitialEvents" in call.query and call.query.get("resourceVersionMatch") != "NotOlderThan":
            raise BadRequest("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        end_mark = "sendInitialEvents" in call.query and initial and bookmarks
        return WatchAnswer(resource, self._events(resource, wanted, after, initial, end_mark, bookmarks, seconds))

    @asynccontextmanager
    async def _events(  # noqa: PLR0913  # the parameters of a watch, as the API has them
        self,
        resource: ServedResource,
        wanted: Selection,
        after: int | None,
        initial: bool,
        end_mark: bool,
        bookmarks: bool,
        seconds: int | None,
    ) -> AsyncIterator[AsyncIterator[Sequence[WatchedEvent]]]:
        try:
            watcher, missed = self._store.watch(resource.storage, wanted.namespace, None if initial else after)
        except Expired:
            raise too_old(after or 0, self._store.revision) from None
        existing = list(self._records(resource, wanted, None)) if initial else []
        begun = self._store.revision
        deadline = Deadline(self._clock, seconds)

        async def batches() -> AsyncIterator[Sequence[WatchedEvent]]:
            if initial:
                yield [
                    WatchedEvent("ADDED", as_served(resource, record.value))
                    for record in existing
                    if wanted.matches is None or wanted.matches(record.value)
                ]
            if end_mark:
                yield [bookmark(resource, begun, {INITIAL_EVENTS_END: "true"})]
            elif missed and (events := select_events(resource, wanted, missed)):
                yield events
            while (changes := await deadline.wait(watcher.changes(), BOOKMARK_SECONDS if bookmarks else None)) != ():
                if changes is None:
                    if deadline.passed():
                        break
                    yield [bookmark(resource, self._store.revision)]
                elif events := select_events(resource, wanted, changes):
                    yield events

        try:
            yield batches()
        finally:
            self._store.unwatch(watcher)


def bookmark(resource: ServedResource, revision: int, annotations: dict[str, str] | None = None) -> WatchedEvent:
    """A BOOKMARK: nothing older than ``revision`` will come."""
    metadata: dict[str, Any] = {"resourceVersion": str(revision), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    value = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    return WatchedEvent("BOOKMARK", value)


def select_events(resource: ServedResource, wanted: Selection, changes: Sequence[Change]) -> list[WatchedEvent]:
    """The changes as this watcher sees them: objects that begin or cease to match come and go."""
    events: list[WatchedEvent] = []
    for change in changes:
        record, previous = change.record, change.previous
        if wanted.name is not None and record.key.name != wanted.name:
            continue
        if wanted.matches is None:
            now, before = not change.deleted, previous is not None
        else:
            now = not change.deleted and wanted.matches(record.value)
            before = previous is not None and wanted.matches(previous.value)
        if now:
            kind = "MODIFIED" if before else "ADDED"
        elif before:
            kind = "DELETED"
        else:
            continue
        events.append(WatchedEvent(kind, as_served(resource, record.value), change.frames))
    return events
