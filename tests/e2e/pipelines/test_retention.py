"""What a run has in the cluster goes when its pipeline says so; what it has shown stays."""

import kfp
import pytest
from kfp import dsl
from tests.e2e.platforms import Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]
WAIT = 120


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def shout(text: str) -> str:
    print("shouting", text)
    return text


@dsl.pipeline(
    name="passing",
    pipeline_config=dsl.PipelineConfig(
        ttl_seconds_after_success=1,
        workspace=dsl.WorkspaceConfig(size="10Mi"),
    ),
)
def passing(text: str = "hello"):
    shout(text=f"{text} {dsl.WORKSPACE_PATH_PLACEHOLDER}").set_caching_options(False)


def test_pods_and_workspace_go_and_logs_stay(platform: Platform, kfp_client: kfp.Client):
    run_id = kfp_client.create_run_from_pipeline_func(passing).run_id
    run = kfp_client.wait_for_run_completion(run_id, timeout=WAIT, sleep_duration=1)
    assert run.state == "SUCCEEDED"
    selector = f"--selector=pipelines.kubeflow.org/run-id={run_id}"
    for kind in ("pods", "persistentvolumeclaims"):
        eventually(lambda kind=kind: not platform.get(kind, "-n", "kubeflow", selector)["items"])
    run = kfp_client.get_run(run_id)
    assert run.state == "SUCCEEDED"
    assert "shout" in {task.display_name for task in run.run_details.task_details}
    assert "shouting hello" in platform.ketch("runs", "logs", run_id).stdout
