"""RunReconciler: drives a run from its rows and its pods until it has ended.

A pass takes up what pods have to say, asks the machine, writes all that follows in one transaction and only then starts
pods. Machines are kept between passes and rebuilt from rows after a restart or any error; pods are found again by their
names. So a step's pod is made once whatever dies in between, and a pass costs what has changed.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from ketch.kube.client import Client, DeleteOptions
from ketch.kube.clock import Clock
from ketch.kube.controller import Result
from ketch.kube.errors import NotFound
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.types.core import PersistentVolumeClaim
from ketch.kube.types.pods import Pod
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.objects import StoreUnreachable
from ketch.pipelines.caching import cache_key, needed_data
from ketch.pipelines.engine.machine import Machine
from ketch.pipelines.engine.nodes import Node
from ketch.pipelines.engine.orders import (
    Begin,
    Cancel,
    Event,
    Failed,
    FinishRun,
    Import,
    Launch,
    Retry,
    RunFacts,
    Stop,
    Succeeded,
)
from ketch.pipelines.ir.platform import pipeline_config
from ketch.pipelines.ir.reading import SpecError, read
from ketch.pipelines.ir.spec import claim_operation
from ketch.pipelines.records.entries import Entry, Keyed, Started, Waits
from ketch.pipelines.records.ledger import Ledger
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import CACHED, CANCELING, FAILED, FINAL, RUNNING
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.running.active import Active, names_of
from ketch.pipelines.running.claims import ClaimProblem, Claims
from ketch.pipelines.running.making import PodMaker
from ketch.pipelines.running.results import Results
from ketch.pipelines.steps.observation import Observation, Phase, ended_at, observe
from ketch.pipelines.steps.step import OURS, RUN_LABEL
from ketch.pipelines.transfer.containers import undelivered
from ketch.pipelines.transfer.stores import Stores
from ketch.pipelines.values import Values

log = logging.getLogger(__name__)

TROUBLE_SECONDS: Final = 20.0
"""How long a pod that cannot start (its image cannot be had, ...) may go on trying before its task fails."""

STOP_SECONDS: Final = 30
"""What a step gets to end in that is not wanted any more, however long its outputs might have taken."""

STORE_SECONDS: Final = 120.0
"""How long a step's results are waited for whose store does not answer."""

_STORE_PAUSE: Final = 5.0
_AT_ONCE: Final = 32  # pods made at the same time
_AHEAD: Final = 8  # pods put together while their rows are written
_KINDS: Final = (Pod, PersistentVolumeClaim)  # of what a run has in the cluster
_ON_ITS_WAY: Final = Observation(Phase.WAITING)


def _nobody(run: Run) -> None:
    """Nobody waits for the end of a run."""


