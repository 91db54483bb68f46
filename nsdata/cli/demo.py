"""`nsdata manager demo`: a manager and three real appliances on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from nsdata.appliance.agent.membership import Membership, enrol
from nsdata.errors import EngineError, NsdataError, SettingError
from nsdata.manager.audit import console
from nsdata.manager.server import Manager
from nsdata.manager.service import Service
from nsdata.manager.settings import Address, ManagerSettings

ROOT = Path(__file__).parents[2]
CAPTURE = ROOT / "tests" / "captures" / "office.pcap"
RULES = ROOT / "demo" / "demo.rules"
STOP_S = 20.0
LOOK_S = 0.5
PATIENCE_S = 120.0  # until an appliance reports
TAIL = 5  # lines of the log of one that has ended
# Fifteen processes share what cores there are. The longest silence of any on two cores, beside four
# that only burn time (load average 9.6), was 84 ms: this is over twenty times that, so that a busy
# machine is no hang, and a real one is still found while somebody looks on.
HEARTBEAT = "2s"
# Ends with the thread that began it, also when that is killed: PR_SET_PDEATHSIG, SIGTERM.
WITH_PARENT = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 15)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the three: packets/s, and whether an FPGA block (its model) is beside the worker."""

    name: str
    rate: str
    offload: str = ""


APPLIANCES = (Kind("north", "2kpps"), Kind("south", "5kpps"), Kind("lab", "500pps", "model:64"))


def say(*lines: str) -> None:
    """To who has begun it."""
    print("\n".join(f"nsdata: {line}".rstrip() for line in lines), flush=True)


class Demo:
    """Of one directory, which is used again by the next one."""

    def __init__(self, directory: Path, listen: Address, agents: Address, capture: Path) -> None:
        for file in (capture, RULES):
            if not file.is_file():
                raise SettingError(f"{file}: not found; the demo runs in a checkout of nsdata")
        self.given = directory  # as it was said
        self.directory = directory.resolve()
        self.capture = capture.resolve()
        settings = ManagerSettings(
            directory=str(self.directory / "manager"),
            listen=listen,
            agents=agents,
            names=["localhost", "127.0.0.1"],
        )
        try:
            self.service = Service(settings)
            self.manager = Manager(self.service)
        except (NsdataError, OSError) as error:
            raise EngineError(
                f"{error}. Beside another demo: --directory {directory}-2 --listen 127.0.0.1:9443 "
                "--agents 127.0.0.1:9444"
            ) from error
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()  # of `running`: nothing is begun once it ends
        self.ending = False
        self.failed: Exception | None = None

    def run(self) -> None:
        """Until it is told to end; then the appliances are stopped in order. Raises NsdataError
        when one of them ended before."""
        try:
            self.manager.run(self._ready)
        finally:
            with self._lock:
                self.ending = True
            if self.running:
                say("stopping the appliances …")
            for process in self.running.values():
                process.terminate()
            for process in self.running.values():
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
        if self.failed is not None:
            raise EngineError(str(self.failed))
        say(f"all has ended; what was kept is in {self.given}, for the next one")

    def _ready(self) -> None:
        service = self.service
        say(f"manager at {service.url}")
        if token := service.accounts.first_admin():
            say("", "1. Open this link, once, and choose a password for the user admin:",
                f"     {service.password_link(token)}")  # fmt: skip
        else:
            say("", "1. Open it and sign in as admin, with the password of the last time.",
                f"   Forgotten? Remove {self.given} and begin anew.")  # fmt: skip
        say("   The browser does not know the certificate: accept it, or import its CA, which is",
            f"     {service.authority.certificate_file}", "",
            f"2. {len(APPLIANCES)} appliances are being started, some seconds each:")  # fmt: skip
        threading.Thread(target=self._appliances, name="demo", daemon=True).start()

    def _appliances(self) -> None:
        try:
            self._await({kind: self._appliance(kind) for kind in APPLIANCES})
            if not self.ending:
                self._what_to_try()
            while not self.ending:
                self._all_run()
                time.sleep(LOOK_S)
        except (NsdataError, OSError) as error:
            if not self.ending:
                self.failed = error
                self.manager.stop_from_outside()

    def _all_run(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None and not self.ending:
                log = self.directory / name / "appliance.out"
                last = log.read_text(errors="replace").splitlines()[-TAIL:]
                raise EngineError("\n".join((f"appliance {name} has ended; {log} says:", *last)))

    def _what_to_try(self) -> None:
        lab = self.given / "lab" / "run"
        say("", "3. What to try:",
            "   - All Appliances > north: switch inspection off, read why it is in fallback,",
            "     switch it on again; make a support report, download it.",
            "   - A hang: the tab Health of south has the process id of worker-0; kill -STOP it:",
            f"     after {HEARTBEAT} without a sign of life a heartbeat error, with its evidence.",
            "   - lab has an FPGA block (its golden model behind its registers): the tab FPGA.",
            f"   - Without the manager: nsdata appliance status {lab}", "",
            "Ctrl-C ends all of it.")  # fmt: skip

    def _appliance(self, kind: Kind) -> tuple[UUID, int]:
        """Begin it: its id, and how often it had reported before."""
        base = self.directory / kind.name
        base.mkdir(parents=True, exist_ok=True)
        config = base / "appliance.toml"
        config.write_text(
            f'name = "{kind.name}"\ndirectory = "run"\nrules = ["{RULES}"]\n'
            + (f'offload = "{kind.offload}"\n' if kind.offload else "")
            + "testing = true  # so that errors can be injected: see docs/appliance.md\n"
            f'[source]\ncaptures = ["{self.capture}"]\nrate = "{kind.rate}"\n'
            '[metrics]\nlisten = ""\n'  # one port would be asked for by all three
            f'[settings]\n"watch.heartbeat" = "{HEARTBEAT}"\n'
        )
        run = base / "run"
        if member := Membership.load(run):
            member.moved(self.service.enrolments.agents_url)  # ports may be others than before
        else:
            _, token = self.service.enrolments.add_token(console(), f"demo: {kind.name}", 1)
            run.mkdir(exist_ok=True)
            member = enrol(run, kind.name, self.service.url, token)
        appliance = UUID(member.id)
        before = self.service.views.appliance(appliance).reports
        with self._lock:
            if not self.ending:
                self.running[kind.name] = self._begin(base, config)
        return appliance, before

    def _begin(self, base: Path, config: Path) -> subprocess.Popen[bytes]:
        with open(base / "appliance.out", "wb") as out:
            return subprocess.Popen(
                [sys.executable, "-c", WITH_PARENT, str(os.getpid()),
                 "-m", "nsdata", "appliance", "run", "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for the demo, which stops them in order
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def _await(self, begun: dict[Kind, tuple[UUID, int]]) -> None:
        """Until all have reported, saying so of each. Raises EngineError."""
        end = time.monotonic() + PATIENCE_S
        while begun and not self.ending:
            self._all_run()
            for kind, (appliance, before) in list(begun.items()):
                if self.service.views.appliance(appliance).reports > before:
                    del begun[kind]
                    done = len(APPLIANCES) - len(begun)
                    block = ", with an FPGA block" if kind.offload else ""
                    say(f"   {done}/{len(APPLIANCES)} {kind.name} reports: {kind.rate}{block}")
            if time.monotonic() > end:
                late = ", ".join(kind.name for kind in begun)
                raise EngineError(f"{late}: no report; logs are in {self.directory}")
            time.sleep(LOOK_S)
