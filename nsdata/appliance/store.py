"""What survives a restart: state, transitions with their evidence, counters, events. SQLite.

One writer, the supervisor. A store that is corrupt is moved aside (`.corrupt-N`) and begun anew: an
appliance does not stay down for its memory's sake. One that is locked, or whose disk is full or
read-only, stays where it is: rows wait in memory, bounded, until it takes them, at the start as
later.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    Integer,
    Row,
    Select,
    String,
    Text,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.pool import NullPool

from nsdata.errors import OutputError
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import Reason, State

PENDING = 10_000  # rows kept while they cannot be written
RETRY_NS = 1_000_000_000  # after a write that failed
KEPT = 100_000  # rows of a table; the oldest go
SCHEMA = 1
LOCKED_MS = 50  # a writer waits for others
START_MS = 3000  # the same at the start
CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# How to read what cannot be opened for writing: as a reader does; without the shared memory file
# that readers make (there may be no room for it); as it stands in the file.
READS = (("mode=ro", "NORMAL"), ("mode=rw", "EXCLUSIVE"), ("mode=ro&immutable=1", "NORMAL"))


class _Base(DeclarativeBase):
    pass


class TransitionRow(_Base):
    """A change of state or reason, or a refusal."""

    __tablename__ = "transitions"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at_ns: Mapped[int] = mapped_column(Integer, index=True)  # since the epoch
    told: Mapped[str] = mapped_column(Text)  # JSON, as in EVE


class EventRow(_Base):
    """Something that changed no state."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at_ns: Mapped[int] = mapped_column(Integer, index=True)
    kind: Mapped[str] = mapped_column(String(80))
    subject: Mapped[str] = mapped_column(String(200))
    evidence: Mapped[str] = mapped_column(Text)


class CountersRow(_Base):
    """The ledger, state and reason at one time."""

    __tablename__ = "counters"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    at_ns: Mapped[int] = mapped_column(Integer, index=True)
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str] = mapped_column(String(40))
    ledger: Mapped[str] = mapped_column(Text)


class _Unsound(SQLAlchemyError):
    """What quick_check found."""


