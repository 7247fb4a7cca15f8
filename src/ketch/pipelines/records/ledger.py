"""The run's progress as rows: everything one decision changes is written in one transaction.

Each write touches the rows that its orders name and no others, and reads back neither a specification nor what was
written before: the cost of a write does not grow with the run.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, select

from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.tables import Artifact as ArtifactRow
from ketch.pipelines.engine.orders import Create, Finish, Import, TaskFacts
from ketch.pipelines.records.entries import Entry
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import CACHED, FINAL, SUCCEEDED
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.records.writing import BATCH, RunGone, Writing
from ketch.pipelines.values import Artifact, Values

if TYPE_CHECKING:
    from ketch.pipelines.records.progress import TaskProgress

_OUTPUTS = select(Task.id, Task.cache_key, Task.outputs)
_STATE = select(Run.state).where(Run.id == bindparam("run"))


class Ledger:
    """Reads what a machine is rebuilt from and writes what it orders."""

    def __init__(self, store: RunStore, artifacts: ArtifactStore) -> None:
        self._store, self._artifacts = store, artifacts
        self._known: dict[str, dict[str, TaskProgress]] = {}

    async def state(self, run_id: str) -> str | None:
        """The run's state, None when there is no such run."""
        return await self._store.database.read(lambda connection: connection.scalar(_STATE, {"run": run_id}))

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
        wanted = list(dict.fromkeys(keys))

        def work(connection: Connection) -> dict[str, Row[Any]]:
            rows: dict[str, Row[Any]] = {}
            for start in range(0, len(wanted), BATCH):
                alike = Task.cache_key.in_(wanted[start : start + BATCH]), Task.state.in_((SUCCEEDED, CACHED))
                rows |= {
                    row.cache_key: row for row in connection.execute(_OUTPUTS.where(*alike).order_by(Task.finished_at))
                }
            return rows

        rows = await self._store.database.read(work)
        ids = [each for row in rows.values() for each in _ids(row.outputs)]
        artifacts = (
            {identity: _artifact(row) for identity, row in (await self._artifacts.get(ids)).items()} if ids else {}
        )
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

    async def write(self, run: Run, entries: Sequence[Entry], now: datetime) -> str | None:
        """Write all ``entries`` or nothing. The run's state then; None when the run is gone."""
        known = self._known.setdefault(run.id, {})
        writing = Writing(run, known, now)
        try:
            await self._store.database.change(lambda connection: writing.work(connection, entries))
        except RunGone:
            self.forget(run.id)
            return None
        except BaseException:
            self.forget(run.id)  # it may be ahead of the rows
            raise
        if writing.state in FINAL:
            self.forget(run.id)
        for entry in entries:
            if isinstance(entry, (Create, Finish)) and entry.state in FINAL:
                known.pop(entry.id if isinstance(entry, Create) else entry.task_id, None)
        return writing.state

    def forget(self, run_id: str) -> None:
        """What is known of the run's tasks is to be read anew."""
        self._known.pop(run_id, None)


def _artifact_ids(row: Task) -> Iterable[str]:
    for values in (row.inputs, row.outputs):
        yield from _ids(values)


def _ids(values: Mapping[str, Any]) -> Iterable[str]:
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
