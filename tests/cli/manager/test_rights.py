"""A replica with the rights of its service account alone: whatever jobs need is made."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import eventually

from ketch.cli.manager.manifests import Installation, manifests
from ketch.cli.manager.options import NAME, ManagerOptions
from ketch.cli.manager.replica import Replica
from ketch.kube.client import Client
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.definitions import definition_of
from ketch.kube.meta import KubeObject
from ketch.kube.rest import RESTClient
from ketch.kube.transport import APPLY_PATCH, Request
from ketch.kube.types.autoscaling import HorizontalPodAutoscaler
from ketch.kube.types.batch import Job
from ketch.kube.types.core import ConfigMap, Event, PersistentVolumeClaim, Pod, Secret, ServiceAccount
from ketch.kube.types.podgroups import PodGroup
from ketch.kube.types.rbac import Role, RoleBinding
from ketch.local.apiserver.auth.identity import AUTHENTICATED, UserInfo
from ketch.local.apiserver.server import APIServer

WANTED = Installation("ketch")
ACCOUNT = UserInfo(
    f"system:serviceaccount:{WANTED.namespace}:{NAME}",
    ("system:serviceaccounts", f"system:serviceaccounts:{WANTED.namespace}", AUTHENTICATED),
)
KEPT = {"checkpoints.ketch.dev/volume": "auto", "training.ketch.dev/client": "true"}


def replicas(container: str, *roles: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": "1"}}
    template = {"spec": {"containers": [{"name": container, "image": "python:3.11", "resources": resources}]}}
    return {role: {"replicas": 1, "template": template} for role in roles}


def a_job(kind: str, spec: dict[str, Any], version: str = "v1", **metadata: Any) -> dict[str, Any]:
    body = {"name": f"{kind}-{version}".lower(), "namespace": "default", **metadata}
    return {"apiVersion": f"kubeflow.org/{version}", "kind": kind, "metadata": body, "spec": spec}


CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
JOBS = {
    "pytorchjobs": a_job(
        "PyTorchJob",
        {
            "elasticPolicy": {"minReplicas": 1, "maxReplicas": 2, "metrics": [CPU]},
            "runPolicy": {"schedulingPolicy": {"minAvailable": 1}},
            "pytorchReplicaSpecs": replicas("pytorch", "Worker"),
        },
        annotations=KEPT,
    ),
    "tfjobs": a_job("TFJob", {"tfReplicaSpecs": replicas("tensorflow", "PS", "Worker")}),
    "mpijobs": a_job("MPIJob", {"mpiReplicaSpecs": replicas("mpi", "Launcher", "Worker")}),
}
OVER_SSH = a_job("MPIJob", {"mpiReplicaSpecs": replicas("mpi", "Launcher", "Worker")}, "v2beta1")
MADE: tuple[type[KubeObject], ...] = (
    *(Pod, Job, ConfigMap, Secret, PersistentVolumeClaim, HorizontalPodAutoscaler, PodGroup),
    *(ServiceAccount, Role, RoleBinding, Event),
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def applied(api: APIServer) -> None:
    """What is exported, by an administrator."""
    transport = api.transport()
    plurals = {"PersistentVolumeClaim": "persistentvolumeclaims"}
    for body in manifests(WANTED):
        kind, version, namespace = body["kind"], body["apiVersion"], body["metadata"].get("namespace")
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        path = f"{root}{scope}/{plurals.get(kind, f'{kind.lower()}s')}/{body['metadata']['name']}"
        await transport.request(Request("PATCH", path, {"fieldManager": "t", "force": "true"}, body, APPLY_PATCH))


async def test_the_accounts_rights_are_enough(
    api: APIServer, client: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await applied(api)
    await client.apply(definition_of(PodGroup), manager="t")  # as the cluster's scheduler does
    options = ManagerOptions(
        namespace=WANTED.namespace,
        database=f"sqlite:///{tmp_path / 'manager.db'}",
        port=free_port(),
        secure_port=0,
        health_port=0,
        advertise="127.0.0.1",
    )
    stop = asyncio.Event()
    replica = asyncio.create_task(Replica(RESTClient(api.transport(ACCOUNT)), SYSTEM_CLOCK, options).run(stop))

    async def all_made() -> bool:
        assert not replica.done(), replica.result()
        found = [(await client.list(kind, "default")).items for kind in MADE]
        pods = {each.metadata.name for each in found[0]}
        assert "orbidden" not in caplog.text
        wanted = {"pytorchjob-v1-worker-0", "tfjob-v1-ps-0", "mpijob-v1-worker-0", "mpijob-v2beta1-worker-0"}
        return all(found) and wanted <= pods

    try:
        await eventually(lambda: "leads" in caplog.text, "leadership")
        for plural, body in JOBS.items():
            await client.request("POST", f"/apis/kubeflow.org/v1/namespaces/default/{plural}", body=body)
        await client.request("POST", "/apis/kubeflow.org/v2beta1/namespaces/default/mpijobs", body=OVER_SSH)
        await eventually(all_made, "all that the jobs need")
    finally:
        stop.set()
        await replica
    assert "orbidden" not in caplog.text
