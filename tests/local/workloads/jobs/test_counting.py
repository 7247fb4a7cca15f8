"""A Job's counts and what follows from them, by table."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.playing import NAMESPACE, a_pod

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.batch import Job, JobSpec, JobStatus, UncountedTerminatedPods
from ketch.kube.types.containers import ContainerState, ContainerStateTerminated, ContainerStatus
from ketch.kube.types.pods import Pod, PodCondition, PodStatus, PodTemplateSpec
from ketch.local.workloads.jobs import indexes
from ketch.local.workloads.jobs.counting import (
    INDEX,
    TRACKING,
    ending,
    free_indexes,
    next_status,
    tally,
    wanted_active,
)
from ketch.local.workloads.jobs.failures import delay, judge

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def a_job(*, restart: str = "Never", status: JobStatus | None = None, **spec) -> Job:
    template = PodTemplateSpec(spec=a_pod(restart_policy=restart).spec)
    spec = {"parallelism": 2, "completions": 3, "backoff_limit": 6} | spec
    return Job(
        metadata=ObjectMeta(name="job", namespace=NAMESPACE),
        spec=JobSpec(template=template, **spec),
        status=status or JobStatus(),
    )


def seen(uid: str, phase: str = "Running", *, tracked: bool = True, index: int | None = None, **more) -> Pod:
    ended_at, code = more.get("ended_at", 0), more.get("exit_code", 0)
    ended = ContainerStateTerminated(exit_code=code, finished_at=NOW - timedelta(seconds=ended_at))
    statuses = (
        (ContainerStatus(name="main", state=ContainerState(terminated=ended)),)
        if phase in ("Succeeded", "Failed")
        else (ContainerStatus(name="main", restart_count=more.get("restarts", 0)),)
    )
    meta = ObjectMeta(
        name=uid,
        namespace=NAMESPACE,
        uid=uid,
        finalizers=(TRACKING,) if tracked else (),
        annotations={} if index is None else {INDEX: str(index)},
        deletion_timestamp=NOW if more.get("deleting") else None,
    )
    return Pod(metadata=meta, spec=a_pod().spec, status=PodStatus(phase=phase, container_statuses=statuses))


def test_a_pod_counts_once_on_its_way_to_the_count():
    job = a_job()
    first = tally(job, [seen("a", "Succeeded")])
    assert (first.uncounted.succeeded, first.counted_succeeded, first.succeeded) == (("a",), 0, 1)
    job = a_job(status=next_status(job, first, None, NOW))
    again = tally(job, [seen("a", "Succeeded")])
    assert (again.uncounted.succeeded, again.counted_succeeded, again.succeeded) == (("a",), 0, 1)
    released = tally(job, [seen("a", "Succeeded", tracked=False)])
    assert (released.uncounted.succeeded, released.counted_succeeded, released.succeeded) == ((), 1, 1)
    job = a_job(status=next_status(job, released, None, NOW))
    assert tally(job, [seen("a", "Succeeded", tracked=False)]).succeeded == 1
    assert tally(job, []).succeeded == 1


def test_a_listed_pod_that_vanished_still_counts():
    job = a_job(status=JobStatus(failed=1, uncounted_terminated_pods=UncountedTerminatedPods(failed=("gone",))))
    assert (tally(job, []).counted_failed, tally(job, []).failed) == (2, 2)


@pytest.mark.parametrize(
    ("policy", "failed"),
    [pytest.param("TerminatingOrFailed", 1, id="at once"), pytest.param("Failed", 0, id="when it has ended")],
)
def test_a_running_pod_that_is_deleted_counts_as_failed(policy, failed):
    pods = [seen("a", deleting=True)]
    counted = tally(a_job(pod_replacement_policy=policy), pods)
    assert (counted.failed, counted.terminating, len(counted.active)) == (failed, 1, 0)


@pytest.mark.parametrize(
    ("spec", "pods", "reason"),
    [
        pytest.param({}, [seen("a", "Succeeded")], None, id="some are missing"),
        pytest.param({}, [seen(str(n), "Succeeded") for n in range(3)], "CompletionsReached", id="enough succeeded"),
        pytest.param({"completions": 0}, [], "CompletionsReached", id="none are asked for"),
        pytest.param({"backoff_limit": 1}, [seen("a", "Failed")], None, id="failures within the limit"),
        pytest.param({"backoff_limit": 0}, [seen("a", "Failed")], "BackoffLimitExceeded", id="too many failures"),
        pytest.param(
            {"backoff_limit": 2, "restart": "OnFailure"},
            [seen("a", restarts=2)],
            "BackoffLimitExceeded",
            id="restarts in place count",
        ),
        pytest.param({"backoff_limit": 2}, [seen("a", restarts=2)], None, id="not those of other policies"),
        pytest.param({"completions": None}, [seen("a", "Succeeded"), seen("b")], None, id="a worker is still busy"),
        pytest.param({"completions": None}, [seen("a", "Succeeded")], "CompletionsReached", id="the queue is empty"),
        pytest.param(
            {"active_deadline_seconds": 5, "status": JobStatus(start_time=NOW - timedelta(seconds=5))},
            [seen("a")],
            "DeadlineExceeded",
            id="too slow",
        ),
    ],
)
def test_the_end(spec, pods, reason):
    job = a_job(**spec)
    end = ending(job, tally(job, pods), NOW)
    assert (end.reason if end else None) == reason


@pytest.mark.parametrize(
    ("spec", "pods", "wanted"),
    [
        pytest.param({}, [], 2, id="as many as run side by side"),
        pytest.param({}, [seen("a", "Succeeded"), seen("b", "Succeeded")], 1, id="no more than are missing"),
        pytest.param({"suspend": True}, [seen("a")], 0, id="none while suspended"),
        pytest.param({"completions": None}, [], 2, id="a work queue's workers"),
        pytest.param({"completions": None}, [seen("a", "Succeeded"), seen("b")], 1, id="no new workers at its end"),
        pytest.param(
            {"pod_replacement_policy": "Failed"}, [seen("a", deleting=True)], 1, id="a leaving pod keeps its place"
        ),
    ],
)
def test_how_many_should_be_at_work(spec, pods, wanted):
    job = a_job(**spec)
    assert wanted_active(job, tally(job, pods)) == wanted


def test_indexes_that_are_done_or_at_work_are_not_begun_again():
    job = a_job(completions=5, completion_mode="Indexed", status=JobStatus(completed_indexes="0"))
    counted = tally(job, [seen("a", index=2), seen("b", "Failed", index=1), seen("c", "Succeeded", index=3)])
    assert free_indexes(job, counted, 5) == [1, 4]
    assert (counted.succeeded, counted.failed) == (2, 1)


@pytest.mark.parametrize(
    "text", ["", "0", "0,1", "0-2", "1,3-5,7,8", "0-99"], ids=lambda text: f"indexes {text or 'none'}"
)
def test_indexes_as_text(text):
    assert indexes.text_of(indexes.parse(text)) == text


@pytest.mark.parametrize(
    ("pods", "seconds"),
    [
        pytest.param([], 0, id="nothing failed"),
        pytest.param([seen("a", "Failed")], 10, id="ten seconds after the first"),
        pytest.param([seen("a", "Failed", ended_at=4)], 6, id="less what has passed"),
        pytest.param([seen(str(n), "Failed") for n in range(3)], 40, id="doubled each time"),
        pytest.param([seen(str(n), "Failed") for n in range(30)], 360, id="six minutes at most"),
        pytest.param(
            [seen("a", "Failed", ended_at=9), seen("b", "Succeeded", ended_at=5), seen("c", "Failed")],
            10,
            id="a success begins anew",
        ),
    ],
)
def test_back_off(pods, seconds):
    assert delay(pods, NOW) == seconds


RULES = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
        {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [0]}},
    ]
}


@pytest.mark.parametrize(
    ("code", "action"),
    [pytest.param(42, "FailJob", id="the code that ends it all"), pytest.param(1, "Count", id="any other")],
)
def test_the_failure_policy(code, action):
    pod = seen("a", "Failed", exit_code=code)
    assert judge(a_job(pod_failure_policy=RULES), pod).action == action
    expected = "Container main for pod default/a failed with exit code 42 matching FailJob rule at index 1"
    counted = tally(a_job(pod_failure_policy=RULES), [pod])
    assert counted.fail_message == (expected if action == "FailJob" else "")


def test_a_failure_that_is_ignored_is_let_go_uncounted():
    pod = seen("a", "Failed", exit_code=1)
    evicted = (PodCondition(type="DisruptionTarget", status="True"),)
    pod = msgspec.structs.replace(pod, status=msgspec.structs.replace(pod.status, conditions=evicted))
    counted = tally(a_job(pod_failure_policy=RULES), [pod])
    assert (counted.failed, counted.uncounted.failed, counted.to_release) == (0, (), (pod,))
