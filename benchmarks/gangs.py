"""A hundred jobs of four ranks with short work, placed as gangs: jobs a minute, and that all of them come to their end.

There is room for a job and a half at a time, so that gangs that half started would hold each other's room for ever:
each rank waits for the others of its job. The peers are the same gangs where all have room (but for the number of pods
that a node takes), and the same jobs placed one pod at a time.
"""

import sys
import time
from typing import Any

from benchmarks.platforms import Platform, running_platform
from benchmarks.sizes import scaled
from benchmarks.steps import load
from benchmarks.tables import show

JOBS, RANKS = 100, 4
LOOK, PATIENCE = 0.25, 900
GROUP = ("kubeflow.org", "v1", "default", "jaxjobs")
MEETING_PORT = 6666
MEETING = """
import os, socket, time

rank, world = int(os.environ["PROCESS_ID"]), int(os.environ["NUM_PROCESSES"])
if rank == 0:
    with socket.create_server(("", PORT), backlog=world) as door:
        others = [door.accept()[0] for _ in range(world - 1)]
    for each in others:
        each.sendall(b".")
else:
    while True:
        try:
            meeting = socket.create_connection((os.environ["COORDINATOR_ADDRESS"], PORT))
            break
        except OSError:
            time.sleep(0.05)
    assert meeting.recv(1) == b"."
""".replace("PORT", str(MEETING_PORT))
"""A barrier at rank 0: nobody leaves before all have come."""


def _job(name: str, cpu: str, *, together: bool) -> dict[str, Any]:
    """Ranks that end once all of them have met."""
    command = ["python3", "-c", MEETING]
    container = {"name": "jax", "image": "python:3.11", "command": command, "resources": {"requests": {"cpu": cpu}}}
    pod = {"spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    policy = {"cleanPodPolicy": "None"} | ({"schedulingPolicy": {}} if together else {})
    replicas = {"Worker": {"replicas": RANKS, "restartPolicy": "Never", "template": pod}}
    spec = {"runPolicy": policy, "jaxReplicaSpecs": replicas}
    return {"apiVersion": "kubeflow.org/v1", "kind": "JAXJob", "metadata": {"name": name}, "spec": spec}


def _seconds(custom: Any, title: str, cpu: str, count: int, *, together: bool) -> float:
    """From the first create until the last job is known to have succeeded."""
    started, prefix = time.monotonic(), title[0]
    for number in range(count):
        custom.create_namespaced_custom_object(*GROUP, _job(f"{prefix}-{number}", cpu, together=together))
    while True:
        items = custom.list_namespaced_custom_object(*GROUP)["items"]
        ends = [(item.get("status", {}).get("conditions") or [{"type": ""}])[-1]["type"] for item in items]
        if ends.count("Succeeded") == count:
            break
        if "Failed" in ends or time.monotonic() - started > PATIENCE:
            sys.exit(
                f"{title}: {ends.count('Succeeded')} of {count} jobs have succeeded, {ends.count('Failed')} failed"
            )
        time.sleep(LOOK)
    taken = time.monotonic() - started
    custom.delete_collection_namespaced_custom_object(*GROUP)
    return taken


def measure(platform: Platform) -> None:
    """All ways, one after the other, on one platform."""
    from kubernetes import client, config

    before = load()
    config.load_kube_config(str(platform.kubeconfig))
    custom = client.CustomObjectsApi()
    (node,) = client.CoreV1Api().list_node().items
    millis = int(node.status.allocatable["cpu"]) * 1000
    tight = f"{millis * 2 // (3 * RANKS)}m"
    count = scaled(JOBS)
    _seconds(custom, "warm-up", "1m", 2, together=True)
    ways = (
        ("gangs, room for a job and a half", tight, True),
        ("all gangs have room", "1m", True),
        ("pods one by one, all have room", "1m", False),
    )
    rows = []
    for title, cpu, together in ways:
        seconds = _seconds(custom, title, cpu, count, together=together)
        rows.append((title, f"{count}", f"{seconds:.1f}", f"{count / seconds * 60:.0f}"))
    show(f"{count} jobs of {RANKS} ranks that meet ({before})", ("", "succeeded", "seconds", "jobs a minute"), rows)


def main() -> None:
    """Print the table."""
    with running_platform() as platform:
        measure(platform)
