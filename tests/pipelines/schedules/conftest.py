"""A database, a clock that stands still, and a scheduler that is asked when tests say so."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import compiler, dsl

from ketch.kube.meta import ObjectKey
from ketch.kube.testing import VirtualClock
from ketch.metadata.database import Database
from ketch.pipelines.records.catalog import Label, PipelineStore, Source
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.records.listing import ListQuery
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import advance_run
from ketch.pipelines.records.tables import RecurringRun, Run
from ketch.pipelines.schedules.reconciler import RecurringRunReconciler, recurring_key
from ketch.pipelines.schedules.requests import RecurringRequest, Timing, new_recurring_run
from ketch.pipelines.schedules.store import RecurringRunStore
from ketch.pipelines.specifications import Specification, from_wire

START = datetime(2030, 1, 1, 10, 30, tzinfo=UTC)


@dsl.component(base_image="python:3.11")
def say(text: str) -> str:
    return text


@dsl.pipeline(name="saying")
def saying(text: str = "nothing"):
    say(text=text)


@dsl.pipeline(name="saying")
def asking(text: str, question: str):
    say(text=f"{text} {question}")


def compiled(pipeline: Any, path: Path) -> Specification:
    compiler.Compiler().compile(pipeline, str(path))
    return from_wire(yaml.safe_load(path.read_text()))


@dataclass
class Stage:
    """What tests of schedules need; ``started`` are the runs that the engine was told of."""

    database: Database
    clock: VirtualClock
    directory: Path
    started: list[ObjectKey] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = RecurringRunStore(self.database, self.clock)
        self.experiments = ExperimentStore(self.database, self.clock)
        self.pipelines = PipelineStore(self.database, self.clock)
        self.runs = RunStore(self.database)
        self.specification = compiled(saying, self.directory / "saying.yaml")
        self.reconciler = RecurringRunReconciler(
            self.store, self.pipelines, self.experiments, self.clock, UTC, self.started.append
        )

    async def request(self, timing: Timing, **changes: Any) -> RecurringRequest:
        experiment = await self.experiments.default()
        request = RecurringRequest(
            display_name="Nightly Report",
            experiment_id=experiment.id,
            specification=self.specification,
            by_reference=False,
            timing=timing,
            enabled=True,
            max_concurrency=10,
        )
        return replace(request, **changes)

    async def schedule(self, timing: Timing, **changes: Any) -> RecurringRun:
        row = new_recurring_run(await self.request(timing, **changes), self.clock.now(), UTC)
        await self.store.create(row)
        return row

    async def upload(self, pipeline: Any = saying) -> tuple[str, str]:
        """A pipeline with a version; their ids."""
        source = Source(compiled(pipeline, self.directory / "uploaded.yaml"))
        found, version = await self.pipelines.create_with_version(Label("uploaded"), Label("first"), source)
        return found.id, version.id

    async def look(self, row: RecurringRun) -> float | None:
        """Reconcile until nothing is due; when to look again."""
        while True:
            again = (await self.reconciler.reconcile(recurring_key(row.id))).requeue_after
            if again != 0:
                return again

    async def wait(self, row: RecurringRun, seconds: float) -> None:
        """Let time pass as the controller would."""
        end = self.clock.monotonic() + seconds
        while True:
            again = await self.look(row)
            left = end - self.clock.monotonic()
            if again is None or again > left:
                await self.clock.advance(left)
                break
            await self.clock.advance(again)
        await self.look(row)

    async def made(self, **filters: Any) -> list[Run]:
        """The runs of schedules, oldest first."""
        page = await self.runs.list(ListQuery(200, "scheduled_at"))
        return [run for run in page.rows if all(getattr(run, key) == value for key, value in filters.items())]

    async def bring(self, run: Run, state: str, error: Mapping[str, Any] | None = None) -> None:
        async with self.runs.change_existing(run.id) as change:
            advance_run(change, state, self.clock.now(), error)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    await database.open()
    yield Stage(database, VirtualClock(START), tmp_path)
    await database.close()
