"""One transaction of a run's progress: orders become rows, a table at a time. Pure but for the connection.

Rows are told as plain columns in few statements, each for many rows: of a task that is created and ends in the same
transaction there is one insert, and of what has not changed nothing is written.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, delete, select

from ketch.metadata.tables import INPUT, OUTPUT
from ketch.metadata.tables import Artifact as ArtifactRow
from ketch.metadata.tables import ArtifactTask as Link
from ketch.pipelines.engine.orders import Create, Finish, FinishRun, Forget, Launch, Order, Reopen
from ketch.pipelines.records.entries import Entry, Keyed, Started, Waits
from ketch.pipelines.records.progress import (
    RUN_CHANGES,
    RUN_FIELDS,
    TASK_CHANGES,
    TASK_FIELDS,
    RunProgress,
    TaskProgress,
    values_of,
)
from ketch.pipelines.records.states import CACHED, CONTAINER, IMPORTER, PENDING, RUNNING, advance_run, advance_task
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.steps.step import pod_name
from ketch.pipelines.values import NOTHING, Artifact, Values

UNKNOWN: Final = 2
"""google.rpc.Code of a failure that has no better one."""

BATCH: Final = 500
"""Ids in one IN list; SQLite's parameters are bounded."""

_TURN: Final = 250
"""Entries after which others on the loop have a turn: a large loop begins with thousands."""


def _table(kind: Any) -> Table:
    return kind.__table__


_RUNS, _TASKS, _LINKS, _ARTIFACTS = _table(Run), _table(Task), _table(Link), _table(ArtifactRow)
_STATE = select(_RUNS.c.state).where(_RUNS.c.id == bindparam("run"))
_PROGRESS_OF_RUN = select(*(_RUNS.c[name] for name in RUN_FIELDS)).where(_RUNS.c.id == bindparam("run"))
_CHANGE_RUN = _RUNS.update().where(_RUNS.c.id == bindparam("run"))
_PROGRESS = select(*(_TASKS.c[name] for name in TASK_FIELDS))
_CHANGE_TASK = _TASKS.update().where(_TASKS.c.id == bindparam("task"))
_STEPS: Final = (CONTAINER, IMPORTER)
_CHANGES = (Finish, Launch, Reopen, Started, Waits, Keyed)


class RunGone(Exception):
    """There is no such run any more."""


