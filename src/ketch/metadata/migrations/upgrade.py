"""Brings an older database to this version's schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def revisions() -> frozenset[str]:
    """Every schema version that this Ketch can upgrade from, its own included."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions())


def newest() -> str | None:
    """The schema version that ``upgrade`` ends at."""
    return ScriptDirectory.from_config(configuration()).get_current_head()


def upgrade(connection: Connection) -> None:
    """Apply the missing revisions inside the connection's transaction."""
    command.upgrade(configuration(connection), "head")
