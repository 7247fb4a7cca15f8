"""What clients may add to the record of a run: tasks, artifacts, links between them.

The engine alone writes what it drives: its tasks, their links, their artifacts. A client adds tasks of its own below
them, and artifacts and links of these tasks; nothing that it writes is ever read by the engine. A run that is over
takes no new tasks, a task that is over does not change any more.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import orjson
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from ketch.kube.clock import Clock
from ketch.metadata.database import Database
from ketch.metadata.tables import OUTPUT, Artifact, ArtifactTask
from ketch.pipelines.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from ketch.pipelines.records.states import CACHED, FAILED, FINAL, RUNNING, SKIPPED, SUCCEEDED, history_entry
from ketch.pipelines.records.tables import ReportedTask, Run, Task

MAX_REPORTED: Final = 10_000
"""Tasks that clients may add to one run."""

MAX_CONTENT: Final = 256 * 1024
"""Bytes of JSON that a reported task may hold."""

MAX_NAME: Final = 255
MAX_URI: Final = 4096
TASK_STATES: Final = frozenset({RUNNING, SUCCEEDED, SKIPPED, FAILED, CACHED})


@dataclass(frozen=True, slots=True)
class TaskReport:
    """What a client says of a task; None and empty texts say nothing."""

    name: str = ""
    display_name: str = ""
    parent_id: str = ""
    state: str = ""
    cache_fingerprint: str = ""
    content: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class ArtifactReport:
    """An artifact, and the reported task that made it, if one did."""

    name: str
    type: str
    uri: str = ""
    description: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict[str, Any])
    number_value: float | None = None
    namespace: str = ""
    run_id: str = ""
    task_id: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class LinkReport:
    """A reported task has read or made an artifact."""

    artifact_id: str
    run_id: str
    task_id: str
    role: str
    key: str


class ReportStore:
    """Writes what clients report; each call is one transaction."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create_task(self, run_id: str, report: TaskReport) -> ReportedTask:
        """A new task of a run that is not over. Raises InvalidInput, NotFound, FailedPrecondition."""
        if not report.name or max(len(report.name), len(report.display_name)) > MAX_NAME:
            raise InvalidInput(f"name: a task needs a name of 1 to {MAX_NAME} characters")
        now = self._clock.now()
        async with self._database.transaction() as session:
            run = await session.get(Run, run_id)
            if run is None:
                raise NotFound(f"Run {run_id} not found")
            if run.state in FINAL:
                raise FailedPrecondition(f"Run {run_id} is over ({run.state}): no task can be added to it")
            count = await session.scalar(
                select(func.count()).select_from(ReportedTask).where(ReportedTask.run_id == run_id)
            )
            if (count or 0) >= MAX_REPORTED:
                raise FailedPrecondition(f"Run {run_id} has {MAX_REPORTED} reported tasks already")
            await _check_parent(session, run_id, report.parent_id)
            task = ReportedTask(
                id=str(uuid4()),
                run_id=run_id,
                name=report.name,
                display_name=report.display_name or report.name,
                parent_id=report.parent_id,
                state="",
                state_history=[],
                cache_fingerprint=report.cache_fingerprint,
                content=_checked(report.content),
                created_at=now,
            )
            self._advance(task, report.state or RUNNING)
            session.add(task)
            return task

    async def update_tasks(self, run_id: str, reports: Mapping[str, TaskReport]) -> Sequence[ReportedTask]:
        """Change tasks by id, all or none. Raises InvalidInput, NotFound, FailedPrecondition."""
        async with self._database.transaction() as session:
            return [await self._update(session, run_id, task_id, report) for task_id, report in reports.items()]

    async def _update(self, session: AsyncSession, run_id: str, task_id: str, report: TaskReport) -> ReportedTask:
        task = await _reported(session, run_id, task_id)
        if task.state in FINAL:
            raise FailedPrecondition(f"Task {task_id} is over ({task.state}) and cannot be changed any more")
        for name, given, now in (
            ("name", report.name, task.name),
            ("parent_task_id", report.parent_id, task.parent_id),
            ("cache_fingerprint", report.cache_fingerprint, task.cache_fingerprint),
        ):
            if given and now and given != now:
                raise InvalidInput(f"{name}: cannot be changed")
        if len(report.display_name) > MAX_NAME:
            raise InvalidInput(f"display_name: at most {MAX_NAME} characters")
        task.display_name = report.display_name or task.display_name
        task.cache_fingerprint = report.cache_fingerprint or task.cache_fingerprint
        task.content = _checked({**task.content, **report.content})
        if report.state:
            self._advance(task, report.state)
        return task

    def _advance(self, task: ReportedTask, state: str) -> None:
        if state not in TASK_STATES:
            raise InvalidInput(f"state: {state!r} is none of {', '.join(sorted(TASK_STATES))}")
        if task.state == state:
            return
        now = self._clock.now()
        task.state = state
        task.state_history = [*task.state_history, history_entry(state, now)]
        task.finished_at = now if state in FINAL else None

    async def create_artifacts(self, reports: Sequence[ArtifactReport]) -> Sequence[Artifact]:
        """New artifacts, with links to the tasks that made them. Raises InvalidInput, NotFound, FailedPrecondition."""
        made: list[Artifact] = []
        async with self._database.transaction() as session:
            for report in reports:
                namespace = await self._namespace(session, report)
                artifact = Artifact(
                    id=str(uuid4()),
                    namespace=namespace,
                    type=report.type,
                    name=report.name,
                    description=report.description,
                    uri=report.uri,
                    properties=dict(report.properties),
                    number_value=report.number_value,
                    created_at=self._clock.now(),
                )
                session.add(artifact)
                await session.flush()
                if report.task_id:
                    await _link(session, LinkReport(artifact.id, report.run_id, report.task_id, OUTPUT, report.key))
                made.append(artifact)
        return made

    async def _namespace(self, session: AsyncSession, report: ArtifactReport) -> str:
        """Where the artifact belongs. Raises InvalidInput and NotFound for what cannot be recorded."""
        if not 0 < len(report.name) <= MAX_NAME:
            raise InvalidInput(f"artifact.name: an artifact needs a name of 1 to {MAX_NAME} characters")
        if len(report.uri) > MAX_URI:
            raise InvalidInput(f"artifact.uri: at most {MAX_URI} characters")
        if report.task_id and not (report.run_id and report.key):
            raise InvalidInput("run_id and producer_key are needed with task_id")
        if not report.run_id:
            return report.namespace
        run = await session.get(Run, report.run_id)
        if run is None:
            raise NotFound(f"Run {report.run_id} not found")
        if report.namespace not in ("", run.namespace):
            raise InvalidInput(f"artifact.namespace: the run's is {run.namespace}")
        return run.namespace

    async def create_links(self, reports: Sequence[LinkReport]) -> Sequence[ArtifactTask]:
        """New links, all or none. Raises InvalidInput, NotFound, AlreadyExists, FailedPrecondition."""
        async with self._database.transaction() as session:
            return [await _link(session, report) for report in reports]


