"""Jobs on the real API server, their pods played."""

import asyncio

import msgspec
import pytest
from tests.local.workloads.jobs.test_counting import a_job
from tests.playing import NAMESPACE, a_pod, a_world

from ketch.kube.client import DeleteOptions
from ketch.kube.conditions import find
from ketch.kube.errors import Forbidden, Invalid
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.rest import RESTClient
from ketch.kube.types.batch import Job
from ketch.kube.types.pods import Pod
from ketch.local.apiserver.auth.identity import UserInfo
from ketch.local.workloads.jobs import expiry
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.local.workloads.jobs.counting import INDEX, TRACKING
from ketch.local.workloads.jobs.perindex import FAILURES

KEY = ObjectKey(NAMESPACE, "job")


@pytest.fixture
async def world(tmp_path):
    async with a_world(tmp_path, jobs.setup, expiry.setup) as world:
        yield world


async def start(world, **spec) -> None:
    await world.client.create(a_job(**spec))
    await world.settle()


async def running(world) -> list[Pod]:
    pods = [pod for pod in await world.all(Pod) if pod.metadata.deletion_timestamp is None]
    return [pod for pod in pods if pod.status.phase not in ("Succeeded", "Failed")]


async def status(world):
    return (await world.get(Job, "job")).status


async def end(world, *phases: str) -> None:
    for pod, phase in zip(await running(world), phases, strict=False):
        await world.play(pod, phase)
    await world.settle()


def kinds(status) -> list[str]:
    return [each.type for each in status.conditions if each.status == "True"]


async def test_it_runs_to_completion(world):
    await start(world)
    assert len(await running(world)) == 2
    await world.play_all()
    now = await status(world)
    assert (now.active, now.ready, now.succeeded) == (2, 2, 0)
    assert now.start_time == world.now()
    await end(world, "Succeeded", "Succeeded")
    assert len(await running(world)) == 1
    await end(world, "Succeeded")
    now = await status(world)
    assert (now.active, now.succeeded, now.failed) == (0, 3, 0)
    assert kinds(now) == ["SuccessCriteriaMet", "Complete"]
    assert now.completion_time == world.now()
    assert all(TRACKING not in pod.metadata.finalizers for pod in await world.all(Pod))
    assert await world.events("Completed") == ["Job completed"]
    assert await world.settles("jobs", KEY)


async def test_a_failed_pod_is_tried_again_after_a_back_off_that_grows(world):
    await start(world, parallelism=1, completions=1)
    for wait in (10, 20, 40):
        await end(world, "Failed")
        await world.pass_time(wait - 1)
        assert await running(world) == []
        await world.pass_time(2)
        assert len(await running(world)) == 1
    assert (await status(world)).failed == 3
    await end(world, "Succeeded")
    assert kinds(await status(world)) == ["SuccessCriteriaMet", "Complete"]


