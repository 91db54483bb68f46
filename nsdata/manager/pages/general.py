"""The tab *General* of an appliance: the inspection state and why, reboot, support report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from fastapi import Request
from starlette.responses import Response

from nsdata.appliance.protocol import CommandKind
from nsdata.fallback.reasons import Reason
from nsdata.manager import commands, fallbacks
from nsdata.manager.api.guard import TheService, Who, needs
from nsdata.manager.api.reports import download
from nsdata.manager.audit import Actor, Role
from nsdata.manager.models import ApplianceDetail, InspectionWanted, RebootWanted, ReportWanted
from nsdata.manager.pages.appliances import ApplianceId, Seen
from nsdata.manager.pages.guard import page_router
from nsdata.manager.pages.render import Part, page
from nsdata.manager.pages.visit import Form, of_htmx, see, wanted
from nsdata.manager.problems import Problem, not_found
from nsdata.manager.reports import vendor_refusal
from nsdata.manager.service import Service
from nsdata.support.url import ACL, CANNED_ACLS, LONGEST, SUFFIX

router = page_router()
RECENT, REPORTS = 5, 5  # commands, support reports that are shown
SWITCHES = [CommandKind.INSPECT, CommandKind.BYPASS, CommandKind.REBOOT, CommandKind.RELOAD]
OPEN = ("queued", "sent", "running")
RULES = {"longest": LONGEST, "suffix": SUFFIX, "acl": ACL, "acls": CANNED_ACLS}
Switch = Literal["inspect", "bypass"]


def base(appliance_id: UUID) -> str:
    """Where the pages of an appliance are."""
    return f"/appliances/{appliance_id}"


def _state(request: Request, service: Service, appliance: ApplianceDetail) -> Part:
    inspection = service.views.inspection(appliance.id)
    latest = fallbacks.transitions(service.database, appliance.id)
    last = next((one for one in latest if one.told.get("outcome") != fallbacks.REFUSED), None)
    evidence = appliance.evidence
    given = evidence.get("given")
    first = given if isinstance(given, Mapping) else {}
    return Part(
        request,
        "state",
        base(appliance.id),
        "general_state.html",
        1,
        appliance=appliance,
        inspection=inspection,
        last=last,
        entered=fallbacks.entered(latest) if appliance.state == "fallback" else None,
        refused=latest[0] if latest and latest[0] is not last else None,
        reboot=next(
            (
                one
                for one in appliance.open_commands
                if one.kind == CommandKind.REBOOT and one.state == commands.RUNNING
            ),
            None,
        ),
        # Times of evidence are of the clock by which its transition was told.
        at_ns=next(
            (one.told.get("at_ns") for one in latest if one.told.get("evidence") == evidence), None
        ),
        first=first or evidence,
        rest={key: told for key, told in evidence.items() if key != "given"} if first else {},
    )


def _figures(request: Request, appliance: ApplianceDetail) -> Part:
    return Part(
        request, "figures", base(appliance.id), "general_figures.html", 1, appliance=appliance
    )


def _commands(request: Request, service: Service, appliance_id: UUID) -> Part:
    found = service.views.commands(appliance_id, SWITCHES, RECENT).items
    return Part(request, "commands", base(appliance_id), "general_commands.html", 1, found=found,
                id=appliance_id)  # fmt: skip


def _reports(request: Request, service: Service, appliance_id: UUID) -> Part:
    found = service.reports.list(appliance_id, REPORTS).items
    return Part(
        request, "reports", base(appliance_id), "general_reports.html", 1, found=found,
        open=OPEN, id=appliance_id,
    )  # fmt: skip


def _general(
    request: Request, service: Service, appliance_id: UUID, status: int = 200,
    part: str = "", **context: Any,
) -> Response:  # fmt: skip
    appliance = service.views.appliance(appliance_id)
    if part == "state":
        return _state(request, service, appliance).answer(request)
    if part == "figures":
        return _figures(request, appliance).answer(request)
    if part == "commands":
        return _commands(request, service, appliance_id).answer(request)
    if part == "reports":
        return _reports(request, service, appliance_id).answer(request)
    given = {"error": "", "url": "", "packets": False, "destination": "manager"} | context
    return page(
        request, "general.html", status, appliance=appliance, tab="general",
        state=_state(request, service, appliance),
        figures=_figures(request, appliance), rules=RULES,
        commands=_commands(request, service, appliance_id),
        reports=_reports(request, service, appliance_id),
        refusal=vendor_refusal(appliance.support),
        **given,
    )  # fmt: skip


@router.get("/appliances/{appliance_id}")
@needs(Role.VIEWER)
def general(
    request: Request, service: TheService, appliance_id: ApplianceId,
    part: Literal["", "state", "figures", "commands", "reports"] = "", seen: Seen = "",
) -> Response:  # fmt: skip
    """What it does, why, and what can be asked of it."""
    return _general(request, service, appliance_id, part=part)


def _ask(
    service: Service, who: Actor, appliance_id: UUID, kind: CommandKind,
    parameters: Mapping[str, object],
) -> None:  # fmt: skip
    with service.database.writing() as session:
        commands.ask(session, who, str(appliance_id), kind, parameters)


# --- the toggle -----------------------------------------------------------------------------


@router.get("/appliances/{appliance_id}/inspection")
@needs(Role.OPERATOR)
def inspection_page(
    request: Request, service: TheService, appliance_id: ApplianceId, to: Switch
) -> Response:
    """Are you sure?"""
    appliance = service.views.appliance(appliance_id)
    template = "confirm_inspection.html" if of_htmx(request) else "confirm.html"
    by_hand = None
    if to == "inspect" and appliance.reason == Reason.NO_ERROR:
        by_hand = fallbacks.by_hand(service.database, appliance_id)
    return page(request, template, appliance=appliance, to=to, what="confirm_inspection.html",
                unsent_ns=commands.UNSENT_NS, by_hand=by_hand)  # fmt: skip


@router.post("/appliances/{appliance_id}/inspection")
@needs(Role.OPERATOR)
def switch_inspection(
    service: TheService, who: Who, appliance_id: ApplianceId, form: Form
) -> Response:
    """Into fallback by hand, or back to normal."""
    given = wanted(
        InspectionWanted,
        {
            "state": form.get("to", ""),
            "note": form.get("note", ""),
            "force": form.get("force", "no"),
        },
    )
    parameters: dict[str, object] = {"note": given.note, "by": who.name}
    if given.state == "inspect":
        parameters["force"] = given.force
    _ask(service, who, appliance_id, CommandKind(given.state), parameters)
    return see(base(appliance_id))


# --- reboot ---------------------------------------------------------------------------------


@router.get("/appliances/{appliance_id}/reboot")
@needs(Role.OPERATOR)
def reboot_page(request: Request, service: TheService, appliance_id: ApplianceId) -> Response:
    """Are you sure?"""
    appliance = service.views.appliance(appliance_id)
    template = "confirm_reboot.html" if of_htmx(request) else "confirm.html"
    return page(request, template, appliance=appliance, what="confirm_reboot.html",
                unsent_ns=commands.UNSENT_NS)  # fmt: skip


@router.post("/appliances/{appliance_id}/reboot")
@needs(Role.OPERATOR)
def reboot(service: TheService, who: Who, appliance_id: ApplianceId, form: Form) -> Response:
    """Its processes begin anew; asked twice, it happens once."""
    note = wanted(RebootWanted, {"note": form.get("note", "")}).note
    _ask(service, who, appliance_id, CommandKind.REBOOT, {"by": who.name, "note": note})
    return see(base(appliance_id))


# --- what was asked -------------------------------------------------------------------------


@router.post("/appliances/{appliance_id}/commands/{command_id}/withdraw")
@needs(Role.OPERATOR)
def withdraw(
    service: TheService, who: Who, appliance_id: ApplianceId, command_id: UUID
) -> Response:
    """Have it not carried out."""
    if service.views.command(command_id).appliance_id != appliance_id:
        raise not_found("command")
    with service.database.writing() as session:
        commands.withdraw(session, who, command_id)
    return see(base(appliance_id))


# --- support report -------------------------------------------------------------------------


@router.post("/appliances/{appliance_id}/support-reports")
@needs(Role.OPERATOR)
def start_report(
    request: Request, service: TheService, who: Who, appliance_id: ApplianceId, form: Form
) -> Response:
    """Start one; one at a time."""
    destination = form.get("destination", "")
    url = form.get("url", "").strip()
    packets = form.get("packets", "no")
    try:
        asked = wanted(ReportWanted, {"destination": destination, "url": url, "packets": packets})
        service.reports.start(who, appliance_id, asked, None)
    except Problem as problem:
        if problem.status not in (409, 422):
            raise
        return _general(
            request,
            service,
            appliance_id,
            problem.status,
            error=f"{problem.detail[:1].upper()}{problem.detail[1:]}.",
            destination=destination,
            url=url,
            packets=packets == "yes",
        )
    return see(base(appliance_id) + "#support")


@router.post("/appliances/{appliance_id}/support-reports/{report_id}/stop")
@needs(Role.OPERATOR)
def stop_report(
    service: TheService, who: Who, appliance_id: ApplianceId, report_id: UUID
) -> Response:
    """Stop the one that runs."""
    found = service.reports.get(appliance_id, report_id)
    _ask(service, who, appliance_id, CommandKind.STOP_REPORT, {"report": str(found.id)})
    return see(base(appliance_id) + "#support")


@router.get("/appliances/{appliance_id}/support-reports/{report_id}/archive")
@needs(Role.OPERATOR)
def get_archive(
    service: TheService, who: Who, appliance_id: ApplianceId, report_id: UUID
) -> Response:
    """Download it."""
    return download(service, who, appliance_id, report_id)


@router.post("/appliances/{appliance_id}/support-reports/{report_id}/discard")
@needs(Role.OPERATOR)
def remove_archive(
    service: TheService, who: Who, appliance_id: ApplianceId, report_id: UUID
) -> Response:
    """Remove the archive that is kept here."""
    service.reports.remove(who, appliance_id, report_id)
    return see(base(appliance_id) + "#support")
