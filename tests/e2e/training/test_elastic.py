"""An elastic PyTorchJob by kubectl: it loses a worker to kill -9, goes on from its checkpoint, and grows."""

import textwrap
from typing import Any

import pytest
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

PATIENCE = 240
RENDEZVOUS = {"last_call_timeout": "2", "keep_alive_interval": "1", "read_timeout": "15"}
"""In seconds, so that a lost node is given up on sooner than torchrun does by itself."""

TRAIN = textwrap.dedent(
    """
    import os, signal, time
    import torch
    import torch.distributed as dist
    import ketch_training

    killed = ketch_training.checkpoint_directory() / "killed"
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    last = ketch_training.latest_checkpoint()
    start = torch.tensor([ketch_training.checkpoint_step(last) if last else 0])
    dist.broadcast(start, 0)
    step, since = int(start), 0
    print(f"round: world {world} rank {rank} from step {step}", flush=True)
    while not (world == 3 and since >= 3):
        total = torch.ones(1)
        dist.all_reduce(total)
        assert total.item() == world
        step, since = step + 1, since + 1
        if rank == 0:
            with ketch_training.saving_checkpoint(step, ".pt") as path:
                torch.save({"step": step}, path)
        dist.barrier()
        if step >= 5 and os.environ["HOSTNAME"] == "elastic-worker-1" and not killed.exists():
            killed.touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        time.sleep(0.1)
    print(f"done: world {world} step {step}", flush=True)
    os._exit(0)  # torch 2.13: a thread of gloo may abort an interpreter that ends in the ordinary way
    """
)


def elastic_job(namespace: str) -> list[dict[str, Any]]:
    """The job and its program; its workers share the volume of its checkpoints."""
    container = {
        "name": "pytorch",
        "image": "pytorch/pytorch",
        "command": ["torchrun", "/program/train.py"],
        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
        "volumeMounts": [{"name": "program", "mountPath": "/program"}],
    }
    pod = {"spec": {"containers": [container], "volumes": [{"name": "program", "configMap": {"name": "program"}}]}}
    metadata = {"namespace": namespace}
    elastic = {
        "minReplicas": 1,
        "maxReplicas": 3,
        "rdzvBackend": "c10d",
        "maxRestarts": 20,
        "rdzvConf": [{"key": key, "value": value} for key, value in RENDEZVOUS.items()],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata | {"name": "program"},
            "data": {"train.py": TRAIN},
        },
        {
            "apiVersion": "kubeflow.org/v1",
            "kind": "PyTorchJob",
            "metadata": metadata | {"name": "elastic", "annotations": {"checkpoints.ketch.dev/volume": "auto"}},
            "spec": {
                "nprocPerNode": "1",
                "elasticPolicy": elastic,
                "pytorchReplicaSpecs": {"Worker": {"replicas": 2, "restartPolicy": "OnFailure", "template": pod}},
            },
        },
    ]


def test_it_survives_the_loss_of_a_worker_and_grows(platform: Platform, namespace: str):
    platform.apply(*elastic_job(namespace))

    def log(number: int) -> str:
        return platform.kubectl("logs", f"elastic-worker-{number}", "-n", namespace, check=False)

    def restarts() -> int:
        status = platform.get("pod/elastic-worker-1", "-n", namespace)["status"]
        return sum(each["restartCount"] for each in status.get("containerStatuses", ()))

    eventually(lambda: "world 2" in log(0), PATIENCE, "two workers begin")
    eventually(lambda: restarts() >= 1, PATIENCE, "the lost worker is started again")
    eventually(lambda: "from step" in log(1), PATIENCE, "the lost worker takes part again")
    assert "from step 0" not in log(1)
    platform.kubectl("scale", "pytorchjob/elastic", "--replicas=3", "-n", namespace)
    wait = f"--timeout={PATIENCE}s"
    platform.kubectl("wait", "--for=condition=Succeeded", "pytorchjob/elastic", "-n", namespace, wait)
    assert "world 3" in log(2)
    eventually(lambda: "done: world 3" in log(0), PATIENCE, "the first worker, too, comes to its end")
