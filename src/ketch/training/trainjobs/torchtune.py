"""torchtune under the torch policy: which recipe and configuration ``tune run`` gets. Pure; Trainer 2.3's rules.

The runtime's name says which model is tuned (``torchtune-<model>-<size>``), the job's arguments how.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ketch.kube.causes import invalid
from ketch.kube.errors import Cause
from ketch.kube.types.containers import Container
from ketch.training.trainjobs.policies import PORT, Nodes, gpus_of, processes_of

COMMAND: Final = ("tune", "run")
_LLAMA_70B, _QWEN = "llama3_3/70B", "qwen2_5/1.5B"
_SMALL: Final = ("llama3_2/1B", "llama3_2/3B")
MODELS: Final = (*_SMALL, _LLAMA_70B, _QWEN)
OF_RUNTIME: Final = ("output_dir", "tokenizer.path", "checkpointer.checkpoint_dir", "tokenizer.merges_file")
"""What the runtime's command says of the configuration, and no job may change."""

SAID_BY_COMMAND: Final = ("PET_MASTER_ADDR", "PET_MASTER_PORT")
"""Variables of torchrun in whose place the rendezvous stands."""

_FULL, _LORA = "full_finetune", "lora_finetune"
_ONE_DEVICE, _DISTRIBUTED = "single_device", "distributed"
_LORA_MODULES, _QUANTIZE, _DORA = "model.lora_attn_modules", "model.quantize_base", "model.use_dora"
_NAME_PARTS: Final = 3
_AUTO: Final = "auto"


def is_torchtune(nodes: Nodes) -> bool:
    """Whether the job asks for ``tune run`` to be completed."""
    trainer = nodes.job.spec.trainer
    return trainer is not None and tuple(trainer.command) == COMMAND


def model_of(runtime: str) -> str:
    """The model that a runtime's name speaks of, as configurations spell it; empty for other names."""
    parts = runtime.split("-")
    return f"{parts[1].replace('.', '_')}/{parts[2].upper()}" if len(parts) == _NAME_PARTS else ""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is to be tuned, over how much."""

    model: str
    nodes: int
    processes: str
    gpus: int
    arguments: Sequence[str]

    @property
    def uses_lora(self) -> bool:
        """Whether adapters are trained."""
        return any(_LORA_MODULES in each for each in self.arguments)

    @property
    def uses_qlora(self) -> bool:
        """Whether adapters are trained over quantized weights."""
        for each in self.arguments:
            if _DORA in each:
                return False
            if _QUANTIZE in each:
                return True
        return False

    @property
    def on_one_device(self) -> bool:
        """Whether a single process does it."""
        return self.nodes == 1 and (self.processes == "1" or self.gpus == 1)

    @property
    def recipe(self) -> str:
        """The recipe's name."""
        adapters = self.nodes == 1 and (self.uses_lora or self.uses_qlora)
        return f"{_LORA if adapters else _FULL}_{_ONE_DEVICE if self.on_one_device else _DISTRIBUTED}"

    @property
    def config(self) -> str:
        """The configuration's name."""
        kind = "full"
        if self.nodes == 1 and self.uses_qlora:
            kind = "qlora"
        elif self.nodes == 1 and self.uses_lora:
            kind = "lora"
        ending = f"_{_ONE_DEVICE}" if self.on_one_device else "_multinode" if self.nodes > 1 else ""
        return f"{self.model}_{kind}{ending}"

    @property
    def meets_others(self) -> bool:
        """Whether several processes must find each other."""
        several = int(self.processes) > 1 if self.processes.isdigit() else self.gpus > 1
        return self.nodes > 1 or several


def tuning_of(nodes: Nodes) -> Tuning:
    """What a job tunes."""
    trainer, processes = nodes.job.spec.trainer, processes_of(nodes)
    gpus = gpus_of(nodes.trainer.resources)
    return Tuning(
        model=model_of(nodes.job.spec.runtime_ref.name),
        nodes=nodes.count,
        processes="1" if processes == _AUTO and not gpus else processes,
        gpus=gpus,
        arguments=trainer.args if trainer else (),
    )


def command_of(nodes: Nodes, of_runtime: Container) -> Sequence[str]:
    """``tune run`` completed: rendezvous, recipe, configuration, and what the runtime says of files."""
    tuning = tuning_of(nodes)
    meeting = [f"--rdzv_endpoint={nodes.first}:{PORT}"] if tuning.meets_others else []
    files = [word for word in of_runtime.command if word.partition("=")[0] in OF_RUNTIME]
    return [*COMMAND, *meeting, tuning.recipe, "--config", tuning.config, *files]


def check(nodes: Nodes) -> Iterable[Cause]:
    """What is wrong with a job that asks for torchtune."""
    tuning, runtime = tuning_of(nodes), nodes.job.spec.runtime_ref.name
    model = tuning.model
    if model not in MODELS:
        message = f"must have a supported pretrained model, invalid model configured: {model or 'none'}"
        yield invalid("spec.runtimeRef.name", runtime, message)
    if tuning.nodes > 1 and model != _LLAMA_70B:
        yield invalid("spec.trainer.numNodes", tuning.nodes, f"must be 1 for {model} model")
    if tuning.nodes > 1 and (tuning.uses_lora or tuning.uses_qlora):
        message = "LoRA fine-tuning is not supported for multi-node training in TorchTune"
        yield invalid("spec.trainer.numNodes", tuning.nodes, message)
    yield from _check_qlora(tuning, runtime)
    for index, argument in enumerate(tuning.arguments):
        name = argument.partition("=")[0]
        if name in OF_RUNTIME:
            message = f'must not set immutable config "{name}" in trainer args; it is managed by the runtime'
            yield invalid(f"spec.trainer.args[{index}]", argument, message)


def _check_qlora(tuning: Tuning, runtime: str) -> Iterable[Cause]:
    if not tuning.uses_qlora or tuning.nodes > 1:
        return
    if tuning.model == _QWEN:
        yield invalid("spec.runtimeRef.name", runtime, f"QLoRA is not supported for {tuning.model} model")
    elif tuning.model in _SMALL and not tuning.on_one_device:
        message = f"must be auto or 1 for {tuning.model} model when using QLoRA"
        yield invalid("spec.trainer.numProcPerNode", tuning.processes, message)
