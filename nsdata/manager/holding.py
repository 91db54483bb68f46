"""One manager at a time: it holds its directory and its database, and who comes second is told
who does.

What the writer remembers of reports is true only while nobody else writes them. So the process
that writes them holds the database, and looks whether it still does before each transaction: a
file lock beside a SQLite file, an advisory lock of PostgreSQL that belongs to the very connection
that writes. Both end with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from nsdata.errors import OutputError

WAIT_S = 3.0  # for one that is just ending
RETRY_S = 0.05
KEY = int.from_bytes(b"nsdata")  # of the advisory lock, in each database its own
NAME = f"nsdata manager {os.getpid()} on {socket.gethostname()[:24]} {uuid4().hex[:6]}"
HOLDER = text(
    "SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a "
    "ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND (l.classid::bigint << 32) + l.objid::bigint = :key"
)


class Held(OutputError):
    """Another manager has it."""


class FileHold:
    """A lock on a file, which says who has it. `what` is held by it, in words; `beside`: a file
    that must stay the one it is when the lock is taken."""

    def __init__(self, file: Path, what: str, beside: Path | None = None) -> None:
        self.file = file
        self.what = what
        self.beside = beside
        self.descriptor: int | None = None
        self._beside: os.stat_result | None = None

    def take(self, wait_s: float = WAIT_S) -> None:
        """Raises Held, OutputError."""
        try:
            found = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OutputError(f"{self.file}: {error.strerror}") from error
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() < end:
                    time.sleep(RETRY_S)
                    continue
                who = os.pread(found, 200, 0).decode(errors="replace").strip() or "unknown"
                os.close(found)
                raise Held(
                    f"{self.file}: another manager runs {self.what}: {who}. Stop it first, or "
                    "give this one a directory and a database of its own"
                ) from error
        self.descriptor = found
        self._sign(found)
        if self.beside is not None:
            try:
                self._beside = os.stat(self.beside)
            except OSError as error:
                raise OutputError(f"{self.beside}: {error.strerror}") from error

    def _sign(self, descriptor: int) -> None:
        now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        told = f"process {os.getpid()} on {socket.gethostname()} since {now}\n".encode()
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, told, 0)
        except OSError:
            pass  # a full disk: it is held all the same, by nobody known

    def check(self) -> None:
        """Raises Held when the file, or that beside it, is another one by now."""
        ours = None if self.descriptor is None else os.fstat(self.descriptor)
        for file, known in ((self.file, ours), (self.beside, self._beside)):
            if file is None:
                continue
            try:
                kept = known is not None and os.path.samestat(known, os.stat(file))
            except OSError:
                kept = False
            if not kept:
                raise Held(
                    f"{file}: removed or replaced while this manager ran {self.what}: nothing "
                    "more is stored there. Put it back, or start a manager anew"
                )

    def close(self) -> None:
        """Let go; it stays held while a child has it, too."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


class SessionHold:
    """A PostgreSQL database, by an advisory lock of one connection."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name
        self._connection: Connection | None = None
        self.taken = 0  # times; what was known before is void after each

    def connection(self, wait_s: float = 0.0) -> Connection:
        """The one that holds it. When it was lost (the server has started again), it is taken
        again. Raises Held when somebody else was quicker, SQLAlchemyError."""
        if self._connection is not None:
            if not self._connection.invalidated and not self._connection.closed:
                return self._connection
            self._connection.close()
            self._connection = None
        connection = self.engine.connect()
        try:
            self._lock(connection, time.monotonic() + wait_s)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self.taken += 1
        return connection

    def _lock(self, connection: Connection, end: float) -> None:
        while True:
            if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": KEY}):
                connection.commit()
                return
            found = connection.execute(HOLDER, {"key": KEY}).first()
            connection.rollback()
            who, since = found or ("unknown", None)
            mine = who == NAME  # the server has not noticed yet that our connection is gone
            if time.monotonic() >= end:
                told = f"{who}, since {since:%Y-%m-%d %H:%M:%S %Z}" if since else who
                if mine:
                    raise OutputError(f"{self.name}: an earlier connection of ours holds it yet")
                raise Held(
                    f"{self.name}: another manager runs on this database: {told}. Stop it first, "
                    "or give this one a database of its own"
                )
            time.sleep(RETRY_S)

    def close(self) -> None:
        """Let go."""
        if self._connection is not None:
            try:
                self._connection.invalidate()  # ends the session, and the lock with it
                self._connection.close()
            except SQLAlchemyError:
                pass  # it was gone already
            self._connection = None
