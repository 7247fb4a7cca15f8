"""The run's progress as rows: everything one decision changes is written in one transaction.

Each write touches the rows that its orders name and no others, and never reads a specification back: the cost of a
write does not grow with the run.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from ketch.kube.clock import SYSTEM_CLOCK, Clock
from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.tables import INPUT, OUTPUT
from ketch.metadata.tables import Artifact as ArtifactRow
from ketch.metadata.tables import ArtifactTask as Link
from ketch.pipelines.engine.orders import Create, Finish, FinishRun, Forget, Import, Launch, Order, Reopen, TaskFacts
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import (
    CACHED,
    CONTAINER,
    IMPORTER,
    PENDING,
    RUNNING,
    SUCCEEDED,
    advance_run,
    advance_task,
)
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.steps.step import pod_name
from ketch.pipelines.values import NOTHING, Artifact, Values

UNKNOWN: Final = 2
"""google.rpc.Code of a failure that has no better one."""

_BATCH: Final = 500  # ids in one IN list; SQLite's parameters are bounded
_TURN: Final = 250  # entries after which others on the loop have a turn: a large loop begins with thousands
_HEAVY = (defer(Run.pipeline_spec), defer(Run.platform_spec), defer(Run.parameters), defer(Run.description))


class Started(msgspec.Struct, frozen=True):
    """A task's step runs."""

    task_id: str


class Waits(msgspec.Struct, frozen=True):
    """A task's step does not run yet, for this reason."""

    task_id: str
    reason: str


class Keyed(msgspec.Struct, frozen=True):
    """A task's outputs are to be found under ``key``, or were taken from the task ``source``."""

    task_id: str
    key: str
    source: str | None = None


Entry = Order | Started | Waits | Keyed


class Ledger:
    """Reads what a machine is rebuilt from and writes what it orders."""

    def __init__(self, store: RunStore, artifacts: ArtifactStore, clock: Clock = SYSTEM_CLOCK) -> None:
        self._store, self._artifacts, self._clock = store, artifacts, clock

    async def state(self, run_id: str) -> str | None:
        """The run's state, None when there is no such run."""
        async with self._store.database.session() as session:
            return await session.scalar(select(Run.state).where(Run.id == run_id))

    async def run(self, run_id: str) -> Run | None:
        """The whole run."""
        return await self._store.get(run_id)

    async def tasks(self, run_id: str) -> Sequence[tuple[Task, TaskFacts]]:
        """All tasks with their values."""
        rows = await self._store.tasks(run_id)
        wanted = [identity for row in rows for identity in _artifact_ids(row)]
        found = await self._artifacts.get(wanted)
        artifacts = {identity: _artifact(row) for identity, row in found.items()}
        return [(row, _facts(row, artifacts)) for row in rows]

    async def cached(self, keys: Iterable[str]) -> Mapping[str, tuple[str, Values]]:
        """By cache key, the newest task that ended well under it, and its outputs."""
        wanted, rows = list(dict.fromkeys(keys)), dict[str, Task]()
        async with self._store.database.session() as session:
            for start in range(0, len(wanted), _BATCH):
                query = (
                    select(Task)
                    .where(Task.cache_key.in_(wanted[start : start + _BATCH]), Task.state.in_((SUCCEEDED, CACHED)))
                    .order_by(Task.finished_at)
                )
                rows |= {row.cache_key: row for row in await session.scalars(query)}
        found = await self._artifacts.get(each for row in rows.values() for each in _artifact_ids(row))
        artifacts = {identity: _artifact(row) for identity, row in found.items()}
        return {key: (row.id, _values(row.outputs, artifacts)) for key, row in rows.items()}

    async def imported(self, order: Import, namespace: str) -> str | None:
        """The id of the newest artifact with the address, type and metadata that an importer names."""
        query = (
            select(ArtifactRow.id, ArtifactRow.properties)
            .where(ArtifactRow.uri == order.uri, ArtifactRow.type == order.type, ArtifactRow.namespace == namespace)
            .order_by(ArtifactRow.created_at.desc(), ArtifactRow.id)
        )
        async with self._store.database.session() as session:
            found = await session.execute(query)
            return next((identity for identity, metadata in found if metadata == order.metadata), None)

    async def write(self, run_id: str, entries: Sequence[Entry], now: datetime) -> bool:
        """Write all ``entries`` or nothing. False when the run is gone."""
        async with self._store.database.transaction() as session:
            run = await session.get(Run, run_id, options=_HEAVY)
            if run is None:
                return False
            writing = _Writing(session, run, now)
            await writing.load(entries)
            for number, entry in enumerate(entries, 1):
                await writing.write(entry)
                if number % _TURN == 0:
                    await session.flush()
                    await self._clock.sleep(0)
            if run.state == PENDING:
                advance_run(run, RUNNING, now)
        return True


_CHANGES = (Finish, Launch, Reopen, Started, Waits, Keyed)


