"""What is not about one kind of thing: health, authorisation, logs of steps."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ketch.kube.client import Client
from ketch.kube.errors import APIError, TransportError
from ketch.metadata.objects import StoreError
from ketch.pipelines.api.http import Declared, Operation, Query, operation_id, route
from ketch.pipelines.api.messages import Empty, GetHealthzResponse
from ketch.pipelines.api.wire import Enum, query_value
from ketch.pipelines.errors import NotFound, Unavailable
from ketch.pipelines.logs.archive import LogArchive, attempt_of
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.records.tables import Run, Task
from ketch.pipelines.steps.step import MAIN, pod_name

_TEXT = "text/plain; charset=utf-8"
AuthorizedResources = Annotated[str, Enum({0: "UNASSIGNED_RESOURCES", 1: "VIEWERS"})]
AuthorizedVerb = Annotated[str, Enum({0: "UNASSIGNED_VERB", 1: "CREATE", 2: "GET", 3: "DELETE"})]


@dataclass(frozen=True)
class SystemService:
    """HealthzService and AuthService of an installation for one user."""

    version: str

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        asked = (Query("namespace"), Query("resources", kind=AuthorizedResources), Query("verb", kind=AuthorizedVerb))
        return (route("GET", "/healthz", self._healthz), route("GET", "/auth", self._authorize, asked))

    async def _healthz(self) -> GetHealthzResponse:
        return GetHealthzResponse(tag_name=self.version, pipeline_store="database")

    async def _authorize(self, request: Request) -> Empty:
        query_value(request.query_params, "resources", AuthorizedResources)
        query_value(request.query_params, "verb", AuthorizedVerb)
        return Empty()  # the one user may do everything


@dataclass(frozen=True)
class LogService:
    """Logs of a run's steps: of every attempt, read where the pod is and from the archive when it is gone."""

    runs: RunStore
    client: Client
    archive: LogArchive

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        asked = (Query("follow", "Until the step ends.", bool),)
        declared = Declared(operation_id(self._log), asked, media="text/plain")
        return (Operation("GET", "/runs/{run_id}/nodes/{node_id}/log", self._log, declared),)

    async def _log(self, request: Request) -> Response:
        run_id, node_id = request.path_params["run_id"], request.path_params["node_id"]
        run, task = await self.runs.get(run_id), await self.runs.task_of_node(run_id, node_id)
        if run is None or task is None:
            raise NotFound(f"Run {run_id} has no step {node_id}")
        if not task.pod_name:
            raise NotFound(f"Step {task.display_name} of run {run_id} has no pod, and so no log")
        follow = query_value(request.query_params, "follow", bool)
        attempt = attempt_of(run, task, node_id)
        pod = pod_name(run.name, task.name, task.id, attempt)
        chunks = self._chunks(pod, run.namespace, follow=follow)
        try:
            first = await anext(chunks, b"")  # what goes wrong, does so before the answer's status is sent
        except (APIError, TransportError) as error:
            if (kept := await self._kept(run, task, attempt)) is not None:
                return Response(kept, media_type=_TEXT)
            if isinstance(error, APIError):
                raise NotFound(f"The log of {pod} cannot be read: {error.message}") from error
            raise Unavailable(f"The log of {pod} cannot be read: {error}") from error
        return StreamingResponse(_prepended(first, chunks), media_type=_TEXT)

    async def _kept(self, run: Run, task: Task, attempt: int) -> bytes | None:
        try:
            return await self.archive.read(run, task, attempt)
        except StoreError as error:
            raise Unavailable(f"The log of {task.display_name} cannot be read: {error}") from error

    async def _chunks(self, pod: str, namespace: str, *, follow: bool) -> AsyncIterator[bytes]:
        async with self.client.logs(pod, namespace, container=MAIN, follow=follow) as log:
            async for chunk in log:
                yield chunk


async def _prepended(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
