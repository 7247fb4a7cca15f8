"""PipelineService."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from ketch.pipelines.api.http import Operation, Query, route
from ketch.pipelines.api.listing import LISTED, list_query, next_token
from ketch.pipelines.api.messages import (
    CreatePipelineAndVersionRequest,
    Empty,
    ListPipelinesResponse,
    ListPipelineVersionsResponse,
    Pipeline,
    PipelineVersion,
    Url,
)
from ketch.pipelines.api.wire import query_value, timestamp
from ketch.pipelines.errors import InvalidInput
from ketch.pipelines.records import tables
from ketch.pipelines.records.catalog import Label, PipelineStore, Source
from ketch.pipelines.sources.remote import PackageFetcher
from ketch.pipelines.specifications import from_file, from_wire, wrapped

_PIPELINES, _VERSIONS = "pipelines", "pipeline versions"
_NAMESPACE = Query("namespace")
_FIXED = frozenset(
    {
        "pipeline_id",
        "pipeline_version_id",
        "name",
        "description",
        "package_url",
        "code_source_url",
        "pipeline_spec",
    }
)
"""What a user gives once."""


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


def _check_unchanged(now: Pipeline | PipelineVersion, change: Pipeline | PipelineVersion) -> None:
    """Raises InvalidInput when a change says more than display_name and tags; what was read may be sent back."""
    for name in _FIXED.intersection(change.__struct_fields__):
        if (wanted := getattr(change, name)) and wanted != getattr(now, name):
            raise InvalidInput(f"{name}: cannot be changed, only display_name and tags can")


@dataclass(frozen=True)
class PipelineService:
    """The service's methods. Namespaces are accepted and left aside: there is one user."""

    pipelines: PipelineStore
    packages: PackageFetcher

    def routes(self) -> Sequence[Operation]:
        """Where they are; fixed paths come before those with names in them."""
        one, versions = "/pipelines/{pipeline_id}", "/pipelines/{pipeline_id}/versions"
        version = f"{versions}/{{version_id}}"
        return (
            route("POST", "/pipelines", self._create),
            route("POST", "/pipelines/create", self._create_with_version),
            route("GET", "/pipelines", self._list, (*LISTED, _NAMESPACE)),
            route("GET", "/pipelines/names/{name}", self._get_by_name, (_NAMESPACE,)),
            route("GET", one, self._get),
            route("PATCH", one, self._update),
            route("DELETE", one, self._delete, (Query("cascade", "The versions too.", bool),)),
            route("POST", versions, self._create_version),
            route("GET", versions, self._list_versions, LISTED),
            route("GET", version, self._get_version),
            route("PATCH", version, self._update_version),
            route("DELETE", version, self._delete_version),
        )

    async def _create(self, wanted: Pipeline) -> Pipeline:
        return pipeline_message(await self.pipelines.create(_label(wanted)))

    async def _create_with_version(self, wanted: CreatePipelineAndVersionRequest) -> Pipeline:
        if wanted.pipeline is None or wanted.pipeline_version is None:
            raise InvalidInput("pipeline and pipeline_version are both needed")
        label, version_label = _label(wanted.pipeline), _label(wanted.pipeline_version)
        if not (version_label.name or version_label.display_name):
            version_label = Label(label.name, label.display_name, version_label.description, version_label.tags)
        source = await self._source(wanted.pipeline_version)
        pipeline, _ = await self.pipelines.create_with_version(label, version_label, source)
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

    async def _update(self, request: Request, change: Pipeline) -> Pipeline:
        pipeline_id = request.path_params["pipeline_id"]
        _check_unchanged(pipeline_message(await self.pipelines.get(pipeline_id)), change)
        return pipeline_message(await self.pipelines.update(pipeline_id, change.display_name, change.tags))

    async def _delete(self, request: Request) -> Empty:
        cascade = query_value(request.query_params, "cascade", bool)
        await self.pipelines.delete(request.path_params["pipeline_id"], cascade=cascade)
        return Empty()

    async def _create_version(self, request: Request, wanted: PipelineVersion) -> PipelineVersion:
        pipeline_id = request.path_params["pipeline_id"]
        if wanted.pipeline_id not in ("", pipeline_id):
            raise InvalidInput(f"pipeline_id: {wanted.pipeline_id} is not the pipeline in the path")
        await self.pipelines.get(pipeline_id)  # nothing is fetched for a pipeline that is not there
        source = await self._source(wanted)
        return version_message(await self.pipelines.create_version(pipeline_id, _label(wanted), source))

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

    async def _update_version(self, request: Request, change: PipelineVersion) -> PipelineVersion:
        version_id = request.path_params["version_id"]
        _check_unchanged(version_message(await self.pipelines.version(version_id)), change)
        return version_message(await self.pipelines.update_version(version_id, change.display_name, change.tags))

    async def _delete_version(self, request: Request) -> Empty:
        await self.pipelines.delete_version(request.path_params["version_id"])
        return Empty()

    async def _source(self, wanted: PipelineVersion) -> Source:
        """The specification that a new version is made of. Raises InvalidInput."""
        address = wanted.package_url.pipeline_url if wanted.package_url else ""
        if wanted.pipeline_spec is not None:
            specification = from_wire(wanted.pipeline_spec)
        elif address:
            specification = await from_file(await self.packages.fetch(address))
        else:
            raise InvalidInput("a pipeline version needs either pipeline_spec or package_url.pipeline_url")
        return Source(specification, address, wanted.code_source_url)
