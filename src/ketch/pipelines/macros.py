"""Text macros in a run's parameters: ``[[RunUUID]]``, ``[[CurrentTime.2006-01-02]]`` and their relatives.

Macros that do not apply (``[[Index]]`` of a run without schedule) stay as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_MACRO = re.compile(
    r"\[\[(?P<name>RunUUID|Index|ScheduledTime|CurrentTime)(?:\.(?P<layout>[^\]]+))?\]\]"
    r"|\{\{\$\.(?P<moment>scheduledTime|currentTime)\.strftime\('(?P<format>[^']*)'\)\}\}"
)
_DEFAULT_FORMAT: Final = "%Y%m%d%H%M%S"
_GO_LAYOUT: Final[Mapping[str, str]] = {
    "2006": "%Y",
    "January": "%B",
    "Jan": "%b",
    "Monday": "%A",
    "Mon": "%a",
    "MST": "%Z",
    "-0700": "%z",
    "01": "%m",
    "02": "%d",
    "15": "%H",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "06": "%y",
    "PM": "%p",
}
_GO_TOKEN = re.compile("|".join(sorted(map(re.escape, _GO_LAYOUT), key=len, reverse=True)))


@dataclass(frozen=True, slots=True)
class MacroValues:
    """What the macros stand for in one run; a schedule's are None without one."""

    run_id: str
    now: datetime
    scheduled_at: datetime | None = None
    index: int | None = None


def expand(value: Any, values: MacroValues) -> Any:
    """``value`` with its macros replaced; only texts have any."""
    if not isinstance(value, str):
        return value
    return _MACRO.sub(lambda found: _replacement(found, values), value)


def _replacement(found: re.Match[str], values: MacroValues) -> str:
    name, layout = found["name"], found["layout"]
    if name in ("RunUUID", "Index") and layout is None:
        replaced = values.run_id if name == "RunUUID" else values.index
        return found[0] if replaced is None else str(replaced)
    current = "CurrentTime" in (name, (found["moment"] or "").replace("currentTime", "CurrentTime"))
    moment = values.now if current else values.scheduled_at
    if moment is None or name in ("RunUUID", "Index"):
        return found[0]
    if name:
        form = _DEFAULT_FORMAT if layout is None else _GO_TOKEN.sub(lambda token: _GO_LAYOUT[token[0]], layout)
    else:
        form = found["format"].replace("%s", str(int(moment.timestamp())))
    return moment.strftime(form)
