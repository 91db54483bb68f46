"""Removing an appliance: gone from the tables, its history in the audit log. Archives of its
support reports go with it; which there were is in the audit log, too."""

from __future__ import annotations

import json
import time
from uuid import UUID

from sqlalchemy import func, select

from nsdata.manager.archives import Archives
from nsdata.manager.audit import Actor
from nsdata.manager.database import Database
from nsdata.manager.models import Removed
from nsdata.manager.problems import Problem
from nsdata.manager.tables import AuditRow, HistoryRow
from nsdata.manager.views import get_appliance

HISTORY = 1000  # of its newest transitions, and of its newest events, are kept


def remove(
    database: Database,
    archives: Archives,
    actor: Actor,
    appliance_id: UUID,
    gone_ns: int,
    *,
    force: bool,
) -> Removed:
    """It is no longer enrolled. Raises Problem: 404, and 409 while it reports, unless forced."""
    with database.writing() as session:
        row = get_appliance(session, appliance_id)
        now = time.time_ns()
        if not force and row.last_seen_ns is not None and row.last_seen_ns + gone_ns > now:
            raise Problem(
                409,
                f"{row.name} still reports: it was heard of "
                f"{(now - row.last_seen_ns) / 1e9:.1f} s ago. Stop it first, or force it",
                kind="still-reports",
            )
        kept = {
            name: getattr(row, name)
            for name in (
                "name",
                "enrolled_ns",
                "last_seen_ns",
                "reports",
                "state",
                "reason",
                "version",
                "certificate",
            )
        }
        history = {}
        for kind in ("transition", "event"):
            own = (HistoryRow.appliance_id == row.id, HistoryRow.kind == kind)
            newest = session.scalars(
                select(HistoryRow).where(*own).order_by(HistoryRow.id.desc()).limit(HISTORY)
            ).all()
            history[f"{kind}s"] = [
                {"at_ns": one.at_ns, "told": json.loads(one.told)} for one in newest
            ]
            history[f"{kind}s_in_all"] = session.scalar(select(func.count()).where(*own))
        reports = [one.model_dump() for one in archives.all(appliance_id)]
        entry = AuditRow(
            at_ns=now,
            actor=actor.name,
            role=actor.role.value,
            source=actor.source,
            action="appliance.remove",
            subject=row.id,
            result="done",
            details=json.dumps({**kept, "forced": force, "support_reports": reports, **history}),
        )
        session.add(entry)
        session.delete(row)
        session.flush()
        removed = Removed(id=appliance_id, name=row.name, audit_id=entry.id)
    archives.forget(appliance_id)
    return removed