class RunReconciler:
    """Reconciles runs; keys are ``ObjectKey(namespace, run id)``. Register ``keys`` as the map of ``pods``' changes.

    ``ended`` is told of runs that are over, as they were when they were taken up.
    """

    def __init__(
        self,
        client: Client,
        pods: Informer[Pod],
        store: RunStore,
        artifacts: ArtifactStore,
        stores: Stores,
        clock: Clock,
        ended: Callable[[Run], None] = _nobody,
    ) -> None:
        self._client, self._pods, self._clock = client, pods, clock
        self._ledger = Ledger(store, artifacts)
        self._claims, self._results = Claims(client), Results(stores, self._ledger)
        self._maker = PodMaker(client, stores)
        self._ended = ended
        self._runs: dict[ObjectKey, Active] = {}

    def keys(self, pod: Pod | PersistentVolumeClaim) -> Iterable[ObjectKey]:
        """The run that a changed pod, or claim, belongs to."""
        run_id = pod.metadata.labels.get(RUN_LABEL)
        if not run_id:
            return ()
        key = ObjectKey(pod.metadata.namespace, run_id)
        if active := self._runs.get(key):
            if isinstance(pod, Pod) and self._is_no_news(active, pod):
                return ()
            active.changed.add(pod.metadata.name)
        return (key,)

    def _is_no_news(self, active: Active, pod: Pod) -> bool:
        """Whether the pod is on its way as expected: made, placed, starting."""
        if self._pods.get(pod.key) is None or active.pods.get(pod.metadata.name) in active.due:
            return False
        return observe(pod) == _ON_ITS_WAY

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring the run as far as it can go now."""
        try:
            return await self._reconcile(key)
        except BaseException:
            self._runs.pop(key, None)  # the machine may be ahead of the rows: rebuild it
            self._ledger.forget(key.name)
            raise

    async def _reconcile(self, key: ObjectKey) -> Result:
        active = self._runs.get(key)
        state = ""
        if active is None or active.told or not active.changed:
            state = await self._ledger.state(key.name)
            if state is None or state in FINAL:
                self._runs.pop(key, None)
                if state is None:
                    await remove_objects(self._client, key)
                return Result()
        # else what its pods have to say will be written in a moment, and that tells the state
        if active is None:
            loaded = await self._load(key)
            if loaded is None:
                return Result()
            active, events = loaded
        else:
            events = list[Event]()
        active.state = state
        if await self._carry_out(active, *await self._occasion(active, events)):
            self._runs.pop(key, None)
            return Result() if active.state else Result(requeue_after=0)  # who is gone leaves things to remove
        state = active.state or await self._ledger.state(key.name)
        active.told = state is None or state in FINAL or state == CANCELING
        return Result(requeue_after=0 if active.told else self._until_due(active))

    async def _occasion(self, active: Active, events: list[Event]) -> tuple[list[Event], list[Entry]]:
        """What to follow now, after ``events``, and what is worth noting besides."""
        entries: list[Entry] = []
        if active.state == CANCELING:
            events = [Cancel()]
        elif active.deadline is not None and self._now() >= active.deadline:
            seconds = active.config.active_deadline_seconds
            events = [Cancel(f"DeadlineExceeded: the run took longer than its activeDeadlineSeconds of {seconds}")]
        else:
            changed, active.changed = active.changed, set()
            events += await self._look(active, self._concerned(active, changed), entries)
        return events, entries

    # Reading

    async def _load(self, key: ObjectKey) -> tuple[Active, list[Event]] | None:
        """Take up a run from its rows; with the event that makes it go on."""
        run = await self._ledger.run(key.name)
        if run is None:
            return None
        try:
            spec, config = read(run.pipeline_spec), pipeline_config(run.platform_spec)
            if config.workspace:
                await self._claims.workspace(run.namespace, run.id, config.workspace)
        except (SpecError, ClaimProblem) as error:
            problem = f"the specification is wrong: {error}" if isinstance(error, SpecError) else str(error)
            await self._ledger.write(run, [FinishRun(FAILED, problem)], self._now())
            self._ended(run)
            return None
        tasks = await self._ledger.tasks(run.id)
        facts = RunFacts(run_id=run.id, parameters=run.parameters, names=names_of(run), generation=run.retry_generation)
        active = Active(run, Machine(spec, facts, [facts for _, facts in tasks]), config)
        over = False
        for row, _ in tasks:
            over = over or (row.parent_id is None and row.state in FINAL)
            self._remember(active, row)
        self._runs[key] = active
        return active, [Retry() if over else Begin()]

    def _remember(self, active: Active, row: Task) -> None:
        if row.id not in active.machine.in_flight:
            return
        if row.state == RUNNING:
            active.running.add(row.id)
        if row.retry_at:
            active.due.enter(row.id, row.retry_at)
        active.since[row.id] = row.created_at

    def _concerned(self, active: Active, changed: set[str]) -> Sequence[str]:
        """The tasks to look at: their pods changed, or their time has come."""
        tasks = [active.pods[name] for name in changed if name in active.pods]
        return [*tasks, *active.due.ripe(self._now())]

    async def _look(self, active: Active, tasks: Iterable[str], entries: list[Entry]) -> list[Event]:
        """What the pods of ``tasks`` say; what is only worth noting goes to ``entries``."""
        events: list[Event] = []
        wanted = list(dict.fromkeys(tasks))
        together = _AT_ONCE if self._results.are_far(active) else 1  # what is here is read without waiting
        for start in range(0, len(wanted), together):
            some = wanted[start : start + together]
            if len(some) == 1:
                heard = [await self._look_at(active, some[0], entries)]
            else:
                heard = await asyncio.gather(*(self._look_at(active, identity, entries) for identity in some))
            for identity, event in zip(some, heard, strict=True):
                if event is not None:
                    active.window.begun(identity)
                    events.append(event)
        return events

    async def _look_at(self, active: Active, identity: str, entries: list[Entry]) -> Event | None:
        node = active.machine.in_flight.get(identity)
        if node is None:
            active.due.strike(identity)
            return None
        pod = self._pods.get(active.pod_key(node))
        if pod is not None:
            return await self._heard(active, node, pod, entries)
        if identity in active.due:
            return await self._start(active, node, entries)  # its next attempt is due
        return Failed(identity, f"the pod {active.name(node)} was deleted before the step ended")

    async def _heard(self, active: Active, node: Node, pod: Pod, entries: list[Entry]) -> Event | None:
        seen = observe(pod)
        active.due.strike(node.id)
        if seen.phase in (Phase.RUNNING, Phase.SUCCEEDED) and node.id not in active.running:
            active.running.add(node.id)  # a short step may never be seen running
            entries.append(Started(node.id))
        if seen.phase is Phase.RUNNING:
            active.window.begun(node.id)
            return None
        if seen.phase is Phase.SUCCEEDED:
            return await self._result(active, node, pod, entries)
        if seen.phase is Phase.FAILED:
            return Failed(node.id, seen.message)
        if seen.trouble:
            now = self._now()
            end = (pod.metadata.creation_timestamp or now) + timedelta(seconds=TROUBLE_SECONDS)
            if seen.hopeless or now >= end:
                await self._delete_pod(active, node)
                return Failed(node.id, seen.message)
            active.due.enter(node.id, end)
        if seen.message and active.reasons.get(node.id) != seen.message:
            active.reasons[node.id] = seen.message
            entries.append(Waits(node.id, seen.message))
        return None

    async def _result(self, active: Active, node: Node, pod: Pod, entries: list[Entry]) -> Event | None:
        """What the step has left; a store that is away for a while is waited for."""
        if why := undelivered(pod):
            return Failed(node.id, why)
        try:
            return await self._results.of_step(active, node)
        except StoreUnreachable as error:
            now, message = self._now(), f"the step's outputs cannot be read: {error}"
            if now >= (ended_at(pod) or now) + timedelta(seconds=STORE_SECONDS):
                return Failed(node.id, message)
            active.due.enter(node.id, now + timedelta(seconds=_STORE_PAUSE))
            if node.id not in active.reasons:
                active.reasons[node.id] = message
                entries.append(Waits(node.id, message))
            return None

    # Acting

    async def _carry_out(self, active: Active, events: Sequence[Event], entries: list[Entry]) -> bool:
        """Follow ``events`` to their end: rows first, then pods, then what comes of those. Whether the run is over."""
        pending = deque(events)
        while pending or entries:
            launches: dict[str, Launch] = {}
            while pending:
                while pending:
                    pending.extend(await self._follow(active, pending.popleft(), entries, launches))
                pending.extend(await self._from_cache(active, launches, entries))
            entries.extend(launches.values())
            if not await self._write_and_prepare(active, entries, launches):
                return True
            for entry in entries:
                if isinstance(entry, FinishRun):
                    log.info("run %s (%s): %s %s", active.run.id, active.run.name, entry.state, entry.error)
                    self._ended(active.run)
                    return True
            if active.state == CANCELING:
                return False  # nothing more is begun: the next pass ends all of it
            entries.clear()
            pending.extend(await self._launch(active, launches.values()))
            active.prepared.clear()
        return False

    async def _follow(
        self, active: Active, event: Event, entries: list[Entry], launches: dict[str, Launch]
    ) -> list[Event]:
        """Ask the machine what ``event`` means; do at once what must come before the rows."""
        events: list[Event] = []
        if isinstance(event, Failed) and event.task_id in active.since:
            elapsed = (self._now() - active.since[event.task_id]).total_seconds()
            event = msgspec.structs.replace(event, elapsed=elapsed)
        for order in active.machine.handle(event):
            match order:
                case Launch():
                    launches[order.task_id] = order
                    active.since.setdefault(order.task_id, self._now())
                    continue
                case Import():
                    events.append(await self._results.of_import(active, order))
                case Stop():
                    # before the rows say that it is over, or a crash would leave it running
                    await self._delete_pod(active, active.machine.node(order.task_id))
                case _:
                    pass
            entries.append(order)
        return events

    async def _from_cache(self, active: Active, launches: dict[str, Launch], entries: list[Entry]) -> list[Event]:
        """Take those out of ``launches`` whose outputs are known from an earlier execution."""
        keys: dict[str, str] = {}
        for identity, order in launches.items():
            node = active.machine.node(identity)
            if order.attempt or identity in active.keyed or self._pods.get(active.pod_key(node)) is not None:
                continue
            active.keyed.add(identity)
            if key := cache_key(active.machine.spec, node, active.run.namespace, active.claim_names(node)):
                keys[identity] = key
        known: Mapping[str, tuple[str, Values]] = await self._ledger.cached(keys.values()) if keys else {}
        events: list[Event] = []
        for identity, key in keys.items():
            found = known.get(key)
            node = active.machine.node(identity)
            if found is not None and await self._holds(active, node, found[1]):
                del launches[identity]
                entries.append(Keyed(identity, key, found[0]))
                events.append(Succeeded(identity, found[1], CACHED))
            else:
                entries.append(Keyed(identity, key))
        return events

    async def _holds(self, active: Active, node: Node, outputs: Values) -> bool:
        """Whether what an earlier execution gave is still there."""
        if operation := claim_operation(active.machine.spec.executor(node.component)):
            return await self._claims.holds(operation, active.run.namespace, node.inputs.parameters, outputs)
        return all([await self._maker.exists(active.run.namespace, artifact.uri) for artifact in needed_data(outputs)])

    async def _launch(self, active: Active, orders: Iterable[Launch]) -> list[Event]:
        """Make the pods that are due and have room; take up those that exist. Returns what was learned."""
        entries: list[Entry] = []
        known: list[str] = []
        for order in orders:
            node = active.machine.in_flight.get(order.task_id)
            if node is None:
                continue
            name = active.name(node)
            active.pods[name] = node.id
            if order.attempt and order.error:
                active.running.discard(node.id)
                active.reasons.pop(node.id, None)
                active.due.enter(node.id, self._now() + timedelta(seconds=order.delay))
            exists = self._pods.get(ObjectKey(active.run.namespace, name)) is not None or node.id in active.running
            if order.in_pod and exists:
                active.window.come(node.id, node.component_name)
                known.append(node.id)
            elif (active.due.get(node.id) or self._now()) <= self._now():
                active.window.offer(node.id, node.component_name)
        events = await self._look(active, known, entries)
        in_flight = active.machine.in_flight
        wanted = [in_flight[identity] for identity in active.window.take(in_flight.__contains__)]
        for start in range(0, len(wanted), _AT_ONCE):
            batch = wanted[start : start + _AT_ONCE]
            heard = await asyncio.gather(*(self._start(active, node, entries) for node in batch))
            for node, event in zip(batch, heard, strict=True):
                if event is not None:
                    active.window.begun(node.id)
                    events.append(event)
        if entries:
            await self._write(active, entries)
        return events

    async def _write_and_prepare(
        self, active: Active, entries: Sequence[Entry], launches: Mapping[str, Launch]
    ) -> bool:
        """As ``_write``; while the disk is waited for, the next pods are put together. None is made before."""
        nodes = [active.machine.node(identity) for identity, order in launches.items() if not order.delay]
        if not 0 < len(nodes) <= _AHEAD:
            return await self._write(active, entries)
        is_there, _ = await asyncio.gather(self._write(active, entries), self._maker.prepare(active, nodes))
        return is_there

    async def _write(self, active: Active, entries: Sequence[Entry]) -> bool:
        """Whether the run is still there."""
        active.state = await self._ledger.write(active.run, entries, self._now()) or ""
        return bool(active.state)

    async def _start(self, active: Active, node: Node, entries: list[Entry]) -> Event | None:
        """Begin the node's attempt: by its pod, or by doing what it stands for."""
        operation = claim_operation(active.machine.spec.executor(node.component))
        if not operation:
            active.due.strike(node.id)
            return await self._maker.make(active, node)
        active.due.strike(node.id)
        entries.append(Started(node.id))
        try:
            outputs = await self._claims.perform(operation, active.run.namespace, node.id, node.inputs.parameters)
        except ClaimProblem as problem:
            return Failed(node.id, str(problem))
        return Succeeded(node.id, outputs)

    async def _delete_pod(self, active: Active, node: Node) -> None:
        try:
            options = DeleteOptions(grace_period_seconds=STOP_SECONDS)
            await self._client.delete(Pod, active.name(node), active.run.namespace, options)
        except NotFound:
            return

    def _now(self) -> datetime:
        return self._clock.now()

    def _until_due(self, active: Active) -> float | None:
        moments = [moment for moment in (active.due.earliest(), active.deadline) if moment is not None]
        return max(0.0, (min(moments) - self._now()).total_seconds()) if moments else None


async def remove_objects(client: Client, run: ObjectKey) -> None:
    """Remove all that a run has in the cluster."""
    for kind in _KINDS:
        await client.delete_collection(kind, run.namespace, label_selector=f"{RUN_LABEL}={run.name},{OURS}")
