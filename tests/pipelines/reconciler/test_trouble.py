"""Runs that meet trouble: failures, pods that cannot start or vanish, termination, a control plane that dies."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from kfp import dsl

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.errors import Unavailable
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import Pod
from ketch.pipelines.records.states import CANCELING, FAILED, SUCCEEDED, advance_run

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
NAMESPACE = "kubeflow"
Stage = Any


def container_status(phase: str, state: Mapping[str, Any]) -> Mapping[str, Any]:
    status = {"name": "main", "state": state, "ready": False, "restartCount": 0, "image": "i", "imageID": ""}
    return {"phase": phase, "containerStatuses": [status]}


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def break_down(why: str) -> int:
    raise ValueError(f"no way: {why}")


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def make(rows: int) -> int:
    return rows


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def nothing():
    pass


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def double(number: int) -> int:
    return 2 * number


@dsl.component(install_kfp_package=False, base_image="python:3.11")
def report(status: dsl.PipelineTaskFinalStatus) -> str:
    return f"{status.state}: {status.pipeline_task_name}: {status.error_message}"


async def test_a_failing_step_tells_why_and_its_siblings_end(stage: Stage) -> None:
    @dsl.pipeline(name="broken")
    def broken() -> None:
        good, bad = make(rows=1), break_down(why="a test")
        make(rows=2).after(good, bad)

    run, tasks = await stage.run(broken)
    assert run.state == FAILED
    assert "break-down failed: exit code 1" in run.error["message"]
    assert "ValueError: no way: a test" in tasks["root/break-down"].error["message"]
    assert tasks["root/make"].state == SUCCEEDED
    assert "root/make-2" not in tasks


async def test_an_exit_task_hears_of_the_failure_it_follows(stage: Stage) -> None:
    @dsl.pipeline(name="exits")
    def exits() -> None:
        with dsl.ExitHandler(report()):
            break_down(why="on purpose")

    run, tasks = await stage.run(exits)
    assert run.state == FAILED
    assert tasks["root/report"].state == SUCCEEDED
    said = tasks["root/report"].outputs["parameters"]["Output"]
    assert said.startswith("FAILED: exit-handler-1: ")
    assert "no way: on purpose" in said


@pytest.mark.parametrize("backoff", ["0s", "1s"])
async def test_a_failed_step_is_tried_again_in_a_pod_of_its_own(stage: Stage, backoff: str) -> None:
    failing = ["first"]
    stage.player.behaviour = lambda pod: failing.pop() and failed("flaky") if failing else None

    @dsl.pipeline(name="again")
    def again() -> int:
        return double(number=4).set_retry(2, backoff_duration=backoff).output

    run, tasks = await stage.run(again)
    assert run.error is None
    task = tasks["root/double"]
    assert task.attempt == 1
    assert [*task.failed_pods, task.pod_name] == stage.player.played
    assert [entry["state"] for entry in task.state_history][-2:] == ["RUNNING", "SUCCEEDED"]


def failed(message: str, reason: str = "Error") -> Mapping[str, Any]:
    return container_status("Failed", {"terminated": {"exitCode": 1, "reason": reason, "message": message}})


def waiting(reason: str, message: str) -> Mapping[str, Any]:
    return container_status("Pending", {"waiting": {"reason": reason, "message": message}})


@dsl.pipeline(name="single")
def single() -> int:
    return double(number=1).output


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(waiting("InvalidImageName", "what is this?"), "InvalidImageName: what is this?", id="no image"),
        pytest.param(failed("", "OOMKilled"), "OOMKilled: the step used more memory than its limit", id="memory"),
        pytest.param({"phase": "Failed", "reason": "Evicted", "message": "disk"}, "Evicted: disk", id="evicted"),
        pytest.param(
            {"phase": "Succeeded"}, 'failed to read output parameter "Output": the step did not write', id="no output"
        ),
    ],
)
async def test_what_a_pod_says_is_the_tasks_error(stage: Stage, status: Mapping[str, Any], message: str) -> None:
    stage.player.behaviour = lambda pod: status
    run, tasks = await stage.run(single)
    assert run.state == FAILED
    assert tasks["root/double"].error["message"].startswith(message)
    assert message in run.error["message"]


async def test_why_a_step_waits_is_visible_and_a_deleted_pod_is_a_failure(stage: Stage) -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room"}
    stage.player.behaviour = lambda pod: {"phase": "Pending", "conditions": [unschedulable]}
    run_id = await stage.submit(single)

    async def explained() -> bool:
        task = (await stage.tasks(run_id)).get("root/double")
        return task is not None and task.error is not None

    await stage.until(explained)
    task = (await stage.tasks(run_id))["root/double"]
    assert (task.state, task.error["message"]) == ("PENDING", "Unschedulable: no room")
    await stage.manager.client.delete(Pod, task.pod_name, NAMESPACE)
    run = await stage.ended(run_id)
    assert "was deleted before the step ended" in run.error["message"]


async def test_a_terminated_run_stops_its_pods_and_ends_failed(stage: Stage) -> None:
    stage.player.behaviour = lambda pod: container_status("Running", {"running": {}})
    run_id = await stage.submit(single)
    await stage.until_state(run_id, "root/double", "RUNNING")
    run = await stage.terminate(run_id)
    assert (run.state, run.error["message"]) == (FAILED, "the run was terminated")
    assert (await stage.tasks(run_id))["root/double"].state == "CANCELED"
    assert all(pod.metadata.deletion_timestamp for pod in await stage.pods(run_id))


async def test_pods_go_with_their_run(stage: Stage) -> None:
    run, _ = await stage.run(single)
    assert len(await stage.pods(run.id)) == 1  # kept for its logs
    await stage.store.delete(run.id)
    stage.controller.enqueue(ObjectKey(NAMESPACE, run.id))

    async def gone() -> bool:
        return not await stage.pods(run.id)

    await stage.until(gone)


@dsl.pipeline(name="chain")
def chain() -> int:
    return double(number=double(number=double(number=1).output).output).output


async def ends_with_the_step(stage: Stage, run_id: str) -> None:
    """The run's one running step ends well; nobody tells the engine of anything else."""
    (pod,) = await stage.pods(run_id)
    code, output = await stage.player.run(pod)
    assert code == 0, output
    await stage.player.report(pod, container_status("Succeeded", {"terminated": {"exitCode": 0}, "running": None}))


