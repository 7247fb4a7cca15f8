"""kubectl's own way with Deployments, against all controllers."""

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest
from tests.playing import node_json

from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.manager import Manager
from ketch.kube.rest import RESTClient
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import Node
from ketch.kube.types.pods import Pod
from ketch.local import scheduler, workloads

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
async def kubectl(served):
    """Runs kubectl beside controllers and a node that makes every placed pod ready; returns what it prints."""
    client = RESTClient(served.api.transport())
    manager = Manager(client, SYSTEM_CLOCK)
    await scheduler.setup(manager)
    workloads.setup(manager)
    pods = manager.informer(Pod)
    placed: asyncio.Queue[Pod] = asyncio.Queue()
    pods.add_handler(lambda old, new: placed.put_nowait(new) if new is not None and new.spec.node_name else None)

    async def be_the_node() -> None:
        while True:
            pod = await placed.get()
            path = pod.resource.path(pod.metadata.namespace, pod.metadata.name)
            with contextlib.suppress(Exception):
                if pod.metadata.deletion_timestamp is not None:
                    await client.request("DELETE", path, {"gracePeriodSeconds": "0"})
                elif pod.status.phase == "Pending":
                    await client.patch(
                        Pod,
                        pod.metadata.name,
                        pod.metadata.namespace,
                        {"status": READY},
                        content_type=MERGE_PATCH,
                        subresource="status",
                    )

    manager.add(be_the_node)
    running = asyncio.create_task(manager.run())
    await manager.ready()
    node = node_json()
    await client.request("POST", "/api/v1/nodes", body={"apiVersion": "v1", "kind": "Node"} | node)
    status = {"status": node["status"]}
    await client.patch(Node, "node", "", status, content_type=MERGE_PATCH, subresource="status")

    async def run(*arguments: str) -> str:
        command = (KUBECTL, f"--kubeconfig={served.kubeconfig}", "--request-timeout=20s", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(60):
            told, _ = await process.communicate()
        assert process.returncode == 0, told.decode()
        return told.decode()

    yield run
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_rollout_scale_undo_and_delete(kubectl):
    await kubectl("create", "deployment", "web", "--image=python:3.11", "--replicas=2")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    await kubectl("set", "image", "deployment/web", "python=python:3.12")
    assert "successfully rolled out" in await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    await kubectl("scale", "deployment/web", "--replicas=4")
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    await kubectl("rollout", "undo", "deployment/web")
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deployment", "web", "-o", image) == "python:3.11"
    history = await kubectl("rollout", "history", "deployment/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["2", "3"]
    described = await kubectl("describe", "deployment", "web")
    assert "Scaled up replica set" in described
    assert "4 desired | 4 updated | 4 total | 4 available | 0 unavailable" in described
    await kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    assert "No resources found" in await kubectl("get", "pods,replicasets")


async def test_a_job_and_a_service_as_kubectl_shows_them(kubectl):
    await kubectl("create", "job", "once", "--image=python:3.11", "--", "true")
    await kubectl("wait", "--for=jsonpath={.status.ready}=1", "job/once", "--timeout=30s")
    await kubectl("create", "deployment", "web", "--image=python:3.11", "--port=8080")
    await kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    described = await kubectl("describe", "job", "once")
    assert "1 Active (1 Ready) / 0 Succeeded / 0 Failed" in described
    assert "SuccessfulCreate" in described
    await kubectl("delete", "namespace", "kubeflow", "--timeout=30s")
    assert "kubeflow" not in await kubectl("get", "namespaces")


STATEFUL = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: "db:1"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: "agent:1"}]}
"""


async def test_stateful_and_daemon_sets_roll_out_and_back(kubectl, tmp_path):
    manifest = tmp_path / "sets.yaml"
    manifest.write_text(STATEFUL)
    await kubectl("apply", "-f", str(manifest))
    for each, image in (("statefulset/db", "db"), ("daemonset/agent", "agent")):
        wait = ("rollout", "status", each, "--timeout=30s")
        await kubectl(*wait)
        await kubectl("set", "image", each, f"main={image}:2")
        await kubectl(*wait)
        history = await kubectl("rollout", "history", each)
        assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["1", "2"]
        assert f"{image}:1" in await kubectl("rollout", "history", each, "--revision=1")
        await kubectl("rollout", "undo", each)
        await kubectl(*wait)
        shown = "jsonpath={.items[*].spec.containers[0].image}"
        assert set((await kubectl("get", "pods", "-l", f"app={image}", "-o", shown)).split()) == {f"{image}:1"}
        await kubectl("rollout", "restart", each)
        await kubectl(*wait)
    await kubectl("scale", "statefulset/db", "--replicas=3")
    await kubectl("rollout", "status", "statefulset/db", "--timeout=30s")
    assert "db-2" in await kubectl("get", "pods", "-l", "app=db", "-o", "name")
    assert "3/3" in await kubectl("get", "statefulset", "db")
    described = await kubectl("describe", "statefulset", "db")
    assert "create Pod db-0 in StatefulSet db successful" in described
    await kubectl("delete", "statefulset/db", "daemonset/agent", "--cascade=foreground", "--timeout=30s")
    assert "No resources found" in await kubectl("get", "pods,controllerrevisions")


async def test_a_budget_holds_a_drain_up_until_it_may_go_on(kubectl):
    await kubectl("create", "deployment", "web", "--image=python:3.11", "--replicas=2")
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    await kubectl("create", "poddisruptionbudget", "keep", "--selector=app=web", "--min-available=2")
    allowed = "--for=jsonpath={.status.expectedPods}=2"
    await kubectl("wait", allowed, "pdb/keep", "--timeout=30s")
    with pytest.raises(AssertionError, match="violate the pod's disruption budget"):
        await kubectl("drain", "node", "--ignore-daemonsets", "--timeout=3s", "--grace-period=0")
    await kubectl("delete", "pdb", "keep")
    assert "drained" in await kubectl("drain", "node", "--ignore-daemonsets", "--timeout=30s", "--grace-period=0")
    assert "SchedulingDisabled" in await kubectl("get", "node", "node")
    await kubectl("uncordon", "node")
    await kubectl("rollout", "status", "deployment/web", "--timeout=30s")


async def test_cron_jobs_and_autoscalers_as_kubectl_makes_them(kubectl):
    await kubectl("create", "cronjob", "tick", "--image=python:3.11", "--schedule=*/5 * * * *", "--", "true")
    await kubectl("create", "job", "by-hand", "--from=cronjob/tick")
    await kubectl("wait", "--for=jsonpath={.status.ready}=1", "job/by-hand", "--timeout=30s")
    assert "*/5 * * * *" in await kubectl("get", "cronjob", "tick")
    await kubectl("create", "deployment", "web", "--image=python:3.11")
    await kubectl("autoscale", "deployment", "web", "--min=2", "--max=4", "--cpu=80%")
    await kubectl("wait", "--for=condition=AbleToScale", "hpa/web", "--timeout=30s")
    await kubectl("wait", "--for=jsonpath={.spec.replicas}=2", "deployment/web", "--timeout=30s")
    assert "Deployment/web" in await kubectl("get", "hpa", "web")
    with pytest.raises(AssertionError, match="expected exactly 5 fields"):
        await kubectl("create", "cronjob", "bad", "--image=python:3.11", "--schedule=* * *", "--", "true")
    await kubectl("create", "quota", "some", "--hard=cpu=4,pods=10")
    assert await kubectl("get", "quota", "some", "-o", "jsonpath={.spec.hard}") == '{"cpu":"4","pods":"10"}'
    await kubectl("create", "priorityclass", "dear", "--value=1000")
    assert "1000" in await kubectl("get", "priorityclass", "dear")
