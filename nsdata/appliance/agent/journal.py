"""What an agent must not forget when it ends: which commands it has begun, what came of them, and
how far the appliance's history is told. SQLite, on disk before anything is done.

A command that was begun and has no result was interrupted: whether it took effect is not known,
and it is not begun again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Integer, String, Text, create_engine, delete, event, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from nsdata.appliance.protocol import Command, CommandKind, Outcome, Result
from nsdata.errors import OutputError

KEPT = 10_000  # commands; the oldest that are told go


class _Base(DeclarativeBase):
    pass


class _Done(_Base):
    __tablename__ = "commands"
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    parameters: Mapped[str] = mapped_column(Text)
    result: Mapped[str | None] = mapped_column(Text)
    told: Mapped[bool] = mapped_column(Boolean, default=False)  # the manager has the result


class _Mark(_Base):
    __tablename__ = "marks"
    table: Mapped[str] = mapped_column(String(20), primary_key=True)
    row: Mapped[int] = mapped_column(Integer)
    at_ns: Mapped[int] = mapped_column(Integer)


class Journal:
    """The one at `path`. Every method raises OutputError when it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = create_engine(f"sqlite:///{path}")

        @event.listens_for(self._engine, "connect")
        def _settings(connection: Any, record: Any) -> None:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")

        try:
            _Base.metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise self._error(error) from error

    def _error(self, error: SQLAlchemyError) -> OutputError:
        return OutputError(f"{self.path}: {getattr(error, 'orig', None) or error}")

    def begin(self, command: Command) -> bool:
        """Note that it is begun now; False: it was before."""
        try:
            with Session(self._engine) as session, session.begin():
                known = select(_Done.number).where(_Done.id == str(command.id))
                if session.scalar(known) is not None:
                    return False
                session.add(
                    _Done(
                        id=str(command.id),
                        kind=command.kind.value,
                        parameters=json.dumps(command.parameters),
                    )
                )
        except SQLAlchemyError as error:
            raise self._error(error) from error
        return True

    def end(self, result: Result) -> None:
        """Note what came of it."""
        try:
            with Session(self._engine) as session, session.begin():
                row = session.scalar(select(_Done).where(_Done.id == str(result.id)))
                if row is not None and row.result is None:
                    row.result = result.model_dump_json()
        except SQLAlchemyError as error:
            raise self._error(error) from error

    def results(self, most: int) -> list[Result]:
        """Those the manager has not acknowledged, oldest first."""
        query = select(_Done.result).where(_Done.result.is_not(None), _Done.told.is_(False))
        try:
            with Session(self._engine) as session:
                rows = session.scalars(query.order_by(_Done.number).limit(most)).all()
        except SQLAlchemyError as error:
            raise self._error(error) from error
        return [Result.model_validate_json(row) for row in rows if row is not None]

    def unfinished(self) -> list[Command]:
        """Those that were begun and have no result."""
        try:
            with Session(self._engine) as session:
                rows = session.scalars(
                    select(_Done).where(_Done.result.is_(None)).order_by(_Done.number)
                ).all()
        except SQLAlchemyError as error:
            raise self._error(error) from error
        return [
            Command(
                id=UUID(row.id), kind=CommandKind(row.kind), parameters=json.loads(row.parameters)
            )
            for row in rows
        ]

    def told(self, results: Iterable[Result]) -> None:
        """The manager has these results."""
        ids = [str(one.id) for one in results if one.outcome is not Outcome.RUNNING]
        if not ids:
            return
        try:
            with Session(self._engine) as session, session.begin():
                for row in session.scalars(select(_Done).where(_Done.id.in_(ids))):
                    row.told = True
                newest = session.scalar(select(_Done.number).order_by(_Done.number.desc()).limit(1))
                if newest is not None:
                    old = _Done.number <= newest - KEPT
                    session.execute(delete(_Done).where(old, _Done.told.is_(True)))
        except SQLAlchemyError as error:
            raise self._error(error) from error

    def mark(self, table: str) -> tuple[int, int]:
        """(row, time) of the last of this table of the appliance's store that is told; 0: none."""
        try:
            with Session(self._engine) as session:
                row = session.get(_Mark, table)
        except SQLAlchemyError as error:
            raise self._error(error) from error
        return (0, 0) if row is None else (row.row, row.at_ns)

    def set_mark(self, table: str, row: int, at_ns: int) -> None:
        """So far it is told."""
        try:
            with Session(self._engine) as session, session.begin():
                session.merge(_Mark(table=table, row=row, at_ns=at_ns))
        except SQLAlchemyError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Let go."""
        self._engine.dispose()


def interrupted(command: Command) -> Result:
    """The result of a command during which the agent ended."""
    return Result(
        id=command.id,
        outcome=Outcome.FAILED,
        at_ns=time.time_ns(),
        error="the agent was restarted while it was carried out: see the state for its effect",
    )
