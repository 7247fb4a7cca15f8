"""RunReconciler: drives a run from its rows and its pods until it has ended.

A pass takes up what pods have to say, asks the machine, writes all that follows in one transaction and only then starts
pods. Machines are kept between passes and rebuilt from rows after a restart or any error; pods are found again by their
names. So a step's pod is made once whatever dies in between, and a pass costs what has changed.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ketch.kube.client import Client
from ketch.kube.clock import Clock
from ketch.kube.codec import format_time
from ketch.kube.controller import Result
from ketch.kube.errors import AlreadyExists, BadRequest, Forbidden, Invalid, NotFound
from ketch.kube.informer import Informer
from ketch.kube.meta import ObjectKey
from ketch.kube.types.pods import Pod
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.objects import KeyOutside, ObjectStore
from ketch.pipelines.caching import cache_key, needed_data
from ketch.pipelines.documents import OutputProblem, StepOutput
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
from ketch.pipelines.ir.reading import SpecError, read
from ketch.pipelines.layout import OUTPUT_FILE, TaskPlace, place_of
from ketch.pipelines.ledger import Entry, Keyed, Ledger, Started, Waits
from ketch.pipelines.observation import Phase, observe
from ketch.pipelines.placeholders import Names
from ketch.pipelines.pods import pod_of
from ketch.pipelines.runs import RunStore
from ketch.pipelines.states import CACHED, CANCELING, CONTAINER, FAILED, FINAL, RUNNING
from ketch.pipelines.steps import OURS, RUN_LABEL, PodProblem, Step, pod_name
from ketch.pipelines.tables import Run, Task
from ketch.pipelines.values import Artifact, Values

log = logging.getLogger(__name__)

MANAGER: Final = "ketch-pipelines"
"""Field manager of what is written here."""

TROUBLE_SECONDS: Final = 20.0
"""How long a pod that cannot start (its image cannot be had, ...) may go on trying before its task fails."""

_LARGEST_OUTPUT: Final = 64 * 1024 * 1024
_AT_ONCE: Final = 32  # pods made at the same time
_REFUSALS = (Invalid, Forbidden, BadRequest, NotFound)
_IDS = uuid.UUID("b7a0e6a4-31cf-5f7c-8f0e-6d7c1f4f9a52")  # of artifacts


@dataclass(slots=True)
class _Active:
    """A run that is being driven. ``pods`` are the in-flight tasks by their pods' names, ``changed`` the pods that
    something happened to since the last pass."""

    run: Run
    machine: Machine
    pods: dict[str, str] = field(default_factory=dict[str, str])
    changed: set[str] = field(default_factory=set[str])
    running: set[str] = field(default_factory=set[str])
    reasons: dict[str, str] = field(default_factory=dict[str, str])
    keyed: set[str] = field(default_factory=set[str])
    due: dict[str, datetime] = field(default_factory=dict[str, datetime])
    """When to look at a task again: its next attempt may start, or its patience ends."""


def _nobody(run: Run) -> None:
    """Nobody waits for the end of runs."""


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
        objects: ObjectStore,
        clock: Clock,
        ended: Callable[[Run], None] = _nobody,
    ) -> None:
        self._client, self._pods, self._objects, self._clock = client, pods, objects, clock
        self._artifacts = artifacts
        self._ledger = Ledger(store, artifacts)
        self._ended = ended
        self._runs: dict[ObjectKey, _Active] = {}

    def keys(self, pod: Pod) -> Iterable[ObjectKey]:
        """The run that a changed pod belongs to."""
        run_id = pod.metadata.labels.get(RUN_LABEL)
        if not run_id:
            return ()
        key = ObjectKey(pod.metadata.namespace, run_id)
        if active := self._runs.get(key):
            active.changed.add(pod.metadata.name)
        return (key,)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bring the run as far as it can go now."""
        try:
            return await self._reconcile(key)
        except BaseException:
            self._runs.pop(key, None)  # the machine may be ahead of the rows: rebuild it
            raise

    async def _reconcile(self, key: ObjectKey) -> Result:
        state = await self._ledger.state(key.name)
        if state is None or state in FINAL:
            self._runs.pop(key, None)
            if state is None:
                await self._client.delete_collection(
                    Pod, key.namespace, label_selector=f"{RUN_LABEL}={key.name},{OURS}"
                )
            return Result()
        active = self._runs.get(key)
        if active is None:
            loaded = await self._load(key)
            if loaded is None:
                return Result()
            active, events = loaded
        else:
            events = list[Event]()
        entries: list[Entry] = []
        if state == CANCELING:
            events = [Cancel()]
        else:
            changed, active.changed = active.changed, set()
            events += await self._look(active, self._concerned(active, changed), entries)
        if await self._carry_out(active, events, entries):
            self._runs.pop(key, None)
            return Result()
        return Result(requeue_after=self._until_due(active))

    # Reading

    async def _load(self, key: ObjectKey) -> tuple[_Active, list[Event]] | None:
        """Take up a run from its rows; with the event that makes it go on."""
        run = await self._ledger.run(key.name)
        if run is None:
            return None
        try:
            spec = read(run.pipeline_spec)
        except SpecError as error:
            await self._ledger.write(run.id, [FinishRun(FAILED, f"the specification is wrong: {error}")], self._now())
            return None
        names = Names(
            pipeline_job_name=run.display_name,
            pipeline_job_resource_name=run.name,
            pipeline_job_uuid=run.id,
            pipeline_job_create_time_utc=format_time(run.created_at.replace(microsecond=0)),
            pipeline_job_schedule_time_utc=format_time((run.scheduled_at or run.created_at).replace(microsecond=0)),
            pipeline_root=run.pipeline_root,
        )
        tasks = await self._ledger.tasks(run.id)
        facts = RunFacts(run_id=run.id, parameters=run.parameters, names=names)
        active = _Active(run, Machine(spec, facts, [facts for _, facts in tasks]))
        over = False
        for row, _ in tasks:
            over = over or (row.parent_id is None and row.state in FINAL)
            self._remember(active, row)
        self._runs[key] = active
        return active, [Retry() if over else Begin()]

    def _remember(self, active: _Active, row: Task) -> None:
        if row.kind != CONTAINER or row.state in FINAL:
            return
        if row.state == RUNNING:
            active.running.add(row.id)
        if row.retry_at:
            active.due[row.id] = row.retry_at

    def _concerned(self, active: _Active, changed: set[str]) -> Sequence[str]:
        """The tasks to look at: their pods changed, or their time has come."""
        tasks = [active.pods[name] for name in changed if name in active.pods]
        now = self._now()
        return [*tasks, *(identity for identity, due in active.due.items() if due <= now)]

    async def _look(self, active: _Active, tasks: Iterable[str], entries: list[Entry]) -> list[Event]:
        """What the pods of ``tasks`` say; what is only worth noting goes to ``entries``."""
        events: list[Event] = []
        for identity in dict.fromkeys(tasks):
            node = active.machine.in_flight.get(identity)
            if node is None:
                active.due.pop(identity, None)
                continue
            pod = self._pods.get(self._pod_key(active, node))
            if pod is not None:
                event = await self._heard(active, node, pod, entries)
            elif identity in active.due:
                event = await self._make_pod(active, node)  # its next attempt is due
            else:
                event = Failed(identity, f"the pod {self._name(active, node)} was deleted before the step ended")
            if event is not None:
                events.append(event)
        return events

    async def _heard(self, active: _Active, node: Node, pod: Pod, entries: list[Entry]) -> Event | None:
        seen = observe(pod)
        active.due.pop(node.id, None)
        if seen.phase in (Phase.RUNNING, Phase.SUCCEEDED) and node.id not in active.running:
            active.running.add(node.id)  # a short step may never be seen running
            entries.append(Started(node.id))
        if seen.phase is Phase.RUNNING:
            return None
        if seen.phase is Phase.SUCCEEDED:
            return await self._result(active, node)
        if seen.phase is Phase.FAILED:
            return Failed(node.id, seen.message)
        if seen.trouble:
            now = self._now()
            end = (pod.metadata.creation_timestamp or now) + timedelta(seconds=TROUBLE_SECONDS)
            if seen.hopeless or now >= end:
                await self._delete_pod(active, node)
                return Failed(node.id, seen.message)
            active.due[node.id] = end
        if seen.message and active.reasons.get(node.id) != seen.message:
            active.reasons[node.id] = seen.message
            entries.append(Waits(node.id, seen.message))
        return None

    async def _result(self, active: _Active, node: Node) -> Event:
        """What a step that ended well has left in the object store."""
        place = self._place(active, node)

        def new_id(key: str, position: int) -> str:
            return str(uuid.uuid5(_IDS, f"{node.id}/{node.attempt}/{key}/{position}"))

        try:
            document = await self._objects.read(place.artifact_uri(OUTPUT_FILE), _LARGEST_OUTPUT)
            output = StepOutput(node.component, place, document)
            files = {name: await self._objects.read(place.artifact_uri(name), _LARGEST_OUTPUT) for name in output.files}
            return Succeeded(node.id, output.values(files, new_id))
        except (OutputProblem, KeyOutside) as error:
            return Failed(node.id, str(error))

    # Acting

    async def _carry_out(self, active: _Active, events: Sequence[Event], entries: list[Entry]) -> bool:
        """Follow ``events`` to their end: rows first, then pods, then what comes of those. Whether the run is over."""
        pending = deque(events)
        while pending or entries:
            launches: dict[str, Launch] = {}
            while pending:
                while pending:
                    pending.extend(await self._follow(active, pending.popleft(), entries, launches))
                pending.extend(await self._from_cache(active, launches, entries))
            entries.extend(launches.values())
            if not await self._ledger.write(active.run.id, entries, self._now()):
                return True
            for entry in entries:
                if isinstance(entry, FinishRun):
                    log.info("run %s (%s): %s %s", active.run.id, active.run.name, entry.state, entry.error)
                    self._ended(active.run)
                    return True
            entries.clear()
            pending.extend(await self._launch(active, launches.values()))
        return False

    async def _follow(
        self, active: _Active, event: Event, entries: list[Entry], launches: dict[str, Launch]
    ) -> list[Event]:
        """Ask the machine what ``event`` means; do at once what must come before the rows."""
        events: list[Event] = []
        for order in active.machine.handle(event):
            match order:
                case Launch():
                    launches[order.task_id] = order
                    continue
                case Import():
                    events.append(await self._import(active, order))
                case Stop():
                    # before the rows say that it is over, or a crash would leave it running
                    await self._delete_pod(active, active.machine.node(order.task_id))
                case _:
                    pass
            entries.append(order)
        return events

    async def _from_cache(self, active: _Active, launches: dict[str, Launch], entries: list[Entry]) -> list[Event]:
        """Take those out of ``launches`` whose outputs are known from an earlier execution."""
        keys: dict[str, str] = {}
        for identity, order in launches.items():
            node = active.machine.node(identity)
            if order.attempt or identity in active.keyed or self._pods.get(self._pod_key(active, node)) is not None:
                continue
            active.keyed.add(identity)
            if key := cache_key(active.machine.spec, node, active.run.namespace):
                keys[identity] = key
        known: Mapping[str, tuple[str, Values]] = await self._ledger.cached(keys.values()) if keys else {}
        events: list[Event] = []
        for identity, key in keys.items():
            found = known.get(key)
            if found is not None and await self._all_there(found[1]):
                del launches[identity]
                entries.append(Keyed(identity, key, found[0]))
                events.append(Succeeded(identity, found[1], CACHED))
            else:
                entries.append(Keyed(identity, key))
        return events

    async def _all_there(self, outputs: Values) -> bool:
        return all([await self._exists(artifact.uri) for artifact in needed_data(outputs)])

    async def _import(self, active: _Active, order: Import) -> Event:
        if order.reuse:
            known = await self._artifacts.newest_with_uri(order.uri, order.type, active.run.namespace)
            if known is not None and known.properties == order.metadata:
                return _imported(order, known.id)
        return _imported(order, str(uuid.uuid5(_IDS, f"{order.task_id}/{order.uri}")))

    async def _launch(self, active: _Active, orders: Iterable[Launch]) -> list[Event]:
        """Make the pods that are due; take up those that exist. Returns what was learned."""
        entries: list[Entry] = []
        wanted: list[Node] = []
        known: list[str] = []
        for order in orders:
            node = active.machine.in_flight.get(order.task_id)
            if node is None:
                continue
            name = self._name(active, node)
            active.pods[name] = node.id
            if order.attempt and order.error:
                active.running.discard(node.id)
                active.reasons.pop(node.id, None)
                active.due[node.id] = self._now() + timedelta(seconds=order.delay)
            if self._pods.get(ObjectKey(active.run.namespace, name)) is not None or node.id in active.running:
                known.append(node.id)
            elif active.due.get(node.id, self._now()) <= self._now():
                wanted.append(node)
        events = await self._look(active, known, entries)
        for start in range(0, len(wanted), _AT_ONCE):
            made = await asyncio.gather(*(self._make_pod(active, node) for node in wanted[start : start + _AT_ONCE]))
            events += [event for event in made if event is not None]
        if entries:
            await self._ledger.write(active.run.id, entries, self._now())
        return events

    async def _make_pod(self, active: _Active, node: Node) -> Event | None:
        """Create the pod of the node's attempt, unless it is there already. A refusal is the task's failure."""
        active.due.pop(node.id, None)
        try:
            pod = pod_of(self._step(active, node), await self._present(node.inputs))
            await self._client.create(pod, manager=MANAGER)
        except AlreadyExists:
            return None  # made before a crash: its name tells that it is this attempt's
        except PodProblem as error:
            return Failed(node.id, str(error))
        except _REFUSALS as error:
            return Failed(node.id, f"the pod was refused: {error}")
        return None

    async def _present(self, inputs: Values) -> set[str]:
        """The input artifacts whose data the object store has; a missing one is for the step to find out."""
        uris = {each.uri for several in inputs.artifacts.values() for each in several}
        return {uri for uri in uris if await self._exists(uri)}

    async def _exists(self, uri: str) -> bool:
        try:
            return await self._objects.exists(uri)
        except KeyOutside:
            return False

    async def _delete_pod(self, active: _Active, node: Node) -> None:
        try:
            await self._client.delete(Pod, self._name(active, node), active.run.namespace)
        except NotFound:
            return

    # Names

    def _step(self, active: _Active, node: Node) -> Step:
        run, machine = active.run, active.machine
        container = machine.spec.executor(node.component).container
        if container is None:
            raise PodProblem(f"task {node.path} runs no container")
        return Step(
            namespace=run.namespace,
            run_id=run.id,
            task_id=node.id,
            path=node.path,
            pod_name=self._name(active, node),
            attempt=node.attempt,
            retries=bool(node.spec and node.spec.retry_policy.max_retry_count),
            service_account=run.service_account,
            names=machine.names(node),
            place=self._place(active, node),
            component=node.component,
            container=container,
            inputs=node.inputs,
        )

    def _place(self, active: _Active, node: Node) -> TaskPlace:
        run, pipeline = active.run, active.machine.spec.pipeline_info.name
        return place_of(run.pipeline_root, pipeline, run.id, (node.name, node.id), node.attempt)

    def _name(self, active: _Active, node: Node) -> str:
        return pod_name(active.run.name, node.name, node.id, node.attempt)

    def _pod_key(self, active: _Active, node: Node) -> ObjectKey:
        return ObjectKey(active.run.namespace, self._name(active, node))

    def _now(self) -> datetime:
        return self._clock.now()

    def _until_due(self, active: _Active) -> float | None:
        if not active.due:
            return None
        return max(0.0, (min(active.due.values()) - self._now()).total_seconds())


def _imported(order: Import, identity: str) -> Succeeded:
    artifact = Artifact(id=identity, name=order.key, type=order.type, uri=order.uri, metadata=order.metadata)
    return Succeeded(order.task_id, Values({}, {order.key: (artifact,)}))