class Writing:
    """What one transaction changes of ``run``; ``tasks`` are those whose progress is known, and comes to be."""

    def __init__(self, run: Run, tasks: dict[str, TaskProgress], now: datetime) -> None:
        self.state = ""
        """The run's state as the transaction leaves it."""
        self._run, self._tasks, self._now = run, tasks, now
        self._created = 0
        self._inserts: dict[str, dict[str, Any]] = {}
        self._changed: set[str] = set()
        self._outputs: dict[str, Mapping[str, Any]] = {}
        self._forgotten: list[str] = []
        self._links: list[dict[str, Any]] = []
        self._artifacts: dict[str, Artifact] = {}
        self._maybe_known: set[str] = set()

    def work(self, connection: Connection, entries: Sequence[Entry]) -> Iterator[None]:
        """Take ``entries`` and write the rows; of very many, some at a time. Raises RunGone."""
        state = connection.scalar(_STATE, {"run": self._run.id})
        if state is None:
            raise RunGone
        self.state = state
        for start in range(0, len(entries), _TURN):
            if start:
                yield
            some = entries[start : start + _TURN]
            self._load(connection, some)
            for entry in some:
                self._take(connection, entry)
            self._flush(connection)
        if self.state == PENDING:
            self._advance(connection, RUNNING)  # of which something is written, runs

    def _advance(self, connection: Connection, state: str, error: str = "") -> None:
        run = RunProgress(**connection.execute(_PROGRESS_OF_RUN, {"run": self._run.id}).mappings().one())
        advance_run(run, state, self._now, _status(error) if error else None)
        connection.execute(_CHANGE_RUN, {"run": self._run.id, **values_of(run, RUN_CHANGES)})
        self.state = run.state

    def _load(self, connection: Connection, entries: Iterable[Entry]) -> None:
        """Fetch the progress that is to change and not known, a batch at a time."""
        made = {entry.id for entry in entries if isinstance(entry, Create)}
        named = (entry.task_id for entry in entries if isinstance(entry, _CHANGES))
        ids = [each for each in dict.fromkeys(named) if each not in made and each not in self._tasks]
        for start in range(0, len(ids), BATCH):
            query = _PROGRESS.where(_TASKS.c.id.in_(ids[start : start + BATCH]))
            for row in connection.execute(query).mappings():
                self._tasks[row["id"]] = TaskProgress(**row)

    # Taking

    def _take(self, connection: Connection, entry: Entry) -> None:
        match entry:
            case Create():
                self._create(entry)
            case Forget():
                self._forget(entry.task_id)
            case FinishRun():
                self._advance(connection, entry.state, entry.error)
            case Launch() | Finish() | Started() | Waits() | Keyed() | Reopen():
                self._changed.add(entry.task_id)
                self._change(self._tasks[entry.task_id], entry)
            case _:
                pass  # imports and stops concern the world, not the rows

    def _change(self, task: TaskProgress, entry: Order | Started | Waits | Keyed) -> None:
        match entry:
            case Launch():
                self._launch(task, entry)
            case Finish():
                self._finish(task, entry)
            case Started():
                advance_task(task, RUNNING, self._now)
            case Waits():
                task.error = _status(entry.reason)
            case Keyed():
                task.cache_key, task.cached_from = entry.key, entry.source
            case Reopen():
                self._reopen(task, entry)
            case _:
                pass

    def _create(self, order: Create) -> None:
        task = self._tasks[order.id] = TaskProgress(id=order.id, name=order.name, kind=order.kind, state=PENDING)
        self._inserts[order.id] = {
            "run_id": self._run.id,
            "path": order.path,
            "display_name": order.display_name,
            "parent_id": order.parent_id,
            "iteration": order.iteration,
            "iteration_count": order.iteration_count,
            "created_at": self._now + timedelta(microseconds=self._created),  # keeps the order of creation
            "inputs": values_json(order.inputs),
        }
        self._created += 1
        advance_task(task, order.state, self._now, _status(order.error) if order.error else None)
        if order.kind in _STEPS:
            self._link(order.id, INPUT, order.inputs.artifacts)

    def _launch(self, task: TaskProgress, order: Launch) -> None:
        name = pod_name(self._run.name, task.name, task.id, order.attempt) if order.in_pod else ""
        if name and task.pod_name == name:
            return
        if task.pod_name:
            task.failed_pods = [*task.failed_pods, task.pod_name]
        task.pod_name, task.attempt = name, order.attempt
        task.retry_at = self._now + timedelta(seconds=order.delay) if order.delay else None
        if order.error:
            advance_task(task, PENDING, self._now, _status(order.error))

    def _reopen(self, task: TaskProgress, order: Reopen) -> None:
        self._outputs[task.id], task.started_at = values_json(NOTHING), None
        if task.kind not in _STEPS:
            task.attempt = order.attempt  # a step's follows with its launch
        advance_task(task, order.state, self._now)

    def _finish(self, task: TaskProgress, order: Finish) -> None:
        self._outputs[task.id] = values_json(order.outputs)
        if task.kind == IMPORTER and task.started_at is None:
            task.started_at = self._now  # no pod tells of it; what has no start was taken from the cache
        advance_task(task, order.state, self._now, _status(order.error) if order.error else None)
        if task.kind not in _STEPS:
            return
        for artifact in (each for several in order.outputs.artifacts.values() for each in several):
            self._artifacts[artifact.id] = artifact
            if task.kind == IMPORTER or order.state == CACHED:
                self._maybe_known.add(artifact.id)
        self._link(task.id, OUTPUT, order.outputs.artifacts)

    def _forget(self, task_id: str) -> None:
        """Remove a task with its links, also one that this transaction has made."""
        self._tasks.pop(task_id, None)
        self._inserts.pop(task_id, None)
        self._outputs.pop(task_id, None)
        self._changed.discard(task_id)
        self._links = [link for link in self._links if link["task_id"] != task_id]
        self._forgotten.append(task_id)

    def _link(self, task_id: str, role: str, artifacts: Mapping[str, tuple[Artifact, ...]]) -> None:
        self._links += [
            {
                "task_id": task_id,
                "role": role,
                "key": key,
                "position": position,
                "artifact_id": artifact.id,
                "run_id": self._run.id,
            }
            for key, several in artifacts.items()
            for position, artifact in enumerate(several)
        ]

    # Writing

    def _flush(self, connection: Connection) -> None:
        for start in range(0, len(self._forgotten), BATCH):
            gone = self._forgotten[start : start + BATCH]
            connection.execute(delete(_LINKS).where(_LINKS.c.task_id.in_(gone)))
            connection.execute(delete(_TASKS).where(_TASKS.c.id.in_(gone)))
        if artifacts := self._new_artifacts(connection):
            connection.execute(_ARTIFACTS.insert(), artifacts)
        if self._inserts:
            nothing = values_json(NOTHING)
            rows = [
                {**fixed, **values_of(self._tasks[each], TASK_FIELDS), "outputs": self._outputs.get(each, nothing)}
                for each, fixed in self._inserts.items()
            ]
            connection.execute(_TASKS.insert(), rows)
        changed = [each for each in self._changed if each not in self._inserts]
        with_outputs = [
            self._changes(each) | {"outputs": self._outputs[each]} for each in changed if each in self._outputs
        ]
        others = [self._changes(each) for each in changed if each not in self._outputs]
        for rows in (with_outputs, others):
            if rows:
                connection.execute(_CHANGE_TASK, rows)
        if self._links:
            connection.execute(_LINKS.insert(), self._links)
        for done in (self._inserts, self._changed, self._outputs, self._forgotten, self._links, self._artifacts):
            done.clear()
        self._maybe_known.clear()

    def _changes(self, task_id: str) -> dict[str, Any]:
        return {"task": task_id, **values_of(self._tasks[task_id], TASK_CHANGES)}

    def _new_artifacts(self, connection: Connection) -> list[dict[str, Any]]:
        """Rows of those artifacts that are not in the lineage already."""
        asked, known = sorted(self._maybe_known), set[str]()
        for start in range(0, len(asked), BATCH):
            query = select(_ARTIFACTS.c.id).where(_ARTIFACTS.c.id.in_(asked[start : start + BATCH]))
            known.update(connection.scalars(query))
        return [self._artifact_row(each) for identity, each in self._artifacts.items() if identity not in known]

    def _artifact_row(self, artifact: Artifact) -> dict[str, Any]:
        return {
            "id": artifact.id,
            "namespace": self._run.namespace,
            "type": artifact.type,
            "name": artifact.name,
            "uri": artifact.uri,
            "metadata": artifact.metadata,
            "created_at": self._now,
        }


def values_json(values: Values) -> Mapping[str, Any]:
    """Inputs or outputs as a row has them."""
    artifacts = {key: [artifact.id for artifact in several] for key, several in values.artifacts.items()}
    return {"parameters": dict(values.parameters), "artifacts": artifacts}


def _status(message: str) -> Mapping[str, Any]:
    return {"code": UNKNOWN, "message": message}
