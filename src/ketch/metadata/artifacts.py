"""Artifacts and their links as lineage: who made what from what, queryable both ways.

Writers hand rows to the transaction in which they write their own (``RunStore.change``'s session): an artifact and the
task that made it are on disk together or not at all. This store reads.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select

from ketch.metadata.database import Database
from ketch.metadata.tables import Artifact, ArtifactTask

_BATCH = 500  # ids in one IN list; SQLite's parameters are bounded


class ArtifactStore:
    """Queries over artifacts and their links."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def get(self, artifact_ids: Iterable[str]) -> Mapping[str, Artifact]:
        """The artifacts by id; unknown ids are left out."""
        ids = list(dict.fromkeys(artifact_ids))
        found: dict[str, Artifact] = {}
        async with self.database.session() as session:
            for start in range(0, len(ids), _BATCH):
                batch = ids[start : start + _BATCH]
                rows = await session.scalars(select(Artifact).where(Artifact.id.in_(batch)))
                found |= {row.id: row for row in rows}
        return found

    async def of_run(self, run_id: str) -> Sequence[tuple[ArtifactTask, Artifact]]:
        """Every link of the run's tasks with its artifact."""
        query = (
            select(ArtifactTask, Artifact)
            .join(Artifact, Artifact.id == ArtifactTask.artifact_id)
            .where(ArtifactTask.run_id == run_id)
            .order_by(ArtifactTask.task_id, ArtifactTask.role, ArtifactTask.key, ArtifactTask.position)
        )
        async with self.database.session() as session:
            return [(link, artifact) for link, artifact in await session.execute(query)]
