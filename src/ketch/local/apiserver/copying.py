"""Copies of JSON."""

from typing import Any

import orjson


def fresh(value: Any) -> Any:
    """A copy of JSON that shares nothing with ``value``; through the encoder, which is the quickest way."""
    return orjson.loads(orjson.dumps(value))
