"""kill -9 of the platform's processes while pods run and writes go on, and what the platform comes back with."""

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path

import kfp
import pytest
import urllib3
from kfp import dsl
from kubernetes import client as kubernetes
from kubernetes import config as kubernetes_config
from tests.e2e.platforms import Platform, eventually, start_platform

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::FutureWarning")]


def _sleeper(name: str, seconds: int, code: int) -> dict:
    """A pod that prints ten lines a second."""
    command = ["sh", "-c", f"for i in $(seq {seconds * 10}); do echo line $i; sleep 0.1; done; exit {code}"]
    container = {"name": "main", "image": "busybox", "command": command}
    spec = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _lines(seconds: int) -> str:
    """All that such a pod prints."""
    return "".join(f"line {number}\n" for number in range(1, seconds * 10 + 1))


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


def _gone(pid: int) -> bool:
    try:
        return "Z (zombie)" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def _processes_of(root: Path) -> list[int]:
    """Processes whose command line names the data directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(root).encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _kill_supervisor(platform: Platform) -> None:
    """kill -9 of `ketch up`: its processes end with it."""
    record = platform.record()
    os.kill(record["pid"], signal.SIGKILL)
    pids = [record["pid"], *(item["pid"] for item in record["processes"].values())]
    eventually(lambda: all(map(_gone, pids)), what="the supervisor's processes end")


def _kill_everything(platform: Platform) -> None:
    """As a machine does that loses its power: nothing of the platform, its pods or its network lives on."""
    _kill_supervisor(platform)
    for pid in _processes_of(platform.root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not _processes_of(platform.root), what="all of it ends")


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
    assert own_platform.kubectl("logs", "sleeper") == _lines(3)
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
    for process in ("control-plane", "node-agent", "keeper", "network"):
        eventually(lambda: any("running" in _state(item) for item in _pods(own_platform)), what="a step runs")
        _kill(own_platform, process)
    outcome = eventually(lambda: (found := _run(client, run.run_id)).state in ("SUCCEEDED", "FAILED") and found, 90)
    assert outcome.state == "SUCCEEDED"
    states = [task.state for task in outcome.run_details.task_details if task.display_name.startswith("slow-increment")]
    assert states == ["SUCCEEDED"] * 4
    assert len(_pods(own_platform)) == 4  # no step ran twice


def test_pods_and_a_run_live_on_when_the_supervisor_is_killed(own_platform: Platform):
    own_platform.apply(_sleeper("short", 1, 7), _sleeper("long", 6, 9))
    client = kfp.Client(host=own_platform.address)
    run = client.create_run_from_pipeline_func(survivor, arguments={}, enable_caching=False)
    for name in ("short", "long"):
        eventually(lambda name=name: "running" in _container(own_platform, name)["state"])
    eventually(lambda: any("running" in _state(item) for item in _pods(own_platform)), what="a step runs")
    before = {name: _container(own_platform, name)["containerID"] for name in ("short", "long")}
    _kill_supervisor(own_platform)
    assert own_platform.ketch("status").returncode == 3

    again = start_platform(own_platform.root)
    for name, seconds, code in (("short", 1, 7), ("long", 6, 9)):
        ended = eventually(lambda name=name: _container(again, name)["state"].get("terminated"))
        assert (ended["exitCode"], ended["containerID"]) == (code, before[name])
        assert _container(again, name)["restartCount"] == 0
        assert again.kubectl("logs", name) == _lines(seconds)
    client = kfp.Client(host=again.address)
    outcome = eventually(lambda: (found := _run(client, run.run_id)).state in ("SUCCEEDED", "FAILED") and found, 90)
    assert outcome.state == "SUCCEEDED"
    assert len(_pods(again)) == 4  # no step ran twice


def test_down_ends_what_a_killed_supervisor_left(own_platform: Platform):
    own_platform.apply(_sleeper("left", 600, 0))
    eventually(lambda: "running" in _container(own_platform, "left")["state"])
    _kill_supervisor(own_platform)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # a start that fails has not seen to the pods
        port = str(taken.getsockname()[1])
        assert "in use" in own_platform.ketch("up", "--detach", "--port", port, "--api-port", "0").stderr
    result = own_platform.ketch("down")
    assert result.returncode == 0
    assert "a killed platform left" in result.stdout
    eventually(lambda: not _processes_of(own_platform.root), what="all processes end")
    assert "no platform runs" in own_platform.ketch("down").stdout


def _stateful() -> list[dict]:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }
    container = {
        "name": "main",
        "image": "busybox",
        "command": ["sh", "-c", "echo started >> /data/starts; wc -l < /data/starts; exec sleep 600"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    template = {"metadata": {"labels": {"app": "keeps"}}, "spec": {"containers": [container], "volumes": volumes}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "keeps"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "keeps"}}, "template": template},
    }
    return [claim, deployment]


@pytest.mark.parametrize("power", ["switched off", "lost"])
def test_everything_is_there_again_after_the_power_was(own_platform: Platform, power: str):
    own_platform.apply(*_stateful(), _sleeper("finished", 1, 3))
    own_platform.kubectl("rollout", "status", "deployment/keeps", "--timeout=60s")
    client = kfp.Client(host=own_platform.address)
    run = client.create_run_from_pipeline_func(survivor, arguments={}, enable_caching=False)
    eventually(lambda: _run(client, run.run_id).state == "SUCCEEDED", 90)
    eventually(lambda: _container(own_platform, "finished")["state"].get("terminated"))
    if power == "lost":
        _kill_everything(own_platform)
    else:
        assert own_platform.ketch("down").returncode == 0
        eventually(lambda: not _processes_of(own_platform.root), what="all processes end")

    again = start_platform(own_platform.root)
    again.kubectl("rollout", "status", "deployment/keeps", "--timeout=60s")
    started = again.kubectl_result("logs", "deployment/keeps")
    assert eventually(lambda: again.kubectl_result("logs", "deployment/keeps").stdout == "2\n"), started.stderr
    assert _container(again, "finished")["state"]["terminated"]["exitCode"] == 3
    assert again.kubectl("logs", "finished") == _lines(1)
    found = _run(kfp.Client(host=again.address), run.run_id)
    assert found.state == "SUCCEEDED"
    assert len(found.run_details.task_details) > 4
    assert len(_pods(again)) == 4


def _run(client: kfp.Client, run_id: str):
    return client.get_run(run_id)


def _pods(platform: Platform) -> list[dict]:
    return platform.get("pods", "-n", "kubeflow")["items"]


def _state(pod: dict) -> dict:
    return (pod["status"].get("containerStatuses") or [{"state": {}}])[0]["state"]