class _Writing:
    """One transaction's work."""

    def __init__(self, session: AsyncSession, run: Run, now: datetime) -> None:
        self.session, self.run, self.now = session, run, now
        self.rows: dict[str, Task] = {}
        self.created = 0

    async def load(self, entries: Iterable[Entry]) -> None:
        """Fetch the rows that will change, a batch at a time."""
        made = {entry.id for entry in entries if isinstance(entry, Create)}
        named = (entry.task_id for entry in entries if isinstance(entry, _CHANGES))
        ids = [identity for identity in dict.fromkeys(named) if identity not in made]
        for start in range(0, len(ids), _BATCH):
            query = select(Task).where(Task.id.in_(ids[start : start + _BATCH]))
            self.rows |= {row.id: row for row in await self.session.scalars(query)}

    async def write(self, entry: Entry) -> None:
        match entry:
            case Create():
                self.create(entry)
            case Launch():
                self.launch(self.rows[entry.task_id], entry)
            case Finish():
                await self.finish(self.rows[entry.task_id], entry)
            case Started():
                advance_task(self.rows[entry.task_id], RUNNING, self.now)
            case Waits():
                self.rows[entry.task_id].error = _status(entry.reason)
            case Keyed():
                row = self.rows[entry.task_id]
                row.cache_key, row.cached_from = entry.key, entry.source
            case Reopen():
                self.reopen(self.rows[entry.task_id], entry)
            case Forget():
                await self.session.execute(delete(Link).where(Link.task_id == entry.task_id))
                await self.session.execute(delete(Task).where(Task.id == entry.task_id))
            case FinishRun():
                advance_run(self.run, entry.state, self.now, _status(entry.error) if entry.error else None)
            case _:
                pass  # imports and stops concern the world, not the rows

    def create(self, order: Create) -> None:
        row = Task(
            id=order.id,
            run_id=self.run.id,
            path=order.path,
            name=order.name,
            display_name=order.display_name,
            kind=order.kind,
            parent_id=order.parent_id,
            iteration=order.iteration,
            iteration_count=order.iteration_count,
            state=PENDING,
            created_at=self.now + timedelta(microseconds=self.created),  # keeps the order of creation
            inputs=_values_json(order.inputs),
            outputs=_values_json(NOTHING),
            attempt=0,
            failed_pods=[],
            pod_name="",
            state_history=[],
        )
        self.created += 1
        advance_task(row, order.state, self.now, _status(order.error) if order.error else None)
        self.rows[order.id] = row
        self.session.add(row)
        if order.kind in (CONTAINER, IMPORTER):
            self.link(order.id, INPUT, order.inputs.artifacts)

    def launch(self, row: Task, order: Launch) -> None:
        name = pod_name(self.run.name, row.name, row.id, order.attempt) if order.in_pod else ""
        if name and row.pod_name == name:
            return
        if row.pod_name:
            row.failed_pods = [*row.failed_pods, row.pod_name]
        row.pod_name, row.attempt = name, order.attempt
        row.retry_at = self.now + timedelta(seconds=order.delay) if order.delay else None
        if order.error:
            advance_task(row, PENDING, self.now, _status(order.error))

    def reopen(self, row: Task, order: Reopen) -> None:
        row.outputs, row.started_at = _values_json(NOTHING), None
        if row.kind not in (CONTAINER, IMPORTER):
            row.attempt = order.attempt  # a step's follows with its launch
        advance_task(row, order.state, self.now)

    async def finish(self, row: Task, order: Finish) -> None:
        row.outputs = _values_json(order.outputs)
        if row.kind == IMPORTER and row.started_at is None:
            row.started_at = self.now  # no pod tells of it; what has no start was taken from the cache
        advance_task(row, order.state, self.now, _status(order.error) if order.error else None)
        if row.kind not in (CONTAINER, IMPORTER):
            return
        known = row.kind == IMPORTER or order.state == CACHED
        for artifact in (each for several in order.outputs.artifacts.values() for each in several):
            if not known or await self.session.get(ArtifactRow, artifact.id) is None:
                self.session.add(self.artifact_row(artifact))
        self.link(row.id, OUTPUT, order.outputs.artifacts)

    def artifact_row(self, artifact: Artifact) -> ArtifactRow:
        return ArtifactRow(
            id=artifact.id,
            namespace=self.run.namespace,
            type=artifact.type,
            name=artifact.name,
            uri=artifact.uri,
            properties=artifact.metadata,
            created_at=self.now,
        )

    def link(self, task_id: str, role: str, artifacts: Mapping[str, tuple[Artifact, ...]]) -> None:
        for key, several in artifacts.items():
            for position, artifact in enumerate(several):
                self.session.add(
                    Link(
                        task_id=task_id,
                        role=role,
                        key=key,
                        position=position,
                        artifact_id=artifact.id,
                        run_id=self.run.id,
                    )
                )


def _status(message: str) -> Mapping[str, Any]:
    return {"code": UNKNOWN, "message": message}


def _values_json(values: Values) -> Mapping[str, Any]:
    artifacts = {key: [artifact.id for artifact in several] for key, several in values.artifacts.items()}
    return {"parameters": dict(values.parameters), "artifacts": artifacts}


def _artifact_ids(row: Task) -> Iterable[str]:
    for values in (row.inputs, row.outputs):
        for several in values.get("artifacts", {}).values():
            yield from several


def _artifact(row: ArtifactRow) -> Artifact:
    return Artifact(id=row.id, name=row.name, type=row.type, uri=row.uri, metadata=row.properties)


def _values(stored: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> Values:
    lists = {
        key: tuple(artifacts[identity] for identity in several if identity in artifacts)
        for key, several in stored.get("artifacts", {}).items()
    }
    return Values(stored.get("parameters", {}), lists)


def _facts(row: Task, artifacts: Mapping[str, Artifact]) -> TaskFacts:
    return TaskFacts(
        id=row.id,
        path=row.path,
        state=row.state,
        inputs=_values(row.inputs, artifacts),
        outputs=_values(row.outputs, artifacts),
        error=str((row.error or {}).get("message", "")),
        attempt=row.attempt,
        iteration_count=row.iteration_count,
        launched=bool(row.pod_name),
    )
