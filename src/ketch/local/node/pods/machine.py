"""The state machine of one pod: events in, orders out. Pure.

``handle`` takes an event's facts in, then decides from all facts together what to order now. Nothing is ordered twice:
each order leaves a mark in the facts (ASKED, STARTING, a probe's ``asked``) that its answer removes.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from ketch.kube.types.core import Pod, PodStatus
from ketch.local.node.pods import events, orders
from ketch.local.node.pods.containers import AdoptedRun, Role, Stage, Termination, TrackedContainer, containers_of
from ketch.local.node.pods.ending import EVICTED, Ending, EndReason, begin_ending, stop_due, stop_step
from ketch.local.node.pods.events import Event, Hook
from ketch.local.node.pods.images import image_failed, image_ready
from ketch.local.node.pods.needs import Need, Progress
from ketch.local.node.pods.orders import Announce, Order
from ketch.local.node.pods.probing import ProbeState
from ketch.local.node.pods.status import IMAGE_REASON_SHOWN, TERMINAL_PHASES, pod_status

IMAGE_BACKOFF, LONGEST_IMAGE_BACKOFF = 10.0, 300.0
RETRY, LONGEST_RETRY = 0.5, 120.0
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class PodMachine:
    """All facts about one pod on this node. The worker reads the public attributes, only ``handle`` changes them."""

    def __init__(
        self, pod: Pod, host_ip: str, now: datetime, adopted: Mapping[str, Sequence[AdoptedRun]] | None = None
    ) -> None:
        self.pod = pod
        self.host_ip = host_ip
        self.pod_ip = pod.status.pod_ip
        self.start_time = pod.status.start_time or now
        self.containers = containers_of(pod)
        self.volumes = Need(RETRY, LONGEST_RETRY)
        self.network = Need(RETRY, LONGEST_RETRY)
        self.images = {each.spec.image: Need(IMAGE_BACKOFF, LONGEST_IMAGE_BACKOFF) for each in self.containers}
        self.ending: Ending | None = None
        self.released: Need = Need(RETRY, LONGEST_RETRY)
        self.reported = pod.status
        self.settled = pod.status.phase in TERMINAL_PHASES
        self.gone = False
        self._removing = self._forgotten = False
        self._wake: datetime | None = None
        self._adopt(adopted or {}, now)

    @property
    def deleted(self) -> bool:
        """Whether somebody asked for the pod's end."""
        return self.gone or self.pod.metadata.deletion_timestamp is not None

    @property
    def uid(self) -> str:
        """The pod's identity."""
        return self.pod.metadata.uid

    def container(self, name: str) -> TrackedContainer:
        """The container of that name; KeyError when the pod has none."""
        for each in self.containers:
            if each.name == name:
                return each
        raise KeyError(name)

    def handle(self, event: Event, now: datetime) -> list[Order]:
        """What to do, now that ``event`` has happened."""
        issued: list[Order] = list(self._take(event, now))
        issued += self._decide(now)
        status = self.status(now)
        if status != self.reported:
            self.reported = status
            issued.insert(0, orders.ReportStatus(status))
        # A moment that has passed and was not acted on waits for something else, whose event will come.
        wake = min((moment for moment in self._moments(now) if moment > now), default=None)
        if wake is not None and wake != self._wake:
            issued.append(orders.Wake(wake))
        self._wake = wake
        return issued

    def status(self, now: datetime) -> PodStatus:
        """What to tell the API server of the pod."""
        return self.reported if self.settled else pod_status(self, now)

    # --- facts ---

    def _adopt(self, adopted: Mapping[str, Sequence[AdoptedRun]], now: datetime) -> None:
        told = {each.name: each for each in self.pod.status.every_status()}
        for each in self.containers:
            if runs := adopted.get(each.name):
                before = told.get(each.name)
                each.adopt(
                    self.uid,
                    sorted(runs, key=lambda run: run.attempt),
                    now,
                    was_started=bool(before and before.started),
                    was_ready=bool(before and before.ready),
                )

    def _take(self, event: Event, now: datetime) -> Iterator[Order]:
        match event:
            case events.PodChanged(pod):
                self._changed(pod)
            case events.PodGone():
                self.gone = True
            case events.TimerDue():
                self._wake = None
            case events.Evicted(message):
                if self.ending is None:
                    yield Announce("Warning", EVICTED, message)
                    self.ending = begin_ending(self.pod, EndReason(EVICTED, message, at_once=True), now)
            case events.ImagesChanged():
                for need in self.images.values():
                    need.want()
            case events.ImagePulling(image):
                yield Announce("Normal", "Pulling", f'Pulling image "{image}"')
            case events.ImageReady(image):
                yield from image_ready(self.images[image], event, self.containers)
            case events.ImageFailed(image):
                yield from image_failed(self.images[image], event, now)
            case (
                events.ContainerStarted()
                | events.StartFailed()
                | events.ContainerExited()
                | events.ProbeDone()
                | events.HookDone()
            ):
                yield from self._container_event(event, now)
            case _:
                yield from self._need_answered(event, now)

    def _need_answered(self, event: Event, now: datetime) -> Iterator[Order]:
        match event:
            case events.VolumesReady():
                self.volumes.meet()
            case events.VolumesFailed(message):
                yield from self._failed(self.volumes, "FailedMount", message, now)
            case events.NetworkAttached(ip):
                self.pod_ip = ip
                self.network.meet(ip)
            case events.NetworkFailed(message):
                text = f"Failed to create pod sandbox: {message}"
                yield from self._failed(self.network, "FailedCreatePodSandBox", text, now)
            case events.Released():
                self.released.meet()
            case _:  # ReferencesChanged
                pulled_with = self.images.values() if self.pod.spec.image_pull_secrets else ()
                for need in (self.volumes, *(each.start for each in self.containers), *pulled_with):
                    need.want()

    def _changed(self, pod: Pod) -> None:
        self.pod = pod
        specs = {each.name: each for each in pod.spec.every_container()}
        if len(specs) > len(self.containers):  # only ephemeral containers come later
            known = {each.name for each in self.containers}
            self.containers += [each for each in containers_of(pod) if each.name not in known]
        for each in self.containers:
            each.spec = specs.get(each.name, each.spec)
            self.images.setdefault(each.spec.image, Need(IMAGE_BACKOFF, LONGEST_IMAGE_BACKOFF))

    def _failed(self, need: Need, reason: str, message: str, now: datetime) -> Iterator[Order]:
        if need.message != message:  # the same trouble again is no news
            yield Announce("Warning", reason, message)
        need.fail(reason, message, now)

    def _container_event(self, event: events.ContainerEvent, now: datetime) -> Iterator[Order]:
        each = self.container(event.container)
        if each.attempt != event.attempt or not each.alive:
            return  # about a run that is over
        match event:
            case events.ContainerStarted():
                each.running(self.uid, event.started_at, now)
                yield Announce("Normal", "Created", f"Created container: {each.name}")
                yield Announce("Normal", "Started", f"Started container {each.name}")
                if not each.post_start_done and self.ending is None:
                    yield orders.RunHook(each.name, each.attempt, Hook.POST_START)
            case events.StartFailed(_, _, reason, message):
                if each.start.message != message:
                    yield Announce("Warning", "Failed", f"Error: {message}")
                each.not_started(reason, message, now)
            case events.ContainerExited():
                yield from self._exited(each, event)
            case events.ProbeDone():
                yield from self._probed(each, event, now)
            case events.HookDone():
                yield from self._hooked(each, event, now)

    def _exited(self, each: TrackedContainer, event: events.ContainerExited) -> Iterator[Order]:
        if each.stage is Stage.STARTING:  # its command cannot be executed: a run that ended before it began
            each.running(self.uid, event.finished_at, event.finished_at)
            yield Announce("Warning", "Failed", f"Error: {event.message}")
        identity = (each.started_at, each.container_id, event.message)
        each.exited(Termination(event.exit_code, event.reason, event.finished_at, *identity))
        restarts = self.ending is None and not self.deleted and each.restarts(self.pod.spec.restart_policy)
        if restarts and each.restart_at is not None and each.restart_at > event.finished_at:
            meta = self.pod.metadata
            where = f"{meta.name}_{meta.namespace}({meta.uid})"
            text = f"Back-off restarting failed container {each.name} in pod {where}"
            yield Announce("Warning", "BackOff", text)

    def _probed(self, each: TrackedContainer, event: events.ProbeDone, now: datetime) -> Iterator[Order]:
        state = each.probes.get(event.kind)
        if state is None or not state.asked:
            return
        failed = state.answer(event.success, now)
        if not event.success and state.counts:
            yield Announce("Warning", "Unhealthy", f"{event.kind} probe failed: {event.message}")
        if failed and event.kind is not events.ProbeKind.READINESS and each.stopping is None:
            text = f"Container {each.name} failed {event.kind.lower()} probe, will be restarted"
            grace = state.probe.termination_grace_period_seconds
            yield from self._stop_one(each, text, now, grace)

    def _hooked(self, each: TrackedContainer, event: events.HookDone, now: datetime) -> Iterator[Order]:
        if event.hook is Hook.PRE_STOP:
            if event.error:
                yield Announce("Warning", "FailedPreStopHook", event.error)
            if each.stopping is not None:
                yield from stop_step(each, each.stopping.deadline, now, hook_done=True)
            return
        each.post_start_done = True
        if event.error:
            yield Announce("Warning", "FailedPostStartHook", event.error)
            yield from self._stop_one(each, "FailedPostStartHook", now)

    def _stop_one(
        self, each: TrackedContainer, why: str, now: datetime, grace_seconds: int | None = None
    ) -> Iterator[Order]:
        """End one container of a pod that goes on."""
        grace = grace_seconds if grace_seconds is not None else self.pod.spec.termination_grace_period_seconds
        yield Announce("Normal", "Killing", why)
        yield from stop_step(each, now + timedelta(seconds=30 if grace is None else grace), now)

    # --- decisions ---

    def _decide(self, now: datetime) -> Iterator[Order]:
        self._judge(now)
        if self.ending is not None:
            yield from self._end(self.ending, now)
            return
        yield from self._ask(now)
        if self.volumes.met and self.network.met:
            for each in self.eligible():
                yield from self._run(each, now)
        for each in self.containers:
            if each.stopping is not None:
                yield from stop_step(each, each.stopping.deadline, now)
            yield from self._probe(each, now)

    def _judge(self, now: datetime) -> None:
        """Find out whether the pod's end has begun, or must come sooner than planned."""
        seconds = self.pod.spec.active_deadline_seconds
        if self.deleted:
            ending = begin_ending(self.pod, EndReason.deletion(), now, gone=self.gone)
            before = self.ending
            if before is None:
                self.ending = ending
            elif ending.deadline < before.deadline or not before.deletion:
                reason = before.reason if before.failure else ending.reason
                self.ending = Ending(reason, min(before.deadline, ending.deadline), deletion=True, gone=self.gone)
            elif self.gone:
                self.ending = Ending(before.reason, before.deadline, deletion=True, gone=True)
        if self.ending is not None:
            return
        if self.settled or self._finished():
            self.ending = begin_ending(self.pod, EndReason.finished(), now)
        elif seconds is not None and now >= self.start_time + timedelta(seconds=seconds):
            self.ending = begin_ending(self.pod, EndReason("DeadlineExceeded", DEADLINE_MESSAGE), now)

    def _finished(self) -> bool:
        """Whether nothing of the pod's own work is left to run."""
        policy = self.pod.spec.restart_policy

        def over(each: TrackedContainer) -> bool:
            return each.stage is Stage.EXITED and not each.restarts(policy)

        mains = [each for each in self.containers if each.role is Role.MAIN]
        inits = [each for each in self.containers if each.role is Role.INIT]
        return all(map(over, mains)) or any(over(each) and not each.succeeded for each in inits)

    def eligible(self) -> list[TrackedContainer]:
        """The containers whose turn has come: sidecars and the first unfinished init container, or all the rest.

        It is always that of ephemeral ones.
        """
        chosen: list[TrackedContainer] = []
        waits = False
        for each in self.containers:
            if each.role is Role.EPHEMERAL or (not waits and (each.role is not Role.INIT or not each.passed)):
                chosen.append(each)
            waits = waits or (each.role in (Role.INIT, Role.SIDECAR) and not each.passed)
        return chosen

    def _ask(self, now: datetime) -> Iterator[Order]:
        needs: list[tuple[Need, Order]] = [
            (self.network, orders.AttachNetwork()),
            (self.volumes, orders.PrepareVolumes()),
            *((need, orders.ResolveImage(image)) for image, need in self.images.items()),
        ]
        for need, order in needs:
            if need.due(now):
                need.ask()
                yield order

    def _run(self, each: TrackedContainer, now: datetime) -> Iterator[Order]:
        """Start ``each`` when it should run and can; end it when it runs by another image than it should."""
        if each.stage is Stage.RUNNING and each.image != each.spec.image and each.stopping is None:
            each.backoff = 0.0
            text = f"Container {each.name} definition changed, will be restarted"
            yield from self._stop_one(each, text, now)
        if each.alive or (each.stage is Stage.EXITED and not each.restarts(self.pod.spec.restart_policy)):
            return
        resting = each.restart_at is not None and now < each.restart_at
        retry = each.start.retry_at
        image = self.images[each.spec.image]
        if image.met and not resting and (retry is None or now >= retry):
            each.image_id = image.value
            each.ordered()
            yield orders.StartContainer(each.name, each.attempt)

    def _probe(self, each: TrackedContainer, now: datetime) -> Iterator[Order]:
        for state in each.active_probes():
            if not state.asked and now >= state.due:
                state.ask(now)
                yield orders.RunProbe(each.name, each.attempt, state.kind)

    def _end(self, ending: Ending, now: datetime) -> Iterator[Order]:
        """Containers first, sidecars after the others and in reverse order; then what they used; then the pod."""
        alive = [each for each in self.containers if each.alive]
        turn = [each for each in alive if each.role is not Role.SIDECAR] or alive[-1:]
        for each in alive if now >= ending.deadline else turn:
            if each.stage is Stage.RUNNING:
                if each.stopping is None:
                    yield Announce("Normal", "Killing", f"Stopping container {each.name}")
                yield from stop_step(each, ending.deadline, now, with_hook=not ending.gone)
        if alive:
            return
        if self.released.due(now):
            self.released.ask()
            yield orders.Release()
        if self.released.met and self.gone and not self._forgotten:
            self._forgotten = True
            yield orders.Forget()
        elif self.released.met and self.deleted and not self._removing:
            self._removing = True
            yield orders.RemovePod()

    # --- time ---

    def _moments(self, now: datetime) -> Iterator[datetime]:
        """When something will have to be decided even if nothing happens until then."""
        for each in self.containers:
            if (due := stop_due(each)) is not None:
                yield due
        if self.ending is not None:
            if any(each.alive for each in self.containers) and self.ending.deadline > now:
                yield self.ending.deadline
            return
        for need in (self.volumes, self.network, *self.images.values(), *(each.start for each in self.containers)):
            if need.retry_at is not None:
                yield need.retry_at
        for need in self.images.values():
            if need.progress is Progress.FAILED and need.failed_at and now < need.failed_at + IMAGE_REASON_SHOWN:
                yield need.failed_at + IMAGE_REASON_SHOWN
        for each in self.containers:
            if each.stage is Stage.EXITED and each.restart_at is not None and each.restart_at > now:
                yield each.restart_at
            yield from (state.due for state in self._waiting_probes(each))
        if (seconds := self.pod.spec.active_deadline_seconds) is not None:
            yield self.start_time + timedelta(seconds=seconds)

    def _waiting_probes(self, each: TrackedContainer) -> list[ProbeState]:
        return [state for state in each.active_probes() if not state.asked]
