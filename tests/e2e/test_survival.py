"""kill -9 of the platform's processes while pods run and writes go on."""

import os
import signal
import threading

import kfp
import pytest
import urllib3
from kfp import dsl
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e


def _sleeper(name: str, seconds: float, code: int) -> dict:
    command = ["sh", "-c", f"echo begun; sleep {seconds}; echo ended; exit {code}"]
    container = {"name": "main", "image": "busybox", "command": command}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _container(platform: Platform, name: str) -> dict:
    pod = platform.get("pod", name)
    return (pod["status"].get("containerStatuses") or [{"state": {}}])[0]


def _kill(platform: Platform, process: str) -> None:
    pid = platform.pid(process)
    os.kill(pid, signal.SIGKILL)
    eventually(
        lambda: platform.record()["processes"][process]["pid"] not in (pid, None), what=f"{process} starts again"
    )
    platform.pid(process)


@pytest.mark.parametrize("process", ["control-plane", "node-agent", "keeper", "network"])
def test_a_pod_lives_on_and_its_exit_code_is_kept(own_platform: Platform, process: str):
    own_platform.apply(_sleeper("sleeper", 3, 7))
    eventually(lambda: "running" in _container(own_platform, "sleeper")["state"])
    before = _container(own_platform, "sleeper")["containerID"]
    _kill(own_platform, process)
    ended = eventually(lambda: _container(own_platform, "sleeper")["state"].get("terminated"))
    assert ended["exitCode"] == 7
    assert ended["containerID"] == before
    assert _container(own_platform, "sleeper")["restartCount"] == 0
    assert own_platform.kubectl("logs", "sleeper") == "begun\nended\n"
    own_platform.apply(_sleeper("another", 0, 0))
    assert eventually(lambda: _container(own_platform, "another")["state"].get("terminated"))["exitCode"] == 0


def test_no_acknowledged_write_is_lost(own_platform: Platform):
    api = kubernetes.CoreV1Api(kubernetes_config.new_client_from_config(str(own_platform.kubeconfig)))
    acknowledged, stop = [], threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set() and number < 20_000:
            number += 1
            body = {"metadata": {"name": f"written-{number}"}, "data": {"number": str(number)}}
            try:
                api.create_namespaced_config_map("default", body)
            except (kubernetes.ApiException, urllib3.exceptions.HTTPError):  # not acknowledged
                continue
            acknowledged.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            seen = len(acknowledged)
            eventually(lambda seen=seen: len(acknowledged) > seen + 20)
            _kill(own_platform, "control-plane")
    finally:
        stop.set()
        writer.join()
    kept = {item.metadata.name for item in api.list_namespaced_config_map("default").items}
    assert {f"written-{number}" for number in acknowledged} <= kept
    api.api_client.close()


@dsl.component(base_image="python:3.11")
def slow_increment(number: int) -> int:
    import time  # noqa: PLC0415  # the function travels alone

    time.sleep(1)
    return number + 1


@dsl.pipeline(name="survivor")
def survivor() -> int:
    task = slow_increment(number=0)
    for _ in range(3):
        task = slow_increment(number=task.output)
    return task.output


def test_a_run_ends_right_whatever_is_killed_meanwhile(own_platform: Platform):
    client = kfp.Client(host=own_platform.address)
    run = client.create_run_from_pipeline_func(survivor, arguments={}, enable_caching=False)
    for process in ("control-plane", "node-agent"):
        eventually(lambda: any("running" in _state(item) for item in _pods(own_platform)), what="a step runs")
        _kill(own_platform, process)
    outcome = eventually(lambda: (found := _run(client, run.run_id)).state in ("SUCCEEDED", "FAILED") and found, 90)
    assert outcome.state == "SUCCEEDED"
    states = [task.state for task in outcome.run_details.task_details if task.display_name.startswith("slow-increment")]
    assert states == ["SUCCEEDED"] * 4
    assert len(_pods(own_platform)) == 4  # no step ran twice


def _run(client: kfp.Client, run_id: str):
    return client.get_run(run_id)


def _pods(platform: Platform) -> list[dict]:
    return platform.get("pods", "-n", "kubeflow")["items"]


def _state(pod: dict) -> dict:
    return (pod["status"].get("containerStatuses") or [{"state": {}}])[0]["state"]
