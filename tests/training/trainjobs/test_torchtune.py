"""torchtune under the torch policy: what ``tune run`` becomes, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.playing import World, a_world

from ketch.kube.codec import decode
from ketch.kube.errors import Invalid
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.local.workloads.jobs import reconciler as jobs
from ketch.training.setup import admissions, setup
from ketch.training.trainjobs.torchtune import Tuning, model_of
from ketch.training.trainjobs.types import TrainJob

LORA = "model.lora_attn_modules=[q_proj]"
QUANTIZE = "model.quantize_base=True"
DORA = "model.use_dora=True"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, jobs.setup, setup, admissions=admissions()) as made:
        yield made


def a_job(runtime: str = "torchtune-llama3.2-1b", **trainer: Any) -> TrainJob:
    trainer = {"command": ["tune", "run"], **trainer}
    raw = {"metadata": {"name": "job", "namespace": "default"}, "spec": {"runtimeRef": {"name": runtime}}}
    raw["spec"]["trainer"] = trainer
    return decode(TrainJob, raw)


async def the_node(world: World, job: TrainJob) -> Pod:
    """The trainer's pod, once model and dataset are there."""
    await world.client.create(job)
    await world.settle()
    assert {each.spec.hostname for each in await world.all(Pod)} == {
        "job-dataset-initializer-0-0",
        "job-model-initializer-0-0",
    }
    await world.play_all("Succeeded")
    return next(each for each in await world.all(Pod) if each.spec.hostname == "job-node-0-0")


async def test_tune_run_is_completed(world: World):
    pod = await the_node(world, a_job(args=["epochs=1", "batch_size=4"]))
    (container,) = pod.spec.containers
    assert container.command == (
        "tune",
        "run",
        "--rdzv_endpoint=job-node-0-0.job:29500",
        "full_finetune_distributed",
        "--config",
        "llama3_2/1B_full",
        "output_dir=/workspace/output",
        "tokenizer.path=/workspace/model/original/tokenizer.model",
        "checkpointer.checkpoint_dir=/workspace/model",
    )
    assert container.args == ("epochs=1", "batch_size=4")
    told = {each.name: each.value for each in container.env}
    assert (told["PET_NNODES"], told["PET_NPROC_PER_NODE"]) == ("1", "2")
    assert "PET_MASTER_ADDR" not in told
    assert [each.metadata.name for each in await world.all(PersistentVolumeClaim)] == ["initializer-job"]


async def test_one_device_needs_no_rendezvous(world: World):
    job = a_job("torchtune-qwen2.5-1.5b", resourcesPerNode={"limits": {"nvidia.com/gpu": 1}}, args=[LORA])
    (container,) = (await the_node(world, job)).spec.containers
    assert container.command[2:5] == ("lora_finetune_single_device", "--config", "qwen2_5/1.5B_lora_single_device")
    assert container.command[-2:] == (
        "tokenizer.merges_file=/workspace/model/merges.txt",
        "checkpointer.checkpoint_dir=/workspace/model",
    )


async def test_without_a_trainer_the_runtime_s_command_stands(world: World):
    job = a_job()
    raw = job.to_json()
    del raw["spec"]["trainer"]
    (container,) = (await the_node(world, decode(TrainJob, raw))).spec.containers
    assert container.command[2] == "--rdzv_endpoint=localhost:29500"


@pytest.mark.parametrize(
    ("nodes", "processes", "gpus", "arguments", "recipe", "config"),
    [
        (1, "1", 0, [], "full_finetune_single_device", "_full_single_device"),
        (1, "1", 1, [LORA], "lora_finetune_single_device", "_lora_single_device"),
        (1, "1", 1, [LORA, QUANTIZE], "lora_finetune_single_device", "_qlora_single_device"),
        (1, "1", 1, [LORA, DORA, QUANTIZE], "lora_finetune_single_device", "_lora_single_device"),
        (1, "2", 2, [], "full_finetune_distributed", "_full"),
        (1, "2", 2, [LORA], "lora_finetune_distributed", "_lora"),
        (1, "2", 2, [QUANTIZE], "lora_finetune_distributed", "_qlora"),
        (2, "2", 2, [], "full_finetune_distributed", "_full_multinode"),
    ],
)
def test_recipe_and_configuration_follow_from_the_job(
    nodes: int, processes: str, gpus: int, arguments: list[str], recipe: str, config: str
):
    tuning = Tuning("llama3_3/70B", nodes, processes, gpus, arguments)
    assert (tuning.recipe, tuning.config) == (recipe, f"llama3_3/70B{config}")
    assert tuning.meets_others == (nodes > 1 or processes != "1")


def test_the_model_is_in_the_runtime_s_name():
    assert model_of("torchtune-llama3.2-1b") == "llama3_2/1B"
    assert model_of("torchtune-qwen2.5-1.5b") == "qwen2_5/1.5B"
    assert model_of("mine") == ""


@pytest.mark.parametrize(
    ("job", "message"),
    [
        pytest.param(a_job("torch-distributed"), "must have a supported pretrained model", id="no such model"),
        pytest.param(a_job(numNodes=2), "must be 1 for llama3_2/1B model", id="several nodes"),
        pytest.param(a_job(numNodes=2, args=[LORA]), "LoRA fine-tuning is not supported", id="LoRA on several nodes"),
        pytest.param(a_job("torchtune-qwen2.5-1.5b", args=[QUANTIZE]), "QLoRA is not supported", id="QLoRA of Qwen"),
        pytest.param(a_job(args=[QUANTIZE]), "must be auto or 1", id="QLoRA on several devices"),
        pytest.param(a_job(args=["output_dir=/x"]), "it is managed by the runtime", id="what the runtime says"),
    ],
)
async def test_what_torchtune_cannot_do_is_refused(world: World, job: TrainJob, message: str):
    with pytest.raises(Invalid, match=message):
        await world.client.create(job)
