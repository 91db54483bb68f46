"""A real appliance for a scenario: its directory, its processes, and what is done to them.

All of it lies in a directory of its own and is gone at the end, whatever happens.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nsdata.appliance import child
from nsdata.appliance.commands import BLOAT_MOST
from nsdata.appliance.control import ask
from nsdata.appliance.settings import flat
from nsdata.errors import EngineError, SettingError
from nsdata.scenario import actions as do
from nsdata.scenario.scenario import Scenario
from nsdata.scenario.traffic import offered, written
from nsdata.scenario.virtual_sensors import at_first
from nsdata.scenario.virtual_worker import BLOCK
from nsdata.units import size_text

PATIENCE_S = 60.0  # until it inspects, and until it has stopped
LOOK_S = 0.02  # between two looks
DISK_MOST = 256 << 20  # bytes of memory that a disk to be filled may take
RING_MAGIC = b"gnir-dsn"  # nsd-ring, as it lies in memory
MAD_SLOTS = (1 << 60).to_bytes(8, "little")


def check(scenario: Scenario) -> None:
    """Raise SettingError, naming the line, for what a real appliance cannot be made to do here."""
    file = scenario.file
    for number, action in enumerate(file.action):
        place = scenario.place("action", number, "do")
        if isinstance(action, do.FillDisk):
            if os.geteuid() != 0:
                raise SettingError(
                    f"{place}: fill-disk: with --real a small file system is mounted for it, which "
                    "takes root; run it as root, or without --real"
                )
            if file.appliance.disk > DISK_MOST:
                raise SettingError(
                    f"{place}: fill-disk: with --real the disk is memory, at most "
                    f"{size_text(DISK_MOST)}; set appliance.disk lower, and "
                    "health.file-system.free-* with it"
                )
        if isinstance(action, do.Bloat) and action.to > BLOAT_MOST:
            raise SettingError(
                f"{place}: bloat: with --real a process is given at most {size_text(BLOAT_MOST)}; "
                "lower `to`, and watch.max-memory-of with it"
            )


class RealBox:
    """See the module; a context manager, which inspects when it is entered."""

    def __init__(self, scenario: Scenario) -> None:
        check(scenario)
        self.scenario = scenario
        self.base = Path(tempfile.mkdtemp(prefix="nsdata-scenario-"))
        self.directory = self.base / "run"
        self.sensors = self.base / "sensors"
        self.process: subprocess.Popen[bytes] | None = None
        self._mounted = False
        self._ballast: dict[tuple[str, Any], int] = {}  # that a process was made to hold

    def __enter__(self) -> RealBox:
        try:
            self._prepare()
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _prepare(self) -> None:
        file, settings = self.scenario.file, dict(flat(self.scenario.file.settings))
        self.directory.mkdir()
        if any(isinstance(one, do.FillDisk) for one in file.action):
            self._mount(file.appliance.disk)
        named = at_first(self.scenario)
        if named:
            self.sensors.mkdir()
            for name, value in named.items():
                self.sensor(name, value)
            settings["health.sensor-directory"] = str(self.sensors)
        made = written(offered(self.scenario), self.base / "traffic.pcap", file.traffic.rate)
        captures = [str(made)]
        box = file.appliance
        top = {
            "name": "scenario", "directory": str(self.directory), "testing": True,
            "rules": self.rules(file.rules, file.rule_text, "first"), "inline": box.inline,
            "workers": box.workers, "in-fallback": box.in_fallback,
            **({"offload": BLOCK} if box.offload else {}),
        }  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in top.items()]
        lines += ["[source]", f"captures = {json.dumps(captures)}"]
        lines += [f'rate = "{file.traffic.rate:.3f}pps"']
        lines += ["[ring]", f"slots = {box.slots}", f"frames = {box.frames}", "[settings]"]
        lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in settings.items()]
        (self.base / "appliance.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def rules(self, files: tuple[str, ...], text: str, name: str) -> list[str]:
        """Rule files as paths; a text as a file of its own."""
        if not files:
            path = self.base / f"{name}.rules"
            path.write_text(text, encoding="utf-8")
            return [str(path)]
        return [str(self.scenario.found(one)) for one in files]

    def _mount(self, size: int) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(self.directory)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise EngineError(f"no file system can be mounted here: {done.stderr.strip()}")
        self._mounted = True

    def _start(self) -> None:
        with open(self.base / "supervisor.log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from nsdata.cli import main; main()", "appliance", "run",
                 "--config", str(self.base / "appliance.toml")],
                stdout=log, stderr=log, env=child.environment(),
            )  # fmt: skip
        self.wait(lambda told: told["ledger"]["inspected"]["packets"] > 0, "inspects")

    # --- asking -----------------------------------------------------------------------------

    def ask(self, command: str, **members: Any) -> dict[str, Any]:
        """A command over its socket. Raises EngineError."""
        return ask(self.directory, {"command": command, **members})

    def wait(self, true: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Its status once `true` holds of it. Raises EngineError when it never does."""
        end = time.monotonic() + PATIENCE_S
        assert self.process is not None
        while time.monotonic() < end:
            with suppress(EngineError):
                told = self.ask("status")
                if true(told):
                    return told
            if self.process.poll() is not None:
                raise EngineError(f"the appliance ended: {self.log()}")
            time.sleep(LOOK_S)
        raise EngineError(f"the appliance never {what}: {self.log()}")

    def log(self) -> str:
        """What it said last."""
        for path in (self.base / "supervisor.log", self.directory / "appliance.log"):
            with suppress(OSError):
                if text := path.read_text(errors="replace").strip():
                    return text[-2000:]
        return "it said nothing"

    def lines(self) -> list[bytes]:
        """The EVE lines so far that are whole."""
        try:
            raw = (self.directory / "eve.json").read_bytes()
        except OSError:
            return []
        return [line for line in raw.splitlines(keepends=True) if line.endswith(b"\n")]

    # --- doing ------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """Of a process. Raises EngineError when it is not there."""
        one = self.ask("status")["processes"].get(name, {})
        if not one.get("pid") or one.get("phase") == "waiting":
            raise EngineError(f"{name} is not there")
        return int(one["pid"])

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a process a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(name), number)

    def bloat(self, name: str, size: int) -> None:
        """Have it grow to so much resident memory."""
        one = self.ask("status")["processes"].get(name, {})
        held = self._ballast.get((name, one.get("pid")), 0)
        more = max(0, size - int(one.get("rss_bytes") or 0) + held)
        self.ask("bloat", process=name, bytes=more)
        self._ballast[name, one.get("pid")] = more

    def corrupt(self, name: str) -> None:
        """Write over the memory in which a worker answers."""
        assert self.process is not None
        for path in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                if f"memfd:nsdata-{name}-answers" in os.readlink(path):
                    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
                        assert memory[:8] == RING_MAGIC
                        memory[8:16] = MAD_SLOTS
                    return
        raise EngineError(f"{name} has no ring")

    def sensor(self, name: str, value: float | None) -> None:
        """It reads this from now on; None: nothing."""
        path = self.sensors / name
        if value is None:
            path.unlink(missing_ok=True)
            return
        part = path.with_name(f"{name}.tmp")
        part.write_text(f"{value:g}")
        part.replace(path)

    def fill(self, leave: int) -> None:
        """Fill the disk, but for so much."""
        free = shutil.disk_usage(self.directory).free
        with open(self.directory / "ballast", "ab", buffering=0) as file, suppress(OSError):
            while free > leave:
                free -= file.write(bytes(min(1 << 16, free - leave)))

    def free(self) -> None:
        """Take away what filled it."""
        (self.directory / "ballast").unlink(missing_ok=True)

    # --- the end ----------------------------------------------------------------------------

    def stop(self) -> None:
        """In order. Raises EngineError when it does not."""
        assert self.process is not None
        self.ask("stop")
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise EngineError(f"the appliance does not stop: {self.log()}") from None
        if code:
            raise EngineError(f"the appliance failed: {self.log()}")

    def close(self) -> None:
        """Whatever runs of it ends; nothing is left."""
        if self.process is not None and self.process.poll() is None:
            pid = self.process.pid
            found = Path(f"/proc/{pid}/task/{pid}/children")
            children = found.read_text().split() if found.exists() else []
            self.process.kill()
            self.process.wait()
            for one in map(int, children):  # the port would go on alone
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
        if self._mounted:
            subprocess.run(["umount", "-l", str(self.directory)], check=False)
        shutil.rmtree(self.base, ignore_errors=True)
