"""Runs of schedules: made when they are due, each once, whatever happens in between."""

from datetime import UTC, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from tests.pipelines.schedules.conftest import START, Stage, asking, compiled

from ketch.pipelines.creation import new_run
from ketch.pipelines.errors import FailedPrecondition
from ketch.pipelines.records.catalog import Label, Source
from ketch.pipelines.schedules.reconciler import LOOK_AGAIN_SECONDS, RecurringRunReconciler, recurring_key
from ketch.pipelines.schedules.requests import Timing, next_request

HOUR, MINUTE = 3600, 60
HOURLY = Timing(cron="0 0 * * * *")


async def test_a_schedule_makes_its_runs_when_they_are_due(stage: Stage):
    row = await stage.schedule(HOURLY, parameters={"text": "[[Index]] at [[ScheduledTime]]"})
    await stage.wait(row, 29 * MINUTE)
    assert await stage.made() == []
    await stage.wait(row, 2 * HOUR)
    first, second = await stage.made()
    assert [run.scheduled_at for run in (first, second)] == [START.replace(hour=hour, minute=0) for hour in (11, 12)]
    assert [run.parameters["text"] for run in (first, second)] == ["1 at 20300101110000", "2 at 20300101120000"]
    assert {run.recurring_run_id for run in (first, second)} == {row.id}
    assert first.display_name.startswith(f"{row.name}-1-")
    assert row.name.startswith("nightly-report-")
    assert {key.name for key in stage.started} == {first.id, second.id}
    experiment = await stage.experiments.get(row.experiment_id)
    assert experiment.last_run_created_at == START.replace(hour=12, minute=0)


async def test_one_without_a_trigger_runs_once_at_once(stage: Stage):
    row = await stage.schedule(Timing())
    await stage.wait(row, 30 * HOUR)
    assert [run.scheduled_at for run in await stage.made()] == [START]


async def test_periods_begin_at_their_start_and_end_with_their_end(stage: Stage):
    start = START + timedelta(hours=1)
    row = await stage.schedule(Timing(interval_second=600, start=start, end=start + timedelta(minutes=20)))
    await stage.wait(row, 5 * HOUR)
    assert [run.scheduled_at for run in await stage.made()] == [
        start + timedelta(minutes=minutes) for minutes in (0, 10, 20)
    ]


@pytest.mark.parametrize(("no_catchup", "hours"), [(False, [11, 12, 13, 14]), (True, [11, 14])])
async def test_what_a_disabled_schedule_misses(stage: Stage, no_catchup: bool, hours: list[int]):
    row = await stage.schedule(HOURLY, no_catchup=no_catchup)
    await stage.wait(row, HOUR)
    await stage.store.enable(row.id, enabled=False)
    await stage.wait(row, 3 * HOUR)
    assert len(await stage.made()) == 1
    await stage.store.enable(row.id, enabled=True)
    await stage.look(row)
    assert [run.scheduled_at.hour for run in await stage.made() if run.scheduled_at] == hours


async def test_no_more_runs_at_once_than_allowed(stage: Stage):
    row = await stage.schedule(HOURLY, max_concurrency=2)
    await stage.wait(row, 5 * HOUR)
    first, _ = await stage.made()
    await stage.bring(first, "FAILED")
    await stage.look(row)
    assert [run.scheduled_at.hour for run in await stage.made() if run.scheduled_at] == [11, 12, 13]
    assert await stage.look(row) is not None


async def test_the_newest_version_is_run_unless_one_is_named(stage: Stage):
    pipeline_id, first_id = await stage.upload()
    reference = {"by_reference": True, "pipeline_id": pipeline_id}
    newest = await stage.schedule(HOURLY, **reference)
    pinned = await stage.schedule(HOURLY, **reference, pipeline_version_id=first_id)
    await stage.clock.advance(1)
    second = await stage.pipelines.create_version(pipeline_id, Label("second"), Source(stage.specification))
    for row, version_id in ((newest, second.id), (pinned, first_id)):
        await stage.wait(row, HOUR if row is newest else 0)
        (run,) = await stage.made(recurring_run_id=row.id)
        assert (run.pipeline_id, run.pipeline_version_id) == (pipeline_id, version_id)


async def test_a_run_that_cannot_be_made_is_told_and_made_once_it_can(stage: Stage, tmp_path: Path):
    pipeline_id, _ = await stage.upload()
    row = await stage.schedule(HOURLY, by_reference=True, pipeline_id=pipeline_id)
    await stage.clock.advance(1)
    asked = Source(compiled(asking, tmp_path / "asking.yaml"))
    broken = await stage.pipelines.create_version(pipeline_id, Label("second"), asked)
    await stage.wait(row, HOUR)
    assert await stage.made() == []
    error = (await stage.store.get(row.id)).error
    assert error is not None
    assert "parameter question is not optional" in error["message"]
    await stage.pipelines.delete_version(broken.id)
    await stage.wait(row, LOOK_AGAIN_SECONDS)
    assert len(await stage.made()) == 1
    assert (await stage.store.get(row.id)).error is None