async def test_the_user_s_word_is_seen_together_with_a_step_s_end(stage: Stage) -> None:
    stage.player.behaviour = lambda pod: container_status("Running", {"running": {}})
    run_id = await stage.submit(chain)
    await stage.until_state(run_id, "root/double", "RUNNING")
    async with stage.store.change_existing(run_id) as run:
        advance_run(run, CANCELING, SYSTEM_CLOCK.now())
    await ends_with_the_step(stage, run_id)
    run = await stage.ended(run_id)
    assert (run.state, run.error["message"]) == (FAILED, "the run was terminated")
    states = {task.name: task.state for task in (await stage.tasks(run_id)).values() if task.kind == "container"}
    assert states == {"double": "SUCCEEDED", "double-2": "CANCELED"}
    assert len(await stage.pods(run_id)) == 1  # no other was made


async def test_a_run_that_is_gone_when_its_step_ends_leaves_nothing(stage: Stage) -> None:
    stage.player.behaviour = lambda pod: container_status("Running", {"running": {}})
    run_id = await stage.submit(chain)
    await stage.until_state(run_id, "root/double", "RUNNING")
    await stage.store.delete(run_id)
    await ends_with_the_step(stage, run_id)

    async def gone() -> bool:
        return not await stage.pods(run_id)

    await stage.until(gone)
    assert await stage.tasks(run_id) == {}


async def test_a_new_control_plane_takes_a_run_up_where_it_was(open_stage: Callable[..., Any]) -> None:
    """The first one dies while a step runs; it ends unseen."""
    async with open_stage(lambda pod: container_status("Running", {"running": {}})) as first:
        run_id = await first.submit(chain)
        await first.until_state(run_id, "root/double", "RUNNING")
        (pod,) = await first.pods(run_id)
    code, output = await first.player.run(pod)
    assert code == 0, output
    await first.player.report(pod, container_status("Succeeded", {"terminated": {"exitCode": 0}, "running": None}))
    async with open_stage() as second:
        run = await second.ended(run_id)
        assert run.error is None
        assert (await second.tasks(run_id))["root"].outputs["parameters"] == {"Output": 8}
        assert pod.metadata.name not in second.player.played
        assert len(second.player.played) == 2


class Lossy:
    """A client whose answers to the first creations of pods get lost: they were done, but nobody hears of it."""

    def __init__(self, real: Any) -> None:
        self.real, self.lose = real, 2

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def create(self, obj: Any, **options: Any) -> Any:
        made = await self.real.create(obj, **options)
        self.lose -= 1
        if self.lose >= 0:
            raise Unavailable("the answer got lost")
        return made


