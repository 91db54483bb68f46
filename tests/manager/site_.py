"""A running manager, for tests: its own process, real sockets, real TLS."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from box import PATIENCE_S, ROOT

from nsdata.appliance.agent.membership import enrol
from nsdata.manager.audit import Role, console
from nsdata.manager.service import Service
from nsdata.manager.settings import ManagerSettings

URLS = re.compile(r"manager at (https://\S+), agents at (https://\S+)")
LINK = re.compile(r"/password/(\S+)")
API = "/api/v1"


class Site:
    """A manager in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        *,
        more: str = "",
        listen: str = "127.0.0.1:0",
        agents: str = "127.0.0.1:0",
        database: str = "",
    ) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory / "manager"
        self.config = directory / "manager.toml"
        self.more, self.database = more, database
        self.output = directory / "manager.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.url = self.agents_url = self.link = ""
        self._write(listen, agents)
        self._service: Service | None = None

    def _write(self, listen: str, agents: str) -> None:
        database = f'database = "{self.database}"\n' if self.database else ""
        self.config.write_text(
            f'directory = "manager"\nlisten = "{listen}"\nagents = "{agents}"\n{database}'
            f'names = ["127.0.0.1"]\nappliance-gone = "3s"\n{self.more}\n'
        )

    def __enter__(self) -> Site:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._service is not None:
            self._service.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise

    def start(self) -> None:
        """Run it, until both listeners are open; again at the same ports."""
        before = self.output.stat().st_size if self.output.exists() else 0
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    "import sys; sys.argv[0] = 'nsdata'; from nsdata.cli import main; main()",
                    "manager",
                    "run",
                    "--config",
                    str(self.config),
                ],
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

        def open_() -> bool:
            text = self.output.read_text()[before:]
            if found := URLS.search(text):
                self.url, self.agents_url = found.groups()
                self.link = link[1] if (link := LINK.search(text)) else ""
            assert self.process is not None
            assert self.process.poll() is None, self.log()
            return bool(found)

        wait(open_, "the manager listens", self.log)
        ports = [url.rpartition(":")[2] for url in (self.url, self.agents_url)]
        self._write(*(f"127.0.0.1:{port}" for port in ports))

    def kill(self) -> None:
        """As the kernel would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def log(self) -> str:
        """What it said."""
        return self.output.read_text(errors="replace")[-4000:]

    @property
    def service(self) -> Service:
        """The same database, as the command line of the machine sees it."""
        if self._service is None:
            self._service = Service(ManagerSettings.load(self.config))
        return self._service

    def token(self, role: Role = Role.ADMIN, days: float = 1) -> str:
        """An API token."""
        return self.service.accounts.add_token(console(), "test", role, days)[1]

    def enrolment_token(self, hours: float = 1) -> str:
        """A one-time token."""
        return self.service.enrolments.add_token(console(), "test", hours)[1]

    def context(self) -> ssl.SSLContext:
        """TLS with this manager alone."""
        return ssl.create_default_context(cafile=str(self.directory / "ca" / "ca.pem"))

    @contextmanager
    def client(self, role: Role | None = Role.ADMIN) -> Iterator[httpx.Client]:
        """A client of the API with a token of this role; None: without."""
        headers = {} if role is None else {"Authorization": f"Bearer {self.token(role)}"}
        with httpx.Client(
            base_url=self.url + API,
            verify=self.context(),
            headers=headers,
            timeout=PATIENCE_S,
            trust_env=False,
        ) as client:
            yield client

    def enrol(self, appliance: Path, name: str = "box") -> str:
        """Enrol the appliance in this directory; its id."""
        return enrol(appliance, name, self.url, self.enrolment_token()).id


def wait(true: Callable[[], Any], what: str, log: Callable[[], str] = lambda: "") -> Any:
    """What `true` gives, once it is true."""
    end = time.monotonic() + 3 * PATIENCE_S  # an agent waits longer after each loss
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}\n{log()}")


def ended(client: httpx.Client, command: dict[str, Any]) -> dict[str, Any]:
    """A command once it is done or has failed."""

    def over() -> Any:
        told = client.get(f"/commands/{command['id']}").raise_for_status().json()
        return told if told["state"] in ("done", "failed") else None

    return dict(wait(over, f"{command['kind']} ends"))
