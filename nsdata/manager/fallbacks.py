"""How an appliance came into its fallback, as its history and what was asked of it tell: reading
only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select

from nsdata.appliance.protocol import CommandKind
from nsdata.manager.commands import DONE
from nsdata.manager.database import Database
from nsdata.manager.models import HistoryEntry
from nsdata.manager.tables import CommandRow, HistoryRow
from nsdata.manager.views import history_entry

RECENT = 50  # transitions among which the one into fallback is looked for
ENTERED, REFUSED = "entered", "refused"


@dataclass(frozen=True, slots=True)
class ByHand:
    """Somebody put it into fallback. `asked_by` is "" when it was asked at the appliance."""

    at_ns: int  # by the appliance's clock
    asked_by: str
    note: str


def transitions(database: Database, appliance_id: UUID) -> list[HistoryEntry]:
    """The latest ones, newest first."""
    query = (
        select(HistoryRow)
        .where(HistoryRow.appliance_id == str(appliance_id), HistoryRow.kind == "transition")
        .order_by(HistoryRow.id.desc())
        .limit(RECENT)
    )
    with database.reading() as session:
        return [history_entry(row) for row in session.scalars(query)]


def entered(found: list[HistoryEntry]) -> HistoryEntry | None:
    """The one that led into the fallback there is."""
    return next((one for one in found if one.told.get("outcome") == ENTERED), None)


def by_hand(database: Database, appliance_id: UUID) -> ByHand | None:
    """Who put it into fallback, when, with which note."""
    entry = entered(transitions(database, appliance_id))
    if entry is None:
        return None
    note = _note(entry.told.get("evidence"))
    query = (
        select(CommandRow)
        .where(
            CommandRow.appliance_id == str(appliance_id),
            CommandRow.kind == CommandKind.BYPASS.value,
            CommandRow.state == DONE,
        )
        .order_by(CommandRow.number.desc())
        .limit(1)
    )
    with database.reading() as session:
        row = session.scalar(query)
    if row is not None:
        given = json.loads(row.parameters)
        who, said = str(given.get("by", "")), str(given.get("note", ""))
        if note == (f"{said} ({who})" if said else who):  # as the agent puts it
            return ByHand(entry.at_ns, row.asked_by, said)
    return ByHand(entry.at_ns, "", note)


def _note(evidence: Any) -> str:
    told = evidence if isinstance(evidence, Mapping) else {}
    given = told.get("given")
    return str((given if isinstance(given, Mapping) else told).get("note", ""))
