"""Alembic's environment: migrations over the engine that the manager has."""

from alembic import context

from nsdata.manager.tables import Base

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    context.configure(
        connection=connection, target_metadata=Base.metadata, transactional_ddl=True,
        render_as_batch=connection.dialect.name == "sqlite", compare_type=True,
    )  # fmt: skip
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
