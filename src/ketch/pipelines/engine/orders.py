"""What goes into the machine and what comes out: facts, events and orders. All plain values."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from ketch.pipelines.steps.placeholders import Names
from ketch.pipelines.values import NOTHING, Values


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine has to know of the run itself. ``names.pipeline_task_*`` are filled in per task.

    ``generation`` counts how often the user has retried the run.
    """

    run_id: str
    parameters: Mapping[str, Any]
    names: Names
    generation: int = 0


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A task as its row has it; from these a machine is rebuilt. ``launched``: a pod may exist for it."""

    id: str
    path: str
    state: str
    inputs: Values = NOTHING
    outputs: Values = NOTHING
    error: str = ""
    attempt: int = 0
    iteration_count: int | None = None
    launched: bool = False


class Begin(msgspec.Struct, frozen=True):
    """The run starts, or is taken up again: do what can be done now."""


class Succeeded(msgspec.Struct, frozen=True):
    """A task's step, or an import, ended well."""

    task_id: str
    outputs: Values
    state: str = "SUCCEEDED"


class Failed(msgspec.Struct, frozen=True):
    """A task's step failed, ``elapsed`` seconds after its first attempt was ordered."""

    task_id: str
    error: str
    elapsed: float = 0.0


CANCEL_MESSAGE = "the run was terminated"


class Cancel(msgspec.Struct, frozen=True):
    """The run is to end now, for this reason."""

    reason: str = CANCEL_MESSAGE


class Retry(msgspec.Struct, frozen=True):
    """The user wants a failed run to go on: what succeeded stays, the rest runs again."""


Event: TypeAlias = Begin | Succeeded | Failed | Cancel | Retry


class Create(msgspec.Struct, frozen=True, kw_only=True):
    """Add a task. It may be final from the start: skipped, or failed for want of an input.

    An iteration's ``inputs`` are what it has beyond its loop's: the item.
    """

    id: str
    path: str
    name: str
    display_name: str
    kind: str
    state: str
    parent_id: str | None = None
    iteration: int | None = None
    iteration_count: int | None = None
    inputs: Values = NOTHING
    error: str = ""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """See to it that a task's step runs in a pod, ``delay`` seconds from now; there may be one already.

    ``error`` is why the attempt before this one failed. What is not ``in_pod`` is done without one.
    """

    task_id: str
    attempt: int = 0
    delay: float = 0.0
    error: str = ""
    in_pod: bool = True


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """Note an existing artifact as the task's output; with ``reuse``, take the one that is known under this URI."""

    task_id: str
    key: str
    uri: str
    type: str
    metadata: Mapping[str, Any]
    reuse: bool = True


class Stop(msgspec.Struct, frozen=True):
    """End a task's step, whatever it is doing."""

    task_id: str


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """A task has ended."""

    task_id: str
    state: str
    outputs: Values = NOTHING
    error: str = ""


class Reopen(msgspec.Struct, frozen=True):
    """A task that had ended is open again, with the inputs it has."""

    task_id: str
    state: str
    attempt: int


class Forget(msgspec.Struct, frozen=True):
    """Remove a task; it will be decided anew, under another id if anything may be left of it."""

    task_id: str


class FinishRun(msgspec.Struct, frozen=True):
    """The run has ended."""

    state: str
    error: str = ""


Order: TypeAlias = Create | Launch | Import | Stop | Finish | Reopen | Forget | FinishRun
