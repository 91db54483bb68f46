"""Archives of support reports as agents send them: whose they are, whether one is expected."""

from __future__ import annotations

import json
from uuid import UUID

from nsdata.appliance.protocol import CommandKind, PieceOf
from nsdata.manager import commands
from nsdata.manager.archives import Archives, Piece
from nsdata.manager.database import Database
from nsdata.manager.ingest import not_enrolled
from nsdata.manager.problems import Problem, not_found
from nsdata.manager.tables import Appliance, CommandRow

REPORT = CommandKind.SUPPORT_REPORT.value


class Incoming:
    """Of one manager; beside the writer of reports."""

    def __init__(self, database: Database, archives: Archives) -> None:
        self.database = database
        self.archives = archives

    def take(
        self, appliance_id: str, certificate: str, report_id: UUID, of: PieceOf, data: bytes
    ) -> int:
        """A piece of an archive; bytes that are here. Raises Problem: 403, 404 and 409 when none
        is expected, and what `Archives.take` raises."""
        self._expect(appliance_id, certificate, report_id)
        piece = Piece(of.offset, of.size, of.sha256, of.name, data)
        return self.archives.take(UUID(appliance_id), report_id, piece)

    def drop(self, appliance_id: str, certificate: str, report_id: UUID) -> None:
        """The rest of it does not come. Raises Problem (403, 404, 409)."""
        self._expect(appliance_id, certificate, report_id)
        self.archives.drop(UUID(appliance_id), report_id)

    def _expect(self, appliance_id: str, certificate: str, report_id: UUID) -> None:
        with self.database.reading() as session:
            row = session.get(Appliance, appliance_id)
            if row is None or certificate not in (row.certificate, row.next_certificate):
                raise not_enrolled()
            asked = session.get(CommandRow, str(report_id))
        if asked is None or (asked.appliance_id, asked.kind) != (appliance_id, REPORT):
            raise not_found("support report of this appliance")
        if json.loads(asked.parameters).get("destination") != "manager":
            raise Problem(409, "this support report goes elsewhere")
        if asked.state not in commands.OPEN:
            raise Problem(409, f"this support report is over: it has {asked.state}")
