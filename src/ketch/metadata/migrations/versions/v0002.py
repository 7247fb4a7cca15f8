"""The second schema: recurring runs, and what runs and tasks say more."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From the first schema."""
    _recurring_runs()
    _retention()
    _native_pipelines()
    _runs_and_tasks_of_clients()
    _lists_of_runs()


def _recurring_runs() -> None:
    op.create_table(
        "recurring_runs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.String(length=64), nullable=False),
        sa.Column("pipeline_spec", sa.JSON(), nullable=True),
        sa.Column("platform_spec", sa.JSON(), nullable=True),
        sa.Column("pipeline_id", sa.String(length=64), nullable=True),
        sa.Column("pipeline_version_id", sa.String(length=64), nullable=True),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("pipeline_root", sa.Text(), nullable=False),
        sa.Column("service_account", sa.String(length=253), nullable=False),
        sa.Column("max_concurrency", sa.Integer(), nullable=False),
        sa.Column("no_catchup", sa.Boolean(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("interval_second", sa.BigInteger(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=True),
        sa.Column("end_at", sa.BigInteger(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("last_index", sa.Integer(), nullable=False),
        sa.Column("last_scheduled_at", sa.BigInteger(), nullable=True),
        sa.Column("plugins_input", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_recurring_runs"),
    )
    op.create_index("ix_recurring_runs_created_at_id", "recurring_runs", ["created_at", "id"])
    op.create_index(
        "ix_recurring_runs_experiment_id_created_at_id", "recurring_runs", ["experiment_id", "created_at", "id"]
    )
    op.create_index("ix_runs_recurring_run_id_state", "runs", ["recurring_run_id", "state"])
    op.add_column("runs", sa.Column("archived_at", sa.BigInteger(), nullable=True))


def _retention() -> None:
    op.add_column("runs", sa.Column("resource_ttl", sa.JSON(), nullable=True))
    op.add_column("runs", sa.Column("resources_until", sa.BigInteger(), nullable=True))
    op.create_index("ix_runs_resources_until", "runs", ["resources_until"])


def _native_pipelines() -> None:
    for table in ("pipelines", "pipeline_versions"):
        op.add_column(table, sa.Column("origin", sa.Text(), nullable=False, server_default=""))


def _runs_and_tasks_of_clients() -> None:
    op.add_column("runs", sa.Column("plugins_input", sa.JSON(), nullable=True))
    op.create_index("ix_tasks_parent_id", "tasks", ["parent_id"])
    op.add_column("artifacts", sa.Column("number_value", sa.Double(), nullable=True))
    op.create_table(
        "reported_tasks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_history", sa.JSON(), nullable=False),
        sa.Column("cache_fingerprint", sa.String(length=255), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_reported_tasks"),
    )
    op.create_index("ix_reported_tasks_run_id_created_at_id", "reported_tasks", ["run_id", "created_at", "id"])
    op.create_index(
        "ix_reported_tasks_cache_fingerprint_finished_at", "reported_tasks", ["cache_fingerprint", "finished_at"]
    )


def _lists_of_runs() -> None:
    for index in ("ix_runs_created_at_id", "ix_runs_experiment_id_created_at_id", "ix_runs_state"):
        op.drop_index(index, "runs")
    op.create_index(
        "ix_runs_listed",
        "runs",
        [
            "created_at",
            "id",
            "storage_state",
            "state",
            "experiment_id",
            "finished_at",
            "scheduled_at",
            "recurring_run_id",
            "display_name",
        ],
    )
    op.create_index(
        "ix_runs_listed_of_experiment", "runs", ["experiment_id", "created_at", "id", "storage_state", "state"]
    )
    op.create_index("ix_runs_listed_in_state", "runs", ["state", "created_at", "id", "storage_state"])
