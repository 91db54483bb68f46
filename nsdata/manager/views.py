"""What is shown of appliances, to programs and on pages alike: reading only.

Every function takes a Database and answers with the models of `nsdata.manager.models`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from nsdata.appliance.protocol import CommandKind
from nsdata.manager.commands import OPEN, SWITCHES, shown
from nsdata.manager.database import Database
from nsdata.manager.ingest import COARSE_SLOTS, FINE_S, FINE_SLOTS
from nsdata.manager.listing import Order, encode, like, newest_part, part, sorted_part
from nsdata.manager.models import (
    About,
    ApplianceDetail,
    ApplianceRow,
    AuditEntry,
    CommandStatus,
    HistoryEntry,
    Inspection,
    Page,
    SamplePoint,
    Samples,
    Search,
)
from nsdata.manager.problems import not_found
from nsdata.manager.tables import Appliance, AuditRow, CommandRow, HistoryRow, Latest, Sample

_C = Appliance.__table__.c
ORDER: Order = {
    "name": (_C.name, ""),
    "state": (_C.state, ""),
    "reason": (_C.reason, ""),
    "severity": (_C.severity, ""),
    "health_score": (_C.health_score, -1.0),
    "packets_per_second": (_C.packets_per_second, -1.0),
    "bits_per_second": (_C.bits_per_second, -1.0),
    "drop_ratio": (_C.drop_ratio, -1.0),
    "version": (_C.version, ""),
    "last_seen_ns": (_C.last_seen_ns, -1),
    "enrolled_ns": (_C.enrolled_ns, -1),
}
TEXTS = {
    "name": Appliance.name,
    "id": Appliance.id,
    "state": Appliance.state,
    "reason": Appliance.reason,
    "severity": Appliance.severity,
    "version": Appliance.version,
}
RECENT = 20  # transitions, among which is the one that made the state


class Views:
    """The views of one manager."""

    def __init__(self, database: Database, gone_ns: int) -> None:
        self.database = database
        self.gone_ns = gone_ns  # silent for longer: not connected

    # --- appliances -------------------------------------------------------------------------

    def connected(self, row: Appliance) -> bool:
        """Whether it has reported lately."""
        return row.last_seen_ns is not None and row.last_seen_ns + self.gone_ns > time.time_ns()

    def appliances(
        self, search: Search, sort: str = "name", limit: int = 50, cursor: str | None = None
    ) -> Page[ApplianceRow]:
        """Those that answer to the search. Raises Problem (422)."""
        query = select(Appliance).where(*self._conditions(search))
        key = _C.name + " " + _C.id
        query, by = sorted_part(query, ORDER, sort, key, cursor, limit)
        with self.database.reading() as session:
            rows = session.execute(query.add_columns(by)).all()
            shown, more = part(rows, limit)
            fallen = [row[0].id for row in shown if row[0].state == "fallback"]
            kept = select(Latest).where(Latest.appliance_id.in_(fallen))
            latest = {one.appliance_id: one.report for one in session.scalars(kept)}
        last = encode(shown[-1][1], f"{shown[-1][0].name} {shown[-1][0].id}") if more else None
        items = [self._row(row[0], latest.get(row[0].id)) for row in shown]
        return Page(items=items, next=last)

    def _conditions(self, search: Search) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        for word in search.text.split():
            name, colon, rest = word.partition(":")
            columns = [TEXTS[name]] if colon and name in TEXTS else list(TEXTS.values())
            text = rest if colon and name in TEXTS else word
            found.append(or_(*(column.ilike(like(text), escape="\\") for column in columns)))
        for column, values in (
            (Appliance.state, search.state),
            (Appliance.reason, search.reason),
            (Appliance.severity, search.severity),
            (Appliance.version, search.version),
        ):
            if values:
                found.append(column.in_(values))
        if search.connected is not None:
            late = time.time_ns() - self.gone_ns
            seen = and_(Appliance.last_seen_ns.is_not(None), Appliance.last_seen_ns > late)
            found.append(
                seen
                if search.connected
                else or_(Appliance.last_seen_ns.is_(None), Appliance.last_seen_ns <= late)
            )
        if search.health_below is not None:
            found.append(Appliance.health_score < search.health_below)
        if search.drop_ratio_above is not None:
            found.append(Appliance.drop_ratio > search.drop_ratio_above)
        return found

    def _row(self, row: Appliance, report: str | None) -> ApplianceRow:
        made = {"connected": self.connected(row), "fallback_since_ns": _fallen(row, report)}
        return ApplianceRow.model_validate(
            {name: getattr(row, name) for name in ApplianceRow.model_fields if name not in made}
            | made
        )

    def appliance(self, appliance_id: UUID) -> ApplianceDetail:
        """One, with all of its last report. Raises Problem (404)."""
        with self.database.reading() as session:
            row = get_appliance(session, appliance_id)
            latest = session.get(Latest, row.id)
            waiting = session.scalars(_commands(row.id).where(CommandRow.state.in_(OPEN))).all()
            recent = session.scalars(
                select(HistoryRow.told)
                .where(HistoryRow.appliance_id == row.id, HistoryRow.kind == "transition")
                .order_by(HistoryRow.at_ns.desc())
                .limit(RECENT)
            ).all()
        report = json.loads(latest.report) if latest else {}
        shown = self._row(row, latest.report if latest else None).model_dump()
        more = {
            name: report[name]
            for name in ApplianceDetail.model_fields
            if name in report and name not in shown
        }
        return ApplianceDetail.model_validate(
            shown
            | more
            | {
                "evidence": _evidence(recent, row.state),
                "reports": row.reports,
                "reported_ns": row.reported_ns,
                "open_commands": [command(one) for one in waiting],
            }
        )

    def inspection(self, appliance_id: UUID) -> Inspection:
        """Whether it inspects, why not, what was asked last. Raises Problem (404)."""
        with self.database.reading() as session:
            row = get_appliance(session, appliance_id)
            latest = session.get(Latest, row.id)
            kinds = [kind.value for kind in SWITCHES]
            last = session.scalar(_commands(row.id).where(CommandRow.kind.in_(kinds)).limit(1))
        report = json.loads(latest.report) if latest else {}
        states: dict[str | None, Literal["inspect", "bypass"]] = {
            "normal": "inspect",
            "fallback": "bypass",
        }
        return Inspection(
            state=states.get(row.state),
            reason=row.reason,
            severity=self._row(row, None).severity,
            cause=report.get("cause"),
            resolution=report.get("resolution"),
            connected=self.connected(row),
            command=None if last is None else command(last),
        )

    def history(
        self,
        appliance_id: UUID,
        kind: Literal["transition", "event"],
        text: str = "",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[HistoryEntry]:
        """Its transitions or events, newest first. Raises Problem (404, 422)."""
        query = select(HistoryRow).where(
            HistoryRow.appliance_id == str(appliance_id), HistoryRow.kind == kind
        )
        for word in text.split():
            query = query.where(
                or_(
                    HistoryRow.subject.ilike(like(word), escape="\\"),
                    HistoryRow.told.ilike(like(word), escape="\\"),
                )
            )
        query = newest_part(query, HistoryRow.__table__.c.id, cursor, limit)
        with self.database.reading() as session:
            get_appliance(session, appliance_id)
            rows = session.scalars(query).all()
        shown, more = part(rows, limit)
        items = [history_entry(row) for row in shown]
        return Page(items=items, next=encode(None, shown[-1].id) if more else None)

    def samples(self, appliance_id: UUID, step_s: int) -> Samples:
        """Its rates: ten minutes by the second (1) or a day by the minute (60). Problem (404)."""
        slots = FINE_SLOTS if step_s == FINE_S else COARSE_SLOTS
        query = (
            select(Sample)
            .where(Sample.appliance_id == str(appliance_id), Sample.step_s == step_s)
            .order_by(Sample.at_s)
        )
        with self.database.reading() as session:
            get_appliance(session, appliance_id)
            rows = session.scalars(query).all()
        newest = rows[-1].at_s if rows else 0
        kept = [row for row in rows if row.at_s > newest - slots * step_s]
        return Samples(
            step_s=step_s,
            points=[
                SamplePoint.model_validate({n: getattr(row, n) for n in SamplePoint.model_fields})
                for row in kept
            ],
        )

    # --- commands ---------------------------------------------------------------------------

    def command(self, command_id: UUID) -> CommandStatus:
        """A command and where it stands. Raises Problem (404)."""
        with self.database.reading() as session:
            row = session.get(CommandRow, str(command_id))
        if row is None:
            raise not_found("command")
        return command(row)

    def commands(
        self,
        appliance_id: UUID,
        kinds: Sequence[CommandKind] = (),
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[CommandStatus]:
        """What was asked of an appliance, newest first. Raises Problem (404, 422)."""
        query = select(CommandRow).where(CommandRow.appliance_id == str(appliance_id))
        if kinds:
            query = query.where(CommandRow.kind.in_([kind.value for kind in kinds]))
        query = newest_part(query, CommandRow.__table__.c.number, cursor, limit)
        with self.database.reading() as session:
            get_appliance(session, appliance_id)
            rows = session.scalars(query).all()
        shown, more = part(rows, limit)
        return Page(
            items=[command(row) for row in shown],
            next=encode(None, shown[-1].number) if more else None,
        )

    # --- the manager ------------------------------------------------------------------------

    def audit(self, text: str = "", limit: int = 50, cursor: str | None = None) -> Page[AuditEntry]:
        """The audit log, newest first. Raises Problem (422)."""
        query = select(AuditRow)
        for word in text.split():
            columns = (
                AuditRow.actor,
                AuditRow.action,
                AuditRow.subject,
                AuditRow.source,
                AuditRow.result,
            )
            query = query.where(or_(*(one.ilike(like(word), escape="\\") for one in columns)))
        query = newest_part(query, AuditRow.__table__.c.id, cursor, limit)
        with self.database.reading() as session:
            rows = session.scalars(query).all()
        shown, more = part(rows, limit)
        items = [
            AuditEntry(
                **{n: getattr(row, n) for n in AuditEntry.model_fields if n != "details"},
                details=json.loads(row.details),
            )
            for row in shown
        ]
        return Page(items=items, next=encode(None, shown[-1].id) if more else None)

    def names(self, ids: Collection[str]) -> dict[str, str]:
        """Of the appliances that are enrolled, by id."""
        query = select(Appliance.id, Appliance.name).where(Appliance.id.in_(ids))
        with self.database.reading() as session:
            return {row.id: row.name for row in session.execute(query)}

    def about(self, version: str, failing: str, refused: int = 0) -> About:
        """Of the manager itself."""
        late = time.time_ns() - self.gone_ns
        count = select(func.count()).select_from(Appliance)
        with self.database.reading() as session:
            numbers = [
                session.scalar(count.where(*where)) or 0
                for where in (
                    (),
                    (Appliance.last_seen_ns > late,),
                    (Appliance.state == "fallback",),
                )
            ]
        return About(
            version=version,
            appliances=numbers[0],
            connected=numbers[1],
            in_fallback=numbers[2],
            database="sqlite" if self.database.sqlite else "postgresql",
            failing=failing,
            refused_connections=refused,
        )


def get_appliance(session: Session, appliance_id: UUID) -> Appliance:
    """The row. Raises Problem (404)."""
    row = session.get(Appliance, str(appliance_id))
    if row is None:
        raise not_found("appliance")
    return row


def _fallen(row: Appliance, report: str | None) -> int | None:
    """Since when it is in fallback, by the manager's clock: its own may be another."""
    if row.state != "fallback" or report is None or row.last_seen_ns is None:
        return None
    told = json.loads(report)
    since = told.get("since_ns")
    return None if since is None else int(row.last_seen_ns - max(0, told["at_ns"] - since))


def _evidence(recent: Sequence[str], state: str | None) -> dict[str, Any]:
    """Of the newest transition into this state, or within it."""
    for told in map(json.loads, recent):
        if told.get("to") == state and told.get("outcome") != "refused":
            evidence = told.get("evidence")
            return evidence if isinstance(evidence, dict) else {}
    return {}


def _commands(appliance_id: str) -> Select[CommandRow]:
    return (
        select(CommandRow)
        .where(CommandRow.appliance_id == appliance_id)
        .order_by(CommandRow.number.desc())
    )


def command(row: CommandRow) -> CommandStatus:
    """As it is shown."""
    same: dict[str, Any] = {
        name: getattr(row, name) for name in CommandStatus.model_fields if hasattr(row, name)
    }
    return CommandStatus.model_validate(
        same
        | {
            "parameters": shown(json.loads(row.parameters)),
            "result": json.loads(row.told),
            "status_url": f"/api/v1/commands/{row.id}",
        }
    )


def history_entry(row: HistoryRow) -> HistoryEntry:
    """As it is shown."""
    return HistoryEntry.model_validate(
        {
            "id": row.id,
            "kind": row.kind,
            "at_ns": row.at_ns,
            "subject": row.subject,
            "told": json.loads(row.told),
        }
    )
