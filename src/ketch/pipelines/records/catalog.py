"""Pipelines and their versions in the database."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from sqlalchemy import Text as SQLText
from sqlalchemy import cast, delete, func, literal, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ketch.kube.clock import Clock
from ketch.metadata.database import Database
from ketch.pipelines.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from ketch.pipelines.records.listing import Field, Listing, ListQuery, Page, Text, Time
from ketch.pipelines.records.tables import Pipeline, PipelineVersion
from ketch.pipelines.specifications import Specification

MAX_PIPELINE_NAME: Final = 128
MAX_VERSION_NAME: Final = 127
MAX_TAGS: Final = 20
MAX_TAG: Final = 63

READY: Final = "READY"
"""The status of every version: one that cannot be used is refused when it is made."""

_PIPELINES = Listing(
    Pipeline,
    Pipeline.id,
    {
        "id": Text(Pipeline.id),
        "pipeline_id": Text(Pipeline.id),
        "name": Text(Pipeline.name),
        "display_name": Text(Pipeline.display_name),
        "created_at": Time(Pipeline.created_at),
        "description": Text(Pipeline.description),
        "namespace": Text(Pipeline.namespace),
    },
    Pipeline.tags.expression,
)
_VERSION_FIELDS: Mapping[str, Field] = {
    "id": Text(PipelineVersion.id),
    "pipeline_version_id": Text(PipelineVersion.id),
    "name": Text(PipelineVersion.name),
    "display_name": Text(PipelineVersion.display_name),
    "created_at": Time(PipelineVersion.created_at),
    "description": Text(PipelineVersion.description),
    "status": Text(literal(READY)),
    "pipeline_spec": Text(cast(PipelineVersion.pipeline_spec, SQLText)),
}
_VERSIONS = Listing(PipelineVersion, PipelineVersion.id, _VERSION_FIELDS, PipelineVersion.tags.expression)


@dataclass(frozen=True, slots=True)
class Label:
    """How a pipeline or a version is called and described. A missing name is the other one."""

    name: str = ""
    display_name: str = ""
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    def checked(self, what: str, limit: int) -> "Label":
        """With both names, and within the limits. Raises InvalidInput."""
        name, display_name = self.name or self.display_name, self.display_name or self.name
        if not name or max(len(name), len(display_name)) > limit:
            raise InvalidInput(f"a {what} needs a name of 1 to {limit} characters")
        if "\0" in name + display_name + self.description:
            raise InvalidInput(f"a {what}'s name and description hold no NUL character")
        check_tags(self.tags)
        return Label(name, display_name, self.description, self.tags)


@dataclass(frozen=True, slots=True)
class Source:
    """A version's specification and where it came from."""

    specification: Specification
    package_url: str = ""
    code_source_url: str = ""


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises InvalidInput when there are too many tags, or one is too long or has a dot in its key."""
    if len(tags) > MAX_TAGS:
        raise InvalidInput(f"tags: at most {MAX_TAGS}, given are {len(tags)}")
    for key, value in tags.items():
        if not key or "." in key or max(len(key), len(value)) > MAX_TAG:
            raise InvalidInput(f"tags: {key!r}: keys have no dot; keys and values have at most {MAX_TAG} characters")


class PipelineStore:
    """The catalogue; ``namespace`` is empty where there is one user."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create(self, label: Label, namespace: str = "") -> Pipeline:
        """A pipeline without versions. Raises InvalidInput, AlreadyExists."""
        pipeline = self._pipeline(label.checked("pipeline", MAX_PIPELINE_NAME), namespace)
        await self._insert(pipeline, f"pipeline {pipeline.name}")
        return pipeline

    async def create_with_version(
        self, label: Label, version_label: Label, source: Source, namespace: str = ""
    ) -> tuple[Pipeline, PipelineVersion]:
        """A pipeline and its first version, both or none. Raises InvalidInput, AlreadyExists."""
        pipeline = self._pipeline(label.checked("pipeline", MAX_PIPELINE_NAME), namespace)
        version = self._version(pipeline.id, version_label.checked("pipeline version", MAX_VERSION_NAME), source)
        await self._insert(pipeline, f"pipeline {pipeline.name}", version)
        return pipeline, version

    async def create_version(self, pipeline_id: str, label: Label, source: Source) -> PipelineVersion:
        """A version of a pipeline. Raises InvalidInput, NotFound, AlreadyExists."""
        version = self._version(pipeline_id, label.checked("pipeline version", MAX_VERSION_NAME), source)
        await self.get(pipeline_id)
        await self._insert(version, f"pipeline version {version.name}")
        return version

    async def get(self, pipeline_id: str) -> Pipeline:
        """Raises NotFound."""
        async with self._database.session() as session:
            return await _pipeline(session, pipeline_id)

    async def get_by_name(self, name: str, namespace: str = "") -> Pipeline:
        """Raises NotFound."""
        query = select(Pipeline).where(Pipeline.namespace == namespace, Pipeline.name == name)
        async with self._database.session() as session:
            found = await session.scalar(query)
        if found is None:
            raise NotFound(f"Pipeline {name!r} not found")
        return found

    async def list(self, query: ListQuery, namespace: str = "") -> Page[Pipeline]:
        """One page of the namespace's pipelines."""
        async with self._database.session() as session:
            return await _PIPELINES.page(session, query, Pipeline.namespace == namespace)

    async def update(self, pipeline_id: str, display_name: str, tags: Mapping[str, str] | None) -> Pipeline:
        """Change the display name (unless empty) and the tags (unless None). Raises InvalidInput, NotFound."""
        _check_change(display_name, tags, MAX_PIPELINE_NAME)
        async with self._database.transaction() as session:
            pipeline = await _pipeline(session, pipeline_id)
            _change(pipeline, display_name, tags)
            return pipeline

    async def delete(self, pipeline_id: str, *, cascade: bool) -> None:
        """Remove the pipeline, its versions too if ``cascade``. Raises NotFound, FailedPrecondition."""
        async with self._database.transaction() as session:
            pipeline = await _pipeline(session, pipeline_id)
            of_pipeline = PipelineVersion.pipeline_id == pipeline_id
            if cascade:
                await session.execute(delete(PipelineVersion).where(of_pipeline))
            elif count := await session.scalar(select(func.count()).select_from(PipelineVersion).where(of_pipeline)):
                raise FailedPrecondition(
                    f"Failed to delete pipeline {pipeline.name}: it has {count} version(s); "
                    "delete them first, or set cascade=true"
                )
            await session.delete(pipeline)

    async def version(self, version_id: str) -> PipelineVersion:
        """Raises NotFound."""
        async with self._database.session() as session:
            return await _version(session, version_id)

    async def latest_version(self, pipeline_id: str) -> PipelineVersion:
        """The newest version of a pipeline. Raises NotFound."""
        query = (
            select(PipelineVersion)
            .where(PipelineVersion.pipeline_id == pipeline_id)
            .order_by(PipelineVersion.created_at.desc(), PipelineVersion.id.desc())
            .limit(1)
        )
        async with self._database.session() as session:
            found = await session.scalar(query)
        if found is None:
            await self.get(pipeline_id)
            raise NotFound(f"Pipeline {pipeline_id} has no version")
        return found

    async def latest_versions(self, pipeline_ids: Collection[str]) -> Mapping[str, PipelineVersion]:
        """The newest version of each of these pipelines, by pipeline; those without one are left out."""
        place = func.row_number().over(
            partition_by=PipelineVersion.pipeline_id,
            order_by=(PipelineVersion.created_at.desc(), PipelineVersion.id.desc()),
        )
        places = select(PipelineVersion.id, place.label("place")).where(PipelineVersion.pipeline_id.in_(pipeline_ids))
        newest = places.subquery()
        query = select(PipelineVersion).join(newest, newest.c.id == PipelineVersion.id).where(newest.c.place == 1)
        async with self._database.session() as session:
            return {row.pipeline_id: row for row in await session.scalars(query)}

    async def referenced(self, pipeline_id: str, version_id: str) -> PipelineVersion:
        """The version that a reference means: the one it names, or the pipeline's newest. Raises InvalidInput,
        NotFound."""
        if not version_id:
            if not pipeline_id:
                raise InvalidInput("pipeline_version_reference: pipeline_id is missing")
            return await self.latest_version(pipeline_id)
        version = await self.version(version_id)
        if pipeline_id not in ("", version.pipeline_id):
            raise InvalidInput(f"pipeline_version_reference: version {version_id} is not one of pipeline {pipeline_id}")
        return version

    async def list_versions(self, pipeline_id: str, query: ListQuery) -> Page[PipelineVersion]:
        """One page of a pipeline's versions."""
        async with self._database.session() as session:
            return await _VERSIONS.page(session, query, PipelineVersion.pipeline_id == pipeline_id)

    async def update_version(
        self, version_id: str, display_name: str, tags: Mapping[str, str] | None
    ) -> PipelineVersion:
        """Change the display name (unless empty) and the tags (unless None). Raises InvalidInput, NotFound."""
        _check_change(display_name, tags, MAX_VERSION_NAME)
        async with self._database.transaction() as session:
            version = await _version(session, version_id)
            _change(version, display_name, tags)
            return version

    async def delete_version(self, version_id: str) -> None:
        """Raises NotFound."""
        async with self._database.transaction() as session:
            await session.delete(await _version(session, version_id))

    async def _insert(self, row: Pipeline | PipelineVersion, what: str, *others: PipelineVersion) -> None:
        try:
            async with self._database.transaction() as session:
                session.add_all((row, *others))
        except IntegrityError as error:
            raise AlreadyExists(
                f"Failed to create a new {what}. The name already exists. Please specify a new name"
            ) from error

    def _pipeline(self, label: Label, namespace: str) -> Pipeline:
        return Pipeline(
            id=str(uuid4()),
            namespace=namespace,
            name=label.name,
            display_name=label.display_name,
            description=label.description,
            tags=dict(label.tags),
            created_at=self._clock.now(),
        )

    def _version(self, pipeline_id: str, label: Label, source: Source) -> PipelineVersion:
        return PipelineVersion(
            id=str(uuid4()),
            pipeline_id=pipeline_id,
            name=label.name,
            display_name=label.display_name,
            description=label.description,
            code_source_url=source.code_source_url,
            package_url=source.package_url,
            pipeline_spec=source.specification.pipeline,
            platform_spec=source.specification.platform,
            tags=dict(label.tags),
            created_at=self._clock.now(),
        )


def _check_change(display_name: str, tags: Mapping[str, str] | None, limit: int) -> None:
    if len(display_name) > limit:
        raise InvalidInput(f"display_name: at most {limit} characters")
    check_tags(tags or {})


def _change(row: Pipeline | PipelineVersion, display_name: str, tags: Mapping[str, str] | None) -> None:
    if display_name:
        row.display_name = display_name
    if tags is not None:
        row.tags = dict(tags)


async def _pipeline(session: AsyncSession, pipeline_id: str) -> Pipeline:
    found = await session.get(Pipeline, pipeline_id)
    if found is None:
        raise NotFound(f"Pipeline {pipeline_id} not found")
    return found


async def _version(session: AsyncSession, version_id: str) -> PipelineVersion:
    found = await session.get(PipelineVersion, version_id)
    if found is None:
        raise NotFound(f"Pipeline version {version_id} not found")
    return found
