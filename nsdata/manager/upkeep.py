"""What runs out goes: sessions, links, boots of agents, history beyond its bound."""

from __future__ import annotations

import time

from sqlalchemy import delete, func, select

from nsdata.manager.database import Database
from nsdata.manager.settings import DAY
from nsdata.manager.tables import Boot, HistoryRow, PasswordLink, SessionRow

EVERY_S = 600
BOOT_NS = 7 * DAY  # a start of an agent that has not reported for so long is over
HISTORY_MOST = 100_000  # rows of an appliance; as many as its own store keeps


def tidy(database: Database) -> None:
    """Once."""
    now = time.time_ns()
    with database.writing() as session:
        session.execute(delete(SessionRow).where(SessionRow.expires_ns <= now))
        session.execute(delete(PasswordLink).where(PasswordLink.expires_ns <= now))
        session.execute(delete(Boot).where(Boot.seen_ns <= now - BOOT_NS))
    many = (
        select(HistoryRow.appliance_id)
        .group_by(HistoryRow.appliance_id)
        .having(func.count() > HISTORY_MOST)
    )
    with database.reading() as session:
        found = list(session.scalars(many))
    for one in found:
        own = HistoryRow.appliance_id == one
        oldest = (
            select(HistoryRow.id)
            .where(own)
            .order_by(HistoryRow.id.desc())
            .offset(HISTORY_MOST)
            .limit(1)
        )
        with database.writing() as session:
            last = session.scalar(oldest)
            session.execute(delete(HistoryRow).where(own, HistoryRow.id <= last))
