"""Jobs as the API has them, in words; the TrainJob that a program becomes; which exit code is the job's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ketch.cli.training.commands import described
from ketch.cli.training.following import exit_code, progress_line, rank_of
from ketch.cli.training.jobs import ALL_KINDS, TRAINJOB, Job, Kind, Member, members_of
from ketch.cli.training.packaging import Program
from ketch.cli.training.trainjob import Wish, choose_runtime, command_of, config_map_of, framework_of, trainjob_of

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
PYTORCHJOB = next(each for each in ALL_KINDS if each.name == "PyTorchJob")
PROGRAM = Program("train", "train.py", ["--fast"], {"train.py": b"x"})
LABEL = "trainer.kubeflow.org/trainjob-ancestor-step"


def a_job(kind: Kind = TRAINJOB, *conditions: str, suspend: bool = False, **status: Any) -> Job:
    told = [{"type": each, "status": "True", "message": f"it is {each}"} for each in conditions]
    spec = {"suspend": suspend} if kind is TRAINJOB else {"runPolicy": {"suspend": suspend}}
    metadata = {"name": "job", "namespace": "team", "creationTimestamp": "2026-01-01T12:00:00Z", "uid": "1"}
    return Job(kind, {"metadata": metadata, "spec": spec, "status": {"conditions": told, **status}})


def a_runtime(name: str = "torch-distributed", *steps: str, **policy: Any) -> dict[str, Any]:
    jobs = [
        {
            "name": "node" if step == "trainer" else step or "workers",
            "template": {
                "metadata": {"labels": {LABEL: step}},
                "spec": {"template": {"spec": {"containers": [{"name": "node" if step == "trainer" else "main"}]}}},
            },
        }
        for step in steps or ("trainer",)
    ]
    labels = {"trainer.kubeflow.org/framework": name.partition("-")[0]}
    spec = {"mlPolicy": policy, "template": {"spec": {"replicatedJobs": jobs}}}
    return {"kind": "ClusterTrainingRuntime", "metadata": {"name": name, "labels": labels}, "spec": spec}


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (a_job(), "Pending"),
        (a_job(jobsStatus=[{"active": 1}]), "Running"),
        (a_job(TRAINJOB, "Complete"), "Succeeded"),
        (a_job(TRAINJOB, "Failed"), "Failed"),
        (a_job(TRAINJOB, "Suspended"), "Suspended"),
        (a_job(PYTORCHJOB, "Created", "Running"), "Running"),
        (a_job(PYTORCHJOB, "Created", "Restarting"), "Restarting"),
        (a_job(PYTORCHJOB, "Created", "Succeeded"), "Succeeded"),
        (a_job(PYTORCHJOB, "Created"), "Pending"),
    ],
)
def test_the_state_of_a_job_is_one_word(job: Job, state: str):
    assert job.state == state


def test_a_job_knows_its_place_and_how_it_is_suspended():
    assert a_job().path == "/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs/job"
    assert a_job().suspension(True) == {"spec": {"suspend": True}}
    assert a_job(PYTORCHJOB).suspension(False) == {"spec": {"runPolicy": {"suspend": False}}}
    assert a_job(suspend=True).is_suspended
    assert a_job(PYTORCHJOB, suspend=True).is_suspended


def a_pod(labels: dict[str, str], container: str, state: dict[str, Any], phase: str = "Running") -> dict[str, Any]:
    told = {"name": container, "state": state, "restartCount": 2}
    return {
        "metadata": {"name": f"pod-{'-'.join(labels.values())}", "uid": "u", "labels": labels},
        "spec": {"containers": [{"name": "sidecar"}, {"name": container}]},
        "status": {"phase": phase, "containerStatuses": [told]},
    }


def test_members_are_named_and_ordered_as_users_count_them():
    index, step = "batch.kubernetes.io/job-completion-index", "jobset.sigs.k8s.io/replicatedjob-name"
    pods = [a_pod({step: "node", index: str(number)}, "node", {"running": {}}) for number in (10, 2)]
    ended = {"terminated": {"exitCode": 3, "finishedAt": "2026-01-01T12:00:01Z"}}
    pods.append(a_pod({step: "dataset-initializer", index: "0"}, "x", ended, "Failed"))
    found = members_of(TRAINJOB, pods)
    assert [each.name for each in found] == ["dataset-initializer", "node-2", "node-10"]
    assert found[0].exit_code is None  # of its first container nothing is known
    assert (found[1].container, found[1].restarts, found[1].has_begun) == ("node", 2, True)
    labels = {"training.kubeflow.org/replica-type": "worker", "training.kubeflow.org/replica-index": "1"}
    (worker,) = members_of(PYTORCHJOB, [a_pod(labels, "pytorch", ended, "Failed")])
    assert (worker.name, worker.exit_code, worker.container) == ("worker-1", 3, "pytorch")


def test_why_a_pod_waits():
    waiting = a_pod({}, "node", {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}, "Pending")
    assert members_of(TRAINJOB, [waiting])[0].waits_for == "ErrImagePull: no such image"
    placed = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}
    unplaced = {**waiting, "status": {"phase": "Pending", "conditions": [placed]}}
    assert members_of(TRAINJOB, [unplaced])[0].waits_for == "0/1 nodes are available"


def ends(*codes: tuple[int | None, float]) -> list[Member]:
    """Members that ended with these codes, so many seconds after the first moment."""
    one = Member("node-0", "u", "p", "Failed", "node", 0, True, None, None, "")
    return [replace(one, exit_code=code, ended=NOW + timedelta(seconds=after)) for code, after in codes]


@pytest.mark.parametrize(
    ("members", "code"),
    [
        (ends((1, 0), (7, 1)), 7),
        (ends((7, 0), (1, 1)), 7),
        (ends((1, 0), (7, 30)), 1),
        (ends((1, 0), (137, 1)), 137),
        (ends((143, 0), (1, 0)), 1),
        (ends((134, 0), (143, 0)), 134),
        (ends((0, 0), (None, 0)), 1),
        ([], 1),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_tells_most(members: list[Member], code: int):
    assert exit_code(a_job(TRAINJOB, "Failed"), members) == code
    assert exit_code(a_job(TRAINJOB, "Complete"), members) == 0


@pytest.mark.parametrize(
    ("line", "rank", "text"),
    [
        (b"[rank3] loss 0.1", 3, b"loss 0.1"),
        (b"[rank0] [rank0]: Traceback", 0, b"[rank0]: Traceback"),
        (b"[rank0]: Traceback", 0, b"Traceback"),
        (b"[1,12]<stdout>: hello", 12, b"hello"),
        (b"[1,2]<stderr>:hello", 2, b"hello"),
        (b"[1, 2]", None, b"[1, 2]"),
        (b"[1,2]", None, b"[1,2]"),
        (b"ranks", None, b"ranks"),
    ],
)
def test_whose_line_it_is(line: bytes, rank: int | None, text: bytes):
    assert rank_of(line) == (rank, text)


def test_progress_in_a_line():
    status = {
        "trainerStatus": {
            "progressPercentage": 40,
            "estimatedRemainingSeconds": 9,
            "metrics": [{"name": "loss", "value": "0.1"}],
        },
        "ranks": [{"rank": 1, "stepsPerSecond": "1"}, {"rank": 0, "stepsPerSecond": "2.5"}],
    }
    assert progress_line(a_job(**status)) == "  40 %  loss 0.1  2.5 steps/s  9 s left"
    assert progress_line(a_job()) == ""


def test_a_job_is_described_with_each_rank():
    (member,) = ends((3, 0))
    job = a_job(
        TRAINJOB,
        "Failed",
        usage=[{"pod": "p", "cpu": "990m", "memory": "1Gi"}],
        ranks=[
            {
                "rank": 0,
                "step": 5,
                "progressPercentage": 50,
                "gpuUtilization": 90,
                "gpuMemory": "2Gi",
                "checkpoint": "step-5",
            },
            {"rank": 1, "step": 4, "worldSize": 2},
        ],
    )
    lines = [line.split() for line in described(job, [member], NOW)]
    assert lines[0][:3] == ["TrainJob", "job", "Failed"]
    assert ["it", "is", "Failed"] in lines
    assert ["node-0", "p", "Failed", "0", "990m", "1Gi"] in lines
    assert lines[-2] == ["0", "5", "50", "%", "90", "%", "2Gi", "step-5"]
    assert lines[-1] == ["1", "4"]


def test_a_program_becomes_a_trainjob_and_the_files_it_mounts():
    runtime = a_runtime("torch-distributed", "dataset-initializer", "trainer", torch={})
    wish = Wish("job", "team", PROGRAM, runtime, 2, 4, environment={"A": "1"}, checkpoints="auto", keep="5", restarts=3)
    body = trainjob_of(wish)
    assert body["metadata"]["annotations"] == {
        "training.ketch.dev/client": "true",
        "training.ketch.dev/submitted-by": "ketch train",
        "checkpoints.ketch.dev/volume": "auto",
        "checkpoints.ketch.dev/keep": "5",
    }
    trainer = body["spec"]["trainer"]
    assert trainer["command"][-3:] == ["torch", "train.py", "--fast"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    assert trainer["env"] == [{"name": "A", "value": "1"}]
    (patch,) = body["spec"]["runtimePatches"]
    spec = patch["trainingRuntimeSpec"]["template"]["spec"]
    assert spec["failurePolicy"] == {"maxRestarts": 3}
    (replicated,) = spec["replicatedJobs"]  # initializers stay as they are
    job = replicated["template"]["spec"]
    assert (replicated["name"], job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == ("node", 0, "Never")
    (volume,) = job["template"]["spec"]["volumes"]
    files = config_map_of(wish)
    assert volume["configMap"]["name"] == files["metadata"]["name"] == "job-program"
    assert volume["configMap"]["items"] == [{"key": "0", "path": "train.py"}]
    assert files["data"] == {"0": "x"}


def test_how_processes_are_started_follows_from_the_runtime():
    assert framework_of(a_runtime(torch={})) == "torch"
    assert framework_of(a_runtime(mpi={"numProcPerNode": 1})) == "mpi"
    assert framework_of(a_runtime(jax={})) == framework_of(a_runtime()) == "python"
    command = command_of(PROGRAM, "mpi", ["SIZE"])
    assert command[:4] == ["mpirun", "--tag-output", "-x", "PYTHONPATH"]
    assert command[-6:] == ["-x", "SIZE", "python3", "-u", "/ketch/program/train.py", "--fast"]


def test_a_runtime_is_meant_by_name_short_name_or_framework():
    found = [a_runtime("torch-distributed"), a_runtime("torchtune-x"), a_runtime("own-y")]
    assert choose_runtime(found, "torchtune-x") is found[1]
    assert choose_runtime(found, "torch") is found[0]
    assert choose_runtime(found, "own") is found[2]
    assert choose_runtime(found, "none") is None
