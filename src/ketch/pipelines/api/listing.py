"""The query parameters of every list call: page_size, page_token, sort_by and filter.

A page token is opaque to clients: the position where the page ended, with the order and filter it belongs to, under a
digest. A token that was changed, or that comes with another order or filter, is refused.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any, Final
from urllib.parse import unquote_plus

import orjson

from ketch.kube.codec import parse_time
from ketch.pipelines.api.http import Query
from ketch.pipelines.api.wire import Enum, Int64, Message, Time, decode
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.records.listing import IN, ListQuery, Page, Position, Predicate, Scalar

DEFAULT_SIZE: Final = 20
MAX_SIZE: Final = 200
MAX_PREDICATES: Final = 50
MAX_VALUES: Final = 1000
MAX_TEXT: Final = 4096
"""What a filter may hold."""

LISTED: Final = (
    Query("page_token", "Where the page before this one ended."),
    Query("page_size", f"Rows in a page: {DEFAULT_SIZE} unless told, at most {MAX_SIZE}.", int),
    Query("sort_by", 'A field, or a field and "asc" or "desc".'),
    Query("filter", "Predicates as JSON; every one of them holds for what is listed."),
)
"""The parameters of every list call."""

_DIGEST_SIZE = 12
_MAX_PAGE_SIZE = 2**31 - 1  # the field is an int32


class _Integers(Message):
    values: Sequence[int] = ()


class _LongIntegers(Message):
    values: Sequence[Annotated[str, Int64]] = ()


class _Texts(Message):
    values: Sequence[str] = ()


class _Predicate(Message):
    operation: Annotated[
        str,
        Enum(
            {
                0: "OPERATION_UNSPECIFIED",
                1: "EQUALS",
                2: "NOT_EQUALS",
                3: "GREATER_THAN",
                5: "GREATER_THAN_EQUALS",
                6: "LESS_THAN",
                7: "LESS_THAN_EQUALS",
                8: "IN",
                9: "IS_SUBSTRING",
            }
        ),
    ] = ""
    key: str = ""
    int_value: int | None = None
    long_value: Annotated[str, Int64] | None = None
    string_value: str | None = None
    timestamp_value: Annotated[str, Time] | None = None
    int_values: _Integers | None = None
    long_values: _LongIntegers | None = None
    string_values: _Texts | None = None


class _Filter(Message):
    predicates: Sequence[_Predicate] = ()


def list_query(parameters: Mapping[str, str], scope: str) -> ListQuery:
    """The query that a list call's parameters mean; ``scope`` names what is listed. Raises InvalidInput."""
    size = _page_size(parameters.get("page_size", ""))
    sort_text, filter_text = parameters.get("sort_by", ""), parameters.get("filter", "")
    sort = parse_sort(sort_text) if sort_text.strip() else None
    predicates = parse_filter(filter_text) if filter_text.strip() else None
    if not (token := parameters.get("page_token", "")):
        sort_by, descending = sort or ("created_at", False)
        return ListQuery(size, sort_by, descending, predicates or ())
    sort_by, descending, token_filter, position = _open_token(token, scope)
    token_predicates = parse_filter(token_filter) if token_filter else ()
    if sort not in (None, (sort_by, descending)) or predicates not in (None, token_predicates):
        raise InvalidInput("page token does not match the supplied sort by and/or filtering criteria")
    return ListQuery(size, sort_by, descending, token_predicates, position)


def next_token(page: Page[Any], query: ListQuery, scope: str) -> str:
    """The token of the page after this one; empty on the last page."""
    if page.end is None:
        return ""
    predicates = [_predicate_json(predicate) for predicate in query.predicates]
    text = orjson.dumps({"predicates": predicates}).decode() if predicates else ""
    content = orjson.dumps([scope, query.sort_by, query.descending, text, page.end.value, page.end.id])
    return base64.urlsafe_b64encode(_digest(content) + content).decode()


