"""The read calls of v1beta1: experiments, pipelines and versions, runs, jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson
from starlette.requests import Request

from ketch.pipelines.api.http import Operation, Query, route
from ketch.pipelines.api.listing import LISTED, list_query, next_token
from ketch.pipelines.api.messages import Url
from ketch.pipelines.api.recurring import recurring_run_message
from ketch.pipelines.api.v1beta1.messages import (
    ApiExperiment,
    ApiGetTemplateResponse,
    ApiJob,
    ApiListExperimentsResponse,
    ApiListJobsResponse,
    ApiListPipelinesResponse,
    ApiListPipelineVersionsResponse,
    ApiListRunsResponse,
    ApiPipeline,
    ApiPipelineRuntime,
    ApiPipelineSpec,
    ApiPipelineVersion,
    ApiResourceKey,
    ApiResourceReference,
    ApiRun,
    ApiRunDetail,
    ApiRuntimeConfig,
    ResourceType,
)
from ketch.pipelines.api.wire import query_value, timestamp
from ketch.pipelines.errors import InvalidInput, NotFound
from ketch.pipelines.records import tables
from ketch.pipelines.records.catalog import PipelineStore
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.records.listing import ListQuery
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.schedules.store import RecurringRunStore
from ketch.pipelines.specifications import wrapped

_OWNER, _CREATOR = "OWNER", "CREATOR"
_EXPERIMENT, _JOB, _PIPELINE, _VERSION = "EXPERIMENT", "JOB", "PIPELINE", "PIPELINE_VERSION"
_STORED: Final = "STORAGESTATE_"
_PHASES: Final[Mapping[str, str]] = {"CANCELING": "Terminating"}
_OF: Final = "resource_reference_key"
_LISTED: Final = (*LISTED, Query(f"{_OF}.type", kind=ResourceType), Query(f"{_OF}.id"))


def _reference(kind: str, identity: str, relationship: str) -> ApiResourceReference:
    return ApiResourceReference(key=ApiResourceKey(type=kind, id=identity), relationship=relationship)


def experiment(row: tables.Experiment) -> ApiExperiment:
    """The wire form of an experiment."""
    return ApiExperiment(
        id=row.id,
        name=row.name,
        description=row.description,
        created_at=timestamp(row.created_at),
        storage_state=_STORED + row.storage_state,
    )


def version(row: tables.PipelineVersion) -> ApiPipelineVersion:
    """The wire form of a version."""
    return ApiPipelineVersion(
        id=row.id,
        name=row.name,
        created_at=timestamp(row.created_at),
        code_source_url=row.code_source_url,
        package_url=Url(pipeline_url=row.package_url) if row.package_url else None,
        resource_references=(_reference(_PIPELINE, row.pipeline_id, _OWNER),),
        description=row.description,
    )


def pipeline(row: tables.Pipeline, default: tables.PipelineVersion | None) -> ApiPipeline:
    """The wire form of a pipeline with its newest version."""
    return ApiPipeline(
        id=row.id,
        created_at=timestamp(row.created_at),
        name=row.name,
        description=row.description,
        default_version=None if default is None else version(default),
    )


def run(row: tables.Run, *, manifest: str = "") -> ApiRun:
    """The wire form of a run."""
    references = [_reference(_EXPERIMENT, row.experiment_id, _OWNER)]
    if row.recurring_run_id:
        references.append(_reference(_JOB, row.recurring_run_id, _CREATOR))
    if row.pipeline_version_id:
        references.append(_reference(_VERSION, row.pipeline_version_id, _CREATOR))
    return ApiRun(
        id=row.id,
        name=row.display_name,
        storage_state=_STORED + row.storage_state,
        description=row.description,
        pipeline_spec=_spec(row, manifest),
        resource_references=tuple(references),
        service_account=row.service_account,
        created_at=timestamp(row.created_at),
        scheduled_at=timestamp(row.scheduled_at),
        finished_at=timestamp(row.finished_at),
        status=_PHASES.get(row.state, row.state.capitalize()),
        error=(row.error or {}).get("message", ""),
    )


def job(row: tables.RecurringRun) -> ApiJob:
    """The wire form of a recurring run."""
    now = recurring_run_message(row)
    references = [_reference(_EXPERIMENT, row.experiment_id, _OWNER)]
    if row.pipeline_version_id:
        references.append(_reference(_VERSION, row.pipeline_version_id, _CREATOR))
    return ApiJob(
        id=row.id,
        name=row.display_name,
        description=row.description,
        pipeline_spec=_spec(row, ""),
        resource_references=tuple(references),
        service_account=row.service_account,
        max_concurrency=now.max_concurrency,
        trigger=now.trigger,
        mode="ENABLED" if row.enabled else "DISABLED",
        created_at=now.created_at,
        updated_at=now.updated_at,
        status=now.status,
        error=(row.error or {}).get("message", ""),
        enabled=row.enabled,
        no_catchup=row.no_catchup,
    )


def _spec(row: tables.Run | tables.RecurringRun, manifest: str) -> ApiPipelineSpec:
    return ApiPipelineSpec(
        pipeline_id=row.pipeline_id or "",
        pipeline_manifest=manifest,
        runtime_config=ApiRuntimeConfig(parameters=row.parameters or None, pipeline_root=row.pipeline_root),
    )


@dataclass(frozen=True)
class ReadService:
    """The calls."""

    experiments: ExperimentStore
    pipelines: PipelineStore
    runs: RunStore
    recurring: RecurringRunStore

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        versions = (*LISTED, Query("resource_key.type", kind=ResourceType), Query("resource_key.id", required=True))
        return (
            route("GET", "/experiments", self._experiments, _LISTED),
            route("GET", "/experiments/{id}", self._experiment),
            route("GET", "/pipelines", self._pipelines, _LISTED),
            route("GET", "/pipelines/{id}", self._pipeline),
            route("GET", "/pipelines/{id}/templates", self._template),
            route("GET", "/pipeline_versions", self._versions, versions),
            route("GET", "/pipeline_versions/{id}", self._version),
            route("GET", "/pipeline_versions/{id}/templates", self._version_template),
            route("GET", "/runs", self._runs, _LISTED),
            route("GET", "/runs/{id}", self._run),
            route("GET", "/jobs", self._jobs, _LISTED),
            route("GET", "/jobs/{id}", self._job),
        )

    async def _experiments(self, request: Request) -> ApiListExperimentsResponse:
        query = _query(request, "experiments of v1beta1")
        page = await self.experiments.list(query)
        return ApiListExperimentsResponse(
            experiments=tuple(map(experiment, page.rows)),
            total_size=page.total,
            next_page_token=next_token(page, query, "experiments of v1beta1"),
        )

    async def _experiment(self, request: Request) -> ApiExperiment:
        return experiment(await self.experiments.get(request.path_params["id"]))

    async def _pipelines(self, request: Request) -> ApiListPipelinesResponse:
        query = _query(request, "pipelines of v1beta1")
        page = await self.pipelines.list(query)
        newest = await self.pipelines.latest_versions([row.id for row in page.rows])
        return ApiListPipelinesResponse(
            pipelines=tuple([pipeline(row, newest.get(row.id)) for row in page.rows]),
            total_size=page.total,
            next_page_token=next_token(page, query, "pipelines of v1beta1"),
        )

    async def _pipeline(self, request: Request) -> ApiPipeline:
        row = await self.pipelines.get(request.path_params["id"])
        return pipeline(row, (await self.pipelines.latest_versions((row.id,))).get(row.id))

    async def _template(self, request: Request) -> ApiGetTemplateResponse:
        return _template(await self.pipelines.latest_version(request.path_params["id"]))

    async def _versions(self, request: Request) -> ApiListPipelineVersionsResponse:
        kind = query_value(request.query_params, "resource_key.type", ResourceType)
        pipeline_id = request.query_params.get("resource_key.id", "")
        if kind not in ("", _PIPELINE) or not pipeline_id:
            raise InvalidInput("resource_key: expected the type PIPELINE and a pipeline's id")
        query = _query(request, "pipeline versions of v1beta1")
        page = await self.pipelines.list_versions(pipeline_id, query)
        return ApiListPipelineVersionsResponse(
            versions=tuple(map(version, page.rows)),
            total_size=page.total,
            next_page_token=next_token(page, query, "pipeline versions of v1beta1"),
        )

    async def _version(self, request: Request) -> ApiPipelineVersion:
        return version(await self.pipelines.version(request.path_params["id"]))

    async def _version_template(self, request: Request) -> ApiGetTemplateResponse:
        return _template(await self.pipelines.version(request.path_params["id"]))

    async def _runs(self, request: Request) -> ApiListRunsResponse:
        query = _query(request, "runs of v1beta1")
        page = await self.runs.list(query, _experiment_id(request))
        return ApiListRunsResponse(
            runs=tuple([run(row) for row in page.rows]),
            total_size=page.total,
            next_page_token=next_token(page, query, "runs of v1beta1"),
        )

    async def _run(self, request: Request) -> ApiRunDetail:
        row = await self.runs.get(request.path_params["id"])
        if row is None:
            raise NotFound(f"Run {request.path_params['id']} not found")
        manifest = orjson.dumps(wrapped(row.pipeline_spec, row.platform_spec)).decode()
        return ApiRunDetail(
            run=run(row, manifest=manifest), pipeline_runtime=ApiPipelineRuntime(pipeline_manifest=manifest)
        )

    async def _jobs(self, request: Request) -> ApiListJobsResponse:
        query = _query(request, "jobs of v1beta1")
        page = await self.recurring.list(query, _experiment_id(request))
        return ApiListJobsResponse(
            jobs=tuple(map(job, page.rows)),
            total_size=page.total,
            next_page_token=next_token(page, query, "jobs of v1beta1"),
        )

    async def _job(self, request: Request) -> ApiJob:
        return job(await self.recurring.get(request.path_params["id"]))


def _template(row: tables.PipelineVersion) -> ApiGetTemplateResponse:
    return ApiGetTemplateResponse(template=orjson.dumps(wrapped(row.pipeline_spec, row.platform_spec)).decode())


def _experiment_id(request: Request) -> str:
    """The experiment that a list is of; empty for all. Raises InvalidInput."""
    kind = query_value(request.query_params, f"{_OF}.type", ResourceType)
    identity = request.query_params.get(f"{_OF}.id", "")
    if identity and kind not in (_EXPERIMENT, "NAMESPACE"):
        raise InvalidInput(f"{_OF}.type: lists are of an EXPERIMENT, not of {kind or 'nothing'}")
    return identity if kind == _EXPERIMENT else ""


def _query(request: Request, scope: str) -> ListQuery:
    """The query in v1's words: operations are ``op``, storage states have a prefix. Raises InvalidInput."""
    given = dict(request.query_params)
    try:
        body = orjson.loads(given.get("filter") or "null")
    except orjson.JSONDecodeError:
        body = None  # left to be refused, or to be decoded once more
    predicates = cast("dict[str, Any]", body).get("predicates") if isinstance(body, dict) else None
    if isinstance(predicates, list):
        given["filter"] = orjson.dumps(
            {"predicates": [_predicate(each) for each in cast("list[Any]", predicates)]}
        ).decode()
    return list_query(given, scope)


def _predicate(given: Any) -> Any:
    if not isinstance(given, dict):
        return given
    words = {"op": "operation"}
    predicate = {words.get(key, key): value for key, value in cast("dict[str, Any]", given).items()}
    for name in ("string_value", "stringValue"):
        if isinstance(value := predicate.get(name), str):
            predicate[name] = value.removeprefix(_STORED)
    return predicate
