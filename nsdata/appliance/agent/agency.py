"""The supervisor's end of the agent, which tells a manager: there while it is enrolled with one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsdata.appliance.agent.membership import file_of
from nsdata.appliance.companion import Companion

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor


class Agency(Companion):
    """Of one supervisor. Nothing runs while the appliance is enrolled nowhere."""

    name = "agent"

    def __init__(self, box: Supervisor) -> None:
        super().__init__(box)
        self.directory = Path(box.settings.directory)

    def due(self) -> bool:
        """It is enrolled."""
        return file_of(self.directory).exists()

    def setup(self) -> dict[str, Any]:
        """Where its membership and what it has to tell are."""
        return {"directory": str(self.directory.resolve())}
