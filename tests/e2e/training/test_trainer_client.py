"""Trainer v2 through the official SDK: functions that train together, found, followed and deleted."""

import pytest
from kubeflow.common.types import KubernetesBackendConfig
from kubeflow.trainer import CustomTrainer, TrainerClient
from tests.e2e.platforms import Platform

pytestmark = pytest.mark.e2e


def all_reduce(factor: int):
    import torch  # noqa: PLC0415  # the function travels alone
    import torch.distributed as dist  # noqa: PLC0415

    dist.init_process_group("gloo")
    value = torch.tensor([float(dist.get_rank() * factor)])
    dist.all_reduce(value)
    print(f"rank {dist.get_rank()} of {dist.get_world_size()}: {value.item()}", flush=True)
    dist.destroy_process_group()


def fails():
    raise ValueError("no luck")


@pytest.fixture
def trainer(platform: Platform, namespace: str) -> TrainerClient:
    config = KubernetesBackendConfig(namespace=namespace, config_file=str(platform.kubeconfig))
    return TrainerClient(backend_config=config)


def test_runtimes_are_listed_with_their_frameworks(trainer: TrainerClient):
    found = {runtime.name: runtime.trainer.framework for runtime in trainer.list_runtimes()}
    assert found["torch-distributed"] == "torch"


def test_a_function_trains_on_two_nodes_of_two_processes(trainer: TrainerClient):
    runtime = trainer.get_runtime("torch-distributed")
    custom = CustomTrainer(func=all_reduce, func_args={"factor": 2}, num_nodes=2, resources_per_node={"cpu": 2})
    name = trainer.train(runtime=runtime, trainer=custom)
    job = trainer.wait_for_job_status(name, timeout=300, polling_interval=1)
    assert job.status == "Complete"
    assert sorted(step.name for step in job.steps) == ["node-0", "node-1"]
    lines = [line for step in ("node-0", "node-1") for line in trainer.get_job_logs(name, step=step)]
    ranks = sorted(line for line in "\n".join(lines).splitlines() if line.startswith("rank"))
    assert ranks == [f"rank {rank} of 4: 12.0" for rank in range(4)]
    assert name in [each.name for each in trainer.list_jobs(runtime)]
    trainer.delete_job(name)
    assert name not in [each.name for each in trainer.list_jobs()]
