"""Request bodies: bytes to JSON values."""

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import orjson

from ketch.kube.errors import BadRequest, UnsupportedMedia
from ketch.kube.transport import APPLY_PATCH, JSON_PATCH, JSON_TYPE, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from ketch.local.apiserver.protobuf import decoding as protobuf

YAML_TYPES = frozenset({APPLY_PATCH, "application/yaml"})
JSON_TYPES = frozenset({JSON_TYPE, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH})
TIMESTAMP = "tag:yaml.org,2002:timestamp"
MOST_VALUES = 1_000_000
"""Values that a body may hold once its YAML aliases are followed."""

SMALLEST_INTEGER, LARGEST_INTEGER = -(1 << 63), (1 << 64) - 1


def content_type(header: str) -> str:
    """The media type without parameters; JSON when the client says nothing."""
    return header.partition(";")[0].strip().lower() or JSON_TYPE


def decode(body: bytes, media_type: str) -> Any:
    """The value of a body; None when there is none. Raises BadRequest, UnsupportedMedia."""
    if not body:
        return None
    if media_type == protobuf.MEDIA_TYPE:
        return protobuf.decode(body)
    if media_type not in JSON_TYPES and media_type not in YAML_TYPES:
        accepted = ", ".join(sorted(JSON_TYPES | YAML_TYPES))
        raise UnsupportedMedia(
            f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if media_type in YAML_TYPES:
            return _yaml(body)
        raise BadRequest(f"the body of the request is no JSON: {error}") from error


@cache
def _loader() -> Any:
    import yaml  # noqa: PLC0415  # deferred: 25 ms, and nearly every body is JSON

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    known: dict[str, list[tuple[str, Any]]] = base.yaml_implicit_resolvers
    # YAML's JSON part: times stay text.
    resolvers = {first: [item for item in items if item[0] != TIMESTAMP] for first, items in known.items()}
    return type("Loader", (base,), {"yaml_implicit_resolvers": resolvers})


def _yaml(body: bytes) -> Any:
    import yaml  # noqa: PLC0415  # deferred, see _loader

    try:
        value: Any = yaml.load(body, _loader())  # noqa: S506  # the loader is a safe one
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body of the request is no YAML: {' '.join(str(error).split())}") from error
    return _plain(value, iter(range(MOST_VALUES)))


def _plain(value: Any, budget: Iterator[int]) -> Any:
    """``value`` as JSON has it: keys are texts. Raises BadRequest for what JSON cannot hold, and for alias bombs."""
    if next(budget, None) is None:
        raise BadRequest("the body of the request holds too many values")
    if isinstance(value, dict):
        return {_key(name): _plain(item, budget) for name, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(item, budget) for item in cast("list[Any]", value)]
    if isinstance(value, int) and not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        raise BadRequest(f"the body of the request holds the number {value}, which is none of 64 bits")
    if isinstance(value, str) and not _is_unicode(value):
        raise BadRequest(f"the body of the request holds the text {value!r}, which is no Unicode")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise BadRequest(f"the body of the request holds a {type(value).__name__}, which JSON does not know")


def _is_unicode(text: str) -> bool:
    """Whether the text has no halves of surrogate pairs, which YAML can spell and nothing can store."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _key(name: Any) -> str:
    if isinstance(name, bool):
        return "true" if name else "false"
    if isinstance(name, str | int | float) and _is_unicode(str(name)):
        return str(name)
    raise BadRequest("the body of the request has a key that is no text")