async def _link(session: AsyncSession, report: LinkReport) -> ArtifactTask:
    if not 0 < len(report.key) <= MAX_NAME:
        raise InvalidInput(f"key: a link needs one of 1 to {MAX_NAME} characters")
    task = await _reported(session, report.run_id, report.task_id)
    if await session.get(Artifact, report.artifact_id) is None:
        raise NotFound(f"Artifact {report.artifact_id} not found")
    same = (
        ArtifactTask.task_id == task.id,
        ArtifactTask.role == report.role,
        ArtifactTask.key == report.key,
    )
    twice = select(ArtifactTask).where(*same, ArtifactTask.artifact_id == report.artifact_id)
    if await session.scalar(twice) is not None:
        raise AlreadyExists(f"Task {task.id} has artifact {report.artifact_id} as {report.key} already")
    position = await session.scalar(select(func.count()).select_from(ArtifactTask).where(*same))
    link = ArtifactTask(
        task_id=task.id,
        role=report.role,
        key=report.key,
        position=position or 0,
        artifact_id=report.artifact_id,
        run_id=task.run_id,
    )
    session.add(link)
    await session.flush()
    return link


async def _reported(session: AsyncSession, run_id: str, task_id: str) -> ReportedTask:
    """The client's task. Raises NotFound; FailedPrecondition for one that the engine drives."""
    found = await session.get(ReportedTask, task_id)
    if found is not None and found.run_id == run_id:
        return found
    driven = await session.get(Task, task_id)
    if driven is not None and driven.run_id == run_id:
        raise FailedPrecondition(
            f"Task {task_id} is driven by the platform, which alone records it; add a task below it instead"
        )
    raise NotFound(f"Run {run_id} has no task {task_id}")


async def _check_parent(session: AsyncSession, run_id: str, parent_id: str) -> None:
    if not parent_id:
        return
    for kind in (Task, ReportedTask):
        parent = await session.get(kind, parent_id)
        if parent is not None and parent.run_id == run_id:
            return
    raise InvalidInput(f"parent_task_id: run {run_id} has no task {parent_id}")


def _checked(content: Mapping[str, Any]) -> Mapping[str, Any]:
    if (size := len(orjson.dumps(content))) > MAX_CONTENT:
        raise InvalidInput(f"a task holds at most {MAX_CONTENT} bytes of JSON, not {size}")
    return dict(content)


async def cached_task(
    database: Database, fingerprint: str, states: Collection[str] = (SUCCEEDED, CACHED)
) -> Task | ReportedTask | None:
    """The newest task with this fingerprint that ended well."""
    newest: list[Task | ReportedTask] = []
    async with database.session() as session:
        for kind, column in ((Task, Task.cache_key), (ReportedTask, ReportedTask.cache_fingerprint)):
            query = select(kind).where(column == fingerprint, kind.state.in_(states))
            found = await session.scalar(query.order_by(kind.finished_at.desc()).limit(1))
            newest += [found] if found is not None else []
    return max(newest, key=lambda task: task.finished_at or task.created_at, default=None)
