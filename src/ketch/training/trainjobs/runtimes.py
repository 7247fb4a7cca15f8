"""The runtimes that every platform begins with, under upstream's names. What their images mean is the node's to say."""

from collections.abc import Sequence
from typing import Final

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.batch import JobSpec
from ketch.kube.types.containers import (
    Container,
    EnvVar,
    Probe,
    ResourceRequirements,
    SecurityContext,
    TCPSocketAction,
    VolumeMount,
)
from ketch.kube.types.pods import PodSecurityContext, PodSpec, PodTemplateSpec
from ketch.kube.types.volumes import ClaimSpec
from ketch.training.jobsets.types import (
    ClaimTemplate,
    DependsOn,
    JobSetSpec,
    JobTemplate,
    Network,
    ReplicatedJob,
    SuccessPolicy,
    VolumeClaimPolicy,
)
from ketch.training.trainjobs.assembly import ANCESTOR, DATASET, MODEL, STORAGE_URI, TRAINER
from ketch.training.trainjobs.mpi import LAUNCHER
from ketch.training.trainjobs.policies import NODE
from ketch.training.trainjobs.torchtune import COMMAND
from ketch.training.trainjobs.types import (
    ClusterTrainingRuntime,
    JAXPolicy,
    JobSetTemplate,
    MLPolicy,
    MPIPolicy,
    TorchPolicy,
    TrainingRuntimeSpec,
    XGBoostPolicy,
)

FRAMEWORK: Final = "trainer.kubeflow.org/framework"
"""The label without which clients do not list a runtime."""

MPI_USER: Final = 1000
_MPI_KEYS: Final = "/home/mpiuser/.ssh"
_SSHD_PORT: Final = 2222
_SSHD: Final = ("/usr/sbin/sshd",)
_SSHD_ARGUMENTS: Final = ("-De", "-f", "/home/mpiuser/.sshd_config")
_IMAGES: Final = "ghcr.io/kubeflow/trainer"
_VOLUME: Final = "initializer"
_WORKSPACE: Final = VolumeMount(name=_VOLUME, mount_path="/workspace")
_QUESTIONS: Final = "hf://tatsu-lab/alpaca"


def _step(name: str, container: Container, ancestor: str = "", **more: tuple[DependsOn, ...]) -> ReplicatedJob:
    """One replicated job of one container; ``ancestor`` says which step of a TrainJob it is."""
    return _step_of(name, PodSpec(containers=(container,)), ancestor, more.get("after", ()))


def _step_of(name: str, pod: PodSpec, ancestor: str, after: tuple[DependsOn, ...]) -> ReplicatedJob:
    metadata = ObjectMeta(labels={ANCESTOR: ancestor} if ancestor else {})
    template = JobTemplate(metadata=metadata, spec=JobSpec(template=PodTemplateSpec(spec=pod)))
    return ReplicatedJob(name=name, replicas=1, template=template, depends_on=after)


def _runtime(name: str, framework: str, policy: MLPolicy, template: JobSetSpec) -> ClusterTrainingRuntime:
    return ClusterTrainingRuntime(
        metadata=ObjectMeta(name=name, labels={FRAMEWORK: framework}),
        spec=TrainingRuntimeSpec(ml_policy=policy, template=JobSetTemplate(spec=template)),
    )


def _nodes(name: str, framework: str, image: str, policy: MLPolicy) -> ClusterTrainingRuntime:
    """Equal nodes."""
    node = _step(NODE, Container(name=NODE, image=image), TRAINER)
    return _runtime(name, framework, policy, JobSetSpec(replicated_jobs=(node,)))


