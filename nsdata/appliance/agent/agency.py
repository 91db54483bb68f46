"""The supervisor's end of the agent, which tells a manager: there while it is enrolled with one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsdata.appliance.agent.membership import (
    REACHED,
    REFUSED,
    UNREACHABLE,
    Membership,
    file_of,
)
from nsdata.appliance.channel import Message
from nsdata.appliance.companion import Companion
from nsdata.errors import EngineError

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor


class Agency(Companion):
    """Of one supervisor. Nothing runs while the appliance is enrolled nowhere."""

    name = "agent"

    def __init__(self, box: Supervisor) -> None:
        super().__init__(box)
        self.directory = Path(box.settings.directory)
        self._word: dict[str, Any] = {}  # the agent's last one about the manager

    def due(self) -> bool:
        """It is enrolled."""
        return file_of(self.directory).exists()

    def setup(self) -> dict[str, Any]:
        """Where its membership and what it has to tell are."""
        return {"directory": str(self.directory.resolve())}

    def told(self, event: str, evidence: Message) -> None:
        """Kept for `status`, when it is about the manager."""
        super().told(event, evidence)
        if event in (REACHED, REFUSED, UNREACHABLE):
            why = str(evidence.get("why", ""))
            self._word = {"takes": event == REACHED, "why": why, "since_ns": time.time_ns()}

    def status(self) -> dict[str, Any] | None:
        """Where it is enrolled, and whether that manager takes its reports (`takes`, since
        `since_ns`; null: not known yet); null: it is enrolled nowhere."""
        try:
            member = Membership.load(self.directory)
        except EngineError as error:
            return {"id": "", "url": "", "takes": False, "why": str(error), "since_ns": None}
        if member is None:
            return None
        nothing = {"takes": None, "why": "", "since_ns": None}
        return {"id": member.id, "url": member.agents_url, **nothing, **self._word}
