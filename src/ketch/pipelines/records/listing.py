"""Lists by pages: filters, order and keyset paging as SQL, the same for every kind of row.

A page is found by the position of the last row of the page before, never by counting rows: pages stay whole while rows
come and go, and the last page costs what the first does. Ties are broken by id, so that the order is total.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    SQLColumnExpression,
    and_,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.interfaces import ORMOption

from ketch.metadata.columns import EPOCH
from ketch.metadata.tables import Base
from ketch.pipelines.errors import InvalidInput

R = TypeVar("R", bound=Base)

EQUALS: Final = "EQUALS"
NOT_EQUALS: Final = "NOT_EQUALS"
GREATER_THAN: Final = "GREATER_THAN"
GREATER_THAN_EQUALS: Final = "GREATER_THAN_EQUALS"
LESS_THAN: Final = "LESS_THAN"
LESS_THAN_EQUALS: Final = "LESS_THAN_EQUALS"
IN: Final = "IN"
IS_SUBSTRING: Final = "IS_SUBSTRING"

TAG_PREFIX: Final = "tags."
_LAST_SECOND = 2**43  # after any moment, and within 64 bits as microseconds
_SECOND = 1_000_000  # moments are stored in microseconds and compared in seconds

Scalar = str | int | datetime


@dataclass(frozen=True, slots=True)
class Predicate:
    """``key operation value``; ``value`` is a tuple exactly when the operation is IN."""

    operation: str
    key: str
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the sort field's value there, and the row's id."""

    value: str | int | float
    id: str


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which page of which rows in which order."""

    size: int
    sort_by: str = "created_at"
    descending: bool = False
    predicates: tuple[Predicate, ...] = ()
    after: Position | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page; ``total`` counts the rows of all pages, ``end`` is None on the last one."""

    rows: Sequence[R]
    total: int
    end: Position | None


@dataclass(frozen=True, slots=True)
class Text:
    """A field that is compared as text."""

    column: SQLColumnExpression[str]

    @property
    def sort_key(self) -> SQLColumnExpression[Any]:
        """What rows are ordered by."""
        return self.column

    def condition(self, predicate: Predicate) -> ColumnElement[bool]:
        """The predicate as SQL."""
        if isinstance(predicate.value, tuple):
            return self.column.in_([_text(predicate, value) for value in predicate.value])
        value = _text(predicate, predicate.value)
        if predicate.operation == IS_SUBSTRING:
            return self.column.icontains(value, autoescape=True)
        return _compare(self.column, predicate.operation, value)


@dataclass(frozen=True, slots=True)
class Time:
    """A field that is a moment; an unset one counts as 1970. Compared by whole seconds."""

    column: SQLColumnExpression[Any]
    nullable: bool = False

    @property
    def sort_key(self) -> ColumnElement[Any]:
        """What rows are ordered by."""
        number = type_coerce(self.column, BigInteger)
        return func.coalesce(number, 0) if self.nullable else number

    def condition(self, predicate: Predicate) -> ColumnElement[bool]:
        """The predicate as SQL: comparisons of seconds become bounds in microseconds, which an index serves."""
        if isinstance(predicate.value, tuple):
            return or_(*(self._within(_second(predicate, value)) for value in predicate.value))
        second, key = _second(predicate, predicate.value), self.sort_key
        start, end = second * _SECOND, (second + 1) * _SECOND
        match predicate.operation:
            case "EQUALS":
                return self._within(second)
            case "NOT_EQUALS":
                return not_(self._within(second))
            case "GREATER_THAN":
                return key >= end
            case "GREATER_THAN_EQUALS":
                return key >= start
            case "LESS_THAN":
                return key < start
            case "LESS_THAN_EQUALS":
                return key < end
            case _:
                raise InvalidInput(f"filter: {predicate.operation} does not apply to {predicate.key}, which is a time")

    def _within(self, second: int) -> ColumnElement[bool]:
        return and_(self.sort_key >= second * _SECOND, self.sort_key < (second + 1) * _SECOND)


@dataclass(frozen=True, slots=True)
class Number:
    """A field that rows are ordered by and that cannot be filtered; where there is none, it is less than any other."""

    column: SQLColumnExpression[Any]

    @property
    def sort_key(self) -> ColumnElement[Any]:
        """What rows are ordered by."""
        return func.coalesce(self.column, -sys.float_info.max)

    def condition(self, predicate: Predicate) -> ColumnElement[bool]:
        """Raises InvalidInput."""
        raise InvalidInput(f"filter: {predicate.key} can be sorted by, not filtered")


Field = Text | Time | Number


class Found(NamedTuple, Generic[R]):
    """A row, and its place in the order."""

    row: R
    position: Position