def _launched(name: str, framework: str) -> ClusterTrainingRuntime:
    """Nodes that run sshd, and a launcher that trains too, once they are ready."""
    image = f"{_IMAGES}/{framework}-runtime"
    identity = SecurityContext(run_as_user=MPI_USER, run_as_group=MPI_USER)
    probe = Probe(tcp_socket=TCPSocketAction(port=_SSHD_PORT), period_seconds=1)
    server = Container(
        name=NODE,
        image=image,
        command=_SSHD,
        args=_SSHD_ARGUMENTS,
        security_context=identity,
        readiness_probe=probe,
    )
    shared = PodSecurityContext(fs_group=MPI_USER)
    nodes = PodSpec(containers=(server,), security_context=shared)
    launcher = PodSpec(
        containers=(Container(name=NODE, image=image, security_context=identity),), security_context=shared
    )
    template = JobSetSpec(
        network=Network(publish_not_ready_addresses=True),
        success_policy=SuccessPolicy(operator="All", target_replicated_jobs=(LAUNCHER,)),
        replicated_jobs=(
            _step_of(NODE, nodes, "", ()),
            _step_of(LAUNCHER, launcher, TRAINER, (DependsOn(name=NODE, status="Ready"),)),
        ),
    )
    mpi = MPIPolicy(num_proc_per_node=1, ssh_auth_mount_path=_MPI_KEYS, run_launcher_as_node=True)
    return _runtime(name, framework, MLPolicy(num_nodes=1, mpi=mpi), template)


def _tuned(model: str, source: str, config: str, tokenizer: Sequence[str]) -> ClusterTrainingRuntime:
    """A model and a dataset are fetched, then torchtune tunes the one with the other."""
    dataset, weights = (
        Container(
            name=name,
            image=f"{_IMAGES}/{name}",
            env=(EnvVar(name=STORAGE_URI, value=uri),),
            volume_mounts=(_WORKSPACE,),
        )
        for name, uri in ((DATASET, _QUESTIONS), (MODEL, source))
    )
    command = (
        *(*COMMAND, "--rdzv_endpoint=localhost:29500", "full_finetune_distributed", "--config", config),
        "dataset=torchtune.datasets.instruct_dataset",
        "dataset.source=parquet",
        "dataset.data_dir=/workspace/dataset/data",
        "output_dir=/workspace/output",
        *tokenizer,
        "checkpointer.checkpoint_dir=/workspace/model",
    )
    trainer = Container(
        name=NODE,
        image=f"{_IMAGES}/torchtune-trainer",
        command=command,
        resources=ResourceRequirements(limits={"nvidia.com/gpu": "2"}),
        volume_mounts=(_WORKSPACE,),
    )
    fetched = tuple(DependsOn(name=name, status="Complete") for name in (DATASET, MODEL))
    room = ClaimSpec(access_modes=("ReadWriteOnce",), resources=ResourceRequirements(requests={"storage": "20Gi"}))
    claims = VolumeClaimPolicy(templates=(ClaimTemplate(metadata=ObjectMeta(name=_VOLUME), spec=room),))
    template = JobSetSpec(
        volume_claim_policies=(claims,),
        replicated_jobs=(
            _step(DATASET, dataset, DATASET),
            _step(MODEL, weights, MODEL),
            _step(NODE, trainer, TRAINER, after=fetched),
        ),
    )
    return _runtime(f"torchtune-{model}", "torchtune", MLPolicy(num_nodes=1, torch=TorchPolicy()), template)


def shipped() -> Sequence[ClusterTrainingRuntime]:
    """The runtimes."""
    llama = ("tokenizer.path=/workspace/model/original/tokenizer.model",)
    qwen = ("tokenizer.path=/workspace/model/vocab.json", "tokenizer.merges_file=/workspace/model/merges.txt")
    torch, jax, xgboost = TorchPolicy(), JAXPolicy(), XGBoostPolicy()
    return (
        _nodes(
            "torch-distributed",
            "torch",
            "pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime",
            MLPolicy(num_nodes=1, torch=torch),
        ),
        _nodes("jax-distributed", "jax", "nvcr.io/nvidia/jax:25.10-py3", MLPolicy(num_nodes=1, jax=jax)),
        _nodes("xgboost-distributed", "xgboost", f"{_IMAGES}/xgboost-runtime", MLPolicy(num_nodes=1, xgboost=xgboost)),
        _launched("deepspeed-distributed", "deepspeed"),
        _launched("mlx-distributed", "mlx"),
        _tuned("llama3.2-1b", "hf://meta-llama/Llama-3.2-1B-Instruct", "llama3_2/1B_full", llama),
        _tuned("llama3.2-3b", "hf://meta-llama/Llama-3.2-3B-Instruct", "llama3_2/3B_full", llama),
        _tuned("qwen2.5-1.5b", "hf://Qwen/Qwen2.5-1.5B-Instruct", "qwen2_5/1.5B_full", qwen),
    )
