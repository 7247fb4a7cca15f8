"""What users are told of what will not be there for ever. Pure."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.training.jobs.builders import a_job

from ketch.kube.codec import decode
from ketch.training.jobsets.types import JobSet
from ketch.training.setup import admissions
from ketch.training.trainjobs.types import ClusterTrainingRuntime, TrainJob

BY_KIND = {each.kind: each for each in admissions()}


class Runtimes:
    """One runtime, whatever is asked for."""

    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __init__(self, **labels: str) -> None:
        named = {name.replace("_", "/"): value for name, value in labels.items()}
        self._runtime = decode(ClusterTrainingRuntime, {"metadata": {"name": "old", "labels": named}})

    def get(self, kind: Any, namespace: str, name: str) -> Any:
        return self._runtime


def a_trainjob(**spec: Any) -> TrainJob:
    return decode(TrainJob, {"metadata": {"name": "job"}, "spec": {"runtimeRef": {"name": "old"}, **spec}})


def told(obj: Any, old: Any = None, **labels: str) -> list[str]:
    return list(BY_KIND[type(obj)].warn(obj, old, Runtimes(**labels)))


DEPRECATED = {"trainer.kubeflow.org_support": "deprecated"}


def test_a_runtime_that_is_deprecated():
    assert told(a_trainjob()) == []
    (warning,) = told(a_trainjob(), **DEPRECATED)
    assert 'ClusterTrainingRuntime "old" is deprecated' in warning
    assert told(a_trainjob(suspend=True), a_trainjob(), **DEPRECATED) == []  # it is told when the job is made


@pytest.mark.parametrize(
    ("obj", "field"),
    [
        (a_trainjob(podTemplateOverrides=[{"targetJobs": [{"name": "node"}]}]), "spec.podTemplateOverrides"),
        (a_job("PyTorchJob", Worker=1, spec={"elasticPolicy": {"nProcPerNode": 2}}), "spec.elasticPolicy.nProcPerNode"),
        (decode(JobSet, {"spec": {"startupPolicy": {"startupPolicyOrder": "InOrder"}}}), "spec.startupPolicy"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_field_that_is_deprecated(obj: Any, field: str):
    (warning,) = told(obj)
    assert warning.startswith(f"{field} is deprecated: ")


@pytest.mark.parametrize("kind", ["TFJob", "PyTorchJob", "XGBoostJob", "PaddleJob", "JAXJob"])
def test_what_is_as_it_should_be(kind: str):
    assert told(a_job(kind, Worker=1)) == []
