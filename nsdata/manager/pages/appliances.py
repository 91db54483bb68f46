"""*All Appliances*: the table, and removing one."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Path, Query, Request
from pydantic import StringConstraints
from starlette.responses import Response

from nsdata import __version__
from nsdata.fallback.reasons import Reason, Severity, State
from nsdata.manager.api.appliances import Cursor
from nsdata.manager.api.guard import TheService, Who, needs
from nsdata.manager.audit import Role
from nsdata.manager.models import CONTROL, Search
from nsdata.manager.pages.guard import page_router
from nsdata.manager.pages.render import Part, page
from nsdata.manager.pages.visit import Form, see
from nsdata.manager.problems import Problem
from nsdata.manager.removal import remove

router = page_router()
ROWS = 50
EVERY_S = 2
COLUMNS = (
    ("name", "Name", False),
    ("state", "State", False),
    ("reason", "Fallback reason", False),
    ("health_score", "Health", True),
    ("bits_per_second", "Throughput", True),
    ("drop_ratio", "Drop ratio", True),
    ("version", "Version", False),
    ("last_seen_ns", "Last seen", False),
)  # field, heading, whether the highest comes first
ApplianceId = Annotated[UUID, Path()]
Line = Annotated[Annotated[str, StringConstraints(max_length=200, pattern=CONTROL)], Query()]
Seen = Annotated[str, Query(max_length=16)]


@router.get("/")
@needs(Role.VIEWER)
def root() -> Response:
    """The table is where one begins."""
    return see("/appliances")


@router.get("/appliances")
@needs(Role.VIEWER)
def all_appliances(
    request: Request, service: TheService, q: Line = "", state: Line = "", reason: Line = "",
    severity: Line = "", reporting: Literal["", "yes", "no"] = "", sort: Line = "name",
    cursor: Cursor = None, part: Literal["", "table", "summary"] = "",
) -> Response:  # fmt: skip
    """All of them, filtered and sorted by links that can be kept."""
    if part == "summary":
        return _summary(request, service).answer(request)
    given = {"q": q, "state": state, "reason": reason, "severity": severity,
             "reporting": reporting}  # fmt: skip
    # Of those that inspect, no reason is shown: *no error* are those in fallback by hand.
    by_hand = [State.FALLBACK] if reason == Reason.NO_ERROR else []
    search = Search.model_validate(
        {
            "text": q,
            "state": [one for one in State if one == state] or by_hand,
            "reason": [reason] if reason else [],
            "severity": [one for one in Severity if one == severity],
            "connected": {"yes": True, "no": False}.get(reporting),
        }
    )
    found = service.views.appliances(search, sort, ROWS, cursor)
    filters = {key: value for key, value in given.items() if value}

    def link(**more: str | None) -> str:
        query = filters | {"sort": sort} | {k: v for k, v in more.items() if v}
        query.pop("sort") if query["sort"] == "name" else None
        return "/appliances" + (f"?{urlencode(query)}" if query else "")

    table = Part(
        request, "table", link(cursor=cursor), "appliances_table.html", EVERY_S, found=found,
        columns=COLUMNS, sort=sort, link=link, filtered=bool(filters), first=cursor is None,
    )  # fmt: skip
    if part == "table":
        return table.answer(request)
    return page(
        request, "appliances.html", table=table, summary=_summary(request, service), given=given,
        sort=sort, states=list(State), severities=list(Severity), filtered=bool(filters),
        reasons=list(Reason),
    )  # fmt: skip


def _summary(request: Request, service: Any) -> Part:
    about = service.views.about(__version__, service.failing)
    return Part(request, "summary", "/appliances", "appliances_summary.html", about=about)


@router.get("/appliances/{appliance_id}/remove")
@needs(Role.ADMIN)
def remove_page(request: Request, service: TheService, appliance_id: ApplianceId) -> Response:
    """Are you sure?"""
    found = service.views.appliance(appliance_id)
    return page(request, "remove.html", appliance=found, error="", refused=False)


@router.post("/appliances/{appliance_id}/remove")
@needs(Role.ADMIN)
def remove_appliance(
    request: Request, service: TheService, who: Who, appliance_id: ApplianceId, form: Form
) -> Response:
    """Remove it, when its name was typed; refused for one that still reports, unless forced."""
    found = service.views.appliance(appliance_id)
    if form.get("name", "").strip() != found.name:
        said = f"Type the name, {found.name}, to remove it."
        return page(request, "remove.html", 422, appliance=found, error=said, refused=False)
    try:
        remove(
            service.database, service.archives, who, appliance_id,
            service.settings.appliance_gone, force=form.get("force") == "yes",
        )  # fmt: skip
    except Problem as problem:
        if problem.status != 409:
            raise
        return page(
            request, "remove.html", 409, appliance=found, error=problem.detail, refused=True
        )
    return see("/appliances")
