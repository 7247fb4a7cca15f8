"""StatefulSets with names and disks that stay, a DaemonSet, a CronJob and memory-backed volumes, by kubectl."""

import json
from typing import Any

import pytest
from tests.e2e.platforms import Platform, eventually

pytestmark = pytest.mark.e2e

PEER = """
import http.server, os, pathlib, socket
disk = pathlib.Path("/data/who")
if not disk.exists():
    disk.write_text(f"{socket.gethostname()} {os.environ['INDEX']}")
os.chdir("/data")
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
ASK = """
import sys, urllib.request
for name in sys.argv[1:]:
    print(urllib.request.urlopen(f"http://{name}:8080/who", timeout=20).read().decode(), flush=True)
"""
SHARED = """
import os, shutil
from multiprocessing import shared_memory
print(os.stat("/dev/shm").st_dev != os.stat("/").st_dev, shutil.disk_usage("/dev/shm").total > 0)
block = shared_memory.SharedMemory(create=True, size=1 << 20)
block.buf[0] = 7
print(block.buf[0])
block.close(); block.unlink()
"""


def _container(script: str, *arguments: str, **more: Any) -> dict[str, Any]:
    return {"name": "main", "image": "python:3.11", "command": ["python3", "-c", script, *arguments], **more}


def _template(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **spec}}


def _stateful_set() -> dict[str, Any]:
    index = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    container = _container(
        PEER,
        env=[{"name": "INDEX", "valueFrom": index}],
        volumeMounts=[{"name": "disk", "mountPath": "/data"}],
        readinessProbe={"httpGet": {"path": "/who", "port": 8080}, "periodSeconds": 1},
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "peer"},
        "spec": {
            "serviceName": "peers",
            "replicas": 2,
            "selector": {"matchLabels": {"app": "peer"}},
            "template": _template("peer", container, terminationGracePeriodSeconds=1),
            "volumeClaimTemplates": [{"metadata": {"name": "disk"}, "spec": claim}],
        },
    }


def _service() -> dict[str, Any]:
    spec = {"clusterIP": "None", "selector": {"app": "peer"}, "ports": [{"port": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "peers"}, "spec": spec}


def _daemon_set() -> dict[str, Any]:
    container = _container("import time; time.sleep(600)")
    template = _template("agent", container, terminationGracePeriodSeconds=0)
    spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec}


def _cron_job() -> dict[str, Any]:
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [_container("print('tick')")]}}}
    spec = {"schedule": "@every 1s", "concurrencyPolicy": "Forbid", "jobTemplate": {"spec": job}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"}, "spec": spec}


def _pod(name: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    spec = {"restartPolicy": "Never", "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def _output(platform: Platform, namespace: str, name: str) -> str:
    def ended() -> Any:
        phase = platform.get("pod", name, "-n", namespace)["status"]["phase"]
        return phase if phase in ("Succeeded", "Failed") else None

    phase = eventually(ended, what=f"the end of {name}")
    told = platform.kubectl("logs", name, "-n", namespace)
    assert phase == "Succeeded", told
    return told


def test_sets_schedules_and_shared_memory(platform: Platform, namespace: str) -> None:
    memory = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
    shm = _container(SHARED, volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}])
    platform.apply(
        _service(), _stateful_set(), _daemon_set(), _cron_job(), _pod("shm", shm, volumes=[memory]), namespace=namespace
    )
    for each in ("statefulset/peer", "daemonset/agent"):
        platform.kubectl("rollout", "status", each, "-n", namespace, "--timeout=60s")
    assert _output(platform, namespace, "shm") == "True True\n7\n"

    names = ("peer-0.peers", f"peer-1.peers.{namespace}.svc.cluster.local")
    platform.apply(_pod("ask", _container(ASK, *names)), namespace=namespace)
    assert _output(platform, namespace, "ask") == "peer-0 0\npeer-1 1\n"

    # One that was lost comes back under its name, to what it had written.
    uid = platform.get("pod", "peer-0", "-n", namespace)["metadata"]["uid"]
    platform.kubectl("delete", "pod", "peer-0", "-n", namespace)
    eventually(lambda: platform.get("pods", "-n", namespace)["items"] and _is_new(platform, namespace, uid))
    platform.kubectl("rollout", "status", "statefulset/peer", "-n", namespace, "--timeout=60s")
    platform.apply(_pod("again", _container(ASK, "peer-0.peers")), namespace=namespace)
    assert _output(platform, namespace, "again") == "peer-0 0\n"

    def ticked() -> bool:
        return "lastSuccessfulTime" in platform.get("cronjob", "tick", "-n", namespace)["status"]

    eventually(ticked, what="a job of the CronJob")
    platform.kubectl("scale", "statefulset/peer", "--replicas=0", "-n", namespace)
    platform.kubectl("wait", "--for=delete", "pod/peer-0", "-n", namespace, "--timeout=60s")
    assert len(platform.get("pvc", "-n", namespace)["items"]) == 2


def _is_new(platform: Platform, namespace: str, uid: str) -> bool:
    found = platform.kubectl_result("get", "pod", "peer-0", "-n", namespace, "-o", "json")
    return found.returncode == 0 and json.loads(found.stdout)["metadata"]["uid"] != uid
