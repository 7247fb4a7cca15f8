"""What is written of a run's progress besides the machine's orders."""

import msgspec

from ketch.pipelines.engine.orders import Order


class Started(msgspec.Struct, frozen=True):
    """A task's step runs."""

    task_id: str


class Waits(msgspec.Struct, frozen=True):
    """A task's step does not run yet, for this reason."""

    task_id: str
    reason: str


class Keyed(msgspec.Struct, frozen=True):
    """A task's outputs are to be found under ``key``, or were taken from the task ``source``."""

    task_id: str
    key: str
    source: str | None = None


Entry = Order | Started | Waits | Keyed
