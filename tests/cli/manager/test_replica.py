"""A replica in this process, on an API server that has no domains of its own, reached over TLS like any other."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.conftest import Served
from tests.waiting import eventually

from ketch.cli.manager.options import CERTIFICATE_SECRET, NAME, ManagerOptions
from ketch.cli.manager.replica import Replica
from ketch.cli.parts import Part
from ketch.kube.client import Client
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.config import load_config
from ketch.kube.errors import Invalid, NotFound
from ketch.kube.http import HTTPTransport
from ketch.kube.rest import RESTClient
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.coordination import Lease
from ketch.kube.types.core import ConfigMap, Secret
from ketch.kube.webhooks.registrations import MutatingWebhookConfiguration, ValidatingWebhookConfiguration

JOBS = "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs"
TRAINJOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs"
NAMESPACE = "kubeflow"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Running:
    """Replicas of one test."""

    def __init__(self, served: Served, folder: Path) -> None:
        self._served, self._folder = served, folder
        self._tasks: list[tuple[asyncio.Event, asyncio.Task[None], Client]] = []

    async def start(self, *, webhooks: bool = True, without: tuple[Part, ...] = ()) -> int:
        """A replica; its health port."""
        options = ManagerOptions(
            namespace=NAMESPACE,
            database=f"sqlite:///{self._folder / 'manager.db'}",
            port=free_port(),
            secure_port=0,
            health_port=free_port(),
            advertise="127.0.0.1",
            webhooks=webhooks,
            without=without,
        )
        client = RESTClient(HTTPTransport(load_config(self._served.kubeconfig), SYSTEM_CLOCK))
        stop = asyncio.Event()
        task = asyncio.create_task(Replica(client, SYSTEM_CLOCK, options).run(stop))
        self._tasks.append((stop, task, client))
        return options.health_port

    async def stop(self) -> None:
        """End the first one, as SIGTERM does."""
        stop, task, client = self._tasks.pop(0)
        stop.set()
        await task
        await client.close()


@pytest.fixture
async def running(served: Served, tmp_path: Path) -> AsyncIterator[Running]:
    """Replicas, ended with the test."""
    replicas = Running(served, tmp_path)
    yield replicas
    while replicas._tasks:
        await replicas.stop()


async def asked(port: int, path: str) -> tuple[int, str]:
    """What a health port answers; 0 while nobody does."""
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()
    return 0, ""


async def ready(port: int) -> None:
    async def is_ready() -> bool:
        return (await asked(port, "/readyz"))[0] == 200

    await eventually(is_ready, "a ready replica")


def a_job(name: str, *roles: str, **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "pytorch", "image": "python:3.11"}]}}
    replicas = {role: {"replicas": 1, "template": template} for role in roles}
    metadata = {"name": name, "namespace": "default"}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": metadata,
        "spec": {"pytorchReplicaSpecs": replicas, **spec},
    }


def a_trainjob(name: str, runtime: str) -> dict[str, Any]:
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"runtimeRef": {"name": runtime}},
    }


def conditions(job: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["type"]: each for each in job.get("status", {}).get("conditions", ())}


async def test_webhooks_complete_and_refuse_what_the_domains_say(running: Running, client: Client) -> None:
    await ready(await running.start())
    await client.request("POST", JOBS, body=a_job("good", "Master", "Worker"))
    with pytest.raises(Invalid, match=r'pytorchReplicaSpecs\[Nobody\]: Unsupported value: "Nobody"'):
        await client.request("POST", JOBS, body=a_job("bad", "Nobody"))
    with pytest.raises(Invalid, match="nowhere"):
        await client.request("POST", TRAINJOBS, body=a_trainjob("t", "nowhere"))
    made = await client.request("POST", TRAINJOBS, body=a_trainjob("t", "torch-distributed"))
    assert made["spec"]["managedBy"] == "trainer.kubeflow.org/trainjob-controller"
    assert made["spec"]["runtimeRef"]["kind"] == "ClusterTrainingRuntime"

    async def told() -> bool:
        with contextlib.suppress(NotFound):
            return "ca.crt" in (await client.get(ConfigMap, "t-tls-config", "default")).data
        return False

    await eventually(told, "by what the status endpoint is known")


async def test_without_webhooks_controllers_complete_and_refuse(running: Running, client: Client) -> None:
    await ready(await running.start(webhooks=False))
    with pytest.raises(NotFound):
        await client.get(ValidatingWebhookConfiguration, NAME)
    await client.request("POST", JOBS, body=a_job("bad", "Nobody"))
    await client.request("POST", JOBS, body=a_job("good", "Master"))
    await client.request("POST", TRAINJOBS, body=a_trainjob("t", "torch-distributed"))

    async def judged() -> bool:
        bad, good = [await client.request("GET", f"{JOBS}/{name}") for name in ("bad", "good")]
        trained = await client.request("GET", f"{TRAINJOBS}/t")
        return "Failed" in conditions(bad) and "Created" in conditions(good) and "kind" in trained["spec"]["runtimeRef"]

    await eventually(judged, "what becomes of the jobs")
    bad = await client.request("GET", f"{JOBS}/bad")
    failed = conditions(bad)["Failed"]
    assert (failed["status"], failed["reason"]) == ("True", "AdmissionFailed")
    assert 'Unsupported value: "Nobody"' in failed["message"]
    assert "Created" not in conditions(bad)


async def test_the_next_replica_acts_when_the_leader_ends(running: Running, client: Client) -> None:
    first = await running.start(without=(Part.PIPELINES,))
    await ready(first)
    second = await running.start(without=(Part.PIPELINES,))

    async def waits() -> bool:
        return (await asked(second, "/healthz"))[0] == 200

    await eventually(waits, "the second replica's answer")
    assert await asked(second, "/readyz") == (503, "leader election: another replica leads, or none yet\n")
    assert await asked(second, "/metrics") == (200, "")
    assert "controller_runtime_reconcile_total" in (await asked(first, "/metrics"))[1]
    holder = (await client.get(Lease, NAME, NAMESPACE)).spec.holder_identity
    certificate = (await client.get(Secret, CERTIFICATE_SECRET, NAMESPACE)).data
    await running.stop()  # it gives the Lease up: nobody waits for its end
    await ready(second)
    lease = (await client.get(Lease, NAME, NAMESPACE)).spec
    assert lease.holder_identity not in ("", holder)
    assert (await client.get(Secret, CERTIFICATE_SECRET, NAMESPACE)).data == certificate
    with pytest.raises(Invalid):
        await client.request("POST", JOBS, body=a_job("bad", "Nobody"))


async def test_a_lost_certificate_is_made_again(running: Running, client: Client) -> None:
    await ready(await running.start(without=(Part.PIPELINES,)))
    broken = {"data": {"tls.crt": "bm9uZQ==", "tls.key": "bm9uZQ=="}}
    await client.patch(Secret, CERTIFICATE_SECRET, NAMESPACE, broken, content_type=MERGE_PATCH)
    before = await client.get(MutatingWebhookConfiguration, NAME)
    await running.stop()
    await ready(await running.start(without=(Part.PIPELINES,)))
    after = await client.get(MutatingWebhookConfiguration, NAME)
    assert after.webhooks[0]["clientConfig"]["caBundle"] != before.webhooks[0]["clientConfig"]["caBundle"]
    await client.request("POST", JOBS, body=a_job("job", "Master"))
