"""The catalogue's rows of objects."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from ketch.metadata.database import Database
from ketch.pipelines.errors import AlreadyExists
from ketch.pipelines.records.tables import Pipeline, PipelineVersion

R = TypeVar("R", Pipeline, PipelineVersion)


class NativeStore:
    """Keeps rows like their objects; nothing is written that is so already."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep_pipeline(self, row: Pipeline) -> None:
        """Have exactly this row for its object. Raises AlreadyExists when another pipeline has the name."""
        if await self._has(Pipeline, row):
            return
        async with self._database.transaction() as session:
            stale = select(Pipeline.id).where(Pipeline.origin == row.origin, Pipeline.id != row.id)
            await _forget_pipelines(session, (await session.scalars(stale)).all())
            named = (Pipeline.namespace == row.namespace, Pipeline.name == row.name)
            await _check_free(session, Pipeline, row, f"the pipeline {row.name}", *named)
            await session.merge(row)

    async def keep_version(self, row: PipelineVersion) -> None:
        """Have exactly this row for its object. Raises AlreadyExists when its pipeline has such a version."""
        if await self._has(PipelineVersion, row):
            return
        async with self._database.transaction() as session:
            stale = (PipelineVersion.origin == row.origin, PipelineVersion.id != row.id)
            await session.execute(delete(PipelineVersion).where(*stale))
            named = (PipelineVersion.pipeline_id == row.pipeline_id, PipelineVersion.name == row.name)
            await _check_free(session, PipelineVersion, row, f"the version {row.name} of its pipeline", *named)
            await session.merge(row)

    async def forget_pipeline(self, origin: str) -> None:
        """Have no pipeline of that origin, nor versions of it."""
        known = select(Pipeline.id).where(Pipeline.origin == origin)
        if not await self._found(known):
            return
        async with self._database.transaction() as session:
            await _forget_pipelines(session, (await session.scalars(known)).all())

    async def forget_version(self, origin: str) -> None:
        """Have no version of that origin."""
        if not await self._found(select(PipelineVersion.id).where(PipelineVersion.origin == origin)):
            return
        async with self._database.transaction() as session:
            await session.execute(delete(PipelineVersion).where(PipelineVersion.origin == origin))

    async def version(self, version_id: str) -> PipelineVersion | None:
        """The row of that id, or None."""
        async with self._database.session() as session:
            return await session.get(PipelineVersion, version_id)

    async def origins(self) -> tuple[Sequence[str], Sequence[str]]:
        """The origins of all pipelines and of all versions that are objects."""
        async with self._database.session() as session:
            pipelines = (await session.scalars(select(Pipeline.origin).where(Pipeline.origin != ""))).all()
            versions = select(PipelineVersion.origin).where(PipelineVersion.origin != "")
            return pipelines, (await session.scalars(versions)).all()

    async def _found(self, query: Select[str]) -> bool:
        async with self._database.session() as session:
            return await session.scalar(query) is not None

    async def _has(self, kind: type[R], row: R) -> bool:
        async with self._database.session() as session:
            found = await session.get(kind, row.id)
        return found is not None and _values(found) == _values(row)


def _values(row: Pipeline | PipelineVersion) -> dict[str, object]:
    return {column.key: getattr(row, column.key) for column in type(row).__mapper__.column_attrs}


async def _forget_pipelines(session: AsyncSession, ids: Sequence[str]) -> None:
    await session.execute(delete(PipelineVersion).where(PipelineVersion.pipeline_id.in_(ids)))
    await session.execute(delete(Pipeline).where(Pipeline.id.in_(ids)))


async def _check_free(session: AsyncSession, kind: type[R], row: R, what: str, *named: ColumnElement[bool]) -> None:
    other = await session.scalar(select(kind).where(*named, kind.id != row.id))
    if other is not None:
        place = f"the object {other.origin}" if other.origin else "the database, where the API has put it"
        raise AlreadyExists(f"{what} exists already in {place}")
