"""What is killed, stopped or failed goes on from its last checkpoint: both generations, by official clients and by
``ketch train``; and its progress is told where the job's status is."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.trainer import CustomTrainer, TrainerClient
from kubeflow.trainer.options import Annotations, Name
from kubeflow.training import (
    KubeflowOrgV1PyTorchJob,
    KubeflowOrgV1PyTorchJobSpec,
    KubeflowOrgV1ReplicaSpec,
    KubeflowOrgV1RunPolicy,
    TrainingClient,
)
from kubernetes import client
from tests.e2e.platforms import Platform, eventually
from tests.e2e.training.test_trainer_client import PLAIN

pytestmark = pytest.mark.e2e

ENVIRONMENT_SECONDS = 400
"""The first job of an image that is an environment waits until it is built; on a loaded machine that takes a while."""

TRAIN = textwrap.dedent(
    """
    import os, signal
    import torch
    import torch.distributed as dist
    import ketch_training

    dist.init_process_group("gloo")
    rank, last = dist.get_rank(), ketch_training.latest_checkpoint()
    weight, step = torch.zeros(1), 0
    if last is not None:
        state = torch.load(last)
        weight, step = state["weight"], state["step"]
    told = os.path.basename(os.environ["KETCH_RESUME_FROM"])
    print(f"begins at step {step} with {weight.item()}, told {told!r}", flush=True)
    while step < 20:
        gradient = torch.full((1,), rank + 1.0)
        dist.all_reduce(gradient)
        weight, step = weight + gradient, step + 1
        if rank == 0 and step % 5 == 0:
            with ketch_training.saving_checkpoint(step, ".pt") as path:
                torch.save({"weight": weight, "step": step}, path)
        dist.barrier()
        ketch_training.report(step, total=20, samples=8, loss=1 / step)
        if rank == 1 and step == 12 and last is None:
            os.kill(os.getpid(), signal.SIGKILL)
    print(f"ends at step {step} with {weight.item()}", flush=True)
    dist.destroy_process_group()
    os._exit(0)  # torch 2.13: a thread of gloo may abort an interpreter that ends in the ordinary way
    """
)
BEGUN_AGAIN = "begins at step 10 with 30.0, told 'step-10.pt'"
ENDED = "ends at step 20 with 60.0"


def saved(platform: Platform, namespace: str, job: str) -> list[str]:
    """What is on the volume of the job's checkpoints."""
    claim = platform.get("pvc", "-n", namespace)["items"]
    names = [each["spec"].get("volumeName", "") for each in claim if each["metadata"]["name"] == f"{job}-checkpoints"]
    return [path.name for name in filter(None, names) for path in (platform.root / "volumes" / name).glob("*")]


def test_a_pytorchjob_goes_on_after_a_kill(platform: Platform, namespace: str):
    """By the official client of kubeflow.org/v1, in place: the node starts both processes again."""
    container = client.V1Container(name="pytorch", image="pytorch/pytorch", command=["python3", "-c", TRAIN])
    template = client.V1PodTemplateSpec(spec=client.V1PodSpec(containers=[container]))
    replicas = {
        role: KubeflowOrgV1ReplicaSpec(replicas=1, restart_policy="OnFailure", template=template)
        for role in ("Master", "Worker")
    }
    annotations = {"checkpoints.ketch.dev/volume": "auto", "checkpoints.ketch.dev/keep": "2"}
    job = KubeflowOrgV1PyTorchJob(
        api_version="kubeflow.org/v1",
        kind="PyTorchJob",
        metadata=client.V1ObjectMeta(name="killed", namespace=namespace, annotations=annotations),
        spec=KubeflowOrgV1PyTorchJobSpec(run_policy=KubeflowOrgV1RunPolicy(), pytorch_replica_specs=replicas),
    )
    training = TrainingClient(config_file=str(platform.kubeconfig), namespace=namespace)
    training.create_job(job)
    training.wait_for_job_conditions("killed", wait_timeout=ENVIRONMENT_SECONDS, polling_interval=1)
    eventually(lambda: [each.status.phase for each in training.get_job_pods("killed")] == ["Succeeded"] * 2)
    for pod in ("killed-master-0", "killed-worker-0"):
        log = platform.kubectl("logs", pod, "-n", namespace)
        assert BEGUN_AGAIN in log
        assert ENDED in log
    assert sorted(saved(platform, namespace, "killed")) == ["step-15.pt", "step-20.pt"]
    status = platform.get("pytorchjob/killed", "-n", namespace)["status"]
    assert status["trainerStatus"]["progressPercentage"] == 100
    assert [(each["rank"], each["step"], each["worldSize"]) for each in status["ranks"]] == [(0, 20, 2), (1, 20, 2)]
    assert status["ranks"][0]["checkpoint"] == "step-20.pt"
    attached = platform.ketch("train", "pytorchjob/killed", "-n", namespace)
    assert attached.returncode == 0, attached.stderr
    assert re.search(f"^master-0 +│ {ENDED}$", attached.stdout, re.MULTILINE)
    counted = f'training_operator_jobs_successful_total{{job_namespace="{namespace}",framework="pytorch"}} 1'
    eventually(lambda: counted in counts(platform))
    assert platform.ketch("jobs", "delete", "killed", "-n", namespace).returncode == 0
    eventually(lambda: not platform.get("pvc", "-n", namespace)["items"])


