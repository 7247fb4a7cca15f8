"""This machine as a Node object: what it has, that it is well, and its Lease as a sign of life."""

import contextlib
import logging
import platform
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import AlreadyExists, APIError, NotFound, TransportError
from ketch.kube.meta import ObjectMeta
from ketch.kube.types.coordination import Lease, LeaseSpec
from ketch.kube.types.core import ContainerImage, Node, NodeAddress, NodeCondition, NodeSpec, NodeStatus, NodeSystemInfo
from ketch.local.node.gpus import RESOURCE as GPU
from ketch.local.node.pressure.machine import DISK, MEMORY, PROCESSES, observe
from ketch.local.node.remote.joining import Joining
from ketch.local.processes import boot

log = logging.getLogger(__name__)

MANAGER = "ketch-node"
SOCKET_ANNOTATION = "node.ketch.dev/socket"
CERTIFICATE_ANNOTATION = "node.ketch.dev/serving-certificate"
"""By what the node's own door is known; the API server reads it."""

NETWORK_LABEL, HOST_NETWORK = "node.ketch.dev/network", "host"
"""Tells the scheduler that pods here share their host's network, and so its ports."""

LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
HEARTBEAT_SECONDS = 10.0
STATUS_EVERY = 6
"""Heartbeats between two looks at the machine's condition."""

MOST_PODS = 250
RESERVED_MEMORY = 512 << 20
VERSION = "v1.37.0"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def capacity(data_dir: Path, gpus: int) -> dict[str, str]:
    """What this machine has, as quantities."""
    return {
        "cpu": str(psutil.cpu_count() or 1),
        "memory": f"{psutil.virtual_memory().total >> 10}Ki",
        "ephemeral-storage": f"{shutil.disk_usage(data_dir).total >> 10}Ki",
        "pods": str(MOST_PODS),
        **({GPU: str(gpus)} if gpus else {}),
    }


def allocatable(has: Mapping[str, str]) -> dict[str, str]:
    """What of it pods may have: all but some memory for the system and the platform."""
    total = int(has["memory"].removesuffix("Ki")) << 10
    return {**has, "memory": f"{max(total // 2, total - RESERVED_MEMORY) >> 10}Ki"}


def _labels(name: str) -> dict[str, str]:
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    labels = {"hostname": name, "os": "linux", "arch": architecture}
    return {f"kubernetes.io/{key}": value for key, value in labels.items()} | {
        f"beta.kubernetes.io/{key}": labels[key] for key in ("os", "arch")
    }


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


