"""What was accepted once stays: an update does not fail for what it leaves as it was.

So a definition may become stricter without locking up the objects that it no longer accepts.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")


def _steps(path: str) -> Iterator[str]:
    for found in _STEP.finditer(path):
        yield found[1] or found[2]


def _below(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return cast("dict[str, Any]", value).get(step)
    if isinstance(value, list) and step.isdigit() and int(step) < len(cast("list[Any]", value)):
        return cast("list[Any]", value)[int(step)]
    return None


def unchanged(path: str, obj: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether the field at ``path``, or something that holds it, is as it was."""
    new: Any = obj
    before: Any = old
    for step in _steps(path):
        if isinstance(new, list) and new != before:
            return False  # elements are not known by their places
        new, before = _below(new, step), _below(before, step)
        if new is None or before is None:
            return False
        if new == before:
            return True
    return False
