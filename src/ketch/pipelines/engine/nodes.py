"""A task instance in memory: its facts, and for a DAG or loop the counters that say what may start next."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ketch.pipelines.engine.plan import Plan
from ketch.pipelines.ir.spec import ComponentSpec, TaskSpec
from ketch.pipelines.records.states import CACHED, FAILED, FINAL, SUCCEEDED
from ketch.pipelines.values import NOTHING, Artifact, Values

_NAMED_FAILURES = 5


@dataclass(slots=True)
class Scope:
    """The inside of a running DAG. ``waiting`` counts open upstreams; ``blocked`` tasks have one that did not end well.

    ``active`` children are those whose end the DAG has not taken note of. ``undecided`` are the tasks without a node
    that may still get one, in the specification's order.
    """

    plan: Plan
    waiting: dict[str, int]
    undecided: dict[str, None]
    blocked: set[str] = field(default_factory=set[str])
    children: dict[str, "Node"] = field(default_factory=dict[str, "Node"])
    active: int = 0
    failed: bool = False


@dataclass(slots=True)
class Iterations:
    """The inside of a running loop: its items, and how many iterations exist and are active."""

    items: list[Any] | tuple[Artifact, ...]
    limit: int
    children: dict[int, "Node"] = field(default_factory=dict[int, "Node"])
    active: int = 0
    failed: bool = False


@dataclass(slots=True)
class Failures:
    """What failed at or below a task: how many steps, and the first few in words."""

    count: int = 0
    named: list[str] = field(default_factory=list[str])

    def add(self, other: "Failures") -> None:
        """Take over what failed below."""
        self.count += other.count
        self.named += other.named[: _NAMED_FAILURES - len(self.named)]

    def __str__(self) -> str:
        if self.count == 1:
            return f"task {self.named[0]}"
        more = f" (and {self.count - len(self.named)} more)" if self.count > len(self.named) else ""
        return f"{self.count} tasks failed: {'; '.join(self.named)}{more}"


@dataclass(slots=True, eq=False)
class Node:
    """One task of the run. ``spec`` is None for the root only."""

    id: str
    path: str
    name: str
    kind: str
    component: ComponentSpec
    spec: TaskSpec | None = None
    parent: "Node | None" = None
    iteration: int | None = None
    state: str = ""
    inputs: Values = NOTHING
    outputs: Values = NOTHING
    error: str = ""
    attempt: int = 0
    launched: bool = False
    scope: Scope | None = None
    iterations: Iterations | None = None
    below: Failures = field(default_factory=Failures)

    @property
    def failures(self) -> Failures:
        """What failed here: a step itself, or what is below a DAG."""
        if self.state != FAILED or self.below.count:
            return self.below
        label = self.display_name if self.iteration is None else f"{self.display_name} ({self.iteration})"
        return Failures(1, [f"{label} failed: {self.error}"])

    @property
    def display_name(self) -> str:
        """What the user called the task."""
        return (self.spec.task_info.name if self.spec else "") or self.name

    @property
    def component_name(self) -> str:
        """Of which the task is one of perhaps many."""
        return self.spec.component_ref.name if self.spec else ""

    @property
    def ended(self) -> bool:
        """In a final state."""
        return self.state in FINAL

    @property
    def well(self) -> bool:
        """Ended with outputs that others may use."""
        return self.state in (SUCCEEDED, CACHED)

    def inside(self) -> Iterator["Node"]:
        """The nodes directly below."""
        if self.scope:
            yield from self.scope.children.values()
        if self.iterations:
            yield from self.iterations.children.values()