@dataclass(frozen=True)
class Listing(Generic[R]):
    """How rows of ``model`` are listed: which fields may be filtered and sorted by; ``tags`` may be filtered too.

    ``options`` say what is loaded of the rows. Which rows make a page is asked first, and of nothing but the fields
    that matter, so that an index can answer; what the rows hold is read for those alone.
    """

    model: type[R]
    id: SQLColumnExpression[str]
    fields: Mapping[str, Field]
    tags: ColumnElement[Any] | None = None
    options: Sequence[ORMOption] = ()
    named: Callable[[str], Field | None] = lambda _: None  # fields whose names are the users'

    def field(self, key: str, purpose: str) -> Field:
        """The field of that name. Raises InvalidInput."""
        if (field := self.named(key)) is not None:
            return field
        try:
            return self.fields[key]
        except KeyError:
            known = ", ".join(self.fields)
            raise InvalidInput(f"{purpose}: there is no field {key!r}; known are {known}") from None

    async def page(self, session: AsyncSession, query: ListQuery, *scope: ColumnElement[bool]) -> Page[R]:
        """The page of the rows within ``scope``. Raises InvalidInput."""
        return as_page(await self.found(session, query, *scope), query, await self.count(session, query, *scope))

    async def found(self, session: AsyncSession, query: ListQuery, *scope: ColumnElement[bool]) -> Sequence[Found[R]]:
        """The rows of the page and, if there is one, the row after it. Raises InvalidInput."""
        key = self.field(query.sort_by, "sort_by").sort_key
        places = select(self.id, key).where(*self._conditions(query, scope)).limit(query.size + 1)
        if query.after is not None:
            here, there = tuple_(key, self.id), tuple_(query.after.value, query.after.id)
            places = places.where(here < there if query.descending else here > there)
        order = (key.desc(), self.id.desc()) if query.descending else (key, self.id)
        positions = {
            row_id: Position(value, row_id) for row_id, value in await session.execute(places.order_by(*order))
        }
        rows = await session.scalars(select(self.model).where(self.id.in_(positions)).options(*self.options))
        by_id = {_id_of(row): row for row in rows}
        return [Found(by_id[row_id], position) for row_id, position in positions.items()]

    async def count(self, session: AsyncSession, query: ListQuery, *scope: ColumnElement[bool]) -> int:
        """The rows of all pages. Raises InvalidInput."""
        counted = select(func.count()).select_from(self.model).where(*self._conditions(query, scope))
        return await session.scalar(counted) or 0

    def _conditions(self, query: ListQuery, scope: Sequence[ColumnElement[bool]]) -> Sequence[ColumnElement[bool]]:
        return [*scope, *map(self._condition, query.predicates)]

    def _condition(self, predicate: Predicate) -> ColumnElement[bool]:
        if self.tags is not None and predicate.key.startswith(TAG_PREFIX):
            if predicate.operation != EQUALS or not isinstance(predicate.value, str):
                raise InvalidInput("filter: tags can only be compared by EQUALS with a string_value")
            tag = predicate.key.removeprefix(TAG_PREFIX)
            if not tag or '"' in tag or "\0" in tag:  # no tag has such a name, and SQL has no way to write it
                return false()
            return self.tags[tag].as_string() == predicate.value
        return self.field(predicate.key, "filter").condition(predicate)


def as_page(found: Sequence[Found[R]], query: ListQuery, total: int) -> Page[R]:
    """The page that starts with what was found."""
    shown = found[: query.size]
    return Page([each.row for each in shown], total, shown[-1].position if len(found) > query.size else None)


async def merged(
    session: AsyncSession, query: ListQuery, *parts: tuple[Listing[Any], ColumnElement[bool]]
) -> Page[Any]:
    """One page of rows of several kinds, which are listed by the same fields."""
    found: list[Found[Any]] = []
    total = 0
    for listing, scope in parts:
        found += await listing.found(session, query, scope)
        total += await listing.count(session, query, scope)
    found.sort(key=lambda each: (each.position.value, each.position.id), reverse=query.descending)
    return as_page(found, query, total)


def _id_of(row: Any) -> str:
    return row.id


def _compare(column: SQLColumnExpression[Any], operation: str, value: Any) -> ColumnElement[bool]:
    match operation:
        case "EQUALS":
            return column == value
        case "NOT_EQUALS":
            return column != value
        case "GREATER_THAN":
            return column > value
        case "GREATER_THAN_EQUALS":
            return column >= value
        case "LESS_THAN":
            return column < value
        case _:
            return column <= value


def _text(predicate: Predicate, value: Scalar) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"filter: {predicate.key} is a text, compare it with string_value")
    return value


def _second(predicate: Predicate, value: Scalar) -> int:
    if isinstance(value, datetime):
        return int((value - EPOCH).total_seconds() // 1)
    if isinstance(value, int):
        return max(-_LAST_SECOND, min(value, _LAST_SECOND))
    raise InvalidInput(f"filter: {predicate.key} is a time, compare it with timestamp_value or long_value")
