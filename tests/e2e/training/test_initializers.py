"""A TrainJob whose dataset and model are brought to its volume before it trains, by kubectl."""

from typing import Any

import pytest
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

ANCESTOR = "trainer.kubeflow.org/trainjob-ancestor-step"
READ = "import pathlib; print([p.read_text() for p in sorted(pathlib.Path('/workspace').rglob('*')) if p.is_file()])"
MOUNT = {"name": "initializer", "mountPath": "/workspace"}


def a_step(name: str, ancestor: str, container: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A replicated job of one container that has the shared volume."""
    mounts = [MOUNT, *container.pop("volumeMounts", [])]
    pod = {
        "restartPolicy": "Never",
        "containers": [{"name": name, "volumeMounts": mounts, **container}],
        "volumes": [{"name": "seed", "configMap": {"name": "seed"}}],
    }
    template = {"metadata": {"labels": {ANCESTOR: ancestor}}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}
    return {"name": name, "template": template, **more}


def a_runtime(namespace: str) -> dict[str, Any]:
    """Like upstream's torchtune runtimes: two initializers, one volume, a trainer that waits for both."""

    def initializer(kind: str) -> dict[str, Any]:
        image = {"image": f"ghcr.io/kubeflow/trainer/{kind}"}
        return a_step(kind, kind, image | {"volumeMounts": [{"name": "seed", "mountPath": "/seed"}]})

    both = [{"name": f"{kind}-initializer", "status": "Complete"} for kind in ("dataset", "model")]
    trainer = {"image": "python:3.11", "command": ["python3", "-c", READ]}
    jobs = [
        initializer("dataset-initializer"),
        initializer("model-initializer"),
        a_step("node", "trainer", trainer, dependsOn=both),
    ]
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    policies = [{"templates": [{"metadata": {"name": "initializer"}, "spec": claim}]}]
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {"name": "seeded", "namespace": namespace},
        "spec": {
            "mlPolicy": {"numNodes": 1},
            "template": {"spec": {"replicatedJobs": jobs, "volumeClaimPolicies": policies}},
        },
    }


def a_trainjob(namespace: str, dataset: str, model: str) -> dict[str, Any]:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "job", "namespace": namespace},
        "spec": {
            "runtimeRef": {"name": "seeded", "kind": "TrainingRuntime"},
            "initializer": {"dataset": {"storageUri": dataset}, "model": {"storageUri": model}},
        },
    }


@pytest.fixture
def seeded(platform: Platform, namespace: str) -> Platform:
    metadata = {"name": "seed", "namespace": namespace}
    data = {"data.csv": "numbers", "model.bin": "weights"}
    platform.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    platform.apply(a_runtime(namespace))
    return platform


def test_the_trainer_finds_what_was_brought(seeded: Platform, namespace: str):
    seeded.apply(a_trainjob(namespace, "file:///seed/data.csv", "file:///seed/model.bin"))
    seeded.kubectl("wait", "--for=condition=Complete", "trainjob/job", "-n", namespace, "--timeout=150s")

    def log(step: str) -> str:
        return seeded.kubectl("logs", "-n", namespace, "-l", f"jobset.sigs.k8s.io/replicatedjob-name={step}")

    assert log("node").strip() == "['numbers', 'weights']"
    assert log("dataset-initializer").strip() == "1 files of file:///seed/data.csv are in /workspace/dataset"


def test_what_cannot_be_had_fails_the_job_with_the_reason(seeded: Platform, namespace: str):
    seeded.apply(a_trainjob(namespace, "cache://schema/table", "file:///seed/model.bin"))
    seeded.kubectl("wait", "--for=condition=Failed", "trainjob/job", "-n", namespace, "--timeout=150s")

    def last_words() -> str:
        label = "jobset.sigs.k8s.io/replicatedjob-name=dataset-initializer"
        (pod,) = seeded.get("pods", "-n", namespace, "-l", label)["items"]
        (status,) = pod["status"]["containerStatuses"]
        return status["state"]["terminated"].get("message", "")

    assert eventually(last_words).startswith("cache://schema/table: cache:// is not served here")
    steps = seeded.get("pods", "-n", namespace, "-l", "jobset.sigs.k8s.io/replicatedjob-name=node")
    assert not steps["items"]
