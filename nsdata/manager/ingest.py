"""Reports into the database: one writer commits what has come in groups, then all are answered.

    agent_api: submit() ──► queue ──► the writer's thread: one transaction ──► futures

A report is stored once, by (appliance, boot, sequence); a history row once, by its row and time.
Nothing is acknowledged that is not committed. What the writer remembers of appliances (last
counters, last sequence) follows the commit, and is read again after a failure. It is true while
nobody else writes reports: so the database is held, and when it is lost the writer ends.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, Table, bindparam, literal, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.sql import func

from nsdata.appliance.protocol import BIGGEST, Answer, Batch, Command, Report
from nsdata.errors import OutputError
from nsdata.manager import commands
from nsdata.manager.database import Database, said
from nsdata.manager.holding import Held
from nsdata.manager.problems import Problem
from nsdata.manager.rates import Counters, Rates, between
from nsdata.manager.tables import Appliance, Base, Boot, HistoryRow, Latest, Sample

GROUP = 2000  # batches of one transaction
GATHER_S = 0.02  # how long the first of a group waits for others
WAITING = 20_000  # batches in the queue; more are refused
FINE_S, FINE_SLOTS = 1, 600  # samples: 10 minutes by the second,
COARSE_S, COARSE_SLOTS = 60, 1440  # and a day by the minute
FATE_MOST = BIGGEST // COARSE_S  # packets of a second: those of a minute have a sum
SUBJECT = 200
CHECK_S = 2.0  # without reports: whether the database is still held
FAILING, LOST = "failing", "lost"
KEYS: dict[type[Base], list[str]] = {
    Latest: ["appliance_id"],
    Boot: ["appliance_id", "boot"],
    Sample: ["appliance_id", "step_s", "slot"],
}
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Known:
    """What the writer remembers of an appliance."""

    boots: dict[str, int] = field(default_factory=dict)  # the last sequence stored
    counters: Counters | None = None
    minute: int | None = None  # that is being filled


@dataclass(slots=True)
class _Item:
    appliance_id: str
    certificate: str  # fingerprint of the one that was shown
    batch: Batch
    future: Future[Answer]


@dataclass(slots=True)
class _Group:
    """What one transaction writes."""

    appliances: list[dict[str, Any]] = field(default_factory=list)
    latest: dict[str, str] = field(default_factory=dict)
    boots: dict[tuple[str, str], int] = field(default_factory=dict)
    samples: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    minutes: list[tuple[str, int]] = field(default_factory=list)  # that are over
    known: dict[str, Known] = field(default_factory=dict)  # from the commit on
    stored: int = 0  # reports


class Ingest:
    """The writer of a manager. `tell(FAILING, why)`: nothing can be stored, or it can again (why
    is ""). `tell(LOST, why)`: the database is another manager's, and the writer has ended.
    `is_here(appliance, report)`: whether the archive of a support report is whole here."""

    def __init__(
        self,
        database: Database,
        tell: Callable[[str, str], None],
        is_here: Callable[[str, str], bool],
    ) -> None:
        self.database = database
        self.is_here = is_here
        self.tell = tell
        self.failing = ""  # why nothing can be stored; "": it can
        self.stored = 0  # reports, since the start
        self._queue: queue.Queue[_Item | None] = queue.Queue(WAITING)
        self._known: dict[str, Known] = {}
        self._taken = database.taken
        self._upserts = {table: self._replacing(self._insert(table), table, key)
                         for table, key in KEYS.items()}  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Store what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def submit(self, appliance_id: str, certificate: str, batch: Batch) -> Future[Answer]:
        """The answer, once all of the batch is committed. Its exception is a Problem: 403 when
        the appliance is not enrolled (any more), 503 when it cannot be stored now."""
        item = _Item(appliance_id, certificate, batch, Future())
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            item.future.set_exception(_later("more has come than can be stored"))
        return item.future

    # --- the writer -------------------------------------------------------------------------

    def _run(self) -> None:
        last = False
        try:
            while not last:
                items, last = self._gather()
                if items:
                    self._store(items)
                elif not last:
                    self._check()
        except Held as error:
            self.tell(LOST, str(error))

    def _check(self) -> None:
        try:
            self.database.check()
        except Held:
            raise
        except Exception as error:
            self._fails(error)
        else:
            self._works()

    def _gather(self) -> tuple[list[_Item], bool]:
        items: list[_Item] = []
        try:
            first = self._queue.get(timeout=CHECK_S)
        except queue.Empty:
            return items, False
        end = time.monotonic() + GATHER_S
        while first is not None:
            items.append(first)
            if len(items) >= GROUP:
                return items, False
            try:
                first = self._queue.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return items, False
        return items, True

    def _store(self, items: list[_Item]) -> None:
        """A group that holds what cannot be stored is halved until that is alone."""
        groups = [items]
        try:
            while groups:
                group = groups.pop()
                answers = self._attempt(group)
                if answers is None:
                    half = len(group) // 2
                    groups += [group[half:], group[:half]]  # in the order in which they came
                    continue
                for item, answer in zip(group, answers, strict=True):
                    if isinstance(answer, Problem):
                        item.future.set_exception(answer)
                    else:
                        item.future.set_result(answer)
        except Held:
            for item in items:
                if not item.future.done():
                    item.future.set_exception(_later("another manager runs on the database"))
            raise

    def _attempt(self, items: list[_Item]) -> list[Answer | Problem] | None:
        """Answers; None: one of several cannot be stored. Raises Held."""
        try:
            with self.database.writing() as session:
                group, answers = self._write(session, items)
        except Held:
            raise
        except Exception as error:
            self._known.clear()
            if not _of_content(error):
                why = self._fails(error)
                return [_later(f"the database does not take it: {why}")] * len(items)
            if len(items) > 1:
                return None
            why = said(error) if isinstance(error, SQLAlchemyError) else repr(error)
            log.warning("of appliance %s is not stored: %s", items[0].appliance_id, why[:500])
            return [Problem(422, f"this cannot be stored: {why[:500]}")]
        self._known.update(group.known)
        self.stored += group.stored
        self._works()
        return answers

    def _fails(self, error: Exception) -> str:
        why = said(error) if isinstance(error, SQLAlchemyError) else str(error) or repr(error)
        if why != self.failing:
            known = isinstance(error, SQLAlchemyError | OutputError)
            log.error("nothing is stored: %s", why, exc_info=None if known else error)
            self.failing = why
            self.tell(FAILING, why)
        return why

    def _works(self) -> None:
        if self.failing:
            log.warning("reports are stored again")
            self.failing = ""
            self.tell(FAILING, "")

    def _write(self, session: Session, items: list[_Item]) -> tuple[_Group, list[Answer | Problem]]:
        if self._taken != self.database.taken:  # lost and taken again: who knows what was between
            self._taken = self.database.taken
            self._known.clear()
        ids = {item.appliance_id for item in items}
        columns = (Appliance.id, Appliance.certificate, Appliance.next_certificate)
        rows = session.execute(select(*columns).where(Appliance.id.in_(ids))).all()
        enrolled = {row.id: (row.certificate, row.next_certificate) for row in rows}
        self._learn(session, ids & enrolled.keys())
        group, now, found = _Group(), time.time_ns(), []
        changed: list[commands.Reported] = []
        renewed: list[tuple[str, str]] = []
        for item in items:
            shown = enrolled.get(item.appliance_id)
            if shown is None:
                self._known.pop(item.appliance_id, None)
            if shown is None or item.certificate not in shown:
                continue
            found.append(item)
            if item.certificate == shown[1]:  # the renewed one is in use: the old one is void
                renewed.append((item.appliance_id, item.certificate))
                enrolled[item.appliance_id] = (item.certificate, None)
            self._take(group, item, now)
            changed += [(item.appliance_id, result) for result in item.batch.results]
        self._flush(session, group)
        for appliance_id, certificate in renewed:
            session.execute(
                update(Appliance)
                .where(Appliance.id == appliance_id)
                .values(certificate=certificate, next_certificate=None)
            )
        commands.take_results(session, changed, self.is_here)
        orders = commands.to_send(session, {item.appliance_id for item in found})
        return group, [self._answer(group, item, enrolled, orders) for item in items]

    def _answer(
        self,
        group: _Group,
        item: _Item,
        enrolled: dict[str, tuple[str, str | None]],
        orders: dict[str, list[Command]],
    ) -> Answer | Problem:
        shown = enrolled.get(item.appliance_id)
        if shown is None or item.certificate not in shown:
            return not_enrolled()
        acked = group.known[item.appliance_id].boots.get(str(item.batch.boot), 0)
        return Answer(acked=acked, commands=orders.get(item.appliance_id, []))

    def _learn(self, session: Session, ids: Iterable[str]) -> None:
        """Of appliances that have not reported since the start."""
        new = [one for one in ids if one not in self._known]
        if not new:
            return
        found = {one: Known() for one in new}
        for boot in session.scalars(select(Boot).where(Boot.appliance_id.in_(new))):
            found[boot.appliance_id].boots[boot.boot] = boot.sequence
        for latest in session.scalars(select(Latest).where(Latest.appliance_id.in_(new))):
            try:
                counters = Counters.of(Report.model_validate_json(latest.report))
            except ValueError:
                continue  # of a version that took what this one does not
            known = found[latest.appliance_id]
            known.counters = counters
            known.minute = counters.at_ns // 10**9 // COARSE_S * COARSE_S
        self._known.update(found)

    def _take(self, group: _Group, item: _Item, now: int) -> None:
        batch, one, boot = item.batch, item.appliance_id, str(item.batch.boot)
        known = group.known.get(one)
        if known is None:
            before = self._known[one]
            known = Known(dict(before.boots), before.counters, before.minute)
            group.known[one] = known
        last: Report | None = None
        rates: Rates | None = None
        new = 0
        for report in batch.reports:
            if report.sequence <= known.boots.get(boot, 0):
                continue
            known.boots[boot] = group.boots[one, boot] = report.sequence
            rates = self._sample(group, one, known, report)
            last, new = report, new + 1
        for row in batch.history:
            subject = row.told.get("reason" if row.kind == "transition" else "event", "")
            group.history.append(
                {
                    "appliance_id": one,
                    "kind": row.kind,
                    "row": row.row,
                    "at_ns": row.at_ns,
                    "subject": subject[:SUBJECT] if isinstance(subject, str) else "",
                    "told": json.dumps(row.told),
                }
            )
        if last is not None and rates is not None:
            group.latest[one] = last.model_dump_json()
            group.appliances.append(_columns(one, boot, last, rates, new, now))
            group.stored += new

    def _sample(self, group: _Group, one: str, known: Known, report: Report) -> Rates:
        after = Counters.of(report)
        rates = between(known.counters, after)
        known.counters = after
        second = report.at_ns // 10**9
        minute = second // COARSE_S * COARSE_S
        if known.minute is not None and known.minute != minute:
            group.minutes.append((one, known.minute))
        known.minute = minute
        slot = second % FINE_SLOTS
        kept = group.samples.get((one, slot))
        add = kept if kept is not None and kept["at_s"] == second else None
        others = (0,) * len(rates.fates) if add is None else add["fates"]
        both = zip(rates.fates, others, strict=True)
        fates = tuple(min(FATE_MOST, a + b) for a, b in both)
        group.samples[one, slot] = {
            "appliance_id": one,
            "step_s": FINE_S,
            "slot": slot,
            "at_s": second,
            "packets_per_second": rates.packets_per_second,
            "bits_per_second": rates.bits_per_second,
            "fates": fates,
            "drop_ratio": report.drop_ratio,
            "health_score": report.health_score(),
            "reports": 1 if add is None else add["reports"] + 1,
        }
        return rates

    # --- statements -------------------------------------------------------------------------

    def _flush(self, session: Session, group: _Group) -> None:
        if group.appliances:
            own = _table(Appliance)
            columns = [name for name in group.appliances[0] if name not in ("of", "more")]
            values: dict[str, Any] = {name: bindparam(name) for name in columns}
            values["reports"] = own.c.reports + bindparam("more")
            session.connection().execute(
                update(own).where(own.c.id == bindparam("of")).values(values), group.appliances
            )
        latest = [{"appliance_id": k, "report": v} for k, v in group.latest.items()]
        self._upsert(session, Latest, latest)
        now = time.time_ns()
        self._upsert(
            session,
            Boot,
            [
                {"appliance_id": k[0], "boot": k[1], "sequence": v, "seen_ns": now}
                for k, v in group.boots.items()
            ],
        )
        for sample in group.samples.values():
            fates = sample.pop("fates")
            sample |= dict(zip(("inspected", "bypassed", "blocked", "lost"), fates, strict=True))
        self._upsert(session, Sample, list(group.samples.values()))
        if group.history:
            made = self._insert(HistoryRow).on_conflict_do_nothing()
            session.connection().execute(made, group.history)
        for minute in {minute for _, minute in group.minutes}:
            self._coarse(session, [one for one, of in group.minutes if of == minute], minute)

    def _coarse(self, session: Session, ids: list[str], minute: int) -> None:
        """A minute that is over, out of its seconds."""
        seconds = (
            select(
                Sample.appliance_id,
                literal(COARSE_S),
                literal(minute // COARSE_S % COARSE_SLOTS),
                literal(minute, BigInteger),
                func.avg(Sample.packets_per_second),
                func.avg(Sample.bits_per_second),
                func.sum(Sample.inspected),
                func.sum(Sample.bypassed),
                func.sum(Sample.blocked),
                func.sum(Sample.lost),
                func.max(Sample.drop_ratio),
                func.min(Sample.health_score),
                func.sum(Sample.reports),
            )
            .where(
                Sample.appliance_id.in_(ids),
                Sample.step_s == FINE_S,
                Sample.at_s >= minute,
                Sample.at_s < minute + COARSE_S,
            )
            .group_by(Sample.appliance_id)
        )
        names = [column.name for column in _table(Sample).columns]
        made = self._insert(Sample).from_select(names, seconds)
        session.connection().execute(self._replacing(made, Sample, KEYS[Sample]))

    def _insert(self, table: type[Base]) -> Any:
        # The conflict clauses are of each dialect's own insert.
        made = sqlite.insert if self.database.sqlite else postgresql.insert
        return made(_table(table))

    def _replacing(self, made: Any, table: type[Base], key: list[str]) -> Any:
        values = {
            column.name: made.excluded[column.name]
            for column in _table(table).columns
            if column.name not in key
        }
        return made.on_conflict_do_update(index_elements=key, set_=values)

    def _upsert(self, session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
        if rows:
            session.connection().execute(self._upserts[table], rows)


def _table(of: type[Base]) -> Table:
    assert isinstance(of.__table__, Table)
    return of.__table__


def _columns(
    one: str, boot: str, report: Report, rates: Rates, new: int, now: int
) -> dict[str, Any]:
    return {
        "of": one,
        "more": new,
        "name": report.name,
        "boot": boot,
        "sequence": report.sequence,
        "last_seen_ns": now,
        "reported_ns": report.at_ns,
        "state": report.state,
        "reason": report.reason,
        "severity": report.severity,
        "health_score": report.health_score(),
        "packets_per_second": rates.packets_per_second,
        "bits_per_second": rates.bits_per_second,
        "drop_ratio": report.drop_ratio,
        "drop_threshold": report.drop_threshold,
        "version": report.version,
    }


def not_enrolled() -> Problem:
    """Refuses an appliance that was removed, or shows a certificate that is not its own."""
    return Problem(
        403,
        "this appliance is not enrolled here, or was removed: enrol it again "
        "(nsdata appliance enrol)",
        kind="not-enrolled",
    )


def _of_content(error: Exception) -> bool:
    """Whether what was to be stored is at fault, rather than the database."""
    if isinstance(error, DBAPIError):
        content = isinstance(error, DataError | IntegrityError)
        return content and not error.connection_invalidated
    return isinstance(error, ValueError | TypeError | ArithmeticError | LookupError)


def _later(why: str) -> Problem:
    return Problem(503, why, headers={"Retry-After": "1"})
