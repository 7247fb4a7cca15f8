"""The second schema: recurring runs, and what runs and tasks say more."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """From the first schema."""
