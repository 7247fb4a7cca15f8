"""Wrong training objects, sent to the running platform by the official client: the Status that users see."""

import json
from typing import Any

import pytest
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config
from tests.e2e.platforms import Platform
from tests.e2e.training.worlds import PATHS
from tests.training.refusals import REFUSALS, Refusal

pytestmark = pytest.mark.e2e


def status_of(api: kubernetes.ApiClient, path: str, body: dict) -> dict:
    """What is answered to a dry run of a create, which must be refused."""
    with pytest.raises(kubernetes.ApiException) as caught:
        api.call_api(f"{path}?dryRun=All", "POST", body=body, auth_settings=["BearerToken"], _preload_content=False)
    assert caught.value.status == 422
    return json.loads(caught.value.body)


def test_each_is_refused_with_its_causes(platform: Platform, namespace: str):
    api = kubernetes_config.new_client_from_config(str(platform.kubeconfig))

    def check(refusal: Refusal) -> None:
        status = status_of(api, PATHS[refusal.wrong["kind"].lower()].format(namespace=namespace), refusal.wrong)
        assert (status["kind"], status["reason"]) == ("Status", "Invalid"), refusal
        assert status["details"]["kind"] == refusal.wrong["kind"]
        causes = [(each["reason"], each["field"]) for each in status["details"]["causes"]]
        assert causes == [(each.reason, each.field) for each in refusal.causes], refusal
        assert all(each.words in status["message"] for each in refusal.causes), refusal

    for refusal in REFUSALS:
        if not refusal.change:
            check(refusal)


def test_kubectl_says_which_field_and_why(platform: Platform, namespace: str):
    wrong = next(each for each in REFUSALS if str(each) == "TrainJob: unknown runtime")
    result = platform.kubectl_result("apply", "-n", namespace, "-f", "-", stdin=json.dumps(wrong.wrong))
    assert result.returncode == 1
    words = 'spec.runtimeRef.name: Invalid value: "nowhere": there is no ClusterTrainingRuntime of this name: create it'
    assert words in result.stderr


def test_kubectl_warns_of_what_is_deprecated(platform: Platform, namespace: str):
    labels = {"trainer.kubeflow.org/framework": "plain", "trainer.kubeflow.org/support": "deprecated"}
    container = {"name": "node", "image": "busybox"}
    step = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"template": {"spec": {"containers": [container]}}},
        },
    }
    runtime = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainingRuntime",
        "metadata": {"name": "old", "namespace": namespace, "labels": labels},
        "spec": {"template": {"spec": {"replicatedJobs": [step]}}},
    }
    platform.apply(runtime)
    job: dict[str, Any] = {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": "job", "namespace": namespace},
        "spec": {
            "runtimeRef": {"name": "old", "kind": "TrainingRuntime"},
            "podTemplateOverrides": [{"targetJobs": [{"name": "node"}], "spec": {"nodeSelector": {"a": "b"}}}],
        },
    }
    result = platform.kubectl_result("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(job))
    assert result.returncode == 0, result.stderr
    assert 'Warning: spec.runtimeRef: TrainingRuntime "old" is deprecated: new jobs' in result.stderr
    assert "Warning: spec.podTemplateOverrides is deprecated: use spec.runtimePatches" in result.stderr
