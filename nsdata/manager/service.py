"""The parts of a manager, put together. What serves HTTP gets this object."""

from __future__ import annotations

from pathlib import Path

from nsdata.errors import OutputError
from nsdata.manager.accounts import Accounts
from nsdata.manager.archives import Archives
from nsdata.manager.ca import Authority
from nsdata.manager.database import Database
from nsdata.manager.door import Door
from nsdata.manager.enrolment import Enrolments
from nsdata.manager.holding import FileHold
from nsdata.manager.intake import Intake
from nsdata.manager.reports import Reports
from nsdata.manager.settings import ManagerSettings
from nsdata.manager.views import Views


class Service:
    """Database, CA, accounts, … of one manager. Raises NsdataError."""

    def __init__(self, settings: ManagerSettings) -> None:
        self.settings = settings
        self.directory = Path(settings.directory)
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(f"{self.directory}: {error.strerror}") from error
        self.authority = Authority(self.directory / "ca")
        self.database = Database(settings.database_url)
        self.accounts = Accounts(self.database, settings)
        self.enrolments = Enrolments(self.database, self.authority)
        self.intake: Intake | None = None  # while it runs
        self.archives = Archives(self.directory, settings.report_limits)
        self.views = Views(self.database, settings.appliance_gone)
        self.reports = Reports(self.database, self.views, self.archives)
        self.door: Door | None = None  # of people's listener, the same
        self.url = ""  # of people's listener, once it is open
        self._hold = FileHold(self.directory / "manager.lock", "in this directory")

    def hold(self) -> int:
        """One manager runs in a directory; the descriptor of its lock, for its processes. Raises
        Held, OutputError."""
        self._hold.take()
        assert self._hold.descriptor is not None
        return self._hold.descriptor

    @property
    def failing(self) -> str:
        """Why nothing can be stored now; empty: it can."""
        return self.intake.failing if self.intake is not None else ""

    @property
    def refused(self) -> int:
        """Connections of both listeners that were ended because there were too many."""
        doors = (self.door, self.intake)
        return sum(one.refused for one in doors if one is not None)

    def password_link(self, token: str) -> str:
        """The link that sets a password."""
        return f"{self.url}/password/{token}"

    def close(self) -> None:
        """Let go."""
        self.database.close()
        self._hold.close()
