"""Column types that every table uses: moments and JSON, the same on SQLite and PostgreSQL."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Dialect
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

JSONObject = Mapping[str, Any]

Json = JSON(none_as_null=True)
"""A JSON value; Python's None is SQL's NULL."""


class Moment(TypeDecorator[datetime]):
    """A timezone-aware time, stored as microseconds since 1970 so that every database sorts and compares it alike."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else (value - EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        return None if value is None else EPOCH + timedelta(microseconds=value)
