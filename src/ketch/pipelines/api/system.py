"""What is not about one kind of thing: health, authorisation, logs of steps."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from ketch.kube.client import Client
from ketch.kube.errors import APIError, TransportError
from ketch.pipelines.api.http import route
from ketch.pipelines.api.messages import Empty, GetHealthzResponse
from ketch.pipelines.errors import NotFound, Unavailable
from ketch.pipelines.runs import RunStore


@dataclass(frozen=True)
class SystemService:
    """HealthzService and AuthService of an installation for one user."""

    version: str

    def routes(self) -> Sequence[BaseRoute]:
        """Where they are."""
        return (route("GET", "/healthz", self._healthz), route("GET", "/auth", self._authorize))

    async def _healthz(self) -> GetHealthzResponse:
        return GetHealthzResponse(tag_name=self.version, pipeline_store="database")

    async def _authorize(self, request: Request) -> Empty:  # noqa: ARG002  # an endpoint's signature
        return Empty()  # the one user may do everything


@dataclass(frozen=True)
class LogService:
    """Logs of a run's steps, read where the pod is."""

    runs: RunStore
    client: Client

    def routes(self) -> Sequence[BaseRoute]:
        """Where they are."""
        return (Route("/runs/{run_id}/nodes/{node_id}/log", self._log),)

    async def _log(self, request: Request) -> Response:
        run_id, node_id = request.path_params["run_id"], request.path_params["node_id"]
        run, task = await self.runs.get(run_id), await self.runs.task_of_node(run_id, node_id)
        if run is None or task is None:
            raise NotFound(f"Run {run_id} has no step {node_id}")
        if not task.pod_name:
            raise NotFound(f"Step {task.display_name} of run {run_id} has no pod, and so no log")
        follow = request.query_params.get("follow", "").lower() in ("true", "1")
        chunks = self._chunks(task.pod_name, run.namespace, follow=follow)
        try:
            first = await anext(chunks, b"")  # what goes wrong, does so before the answer's status is sent
        except APIError as error:
            raise NotFound(f"The log of {task.pod_name} cannot be read: {error.message}") from error
        except TransportError as error:
            raise Unavailable(f"The log of {task.pod_name} cannot be read: {error}") from error
        return StreamingResponse(_prepended(first, chunks), media_type="text/plain; charset=utf-8")

    async def _chunks(self, pod: str, namespace: str, *, follow: bool) -> AsyncIterator[bytes]:
        async with self.client.logs(pod, namespace, follow=follow) as log:
            async for chunk in log:
                yield chunk


async def _prepended(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