def test_a_script_trains_on_two_nodes_and_goes_on_after_a_kill(platform: Platform, namespace: str, tmp_path: Path):
    """By ``ketch train``: all begin again together. Its ranks' logs stand side by side, its exit code is the job's."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    options = ("--nodes", "2", "--checkpoints", "--restarts", "2", "-n", namespace, "--name", "script")
    result = platform.ketch("train", str(script), *options, timeout=ENVIRONMENT_SECONDS)
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [re.split(r" *│ ", line, maxsplit=1) for line in result.stdout.splitlines()]
    for rank in ("rank 0", "rank 1"):
        told = [text for name, text in lines if name == rank]
        assert [text for text in told if text.startswith(("begins", "ends"))] == [
            "begins at step 0 with 0.0, told ''",
            BEGUN_AGAIN,
            ENDED,
        ]
    assert "100 %" in result.stderr
    again = platform.ketch("train", "script", "-n", namespace)
    assert again.returncode == 0
    assert ENDED in again.stdout
    shown = platform.ketch("jobs", "show", "script", "-n", namespace).stdout
    assert re.search(r"^1 +20 +100 %", shown, re.MULTILINE)
    (listed,) = json.loads(platform.ketch("jobs", "ls", "-n", namespace, "-o", "json").stdout)
    assert listed["metadata"]["name"] == "script"
    counted = f'jobset_completed_total{{jobset_name="script",namespace="{namespace}"}} 1'
    eventually(lambda: counted in counts(platform))


def counts_on(steps: int):
    import os  # noqa: PLC0415  # the function travels alone
    import time  # noqa: PLC0415

    import ketch_training  # noqa: PLC0415

    last = ketch_training.latest_checkpoint()
    step = ketch_training.checkpoint_step(last) if last else 0
    print("begins at", step, os.environ["KETCH_RESUME_FROM"], flush=True)
    while step < steps or not last:
        step += 1
        with ketch_training.saving_checkpoint(step) as path:
            path.write_text("saved")
        time.sleep(0.1)
    print("ends at", step, flush=True)


def test_a_suspended_trainjob_goes_on_where_it_was(platform: Platform, namespace: str):
    """By the official client of Trainer; meanwhile it reports as any program does."""
    platform.apply({**PLAIN, "metadata": {**PLAIN["metadata"], "namespace": namespace}})
    config = KubernetesBackendConfig(namespace=namespace, config_file=str(platform.kubeconfig))
    trainer = TrainerClient(backend_config=config)
    options = [Name("paused"), Annotations({"checkpoints.ketch.dev/volume": "auto"})]
    trainer.train(runtime="plain", trainer=CustomTrainer(func=counts_on, func_args={"steps": 3}), options=options)

    eventually(lambda: any(name.startswith("step-") for name in saved(platform, namespace, "paused")))
    assert platform.ketch("jobs", "suspend", "paused", "-n", namespace).returncode == 0
    eventually(lambda: not platform.get("pods", "-n", namespace)["items"])
    last = max(int(name.removeprefix("step-")) for name in saved(platform, namespace, "paused") if name[0] != ".")
    platform.ketch("jobs", "resume", "paused", "-n", namespace)
    trainer.wait_for_job_status("paused", timeout=150, polling_interval=1)
    log = "\n".join(trainer.get_job_logs("paused"))
    assert f"begins at {last} /ketch/checkpoints/step-{last}" in log
    assert f"ends at {max(last, 3)}" in log


REPORT = textwrap.dedent(
    """
    import json, os, ssl, urllib.error, urllib.request
    from datetime import datetime, timezone

    variables = {word: os.environ["KUBEFLOW_TRAINER_SERVER_" + word] for word in ("URL", "CA_CERT", "TOKEN")}
    context = ssl.create_default_context(cafile=variables["CA_CERT"])

    def post(status, url=variables["URL"], token=open(variables["TOKEN"]).read()):
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps({"trainerStatus": status}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["reason"]

    now = datetime.now(timezone.utc).isoformat()
    good = {"progressPercentage": 40, "metrics": [{"name": "loss", "value": "0.5"}], "lastUpdatedTime": now}
    own = open("/var/run/secrets/kubernetes.io/serviceaccount/token").read()
    print("told", json.dumps([
        post(good)[0],
        post({**good, "progressPercentage": 101}),
        post({"progressPercentage": 1}),
        post(good, token=own),
        post(good, url=variables["URL"].replace("/reports/", "/another/")),
    ]))
    """
)


def test_any_program_reports_by_trainers_endpoint(platform: Platform, namespace: str):
    """As upstream's documentation shows it for any language: a token for this job alone, a status, a 200."""
    platform.apply({**PLAIN, "metadata": {**PLAIN["metadata"], "namespace": namespace}})
    job: dict[str, Any] = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "reports", "namespace": namespace},
        "spec": {
            "runtimeRef": {"name": "plain", "kind": "TrainingRuntime"},
            "trainer": {"command": ["python3", "-c", REPORT]},
        },
    }
    platform.apply(job)
    platform.kubectl("wait", "--for=condition=Complete", "trainjob/reports", "-n", namespace, "--timeout=150s")
    (pod,) = platform.get("pods", "-n", namespace)["items"]
    log = platform.kubectl("logs", pod["metadata"]["name"], "-n", namespace)
    answers = json.loads(log.partition("told ")[2])
    assert answers == [200, [422, "Invalid"], [422, "Invalid"], [403, "Forbidden"], [403, "Forbidden"]]
    status = platform.get("trainjob/reports", "-n", namespace)["status"]
    assert status["trainerStatus"]["progressPercentage"] == 40
    assert status["trainerStatus"]["metrics"] == [{"name": "loss", "value": "0.5"}]
    assert [(each["rank"], each["pod"]) for each in status["ranks"]] == [(0, pod["metadata"]["name"])]


def counts(platform: Platform) -> str:
    """What the platform has counted."""
    return httpx.get(f"{platform.address}/metrics", trust_env=False).text


def test_the_exit_code_of_a_job_is_that_of_the_process_that_failed(platform: Platform, namespace: str, tmp_path: Path):
    platform.apply({**PLAIN, "metadata": {**PLAIN["metadata"], "namespace": namespace}})
    (tmp_path / "helper.py").write_text("CODE = 7")
    (tmp_path / "leave.py").write_text(
        "import sys, helper\ndef leave(word, code=0):\n    print(word)\n    sys.exit(code)\n"
    )
    function = f"{tmp_path}/leave.py:leave"
    options = ("--runtime", "plain", "-n", namespace, "--with", str(tmp_path / "helper.py"))
    result = platform.ketch("train", function, "hello", "code=7", *options)
    assert result.returncode == 7, result.stdout + result.stderr
    assert "node-0 │ hello" in result.stdout
    assert "failed, exit code 7" in result.stderr
    assert platform.ketch("train", function, "bye", *options).returncode == 0
