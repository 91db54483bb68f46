"""The database: SQLite or PostgreSQL, brought to this version's tables at the start.

Readers never wait for writers. Writers go one after another: in SQLite there can be but one, and
a lock of ours makes them wait in turn instead of failing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from nsdata.errors import OutputError

BUSY_MS = 10_000  # another process (a command line) may be writing
POOL = 20  # connections to PostgreSQL, and as many threads that read


class Database:
    """The one of a manager. Raises OutputError when it cannot be opened or migrated."""

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        self.url = url
        self.sqlite = make_url(url).drivername == "sqlite"
        self.name = make_url(url).render_as_string(hide_password=True)
        if self.sqlite:
            file = make_url(url).database
            if file:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self.engine = self._engine(immediate=False)
        self._writer = self._engine(immediate=True)
        if migrate:
            try:
                upgrade(self._writer)
            except (SQLAlchemyError, CommandError, OSError) as error:
                raise OutputError(f"{self.name}: {said(error)}") from error

    def _engine(self, *, immediate: bool) -> Engine:
        if not self.sqlite:
            return create_engine(self.url, pool_size=POOL, max_overflow=0, pool_pre_ping=True)
        engine = create_engine(
            self.url,
            pool_size=POOL,
            max_overflow=POOL,
            connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
        )
        begin = "BEGIN IMMEDIATE" if immediate else "BEGIN"

        @event.listens_for(engine, "connect")
        def _settings(connection: Any, record: Any) -> None:
            connection.isolation_level = None  # transactions are begun below
            cursor = connection.cursor()
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "cache_size=-65536",
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql(begin)

        return engine

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """What is committed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction: committed at its end, rolled back by an exception."""
        with self._lock, Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Let go."""
        self.engine.dispose()
        self._writer.dispose()


def said(error: Exception) -> str:
    """What a database had to say, in a line."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def migrations(engine: Engine | None = None) -> Config:
    """The configuration of Alembic, for `engine`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["engine"] = engine
    return config


def upgrade(engine: Engine, to: str = "head") -> None:
    """Bring the tables to a revision."""
    command.upgrade(migrations(engine), to)


def downgrade(engine: Engine, to: str) -> None:
    """Bring the tables back to an earlier revision (`base`: none)."""
    command.downgrade(migrations(engine), to)
