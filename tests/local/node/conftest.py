"""A real node: the agent in this process against the real API server, a real zygote and a real network daemon.

Zygote and network daemon serve all tests of a module; each test has its own API server and agent, and the agent clears
away what the test before left.
"""

import contextlib
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.programs import start_program
from tests.waiting import eventually

from ketch.kube.client import Client, DeleteOptions
from ketch.kube.clock import SYSTEM_CLOCK
from ketch.kube.codec import decode
from ketch.kube.errors import NotFound
from ketch.kube.meta import ObjectMeta
from ketch.kube.transport import MERGE_PATCH
from ketch.kube.types.core import ConfigMap, Event, Pod, Secret, ServiceAccount
from ketch.local.apiserver.server import APIServer
from ketch.local.network.client import NetworkClient
from ketch.local.network.holding import end_holder
from ketch.local.node.agent import Agent
from ketch.local.node.shutdown import end_all_containers

NODE, NAMESPACE = "n1", "default"


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data directory with its network daemon and its zygote."""
    directory = Path(tempfile.mkdtemp(prefix="kn-", dir="/tmp"))
    for name in ("run", "pods", "objects", "volumes", "environments", "pki"):
        (directory / name).mkdir(mode=0o700)
    data_dir = ("--data-dir", str(directory))
    modules = ("ketch.local.network.daemon", "ketch.local.sandbox.main")
    daemons = [start_program([sys.executable, "-m", module, *data_dir]) for module in modules]
    yield directory
    end_all_containers(directory, 0.5)
    for daemon in daemons:
        daemon.kill()
        daemon.wait()
    end_holder(directory)
    shutil.rmtree(directory, ignore_errors=True)


class Node:
    """What a test does with its node, and sees of it."""

    def __init__(self, client: Client, api: APIServer, data: Path) -> None:
        self.client, self.api, self.data = client, api, data
        self.network = NetworkClient(data / "run" / "network.sock")
        self.agent: Agent | None = None

    async def start(self) -> None:
        """Start the agent, as after a restart of its process."""
        self.agent = Agent(self.client, SYSTEM_CLOCK, self.data, NODE, await self.network.info())
        await self.agent.start()

    async def stop(self) -> None:
        """End the agent; containers go on."""
        if self.agent is not None:
            await self.agent.close()
            self.agent = None

    async def create(self, name: str, *containers: dict[str, Any], **spec: Any) -> Pod:
        """A pod bound to this node; containers run a shell script (``sh``) unless they say otherwise."""
        body = {
            "metadata": {"name": name, "namespace": NAMESPACE, **spec.pop("metadata", {})},
            "spec": {
                "nodeName": NODE,
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "containers": [self.container(**each) for each in containers],
                **spec,
            },
        }
        return await self.client.create(decode(Pod, body))

    @staticmethod
    def container(sh: str = "exit 0", **fields: Any) -> dict[str, Any]:
        """A container as JSON."""
        return {"name": "main", "image": "busybox", "command": ["sh", "-c", sh], **fields}

    async def pod(self, name: str) -> Pod | None:
        """The pod, None when gone."""
        try:
            return await self.client.get(Pod, name, NAMESPACE)
        except NotFound:
            return None

    async def until(self, name: str, holds: Callable[[Pod], Any]) -> Pod:
        """The pod, once ``holds`` is true of it."""
        seen: list[Pod | None] = [None]

        async def found() -> Pod | None:
            seen[0] = await self.pod(name)
            return seen[0] if seen[0] is not None and holds(seen[0]) else None

        try:
            return await eventually(found)
        except AssertionError as error:
            raise AssertionError(f"never: {seen[0] and seen[0].status}") from error

    async def phase(self, name: str, *phases: str) -> Pod:
        """The pod, once it is in one of the phases."""
        return await self.until(name, lambda pod: pod.status.phase in phases)

    async def waits_for(self, name: str, reason: str) -> Pod:
        """The pod, once its first container waits for that reason."""
        return await self.until(name, lambda pod: waiting(pod) == reason)

    async def gone(self, name: str) -> None:
        """Until the pod is no more."""

        async def absent() -> bool:
            return await self.pod(name) is None

        await eventually(absent, f"the end of pod {name}")

    async def account(self) -> None:
        """The namespace's default service account, as its controller makes it."""
        account = ServiceAccount(metadata=ObjectMeta(name="default", namespace=NAMESPACE))
        await self.client.apply(account, manager="test")

    @staticmethod
    def listen() -> socket.socket:
        """A listening socket on the loopback."""
        return socket.create_server(("127.0.0.1", 0))

    async def cleared(self) -> None:
        """Until no pod has a folder on the node."""
        await eventually(lambda: not list((self.data / "pods").iterdir()))

    async def delete(self, name: str, grace: int | None = None) -> None:
        """Delete the pod."""
        await self.client.delete(Pod, name, NAMESPACE, DeleteOptions(grace_period_seconds=grace))

    async def logs(self, name: str, container: str = "main", **query: Any) -> str:
        """The log as the node's own API gives it."""
        connector = aiohttp.UnixConnector(str(self.data / "run" / "node.sock"))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"http://node/containerLogs/{NAMESPACE}/{name}/{container}"
            async with session.get(url, params={key: str(value) for key, value in query.items()}) as answer:
                text = await answer.text()
                assert answer.status == 200, text
                return text

    async def output(self, name: str, container: str = "main") -> str:
        """What a container that ended has printed."""
        await self.phase(name, "Succeeded", "Failed")
        return await self.logs(name, container)

    async def messages(self, reason: str) -> list[str]:
        """Events of that reason, once there is one."""

        async def told() -> list[str]:
            found = await self.client.list(Event, NAMESPACE, field_selector=f"reason={reason}")
            return [event.message for event in found.items]

        return await eventually(told, f"an event of reason {reason}")

    async def config_map(self, name: str, **values: str) -> None:
        """Make or change a ConfigMap."""
        metadata = ObjectMeta(name=name, namespace=NAMESPACE)
        await self.client.apply(ConfigMap(metadata=metadata, data=values), manager="test")

    async def secret(self, name: str, **values: str) -> None:
        """Make a Secret."""
        metadata = ObjectMeta(name=name, namespace=NAMESPACE)
        await self.client.create(Secret(metadata=metadata, string_data=values))

    async def edit(self, kind: type, name: str, change: Any) -> None:
        """A merge patch."""
        await self.client.patch(kind, name, NAMESPACE, change, content_type=MERGE_PATCH)


def waiting(pod: Pod) -> str:
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return next((each.state.waiting.reason for each in statuses if each.state.waiting is not None), "")


@pytest.fixture
async def node(api: APIServer, client: Client, data: Path) -> AsyncIterator[Node]:
    """A running node with the API server behind its Service address, and the namespace's default service account."""
    here = Node(client, api, data)
    await here.account()
    await here.config_map("kube-root-ca.crt", **{"ca.crt": "the cluster's authority"})
    await here.start()
    yield here
    await here.stop()


@pytest.fixture
async def reachable(node: Node, api: APIServer) -> Node:
    """The node, with the API server also on the socket to which pods are relayed."""
    with contextlib.suppress(FileNotFoundError):
        (node.data / "run" / "api.sock").unlink()
    await api.serve([node.listen()], node.data / "run" / "api.sock")
    return node
