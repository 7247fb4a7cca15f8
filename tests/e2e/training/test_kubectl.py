"""Training jobs on the running platform, by kubectl: real processes that find each other by name."""

import json
import textwrap
from typing import Any

import pytest
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

RING = textwrap.dedent(
    """
    import os, socket, sys, time
    master, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if rank == 0:
        server = socket.create_server(("", port))
        ranks = []
        for _ in range(world - 1):
            connection, _ = server.accept()
            ranks.append(int(connection.makefile().readline()))
            connection.close()
        print("met", sorted(ranks), flush=True)
    else:
        for _ in range(6000):
            try:
                connection = socket.create_connection((master, port), timeout=5)
                break
            except OSError:
                time.sleep(0.05)
        connection.sendall(f"{rank}\\n".encode())
        connection.close()
    """
)


def a_job(name: str, namespace: str, program: str, workers: int = 2) -> dict[str, Any]:
    """A PyTorchJob that needs no torch: what it is told is enough to meet."""
    container = {"name": "pytorch", "image": "python:3.11", "command": ["python3", "-c", program]}
    replica = {"restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"pytorchReplicaSpecs": {"Master": replica, "Worker": {**replica, "replicas": workers}}},
    }


def test_processes_meet_by_name_and_the_job_succeeds(platform: Platform, namespace: str):
    platform.apply(a_job("ring", namespace, RING))
    platform.kubectl("wait", "--for=condition=Succeeded", "pytorchjob/ring", "-n", namespace, "--timeout=150s")
    assert platform.kubectl("logs", "ring-master-0", "-n", namespace).strip() == "met [1, 2]"
    assert "Succeeded" in platform.kubectl("get", "pytorchjobs", "-n", namespace)
    labels = "training.kubeflow.org/job-name=ring,training.kubeflow.org/job-role=master"
    assert platform.kubectl("get", "pods", "-n", namespace, "-l", labels, "-o", "name") == "pod/ring-master-0\n"


def test_a_rank_that_fails_fails_the_job(platform: Platform, namespace: str):
    program = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(600)"
    platform.apply(a_job("bad", namespace, program, workers=1))
    platform.kubectl("wait", "--for=condition=Failed", "pytorchjob/bad", "-n", namespace, "--timeout=150s")
    conditions = platform.get("pytorchjob/bad", "-n", namespace)["status"]["conditions"]
    assert conditions[-1]["message"] == "PyTorchJob bad is failed because 1 Worker replica(s) failed."


def test_workers_are_scaled(platform: Platform, namespace: str):
    job = a_job("scaled", namespace, "import time; time.sleep(600)", workers=1)
    platform.apply(job)
    platform.kubectl("scale", "pytorchjob/scaled", "--replicas=3", "-n", namespace)
    names = ["scaled-master-0", "scaled-worker-0", "scaled-worker-1", "scaled-worker-2"]

    def running() -> bool:
        pods = platform.get("pods", "-n", namespace)["items"]
        return [pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"] == names

    eventually(running)
    platform.kubectl("delete", "pytorchjob/scaled", "-n", namespace)
    eventually(lambda: not platform.get("pods", "-n", namespace)["items"])


def test_two_jobs_of_which_one_and_a_half_fit_both_finish(platform: Platform, namespace: str):
    """Each job's processes meet, so half a job would wait for ever, and hold the room of the other half."""
    (node,) = platform.get("nodes")["items"]
    share = f"{int(node['status']['allocatable']['cpu']) * 300}m"  # three pods have room, two jobs have four
    for name in ("one", "other"):
        job = a_job(name, namespace, RING, workers=1)
        job["spec"]["runPolicy"] = {"schedulingPolicy": {}}
        for replica in job["spec"]["pytorchReplicaSpecs"].values():
            replica["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": share}}
        platform.apply(job)
    for name in ("one", "other"):
        platform.kubectl("wait", "--for=condition=Succeeded", f"pytorchjob/{name}", "-n", namespace, "--timeout=150s")
    groups = platform.get("podgroups", "-n", namespace)["items"]
    assert {each["metadata"]["name"]: each["spec"]["minMember"] for each in groups} == {"one": 2, "other": 2}


def test_a_gang_makes_room_for_one_that_is_more_urgent_and_comes_back(platform: Platform, namespace: str):
    """Either takes nearly all the node. The one that goes, goes as a whole."""
    urgent = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "urgent"},
        "value": 1000,
    }
    platform.apply(urgent)
    (node,) = platform.get("nodes")["items"]
    share = f"{int(node['status']['allocatable']['cpu']) * 450}m"

    def begin(name: str, program: str, scheduling: dict[str, Any]) -> None:
        job = a_job(name, namespace, program, workers=1)
        job["spec"]["runPolicy"] = {"schedulingPolicy": scheduling}
        for replica in job["spec"]["pytorchReplicaSpecs"].values():
            replica["restartPolicy"] = "OnFailure"
            replica["template"]["spec"]["terminationGracePeriodSeconds"] = 0
            replica["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": share}}
        platform.apply(job)

    def pods(name: str) -> list[tuple[str, str]]:
        found = platform.get("pods", "-n", namespace, "-l", f"training.kubeflow.org/job-name={name}")["items"]
        return [(each["metadata"]["uid"], each["status"].get("phase", "")) for each in found]

    begin("patient", "import time; time.sleep(600)", {})
    eventually(lambda: [phase for _, phase in pods("patient")] == ["Running", "Running"], 60, "the first gang runs")
    before = {uid for uid, _ in pods("patient")}
    begin("hurried", RING, {"priorityClass": "urgent"})
    platform.kubectl("wait", "--for=condition=Succeeded", "pytorchjob/hurried", "-n", namespace, "--timeout=150s")

    def runs_again() -> bool:
        after = pods("patient")
        return [phase for _, phase in after] == ["Running", "Running"] and before.isdisjoint(uid for uid, _ in after)

    eventually(runs_again, 90, "the first gang runs again, both of its pods anew")
    reasons = {each["reason"] for each in platform.get("events", "-n", namespace)["items"]}
    assert "Preempted" in reasons
    platform.kubectl("delete", "priorityclass", "urgent")


def test_a_wrong_job_is_refused_with_its_field(platform: Platform, namespace: str):
    job = a_job("wrong", namespace, "pass")
    job["spec"]["pytorchReplicaSpecs"]["Master"]["replicas"] = 2
    result = platform.kubectl_result("apply", "-f", "-", stdin=json.dumps(job))
    assert result.returncode == 1
    assert "spec.pytorchReplicaSpecs[Master].replicas: Invalid value: 2" in result.stderr
