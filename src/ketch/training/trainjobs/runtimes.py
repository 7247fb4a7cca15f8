"""The runtimes that every platform begins with, under upstream's names. What their images mean is the node's to say."""

from collections.abc import Sequence
from typing import Final

from ketch.kube.meta import ObjectMeta
from ketch.kube.types.batch import JobSpec
from ketch.kube.types.containers import Container
from ketch.kube.types.pods import PodSpec, PodTemplateSpec
from ketch.training.jobsets.types import JobSetSpec, JobTemplate, ReplicatedJob
from ketch.training.trainjobs.assembly import ANCESTOR, TRAINER
from ketch.training.trainjobs.policies import NODE
from ketch.training.trainjobs.types import (
    ClusterTrainingRuntime,
    JAXPolicy,
    JobSetTemplate,
    MLPolicy,
    TorchPolicy,
    TrainingRuntimeSpec,
    XGBoostPolicy,
)

FRAMEWORK: Final = "trainer.kubeflow.org/framework"
"""The label without which clients do not list a runtime."""


def _nodes(image: str) -> ReplicatedJob:
    """Equal nodes, each one container of the image."""
    pod = PodTemplateSpec(spec=PodSpec(containers=(Container(name=NODE, image=image),)))
    metadata = ObjectMeta(labels={ANCESTOR: TRAINER})
    return ReplicatedJob(name=NODE, replicas=1, template=JobTemplate(metadata=metadata, spec=JobSpec(template=pod)))


def _runtime(name: str, framework: str, image: str, policy: MLPolicy) -> ClusterTrainingRuntime:
    template = JobSetTemplate(spec=JobSetSpec(replicated_jobs=(_nodes(image),)))
    return ClusterTrainingRuntime(
        metadata=ObjectMeta(name=name, labels={FRAMEWORK: framework}),
        spec=TrainingRuntimeSpec(ml_policy=policy, template=template),
    )


def shipped() -> Sequence[ClusterTrainingRuntime]:
    """The runtimes."""
    return (
        _runtime(
            "torch-distributed",
            "torch",
            "pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime",
            MLPolicy(num_nodes=1, torch=TorchPolicy()),
        ),
        _runtime("jax-distributed", "jax", "nvcr.io/nvidia/jax:25.10-py3", MLPolicy(num_nodes=1, jax=JAXPolicy())),
        _runtime(
            "xgboost-distributed",
            "xgboost",
            "ghcr.io/kubeflow/trainer/xgboost-runtime",
            MLPolicy(num_nodes=1, xgboost=XGBoostPolicy()),
        ),
    )
