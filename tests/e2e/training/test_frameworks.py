"""Frameworks with real collectives over two processes, beside one process in the same run.

Their environments have between half a gigabyte and one and a half, so these run on request alone:
``KETCH_FRAMEWORKS=all pytest tests/e2e/training/test_frameworks.py`` (or ``KETCH_FRAMEWORKS=jax,xgboost``).
"""

import os
import re

import pytest
from tests.e2e.platforms import Platform, eventually
from tests.e2e.training.frameworks import FRAMEWORKS, Framework
from tests.training.refusals import job, replica

WANTED = os.environ.get("KETCH_FRAMEWORKS", "").split(",")
ENVIRONMENT_SECONDS = 400

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * ENVIRONMENT_SECONDS)]


def chosen(*, served: bool = False) -> list[object]:
    """The frameworks, those that nobody asked for skipped; ``served``: those with a runtime alone."""
    asked = {name for name in FRAMEWORKS if name in WANTED or "all" in WANTED}
    return [
        pytest.param(
            each, id=name, marks=() if name in asked else pytest.mark.skip(reason="KETCH_FRAMEWORKS names it not")
        )
        for name, each in FRAMEWORKS.items()
        if each.runtime or not served
    ]


def ended(platform: Platform, namespace: str, what: str, selector: str) -> str:
    """How the job has ended; with the ranks' logs when not well."""

    def end() -> str:
        conditions = platform.get(what, "-n", namespace).get("status", {}).get("conditions", [])
        return next((each["type"] for each in conditions if each["status"] == "True" and each["type"] in ENDS), "")

    found = eventually(end, ENVIRONMENT_SECONDS, f"{what} ends")
    if found == "Failed":
        pods = platform.kubectl("get", "pods", "-n", namespace, "-l", selector, "-o", "name").split()
        pytest.fail("\n".join(f"{pod}: {platform.kubectl('logs', pod, '-n', namespace)[-4000:]}" for pod in pods))
    return found


ENDS = ("Succeeded", "Complete", "Failed")


def assert_same(log: str) -> None:
    """Two processes have learnt what one learns."""
    found = re.search(r"^result (\d+) (\S+) (\S+)$", log, re.MULTILINE)
    assert found, log
    assert int(found[1]) == 2
    assert float(found[2]) == pytest.approx(float(found[3]), rel=1e-4)


@pytest.mark.parametrize("framework", chosen())
def test_a_job_learns_what_one_process_learns(platform: Platform, namespace: str, framework: Framework):
    container = {"image": framework.image, "command": ["python3", "-c", framework.program]}
    roles = {role: replica(framework.kind, count, **container) for role, count in framework.roles}
    body = job(framework.kind, "real", {"runPolicy": {"cleanPodPolicy": "None"}}, **roles)
    platform.apply(body, namespace=namespace)
    selector = "training.kubeflow.org/job-name=real"
    assert ended(platform, namespace, f"{framework.kind.lower()}/real", selector) == "Succeeded"
    assert_same(platform.kubectl("logs", f"real-{framework.lead}", "-n", namespace))


@pytest.mark.parametrize("framework", chosen(served=True))
def test_so_do_two_nodes_of_its_runtime(platform: Platform, namespace: str, framework: Framework):
    body = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "real"},
        "spec": {
            "runtimeRef": {"name": framework.runtime},
            "trainer": {"numNodes": 2, "command": ["python3", "-c", framework.program]},
        },
    }
    platform.apply(body, namespace=namespace)
    selector = "jobset.sigs.k8s.io/jobset-name=real"
    assert ended(platform, namespace, "trainjob/real", selector) == "Complete"
    first = f"{selector},batch.kubernetes.io/job-completion-index=0"
    assert_same(platform.kubectl("logs", "-n", namespace, "-l", first, "--tail=-1"))
