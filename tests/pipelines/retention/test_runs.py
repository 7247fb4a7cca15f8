"""Runs that go by themselves, if the operator wants it so."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from ketch.kube.meta import ObjectKey
from ketch.kube.testing import VirtualClock
from ketch.metadata.database import Database
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import advance_run
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.retention.runs import ALL_RUNS, RunCollector
from ketch.pipelines.settings import Retention

DAY = timedelta(days=1)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}")
    await database.open()
    yield database
    await database.close()


async def a_run(database: Database, clock: VirtualClock, name: str, state: str = "SUCCEEDED") -> None:
    now = clock.now()
    run = Run(
        id=name,
        name=name,
        display_name=name,
        namespace="kubeflow",
        experiment_id="e",
        pipeline_spec={},
        pipeline_root="minio://b",
        created_at=now,
        state="",
    )
    advance_run(run, state, now)
    await RunStore(database).create(run)
    async with database.transaction() as session:
        session.add(
            Task(id=f"{name}-t", run_id=name, path="root", name="t", display_name="t", kind="root", created_at=now)
        )


async def states(database: Database) -> dict[str, str]:
    async with database.session() as session:
        return dict((await session.execute(select(Run.id, Run.storage_state))).all())


async def test_nothing_goes_unless_it_is_asked_for(database: Database):
    clock = VirtualClock()
    await a_run(database, clock, "a")
    await clock.advance(10_000 * DAY.total_seconds())
    collector = RunCollector(database, Retention(), clock, lambda key: None)
    assert not collector.is_on
    assert (await collector.reconcile(ALL_RUNS)).requeue_after is None
    assert await states(database) == {"a": "AVAILABLE"}


async def test_old_runs_are_archived_and_then_deleted(database: Database):
    clock, gone = VirtualClock(), list[ObjectKey]()
    retention = Retention(archive_after=10 * DAY, delete_after=30 * DAY, interval=timedelta(hours=1), batch=2)
    collector = RunCollector(database, retention, clock, gone.append)
    for name in ("a", "b", "c", "d", "e"):
        await a_run(database, clock, name)
    await a_run(database, clock, "going-on", "RUNNING")
    await clock.advance(9 * DAY.total_seconds())
    await a_run(database, clock, "young")
    await RunStore(database).archive("e", clock.now())
    assert (await collector.reconcile(ALL_RUNS)).requeue_after == 3600
    assert {name for name, state in (await states(database)).items() if state == "ARCHIVED"} == {"e"}

    await clock.advance(2 * DAY.total_seconds())
    await collector.reconcile(ALL_RUNS)
    archived = {name for name, state in (await states(database)).items() if state == "ARCHIVED"}
    assert archived == {"a", "b", "c", "d", "e"}

    await clock.advance(29 * DAY.total_seconds())
    await collector.reconcile(ALL_RUNS)  # only what was archived by hand, two days earlier, has had its time
    assert gone == [ObjectKey("kubeflow", "e")]
    await clock.advance(2 * DAY.total_seconds())
    await collector.reconcile(ALL_RUNS)
    assert set(await states(database)) == {"going-on", "young"}
    async with database.session() as session:
        assert set(await session.scalars(select(Task.run_id))) == {"going-on", "young"}


async def test_one_archived_before_there_was_a_time_of_it_counts_from_its_end(database: Database):
    clock, gone = VirtualClock(), list[ObjectKey]()
    await a_run(database, clock, "a")
    await a_run(database, clock, "kept")
    async with RunStore(database).change_existing("a") as run:
        run.storage_state = "ARCHIVED"
    await clock.advance(2 * DAY.total_seconds())
    await RunCollector(database, Retention(delete_after=DAY), clock, gone.append).reconcile(ALL_RUNS)
    assert gone == [ObjectKey("kubeflow", "a")]
    assert await states(database) == {"kept": "AVAILABLE"}