async def test_too_many_failures_end_it_and_its_other_pods(world):
    await start(world, backoff_limit=0)
    await end(world, "Failed")
    now = await status(world)
    assert (now.failed, now.active) == (1, 0)
    assert kinds(now) == ["FailureTarget", "Failed"]
    assert find(now.conditions, "Failed").reason == "BackoffLimitExceeded"
    assert await running(world) == []
    assert await world.events("BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]
    assert now.completion_time is None


async def test_the_deadline_ends_it(world):
    await start(world, active_deadline_seconds=60)
    await world.pass_time(59)
    assert len(await running(world)) == 2
    await world.pass_time(2)
    assert find((await status(world)).conditions, "Failed").reason == "DeadlineExceeded"
    assert await running(world) == []


async def test_the_failure_policy_ends_it_at_once(world):
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    await start(world, pod_failure_policy={"rules": rules})
    await world.play((await running(world))[0], "Failed", exit_code=42)
    await world.settle()
    assert find((await status(world)).conditions, "Failed").reason == "PodFailurePolicy"


async def test_suspended_it_has_no_pods_and_none_of_them_counts(world):
    await start(world)
    await world.edit(Job, "job", {"spec": {"suspend": True}})
    await world.settle()
    now = await status(world)
    assert (await running(world), now.active, now.failed, now.start_time) == ([], 0, 0, None)
    assert kinds(now) == ["Suspended"]
    await world.edit(Job, "job", {"spec": {"suspend": False}})
    await world.settle()
    assert len(await running(world)) == 2
    assert kinds(await status(world)) == []
    assert len(await world.events("Resumed")) == 1


async def test_an_indexed_job_runs_each_index_once(world):
    await start(world, parallelism=3, completion_mode="Indexed")
    pods = await running(world)
    assert [pod.metadata.labels["batch.kubernetes.io/job-completion-index"] for pod in pods] == ["0", "1", "2"]
    assert [pod.spec.hostname for pod in pods] == ["job-0", "job-1", "job-2"]
    assert [pod.spec.containers[0].env[0].value for pod in pods] == ["0", "1", "2"]
    await end(world, "Succeeded", "Failed", "Succeeded")
    assert (await status(world)).completed_indexes == "0,2"
    await world.pass_time(11)
    (again,) = await running(world)
    assert again.spec.hostname == "job-1"
    await end(world, "Succeeded")
    assert ((await status(world)).completed_indexes, (await status(world)).succeeded) == ("0-2", 3)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"succeededIndexes": "0"}, id="all of its indexes"),
        pytest.param({"succeededIndexes": "0-1", "succeededCount": 1}, id="so many of its indexes"),
        pytest.param({"succeededCount": 1}, id="so many of any"),
    ],
)
async def test_its_success_policy_completes_it_and_ends_the_others(world, rule):
    policy = {"rules": [{"succeededIndexes": "2"}, rule]}
    await start(world, completion_mode="Indexed", parallelism=3, success_policy=policy)
    await world.play_all()
    leader = next(pod for pod in await running(world) if pod.metadata.annotations[INDEX] == "0")
    await world.play(leader, "Succeeded")
    await world.settle()
    assert await running(world) == []
    now = await status(world)
    assert kinds(now) == ["SuccessCriteriaMet", "Complete"]
    met = find(now.conditions, "Complete")
    assert (met.reason, met.message) == ("SuccessPolicy", "Matched rules at index 1")
    assert (now.completed_indexes, now.succeeded, now.active) == ("0", 1, 0)


async def test_a_success_policy_that_is_not_met_changes_nothing(world):
    policy = {"rules": [{"succeededIndexes": "1-2", "succeededCount": 2}]}
    await start(world, completion_mode="Indexed", parallelism=3, success_policy=policy)
    by_index = {pod.metadata.annotations[INDEX]: pod for pod in await running(world)}
    for index in ("0", "1"):
        await world.play(by_index[index], "Succeeded")
        await world.settle()
    assert kinds(await status(world)) == []
    await world.play(by_index["2"], "Succeeded")
    await world.settle()
    assert find((await status(world)).conditions, "Complete").reason == "SuccessPolicy"


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"success_policy": {"rules": [{"succeededCount": 1}]}}, "spec.successPolicy"),
        ({"success_policy": {"rules": [{}]}}, "spec.successPolicy.rules[0]"),
        ({"success_policy": {"rules": [{"succeededIndexes": "3"}]}}, "spec.successPolicy.rules[0].succeededIndexes"),
        ({"success_policy": {"rules": [{"succeededIndexes": "2,1"}]}}, "spec.successPolicy.rules[0].succeededIndexes"),
        ({"success_policy": {"rules": [{"succeededIndexes": "x"}]}}, "spec.successPolicy.rules[0].succeededIndexes"),
        ({"success_policy": {"rules": [{"succeededCount": 4}]}}, "spec.successPolicy.rules[0].succeededCount"),
    ],
)
async def test_a_wrong_success_policy_is_refused_by_its_field(world, spec, field):
    mode = "NonIndexed" if field == "spec.successPolicy" else "Indexed"
    with pytest.raises(Invalid) as caught:
        await world.client.create(a_job(completion_mode=mode, **spec))
    assert [cause.field for cause in caught.value.details.causes] == [field]


async def fail(world, index: int, code: int = 1) -> None:
    pod = next(pod for pod in await running(world) if pod.metadata.annotations[INDEX] == str(index))
    await world.play(pod, "Failed", exit_code=code)
    await world.settle()


async def indexes_at_work(world) -> list[str]:
    return sorted(pod.metadata.annotations[INDEX] for pod in await running(world))


