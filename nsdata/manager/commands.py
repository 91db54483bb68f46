"""Commands to appliances: asked once, sent until their result is here, audited at both ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from nsdata.appliance.protocol import Command, CommandKind, Outcome, Result
from nsdata.manager.audit import Actor, Role, record
from nsdata.manager.problems import Problem, not_found
from nsdata.manager.settings import HOUR
from nsdata.manager.tables import Appliance, CommandRow

QUEUED, SENT = "queued", "sent"
RUNNING, DONE, FAILED = (outcome.value for outcome in Outcome)
ACCEPTED = "accepted"  # in the audit log: it was asked; what came of it is another row
OPEN = (QUEUED, SENT, RUNNING)
UNSENT_NS = HOUR  # a command nobody fetched until then is not carried out any more
SENDABLE = 20  # at a time to one appliance
AGENT = "agent"
VOID = "void"  # in what is told of a command: how it came that it is not to be carried out
Reported = tuple[str, Result]  # by which appliance

# Asked again while one is open, these are the one that is open.
ONE_AT_A_TIME = {CommandKind.REBOOT, CommandKind.RELOAD, CommandKind.STOP_REPORT}
SWITCHES = (CommandKind.INSPECT, CommandKind.BYPASS)


def ask(
    session: Session,
    actor: Actor,
    appliance_id: str,
    kind: CommandKind,
    parameters: Mapping[str, Any] | None = None,
    key: UUID | None = None,
) -> CommandRow:
    """A command; the same one when it is asked with the same key again, or is such that one at a
    time is enough. Raises Problem (404, 409)."""
    appliance = session.get(Appliance, appliance_id)
    if appliance is None:
        raise not_found("appliance")
    given = _text(parameters or {})
    if key is not None and (kept := session.get(CommandRow, str(key))) is not None:
        same = kept.parameters in (given, _text(shown(parameters or {})))
        if (kept.appliance_id, kept.kind) != (appliance_id, kind.value) or not same:
            raise Problem(409, "this Idempotency-Key was used for another command")
        return kept
    latest = _open_one(session, appliance_id, kind, given)
    if latest is not None:
        return latest
    now = time.time_ns()
    made = str(key or uuid4())
    if kind in SWITCHES:
        _replace(session, actor, appliance_id, kind, made)
    number = (session.scalar(select(func.max(CommandRow.number))) or 0) + 1
    row = CommandRow(
        id=made,
        number=number,
        appliance_id=appliance_id,
        kind=kind.value,
        parameters=given,
        state=QUEUED,
        asked_ns=now,
        asked_by=actor.name,
        changed_ns=now,
        error="",
        told="{}",
    )
    session.add(row)
    told = shown(parameters or {})
    details = {"command": row.id, "appliance": appliance.name, "parameters": told}
    record(session, actor, f"appliance.{kind.value}", appliance_id, ACCEPTED, details)
    session.flush()
    return row


def _replace(session: Session, actor: Actor, appliance_id: str, kind: CommandKind, by: str) -> None:
    """The opposite requests that the appliance has not been told yet are void."""
    rows = session.scalars(
        select(CommandRow)
        .where(
            CommandRow.appliance_id == appliance_id,
            CommandRow.kind.in_([one.value for one in SWITCHES if one is not kind]),
            CommandRow.state == QUEUED,
        )
        .with_for_update()
    ).all()
    for row in rows:
        _void(session, actor, row, "replace", f"replaced by {by} before the appliance had it")


def withdraw(session: Session, actor: Actor, command_id: UUID) -> CommandRow:
    """Not to be carried out any more, unless the appliance was quicker: then its result stands.
    Raises Problem (404, 409)."""
    row = session.get(CommandRow, str(command_id), with_for_update=True)
    if row is None:
        raise not_found("command")
    if row.state not in (QUEUED, SENT):
        over = "has begun" if row.state == RUNNING else f"is over ({row.state})"
        raise Problem(409, f"this command {over}: it cannot be withdrawn", kind="begun")
    had = "" if row.state == QUEUED else "; if the appliance has begun it already, it says so"
    _void(session, actor, row, "withdraw", f"withdrawn by {actor.name.removeprefix('user:')}{had}")
    return row


def _void(session: Session, actor: Actor, row: CommandRow, how: str, error: str) -> None:
    row.state, row.error, row.changed_ns = FAILED, error, time.time_ns()
    row.told = json.dumps({VOID: how})
    row.parameters = _text(shown(json.loads(row.parameters)))
    details = {"command": row.id, "asked_by": row.asked_by, "error": error}
    record(session, actor, f"appliance.{row.kind}.{how}", row.appliance_id, details=details)


def shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """As people and the record see them: a URL without its query, which may be a signature."""
    url = parameters.get("url")
    return {**parameters, "url": url.partition("?")[0]} if url else dict(parameters)


def _text(parameters: Mapping[str, Any]) -> str:
    return json.dumps(dict(parameters), sort_keys=True)


def _open_one(
    session: Session, appliance_id: str, kind: CommandKind, given: str
) -> CommandRow | None:
    """The open command that a new one would repeat."""
    kinds = [one.value for one in (SWITCHES if kind in SWITCHES else (kind,))]
    newest = session.scalar(
        select(CommandRow)
        .where(
            CommandRow.appliance_id == appliance_id,
            CommandRow.kind.in_(kinds),
            CommandRow.state.in_(OPEN),
        )
        .order_by(CommandRow.number.desc())
        .limit(1)
    )
    if newest is None or newest.kind != kind.value:
        return None
    return newest if kind in ONE_AT_A_TIME or newest.parameters == given else None


def to_send(session: Session, ids: set[str]) -> dict[str, list[Command]]:
    """What these appliances have not answered yet, in the order it was asked."""
    rows = session.scalars(
        select(CommandRow).where(CommandRow.state.in_(OPEN)).order_by(CommandRow.number)
    ).all()
    found: dict[str, list[Command]] = {}
    now = time.time_ns()
    for row in rows:
        if row.state == QUEUED and row.asked_ns + UNSENT_NS <= now:
            _end(session, row, FAILED, f"not fetched within {UNSENT_NS // HOUR} h", {}, now)
            continue
        mine = found.setdefault(row.appliance_id, [])
        if row.appliance_id not in ids or len(mine) >= SENDABLE:
            continue
        mine.append(
            Command(
                id=UUID(row.id), kind=CommandKind(row.kind), parameters=json.loads(row.parameters)
            )
        )
        if row.state == QUEUED:
            session.execute(
                update(CommandRow)
                .where(CommandRow.id == row.id, CommandRow.state == QUEUED)
                .values(state=SENT, changed_ns=now)
            )
    return found


def take_results(session: Session, results: Iterable[Reported]) -> None:
    """What agents say of their commands. The first end of a command stands, but for one that was
    withdrawn when the appliance had begun it."""
    now = time.time_ns()
    for appliance_id, result in results:
        row = session.get(CommandRow, str(result.id))
        if row is None or row.appliance_id != appliance_id:
            continue
        if row.state not in OPEN and VOID not in json.loads(row.told):
            continue
        if result.outcome is Outcome.RUNNING:
            row.state, row.progress, row.changed_ns = RUNNING, result.progress, now
            row.told = json.dumps(result.told)
        else:
            _end(session, row, result.outcome.value, result.error, result.told, now)


def _end(
    session: Session, row: CommandRow, state: str, error: str, told: Mapping[str, Any], now: int
) -> None:
    row.state, row.error, row.told, row.changed_ns = state, error, json.dumps(dict(told)), now
    row.progress = 1.0 if state == DONE else row.progress
    row.parameters = _text(shown(json.loads(row.parameters)))  # what was secret is of no more use
    actor = Actor(f"appliance:{row.appliance_id}", Role.VIEWER, AGENT)
    details = {"command": row.id, "asked_by": row.asked_by, "error": error}
    record(session, actor, f"appliance.{row.kind}.result", row.appliance_id, state, details)


def ask_report(
    session: Session,
    actor: Actor,
    appliance_id: str,
    parameters: Mapping[str, Any],
    key: UUID | None,
) -> CommandRow:
    """A support report: one at a time. Raises Problem (404, 409 with the one that runs)."""
    if key is None or session.get(CommandRow, str(key)) is None:
        running = session.scalar(
            select(CommandRow.id).where(
                CommandRow.appliance_id == appliance_id,
                CommandRow.state.in_(OPEN),
                CommandRow.kind == CommandKind.SUPPORT_REPORT.value,
            )
        )
        if running is not None:
            raise Problem(
                409,
                f"a support report of this appliance runs already: {running}",
                kind="report-running",
                running=running,
            )
    return ask(session, actor, appliance_id, CommandKind.SUPPORT_REPORT, parameters, key)
