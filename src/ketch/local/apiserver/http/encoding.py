"""Answers as bytes."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson

from ketch.kube.errors import APIError
from ketch.local.apiserver.absent import NOTHING
from ketch.local.apiserver.answers import ListAnswer, ObjectAnswer
from ketch.local.apiserver.http.accept import DISCOVERY, JSON, PARTIAL, PLAIN, TABLE, YAML, Form
from ketch.local.apiserver.resources import ServedResource
from ketch.local.apiserver.tables.table import table
from ketch.local.apiserver.verbs.watching import WatchedEvent

META_GROUP = "meta.k8s.io/v1"
AGGREGATED = f"{JSON};g=apidiscovery.k8s.io;v=v2;as={DISCOVERY}"
COMMON = b"cache-control: no-cache, private\r\n"


@lru_cache(maxsize=256)
def _begin(code: int, content_type: str) -> bytes:
    phrase = HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else "Unknown"
    return f"HTTP/1.1 {code} {phrase}\r\ncontent-type: {content_type}\r\n".encode() + COMMON


def head(code: int, content_type: str, length: int | None, extra: Sequence[tuple[str, str]] = ()) -> bytes:
    """Status line and headers; ``length`` None announces chunks."""
    lines = _begin(code, content_type)
    for name, value in extra:
        lines += f"{name}: {value}\r\n".encode()
    return lines + (b"transfer-encoding: chunked\r\n\r\n" if length is None else b"content-length: %d\r\n\r\n" % length)


def warning_headers(warnings: Sequence[str]) -> list[tuple[str, str]]:
    """RFC 7234 warnings, which kubectl shows."""
    cleaned = (" ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') for text in warnings)
    return [("warning", f'299 - "{text}"') for text in cleaned]


def status(error: APIError) -> bytes:
    """The metav1.Status of a failure."""
    return orjson.dumps(error.status_body())


def dumped(value: Any, form: Form) -> bytes:
    """A JSON value in the media type that was asked for."""
    if form.media_type != YAML:
        return orjson.dumps(value)
    import yaml  # noqa: PLC0415  # deferred: rarely asked for

    text: str = yaml.safe_dump(orjson.loads(orjson.dumps(value)), sort_keys=False)
    return text.encode()


def partial(value: Mapping[str, Any]) -> dict[str, Any]:
    """An object as metav1.PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": META_GROUP, "metadata": value.get("metadata", NOTHING)}


def object_bytes(answer: ObjectAnswer, form: Form, include: str, now: datetime) -> bytes:
    """One object in the form that was asked for."""
    resource, record = answer.resource, answer.record
    if form.shape in (PLAIN, DISCOVERY) or resource is None:
        if record is not None and resource is not None and form.media_type == JSON and resource.as_stored:
            return record.encoded
        return dumped(answer.json(), form)
    value = answer.json()
    if form.shape == PARTIAL:
        return orjson.dumps(partial(value))
    meta = {"resourceVersion": value.get("metadata", NOTHING).get("resourceVersion", "")}
    return orjson.dumps(table(resource, [value], meta, include, now))


def list_bytes(answer: ListAnswer, form: Form, include: str, now: datetime) -> bytes:
    """A list in the form that was asked for; made of the objects' own bytes where that can be."""
    resource = answer.resource
    if form.shape == PLAIN and form.media_type == JSON and resource.as_stored:
        begin = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": answer.metadata()}
        return orjson.dumps(begin)[:-1] + b',"items":[' + b",".join([each.encoded for each in answer.records]) + b"]}"
    whole = answer.json()
    if form.shape == TABLE:
        return orjson.dumps(table(resource, whole["items"], answer.metadata(), include, now))
    if form.shape == PARTIAL:
        items = [partial(item) for item in whole["items"]]
        kind = {"kind": "PartialObjectMetadataList", "apiVersion": META_GROUP}
        return orjson.dumps({**kind, "metadata": answer.metadata(), "items": items})
    return dumped(whole, form)


def frame(event: WatchedEvent, resource: ServedResource, form: Form, include: str, now: datetime) -> bytes:
    """One watch event as a line; those that many see alike are made once."""
    if form.shape == PLAIN:
        if event.record is None or not resource.as_stored:
            return orjson.dumps({"type": event.type, "object": event.value}) + b"\n"
        frames = event.frames
        known = frames.get(event.type) if frames is not None else None
        if known is None:
            known = b'{"type":"%b","object":%b}\n' % (event.type.encode(), event.record.encoded)
            if frames is not None:
                frames[event.type] = known
        return known
    if form.shape == PARTIAL or event.type == "BOOKMARK":
        shown: Any = partial(event.value) if form.shape == PARTIAL else event.value
    else:
        shown = table(resource, [event.value], {"resourceVersion": ""}, include, now)
    return orjson.dumps({"type": event.type, "object": shown}) + b"\n"


def error_frame(error: APIError) -> bytes:
    """The ERROR event that ends a watch."""
    return orjson.dumps({"type": "ERROR", "object": error.status_body()}) + b"\n"


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
