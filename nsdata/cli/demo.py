"""`nsdata manager demo`: a manager and three real appliances on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from nsdata.appliance.agent.membership import Membership, enrol
from nsdata.errors import NsdataError, SettingError
from nsdata.manager.audit import console
from nsdata.manager.server import Manager
from nsdata.manager.service import Service
from nsdata.manager.settings import Address, ManagerSettings

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "tests" / "captures" / "office.pcap"
RULES = ROOT / "demo" / "demo.rules"
APPLIANCES = {"north": "2kpps", "south": "5kpps", "lab": "500pps"}  # packets/s
STOP_S = 20.0
LOOK_S = 1.0


class Demo:
    """Of one directory, which is used again by the next one."""

    def __init__(self, directory: Path, listen: Address, agents: Address, capture: Path) -> None:
        for file in (capture, RULES):
            if not file.is_file():
                raise SettingError(f"{file}: not found; the demo runs in a checkout of nsdata")
        self.directory = directory.resolve()
        self.capture = capture.resolve()
        settings = ManagerSettings(
            directory=str(self.directory / "manager"),
            listen=listen,
            agents=agents,
            names=["localhost", "127.0.0.1"],
        )
        self.service = Service(settings)
        self.manager = Manager(self.service)
        self.running: list[subprocess.Popen[bytes]] = []
        self.ending = False

    def run(self) -> None:
        """Until it is told to end; then the appliances are stopped in order."""
        try:
            self.manager.run(self._ready)
        finally:
            self.ending = True
            for process in self.running:
                process.terminate()
            for process in self.running:
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()

    def _ready(self) -> None:
        service = self.service
        print(f"nsdata: manager at {service.url}")
        if token := service.accounts.first_admin():
            print("nsdata: set the admin's password once, within 24 h:")
            print(f"nsdata: {service.password_link(token)}")
        print(f"nsdata: its CA, for your browser: {service.authority.certificate_file}")
        sys.stdout.flush()
        threading.Thread(target=self._appliances, name="demo", daemon=True).start()

    def _appliances(self) -> None:
        try:
            for name, rate in APPLIANCES.items():
                self._appliance(name, rate)
            while not self.ending and all(one.poll() is None for one in self.running):
                time.sleep(LOOK_S)
            if not self.ending:
                raise NsdataError(f"an appliance has ended; its log is in {self.directory}")
        except (NsdataError, OSError) as error:
            print(f"nsdata: {error}", file=sys.stderr)
            self.manager.stop_from_outside()

    def _appliance(self, name: str, rate: str) -> None:
        base = self.directory / name
        base.mkdir(parents=True, exist_ok=True)
        config = base / "appliance.toml"
        config.write_text(
            f'name = "{name}"\ndirectory = "run"\nrules = ["{RULES}"]\n'
            f'[source]\ncaptures = ["{self.capture}"]\nrate = "{rate}"\n'
            '[metrics]\nlisten = ""\n'  # one port would be asked for by all three
        )
        run = base / "run"
        if member := Membership.load(run):
            member.moved(self.service.enrolments.agents_url)  # ports may be others than before
        else:
            _, token = self.service.enrolments.add_token(console(), f"demo: {name}", 1)
            run.mkdir(exist_ok=True)
            enrol(run, name, self.service.url, token)
        if self.ending:
            return
        with open(base / "appliance.out", "ab") as out:
            self.running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "nsdata", "appliance", "run", "--config", str(config)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                )
            )
        print(f"nsdata: appliance {name} in {run}", flush=True)
