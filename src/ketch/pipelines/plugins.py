"""What a run says to plugins: kept with the run and given back; limits as upstream has them."""

from collections.abc import Mapping
from typing import Any, Final, cast

import orjson

from ketch.pipelines.errors import InvalidInput

MAX_PLUGINS: Final = 16
MAX_ONE: Final = 64 * 1024
MAX_ALL: Final = 256 * 1024
MAX_DEPTH: Final = 10


def check_plugins(given: Mapping[str, Any]) -> None:
    """Raises InvalidInput when there are too many plugins, or what they are told is too large or no object."""
    if len(given) > MAX_PLUGINS:
        raise InvalidInput(f"plugins_input: at most {MAX_PLUGINS} plugins, given are {len(given)}")
    total = 0
    for name, value in given.items():
        if not name:
            raise InvalidInput("plugins_input: a plugin has no name")
        if not isinstance(value, dict):
            raise InvalidInput(f"plugins_input.{name}: expected an object")
        if _deeper(value, MAX_DEPTH):
            raise InvalidInput(f"plugins_input.{name}: nested more than {MAX_DEPTH} levels deep")
        size = len(orjson.dumps(value))
        total += size
        if size > MAX_ONE:
            raise InvalidInput(f"plugins_input.{name}: {size} bytes of JSON, at most {MAX_ONE} are allowed")
    if total > MAX_ALL:
        raise InvalidInput(f"plugins_input: {total} bytes of JSON, at most {MAX_ALL} are allowed")


def _deeper(value: Any, levels: int) -> bool:
    """Whether objects and lists lie in one another more than ``levels`` deep."""
    if not isinstance(value, dict | list):
        return False
    inner = cast("dict[str, Any]", value).values() if isinstance(value, dict) else cast("list[Any]", value)
    return levels == 0 or any(_deeper(each, levels - 1) for each in inner)
