"""Commands to appliances: asked once, sent until their result is here, audited at both ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
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
UNSENT_NS = HOUR  # after it was asked a command is not begun any more
GRACE_NS = 60 * 10**9  # for the word of one that was fetched before that
STALLED_NS = HOUR + GRACE_NS  # without progress it has failed; the agent itself waits for HOUR
EXPIRED = "expired"  # in `told` of one that was handed out and given up: state it was in
SENDABLE = 20  # at a time to one appliance
AGENT = "agent"
REPLACE = "replace"  # by the opposite
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
        if kept.asked_by != actor.name:
            raise Problem(409, "this Idempotency-Key belongs to somebody else's command")
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
        _void(session, actor, row, REPLACE, f"replaced by {by} before the appliance had it")


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
        _expire(session, row, now)
        left_ns = row.asked_ns + UNSENT_NS - now
        if row.state not in OPEN or (row.state == SENT and left_ns <= 0):
            continue
        mine = found.setdefault(row.appliance_id, [])
        if row.appliance_id not in ids or len(mine) >= SENDABLE:
            continue
        mine.append(
            Command(
                id=UUID(row.id),
                kind=CommandKind(row.kind),
                parameters=json.loads(row.parameters),
                asked_ns=row.asked_ns,
                expires_ns=row.asked_ns + UNSENT_NS,
                good_for_s=max(0, left_ns) / 1e9,
            )
        )
        if row.state == QUEUED:
            session.execute(
                update(CommandRow)
                .where(CommandRow.id == row.id, CommandRow.state == QUEUED)
                .values(state=SENT, changed_ns=now)
            )
    return found


def _expire(session: Session, row: CommandRow, now: int) -> None:
    """End it when it was not begun in time, or has come no further for long. One that was handed
    out may have been begun all the same: what its appliance says of it later is taken."""
    late_ns = now - row.asked_ns - UNSENT_NS
    if row.state == QUEUED and late_ns >= 0:
        _end(session, row, FAILED, f"not fetched within {UNSENT_NS // HOUR} h", {}, now)
    elif row.state == SENT and late_ns >= GRACE_NS:
        why = (
            f"expired: handed out, but no word of it within {UNSENT_NS // HOUR} h. It is not begun "
            "any more; whether it was before is not known"
        )
        _end(session, row, FAILED, why, {EXPIRED: SENT}, now)
    elif row.state == RUNNING and now - row.changed_ns >= STALLED_NS:
        why = f"given up: no progress for {STALLED_NS // HOUR} h; what becomes of it is not known"
        _end(session, row, FAILED, why, {**json.loads(row.told), EXPIRED: RUNNING}, now)


def take_results(
    session: Session, results: Iterable[Reported], is_here: Callable[[str, str], bool]
) -> None:
    """What agents say of their commands. The first end of a command stands, unless it was given
    up or withdrawn here and the appliance was quicker. is_here(appliance, report): whether the
    archive of a report is whole here."""
    now = time.time_ns()
    for appliance_id, result in results:
        row = session.get(CommandRow, str(result.id))
        if row is None or row.appliance_id != appliance_id:
            continue
        said = json.loads(row.told)
        if row.state not in OPEN and EXPIRED not in said and VOID not in said:
            continue
        given_up = said.get(EXPIRED) if row.state == FAILED else None
        told = {key: one for key, one in result.told.items() if key not in (EXPIRED, VOID)}
        if result.outcome is not Outcome.RUNNING:
            state, error = _judged(row, result, is_here)
            _end(session, row, state, error, told, now)
        elif given_up != RUNNING:
            if (row.state, row.progress) != (RUNNING, result.progress):
                row.changed_ns = now
            row.state, row.progress, row.error = RUNNING, result.progress, ""
            row.told = json.dumps(told)


def _judged(
    row: CommandRow, result: Result, is_here: Callable[[str, str], bool]
) -> tuple[str, str]:
    """(state, error): a report to the manager is done when it is here."""
    to_manager = json.loads(row.parameters).get("destination") == "manager"
    report = row.kind == CommandKind.SUPPORT_REPORT.value and to_manager
    if result.outcome is Outcome.DONE and report and not is_here(row.appliance_id, row.id):
        return FAILED, "the appliance says it was sent, but no whole archive of it is here"
    return result.outcome.value, result.error


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
