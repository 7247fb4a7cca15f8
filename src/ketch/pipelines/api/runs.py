"""RunService."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from msgspec import Raw
from starlette.requests import Request

from ketch.kube.clock import Clock
from ketch.kube.meta import ObjectKey
from ketch.metadata.objects import KeyOutside, StoreError
from ketch.pipelines.api.details import TaskDetails, history, status, task_details
from ketch.pipelines.api.http import Operation, Query, route
from ketch.pipelines.api.lineage_messages import PipelineTask
from ketch.pipelines.api.listing import LISTED, list_query, next_token
from ketch.pipelines.api.messages import (
    Empty,
    PipelineTaskDetail,
    PipelineVersionReference,
    RunDetails,
    RuntimeConfig,
)
from ketch.pipelines.api.run_messages import ListRunsResponse, ReadArtifactResponse, Run, View
from ketch.pipelines.api.tasks import TaskMessages
from ketch.pipelines.api.wire import query_value, timestamp
from ketch.pipelines.creation import USER_NAMESPACE, RunRequest, new_run
from ketch.pipelines.errors import FailedPrecondition, InvalidInput, NotFound, Unavailable
from ketch.pipelines.plugins import check_plugins
from ketch.pipelines.records import tables
from ketch.pipelines.records.catalog import PipelineStore
from ketch.pipelines.records.experiments import ExperimentStore
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.states import (
    CANCELED,
    CANCELING,
    FAILED,
    PENDING,
    TERMINABLE,
    advance_run,
)
from ketch.pipelines.roots import default_root
from ketch.pipelines.specifications import Specification, from_wire, wrapped
from ketch.pipelines.transfer.stores import Stores

Enqueue = Callable[[ObjectKey], None]
"""Tells the engine that a run has something to do."""

MAX_TASKS: Final = 2_000
"""Tasks in one list of runs that are asked for with their tasks."""

MAX_ARTIFACT: Final = 32 * 1024 * 1024
"""The largest artifact that is answered as a message."""

_SCOPE = "runs"
_EXPERIMENT = Query("experiment_id")
_VIEW = Query("view", "FULL: with the tasks.", View)
_RETRIABLE = frozenset({FAILED, CANCELED})


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks of a run: the ``details`` of those that the engine drives, as KFP 2 tells of them (JSON where they may
    be many), and all of them as KFP 3 does.

    ``count`` is of all, also where there are no ``messages``.
    """

    details: Sequence[PipelineTaskDetail] | Raw
    count: int
    messages: Sequence[PipelineTask] = ()


def run_message(
    row: tables.Run,
    spec: Mapping[str, Any] | None,
    tasks: Tasks | None = None,
) -> Run:
    """The wire form of a run, with its tasks where they are asked for.

    ``spec`` is the wire form of the specification of a run that was made from no version.
    """
    reference = None
    if row.pipeline_version_id is not None:
        reference = PipelineVersionReference(
            pipeline_id=row.pipeline_id or "", pipeline_version_id=row.pipeline_version_id
        )
    return Run(
        experiment_id=row.experiment_id,
        run_id=row.id,
        display_name=row.display_name,
        storage_state=row.storage_state,
        description=row.description,
        pipeline_spec=spec if reference is None else None,
        pipeline_version_reference=reference,
        runtime_config=RuntimeConfig(parameters=row.parameters or None, pipeline_root=row.pipeline_root),
        service_account=row.service_account,
        created_at=timestamp(row.created_at),
        scheduled_at=timestamp(row.scheduled_at),
        finished_at=timestamp(row.finished_at),
        state=row.state,
        error=status(row.error),
        run_details=None if tasks is None else RunDetails(task_details=cast("Any", tasks.details)),
        recurring_run_id=row.recurring_run_id or "",
        state_history=history(row.state_history),
        plugins_input=row.plugins_input,
        pipeline_reference=reference,
        task_count=0 if tasks is None else tasks.count,
        tasks=() if tasks is None else tasks.messages,
    )


