"""A case: a pipeline, what it is given, and what must have become of it.

Tasks are named by their way from the root: ``train``, ``for-loop-2/0/train``; outputs by task and key: ``train.model``.
The root's own outputs are ``root.Output``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.pipelines.conformance.seen import Seen

Check = Callable[[Seen], None]

SUCCEEDED, FAILED, SKIPPED, CACHED = "SUCCEEDED", "FAILED", "SKIPPED", "CACHED"


@dataclass(frozen=True)
class Expect:
    """What must have become of a run.

    ``states`` and ``outputs`` are held against the tasks that they name, ``artifacts`` as ``(type, metadata)`` or a
    list of such, ``errors`` as text that the task's error contains. ``absent`` tasks never came into being; with
    ``all_states`` no task but those named may exist. ``check`` sees everything.
    """

    state: str = SUCCEEDED
    states: Mapping[str, str] = field(default_factory=dict[str, str])
    outputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    artifacts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    errors: Mapping[str, str] = field(default_factory=dict[str, str])
    absent: tuple[str, ...] = ()
    run_error: str = ""
    check: Check | None = None

    def __post_init__(self) -> None:
        """A case that says nothing beyond the run's state is no case."""
        assert self.states or self.outputs or self.artifacts or self.errors or self.absent or self.check

    def hold(self, seen: Seen) -> None:
        """Fail unless all of it is so."""
        assert seen.run.state == self.state, seen.story()
        assert {name: seen.state(name) for name in self.states} == dict(self.states), seen.story()
        assert {name: seen.output(name) for name in self.outputs} == dict(self.outputs), seen.story()
        assert {name: seen.described(name) for name in self.artifacts} == dict(self.artifacts), seen.story()
        for name, words in self.errors.items():
            assert words in seen.error(name), seen.story()
        assert [name for name in self.absent if name in seen.tasks] == [], seen.story()
        if self.run_error:
            assert self.run_error in (seen.run.error.message if seen.run.error else ""), seen.story()
        if self.check:
            self.check(seen)


@dataclass(frozen=True)
class Case:
    """``scenario`` drives more than one run by itself; else the pipeline is run once and held against ``expect``."""

    family: str
    name: str
    pipeline: Any = None
    expect: Expect | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    caching: bool | None = None
    scenario: Callable[[Any], None] | None = None

    def __str__(self) -> str:
        return f"{self.family}-{self.name}"


class Family:
    """The cases of one feature, in the order of the file."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases: list[Case] = []

    def case(self, expect: Expect, caching: bool | None = None, **arguments: Any) -> Callable[[Any], Any]:
        """Decorates a pipeline: run with ``arguments``, it must end as expected."""

        def add(pipeline: Any) -> Any:
            name = pipeline.pipeline_spec.pipeline_info.name
            self.cases.append(Case(self.name, name, pipeline, expect, arguments, caching))
            return pipeline

        return add

    def scenario(self, run: Callable[[Any], None]) -> Callable[[Any], None]:
        """Decorates a function that drives runs by itself."""
        self.cases.append(Case(self.name, run.__name__.replace("_", "-"), scenario=run))
        return run
