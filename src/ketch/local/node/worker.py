"""One pod's worker: carries out what the pod's machine orders, and tells it what happened.

``tell`` is the only way in; it runs on the loop, without waiting. Everything that takes time is a task of the worker's
own, which ends by telling.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ketch.kube.client import Client, DeleteOptions
from ketch.kube.clock import Clock
from ketch.kube.errors import APIError, Conflict, NotFound, TransportError
from ketch.kube.events import PacedEvents
from ketch.kube.types.containers import Container as ContainerToRun
from ketch.kube.types.containers import EphemeralContainer
from ketch.kube.types.core import Pod
from ketch.local.images.images import Images
from ketch.local.network.client import NetworkClient, NetworkError
from ketch.local.network.wire import NetworkInfo
from ketch.local.node.actions import ActionFailed, Actions
from ketch.local.node.adoption import Adopted
from ketch.local.node.cpulimits import CPULimits, group_name
from ketch.local.node.environment import CONFIG_ERROR, ConfigError
from ketch.local.node.gpus import Gpus
from ketch.local.node.lastwords import termination_message
from ketch.local.node.pods import events, orders
from ketch.local.node.pods.events import Event, Hook
from ketch.local.node.pods.machine import PodMachine
from ketch.local.node.pods.orders import Order
from ketch.local.node.pods.probing import probe_of
from ketch.local.node.privileges import NOT_APPLIED, not_applied
from ketch.local.node.pulling import PodImages
from ketch.local.node.references import References
from ketch.local.node.reporting import Pace, Reporter
from ketch.local.node.sharing import SharedProcesses
from ketch.local.node.starting import (
    Setting,
    container_directory,
    container_spec,
    forget_runs,
    log_path,
    stop_signal,
    termination_path,
)
from ketch.local.node.volumes.manager import PodVolumes
from ketch.local.node.volumes.places import Folders
from ketch.local.node.warming import Warming
from ketch.local.sandbox.client import SandboxClient
from ketch.local.sandbox.container import Container
from ketch.local.sandbox.ending import Ending
from ketch.local.sandbox.errors import AlreadyStarted, NotStarted, SandboxError, SandboxUnavailable, StartError
from ketch.local.sandbox.spec import ContainerSpec

log = logging.getLogger(__name__)

CREATE_ERROR = "CreateContainerError"
START_ERROR = "StartError"
KEPT_RUNS = 2
"""Runs of a container whose records and logs are kept: the latest, and the one before."""

KEEPER_TRIES, KEEPER_PAUSE = 40, 0.1
RETRY_SECONDS = 0.5
NETWORK_TRIES = 40


@dataclass(frozen=True)
class Tools:
    """What all workers of a node share."""

    client: Client
    clock: Clock
    sandbox: SandboxClient
    network: NetworkClient
    network_info: NetworkInfo
    images: Images
    actions: Actions
    events: PacedEvents
    references: References
    folders: Folders
    host_ip: str
    warming: Warming
    cpu: CPULimits
    gpus: Gpus
    pace: Pace
    given: Mapping[str, str]
    """Variables that every container has."""


class PodWorker:
    """Lives as long as the pod has anything on this node; ``forgotten`` is called when nothing is left."""

    def __init__(self, pod: Pod, tools: Tools, adopted: Adopted, forgotten: Callable[[str], None]) -> None:
        self._tools = tools
        self._forgotten = forgotten
        self._tasks: set[asyncio.Task[None]] = set()
        self._preparing: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.Task[None] | None = None
        self._containers: dict[tuple[str, int], Container] = {}
        self._images = PodImages(tools.images, tools.references, tools.clock, self.tell, self._warn)
        self._netns: int | None = None
        self._processes = SharedProcesses(tools.sandbox, tools.folders)
        self._volumes = PodVolumes(tools.client, tools.clock, tools.folders, tools.references)
        self.machine = PodMachine(pod, tools.host_ip, tools.clock.now(), adopted.runs)
        self._reporter = Reporter(tools.client, tools.clock, pod, tools.pace)
        for name, attempt, container in adopted.running:
            self._containers[name, attempt] = container
            self._spawn(self._watch(name, attempt, container))

    @property
    def pod(self) -> Pod:
        """The pod's newest version."""
        return self.machine.pod

    def tell(self, event: Event) -> None:
        """Take an event in and begin to carry out what follows."""
        for order in self.machine.handle(event, self._tools.clock.now()):
            self._execute(order)

    def references_changed(self) -> None:
        """An object that the pod may refer to changed."""
        self.tell(events.ReferencesChanged())
        if self.machine.volumes.met and self.machine.ending is None:
            self._spawn(self._refresh())

    def running(self, container: str, attempt: int) -> bool:
        """Whether that run still goes on."""
        found = self._containers.get((container, attempt))
        return found is not None and found.running

    def living(self) -> Iterator[tuple[str, Container]]:
        """The containers that run, by name."""
        return ((name, each) for (name, _), each in self._containers.items() if each.running)

    async def close(self) -> None:
        """End the worker's tasks; containers go on."""
        tasks = [*self._tasks, *([self._alarm] if self._alarm else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reporter.close()
        self._close_network()

    # --- orders ---

    def _execute(self, order: Order) -> None:
        match order:
            case orders.ReportStatus(status):
                self._reporter.report(status)
            case orders.Signal(name, attempt):
                container = self._containers[name, attempt]
                container.signal(stop_signal(container.extra))
            case orders.Announce(kind, reason, message):
                self._tools.events.tell(self.pod, kind, reason, message)
            case orders.Kill(name, attempt):
                self._containers[name, attempt].kill()
            case orders.Wake(at):
                self._wake(at)
            case orders.PrepareVolumes() | orders.AttachNetwork() | orders.ResolveImage():
                self._spawn(self._prepare(order), preparing=True)
            case _:
                self._spawn(self._carry_out(order))

    async def _prepare(self, order: orders.PrepareVolumes | orders.AttachNetwork | orders.ResolveImage) -> None:
        """Work that is given up when the pod ends before it is done."""
        match order:
            case orders.PrepareVolumes():
                await self._prepare_volumes()
            case orders.AttachNetwork():
                await self._attach()
            case orders.ResolveImage(image):
                await self._images.resolve(self.pod, image)

    async def _carry_out(self, order: Order) -> None:
        match order:
            case orders.StartContainer(name, attempt):
                await self._start(name, attempt)
            case orders.RunProbe() | orders.RunHook():
                await self._ask(order)
            case orders.Release():
                await self._release()
            case orders.RemovePod():
                await self._remove()
            case orders.Forget():
                await self._forget()
            case _:
                raise AssertionError(order)

    def _spawn(self, work: Coroutine[Any, Any, None], *, preparing: bool = False) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if preparing:
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("pod %s: a task failed", self.pod.key, exc_info=error)

    def _wake(self, at: datetime) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

        async def ring() -> None:
            await self._tools.clock.sleep((at - self._tools.clock.now()).total_seconds())
            self.tell(events.TimerDue())

        self._alarm = asyncio.create_task(ring())

    # --- what containers wait for ---

    async def _prepare_volumes(self) -> None:
        try:
            await self._tools.references.hold(self.pod)
            await self._volumes.prepare(self.pod)
        except (ConfigError, APIError, TransportError, OSError) as error:
            self.tell(events.VolumesFailed(str(error)))
        else:
            self.tell(events.VolumesReady())
            if self._volumes.renew_at is not None:
                self._spawn(self._renew_tokens(), preparing=True)

    async def _renew_tokens(self) -> None:
        while (at := self._volumes.renew_at) is not None and self.machine.ending is None:
            await self._tools.clock.sleep((at - self._tools.clock.now()).total_seconds())
            await self._refresh()
            if self._volumes.renew_at == at:  # the API server was away
                await self._tools.clock.sleep(RETRY_SECONDS)

    async def _refresh(self) -> None:
        try:
            await self._volumes.refresh(self.pod)
        except (APIError, TransportError, OSError) as error:
            log.warning("pod %s: volumes keep their older content: %s", self.pod.key, error)

    async def _attach(self) -> None:
        if self.pod.spec.host_network or self._tools.network_info.mode == "host":
            self.tell(events.NetworkAttached(self._tools.host_ip))
            return
        try:
            attachment = await self._tools.network.attach(self.machine.uid, self.pod.metadata.namespace)
        except NetworkError as error:
            self.tell(events.NetworkFailed(str(error)))
            return
        self._close_network()
        self._netns = attachment.netns_fd
        self.tell(events.NetworkAttached(attachment.ip))

    def _warn(self, reason: str, message: str) -> None:
        self._tools.events.tell(self.pod, "Warning", reason, message)

    # --- containers ---

    async def _start(self, name: str, attempt: int) -> None:
        each = self.machine.container(name)
        info = self._tools.network_info
        around = self._tools.references.around(self.pod, self.machine.pod_ip)
        directory = container_directory(self._tools.folders, self.machine.uid, name, attempt)
        self._containers.pop((name, attempt - KEPT_RUNS), None)
        if (old := attempt - KEPT_RUNS) >= 0:
            self._spawn(asyncio.to_thread(forget_runs, self._tools.folders, self.machine.uid, name, old))
        try:
            image = await self._images.present(self.pod, each.spec.image)
            gpus = self._tools.gpus
            devices = gpus.take(self.machine.uid, each.spec)
            given = {**self._tools.given, **gpus.variables(devices)}
            setting = Setting(self._tools.folders, self._volumes.places, info, around, given, gpus.mounts(devices))
            spec = container_spec(self.pod, each.spec, attempt, image, setting, await self._among(each.spec))
            if not attempt and (text := not_applied(self.pod, each.spec)):
                self._tools.events.tell(self.pod, "Warning", NOT_APPLIED, text)
            spec = self._tools.warming.warmed(self.pod, each.spec, spec, image)
            ending = await self._start_sandbox(spec)
            container = Container.adopt(directory, ending)
        except ConfigError as error:
            self.tell(events.StartFailed(name, attempt, CONFIG_ERROR, str(error)))
        except StartError as error:
            # As with containers elsewhere, a command that cannot be executed is a run that ended at once.
            now = self._tools.clock.now()
            self.tell(events.ContainerExited(name, attempt, error.exit_code, START_ERROR, now, str(error)))
        except (SandboxError, OSError) as error:
            self.tell(events.StartFailed(name, attempt, CREATE_ERROR, str(error)))
        else:
            self._containers[name, attempt] = container
            if spec.cpu_millis is not None:
                limited = group_name(self.machine.uid, name, attempt)
                await asyncio.to_thread(self._tools.cpu.limit, limited, container.started.pid, spec.cpu_millis)
            self.tell(events.ContainerStarted(name, attempt, container.started.started_at))
            await self._watch(name, attempt, container)

    async def _among(self, spec: ContainerToRun) -> Path | None:
        """The records of the container among whose processes this one lives. Raises ConfigError, SandboxError."""
        if self.pod.spec.share_process_namespace:
            return await self._processes.join(self.pod)
        if not isinstance(spec, EphemeralContainer) or not spec.target_container_name:
            return None
        target = self.machine.container(spec.target_container_name)
        if not self.running(target.name, target.attempt):
            raise ConfigError(f"the target container {target.name} does not run")
        return container_directory(self._tools.folders, self.machine.uid, target.name, target.attempt)

    async def _start_sandbox(self, spec: ContainerSpec) -> Ending | None:
        """Start, and wait for a keeper that is being restarted; what tells of the end."""
        for tries in range(KEEPER_TRIES, -1, -1):
            try:
                started = await self._tools.sandbox.start(spec, self._netns)
            except AlreadyStarted:
                return None
            except SandboxUnavailable:
                if not tries:
                    raise
                with contextlib.suppress(NotStarted):
                    Container.adopt(spec.directory)
                    return None
                await self._tools.clock.sleep(KEEPER_PAUSE)
            else:
                if spec.warm is not None and not started.warm:
                    self._tools.warming.missed(spec.warm)
                return started.ending
        return None

    async def _watch(self, name: str, attempt: int, container: Container) -> None:
        """Wait for the end of a run and tell of it."""
        end = await container.wait()
        if "cpu" in self.machine.container(name).spec.resources.limits:
            self._tools.cpu.release(group_name(self.machine.uid, name, attempt))
        folders, uid = self._tools.folders, self.machine.uid
        spec = self.machine.container(name).spec
        written, output = termination_path(folders, uid, name, attempt), log_path(folders, uid, name, attempt)
        if end.code:  # the end of a log may be looked for, which may be long
            message = end.message or await asyncio.to_thread(termination_message, spec, end.code, written, output)
        else:
            message = termination_message(spec, end.code, written, output)
        self.tell(events.ContainerExited(name, attempt, end.code, end.reason, end.finished_at, message))

    async def _ask(self, order: orders.RunProbe | orders.RunHook) -> None:
        """Run a probe or a hook."""
        name, attempt = order.container, order.attempt
        spec, error = self.machine.container(name).spec, ""
        running = self._containers.get((name, attempt))
        try:
            if running is not None:
                await self._act(order, spec, running)
        except ActionFailed as failed:
            error = str(failed) or "failed"
        if isinstance(order, orders.RunProbe):
            self.tell(events.ProbeDone(name, attempt, order.kind, not error, error))
        else:
            self.tell(events.HookDone(name, attempt, order.hook, error))

    async def _act(self, order: orders.RunProbe | orders.RunHook, spec: Any, running: Container) -> None:
        actions, ip = self._tools.actions, self.machine.pod_ip
        if isinstance(order, orders.RunProbe):
            probe = probe_of(spec, order.kind)
            if probe is not None:
                await actions.probe(probe, spec, running, ip)
            return
        lifecycle = spec.lifecycle
        hook = None
        if lifecycle is not None:
            hook = lifecycle.post_start if order.hook is Hook.POST_START else lifecycle.pre_stop
        if hook is not None:
            await actions.hook(hook, spec, running, ip)

    # --- the end ---

    async def _release(self) -> None:
        for task in tuple(self._preparing):
            task.cancel()
        self._close_network()
        self._processes.end(self.machine.uid)
        await self._detach()
        self._tools.references.release(self.machine.uid)
        await self._volumes.release(self.pod)
        self._tools.gpus.give_back(self.machine.uid)
        self.tell(events.Released())

    async def _detach(self) -> None:
        """Give the address back, to a network daemon that is being started again, too."""
        context = self.pod.spec.security_context
        unchanged = context is None or not context.sysctls
        for tries in range(NETWORK_TRIES, -1, -1):
            try:
                await self._tools.network.detach(self.machine.uid, unchanged=unchanged)
            except NetworkError as error:
                if not tries:  # the next agent gives it back
                    log.warning("pod %s: its address is still taken: %s", self.pod.key, error)
                    return
                await self._tools.clock.sleep(RETRY_SECONDS)
            else:
                return

    def _close_network(self) -> None:
        if self._netns is not None:
            os.close(self._netns)
            self._netns = None

    async def _remove(self) -> None:
        """Delete the pod for good, once its last status is told."""
        await self._reporter.settled()
        meta = self.pod.metadata
        options = DeleteOptions(grace_period_seconds=0, uid=meta.uid)
        while True:
            try:
                await self._tools.client.delete(Pod, meta.name, meta.namespace, options)
            except (NotFound, Conflict):
                return  # it is gone, and so this worker will be told
            except (APIError, TransportError) as error:
                log.info("pod %s not removed yet: %s", self.pod.key, error)
                await self._tools.clock.sleep(RETRY_SECONDS)
            else:
                return

    async def _forget(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        await self._tools.folders.remove_pod(self.machine.uid)
        self._forgotten(self.machine.uid)
