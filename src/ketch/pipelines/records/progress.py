"""What of a run's and its tasks' rows changes while the run goes on, apart from the rows themselves.

The engine is the one writer of tasks: it need not read back what it has written. These are what it remembers.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec


class TaskProgress(msgspec.Struct, kw_only=True):
    """A task. Its outputs, which are written once and may be large, are not kept."""

    id: str
    name: str
    kind: str
    state: str
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Mapping[str, Any] | None = None
    pod_name: str = ""
    failed_pods: Sequence[str] = ()
    attempt: int = 0
    retry_at: datetime | None = None
    cache_key: str = ""
    cached_from: str | None = None
    state_history: Sequence[Mapping[str, Any]] = ()


class RunProgress(msgspec.Struct, kw_only=True):
    """A run; ``resource_ttl`` never changes."""

    state: str
    error: Mapping[str, Any] | None
    finished_at: datetime | None
    resources_until: datetime | None
    resource_ttl: Mapping[str, int] | None
    state_history: Sequence[Mapping[str, Any]]


TASK_FIELDS: Final = TaskProgress.__struct_fields__
TASK_CHANGES: Final = tuple(name for name in TASK_FIELDS if name not in ("id", "name", "kind"))
RUN_FIELDS: Final = RunProgress.__struct_fields__
RUN_CHANGES: Final = tuple(name for name in RUN_FIELDS if name != "resource_ttl")


def values_of(progress: TaskProgress | RunProgress, names: Sequence[str]) -> dict[str, Any]:
    """The columns ``names``."""
    return {name: getattr(progress, name) for name in names}
