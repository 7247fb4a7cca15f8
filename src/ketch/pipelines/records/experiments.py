"""Experiments in the database. One of them, ``Default``, is always there."""

from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from ketch.kube.clock import Clock
from ketch.metadata.database import Database
from ketch.pipelines.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound
from ketch.pipelines.records.listing import Field, Listing, ListQuery, Page, Text, Time
from ketch.pipelines.records.states import ARCHIVED, AVAILABLE
from ketch.pipelines.records.tables import Experiment, RecurringRun, Run

DEFAULT_EXPERIMENT: Final = "Default"
MAX_NAME: Final = 128

_FIELDS: Mapping[str, Field] = {
    "id": Text(Experiment.id),
    "experiment_id": Text(Experiment.id),
    "name": Text(Experiment.name),
    "display_name": Text(Experiment.name),
    "created_at": Time(Experiment.created_at),
    "last_run_created_at": Time(Experiment.last_run_created_at, nullable=True),
    "description": Text(Experiment.description),
    "namespace": Text(Experiment.namespace),
    "storage_state": Text(Experiment.storage_state),
}
_LISTING = Listing(Experiment, Experiment.id, _FIELDS)


class ExperimentStore:
    """Experiments by id; ``namespace`` is empty where there is one user."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def create(self, name: str, description: str = "", namespace: str = "") -> Experiment:
        """A new experiment. Raises InvalidInput, AlreadyExists."""
        if not name or len(name) > MAX_NAME:
            raise InvalidInput(f"display_name: an experiment needs a name of 1 to {MAX_NAME} characters")
        experiment = Experiment(
            id=str(uuid4()),
            namespace=namespace,
            name=name,
            description=description,
            storage_state=AVAILABLE,
            created_at=self._clock.now(),
            last_run_created_at=None,
        )
        try:
            async with self._database.transaction() as session:
                session.add(experiment)
        except IntegrityError as error:
            raise AlreadyExists(
                f"Failed to create a new experiment. The name {name} already exists. Please specify a new name"
            ) from error
        return experiment

    async def default(self, namespace: str = "") -> Experiment:
        """The experiment of runs that name none; made when it is not there."""
        query = select(Experiment).where(Experiment.namespace == namespace, Experiment.name == DEFAULT_EXPERIMENT)
        async with self._database.session() as session:
            found = await session.scalar(query)
        if found is not None:
            return found
        try:
            return await self.create(DEFAULT_EXPERIMENT, "All runs created without specifying an experiment", namespace)
        except AlreadyExists:
            return await self.default(namespace)

    async def get(self, experiment_id: str) -> Experiment:
        """Raises NotFound."""
        async with self._database.session() as session:
            return await _existing(session, experiment_id)

    async def list(self, query: ListQuery, namespace: str = "") -> Page[Experiment]:
        """One page of the namespace's experiments."""
        async with self._database.session() as session:
            return await _LISTING.page(session, query, Experiment.namespace == namespace)

    async def archive(self, experiment_id: str) -> None:
        """Archive the experiment with all of its runs and disable its recurring runs. Raises NotFound."""
        now = self._clock.now()
        archived, disabled = {"storage_state": ARCHIVED, "archived_at": now}, {"enabled": False, "updated_at": now}
        runs = update(Run).where(Run.experiment_id == experiment_id, Run.storage_state != ARCHIVED)
        recurring = update(RecurringRun).where(RecurringRun.experiment_id == experiment_id, RecurringRun.enabled)
        async with self._database.transaction() as session:
            (await _existing(session, experiment_id)).storage_state = ARCHIVED
            await session.execute(runs.values(archived))
            await session.execute(recurring.values(disabled))

    async def unarchive(self, experiment_id: str) -> None:
        """Make the experiment available again; its runs stay archived. Raises NotFound."""
        async with self._database.transaction() as session:
            (await _existing(session, experiment_id)).storage_state = AVAILABLE

    async def delete(self, experiment_id: str) -> None:
        """Remove the experiment; its runs stay. Raises NotFound, FailedPrecondition."""
        async with self._database.transaction() as session:
            experiment = await _existing(session, experiment_id)
            if experiment.name == DEFAULT_EXPERIMENT:
                raise FailedPrecondition("the default experiment cannot be deleted")
            await session.execute(delete(Experiment).where(Experiment.id == experiment_id))


async def _existing(session: AsyncSession, experiment_id: str) -> Experiment:
    experiment = await session.get(Experiment, experiment_id)
    if experiment is None:
        raise NotFound(f"Experiment {experiment_id} not found")
    return experiment
