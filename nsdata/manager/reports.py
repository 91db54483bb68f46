"""Support reports, for programs and pages alike: which may be asked for, what is kept here."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from nsdata.appliance.protocol import CommandKind
from nsdata.errors import NsdataError
from nsdata.manager import commands
from nsdata.manager.archives import Archives
from nsdata.manager.audit import Actor, record
from nsdata.manager.database import Database
from nsdata.manager.models import Archive, CommandStatus, Page, ReportStatus, ReportWanted
from nsdata.manager.problems import Problem, not_found
from nsdata.manager.tables import Appliance, CommandRow, Latest
from nsdata.manager.views import Views
from nsdata.manager.views import command as shown
from nsdata.support.address import Network, location
from nsdata.support.url import split

UNKNOWN = "which version is the latest is not known: the appliance has not said so"
REPORT = CommandKind.SUPPORT_REPORT


def vendor_refusal(support: Mapping[str, Any]) -> str:
    """Why the vendor takes no report of the appliance that says this; empty: it does. It is the
    appliance that knows: its settings name the vendor, and the document of the latest version."""
    vendor = support.get("vendor")
    if not isinstance(vendor, Mapping):
        return UNKNOWN
    return "" if vendor.get("available") is True else str(vendor.get("why") or UNKNOWN)


def check(wanted: ReportWanted, support: Mapping[str, Any]) -> None:
    """Whether such a report may be asked for. support: what the appliance says of that. Raises
    Problem: 422 with the rule that the URL breaks, 409 when the vendor takes none."""
    if wanted.destination == "vendor" and (why := vendor_refusal(support)):
        raise Problem(409, f"the vendor takes no report of it now: {why}", kind="vendor")
    if wanted.destination != "custom":
        if wanted.url:
            told = "a URL is for a custom location only: choose that, or leave the URL out"
            raise Problem(422, told, kind="url")
        return
    if not wanted.url:
        raise Problem(422, "a custom location needs a URL", kind="url")
    try:
        location(wanted.url, _allowed(support))
    except NsdataError as error:
        raise Problem(422, str(error), kind="url") from error


def _allowed(support: Mapping[str, Any]) -> list[Network]:
    """Networks that the appliance's settings allow (support.allow)."""
    found = []
    allow = support.get("allow")
    for one in allow if isinstance(allow, list) else ():
        try:
            found.append(ipaddress.ip_network(str(one)))
        except ValueError:
            continue  # of a version that writes them otherwise
    return found


class Reports:
    """Of one manager."""

    def __init__(self, database: Database, views: Views, archives: Archives) -> None:
        self.database = database
        self.views = views
        self.archives = archives

    def start(
        self, actor: Actor, appliance_id: UUID, wanted: ReportWanted, key: UUID | None
    ) -> ReportStatus:
        """Ask for one; the same one for the same key. Raises Problem (404, 409, 422)."""
        parameters = {**wanted.model_dump(), "by": actor.name}
        with self.database.writing() as session:
            if key is None or session.get(CommandRow, str(key)) is None:
                check(wanted, _support(session, str(appliance_id)))
                _is_unused(session, wanted.url)
            row = commands.ask_report(session, actor, str(appliance_id), parameters, key)
            return self._shown(shown(row))

    def get(self, appliance_id: UUID, report_id: UUID) -> ReportStatus:
        """A report of an appliance. Raises Problem (404)."""
        found = self.views.command(report_id)
        if found.appliance_id != appliance_id or found.kind != REPORT:
            raise not_found("support report of this appliance")
        return self._shown(found)

    def list(
        self, appliance_id: UUID, limit: int = 50, cursor: str | None = None
    ) -> Page[ReportStatus]:
        """Those of an appliance, newest first. Raises Problem (404, 422)."""
        found = self.views.commands(appliance_id, [REPORT], limit, cursor)
        return Page(items=[self._shown(one) for one in found.items], next=found.next)

    def _shown(self, one: CommandStatus) -> ReportStatus:
        archive = self.archives.of(one.appliance_id, one.id)
        return ReportStatus(**one.model_dump(), archive=archive)

    def note_download(self, actor: Actor, appliance_id: UUID, archive: Archive) -> None:
        """Somebody gets it: it holds evidence, and who has it is to be known."""
        with self.database.writing() as session:
            details = {"file_name": archive.file_name, "sha256": archive.sha256}
            record(session, actor, "support-report.download", str(appliance_id), details=details)

    def remove(self, actor: Actor, appliance_id: UUID, report_id: UUID) -> None:
        """Remove the archive of a report. Raises Problem (404)."""
        found = self.archives.remove(appliance_id, self.get(appliance_id, report_id).id)
        with self.database.writing() as session:
            details = {"file_name": found.file_name, "sha256": found.sha256}
            record(session, actor, "support-report.remove", str(appliance_id), details=details)

    def tidy(self) -> None:
        """What runs out goes."""
        self.archives.tidy(self._going_on)

    def _going_on(self) -> tuple[set[str], set[str]]:
        """(appliances, reports that are not over)."""
        running = select(CommandRow.id).where(
            CommandRow.kind == REPORT.value, CommandRow.state.in_(commands.OPEN)
        )
        with self.database.reading() as session:
            return set(session.scalars(select(Appliance.id))), set(session.scalars(running))


def _is_unused(session: Session, url: str) -> None:
    """File names are unique: nothing is sent where another report went, which it would replace.
    Raises Problem (409)."""
    if not url:
        return
    wanted = split(url)
    rows = session.execute(
        select(CommandRow.id, CommandRow.parameters)
        .where(CommandRow.kind == REPORT.value, CommandRow.state != commands.FAILED)
        .where(CommandRow.parameters.contains('"destination": "custom"'))
    )
    for number, parameters in rows:
        if split(json.loads(parameters)["url"]).place == wanted.place:
            raise Problem(
                409, f"file names have to be unique: report {number} went to {wanted.shown}",
                kind="url-used", used_by=number,
            )  # fmt: skip


def _support(session: Session, appliance_id: str) -> Mapping[str, Any]:
    """What the appliance says of support reports; nothing before it has reported."""
    latest = session.get(Latest, appliance_id)
    found = {} if latest is None else json.loads(latest.report).get("support")
    return found if isinstance(found, Mapping) else {}
