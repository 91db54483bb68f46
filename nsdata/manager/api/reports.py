"""/api/v1/appliances/ID/support-reports: asked for, followed, stopped; their archives."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Annotated, Any, BinaryIO
from uuid import UUID

from fastapi import Path, Response
from starlette.responses import StreamingResponse

from nsdata.appliance.protocol import CommandKind
from nsdata.manager.api.appliances import ApplianceId, Cursor, Key, Limit, ask
from nsdata.manager.api.guard import TheService, Who, guarded_router, needs, problems
from nsdata.manager.audit import Actor, Role
from nsdata.manager.listing import LIMIT
from nsdata.manager.models import CommandStatus, Page, ReportStatus, ReportWanted
from nsdata.manager.service import Service

router = guarded_router("/appliances/{appliance_id}/support-reports", "support reports")

ReportId = Annotated[UUID, Path(description="The support report.")]
GZIP = "application/gzip"
CHUNK = 1 << 18  # bytes
ARCHIVE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The archive.",
        "content": {GZIP: {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "Content-Disposition": {"schema": {"type": "string"}, "description": "Its name."},
            "Repr-Digest": {"schema": {"type": "string"}, "description": "SHA-256 (RFC 9530)."},
        },
    }
}


@router.post("", status_code=202, responses=problems(404, 409))
@needs(Role.OPERATOR)
def start_support_report(
    who: Who,
    service: TheService,
    response: Response,
    appliance_id: ApplianceId,
    wanted: ReportWanted,
    key: Key = None,
) -> ReportStatus:
    """Start a support report; one at a time. 409: one runs (`running`), or the vendor takes none
    (`urn:nsdata:problem:vendor`); 422 names the rule that a URL breaks."""
    told = service.reports.start(who, appliance_id, wanted, key)
    response.headers["Location"] = f"/api/v1/appliances/{appliance_id}/support-reports/{told.id}"
    return told


@router.get("", responses=problems(404))
@needs(Role.VIEWER)
def list_support_reports(
    who: Who,
    service: TheService,
    appliance_id: ApplianceId,
    limit: Limit = LIMIT,
    cursor: Cursor = None,
) -> Page[ReportStatus]:
    """Its support reports, newest first."""
    return service.reports.list(appliance_id, limit, cursor)


@router.get("/{report_id}", responses=problems(404))
@needs(Role.VIEWER)
def get_support_report(
    who: Who, service: TheService, appliance_id: ApplianceId, report_id: ReportId
) -> ReportStatus:
    """A support report, how far it is, and its archive where that is kept here."""
    return service.reports.get(appliance_id, report_id)


@router.delete("/{report_id}", status_code=202, responses=problems(404, 409))
@needs(Role.OPERATOR)
def stop_support_report(
    who: Who,
    service: TheService,
    response: Response,
    appliance_id: ApplianceId,
    report_id: ReportId,
    key: Key = None,
) -> CommandStatus:
    """Stop the one that runs."""
    found = service.reports.get(appliance_id, report_id)
    parameters: dict[str, object] = {"report": str(found.id)}
    return ask(service, who, response, appliance_id, CommandKind.STOP_REPORT, parameters, key)


@router.get(
    "/{report_id}/archive",
    response_class=StreamingResponse,
    responses={**ARCHIVE, **problems(404)},
)
@needs(Role.OPERATOR)
def get_support_report_archive(
    who: Who, service: TheService, appliance_id: ApplianceId, report_id: ReportId
) -> StreamingResponse:
    """The archive. It holds evidence: who gets it is in the audit log."""
    return download(service, who, appliance_id, report_id)


@router.delete("/{report_id}/archive", status_code=204, responses=problems(404))
@needs(Role.OPERATOR)
def remove_support_report_archive(
    who: Who, service: TheService, appliance_id: ApplianceId, report_id: ReportId
) -> None:
    """Remove the archive; the report stays in the list."""
    service.reports.remove(who, appliance_id, report_id)


def download(
    service: Service, actor: Actor, appliance_id: UUID, report_id: UUID
) -> StreamingResponse:
    """The archive as an answer. Raises Problem (404)."""
    service.reports.get(appliance_id, report_id)
    found, file = service.archives.open(appliance_id, report_id)
    try:
        service.reports.note_download(actor, appliance_id, found)
    except BaseException:
        file.close()
        raise
    digest = base64.b64encode(bytes.fromhex(found.sha256)).decode()
    headers = {
        "Content-Disposition": f'attachment; filename="{found.file_name}"',
        "Content-Length": str(found.size),
        "Repr-Digest": f"sha-256=:{digest}:",
    }
    return StreamingResponse(_chunks(file), media_type=GZIP, headers=headers)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while data := file.read(CHUNK):
            yield data
