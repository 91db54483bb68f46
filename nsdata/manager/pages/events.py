"""The tab *Events* of an appliance: transitions and events with their evidence, filtered, and the
same as a file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from nsdata.fallback.reasons import Reason, State
from nsdata.manager.api.appliances import Cursor
from nsdata.manager.api.guard import TheService, needs
from nsdata.manager.audit import Role
from nsdata.manager.models import HistoryEntry
from nsdata.manager.pages.appliances import ApplianceId, Line, Seen
from nsdata.manager.pages.general import base
from nsdata.manager.pages.guard import page_router
from nsdata.manager.pages.history import Kind, Wanted, history, whole
from nsdata.manager.pages.instants import precise_iso
from nsdata.manager.pages.render import Part, page
from nsdata.manager.problems import Problem
from nsdata.manager.rates import SECOND_NS
from nsdata.output.console import safe

router = page_router()
ROWS, EVERY_S = 50, 2
COLUMNS = ("time", "at_ns", "kind", "subject", "from", "to", "outcome", "severity", "trigger",
           "evidence")  # fmt: skip
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]")  # of files, on whatever system
Time = Annotated[str, Query(max_length=40)]


def _ns(text: str, name: str) -> int | None:
    """A time as browsers write it (2026-11-23T03:40), in UTC. Raises Problem (422)."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return int(at.timestamp()) * SECOND_NS
    except (ValueError, OverflowError):
        raise Problem(422, f"{name}: a time such as 2026-11-23T03:40 (UTC) is needed") from None


class Filter:
    """What the tab and the files are asked for."""

    def __init__(
        self, q: Line = "", kind: Kind = "", reason: Line = "",
        state: Literal["", "normal", "fallback"] = "", since: Time = "", until: Time = "",
    ) -> None:  # fmt: skip
        given = {"q": q, "kind": kind, "reason": reason, "state": state, "since": since,
                 "until": until}  # fmt: skip
        self.given = given
        self.query = {key: value for key, value in given.items() if value}
        self.wanted = Wanted(kind, q, reason, state, _ns(since, "from"), _ns(until, "until"))

    def link(self, path: str, **more: str | None) -> str:
        """A page or file with the same filter."""
        query = self.query | {key: value for key, value in more.items() if value}
        return path + (f"?{urlencode(query)}" if query else "")


TheFilter = Annotated[Filter, Depends(Filter)]


@router.get("/appliances/{appliance_id}/events")
@needs(Role.VIEWER)
def events(
    request: Request, service: TheService, appliance_id: ApplianceId, given: TheFilter,
    cursor: Cursor = None, part: Literal["", "events"] = "", seen: Seen = "",
) -> Response:  # fmt: skip
    """What happened, the newest first."""
    path = base(appliance_id) + "/events"
    found = history(service.database, appliance_id, given.wanted, ROWS, cursor)
    made = Part(
        request, "events", given.link(path, cursor=cursor), "events_part.html", EVERY_S,
        found=found, first=given.link(path) if cursor else None,
        next=given.link(path, cursor=found.next) if found.next else None,
    )  # fmt: skip
    if part:
        return made.answer(request)
    return page(
        request, "events.html", appliance=service.views.appliance(appliance_id), tab="events",
        events=made, given=given.given, reasons=list(Reason), states=list(State),
        filtered=bool(given.query), csv=given.link(path + ".csv"), json=given.link(path + ".json"),
    )  # fmt: skip


@router.get("/appliances/{appliance_id}/events.csv")
@needs(Role.VIEWER)
def events_csv(service: TheService, appliance_id: ApplianceId, given: TheFilter) -> Response:
    """All of it, for a spreadsheet."""
    entries = whole(service.database, appliance_id, given.wanted)
    name = service.views.appliance(appliance_id).name
    return _file(_csv(entries), "text/csv; charset=utf-8", f"events-{name}.csv")


@router.get("/appliances/{appliance_id}/events.json")
@needs(Role.VIEWER)
def events_json(service: TheService, appliance_id: ApplianceId, given: TheFilter) -> Response:
    """All of it, for a program."""
    entries = whole(service.database, appliance_id, given.wanted)
    name = service.views.appliance(appliance_id).name
    return _file(_json(entries), "application/json", f"events-{name}.json")


def _file(parts: Iterator[str], kind: str, name: str) -> Response:
    told = NOT_IN_NAMES.sub("_", name)
    disposition = {"Content-Disposition": f'attachment; filename="{told}"'}
    return StreamingResponse(parts, media_type=kind, headers=disposition)


def cell(text: object) -> str:
    """A cell that no spreadsheet takes for a formula, and that steers no terminal."""
    told = "" if text is None else safe(str(text))
    return f"'{told}" if told[:1] in ("=", "+", "-", "@", "\t", "\r") else told


def _csv(entries: Iterator[HistoryEntry]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for one in entries:
        told = one.told
        row = [precise_iso(one.at_ns), one.at_ns, one.kind, one.subject]
        row += [told.get(key) for key in COLUMNS[4:-1]]
        row.append(json.dumps(told.get("evidence", {})))
        writer.writerow([cell(value) for value in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _json(entries: Iterator[HistoryEntry]) -> Iterator[str]:
    before = "["
    for one in entries:
        yield before + json.dumps(one.model_dump(mode="json"))  # ASCII: it steers no terminal
        before = ",\n"
    yield "]\n" if before != "[" else "[]\n"
