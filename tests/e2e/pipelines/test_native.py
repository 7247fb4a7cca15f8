"""Pipelines as Kubernetes objects: compiled to manifests, applied by kubectl, run by the SDK."""

import json
from pathlib import Path

import kfp
import kfp_server_api
import pytest
from kfp import compiler, dsl
from kfp.compiler.compiler_utils import KubernetesManifestOptions
from tests.e2e.platforms import Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]
WAIT = 120


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def add(a: int, b: float) -> float:
    return a + b


@dsl.pipeline(name="adding", description="adds two numbers")
def adding(a: int = 1, b: float = 2.0):
    add(a=a, b=b).set_caching_options(False)


def manifests(path: Path, version: str, *, with_pipeline: bool = True) -> str:
    """What the SDK writes for kubectl."""
    options = KubernetesManifestOptions(
        pipeline_name="native-adding",
        pipeline_display_name="Native adding",
        pipeline_version_name=version,
        include_pipeline_manifest=with_pipeline,
    )
    compiler.Compiler().compile(adding, str(path), kubernetes_manifest_format=True, kubernetes_manifest_options=options)
    return str(path)


def test_applied_pipelines_are_listed_run_and_deleted(platform: Platform, kfp_client: kfp.Client, tmp_path: Path):
    platform.kubectl("apply", "-f", manifests(tmp_path / "first.yaml", "native-adding-v1"))
    platform.kubectl("wait", "--for=condition=Ready", "pipelineversion/native-adding-v1", "--timeout=30s")
    pipeline_id = eventually(lambda: kfp_client.get_pipeline_id("Native adding"))
    assert pipeline_id == platform.get("pipelines.pipelines.kubeflow.org", "native-adding")["metadata"]["uid"]
    (version,) = kfp_client.list_pipeline_versions(pipeline_id).pipeline_versions
    assert (version.name, version.description) == ("native-adding-v1", "adds two numbers")
    assert pipeline_id in {each.pipeline_id for each in kfp_client.list_pipelines(page_size=100).pipelines}

    experiment = kfp_client.create_experiment("native")
    run = kfp_client.run_pipeline(
        experiment.experiment_id,
        "of an object",
        pipeline_id=pipeline_id,
        version_id=version.pipeline_version_id,
        params={"a": 3},
    )
    assert kfp_client.wait_for_run_completion(run.run_id, timeout=WAIT, sleep_duration=1).state == "SUCCEEDED"

    platform.kubectl("apply", "-f", manifests(tmp_path / "second.yaml", "native-adding-v2", with_pipeline=False))
    eventually(lambda: len(kfp_client.list_pipeline_versions(pipeline_id).pipeline_versions) == 2)
    table = platform.kubectl("get", "pipelineversions.pipelines.kubeflow.org")
    assert "native-adding-v2" in table
    assert "True" in table

    kfp_client.delete_pipeline_version(pipeline_id, version.pipeline_version_id)
    eventually(lambda: platform.kubectl_result("get", "pipelineversion", "native-adding-v1").returncode != 0)
    platform.kubectl("delete", "pipelines.pipelines.kubeflow.org", "native-adding")
    eventually(lambda: platform.kubectl_result("get", "pipelineversion", "native-adding-v2").returncode != 0)
    with pytest.raises(kfp_server_api.ApiException, match="not found"):
        kfp_client.get_pipeline(pipeline_id)
    assert kfp_client.get_run(run.run_id).state == "SUCCEEDED"


def test_what_could_not_run_is_refused_by_kubectl_apply(platform: Platform, tmp_path: Path):
    path = manifests(tmp_path / "pipeline.yaml", "native-broken", with_pipeline=False)
    broken = Path(path).read_text().replace("schemaVersion: 2.1.0", "schemaVersion: 1.0.0")
    result = platform.kubectl_result("apply", "-f", "-", stdin=broken)
    assert result.returncode
    assert "spec.pipelineSpec" in result.stderr
    alone = {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": "PipelineVersion",
        "metadata": {"name": "native-alone"},
        "spec": {"pipelineName": "nobody", "pipelineSpecURI": "https://example.com/pipeline.yaml"},
    }
    platform.apply(alone)
    reason = "jsonpath={.status.conditions[0].reason}"
    told = eventually(lambda: platform.kubectl("get", "pipelineversion", "native-alone", "-o", reason))
    assert told == "PipelineNotFound"
    changed = alone | {"spec": {"pipelineName": "other", "pipelineSpecURI": "https://example.com/pipeline.yaml"}}
    result = platform.kubectl_result("apply", "-f", "-", stdin=json.dumps(changed))
    assert "field is immutable" in result.stderr
    platform.kubectl("delete", "pipelineversion", "native-alone")
