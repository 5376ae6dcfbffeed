"""Runs the migrations for `events.sql.schema`, in its transaction."""

from alembic import context

from events.sql.tables import SCHEMA

context.configure(connection=context.config.attributes["connection"], version_table=SCHEMA.name)
with context.begin_transaction():
    context.run_migrations()
