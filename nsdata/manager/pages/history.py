"""The history of an appliance as its tab *Events* filters it: reading only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import Select, String, and_, literal, or_, select

from nsdata.manager.database import Database
from nsdata.manager.listing import encode, like, newest_part, part
from nsdata.manager.models import HistoryEntry, Page
from nsdata.manager.tables import HistoryRow
from nsdata.manager.views import get_appliance, history_entry

CHUNK = 500  # rows that are read at a time for an export
Kind = Literal["", "transition", "event"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that are given have to hold. Times are nanoseconds since the epoch; until: exclusive."""

    kind: Kind = ""
    text: str = ""
    reason: str = ""
    state: str = ""  # that a transition led to
    since_ns: int | None = None
    until_ns: int | None = None


def _query(appliance_id: UUID, wanted: Wanted) -> Select[HistoryRow]:
    query = select(HistoryRow).where(HistoryRow.appliance_id == str(appliance_id))
    if wanted.kind:
        query = query.where(HistoryRow.kind == wanted.kind)
    for word in wanted.text.split():
        query = query.where(
            or_(
                HistoryRow.subject.ilike(like(word), escape="\\"),
                HistoryRow.told.ilike(like(word), escape="\\"),
            )
        )
    if wanted.reason:
        query = query.where(HistoryRow.kind == "transition", HistoryRow.subject == wanted.reason)
    if wanted.state:
        # As json.dumps has written it. Quotes in texts are escaped there, so a text cannot pose
        # as this member; the state is compared again in `_holds`.
        told = like(f'"to": "{wanted.state}"')
        query = query.where(
            and_(
                HistoryRow.kind == "transition",
                HistoryRow.told.like(literal(told, String), escape="\\"),
            )
        )
    if wanted.since_ns is not None:
        query = query.where(HistoryRow.at_ns >= wanted.since_ns)
    if wanted.until_ns is not None:
        query = query.where(HistoryRow.at_ns < wanted.until_ns)
    return query


def _holds(entry: HistoryEntry, wanted: Wanted) -> bool:
    return not wanted.state or entry.told.get("to") == wanted.state


def history(
    database: Database, appliance_id: UUID, wanted: Wanted, limit: int, cursor: str | None
) -> Page[HistoryEntry]:
    """A part, newest first. Raises Problem (404, 422)."""
    query = newest_part(_query(appliance_id, wanted), HistoryRow.__table__.c.id, cursor, limit)
    with database.reading() as session:
        get_appliance(session, appliance_id)
        rows = session.scalars(query).all()
    shown, more = part(rows, limit)
    items = [one for one in map(history_entry, shown) if _holds(one, wanted)]
    return Page(items=items, next=encode(None, shown[-1].id) if more else None)


def whole(database: Database, appliance_id: UUID, wanted: Wanted) -> Iterator[HistoryEntry]:
    """All of it, newest first, read in chunks. Raises Problem (404)."""
    with database.reading() as session:
        get_appliance(session, appliance_id)

    def entries() -> Iterator[HistoryEntry]:
        cursor: str | None = ""
        while cursor is not None:
            found = history(database, appliance_id, wanted, CHUNK, cursor or None)
            yield from found.items
            cursor = found.next

    return entries()
