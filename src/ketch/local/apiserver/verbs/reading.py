"""get, list and watch: answered from memory."""

import base64
import binascii
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager

import msgspec

from ketch.kube.causes import forbidden, unsupported
from ketch.kube.clock import Clock
from ketch.kube.errors import BadRequest, Cause, Gone, Invalid, NotFound, StatusDetails, Unavailable
from ketch.local.apiserver.answers import ListAnswer, ObjectAnswer, WatchAnswer
from ketch.local.apiserver.requests import Call, Target
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.store.records import Expired, Record, StoreKey
from ketch.local.apiserver.store.store import Store
from ketch.local.apiserver.store.watcher import Scope
from ketch.local.apiserver.verbs.selection import Selection, selection
from ketch.local.apiserver.verbs.watching import Asked, EventStream

EXACT, NOT_OLDER = MATCHES = ("Exact", "NotOlderThan")
"""What ``resourceVersionMatch`` may be."""


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


def _too_large(asked: int, current: int) -> Unavailable:
    """The error for a revision that is yet to come."""
    causes = (Cause("ResourceVersionTooLarge", "Too large resource version"),)
    details = StatusDetails(causes=causes, retry_after_seconds=1)
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return Unavailable(message, details, code=504, reason="Timeout")


def _check_options(query: Mapping[str, str], *, watch: bool) -> None:
    """What does not go together among a list's or a watch's parameters. Raises Invalid."""
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    begins = "sendInitialEvents" in query
    causes: list[Cause] = []
    if match and match not in MATCHES:
        causes.append(unsupported("resourceVersionMatch", match, MATCHES))
    elif begins and not watch:
        causes.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    elif begins and match != NOT_OLDER:
        message = f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER}"
        causes.append(forbidden("resourceVersionMatch", message))
    elif match and watch and not begins:
        message = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(forbidden("resourceVersionMatch", message))
    elif match and query.get("continue"):
        causes.append(forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden for continue"))
    elif match and not watch and not version:
        message = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(forbidden("resourceVersionMatch", message))
    elif match == EXACT and version == "0":
        message = f'resourceVersionMatch "{EXACT}" is forbidden for resourceVersion "0"'
        causes.append(forbidden("resourceVersionMatch", message))
    if causes:
        text = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
        details = StatusDetails(group="meta.k8s.io", kind="ListOptions", causes=tuple(causes))
        raise Invalid(f'ListOptions.meta.k8s.io "" is invalid: {text}', details)


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
        _check_options(call.query, watch=False)
        position = _position(call.query["continue"]) if call.query.get("continue") else None
        asked = call.number("resourceVersion")
        if asked and asked > self._store.revision:
            raise _too_large(asked, self._store.revision)
        if position is None and asked and call.query.get("resourceVersionMatch") == EXACT:
            position = _Position(asked, "", "")
        revision = position.revision if position else self._store.revision
        records = self._records(resource, wanted, position)
        page: list[Record] = []
        more = False
        for record in records:
            if wanted.matches is None or wanted.matches(record):
                if limit and len(page) == limit:
                    more = True
                    break
                page.append(record)
        if not more:
            return ListAnswer(resource, page, revision)
        last = page[-1].key
        remaining = None
        if wanted.matches is None and wanted.name is None:
            if revision == self._store.revision:
                namespace = wanted.namespace if resource.namespaced else None
                remaining = self._store.count_after(resource.storage, namespace, (last.namespace, last.name))
            else:
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
            found = self._store.list(resource.storage, namespace, after, wanted.indexed)
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
        _check_options(call.query, watch=True)
        if initial and after and after > self._store.revision:
            raise _too_large(after, self._store.revision)
        asked = Asked(
            after=after,
            initial=initial,
            end_mark="sendInitialEvents" in call.query and initial and bookmarks,
            bookmarks=bookmarks,
            seconds=seconds,
        )
        return WatchAnswer(resource, self._begin(resource, wanted, asked))

    @asynccontextmanager
    async def _begin(self, resource: ServedResource, wanted: Selection, asked: Asked) -> AsyncGenerator[EventStream]:
        if not asked.initial and asked.after and asked.after > self._store.revision:
            # From a future that is not ours (a copy of the database was put back): only a new list tells what is.
            raise too_old(asked.after, self._store.revision)
        try:
            scope = Scope(resource.storage, wanted.namespace, wanted.name, wanted.indexed)
            watcher, missed = self._store.watch(scope, None if asked.initial else asked.after)
        except Expired:
            raise too_old(asked.after or 0, self._store.revision) from None
        # Nothing waits between the two: what exists and what changes meet without gap or overlap.
        existing = list(self._records(resource, wanted, None)) if asked.initial else []
        stream = EventStream(resource, wanted, asked, watcher, self._store, self._clock)
        stream.begin(existing, missed)
        try:
            yield stream
        finally:
            await stream.end()
            self._store.unwatch(watcher)
