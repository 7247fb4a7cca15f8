"""Alembic's entry: run the revisions on the connection that ``upgrade`` was given."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