def parse_sort(text: str) -> tuple[str, bool]:
    """``"field"``, ``"field asc"`` or ``"field desc"`` as (field, descending). Raises InvalidInput."""
    field, *order = text.split()
    field, order = field if ":" in field else field.lower(), [each.lower() for each in order]  # metrics have case
    if order not in ([], ["asc"], ["desc"]):
        raise InvalidInput(f'sort_by: expected "<field>", "<field> asc" or "<field> desc", not {text!r}')
    return field, order == ["desc"]


def parse_filter(text: str) -> tuple[Predicate, ...]:
    """The predicates of a filter, which may be URL-encoded once more. Raises InvalidInput."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            body = orjson.loads(unquote_plus(text))
        except orjson.JSONDecodeError as error:
            raise InvalidInput(f"filter: not valid JSON: {error}") from error
    predicates = decode(_Filter, body, "filter").predicates
    if len(predicates) > MAX_PREDICATES:
        raise InvalidInput(f"filter: at most {MAX_PREDICATES} predicates, given are {len(predicates)}")
    return tuple(map(_predicate, predicates))


def _predicate(message: _Predicate) -> Predicate:
    if not message.key or not message.operation:
        raise InvalidInput("filter: every predicate needs an operation and a key")
    numbers = (message.int_value, message.long_value)
    lists = (message.int_values, message.long_values)
    given: list[Scalar | tuple[Scalar, ...]] = [
        *(int(number or 0) for number in numbers if number is not None),
        *(tuple(int(number or 0) for number in each.values) for each in lists if each is not None),
    ]
    if message.string_value is not None:
        given.append(message.string_value)
    if message.timestamp_value is not None:
        given.append(parse_time(message.timestamp_value))
    if message.string_values is not None:
        given.append(tuple(message.string_values.values))
    if len(given) != 1:
        raise InvalidInput(f"filter: the predicate on {message.key} needs exactly one value")
    value = given[0]
    if isinstance(value, tuple) != (message.operation == IN):
        expected = "a list of values" if message.operation == IN else "one value"
        raise InvalidInput(f"filter: {message.operation} on {message.key} takes {expected}")
    if isinstance(value, tuple) and len(value) > MAX_VALUES:
        raise InvalidInput(f"filter: {message.key}: at most {MAX_VALUES} values, given are {len(value)}")
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise InvalidInput(f"filter: {message.key}: at most {MAX_TEXT} characters")
    return Predicate(message.operation, message.key, value)


def _predicate_json(predicate: Predicate) -> Mapping[str, Any]:
    value = predicate.value
    head = {"operation": predicate.operation, "key": predicate.key}
    if isinstance(value, tuple):
        kind = "string_values" if all(isinstance(item, str) for item in value) else "long_values"
        return head | {kind: {"values": list(value)}}
    if isinstance(value, str):
        return head | {"string_value": value}
    if isinstance(value, int):
        return head | {"long_value": value}
    return head | {"timestamp_value": value.isoformat()}


def _page_size(text: str) -> int:
    try:
        size = int(text or 0)
    except ValueError:
        size = _MAX_PAGE_SIZE + 1
    if size > _MAX_PAGE_SIZE:
        raise InvalidInput(f"page_size: expected an integer, not {text!r}")
    if size < 0:
        raise InvalidInput(f"page_size: must not be negative, is {size}")
    return min(size or DEFAULT_SIZE, MAX_SIZE)


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=_DIGEST_SIZE, person=b"ketch page token").digest()


def _open_token(token: str, scope: str) -> tuple[str, bool, str, Position]:
    try:
        raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidInput("page_token: not a token of this server") from error
    digest, content = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
    if digest != _digest(content):
        raise InvalidInput("page_token: not a token of this server")
    try:
        token_scope, sort_by, descending, filter_text, value, row_id = orjson.loads(content)
    except ValueError as error:
        raise InvalidInput("page_token: not a token of this server") from error
    position = Position(value, row_id)
    if not isinstance(value, str | int | float) or not isinstance(row_id, str):
        raise InvalidInput("page_token: not a token of this server")
    if token_scope != scope:
        raise InvalidInput(f"page_token: belongs to a list of {token_scope}, not of {scope}")
    return sort_by, descending, filter_text, position