class Registration:
    """Keeps the Node object ``name`` true."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        name: str,
        data_dir: Path,
        address: str,
        *,
        isolated: bool = True,
        gpus: int = 0,
        joining: Joining | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._data_dir = data_dir
        self._address = address
        self._joining = joining
        self._labels = {**_labels(name), **({} if isolated else {NETWORK_LABEL: HOST_NETWORK})}
        if joining is not None:
            self._labels |= joining.labels
        self.capacity = capacity(data_dir, gpus)
        self.allocatable = allocatable(self.capacity)
        self._conditions: Mapping[str, NodeCondition] = {}
        self.images: Callable[[], tuple[ContainerImage, ...]] = tuple
        """What of images is told in the node's status."""

        self._pressures = frozenset(each.condition for each in observe(data_dir).short())

    async def register(self) -> None:
        """Make the Node and say what it has. Raises APIError, TransportError."""
        joining = self._joining
        if joining is None:
            annotations = {SOCKET_ANNOTATION: str(self._data_dir / "run" / "node.sock")}
        else:
            annotations = {CERTIFICATE_ANNOTATION: joining.certificate.read_text()}
            await self._introduce(joining)
        meta = ObjectMeta(name=self._name, labels=self._labels, annotations=annotations)
        await self._client.apply(Node(metadata=meta), manager=MANAGER)
        await self.renew()
        await self.report()

    async def _introduce(self, joining: Joining) -> None:
        """Make the Node with its taints, where there is none: later on they are the administrators' alone."""
        try:
            await self._client.get(Node, self._name)
        except NotFound:
            meta, spec = ObjectMeta(name=self._name, labels=self._labels), NodeSpec(taints=tuple(joining.taints))
            with contextlib.suppress(AlreadyExists):
                await self._client.create(Node(metadata=meta, spec=spec), manager=MANAGER)

    async def report_pressures(self, pressures: frozenset[str]) -> None:
        """Say what the machine runs short of, from now on. Raises APIError, TransportError."""
        self._pressures = pressures
        await self.report()

    async def report(self) -> None:
        """Say how the machine is."""
        status = NodeStatus(
            capacity=self.capacity,
            allocatable=self.allocatable,
            conditions=self._observed_conditions(),
            addresses=(
                NodeAddress(type="InternalIP", address=self._address),
                NodeAddress(type="Hostname", address=platform.node()),
            ),
            daemon_endpoints=self._endpoints(),
            images=self.images(),
            node_info=NodeSystemInfo(
                machine_id="",
                system_uuid="",
                boot_id=boot(),
                kernel_version=platform.release(),
                os_image=_os_image(),
                container_runtime_version="bubblewrap://0.11",
                kubelet_version=VERSION,
                kube_proxy_version="",
                operating_system="linux",
                architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
            ),
        )
        node = Node(metadata=ObjectMeta(name=self._name), status=status)
        await self._client.apply_status(node, manager=MANAGER)

    def _endpoints(self) -> Mapping[str, Any]:
        return {} if self._joining is None else {"kubeletEndpoint": {"Port": self._joining.port}}

    def _observed_conditions(self) -> tuple[NodeCondition, ...]:
        short = self._pressures
        facts = (
            (MEMORY, MEMORY in short, "KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"),
            (DISK, DISK in short, "KubeletHasNoDiskPressure", "KubeletHasDiskPressure"),
            (PROCESSES, PROCESSES in short, "KubeletHasSufficientPID", "KubeletHasInsufficientPID"),
            ("Ready", True, "", "KubeletReady"),
        )
        now = self._clock.now().replace(microsecond=0)
        observed: dict[str, NodeCondition] = {}
        for kind, holds, false_reason, true_reason in facts:
            status, before = str(holds), self._conditions.get(kind)
            since = before.last_transition_time if before is not None and before.status == status else now
            observed[kind] = NodeCondition(
                type=kind,
                status=status,
                reason=true_reason if holds else false_reason,
                message="the node agent is posting ready status" if kind == "Ready" else "",
                last_heartbeat_time=now,
                last_transition_time=since,
            )
        self._conditions = observed
        return tuple(observed.values())

    async def renew(self) -> None:
        """Give the sign of life."""
        spec = LeaseSpec(holder_identity=self._name, lease_duration_seconds=LEASE_SECONDS, renew_time=self._clock.now())
        lease = Lease(metadata=ObjectMeta(name=self._name, namespace=LEASE_NAMESPACE), spec=spec)
        await self._client.apply(lease, manager=MANAGER)

    async def run(self) -> None:
        """Go on until cancelled, whatever the API server does."""
        beats = 0
        while True:
            await self._clock.sleep(HEARTBEAT_SECONDS)
            beats += 1
            try:
                await self.renew()
                if beats % STATUS_EVERY == 0:
                    await self.report()
            except (APIError, TransportError) as error:
                log.warning("no sign of life: %s", error)


async def registered(registration: Registration, clock: Clock, pause: float = 0.05, longest: float = 2.0) -> None:
    """Register, as often as it takes."""
    while True:
        try:
            await registration.register()
        except (APIError, TransportError) as error:
            log.info("not registered yet: %s", error)
            await clock.sleep(pause)
            pause = min(longest, pause * 2)
        else:
            return
