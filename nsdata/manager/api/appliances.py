"""/api/v1/appliances: the table, one appliance, what is asked of it."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Header, Path, Query, Response
from pydantic import StringConstraints

from nsdata.appliance.protocol import CommandKind
from nsdata.manager import commands
from nsdata.manager.api.guard import TheService, Who, guarded_router, needs, problems
from nsdata.manager.audit import Actor, Role
from nsdata.manager.listing import LIMIT, LIMIT_MOST
from nsdata.manager.models import (
    CONTROL,
    ApplianceDetail,
    ApplianceRow,
    CommandStatus,
    HistoryEntry,
    Inspection,
    InspectionWanted,
    Page,
    RebootWanted,
    Removed,
    Samples,
    Search,
)
from nsdata.manager.removal import remove
from nsdata.manager.service import Service
from nsdata.manager.views import command as shown

router = guarded_router("/appliances", "appliances")
commands_router = guarded_router("/commands", "commands")

ApplianceId = Annotated[UUID, Path(description="The appliance.")]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MOST, description="Rows of a part.")]
Cursor = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None,
    Query(description="`next` of the answer before."),
]
Text = Annotated[
    Annotated[str, StringConstraints(max_length=200, pattern=CONTROL)],
    Query(alias="query", description="Words that have to be there; `state:fallback` in one place."),
]
Sort = Annotated[
    Annotated[str, StringConstraints(max_length=40, pattern=CONTROL)],
    Query(description="A field of the rows; with - before it: downwards."),
]
Key = Annotated[
    UUID | None,
    Header(alias="Idempotency-Key", description="The same key: the same command, asked once."),
]


@router.get("", responses=problems())
@needs(Role.VIEWER)
def list_appliances(
    who: Who,
    service: TheService,
    query: Text = "",
    sort: Sort = "name",
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[ApplianceRow]:
    """All appliances, in parts."""
    return service.views.appliances(Search(text=query), sort, limit, cursor)


@router.post("/search", responses=problems())
@needs(Role.VIEWER)
def search_appliances(
    who: Who,
    service: TheService,
    wanted: Search,
    sort: Sort = "name",
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[ApplianceRow]:
    """Those of which all of this holds, in parts."""
    return service.views.appliances(wanted, sort, limit, cursor)


@router.get("/{appliance_id}", responses=problems(404))
@needs(Role.VIEWER)
def get_appliance(who: Who, service: TheService, appliance_id: ApplianceId) -> ApplianceDetail:
    """One appliance with its last report."""
    return service.views.appliance(appliance_id)


@router.delete("/{appliance_id}", responses=problems(404, 409))
@needs(Role.ADMIN)
def remove_appliance(
    who: Who,
    service: TheService,
    appliance_id: ApplianceId,
    force: Annotated[bool, Query(description="Even while it reports.")] = False,
) -> Removed:
    """Remove it; refused while it still reports, unless forced. Its history stays in the audit
    log, archives of its support reports go; when it comes back it has to enrol again."""
    gone = service.settings.appliance_gone
    return remove(service.database, service.archives, who, appliance_id, gone, force=force)


def ask(
    service: Service,
    who: Actor,
    response: Response,
    appliance_id: UUID,
    kind: CommandKind,
    parameters: dict[str, object],
    key: UUID | None,
) -> CommandStatus:
    """A command, and where it stands. Raises Problem (404, 409)."""
    with service.database.writing() as session:
        row = commands.ask(session, who, str(appliance_id), kind, parameters, key)
        told = shown(row)
    response.headers["Location"] = told.status_url
    return told


@router.get("/{appliance_id}/inspection", responses=problems(404))
@needs(Role.VIEWER)
def get_inspection(who: Who, service: TheService, appliance_id: ApplianceId) -> Inspection:
    """Whether it inspects, and if not, why."""
    return service.views.inspection(appliance_id)


@router.put("/{appliance_id}/inspection", status_code=202, responses=problems(404, 409))
@needs(Role.OPERATOR)
def put_inspection(
    who: Who,
    service: TheService,
    response: Response,
    appliance_id: ApplianceId,
    wanted: InspectionWanted,
    key: Key = None,
) -> CommandStatus:
    """Have it inspect, or permit everything uninspected."""
    parameters: dict[str, object] = {"note": wanted.note, "by": who.name}
    if wanted.state == "inspect":
        parameters["force"] = wanted.force
    return ask(service, who, response, appliance_id, CommandKind(wanted.state), parameters, key)


@router.post("/{appliance_id}/reboot", status_code=202, responses=problems(404, 409))
@needs(Role.OPERATOR)
def reboot(
    who: Who,
    service: TheService,
    response: Response,
    appliance_id: ApplianceId,
    wanted: RebootWanted | None = None,
    key: Key = None,
) -> CommandStatus:
    """Restart its processes in order; asked again while it goes on, it is the same reboot."""
    parameters: dict[str, object] = {"by": who.name, "note": wanted.note if wanted else ""}
    return ask(service, who, response, appliance_id, CommandKind.REBOOT, parameters, key)


@router.post("/{appliance_id}/reload", status_code=202, responses=problems(404, 409))
@needs(Role.OPERATOR)
def reload(
    who: Who, service: TheService, response: Response, appliance_id: ApplianceId, key: Key = None
) -> CommandStatus:
    """Have it read its configuration and rules again."""
    return ask(service, who, response, appliance_id, CommandKind.RELOAD, {}, key)


@router.get("/{appliance_id}/transitions", responses=problems(404))
@needs(Role.VIEWER)
def list_transitions(
    who: Who,
    service: TheService,
    appliance_id: ApplianceId,
    query: Text = "",
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[HistoryEntry]:
    """What it went through, with the evidence, newest first."""
    return service.views.history(appliance_id, "transition", query, limit, cursor)


@router.get("/{appliance_id}/events", responses=problems(404))
@needs(Role.VIEWER)
def list_events(
    who: Who,
    service: TheService,
    appliance_id: ApplianceId,
    query: Text = "",
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[HistoryEntry]:
    """What happened that changed no state, newest first."""
    return service.views.history(appliance_id, "event", query, limit, cursor)


@router.get("/{appliance_id}/samples", responses=problems(404))
@needs(Role.VIEWER)
def list_samples(
    who: Who,
    service: TheService,
    appliance_id: ApplianceId,
    step: Annotated[Literal["second", "minute"], Query(description="Of a point.")] = "second",
) -> Samples:
    """Its rates over time: ten minutes by the second, or a day by the minute."""
    return service.views.samples(appliance_id, 1 if step == "second" else 60)


@router.get("/{appliance_id}/commands", responses=problems(404))
@needs(Role.VIEWER)
def list_commands(
    who: Who,
    service: TheService,
    appliance_id: ApplianceId,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[CommandStatus]:
    """What was asked of it, newest first."""
    return service.views.commands(appliance_id, (), limit, cursor)


@commands_router.delete("/{command_id}", status_code=204, responses=problems(404, 409))
@needs(Role.OPERATOR)
def withdraw_command(who: Who, service: TheService, command_id: UUID) -> None:
    """Withdraw a command that has not begun. One that the appliance has been sent may have: then
    the appliance says what came of it, and that stands."""
    with service.database.writing() as session:
        commands.withdraw(session, who, command_id)


@commands_router.get("/{command_id}", responses=problems(404))
@needs(Role.VIEWER)
def get_command(who: Who, service: TheService, command_id: UUID) -> CommandStatus:
    """A command and where it stands."""
    return service.views.command(command_id)