class Store:
    """The store at `path`, made if need be. Raises OutputError when its directory is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.moved: Path | None = None  # where a corrupt one went
        self.error = ""  # of the last write; "": it went well
        self.failure = ""  # the latest error, also of a write that was made up for since
        self.lost = 0  # rows that could not be kept
        self._usable = False  # it was opened, and is sound
        self._retry_ns = 0  # not before: who writes into it does not wait for it each time
        self._pending: deque[tuple[type[_Base], dict[str, Any]]] = deque()
        if not path.parent.is_dir():
            raise OutputError(f"{path}: no store: {path.parent} is no directory")
        self._engine = create_engine(f"sqlite:///{path}")

        @event.listens_for(self._engine, "connect")
        def _settings(connection: Any, record: Any) -> None:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={LOCKED_MS if self._usable else START_MS}")
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=NORMAL")  # whole after a crash; a second may lack
            cursor.close()

        try:
            self._open()
        except SQLAlchemyError as error:
            self._failed(error)

    def _open(self) -> None:
        try:
            with self._engine.begin() as connection:
                sound = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if sound != "ok":
                    raise _Unsound(f"the store is corrupt: {sound}")
                _Base.metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA}")
            self._usable = True
        finally:
            self._engine.dispose()  # the next connection waits less

    def _failed(self, error: SQLAlchemyError) -> None:
        """Rows wait; a store found corrupt is begun anew."""
        self.error = _said(error)
        self._retry_ns = time.monotonic_ns() + RETRY_NS
        if _corrupt(error):
            try:
                self._aside()
                self._open()
                self.error = ""
            except (SQLAlchemyError, OSError) as second:
                self.error = _said(second)
        self.failure = self.error or self.failure

    def _aside(self) -> None:
        self._usable = False
        self._engine.dispose()
        number = 1
        while (to := self.path.with_name(f"{self.path.name}.corrupt-{number}")).exists():
            number += 1
        for suffix in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.rename(to.with_name(to.name + suffix))
        self.moved = to

    # --- writing ----------------------------------------------------------------------------

    def transition(self, at_ns: int, told: Mapping[str, Any]) -> None:
        """Put a transition on record."""
        self._put(TransitionRow, at_ns=at_ns, told=json.dumps(told))

    def event(self, at_ns: int, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """Put an event on record."""
        self._put(
            EventRow, at_ns=at_ns, kind=kind[:80], subject=subject[:200],
            evidence=json.dumps(dict(evidence), default=str),
        )  # fmt: skip

    def counters(self, at_ns: int, ledger: LedgerSnapshot, state: State, reason: Reason) -> None:
        """Put the counters on record."""
        self._put(
            CountersRow, at_ns=at_ns, state=state.value, reason=reason.value,
            ledger=json.dumps(ledger.as_dict()),
        )  # fmt: skip

    def _put(self, table: type[_Base], **row: Any) -> None:
        if len(self._pending) >= PENDING:
            self._pending.popleft()
            self.lost += 1
        self._pending.append((table, row))
        if time.monotonic_ns() >= self._retry_ns:
            self.flush()

    def flush(self) -> bool:
        """Write what waits; whether all is written. A store found corrupt is begun anew."""
        try:
            if not self._usable:
                self._open()
            with self._engine.begin() as connection:
                for table, row in self._pending:
                    connection.execute(insert(table), row)
            self._pending.clear()
            self.error = ""
        except SQLAlchemyError as error:
            self._failed(error)
        return not self._pending

    def trim(self) -> None:
        """Let the oldest rows go when there are very many."""
        try:
            with self._engine.begin() as connection:
                for table in (TransitionRow, EventRow, CountersRow):
                    newest = connection.execute(select(func.max(table.id))).scalar() or 0
                    connection.execute(delete(table).where(table.id <= newest - KEPT))
        except SQLAlchemyError as error:
            self.error = self.failure = _said(error)

    # --- reading ----------------------------------------------------------------------------

    def transitions(self, most: int = 20) -> list[dict[str, Any]]:
        """The newest, newest first, those that could not be written yet among them; `wall_ns` is
        the time since the epoch. Raises OutputError."""
        waiting = [(row["at_ns"], row["told"]) for table, row in self._pending
                   if table is TransitionRow]  # fmt: skip
        rows = self._rows(
            select(TransitionRow.at_ns, TransitionRow.told)
            .order_by(TransitionRow.id.desc())
            .limit(most)
        )
        found = [*reversed(waiting), *((row.at_ns, row.told) for row in rows)][:most]
        return [{"wall_ns": at_ns, **json.loads(told)} for at_ns, told in found]

    def events(self, kind: str, most: int) -> list[dict[str, Any]]:
        """The newest of a kind, newest first, those that could not be written yet among them.
        Raises OutputError."""
        waiting = [(row["at_ns"], row["subject"], row["evidence"]) for table, row in self._pending
                   if table is EventRow and row["kind"] == kind]  # fmt: skip
        rows = self._rows(
            select(EventRow.at_ns, EventRow.subject, EventRow.evidence)
            .where(EventRow.kind == kind)
            .order_by(EventRow.id.desc())
            .limit(most)
        )
        found = [*reversed(waiting), *map(tuple, rows)][:most]
        return [{"wall_ns": at_ns, "subject": subject, "evidence": json.loads(evidence)}
                for at_ns, subject, evidence in found]  # fmt: skip

    def last(self) -> dict[str, Any] | None:
        """State, reason and ledger as they were last put on record. Raises OutputError."""
        columns = (CountersRow.at_ns, CountersRow.state, CountersRow.reason, CountersRow.ledger)
        rows = self._rows(select(*columns).order_by(CountersRow.id.desc()).limit(1))
        if not rows:
            return None
        row = rows[0]
        return {"at_ns": row.at_ns, "state": row.state, "reason": row.reason,
                "ledger": json.loads(row.ledger)}  # fmt: skip

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        if self._usable:
            try:
                with self._engine.connect() as connection:
                    return connection.execute(query).all()
            except SQLAlchemyError as error:
                raise OutputError(f"{self.path} cannot be read: {_said(error)}") from error
        for how, locking in READS:
            engine = create_engine(
                f"sqlite:///file:{quote(str(self.path))}?{how}&uri=true", poolclass=NullPool
            )
            with suppress(SQLAlchemyError), engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA locking_mode={locking}")
                return connection.execute(query).all()
        return []  # it says nothing now; what waits is told all the same

    def close(self) -> None:
        """Write what waits, and let go."""
        self.flush()
        self._engine.dispose()


class StoreReader:
    """What another process reads in the store at `path`, which its writer may move aside at any
    time: opened anew for each look. Every method raises OutputError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", poolclass=NullPool)

    def transitions(self, after: int, most: int) -> list[tuple[int, int, dict[str, Any]]]:
        """(row, since the epoch, as in EVE) of the rows after row `after`, in their order."""
        columns = (TransitionRow.id, TransitionRow.at_ns, TransitionRow.told)
        rows = self._rows(select(*columns).where(TransitionRow.id > after)
                          .order_by(TransitionRow.id).limit(most))  # fmt: skip
        return [(row.id, row.at_ns, json.loads(row.told)) for row in rows]

    def events(self, after: int, most: int) -> list[tuple[int, int, dict[str, Any]]]:
        """The same of events: event, subject, evidence."""
        rows = self._rows(select(EventRow).where(EventRow.id > after)
                          .order_by(EventRow.id).limit(most))  # fmt: skip
        return [(row.id, row.at_ns, {"event": row.kind, "subject": row.subject,
                                     "evidence": json.loads(row.evidence)})
                for row in rows]  # fmt: skip

    def at_ns(self, table: str, number: int) -> int | None:
        """When a row of `transitions` or `events` was written; None: there is no such row."""
        of = TransitionRow if table == "transitions" else EventRow
        rows = self._rows(select(of.at_ns).where(of.id == number))
        return int(rows[0].at_ns) if rows else None

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[Row[*tuple[Any, ...]]]:
        try:
            with self._engine.connect() as connection:
                return connection.execute(query).all()
        except SQLAlchemyError as error:
            raise OutputError(f"{self.path} cannot be read: {_said(error)}") from error


def _corrupt(error: SQLAlchemyError) -> bool:
    """The file is damaged, rather than locked, full or out of reach."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
    return isinstance(error, _Unsound) or code & 0xFF in CORRUPT


def _said(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
