"""A running appliance, for tests: real processes, real signals, real files."""

from __future__ import annotations

import json
import mmap
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from capture_frames import write_capture
from traffic import udp

from nsdata.appliance.control import ask
from nsdata.errors import EngineError

ROOT = Path(__file__).parents[1]
CAPTURE = ROOT / "tests" / "captures" / "office.pcap"
RULE = 'alert tcp any any -> any any (msg:"session"; flags:S; sid:1;)\n'
RING_MAGIC = (0x6E73642D72696E67).to_bytes(8, "little")
FLOWS = 60_000  # of a capture of many
PATIENCE_S = 40.0  # the machine may be busy
QUICK = """
"watch.heartbeat-clear" = "1s"
"watch.stable" = "1s"
"watch.memory-clear" = "1s"
"watch.unknown-clear" = "1s"
"watch.restart-delay" = "50ms"
"""


class Box:
    """An appliance in a directory of its own; stopped and looked over at the end of a `with`."""

    def __init__(self, directory: Path, *, rate: str = "5kpps", rules: str = RULE,
                 capture: Path = CAPTURE, more: str = "", settings: str = "",
                 metrics: str = 'listen = ""', loops: int = 0) -> None:  # fmt: skip
        self.directory = directory / "run"
        self.config = directory / "box.toml"
        self.rules = directory / "box.rules"
        self.rules.write_text(rules)
        self.config.write_text(
            f'name = "box"\ndirectory = "run"\nrules = ["box.rules"]\n{more}\n'
            f'[source]\ncaptures = ["{capture}"]\nrate = "{rate}"\nloops = {loops}\n'
            f"[metrics]\n{metrics}\n[settings]\n{settings}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Box:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None and self.process is not None:
            self.stop()
        self.kill()

    def kill(self) -> None:
        """Whatever runs of it ends."""
        if self.process is not None and self.process.poll() is None:
            pid = self.process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            self.process.kill()
            self.process.wait()
            for child in map(int, children):  # the port would go on alone
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    def start(self, inspects: bool = True) -> None:
        """Run it, until it inspects."""
        log = open(self.directory.parent / "supervisor.log", "ab")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-c",
             "import sys; sys.argv[0] = 'nsdata'; from nsdata.cli import main; main()",
             "appliance", "run", "--config", str(self.config)],
            stdout=log, stderr=log, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if inspects:
            self.wait(lambda told: told["ledger"]["inspected"]["packets"] > 100, "it inspects")

    def stop(self) -> dict[str, Any]:
        """Stop it in order; the ledger event it wrote last, which balances."""
        assert self.process is not None
        ask(self.directory, {"command": "stop"})
        assert self.process.wait(PATIENCE_S) == 0, self.log()
        self.process = None
        ledger = self.events("ledger")[-1]["ledger"]
        balances(ledger)
        return dict(ledger)

    # --- asking -----------------------------------------------------------------------------

    def ask(self, command: str, **members: Any) -> dict[str, Any]:
        """A command, as over the command line."""
        return ask(self.directory, {"command": command, **members})

    def status(self) -> dict[str, Any]:
        return self.ask("status")

    def wait(self, true: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Its status once `true` holds of it."""
        end = time.monotonic() + PATIENCE_S
        told: dict[str, Any] = {}
        while time.monotonic() < end:
            try:
                told = self.status()
            except (EngineError, OSError):
                told = {}
            if told and true(told):
                return told
            assert self.process is not None
            assert self.process.poll() is None, f"the supervisor ended: {self.log()}"
            time.sleep(0.02)
        raise AssertionError(f"never: {what}; it says {json.dumps(told)[:2000]}\n{self.log()}")

    def fallen(self, reason: str) -> dict[str, Any]:
        """Its last entering of fallback, once it is there for this reason."""
        self.wait(lambda t: (t["state"], t["reason"]) == ("fallback", reason), reason)
        found = self.ask("transitions", most=50)["transitions"]
        return next(one for one in found if one["reason"] == reason and one["outcome"] in
                    ("entered", "reason changed"))  # fmt: skip

    def refused(self, reason: str) -> None:
        """A restore is refused now, for this reason."""
        last = self.ask("restore")["transitions"][-1]
        assert last["outcome"] == "refused", last
        assert reason in last["evidence"]["recheck"]["why"]

    def restored(self) -> None:
        """It can be restored, sooner or later, and inspects."""
        self.wait(lambda t: self.ask("restore") and self.status()["state"] == "normal", "restored")
        self.inspects()

    def permits(self) -> None:
        """All traffic that comes is permitted: what is received is bypassed, and it goes on."""
        first = self.status()["ledger"]
        last = self.wait(
            lambda t: t["ledger"]["received"]["packets"] > first["received"]["packets"] + 500,
            "traffic flows",
        )["ledger"]
        received, bypassed = (
            last[what]["packets"] - first[what]["packets"] for what in ("received", "bypassed")
        )
        assert received == bypassed, (first, last)

    def forwards_what_it_permits(self) -> None:
        """What was inspected and permitted, or bypassed, has gone on: as many packets."""

        def alike(told: dict[str, Any]) -> bool:
            ledger = told["ledger"]
            permitted = ledger["inspected"]["packets"] + ledger["bypassed"]["packets"]
            return bool(told["port"]["forwarded_packets"] == permitted)

        self.wait(alike, "what is permitted is forwarded")

    def inspects(self) -> None:
        """It inspects what comes."""
        first = self.status()["ledger"]["inspected"]["packets"]
        self.wait(lambda t: t["ledger"]["inspected"]["packets"] > first + 200, "it inspects again")

    def alerts(self) -> None:
        """An alert is in its EVE file: what came before its workers inspected was permitted."""
        self.wait(lambda t: bool(self.events("alert")), "alerts are written")

    # --- doing ------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        return int(self.status()["processes"][name]["pid"])

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process of it; the pid that got it."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def madden(self, worker: int) -> None:
        """Write over the memory in which a worker answers, as a bug of its own would: it claims to
        have judged slots that it was never given."""
        assert self.process is not None
        for path in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                if f"memfd:nsdata-worker-{worker}-answers" in os.readlink(path):
                    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
                        assert memory[:8] == RING_MAGIC
                        memory[8:16] = (1 << 60).to_bytes(8, "little")
                    return
        raise AssertionError(f"worker {worker} has no ring")

    # --- what it left -----------------------------------------------------------------------

    def log(self) -> str:
        """What its processes said."""
        logs = [
            self.directory / "appliance.log",
            self.directory / "stderr.log",
            self.directory.parent / "supervisor.log",
        ]
        return "\n".join(p.read_text(errors="replace")[-3000:] for p in logs if p.exists())

    def events(self, kind: str = "", name: str = "eve.json") -> list[dict[str, Any]]:
        """EVE events; every line of the file is whole, once it has stopped."""
        file = self.directory / name
        if not file.exists():  # the writer has not begun yet
            return []
        lines = file.read_bytes().splitlines(keepends=True)
        written = name == "eve.json" and self.process is not None
        if written and lines and not lines[-1].endswith(b"\n"):
            lines.pop()
        assert all(line.endswith(b"\n") for line in lines)
        found = [json.loads(line) for line in lines]
        return [one for one in found if not kind or one["event_type"] == kind]


def many_flows(path: Path) -> Path:
    """A flow of its own in every frame."""
    frames = [udp(b"x", f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", "10.9.9.9") for i in range(FLOWS)]
    return write_capture(path, frames, [10**18 + i * 1000 for i in range(FLOWS)])


def balances(ledger: dict[str, Any]) -> None:
    """received = inspected + bypassed + blocked + lost, in packets and bytes."""
    for unit in ("packets", "bytes"):
        fates = (ledger[fate][unit] for fate in ("inspected", "bypassed", "blocked", "lost"))
        assert ledger["received"][unit] == sum(fates), ledger


def is_entry(transition: dict[str, Any], severity: str) -> dict[str, Any]:
    """It says what an operator needs; what was given as evidence."""
    assert (transition["from"], transition["to"]) == ("normal", "fallback")
    assert transition["severity"] == severity
    assert transition["cause"] and transition["resolution"]
    return dict(transition["evidence"].get("given", {}))
