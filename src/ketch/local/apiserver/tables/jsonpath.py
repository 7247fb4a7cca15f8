"""The part of JSONPath that printer columns use: fields, indexes, slices, ``[*]`` and
``[?(@.a=="b")]``."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

Step = Callable[[Any], list[Any]]

_TOKEN = re.compile(
    r"""\.(?P<field>(?:[^.\[\]\\]|\\.)+)
      | \[\s*(?P<index>-?\d+)\s*\]
      | \[\s*(?P<slice>-?\d*\s*:\s*-?\d*(?:\s*:\s*[1-9]\d*)?)\s*\]
      | \[\s*(?P<star>\*)\s*\]
      | \[\s*'(?P<quoted>[^']*)'\s*\]
      | \[\s*\?\(\s*@(?P<path>[^=!<>]+?)\s*(?P<operator>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\s*\]""",
    re.VERBOSE,
)


class PathError(ValueError):
    """The text is no path of the part that is understood."""


def _field(name: str) -> Step:
    def step(value: Any) -> list[Any]:
        if name == "*":
            return _all(value)
        found = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
        return [] if found is None else [found]

    return step


def _all(value: Any) -> list[Any]:
    if isinstance(value, list):
        return cast("list[Any]", value)
    return list(cast("Mapping[str, Any]", value).values()) if isinstance(value, Mapping) else []


def _index(position: int) -> Step:
    def step(value: Any) -> list[Any]:
        items = cast("list[Any]", value) if isinstance(value, list) else []
        return [items[position]] if -len(items) <= position < len(items) else []

    return step


def _slice(text: str) -> Step:
    bounds = slice(*(int(part) if part.strip() else None for part in text.split(":")))

    def step(value: Any) -> list[Any]:
        return cast("list[Any]", value)[bounds] if isinstance(value, list) else []

    return step


def _filter(path: str, operator: str, text: str) -> Step:
    inner = compiled(path)
    wanted = text[1:-1] if text[:1] in ("'", '"') else text

    def step(value: Any) -> list[Any]:
        return [item for item in _all(value) if (_text(inner(item)) == wanted) == (operator == "==")]

    return step


def _text(found: list[Any]) -> str:
    value = found[0] if found else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


@lru_cache(maxsize=512)
def compiled(path: str) -> Callable[[Any], list[Any]]:
    """The function that finds the values at ``path``. Raises PathError."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[Step] = []
    place = 0
    while place < len(text) and text != ".":
        found = _TOKEN.match(text, place)
        if found is None:
            raise PathError(f"{path!r} is not understood from {text[place:]!r} on")
        place = found.end()
        if found["field"] is not None:
            steps.append(_field(re.sub(r"\\(.)", r"\1", found["field"])))
        elif found["index"] is not None:
            steps.append(_index(int(found["index"])))
        elif found["slice"] is not None:
            steps.append(_slice(found["slice"]))
        elif found["star"] is not None:
            steps.append(_all)
        elif found["quoted"] is not None:
            steps.append(_field(found["quoted"]))
        else:
            steps.append(_filter(found["path"], found["operator"], found["value"]))

    def find(value: Any) -> list[Any]:
        values = [value]
        for step in steps:
            values = [item for each in values for item in step(each)]
        return values

    return find
