"""One manager on a database: its writer remembers what is stored, and two would not agree.

PostgreSQL: an advisory lock of a connection of its own, gone with that connection. SQLite: a lock
on a file beside the database.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from nsdata.errors import OutputError
from nsdata.manager.database import Database, said

KEY = 0x6E73646174616D67  # "nsdatamg", among the advisory locks of one database


class Alone:
    """Held from its making to `close`. Raises OutputError when another manager holds it."""

    def __init__(self, database: Database) -> None:
        self._file: int | None = None
        self._connection: Connection | None = None
        taken = OutputError(f"{database.name}: another manager runs on this database")
        if not database.sqlite:
            try:
                engine = create_engine(
                    database.url, poolclass=NullPool, isolation_level="AUTOCOMMIT"
                )
                self._connection = engine.connect()
                mine = self._connection.scalar(text("SELECT pg_try_advisory_lock(:k)"), {"k": KEY})
            except SQLAlchemyError as error:
                raise OutputError(f"{database.name}: {said(error)}") from error
            if not mine:
                self.close()
                raise taken
        elif name := make_url(database.url).database:
            file = Path(f"{name}.lock")
            self._file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self.close()
                raise taken from error

    def close(self) -> None:
        """Let go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None
