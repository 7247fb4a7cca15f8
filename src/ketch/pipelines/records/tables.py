"""Rows of Kubeflow Pipelines in the platform database, and who writes which column.

Two parties write: the *API* (``ketch.pipelines.api``, on a user's word) and the *engine* (``RunReconciler``). Each
row's docstring says whose a column is; what is not named belongs to the API, once, at creation. States are KFP's
names (``states``); times are timezone-aware; JSON holds plain values as they appear on the wire.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ketch.metadata.columns import Json, Moment
from ketch.metadata.tables import ID_LENGTH, Base

NAME_LENGTH = 255


class Experiment(Base):
    """A named group of runs. Only the API writes here. ``namespace`` is empty where there is one user."""

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    namespace: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str] = mapped_column(Text, default="")
    storage_state: Mapped[str] = mapped_column(String(16), default="AVAILABLE")
    created_at: Mapped[datetime] = mapped_column(Moment)
    last_run_created_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index(None, "namespace", "name", unique=True),
        Index(None, "created_at", "id"),
    )


class Pipeline(Base):
    """A named pipeline; its versions hold the specifications. Only the API writes here, and ``native`` for those that
    are Kubernetes objects: ``origin`` is then the object's ``namespace/name``, and empty otherwise."""

    __tablename__ = "pipelines"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    namespace: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    display_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[Mapping[str, str]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(Moment)
    origin: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (
        Index(None, "namespace", "name", unique=True),
        Index(None, "created_at", "id"),
    )


class PipelineVersion(Base):
    """One specification of a pipeline, which never changes. Written and marked as ``Pipeline`` is."""

    __tablename__ = "pipeline_versions"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    pipeline_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    display_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str] = mapped_column(Text, default="")
    code_source_url: Mapped[str] = mapped_column(Text, default="")
    package_url: Mapped[str] = mapped_column(Text, default="")
    pipeline_spec: Mapped[Mapping[str, Any]] = mapped_column(Json)
    platform_spec: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    tags: Mapped[Mapping[str, str]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(Moment)
    origin: Mapped[str] = mapped_column(Text, default="")

    __table_args__ = (
        Index(None, "pipeline_id", "name", unique=True),
        Index(None, "pipeline_id", "created_at", "id"),
    )


class Run(Base):
    """One execution of a specification.

    API, at creation: everything up to ``created_at``; ``state`` is PENDING. API, later: ``storage_state``;
    ``state`` = CANCELING (terminate); ``state`` = PENDING, ``error`` = None, ``finished_at`` = None and
    ``retry_generation`` + 1 (retry). Engine: ``state``, ``finished_at``, ``error`` in every other case, always by
    ``states.advance_run``, which keeps ``state_history``. Retention: ``storage_state`` and ``archived_at``.
    ``resource_ttl`` tells by final state how many seconds pods and workspace stay, ``resources_until`` until when.

    ``name`` is the resource name (``<pipeline>-<suffix>``), a DNS label prefix for pods. ``namespace`` is where its
    pods run. ``pipeline_spec`` is the IR itself, never the wrapped form; ``platform_spec`` the second document.
    ``parameters`` are the user's values after text macros, without defaults. ``pipeline_root`` is the *effective* root,
    never empty. ``error`` and the history's errors are google.rpc.Status: ``{"code": 2, "message": "..."}``.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    display_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str] = mapped_column(Text, default="")
    namespace: Mapped[str] = mapped_column(String(63))
    experiment_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    pipeline_spec: Mapped[Mapping[str, Any]] = mapped_column(Json)
    platform_spec: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    pipeline_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    pipeline_version_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    recurring_run_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    parameters: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    pipeline_root: Mapped[str] = mapped_column(Text)
    service_account: Mapped[str] = mapped_column(String(253), default="")
    plugins_input: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    scheduled_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    storage_state: Mapped[str] = mapped_column(String(16), default="AVAILABLE")
    archived_at: Mapped[datetime | None] = mapped_column(Moment)
    resource_ttl: Mapped[Mapping[str, int] | None] = mapped_column(Json)
    resources_until: Mapped[datetime | None] = mapped_column(Moment, index=True)
    retry_generation: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16), default="PENDING")
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    error: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    state_history: Mapped[Sequence[Mapping[str, Any]]] = mapped_column(Json, default=list)

    __table_args__ = (
        # Lists are answered from these alone: a row with its specification lies on pages of its own.
        Index(
            "ix_runs_listed",
            "created_at",
            "id",
            "storage_state",
            "state",
            "experiment_id",
            "finished_at",
            "scheduled_at",
            "recurring_run_id",
            "display_name",
        ),
        Index("ix_runs_listed_of_experiment", "experiment_id", "created_at", "id", "storage_state", "state"),
        Index("ix_runs_listed_in_state", "state", "created_at", "id", "storage_state"),
        Index(None, "recurring_run_id", "state"),
    )


class RecurringRun(Base):
    """A schedule and what it runs.

    API: everything but what follows. Scheduler (``schedules.reconciler``): ``last_index`` and ``last_scheduled_at``,
    written in the transaction that adds the run they speak of, and ``error``, why the due run could not be made.

    ``name`` is the resource name, from which runs get theirs. What runs is either ``pipeline_spec`` (with
    ``platform_spec``) or a version of ``pipeline_id``: the one named, or the newest when a run is due. The trigger is
    ``cron``, else ``interval_second``, else one run at once. ``parameters`` are as the user gave them, macros included.
    """

    __tablename__ = "recurring_runs"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    display_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    description: Mapped[str] = mapped_column(Text, default="")
    experiment_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    pipeline_spec: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    platform_spec: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    pipeline_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    pipeline_version_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    parameters: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    pipeline_root: Mapped[str] = mapped_column(Text, default="")
    service_account: Mapped[str] = mapped_column(String(253), default="")
    max_concurrency: Mapped[int]
    no_catchup: Mapped[bool]
    cron: Mapped[str] = mapped_column(Text, default="")
    interval_second: Mapped[int] = mapped_column(BigInteger, default=0)
    start_at: Mapped[datetime | None] = mapped_column(Moment)
    end_at: Mapped[datetime | None] = mapped_column(Moment)
    enabled: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    last_index: Mapped[int] = mapped_column(default=0)
    last_scheduled_at: Mapped[datetime | None] = mapped_column(Moment)
    plugins_input: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    error: Mapped[Mapping[str, Any] | None] = mapped_column(Json)

    __table_args__ = (
        Index(None, "created_at", "id"),
        Index(None, "experiment_id", "created_at", "id"),
    )


class Task(Base):
    """One node of a run's execution: the root, a DAG, a loop and its iterations, a container. The engine's alone.

    ``path`` is unique in its run and tells the place ("root/for-loop-1/3/train"). ``name`` is the task's key in its
    DAG, ``display_name`` its taskInfo.name. ``kind`` is one of ``states.TASK_KINDS``. ``inputs`` and ``outputs`` are
    ``{"parameters": {key: value}, "artifacts": {key: [artifact id, ...]}}`` (ids as in the artifact links).
    ``state`` is a RuntimeState name, or CACHED. ``pod_name`` is the newest attempt's pod (attempts count from 0),
    ``failed_pods`` those of earlier attempts, oldest first; ``retry_at`` is when the next attempt may start.
    ``cache_key`` is the fingerprint with its scope; ``cached_from`` the task whose outputs were taken.
    ``error`` is google.rpc.Status. The API deletes a run's tasks with the run, and on retry the engine resets
    what did not succeed.
    """

    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    path: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    display_name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(32))
    parent_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    iteration: Mapped[int | None]
    iteration_count: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(16), default="PENDING")
    created_at: Mapped[datetime] = mapped_column(Moment)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    inputs: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    outputs: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    error: Mapped[Mapping[str, Any] | None] = mapped_column(Json)
    pod_name: Mapped[str] = mapped_column(String(253), default="")
    failed_pods: Mapped[Sequence[str]] = mapped_column(Json, default=list)
    attempt: Mapped[int] = mapped_column(default=0)
    retry_at: Mapped[datetime | None] = mapped_column(Moment)
    cache_key: Mapped[str] = mapped_column(String(255), default="")
    cached_from: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    state_history: Mapped[Sequence[Mapping[str, Any]]] = mapped_column(Json, default=list)

    __table_args__ = (
        Index(None, "run_id", "path", unique=True),
        Index(None, "parent_id"),
        Index(None, "cache_key", "finished_at"),
    )


class ReportedTask(Base):
    """A task that a client tells of beside those that the engine drives, which never looks here. Only the API writes.

    ``parent_id`` is the task it belongs below, the engine's or a reported one; empty when it is the run's own.
    ``content`` is the rest of the task in its wire form. ``state`` and the history's states are TaskState's names.
    """

    __tablename__ = "reported_tasks"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    name: Mapped[str] = mapped_column(Text)
    display_name: Mapped[str] = mapped_column(Text)
    parent_id: Mapped[str] = mapped_column(String(ID_LENGTH), default="")
    state: Mapped[str] = mapped_column(String(16), default="")
    state_history: Mapped[Sequence[Mapping[str, Any]]] = mapped_column(Json, default=list)
    cache_fingerprint: Mapped[str] = mapped_column(String(255), default="")
    content: Mapped[Mapping[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime] = mapped_column(Moment)
    finished_at: Mapped[datetime | None] = mapped_column(Moment)

    __table_args__ = (
        Index(None, "run_id", "created_at", "id"),
        Index(None, "cache_fingerprint", "finished_at"),
    )