async def test_an_experiment_that_is_put_away_stops_its_schedules(stage: Stage):
    experiment = await stage.experiments.create("mine")
    row = await stage.schedule(HOURLY, experiment_id=experiment.id)
    await stage.experiments.archive(experiment.id)
    await stage.wait(row, 2 * HOUR)
    assert await stage.made() == []
    assert not (await stage.store.get(row.id)).enabled
    with pytest.raises(FailedPrecondition, match="unarchive it first"):
        await stage.store.enable(row.id, enabled=True)
    with pytest.raises(FailedPrecondition, match="unarchive it first"):
        await stage.schedule(HOURLY, experiment_id=experiment.id)
    await stage.experiments.unarchive(experiment.id)
    await stage.store.enable(row.id, enabled=True)
    await stage.look(row)
    assert len(await stage.made()) == 2


async def test_one_whose_experiment_is_gone_says_so(stage: Stage):
    experiment = await stage.experiments.create("mine")
    row = await stage.schedule(HOURLY, experiment_id=experiment.id)
    await stage.experiments.delete(experiment.id)
    await stage.wait(row, HOUR)
    assert await stage.made() == []
    error = (await stage.store.get(row.id)).error
    assert error is not None
    assert error["message"] == f"Experiment {experiment.id} not found"


class Killed(BaseException):
    """What ends a process."""


async def test_a_kill_after_the_run_was_written_makes_no_second_one(stage: Stage):
    row = await stage.schedule(HOURLY)

    def die(key: object) -> None:
        raise Killed

    dying = RecurringRunReconciler(stage.store, stage.pipelines, stage.experiments, stage.clock, UTC, die)
    await stage.clock.advance(HOUR)
    with pytest.raises(Killed):
        await dying.reconcile(recurring_key(row.id))
    await stage.look(row)
    assert len(await stage.made()) == 1


async def test_two_that_see_the_same_make_one_run(stage: Stage):
    row = await stage.schedule(HOURLY)
    await stage.clock.advance(HOUR)
    stale = await stage.store.get(row.id)
    await stage.look(row)
    (run,) = await stage.made()
    assert not await stage.store.add_run(stale, run, START)
    assert (await stage.store.get(row.id)).last_index == 1


async def test_a_run_that_was_not_counted_is_counted_not_made_again(stage: Stage):
    row = await stage.schedule(HOURLY)
    await stage.clock.advance(HOUR)
    await stage.look(row)
    (run,) = await stage.made()
    async with stage.database.transaction() as session:  # a database that was put together from two backups
        await session.execute(text("UPDATE recurring_runs SET last_index = 0, last_scheduled_at = NULL"))
    await stage.look(row)
    assert [each.id for each in await stage.made()] == [run.id]
    assert (await stage.store.get(row.id)).last_index == 1


@pytest.mark.parametrize(("end_runs", "state"), [(True, "CANCELING"), (False, "PENDING")])
async def test_a_deleted_schedule_leaves_its_runs(stage: Stage, end_runs: bool, state: str):
    row = await stage.schedule(HOURLY)
    await stage.wait(row, 2 * HOUR)
    done, active = await stage.made()
    await stage.bring(done, "SUCCEEDED")
    keys = await stage.store.delete(row.id, end_runs=end_runs)
    assert [key.name for key in keys] == ([active.id] if end_runs else [])
    assert [run.state for run in await stage.made()] == ["SUCCEEDED", state]
    assert await stage.look(row) is None


async def test_far_times_are_looked_for_again_and_again(stage: Stage):
    row = await stage.schedule(Timing(cron="@yearly"))
    assert await stage.look(row) == LOOK_AGAIN_SECONDS


async def test_one_that_is_disabled_at_the_last_moment_runs_no_more(stage: Stage):
    row = await stage.schedule(HOURLY)
    await stage.clock.advance(HOUR)
    seen = await stage.store.get(row.id)
    request = next_request(seen, stage.specification, None, START)
    await stage.store.enable(row.id, enabled=False)
    assert not await stage.store.add_run(seen, new_run(request, START), START)
    assert await stage.made() == []


async def test_hours_are_those_of_the_zone(stage: Stage):
    row = await stage.schedule(Timing(cron="0 0 12 * * *"))
    stage.reconciler = RecurringRunReconciler(
        stage.store, stage.pipelines, stage.experiments, stage.clock, ZoneInfo("Europe/Berlin"), stage.started.append
    )
    await stage.wait(row, 2 * HOUR)
    (run,) = await stage.made()
    assert run.scheduled_at == START.replace(hour=11, minute=0)