async def test_a_lost_answer_makes_no_second_pod(open_stage: Callable[..., Any]) -> None:
    async with open_stage(shaky=Lossy) as stage:
        run, tasks = await stage.run(chain)
        assert run.error is None
        assert sorted(stage.player.played) == sorted(task.pod_name for task in tasks.values() if task.pod_name)


async def test_a_refused_pod_fails_its_task(stage: Stage) -> None:
    run = await stage.ended(await stage.submit(single, service_account="nobody"))
    assert run.state == FAILED
    assert "the pod was refused: " in run.error["message"]
    assert 'serviceaccount "nobody" not found' in run.error["message"]


async def test_a_retried_run_repeats_only_what_failed(stage: Stage) -> None:
    stage.player.behaviour = lambda pod: failed("out of luck") if len(stage.player.played) == 2 else None
    run_id = await stage.submit(chain)
    assert (await stage.ended(run_id)).state == FAILED
    run = await stage.retry(run_id)
    assert (run.state, run.error) == (SUCCEEDED, None)
    tasks = await stage.tasks(run_id)
    assert tasks["root"].outputs["parameters"] == {"Output": 8}
    assert (tasks["root/double"].attempt, tasks["root/double-2"].attempt) == (0, 1)
    assert len(tasks["root/double-2"].failed_pods) == 1
    assert len(stage.player.played) == 4
    assert [entry["state"] for entry in run.state_history][-4:] == ["FAILED", "PENDING", "RUNNING", "SUCCEEDED"]


@dsl.pipeline(name="twofold")
def twofold(number: int) -> int:
    return double(number=make(rows=number).output).output


async def test_a_pipeline_in_a_pipeline_is_tried_again_as_its_policy_says(stage: Stage) -> None:
    @dsl.pipeline(name="again")
    def again() -> int:
        return twofold(number=4).set_retry(2).output

    tried: list[str] = []

    def fail_twice(pod: Pod) -> Mapping[str, Any] | None:
        path = pod.metadata.annotations["pipelines.kubeflow.org/task-path"]
        tried.append(path)
        return failed("not yet") if path.endswith("double") and tried.count(path) < 3 else None

    stage.player.behaviour = fail_twice
    run, tasks = await stage.run(again)
    assert run.error is None
    assert tasks["root"].outputs["parameters"] == {"Output": 8}
    assert tried == ["root/twofold/make", *["root/twofold/double"] * 3]
    assert len(tasks["root/twofold/double"].failed_pods) == 2
    assert tasks["root/twofold"].attempt == 2


async def test_after_a_retry_the_exit_task_hears_how_it_ended_in_the_end(stage: Stage) -> None:
    @dsl.pipeline(name="leaving")
    def leaving() -> None:
        with dsl.ExitHandler(report()):
            double(number=3)

    broken = True
    stage.player.behaviour = lambda pod: (
        failed("no") if broken and "double" in pod.metadata.annotations["pipelines.kubeflow.org/task-path"] else None
    )
    run, tasks = await stage.run(leaving)
    assert tasks["root/report"].outputs["parameters"]["Output"].startswith("FAILED: exit-handler-1: ")
    broken = False
    run = await stage.retry(run.id)
    assert run.error is None
    tasks = await stage.tasks(run.id)
    assert tasks["root/report"].outputs["parameters"] == {"Output": "SUCCEEDED: exit-handler-1: None"}


async def test_an_image_that_cannot_be_had_is_given_up_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ketch.pipelines.reconciler.TROUBLE_SECONDS", 0.05)
    stage.player.behaviour = lambda pod: waiting("ImagePullBackOff", "no image x:1 here; map it")
    run, tasks = await stage.run(single)
    assert tasks["root/double"].error["message"] == "ImagePullBackOff: no image x:1 here; map it"
    assert all(pod.metadata.deletion_timestamp for pod in await stage.pods(run.id))


async def test_a_step_that_is_never_seen_running_has_started_all_the_same(open_stage: Callable[..., Any]) -> None:
    @dsl.pipeline(name="short")
    def short() -> None:
        nothing()

    def at_once(pod: Pod) -> Mapping[str, Any]:
        return container_status("Succeeded", {"terminated": {"exitCode": 0, "reason": "Completed"}})

    async with open_stage(at_once) as stage:
        run, tasks = await stage.run(short)
    task = tasks["root/nothing"]
    assert run.error is None
    assert [entry["state"] for entry in task.state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]
    assert task.started_at
