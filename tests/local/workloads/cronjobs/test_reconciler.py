"""CronJobs on the real API server and on virtual time; their Jobs' ends are played."""

import pytest
from tests.local.workloads.cronjobs.test_timing import a_cron_job
from tests.playing import NAMESPACE, a_world

from ketch.kube.codec import encode
from ketch.kube.errors import Invalid
from ketch.kube.meta import ObjectKey
from ketch.kube.types.batch import CronJob, Job
from ketch.local.workloads.cronjobs import reconciler

KEY = ObjectKey(NAMESPACE, "tick")


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, reconciler.setup) as world:
        yield world


async def begun(world, schedule: str = "*/10 * * * *", **spec) -> None:
    await world.client.create(a_cron_job(schedule, **spec))
    await world.settle()


async def jobs(world) -> list[str]:
    return [job.metadata.name for job in await world.all(Job)]


async def status(world):
    return (await world.get(CronJob, "tick")).status


async def finish(world, name: str, kind: str = "Complete") -> None:
    now = world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    first = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
    conditions = [{"type": each, "status": "True", "lastTransitionTime": now} for each in (first, kind)]
    told = {"conditions": conditions, "startTime": now}
    if kind == "Complete":
        told["completionTime"] = now
    await world.edit(Job, name, {"status": told}, "status")
    await world.settle()


async def test_a_job_comes_at_its_time_and_is_told_of(world):
    await begun(world)
    assert await jobs(world) == []
    await world.pass_time(601)
    (name,) = await jobs(world)
    found = await status(world)
    assert [each.name for each in found.active] == [name]
    assert found.last_schedule_time.minute == 10
    assert await world.events("SuccessfulCreate") == [f"Created job {name}"]
    assert await world.settles("cronjobs", KEY, ObjectKey(NAMESPACE, "never"))
    await finish(world, name)
    found = await status(world)
    assert (found.active, found.last_successful_time) == ((), world.now().replace(microsecond=0))
    assert await world.events("SawCompletedJob") == [f"Saw completed job: {name}, condition: Complete"]
    await world.pass_time(600)
    assert len(await jobs(world)) == 2


@pytest.mark.parametrize(("policy", "count"), [("Allow", 3), ("Forbid", 1), ("Replace", 1)])
async def test_what_is_done_while_one_still_runs(world, policy, count):
    await begun(world, concurrencyPolicy=policy)
    for _ in range(3):
        await world.pass_time(601)
    assert len(await jobs(world)) == count
    assert len((await status(world)).active) == count
    if policy == "Forbid":
        assert "concurrency policy is Forbid" in (await world.events("JobAlreadyActive"))[0]
        (name,) = await jobs(world)
        await finish(world, name)  # what was held back is made up for once
        assert len(await jobs(world)) == 2


async def test_suspended_it_makes_none_and_makes_up_for_the_last(world):
    await begun(world, suspend=True)
    await world.pass_time(3601)
    assert await jobs(world) == []
    await world.edit(CronJob, "tick", {"spec": {"suspend": False}})
    await world.settle()
    assert len(await jobs(world)) == 1


async def test_too_late_is_told_and_left(world):
    await begun(world, suspend=True, startingDeadlineSeconds=30)
    await world.pass_time(659)
    await world.edit(CronJob, "tick", {"spec": {"suspend": False}})
    await world.settle()
    assert await jobs(world) == []
    assert (await world.events("MissSchedule"))[0].startswith("Missed scheduled time to start a job: ")


async def test_old_jobs_go(world):
    await begun(world, successfulJobsHistoryLimit=2, failedJobsHistoryLimit=1)
    names = []
    for number in range(6):
        await world.pass_time(601)
        (new,) = set(await jobs(world)) - set(names)
        names.append(new)
        await finish(world, new, "Failed" if number < 3 else "Complete")
    assert await jobs(world) == sorted([names[2], *names[4:]])


async def test_one_made_by_hand_holds_nothing_up(world):
    await begun(world, concurrencyPolicy="Forbid")
    found = await world.get(CronJob, "tick")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "tick", "uid": found.metadata.uid, "controller": True}
    meta = {
        "name": "by-hand",
        "namespace": NAMESPACE,
        "ownerReferences": [owner],
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
    }
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": encode(found.spec.job_template.spec)}
    await world.client.request("POST", f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", body=body)
    await world.pass_time(601)
    assert len(await jobs(world)) == 2
    assert len((await status(world)).active) == 1


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"schedule": "* * * *"}, "spec.schedule"),
        ({"schedule": "TZ=UTC 0 * * * *"}, "spec.schedule"),
        ({"timeZone": "Mars/Olympus"}, "spec.timeZone"),
        ({"concurrencyPolicy": "Sometimes"}, "spec.concurrencyPolicy"),
        ({"startingDeadlineSeconds": -1}, "spec.startingDeadlineSeconds"),
        ({"failedJobsHistoryLimit": -1}, "spec.failedJobsHistoryLimit"),
        ({"name": "a" * 53}, "metadata.name"),
    ],
)
async def test_bad_input_is_refused_by_its_field(world, spec, field):
    body = a_cron_job(spec.pop("schedule", "@daily"), **{key: spec[key] for key in spec if key != "name"}).to_json()
    body["metadata"]["name"] = spec.get("name", "tick")
    with pytest.raises(Invalid) as caught:
        await world.client.request("POST", f"/apis/batch/v1/namespaces/{NAMESPACE}/cronjobs", body=body)
    assert [cause.field for cause in caught.value.details.causes] == [field]
