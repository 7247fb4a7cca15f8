"""JSON values as protobuf's Struct carries them."""

import math
from typing import Any, Final, cast

import orjson

from ketch.pipelines.errors import InvalidInput

_MAX_DEPTH: Final = 100
_MAX_VALUES: Final = 2_000_000
_EXACT: Final = 2**63


def plain(value: Any) -> Any:
    """``value`` as protobuf's Struct would give it back: integral numbers are ints, keys are texts.

    Raises InvalidInput for what no JSON can carry, for nesting without end and for YAML aliases that multiply.
    """
    left = _MAX_VALUES

    def walk(item: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if depth > _MAX_DEPTH or left < 0:
            raise InvalidInput("the document is nested too deeply or is too large")
        if isinstance(item, bool) or item is None or isinstance(item, str):
            return item
        if isinstance(item, (int, float)):
            return _number(item)
        if isinstance(item, dict):
            entries = cast("dict[Any, Any]", item)
            return {_key(key): walk(entry, depth + 1) for key, entry in entries.items()}
        if isinstance(item, list):
            return [walk(entry, depth + 1) for entry in cast("list[Any]", item)]
        raise InvalidInput(f"{item!r} is not a JSON value")

    return walk(value, 0)


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise InvalidInput(f"{value} is not a JSON value")
    return int(value) if abs(value) < _EXACT and value == int(value) else float(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    return orjson.dumps(key).decode() if isinstance(key, (int, float, bool)) or key is None else str(key)
