"""Columns, and the ways in which cells are written."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, cast

from ketch.kube.codec import parse_time

Obj = Mapping[str, Any]
Cell = Callable[[Obj, datetime], Any]
UNKNOWN, NONE, UNSET = "<unknown>", "<none>", "<unset>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365


class Column(NamedTuple):
    """One column; ``priority`` above zero shows it with ``-o wide`` only."""

    name: str
    cell: Cell
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> dict[str, Any]:
        """metav1.TableColumnDefinition."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def duration(seconds: float) -> str:
    """A duration as kubectl writes it: two units while they matter."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(whole, 0)
    minutes, hours, days = whole // _MINUTE, whole // _HOUR, whole // _DAY

    def two(big: int, big_unit: str, small: int, small_unit: str) -> str:
        return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"

    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if minutes < 10:
        return two(minutes, "m", whole % _MINUTE, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return two(days, "d", hours % 24, "h")
    if days < 2 * _YEAR:
        return f"{days}d"
    if days < 8 * _YEAR:
        return two(days // _YEAR, "y", days % _YEAR, "d")
    return f"{days // _YEAR}y"


def since(text: Any, now: datetime) -> str:
    """How long ago a time was."""
    if not isinstance(text, str) or not text:
        return UNKNOWN
    try:
        return duration((now - parse_time(text)).total_seconds())
    except ValueError:
        return UNKNOWN


def at(obj: Any, *path: str, default: Any = "") -> Any:
    """What stands at a path of fields; ``default`` when something on the way is missing."""
    for step in path:
        obj = cast("Mapping[str, Any]", obj).get(step) if isinstance(obj, Mapping) else None
        if obj is None:
            return default
    return obj


def field(*path: str, default: Any = "") -> Cell:
    """A cell that shows one field."""
    return lambda obj, now: at(obj, *path, default=default)  # cells take a time


def age(obj: Obj, now: datetime) -> str:
    """Since the object's creation."""
    return since(at(obj, "metadata", "creationTimestamp"), now)


def name(obj: Obj, now: datetime) -> str:  # cells take a time
    """The object's name."""
    return str(obj["metadata"]["name"])


def joined(values: Iterable[Any], empty: str = NONE) -> str:
    """Values with commas between."""
    return ",".join(map(str, values)) or empty


def labels_text(labels: Mapping[str, Any] | None, empty: str = NONE) -> str:
    """Labels as ``a=b,c=d``."""
    return joined((f"{key}={value}" for key, value in sorted((labels or {}).items())), empty)


NAME = Column("Name", name, "string", "name")
AGE = Column("Age", age)
