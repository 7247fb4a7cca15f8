"""Logs of steps, of every attempt, from the pod and when it is gone."""

import os
import signal
import urllib.error
import urllib.request
import warnings
from typing import Any

import kfp
import pytest
from kfp import dsl
from tests.e2e.platforms import Platform, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]
RUN = "pipelines.kubeflow.org/run-id"


@dsl.container_component
def talk():
    script = 'echo "attempt ${KFP_RETRY_INDEX:-0} says hello"; exit "${KFP_RETRY_INDEX:-0}"'
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", script])


@dsl.container_component
def stumble():
    script = 'echo "attempt $KFP_RETRY_INDEX"; test "$KFP_RETRY_INDEX" = 2'
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", script])


@dsl.container_component
def linger():
    script = "trap 'echo good bye; exit 1' TERM; echo hello; while true; do sleep 0.1; done"
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", script])


@dsl.pipeline(name="talking")
def talking():
    talk()
    stumble().set_retry(3, backoff_duration="0s")


@dsl.pipeline(name="lingering")
def lingering():
    linger()


def log(platform: Platform, run_id: str, node: str) -> str:
    address = f"{platform.address}/apis/v1alpha1/runs/{run_id}/nodes/{node}/log"
    with urllib.request.urlopen(address) as answer:
        return answer.read().decode()


def pods(platform: Platform, run_id: str) -> list[dict[str, Any]]:
    return platform.get("pods", "-n", "kubeflow", "-l", f"{RUN}={run_id}")["items"]


def test_every_attempts_log_outlives_its_pod(kfp_client: kfp.Client, platform: Platform):
    run_id = kfp_client.create_run_from_pipeline_func(talking, enable_caching=False).run_id
    run = kfp_client.wait_for_run_completion(run_id, timeout=60, sleep_duration=0.2)
    assert run.state == "SUCCEEDED"
    tasks = {task.display_name: task for task in run.run_details.task_details}
    names = [pod["metadata"]["name"] for pod in pods(platform, run_id)]
    assert len(names) == 4
    before = {name: log(platform, run_id, name) for name in names}
    assert sorted(before.values()) == ["attempt 0\n", "attempt 0 says hello\n", "attempt 1\n", "attempt 2\n"]
    platform.kubectl("delete", "pods", "-n", "kubeflow", "-l", f"{RUN}={run_id}")
    assert pods(platform, run_id) == []
    assert {name: log(platform, run_id, name) for name in names} == before
    assert log(platform, run_id, tasks["talk"].task_id) == "attempt 0 says hello\n"
    assert log(platform, run_id, tasks["stumble"].task_id) == "attempt 2\n"
    assert "attempt 2" in platform.ketch("runs", "logs", run_id, "stumble").stdout


def test_a_pod_deleted_by_force_while_it_runs_leaves_its_log(kfp_client: kfp.Client, platform: Platform):
    run_id = kfp_client.create_run_from_pipeline_func(lingering, enable_caching=False).run_id
    (name,) = eventually(lambda: [pod["metadata"]["name"] for pod in pods(platform, run_id)])
    eventually(lambda: quietly(platform, run_id, name) == "hello\n")
    platform.kubectl("delete", "pod", name, "-n", "kubeflow")
    assert log(platform, run_id, name) == "hello\ngood bye\n"
    run = kfp_client.wait_for_run_completion(run_id, timeout=60, sleep_duration=0.2)
    assert run.state == "FAILED"


def quietly(platform: Platform, run_id: str, node: str) -> str:
    try:
        return log(platform, run_id, node)
    except urllib.error.HTTPError as error:
        error.close()
        return ""


def test_a_deleted_runs_pods_go_without_delay(kfp_client: kfp.Client, platform: Platform):
    run_id = kfp_client.create_run_from_pipeline_func(talking, enable_caching=False).run_id
    kfp_client.wait_for_run_completion(run_id, timeout=60, sleep_duration=0.2)
    kfp_client.delete_run(run_id)
    eventually(lambda: not pods(platform, run_id))
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        log(platform, run_id, "x")
    refused.value.close()


def test_a_control_plane_killed_while_pods_are_deleted_loses_no_log(own_platform: Platform):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        client = kfp.Client(host=own_platform.address)
    run_id = client.create_run_from_pipeline_func(talking, enable_caching=False).run_id
    client.wait_for_run_completion(run_id, timeout=60, sleep_duration=0.2)
    names = [pod["metadata"]["name"] for pod in pods(own_platform, run_id)]
    own_platform.kubectl("delete", "pods", "-n", "kubeflow", "-l", f"{RUN}={run_id}", "--wait=false")
    os.kill(own_platform.pid("control-plane"), signal.SIGKILL)
    eventually(lambda: own_platform.kubectl_result("get", "pods", "-n", "kubeflow").returncode == 0)
    eventually(lambda: not pods(own_platform, run_id))
    assert len([log(own_platform, run_id, name) for name in names]) == 4
