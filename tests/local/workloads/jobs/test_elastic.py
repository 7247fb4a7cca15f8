"""Jobs that change their size, are suspended in the middle, and what their failure policies may not say."""

import pytest
from tests.local.workloads.jobs.test_counting import a_job
from tests.local.workloads.jobs.test_reconciler import end, indexes_at_work, kinds, start, status, world

from ketch.kube.errors import Invalid
from ketch.kube.types.batch import Job
from ketch.kube.types.pods import Pod
from ketch.local.workloads.jobs.counting import INDEX

__all__ = ["world"]


async def resize(world, size: int) -> None:
    await world.edit(Job, "job", {"spec": {"completions": size, "parallelism": size}})
    await world.settle()


async def test_an_indexed_job_grows_and_shrinks_with_both_its_numbers(world):
    await start(world, completion_mode="Indexed", completions=2, parallelism=2)
    await resize(world, 4)
    assert await indexes_at_work(world) == ["0", "1", "2", "3"]
    await resize(world, 1)
    assert await indexes_at_work(world) == ["0"]
    await resize(world, 3)
    assert await indexes_at_work(world) == ["0", "1", "2"]
    await end(world, "Succeeded", "Succeeded", "Succeeded")
    now = await status(world)
    assert (now.completed_indexes, now.succeeded, now.failed) == ("0-2", 3, 0)
    assert "Complete" in kinds(now)


async def test_an_index_that_is_no_more_counts_no_more(world):
    await start(world, completion_mode="Indexed", completions=3, parallelism=3)
    pods = {pod.metadata.annotations[INDEX]: pod for pod in await world.all(Pod)}
    await world.play(pods["2"], "Succeeded")
    await world.settle()
    assert (await status(world)).completed_indexes == "2"
    await resize(world, 2)
    now = await status(world)
    assert (now.completed_indexes, now.succeeded, kinds(now)) == ("", 0, [])


@pytest.mark.parametrize("change", [{"completions": 5}, {"completions": 5, "parallelism": 4}, {"managedBy": "a/b"}])
async def test_what_may_not_change(world, change):
    await start(world, completion_mode="Indexed", completions=3, parallelism=3)
    with pytest.raises(Invalid, match="field is immutable"):
        await world.edit(Job, "job", {"spec": change})


async def test_the_deadline_begins_anew_when_it_is_resumed(world):
    await start(world, active_deadline_seconds=100)
    begun = (await status(world)).start_time
    await world.pass_time(90)
    await world.edit(Job, "job", {"spec": {"suspend": True}})
    await world.settle()
    now = await status(world)
    assert (now.start_time, kinds(now), now.active) == (None, ["Suspended"], 0)
    await world.pass_time(60)
    await world.edit(Job, "job", {"spec": {"suspend": False}})
    await world.settle()
    assert (await status(world)).start_time > begun
    await world.pass_time(90)
    assert "Failed" not in kinds(await status(world))
    await world.pass_time(20)
    assert "Failed" in kinds(await status(world))


CODES = {"operator": "In", "values": [1]}
PATH = "spec.podFailurePolicy"


@pytest.mark.parametrize(
    ("rule", "spec", "field"),
    [
        ({"action": "Retry", "onExitCodes": CODES}, {}, f"{PATH}.rules[0].action"),
        ({"action": "FailIndex", "onExitCodes": CODES}, {}, f"{PATH}.rules[0].action"),
        ({"action": "FailJob"}, {}, f"{PATH}.rules[0]"),
        (
            {"action": "FailJob", "onExitCodes": CODES | {"values": [0, 1]}},
            {},
            f"{PATH}.rules[0].onExitCodes.values[0]",
        ),
        ({"action": "FailJob", "onExitCodes": CODES | {"values": [2, 1]}}, {}, f"{PATH}.rules[0].onExitCodes.values"),
        ({"action": "FailJob", "onExitCodes": CODES | {"operator": "Is"}}, {}, f"{PATH}.rules[0].onExitCodes.operator"),
        (
            {"action": "FailJob", "onExitCodes": CODES | {"containerName": "other"}},
            {},
            f"{PATH}.rules[0].onExitCodes.containerName",
        ),
        ({"action": "FailJob", "onExitCodes": CODES}, {"restart": "OnFailure"}, PATH),
        (
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
            {"pod_replacement_policy": "TerminatingOrFailed"},
            "spec.podReplacementPolicy",
        ),
    ],
)
async def test_wrong_failure_policies_are_refused_by_their_field(world, rule, spec, field):
    with pytest.raises(Invalid) as caught:
        await world.client.create(a_job(pod_failure_policy={"rules": [rule]}, **spec))
    assert [cause.field for cause in caught.value.details.causes] == [field]