async def test_each_index_fails_by_its_own_limit_and_the_others_go_on(world):
    await start(world, completion_mode="Indexed", parallelism=3, backoff_limit=None, backoff_limit_per_index=1)
    await fail(world, 1)
    assert await indexes_at_work(world) == ["0", "2"]  # its back-off holds up nobody else
    await fail(world, 2)
    await world.pass_time(11)
    assert await indexes_at_work(world) == ["0", "1", "2"]
    again = next(pod for pod in await running(world) if pod.metadata.annotations[INDEX] == "1")
    assert again.metadata.annotations[FAILURES] == "1"
    await fail(world, 1)
    now = await status(world)
    assert (now.failed_indexes, now.failed, kinds(now)) == ("1", 3, [])
    await world.pass_time(60)
    assert await indexes_at_work(world) == ["0", "2"]
    await world.play_all("Succeeded")
    now = await status(world)
    assert (now.completed_indexes, now.failed_indexes) == ("0,2", "1")
    assert kinds(now) == ["FailureTarget", "Failed"]
    met = find(now.conditions, "Failed")
    assert (met.reason, met.message) == ("FailedIndexes", "Job has failed indexes")


async def test_too_many_failed_indexes_end_it(world):
    limits = {"backoff_limit": None, "backoff_limit_per_index": 0, "max_failed_indexes": 1}
    await start(world, completion_mode="Indexed", completions=4, parallelism=4, **limits)
    await fail(world, 0)
    assert kinds(await status(world)) == []
    await fail(world, 3)
    now = await status(world)
    assert (now.failed_indexes, find(now.conditions, "Failed").reason) == ("0,3", "MaxFailedIndexesExceeded")
    assert await running(world) == []


async def test_its_failure_policy_gives_an_index_up_at_once(world):
    rule = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}
    ignored = {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}}
    limits = {"backoff_limit": None, "backoff_limit_per_index": 1}
    policy = {"rules": [rule, ignored]}
    await start(world, completion_mode="Indexed", parallelism=3, pod_failure_policy=policy, **limits)
    await fail(world, 0, 42)
    for _ in range(3):
        await fail(world, 1, 7)
        await world.pass_time(400)
    now = await status(world)
    assert (now.failed_indexes, kinds(now)) == ("0", [])
    assert await indexes_at_work(world) == ["1", "2"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"max_failed_indexes": 1}, "spec.backoffLimitPerIndex"),
        ({"backoff_limit_per_index": -1}, "spec.backoffLimitPerIndex"),
        ({"backoff_limit_per_index": 1, "completion_mode": "NonIndexed"}, "spec.backoffLimitPerIndex"),
        ({"backoff_limit_per_index": 1, "restart": "OnFailure"}, "spec.template.spec.restartPolicy"),
        ({"backoff_limit_per_index": 1, "max_failed_indexes": 4}, "spec.maxFailedIndexes"),
    ],
)
async def test_wrong_limits_by_index_are_refused_by_their_field(world, spec, field):
    with pytest.raises(Invalid) as caught:
        await world.client.create(a_job(**({"completion_mode": "Indexed"} | spec)))
    assert [cause.field for cause in caught.value.details.causes] == [field]


async def test_a_deleted_pod_counts_as_failed_and_is_replaced(world):
    await start(world, parallelism=1, completions=1)
    await world.delete(Pod, (await running(world))[0].metadata.name)
    await world.pass_time(11)
    assert (await status(world)).failed == 1
    assert len(await running(world)) == 1


async def test_no_end_is_lost_over_a_restart(tmp_path):
    async with a_world(tmp_path, jobs.setup) as world:
        await start(world)
    async with a_world(tmp_path) as world:  # nobody looks
        for pod in await running(world):
            await world.play(pod, "Succeeded")
            await world.delete(Pod, pod.metadata.name)
        assert len(await world.all(Pod)) == 2  # the finalizer holds them
    async with a_world(tmp_path, jobs.setup) as world:
        await world.settle()
        assert (await status(world)).succeeded == 2
        assert len(await world.all(Pod)) == 1


async def test_two_hundred_pods_each_count_once(world):
    await start(world, parallelism=200, completions=200)
    assert len(await running(world)) == 200
    await world.play_all("Succeeded")
    await world.settle()
    assert (await status(world)).succeeded == 200
    assert len(await world.all(Pod)) == 200


