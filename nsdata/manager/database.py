"""The database: SQLite or PostgreSQL, brought to this version's tables at the start.

Readers never wait for writers. Writers go one after another: in SQLite there can be but one, and
a lock of ours makes them wait in turn instead of failing. The process that stores reports holds the
database (`hold`), so that there is one manager to it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from nsdata.errors import OutputError
from nsdata.manager.holding import NAME, WAIT_S, FileHold, SessionHold

BUSY_S = 10.0  # another process (that of reports, a command line) may be writing
TRY_MS = 20  # SQLite waits longer and longer between two tries: so it begins again
CHECKPOINT = 8000  # pages in SQLite's log: what is written each second goes into the file seldom
DISK_FULL = "53100"  # SQLSTATE
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
        self._file_hold: FileHold | None = None
        self._session_hold: SessionHold | None = None
        if migrate:
            try:
                upgrade(self._writer)
            except (SQLAlchemyError, CommandError, OSError) as error:
                raise OutputError(f"{self.name}: {said(error)}") from error

    def _engine(self, *, immediate: bool) -> Engine:
        if not self.sqlite:
            return create_engine(
                self.url,
                pool_size=POOL,
                max_overflow=0,
                pool_pre_ping=True,
                connect_args={"application_name": NAME},
            )
        engine = create_engine(
            self.url,
            pool_size=POOL,
            max_overflow=POOL,
            connect_args={"check_same_thread": False, "timeout": BUSY_S},
        )

        @event.listens_for(engine, "connect")
        def _settings(connection: Any, record: Any) -> None:
            connection.isolation_level = None  # transactions are begun below
            cursor = connection.cursor()
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "cache_size=-65536",
                f"wal_autocheckpoint={CHECKPOINT}",
                f"busy_timeout={TRY_MS if immediate else int(BUSY_S * 1000)}",
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def _begin(connection: Any) -> None:
            if not immediate:
                connection.exec_driver_sql("BEGIN")
                return
            end = time.monotonic() + BUSY_S
            while True:
                try:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                    return
                except OperationalError as error:
                    if "locked" not in str(error.orig) or time.monotonic() >= end:
                        raise

        return engine

    def hold(self, wait_s: float = WAIT_S) -> None:
        """Be the one that stores reports, from now on. Raises Held after `wait_s`, OutputError."""
        if self.sqlite:
            file = make_url(self.url).database
            assert file  # one in memory is refused
            self._file_hold = FileHold(Path(f"{file}.lock"), "on this database", Path(file))
            self._file_hold.take(wait_s)
            return
        self._session_hold = SessionHold(self._writer, self.name)
        try:
            self._session_hold.connection(wait_s)
        except SQLAlchemyError as error:
            raise OutputError(f"{self.name}: {said(error)}") from error

    @property
    def taken(self) -> int:
        """How often it was taken: more often than before, and others may have written."""
        return self._session_hold.taken if self._session_hold is not None else 0

    def check(self) -> None:
        """Whether it is still held. Raises Held when not, SQLAlchemyError."""
        with self.writing() as session:
            if not self.sqlite:
                session.execute(text("SELECT 1"))

    def _bind(self) -> Engine | Connection:
        if self._file_hold is not None:
            self._file_hold.check()
        if self._session_hold is not None:
            return self._session_hold.connection()
        return self._writer

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """What is committed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction: committed at its end, rolled back by an exception. Raises Held when
        the database was held by this process and is no more."""
        with (
            self._lock,
            Session(self._bind(), expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    def close(self) -> None:
        """Let go."""
        if self._session_hold is not None:
            self._session_hold.close()
        if self._file_hold is not None:
            self._file_hold.close()
        self.engine.dispose()
        self._writer.dispose()


def said(error: Exception) -> str:
    """What a database had to say, in a line, and what to do when that is known."""
    cause = getattr(error, "orig", None) or error
    line = str(cause).strip().splitlines()[0]
    full = "disk is full" in line or getattr(cause, "sqlstate", None) == DISK_FULL
    return f"{line}: make room on the disk of the database; it goes on by itself" if full else line


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
