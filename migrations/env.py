"""Runs the revisions on the connection that `monitor.store.migrate` opened, inside its transaction; it opens none of its own."""

from __future__ import annotations

from alembic import context

from monitor.errors import StoreError
from monitor.store.tables import metadata

connection = context.config.attributes.get("connection")
if connection is None:
    raise StoreError("the migrations run from the program alone", cure="run `trustacks-monitor db upgrade`")

context.configure(connection=connection, target_metadata=metadata, render_as_batch=True, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
