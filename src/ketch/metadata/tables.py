"""Declarative base of the platform database, and the rows of lineage: artifacts and their links to tasks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Double, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ketch.metadata.columns import Json, Moment

ID_LENGTH = 64

INPUT, OUTPUT = "INPUT", "OUTPUT"
"""The roles of an artifact in a task."""


class Base(DeclarativeBase):
    """What every domain's tables derive from; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Artifact(Base):
    """One piece of data that a task made or an importer named. Written once, by whoever made it; never changed.

    ``type`` is the schema title (``system.Model``). ``properties`` is the user's metadata, ``number_value`` what a
    single metric has measured.
    """

    __tablename__ = "artifacts"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    namespace: Mapped[str] = mapped_column(String(63))
    type: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    uri: Mapped[str] = mapped_column(Text)
    properties: Mapped[Mapping[str, Any]] = mapped_column("metadata", Json, default=dict)
    number_value: Mapped[float | None] = mapped_column(Double)
    created_at: Mapped[datetime] = mapped_column(Moment)

    __table_args__ = (
        Index(None, "namespace", "created_at"),
        Index(None, "uri"),
    )


class ArtifactTask(Base):
    """A task read (INPUT) or made (OUTPUT) an artifact, as the ``position``-th of its parameter ``key``.

    Written with the task's own row, in one transaction. ``run_id`` is the run the *task* belongs to. Neither id is a
    foreign key: tasks belong to the domains, and lineage outlives them.
    """

    __tablename__ = "artifact_tasks"

    task_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    role: Mapped[str] = mapped_column(String(8), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, default=0, autoincrement=False)
    artifact_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    run_id: Mapped[str] = mapped_column(String(ID_LENGTH))

    __table_args__ = (
        Index(None, "artifact_id", "role"),
        Index(None, "run_id"),
    )
