"""ExperimentService."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from ketch.pipelines.api.http import Operation, Query, route
from ketch.pipelines.api.listing import LISTED, list_query, next_token
from ketch.pipelines.api.messages import Empty, Experiment, ListExperimentsResponse
from ketch.pipelines.api.wire import timestamp
from ketch.pipelines.records import tables
from ketch.pipelines.records.experiments import ExperimentStore

_SCOPE = "experiments"


def experiment_message(row: tables.Experiment) -> Experiment:
    """The wire form of an experiment."""
    return Experiment(
        experiment_id=row.id,
        display_name=row.name,
        description=row.description,
        created_at=timestamp(row.created_at),
        namespace=row.namespace,
        storage_state=row.storage_state,
        last_run_created_at=timestamp(row.last_run_created_at),
    )


@dataclass(frozen=True)
class ExperimentService:
    """The service's methods."""

    experiments: ExperimentStore

    def routes(self) -> Sequence[Operation]:
        """Where they are."""
        one = "/experiments/{experiment_id}"
        return (
            route("POST", "/experiments", self._create),
            route("GET", "/experiments", self._list, (*LISTED, Query("namespace"))),
            route("POST", f"{one}:archive", self._archive),
            route("POST", f"{one}:unarchive", self._unarchive),
            route("GET", one, self._get),
            route("DELETE", one, self._delete),
        )

    async def _create(self, wanted: Experiment) -> Experiment:
        return experiment_message(await self.experiments.create(wanted.display_name, wanted.description))

    async def _get(self, request: Request) -> Experiment:
        return experiment_message(await self.experiments.get(request.path_params["experiment_id"]))

    async def _list(self, request: Request) -> ListExperimentsResponse:
        query = list_query(request.query_params, _SCOPE)
        page = await self.experiments.list(query)
        return ListExperimentsResponse(
            experiments=tuple(experiment_message(row) for row in page.rows),
            total_size=page.total,
            next_page_token=next_token(page, query, _SCOPE),
        )

    async def _archive(self, request: Request) -> Empty:
        await self.experiments.archive(request.path_params["experiment_id"])
        return Empty()

    async def _unarchive(self, request: Request) -> Empty:
        await self.experiments.unarchive(request.path_params["experiment_id"])
        return Empty()

    async def _delete(self, request: Request) -> Empty:
        await self.experiments.delete(request.path_params["experiment_id"])
        return Empty()
