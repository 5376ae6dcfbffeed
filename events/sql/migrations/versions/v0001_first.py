"""The tables of version 0.2.0, which have no migration: `events.sql.schema` creates them."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    pass
