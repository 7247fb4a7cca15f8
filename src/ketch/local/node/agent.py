"""The node agent: a worker for each pod bound to this node, and what they share."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.errors import BadRequest, NotFound
from ketch.kube.events import EventRecorder, PacedEvents
from ketch.kube.manager import Manager
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import PersistentVolume, Pod, PodStatus
from ketch.local.images.images import Images
from ketch.local.images.rootfs import certificate_settings, system_trust
from ketch.local.network.client import NetworkClient, NetworkError
from ketch.local.network.outbound.environment import pod_environment
from ketch.local.network.wire import NetworkInfo
from ketch.local.node.actions import Actions
from ketch.local.node.adoption import Adopted, adopt, containers_below
from ketch.local.node.cpulimits import CPULimits, group_name
from ketch.local.node.disks import Disks
from ketch.local.node.evicting import StorageWatch
from ketch.local.node.gpus import Gpus, devices_of, shares_of
from ketch.local.node.imagekeeper import ImageKeeper, thresholds_of
from ketch.local.node.pods import events
from ketch.local.node.pods.containers import Stage, TrackedContainer
from ketch.local.node.pressure.housekeeping import Housekeeper, Ways
from ketch.local.node.pressure.machine import observe
from ketch.local.node.pressure.reclaiming import forget_ended
from ketch.local.node.references import References
from ketch.local.node.registration import Registration, registered
from ketch.local.node.remote.access import NodeAccess
from ketch.local.node.remote.joining import Joining
from ketch.local.node.reporting import Pace
from ketch.local.node.server import NodeServer, no_such_pod
from ketch.local.node.services.nodeports import NodePorts
from ketch.local.node.services.policies import Policies
from ketch.local.node.services.proxy import Proxy
from ketch.local.node.starting import container_directory, log_path
from ketch.local.node.streams.attachment import Running
from ketch.local.node.usage import ContainerName
from ketch.local.node.volumes.places import Folders
from ketch.local.node.warming import Warming
from ketch.local.node.worker import PodWorker, Tools
from ketch.local.program import WARM
from ketch.local.sandbox.client import SandboxClient

log = logging.getLogger(__name__)

COMPONENT = "kubelet"
HOST_ADDRESS = "127.0.0.1"
GATEWAY_ADDRESS = "10.244.0.1"
"""This machine as pods of an isolated network see it."""


class Agent:
    """One node. ``start`` returns when it is registered and looks after its pods; ``run`` goes on until cancelled."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        data_dir: Path,
        name: str,
        network_info: NetworkInfo,
        api_server: str = "",
        joining: Joining | None = None,
    ) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._folders = Folders(data_dir)
        self._workers: dict[str, PodWorker] = {}
        self._names: dict[ObjectKey, str] = {}
        self._manager = Manager(client, clock)
        self._pods = self._manager.informer(Pod, field_selector=f"spec.nodeName={name}")
        isolated = network_info.mode == "isolated"
        host_ip = GATEWAY_ADDRESS if isolated else HOST_ADDRESS
        if joining is not None:
            host_ip = joining.address
        self._joining = joining
        network = NetworkClient(data_dir / "run" / "network.sock", clock)
        sandbox = SandboxClient(data_dir / "run" / "keeper.sock")
        references = References(self._manager, name, host_ip)
        references.api_server = "" if isolated else api_server
        images = Images(data_dir)
        enabled = os.environ.get(WARM, "") != "0"
        self._warming = Warming(sandbox, images, data_dir, enabled=enabled)
        gpus = Gpus(devices_of(os.environ), shares_of(os.environ), self._folders)
        self._tools = Tools(
            client=client,
            clock=clock,
            sandbox=sandbox,
            network=network,
            network_info=network_info,
            images=images,
            actions=Actions(sandbox, network, clock),
            events=PacedEvents(EventRecorder(client, COMPONENT, clock, name), clock),
            references=references,
            folders=self._folders,
            host_ip=host_ip,
            warming=self._warming,
            cpu=CPULimits(data_dir),
            gpus=gpus,
            pace=Pace(),
            given=_given(network_info),
        )
        self._registration = Registration(
            client, clock, name, data_dir, host_ip, isolated=isolated, gpus=gpus.count, joining=joining
        )
        references.allocatable = self._registration.allocatable
        self._image_keeper = self._images_kept(data_dir)
        self._server = NodeServer(data_dir / "run" / "node.sock", self, data_dir / "run" / "keeper.sock", clock)
        self._background = self._looks(data_dir, network)
        self._running: list[asyncio.Task[None]] = []

    def _images_kept(self, data_dir: Path) -> ImageKeeper:
        """Who looks after the images; the node's status tells of them."""
        store, report = self._tools.images.stored.store, self._registration.report
        limits = thresholds_of(os.environ)
        keeper = ImageKeeper(self._clock, store, data_dir, report, self._images_changed, limits)
        self._registration.images = keeper.told
        return keeper

    def _looks(self, data_dir: Path, network: NetworkClient) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
        """What goes on beside the pods."""
        clock = self._clock
        ways = Ways(
            lambda: observe(data_dir),
            self._registration.report_pressures,
            self._free_disk,
            self._workers.values,
            self.processes,
            self._tools.cpu.tidy,
        )
        looks: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._registration.run,
            Disks(self._client, clock, self._manager.informer(PersistentVolume), data_dir).run,
            StorageWatch(clock, self._folders, self._workers.values).run,
            NodePorts(self._manager, network, clock, self._name).run,
            Housekeeper(clock, self._folders, ways).run,
            self._image_keeper.run,
        ]
        if self._tools.network_info.mode == "isolated":
            looks.append(Proxy(self._manager, network, self._pods, clock).run)
            looks.append(Policies(self._manager, network, self._pods, clock).run)
        return looks

    async def start(self) -> None:
        """Register, adopt what an earlier agent left, and begin to look after pods."""
        self._running.append(asyncio.create_task(self._manager.run()))
        self._tools.cpu.prepare()
        joining = self._joining
        access = None if joining is None else NodeAccess(self._client, self._clock, self._name)
        await self._server.start(joining, access)
        await registered(self._registration, self._clock)
        await self._manager.ready()
        await self._clean_up()
        adopted = {pod.metadata.uid: await self._adopt(pod) for pod in self._pods.list()}
        self._tools.references.on_change(self._references_changed, self._named_changed)

        def handler(old: Pod | None, new: Pod | None) -> None:
            if new is None:
                if old is not None and (worker := self._workers.get(old.metadata.uid)) is not None:
                    worker.tell(events.PodGone())
                return
            self._look_at(new, adopted.pop(new.metadata.uid, Adopted()))

        self._pods.add_handler(handler)
        if adopted:  # of pods that went while others were adopted: nobody will speak of them again
            await self._clean_up()
        self._running += [asyncio.create_task(task()) for task in self._background]

    async def run(self) -> None:
        """Until cancelled, or until a part of the agent fails."""
        try:
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self.close()

    async def close(self) -> None:
        """End the agent; containers go on."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self._workers.values()))
        await self._tools.references.close()
        await self._warming.close()
        await self._tools.images.stored.close()
        await self._tools.events.close()
        await self._server.close()

    def find_log(self, namespace: str, pod: str, container: str, *, previous: bool) -> tuple[Path, Callable[[], bool]]:
        """The log of a container's run, and whether it still goes on. Raises NotFound, BadRequest."""
        worker = self._worker(namespace, pod)
        tracked = self._find(worker, container)
        attempt = shown_run(tracked, worker.machine.reported, previous=previous)
        if previous and attempt < 0:
            raise BadRequest(f'previous terminated container "{container}" in pod "{pod}" not found')
        path = log_path(self._folders, worker.machine.uid, container, attempt)
        if attempt < 0:
            reason = waiting_reason(worker.machine.reported, container) or "ContainerCreating"
            raise BadRequest(f'container "{container}" in pod "{pod}" is waiting to start: {reason}')
        return path, lambda: worker.running(container, attempt)

    def processes(self) -> Mapping[ContainerName, int]:
        """The main process of each container that runs."""
        return {
            ContainerName(uid, name): container.started.pid
            for uid, worker in self._workers.items()
            for name, container in worker.living()
        }

    def find_running(self, namespace: str, pod: str, container: str) -> Running:
        """A container that runs; any, when ``container`` is empty. Raises NotFound, BadRequest."""
        worker = self._worker(namespace, pod)
        found = [self._find(worker, container)] if container else worker.machine.containers
        for tracked in found:
            if tracked.stage is Stage.RUNNING and worker.running(tracked.name, tracked.attempt):
                return self._running_container(worker, tracked)
        if not container:
            raise NotFound(
                f"unable to forward port because pod is not running. Current status={worker.machine.reported.phase}"
            )
        reason = waiting_reason(worker.machine.reported, container)
        raise NotFound(f'container not found ("{container}"): it {f"waits: {reason}" if reason else "has ended"}')

    def _running_container(self, worker: PodWorker, tracked: TrackedContainer) -> Running:
        run = (self._folders, worker.machine.uid, tracked.name, tracked.attempt)

        def confine(pids: Iterable[int]) -> None:
            self._tools.cpu.join(group_name(*run[1:]), pids)

        return Running(
            container_directory(*run),
            log_path(*run),
            lambda: worker.running(tracked.name, run[-1]),
            confine if "cpu" in tracked.spec.resources.limits else None,
            stdin=tracked.spec.stdin,
            tty=tracked.spec.tty,
        )

    def _worker(self, namespace: str, pod: str) -> PodWorker:
        uid = self._names.get(ObjectKey(namespace, pod))
        worker = self._workers.get(uid) if uid is not None else None
        if worker is None:
            raise no_such_pod(namespace, pod)
        return worker

    @staticmethod
    def _find(worker: PodWorker, container: str) -> TrackedContainer:
        try:
            return worker.machine.container(container)
        except KeyError:
            raise BadRequest(f"container {container} is not valid for pod {worker.pod.metadata.name}") from None

    def _look_at(self, pod: Pod, adopted: Adopted) -> None:
        uid = pod.metadata.uid
        worker = self._workers.get(uid)
        if worker is None:
            worker = self._workers[uid] = PodWorker(pod, self._tools, adopted, self._forgotten)
            self._names[pod.key] = uid
        worker.tell(events.PodChanged(pod))

    def _forgotten(self, uid: str) -> None:
        worker = self._workers.pop(uid, None)
        if worker is not None and self._names.get(worker.pod.key) == uid:
            del self._names[worker.pod.key]

    def _references_changed(self, namespace: str) -> None:
        for worker in tuple(self._workers.values()):
            if namespace in ("", worker.pod.metadata.namespace):
                worker.references_changed()

    def _images_changed(self) -> None:
        for worker in tuple(self._workers.values()):
            worker.tell(events.ImagesChanged())

    def _named_changed(self, uids: Iterable[str]) -> None:
        for uid in uids:
            if (worker := self._workers.get(uid)) is not None:
                worker.references_changed()

    async def _adopt(self, pod: Pod) -> Adopted:
        return await adopt(self._folders, pod)

    async def _free_disk(self) -> None:
        """Remove what nobody uses."""
        await forget_ended(self._folders, self._workers.values())
        await self._image_keeper.free()

    async def _clean_up(self) -> None:
        """End and remove what belongs to pods that are gone; give back addresses of pods without a folder."""
        known = {pod.metadata.uid for pod in self._pods.list()}
        for uid in self._folders.pods():
            if uid not in known:
                for container in containers_below(self._folders.of_pod(uid)):
                    if container.running:
                        container.kill()
                        await container.wait()
                self._tools.cpu.release_pod(uid)
                await self._folders.remove_pod(uid)
        if self._tools.network_info.mode == "isolated":
            try:
                attached = await self._tools.network.attachments()
                for uid in attached:
                    if uid not in known:
                        await self._tools.network.detach(uid)
            except NetworkError as error:
                log.warning("addresses not looked after: %s", error)


def _given(network: NetworkInfo) -> Mapping[str, str]:
    """Variables that every container has."""
    return {**certificate_settings({**system_trust(), **os.environ}), **pod_environment(network, os.environ)}


def waiting_reason(status: PodStatus, container: str) -> str:
    """Why a container does not run; empty when it runs or has ended."""
    for each in status.every_status():
        if each.name == container and each.state.waiting is not None:
            return each.state.waiting.reason
    return ""


def shown_run(tracked: TrackedContainer, status: PodStatus, *, previous: bool) -> int:
    """The run whose log is meant: while a container waits to run again, its last one is both. -1: there is none."""
    latest = tracked.attempt - (1 if tracked.stage is Stage.STARTING else 0)
    waits = tracked.stage is Stage.STARTING or bool(waiting_reason(status, tracked.name))
    return latest - 1 if previous and not waits else latest


async def network_info(data_dir: Path, clock: Clock) -> NetworkInfo:
    """How pods are connected, as soon as the network daemon says so."""
    client = NetworkClient(data_dir / "run" / "network.sock", clock)
    while True:
        try:
            return await client.info()
        except NetworkError as error:
            log.warning("waiting for the network: %s", error)
