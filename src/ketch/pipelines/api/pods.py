"""The pods of steps, for those who want to make one like it: of Ketch's own, other installations do not have this."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ketch.pipelines.api.http import Declared, Operation, operation_id
from ketch.pipelines.errors import NotFound
from ketch.pipelines.logs.archive import attempt_of
from ketch.pipelines.records.runs import RunStore
from ketch.pipelines.running.rebuilding import Rebuilder


@dataclass(frozen=True)
class PodService:
    """Pods as they were made, or would be, whether they are there or not."""

    runs: RunStore
    rebuilder: Rebuilder

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        return (Operation("GET", "/runs/{run_id}/nodes/{node_id}/pod", self._pod, Declared(operation_id(self._pod))),)

    async def _pod(self, request: Request) -> Response:
        run_id, node_id = request.path_params["run_id"], request.path_params["node_id"]
        run, task = await self.runs.get(run_id), await self.runs.task_of_node(run_id, node_id)
        if run is None or task is None:
            raise NotFound(f"Run {run_id} has no step {node_id}")
        pod = await self.rebuilder.pod(run, task.id, attempt_of(run, task, node_id))
        return Response(orjson.dumps(pod.to_json()), media_type="application/json")