async def test_it_goes_when_its_time_is_up(world):
    await start(world, completions=1, ttl_seconds_after_finished=100)
    await end(world, "Succeeded")
    await world.pass_time(99)
    assert (await world.get(Job, "job")).metadata.deletion_timestamp is None
    await world.pass_time(2)
    job = await world.get(Job, "job")
    assert job.metadata.finalizers == ("foregroundDeletion",)


async def test_pods_of_a_job_that_is_gone_are_let_go(world):
    await start(world)
    await world.delete(Job, "job", options=DeleteOptions(propagation="Background"))
    await world.settle()
    assert await world.get(Job, "job") is None
    assert all(TRACKING not in pod.metadata.finalizers for pod in await world.all(Pod))
    assert await world.settles("jobs", KEY, ObjectKey(NAMESPACE, "never"))


async def test_a_job_of_another_controller_is_left_alone(world):
    await start(world, managed_by="example.com/other")
    assert await world.all(Pod) == []


async def test_a_loose_pod_is_not_taken_by_an_automatic_selector(world):
    await world.client.create(msgspec.structs.replace(a_pod("loose", {"job-name": "job"})))
    await start(world)
    assert len(await running(world)) == 3


async def test_it_has_failed_only_when_its_other_pods_have_ended(world):
    await start(world, backoff_limit=0)
    failing, other = await running(world)
    await world.client.create_subresource(Pod, other.metadata.name, NAMESPACE, "binding", {"target": {"name": "node"}})
    await world.play(failing, "Failed")
    await world.settle()
    assert kinds(await status(world)) == ["FailureTarget"]
    await world.delete(Pod, other.metadata.name, options=DeleteOptions(grace_period_seconds=0))
    await world.settle()
    assert kinds(await status(world)) == ["FailureTarget", "Failed"]


async def test_pods_of_an_older_job_of_that_name_are_let_go(tmp_path):
    async with a_world(tmp_path, jobs.setup) as world:
        await start(world)
        older = await world.all(Pod)
    async with a_world(tmp_path) as world:  # nobody looks
        await world.delete(Job, "job", options=DeleteOptions(propagation="Background"))
        await world.client.create(a_job())
    async with a_world(tmp_path, jobs.setup) as world:
        for pod in older:
            await world.delete(Pod, pod.metadata.name)
        await world.settle()
        left = {pod.metadata.name for pod in await world.all(Pod)}
        assert len(left) == 2
        assert not left & {pod.metadata.name for pod in older}
        assert (await status(world)).failed == 0


async def test_a_pod_whose_end_could_not_be_written_down_is_held(tmp_path):
    async with a_world(tmp_path) as world:
        await world.client.create(a_job())
        await world.client.request("POST", f"{RBAC}/clusterroles", body=ROLE)
        await world.client.request("POST", f"{RBAC}/clusterrolebindings", body=BINDING)
        limited = Manager(RESTClient(world.api.transport(UserInfo("limited"))), world.clock)
        reconciler = jobs.JobReconciler(limited)
        running_manager = asyncio.create_task(limited.run())
        await limited.ready()
        with pytest.raises(Forbidden):
            await reconciler.reconcile(KEY)
        await world.edit(Job, "job", {"status": {"startTime": "2030-01-01T00:00:00Z"}}, "status")
        await world.client.create(jobs.pod_for(await world.get(Job, "job"), None))
        (pod,) = await world.all(Pod)
        await world.play(pod, "Succeeded")
        await limited.idle()
        with pytest.raises(Forbidden):
            await reconciler.reconcile(KEY)
        assert TRACKING in (await world.get(Pod, pod.metadata.name)).metadata.finalizers
        running_manager.cancel()
        await asyncio.gather(running_manager, return_exceptions=True)


RBAC = "/apis/rbac.authorization.k8s.io/v1"
EVERY = ["get", "list", "watch", "create", "patch", "update", "delete"]
ROLE = {
    "metadata": {"name": "limited"},
    "rules": [{"apiGroups": ["", "batch"], "resources": ["jobs", "pods", "pods/status", "events"], "verbs": EVERY}],
}
BINDING = {
    "metadata": {"name": "limited"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "limited"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}],
}
