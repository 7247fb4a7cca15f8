"""A cluster for tests of its controllers: the real API server in this process, virtual time, and hands for the node.

Pods are played: ``World.play`` writes into their status what a node agent would.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ketch.kube.admission import Admission
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.codec import format_time
from ketch.kube.errors import NotFound
from ketch.kube.manager import Manager
from ketch.kube.meta import KubeObject, ObjectKey, ObjectMeta
from ketch.kube.rest import RESTClient
from ketch.kube.testing import VirtualClock
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.containers import Container, ResourceRequirements
from ketch.kube.types.core import Event, Node
from ketch.kube.types.pods import Pod, PodSpec
from ketch.local.apiserver.server import APIServer

K = TypeVar("K", bound=KubeObject)
NAMESPACE = "default"
HOSTNAME = "kubernetes.io/hostname"
PATIENCE = 20
"""Seconds after which something that should happen is taken not to."""


def a_pod(
    name: str = "pod",
    labels: Mapping[str, str] | None = None,
    requests: Mapping[str, str] | None = None,
    **spec: Any,
) -> Pod:
    """A pod of one container."""
    container = Container(name="main", image="python:3.11", resources=ResourceRequirements(requests=requests or {}))
    spec.setdefault("containers", (container,))
    return Pod(metadata=ObjectMeta(name=name, namespace=NAMESPACE, labels=labels or {}), spec=PodSpec(**spec))


def node_json(name: str = "node", *, ready: bool = True, **changes: Any) -> dict[str, Any]:
    """A node's fields as JSON; ``changes`` may set labels, taints, allocatable, unschedulable."""
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"} | changes.get("allocatable", {})
    spec = {key: changes[key] for key in ("taints", "unschedulable") if key in changes}
    status = {"allocatable": room, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    meta = {"name": name, "labels": {HOSTNAME: name} | changes.get("labels", {})}
    return {"metadata": meta, "spec": spec, "status": status}


class World:
    """What a test sees of its cluster, and does to it."""

    def __init__(self, api: APIServer, clock: VirtualClock) -> None:
        self.api = api
        self.client = RESTClient(api.transport())
        self.clock = clock
        self.manager = Manager(self.client, clock)

    async def get(self, kind: type[K], name: str, namespace: str = NAMESPACE) -> K | None:
        """The object, None when absent."""
        try:
            return await self.client.get(kind, name, namespace if kind.resource.namespaced else "")
        except NotFound:
            return None

    async def all(self, kind: type[K], **query: Any) -> list[K]:
        """Objects of the test's namespace, or of the cluster, by name."""
        found = await self.client.list(kind, NAMESPACE if kind.resource.namespaced else "", **query)
        return sorted(found.items, key=lambda each: each.metadata.name)

    async def edit(self, kind: type[K], name: str, change: Any, subresource: str = "") -> K:
        """A merge patch."""
        namespace = NAMESPACE if kind.resource.namespaced else ""
        return await self.client.patch(kind, name, namespace, change, content_type=MERGE_PATCH, subresource=subresource)

    async def delete(self, kind: type[KubeObject], name: str, **options: Any) -> None:
        """Delete."""
        await self.client.delete(kind, name, NAMESPACE if kind.resource.namespaced else "", **options)

    async def node(self, name: str = "node", **changes: Any) -> None:
        """A node."""
        body = node_json(name, **changes)
        await self.client.request("POST", "/api/v1/nodes", body={"apiVersion": "v1", "kind": "Node"} | body)
        await self.edit(Node, name, {"status": body["status"]}, "status")

    async def settle(self) -> None:
        """Until nothing is left to do."""
        async with asyncio.timeout(PATIENCE):
            await self.manager.idle()

    async def until(self, holds: Callable[[], Any]) -> None:
        """Until the (async) condition holds."""
        async with asyncio.timeout(PATIENCE):
            while not await holds():
                await SYSTEM_CLOCK.sleep(0.002)  # leaves the machine to the server's disk thread

    async def pass_time(self, seconds: float) -> None:
        """Let time go by, and controllers react."""
        await self.settle()
        await self.clock.advance(seconds)
        await self.settle()

    async def revision(self) -> int:
        """Grows with every write, except for those in which the API server tells, some time, what it serves itself."""
        answer = await self.client.request("GET", "/apis/apiregistration.k8s.io/v1/apiservices")
        return int(answer["metadata"]["resourceVersion"]) - len(answer["items"])

    async def settles(self, controller: str, *keys: ObjectKey) -> bool:
        """Whether another pass writes nothing."""
        await self.settle()
        before = await self.revision()
        for key in keys:
            self.manager._controllers[controller].enqueue(key)
        await self.settle()
        return await self.revision() == before

    async def play(self, pod: Pod, phase: str = "Running", *, ready: bool = True, **status: Any) -> None:
        """Be the pod's node: report its phase; ``exit_code`` and ``restarts`` are those of its containers."""
        now = format_time(self.clock.now())
        code, restarts = status.pop("exit_code", 0 if phase == "Succeeded" else 1), status.pop("restarts", 0)
        ended = {"terminated": {"exitCode": code, "finishedAt": now, "reason": "Error" if code else "Completed"}}
        state = ended if phase in ("Succeeded", "Failed") else {"running": {"startedAt": now}}
        containers = [
            {
                "name": each.name,
                "state": state,
                "ready": ready and phase == "Running",
                "restartCount": restarts,
                "image": each.image,
                "imageID": "",
            }
            for each in pod.spec.containers
        ]
        is_ready = "True" if ready and phase == "Running" else "False"
        told = {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": is_ready, "lastTransitionTime": now}],
            "containerStatuses": containers,
        }
        await self.edit(Pod, pod.metadata.name, {"status": told | status}, "status")

    async def play_all(self, phase: str = "Running", **status: Any) -> None:
        """Be the node of all pods that have not ended; those to be deleted go."""
        for pod in await self.all(Pod):
            if pod.metadata.deletion_timestamp is None and pod.status.phase not in ("Succeeded", "Failed", phase):
                await self.play(pod, phase, **status)
        await self.settle()

    async def events(self, reason: str) -> list[str]:
        """Messages told for that reason."""
        return [each.message for each in await self.all(Event, field_selector=f"reason={reason}")]

    def now(self) -> datetime:
        """The virtual time."""
        return self.clock.now()


@asynccontextmanager
async def a_world(
    folder: Path, *setups: Callable[[Manager], Any], admissions: Sequence[Admission[Any]] = ()
) -> AsyncIterator[World]:
    """A fresh cluster in which these controllers run."""
    clock = VirtualClock()
    async with APIServer(folder / "kube.db", folder / "pki", clock, admissions) as api:
        world = World(api, clock)
        for setup in setups:
            if inspect.isawaitable(registered := setup(world.manager)):
                await registered
        running = asyncio.create_task(world.manager.run())
        await world.settle()
        try:
            yield world
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
