"""Lineage as a graph: from artifacts, executions or whole contexts to all they came from and all that came of them.

Artifacts and events (an execution read or made an artifact) are rows here; executions and contexts (a run, a study, a
training job) belong to the domains, which tell of them through ``Domain``. A search follows each artifact and each
execution once, a level at a time: what it costs grows with what it finds.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Flag, auto
from typing import Any, Final, Protocol

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from ketch.metadata.artifacts import ArtifactStore
from ketch.metadata.database import Database
from ketch.metadata.tables import INPUT, OUTPUT, Artifact, ArtifactTask

MAX_EVENTS: Final = 10_000
"""Where a search ends, as one answer would be too large; it then says that it is not complete."""

KEY: Final = (ArtifactTask.task_id, ArtifactTask.role, ArtifactTask.key, ArtifactTask.position)
"""What identifies an event."""

_BATCH: Final = 500  # ids in one IN list; SQLite's parameters are bounded


class Direction(Flag):
    """Where to look: at what something came from, at what came of it, or both."""

    UPSTREAM = auto()
    DOWNSTREAM = auto()
    BOTH = UPSTREAM | DOWNSTREAM


@dataclass(frozen=True, slots=True)
class Execution:
    """Something that reads and makes artifacts, as its domain tells of it."""

    id: str
    context_id: str
    kind: str
    name: str
    state: str
    created_at: datetime
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What executions belong to together: a run."""

    id: str
    kind: str
    name: str
    state: str
    created_at: datetime


class Domain(Protocol):
    """Whoever has executions: a domain tells of those that are its own and leaves the others out."""

    async def executions(self, ids: Collection[str]) -> Mapping[str, Execution]:
        """Its executions among ``ids``."""
        ...

    async def contexts(self, ids: Collection[str]) -> Mapping[str, Context]:
        """Its contexts among ``ids``."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """Where a search begins; a context stands for all of its executions."""

    artifact_ids: Collection[str] = ()
    execution_ids: Collection[str] = ()
    context_ids: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """What a search found. Executions and contexts that have been deleted since are in events only."""

    artifacts: Mapping[str, Artifact]
    executions: Mapping[str, Execution]
    contexts: Mapping[str, Context]
    events: Sequence[ArtifactTask]
    complete: bool


@dataclass
class _Search:
    """What is known so far; the new ones are what the next level starts from."""

    limit: int
    artifacts: set[str] = field(default_factory=set[str])
    executions: set[str] = field(default_factory=set[str])
    events: dict[tuple[str, str, str, int], ArtifactTask] = field(
        default_factory=dict[tuple[str, str, str, int], ArtifactTask]
    )
    complete: bool = True

    def add(self, found: Iterable[ArtifactTask]) -> None:
        """Note events and what they speak of."""
        for event in found:
            if len(self.events) >= self.limit:
                self.complete = False
                return
            self.events[event.task_id, event.role, event.key, event.position] = event
            self.artifacts.add(event.artifact_id)
            self.executions.add(event.task_id)


class Lineage:
    """The graph over all domains."""

    def __init__(self, database: Database, domains: Sequence[Domain]) -> None:
        self._database, self._artifacts, self._domains = database, ArtifactStore(database), domains

    async def search(
        self, start: Start, direction: Direction = Direction.BOTH, depth: int | None = None, limit: int = MAX_EVENTS
    ) -> Graph:
        """All within ``depth`` executions of the start (None: however far), at most ``limit`` events of it."""
        search = _Search(limit, set(start.artifact_ids), set(start.execution_ids))
        async with self._database.session() as session:
            search.add(await _events(session, ArtifactTask.run_id, start.context_ids, limit))
            artifacts, executions = frozenset(search.artifacts), frozenset(search.executions)
            for way, towards, away in (
                (Direction.UPSTREAM, OUTPUT, INPUT),
                (Direction.DOWNSTREAM, INPUT, OUTPUT),
            ):
                if way in direction:
                    await _follow(session, search, (artifacts, executions), (towards, away), depth)
        return await self._graph(search)

    async def _graph(self, search: _Search) -> Graph:
        executions: dict[str, Execution] = {}
        contexts: dict[str, Context] = {}
        context_ids = {event.run_id for event in search.events.values()}
        for domain in self._domains:
            executions |= await domain.executions(search.executions)
        context_ids |= {execution.context_id for execution in executions.values()}
        for domain in self._domains:
            contexts |= await domain.contexts(context_ids)
        artifacts = await self._artifacts.get(search.artifacts)
        return Graph(artifacts, executions, contexts, tuple(search.events.values()), search.complete)


async def _follow(
    session: AsyncSession,
    search: _Search,
    begin: tuple[Collection[str], Collection[str]],
    roles: tuple[str, str],
    depth: int | None,
) -> None:
    """One way: by ``roles[0]`` from artifacts to executions, by ``roles[1]`` from those to artifacts."""
    towards, away = roles
    artifacts, executions = set(begin[0]), set(begin[1])
    followed: tuple[set[str], set[str]] = (set(), set())
    step = 0
    while (artifacts or executions) and search.complete:
        # Executions that the search began with come first: their own artifacts are at the same distance.
        found = await _events(session, ArtifactTask.task_id, executions - followed[1], search.limit, away)
        followed[1].update(executions)
        search.add(found)
        artifacts |= {event.artifact_id for event in found}
        if depth is not None and step >= depth:
            return
        step += 1
        made = await _events(session, ArtifactTask.artifact_id, artifacts - followed[0], search.limit, towards)
        followed[0].update(artifacts)
        search.add(made)
        executions = {event.task_id for event in made} - followed[1]
        artifacts = set[str]()


async def _events(
    session: AsyncSession, column: InstrumentedAttribute[Any], ids: Collection[str], limit: int, role: str = ""
) -> Sequence[ArtifactTask]:
    """The events of these ids, in the order of their keys; one more than ``limit`` tells that there are more."""
    found: list[ArtifactTask] = []
    ordered = sorted(ids)
    for start in range(0, len(ordered), _BATCH):
        query = select(ArtifactTask).where(column.in_(ordered[start : start + _BATCH]))
        query = query.where(ArtifactTask.role == role) if role else query
        found += await session.scalars(query.order_by(*KEY).limit(limit + 1 - len(found)))
        if len(found) > limit:
            break
    return found
