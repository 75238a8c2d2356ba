"""Alembic runs this. The connection, its transaction and its lock come from gateway.database.upgrade."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite keeps DDL inside our explicit BEGIN as well, whatever Alembic believes of it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