@dataclass(frozen=True)
class RunService:
    """The service's methods."""

    runs: RunStore
    experiments: ExperimentStore
    pipelines: PipelineStore
    tasks: TaskMessages
    details: TaskDetails
    stores: Stores
    clock: Clock
    enqueue: Enqueue

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        one = "/runs/{run_id}"
        artifact = f"{one}/nodes/{{node_id}}/artifacts/{{name}}:read"
        listed = (*LISTED, _EXPERIMENT, Query("namespace"), _VIEW)
        return (
            route("POST", "/runs", self._create, (_EXPERIMENT,)),
            route("GET", "/runs", self._list, listed),
            route("POST", f"{one}:archive", self._archive),
            route("POST", f"{one}:unarchive", self._unarchive),
            route("POST", f"{one}:terminate", self._terminate),
            route("POST", f"{one}:retry", self._retry),
            route("GET", artifact, self._read_artifact),
            route("GET", one, self._get, (_EXPERIMENT, _VIEW)),
            route("DELETE", one, self._delete, (_EXPERIMENT,)),
        )

    async def _create(self, request: Request, wanted: Run) -> Run:
        check_plugins(wanted.plugins_input or {})
        experiment_id = wanted.experiment_id or request.query_params.get("experiment_id", "")
        specification, version = await self._specification(wanted)
        experiment = await (self.experiments.get(experiment_id) if experiment_id else self.experiments.default())
        config = wanted.runtime_config or RuntimeConfig()
        row = new_run(
            RunRequest(
                display_name=wanted.display_name,
                experiment_id=experiment.id,
                specification=specification,
                description=wanted.description,
                parameters=config.parameters or {},
                pipeline_root=config.pipeline_root,
                service_account=wanted.service_account,
                pipeline_id=version.pipeline_id if version else None,
                pipeline_version_id=version.id if version else None,
            ),
            self.clock.now(),
            default_root(self.stores, USER_NAMESPACE),
        )
        row.plugins_input = wanted.plugins_input or None
        await self.runs.create(row)
        self.enqueue(ObjectKey(row.namespace, row.id))
        return run_message(row, wrapped(row.pipeline_spec, row.platform_spec))

    async def _specification(self, wanted: Run) -> tuple[Specification, tables.PipelineVersion | None]:
        reference = wanted.pipeline_version_reference
        given = [wanted.pipeline_spec is not None, reference is not None, bool(wanted.pipeline_version_id)]
        if given.count(True) != 1:
            raise InvalidInput("a run needs exactly one of pipeline_spec and pipeline_version_reference")
        if wanted.pipeline_spec is not None:
            return from_wire(wanted.pipeline_spec), None
        if reference is None:
            reference = PipelineVersionReference(pipeline_version_id=wanted.pipeline_version_id)
        version = await self.pipelines.referenced(reference.pipeline_id, reference.pipeline_version_id)
        return from_wire(wrapped(version.pipeline_spec, version.platform_spec)), version

    async def _get(self, request: Request) -> Run:
        run_id = request.path_params["run_id"]
        row = await self.runs.head(run_id)
        if row is None:
            raise NotFound(f"Run {run_id} not found")
        reported = await self.tasks.reported((run_id,))
        messages: Sequence[PipelineTask] = ()
        if _full(request):
            messages = await self.tasks.of((*await self.runs.tasks(run_id), *reported))
        details, count = await self.details.of(run_id)
        specs = await self._specs((row,))
        return run_message(row, specs.get(run_id), Tasks(details if count else (), count + len(reported), messages))

    async def _list(self, request: Request) -> ListRunsResponse:
        query, full = list_query(request.query_params, _SCOPE), _full(request)
        page = await self.runs.list(query, request.query_params.get("experiment_id", ""))
        specs = await self._specs(page.rows)
        runs = [run_message(row, specs.get(row.id)) for row in page.rows]
        return ListRunsResponse(
            runs=await self._with_tasks(page.rows, specs) if full else tuple(runs),
            total_size=page.total,
            next_page_token=next_token(page, query, _SCOPE),
        )

    async def _specs(self, rows: Sequence[tables.Run]) -> Mapping[str, Any]:
        """The specifications of the runs that tell of them: they pass as the texts that they are, unread."""
        texts = await self.runs.specifications([row.id for row in rows if row.pipeline_version_id is None])
        return {
            run_id: Raw(
                f'{{"pipeline_spec":{spec},"platform_spec":{platform}}}'.encode() if platform else spec.encode()
            )
            for run_id, (spec, platform) in texts.items()
        }

    async def _with_tasks(self, rows: Sequence[tables.Run], specs: Mapping[str, Any]) -> Sequence[Run]:
        run_ids = [row.id for row in rows]
        driven, reported = await self.runs.tasks_of_all(run_ids, MAX_TASKS), await self.tasks.reported(run_ids)
        if driven is None or sum(map(len, driven.values())) + len(reported) > MAX_TASKS:
            raise InvalidInput(f"view: these runs have more than {MAX_TASKS} tasks; ask for a smaller page, or by run")
        every = [*(task for tasks in driven.values() for task in tasks), *reported]
        messages: dict[str, list[PipelineTask]] = {}
        for message in await self.tasks.of(every):
            messages.setdefault(message.run_id, []).append(message)
        full = {
            run_id: Tasks(task_details(driven.get(run_id, ())), len(each), each) for run_id, each in messages.items()
        }
        return tuple([run_message(row, specs.get(row.id), full.get(row.id, Tasks((), 0))) for row in rows])

    async def _archive(self, request: Request) -> Empty:
        await self.runs.archive(request.path_params["run_id"], self.clock.now())
        return Empty()

    async def _unarchive(self, request: Request) -> Empty:
        await self.runs.unarchive(request.path_params["run_id"])
        return Empty()

    async def _terminate(self, request: Request) -> Empty:
        async with self.runs.change_existing(request.path_params["run_id"]) as run:
            if run.state not in TERMINABLE:
                raise FailedPrecondition(f"Failed to terminate run {run.id}: its state is {run.state}")
            advance_run(run, CANCELING, self.clock.now())
            key = ObjectKey(run.namespace, run.id)
        self.enqueue(key)
        return Empty()

    async def _retry(self, request: Request) -> Empty:
        async with self.runs.change_existing(request.path_params["run_id"]) as run:
            if run.state not in _RETRIABLE:
                raise FailedPrecondition(
                    f"Failed to retry run {run.id}: only failed or terminated runs can be retried, "
                    f"and its state is {run.state}"
                )
            advance_run(run, PENDING, self.clock.now())
            run.retry_generation += 1
            key = ObjectKey(run.namespace, run.id)
        self.enqueue(key)
        return Empty()

    async def _delete(self, request: Request) -> Empty:
        self.enqueue(await self.runs.delete(request.path_params["run_id"]))
        return Empty()

    async def _read_artifact(self, request: Request) -> ReadArtifactResponse:
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        task = await self.runs.task_of_node(run_id, request.path_params["node_id"])
        if task is None:
            raise NotFound(f"Run {run_id} has no step {request.path_params['node_id']}")
        artifact = await self.tasks.output(task, name)
        if artifact is None:
            raise NotFound(f"Step {task.display_name} of run {run_id} has no output artifact {name}")
        try:
            content = await self.stores.seen_from(USER_NAMESPACE).read(artifact.uri, MAX_ARTIFACT + 1)
        except StoreError as error:
            raise Unavailable(f"artifact {artifact.id} cannot be read: {error}") from error
        except KeyOutside as error:
            raise FailedPrecondition(f"artifact {artifact.id} cannot be read: {error}") from error
        if content is None:
            raise NotFound(f"nothing is stored at {artifact.uri}, or a directory")
        if len(content) > MAX_ARTIFACT:
            raise FailedPrecondition(
                f"artifact {artifact.id} is larger than {MAX_ARTIFACT // 2**20} MiB: read it at {artifact.uri}"
            )
        return ReadArtifactResponse(data=base64.b64encode(content).decode())


def _full(request: Request) -> bool:
    return query_value(request.query_params, "view", View) == "FULL"
