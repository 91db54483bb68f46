"""The parts of a manager, put together. What serves HTTP gets this object."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from nsdata.errors import OutputError
from nsdata.manager.accounts import Accounts
from nsdata.manager.alone import Alone
from nsdata.manager.archives import Archives
from nsdata.manager.ca import Authority
from nsdata.manager.database import Database
from nsdata.manager.enrolment import Enrolments
from nsdata.manager.ingest import Ingest
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
        self.ingest = Ingest(self.database)
        self.archives = Archives(self.directory, settings)
        self.views = Views(self.database, settings.appliance_gone)
        self.reports = Reports(self.database, self.views, self.archives)
        self.url = ""  # of people's listener, once it is open
        self._lock: int | None = None
        self._alone: Alone | None = None

    def hold(self) -> None:
        """One manager runs in a directory, and on a database. Raises OutputError."""
        file = self.directory / "manager.lock"
        self._lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(f"{file}: another manager runs in this directory") from error
        self._alone = Alone(self.database)

    def password_link(self, token: str) -> str:
        """The link that sets a password."""
        return f"{self.url}/password/{token}"

    def close(self) -> None:
        """Let go."""
        if self._alone is not None:
            self._alone.close()
        self.database.close()
        if self._lock is not None:
            os.close(self._lock)
