"""PipelineService."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.routing import BaseRoute

from ketch.pipelines import tables
from ketch.pipelines.api.http import read_message, route
from ketch.pipelines.api.listing import list_query, next_token
from ketch.pipelines.api.messages import (
    CreatePipelineAndVersionRequest,
    Empty,
    ListPipelinesResponse,
    ListPipelineVersionsResponse,
    Pipeline,
    PipelineVersion,
    Url,
)
from ketch.pipelines.api.wire import timestamp
from ketch.pipelines.catalog import Label, PipelineStore, Source
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.specifications import from_wire, wrapped

_PIPELINES, _VERSIONS = "pipelines", "pipeline versions"


def pipeline_message(row: tables.Pipeline) -> Pipeline:
    """The wire form of a pipeline."""
    return Pipeline(
        pipeline_id=row.id,
        display_name=row.display_name,
        name=row.name,
        description=row.description,
        created_at=timestamp(row.created_at),
        namespace=row.namespace,
        tags=row.tags or None,
    )


def version_message(row: tables.PipelineVersion) -> PipelineVersion:
    """The wire form of a version."""
    return PipelineVersion(
        pipeline_id=row.pipeline_id,
        pipeline_version_id=row.id,
        display_name=row.display_name,
        name=row.name,
        description=row.description,
        created_at=timestamp(row.created_at),
        package_url=Url(pipeline_url=row.package_url) if row.package_url else None,
        code_source_url=row.code_source_url,
        pipeline_spec=wrapped(row.pipeline_spec, row.platform_spec),
        tags=row.tags or None,
    )


def _label(message: Pipeline | PipelineVersion) -> Label:
    return Label(message.name, message.display_name, message.description, message.tags or {})


def _source(message: PipelineVersion) -> Source:
    if message.pipeline_spec is None:
        raise InvalidInput("pipeline_spec: a pipeline version needs one; importing from package_url is not supported")
    return Source(from_wire(message.pipeline_spec), code_source_url=message.code_source_url)


@dataclass(frozen=True)
class PipelineService:
    """The service's methods."""

    pipelines: PipelineStore

    def routes(self) -> Sequence[BaseRoute]:
        """Where they are; fixed paths come before those with names in them."""
        one, versions = "/pipelines/{pipeline_id}", "/pipelines/{pipeline_id}/versions"
        version = f"{versions}/{{version_id}}"
        return (
            route("POST", "/pipelines", self._create),
            route("POST", "/pipelines/create", self._create_with_version),
            route("GET", "/pipelines", self._list),
            route("GET", "/pipelines/names/{name}", self._get_by_name),
            route("GET", one, self._get),
            route("PATCH", one, self._update),
            route("DELETE", one, self._delete),
            route("POST", versions, self._create_version),
            route("GET", versions, self._list_versions),
            route("GET", version, self._get_version),
            route("PATCH", version, self._update_version),
            route("DELETE", version, self._delete_version),
        )

    async def _create(self, request: Request) -> Pipeline:
        wanted = await read_message(request, Pipeline)
        return pipeline_message(await self.pipelines.create(_label(wanted)))

    async def _create_with_version(self, request: Request) -> Pipeline:
        wanted = await read_message(request, CreatePipelineAndVersionRequest)
        if wanted.pipeline is None or wanted.pipeline_version is None:
            raise InvalidInput("pipeline and pipeline_version are both needed")
        label, version_label = _label(wanted.pipeline), _label(wanted.pipeline_version)
        if not (version_label.name or version_label.display_name):
            version_label = Label(label.name, label.display_name, version_label.description, version_label.tags)
        pipeline, _ = await self.pipelines.create_with_version(label, version_label, _source(wanted.pipeline_version))
        return pipeline_message(pipeline)

    async def _get(self, request: Request) -> Pipeline:
        return pipeline_message(await self.pipelines.get(request.path_params["pipeline_id"]))

    async def _get_by_name(self, request: Request) -> Pipeline:
        return pipeline_message(await self.pipelines.get_by_name(request.path_params["name"]))

    async def _list(self, request: Request) -> ListPipelinesResponse:
        query = list_query(request.query_params, _PIPELINES)
        page = await self.pipelines.list(query)
        return ListPipelinesResponse(
            pipelines=tuple(pipeline_message(row) for row in page.rows),
            total_size=page.total,
            next_page_token=next_token(page, query, _PIPELINES),
        )

    async def _update(self, request: Request) -> Pipeline:
        change = await read_message(request, Pipeline)
        row = await self.pipelines.update(request.path_params["pipeline_id"], change.display_name, change.tags)
        return pipeline_message(row)

    async def _delete(self, request: Request) -> Empty:
        cascade = request.query_params.get("cascade", "").lower() in ("true", "1")
        await self.pipelines.delete(request.path_params["pipeline_id"], cascade=cascade)
        return Empty()

    async def _create_version(self, request: Request) -> PipelineVersion:
        wanted = await read_message(request, PipelineVersion)
        pipeline_id = request.path_params["pipeline_id"]
        return version_message(await self.pipelines.create_version(pipeline_id, _label(wanted), _source(wanted)))

    async def _get_version(self, request: Request) -> PipelineVersion:
        return version_message(await self.pipelines.version(request.path_params["version_id"]))

    async def _list_versions(self, request: Request) -> ListPipelineVersionsResponse:
        query = list_query(request.query_params, _VERSIONS)
        page = await self.pipelines.list_versions(request.path_params["pipeline_id"], query)
        return ListPipelineVersionsResponse(
            pipeline_versions=tuple(version_message(row) for row in page.rows),
            total_size=page.total,
            next_page_token=next_token(page, query, _VERSIONS),
        )

    async def _update_version(self, request: Request) -> PipelineVersion:
        change = await read_message(request, PipelineVersion)
        version_id = request.path_params["version_id"]
        return version_message(await self.pipelines.update_version(version_id, change.display_name, change.tags))

    async def _delete_version(self, request: Request) -> Empty:
        await self.pipelines.delete_version(request.path_params["version_id"])
        return Empty()
