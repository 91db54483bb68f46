"""Faults at random against a running appliance under load; NSDATA_FULL=1 brings about 500.

After each: the state and reason that it should lead to, a ledger that balances, the way back. At
the end no line of EVE is torn, and the supervisor is the one that was started.
"""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from box import Box, balances

FAULTS = 500 if os.environ.get("NSDATA_FULL", "") not in ("", "0") else 20
SEED = int(os.environ.get("NSDATA_SEED", "1"))
WINDOW_S = 30.0
NORMAL = "no error"
SETTINGS = """
"watch.heartbeat-clear" = "300ms"
"watch.stable" = "300ms"
"watch.unknown-clear" = "300ms"
"watch.memory-clear" = "300ms"
"watch.max-memory" = "512mb"
"watch.restart-delay" = "50ms"
"watch.restart-delay-max" = "200ms"
"watch.crash-window" = "30s"
"health.interval" = "300ms"
"health.deadline" = "300ms"
"health.stale-after" = "5s"
"health.required" = []
"health.clear-after" = "300ms"
"health.file-system.free-major" = "16mb"
"health.file-system.free-critical" = "8mb"
"""
DISK = "256m"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[bool]:
    """The appliance's directory is a small disk of its own, where one can be mounted."""
    where = tmp_path / "run"
    where.mkdir()
    mounted = os.geteuid() == 0 and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", where], check=False
    ).returncode
    yield mounted
    if mounted:
        subprocess.run(["umount", "-l", where], check=False)


class Soak:
    """The faults, and what each has to lead to: the reasons that are right."""

    def __init__(self, box: Box, lab: Path, dice: random.Random) -> None:
        self.box, self.lab, self.dice = box, lab, dice
        self.crashes: dict[str, list[float]] = {}
        self.alerts = 0  # in files moved away

    def after_crash(self, name: str) -> set[str]:
        """A crash is an event until the third in 30 s; near their end either is right."""
        now = time.monotonic()
        times = self.crashes.setdefault(name, [])
        times.append(now)
        surely, perhaps = (
            sum(now - at < WINDOW_S + slack for at in times) >= 3 for slack in (-5, 5)
        )
        return {"process error"} if surely else {NORMAL, "process error"} if perhaps else {NORMAL}

    def kill(self) -> set[str]:
        name = self.dice.choice(["worker-0", "worker-1", "writer", "port"])
        self.box.signal(name, self.dice.choice([signal.SIGKILL, signal.SIGSEGV]))
        return self.after_crash(name)

    def hang(self) -> set[str]:
        name = self.dice.choice(["worker-0", "worker-1", "writer", "port"])
        self.box.signal(name, signal.SIGSTOP)
        return {"heartbeat error"}

    def pause(self) -> set[str]:
        """Shorter than the limit: nobody falls back."""
        pid = self.box.signal(self.dice.choice(["worker-0", "writer"]), signal.SIGSTOP)
        time.sleep(0.1)
        os.kill(pid, signal.SIGCONT)
        return {NORMAL}

    def blind(self) -> set[str]:
        """The supervisor does not look for a while; the port goes on."""
        assert self.box.process is not None
        os.kill(self.box.process.pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(self.box.process.pid, signal.SIGCONT)
        return {NORMAL}

    def heat(self) -> set[str]:
        self.sensors("99", "0")
        return {"low health score error"}

    def by_hand(self) -> set[str]:
        self.box.ask("fallback", note="soak")
        return {NORMAL}

    def reload(self) -> set[str]:
        self.box.ask("reload")
        return {NORMAL}

    def madness(self) -> set[str]:
        """A worker's answers are written over."""
        self.box.wait(lambda t: all(p["phase"] == "running" for p in t["processes"].values()), "up")
        self.box.madden(0)
        return {"unknown"} if self.after_crash("worker-0") == {NORMAL} else {
            "unknown", "process error"}  # fmt: skip

    def corrupt(self) -> set[str]:
        """Somebody writes into the store."""
        with open(self.box.directory / "appliance.db", "r+b") as file:
            file.write(os.urandom(4096))
        return {NORMAL}

    def bloat(self) -> set[str]:
        """A process takes more memory than it may."""
        name = self.dice.choice(["worker-0", "worker-1", "writer", "port"])
        self.box.wait(lambda t: t["processes"][name]["phase"] == "running", "it runs")
        self.box.ask("bloat", process=name, bytes=1 << 29)
        return {"memory error"}

    def fill(self) -> set[str]:
        """The disk is full: nothing can be written, the health score is low."""
        with (
            open(self.box.directory / "ballast", "wb", buffering=0) as file,
            suppress(OSError),
        ):
            while file.write(bytes(1 << 20)):
                pass
        return {"low health score error"}

    def rotate(self) -> set[str]:
        """The EVE file is moved away under the writer."""
        eve = self.box.directory / "eve.json"
        if eve.exists():
            old = self.box.directory / "eve-old.json"
            eve.rename(old)
            self.box.wait(lambda t: eve.exists(), "begun anew")
            self.alerts += len(self.box.events("alert", old.name))  # every line of it is whole
            old.unlink()
        return {NORMAL}

    def reporter(self) -> set[str]:
        """Who tells the world is killed or hangs: nobody falls back."""
        if pid := self.box.status()["reporter"]["pid"]:  # it may just be being replaced
            with suppress(ProcessLookupError):
                os.kill(pid, self.dice.choice([signal.SIGKILL, signal.SIGSTOP]))
        return {NORMAL}

    def sensors(self, temperature: str, power: str) -> None:
        for name, value in (("temperature-inlet", temperature), ("power-supply-1", power)):
            part = self.lab / f".{name}"
            part.write_text(value)
            part.rename(self.lab / name)

    def back(self) -> None:
        """Everything runs, and it is restored."""
        self.sensors("40", "1")
        (self.box.directory / "ballast").unlink(missing_ok=True)
        self.box.wait(
            lambda t: (
                len(t["processes"]) == 4
                and all(one["phase"] == "running" for one in t["processes"].values())
            ),
            "all run",
        )
        self.box.wait(
            lambda t: t["state"] == "normal" or (self.box.ask("restore") and False), "restored"
        )
        self.box.inspects()


def test_faults_at_random(tmp_path: Path, disk: bool) -> None:
    lab = tmp_path / "sensors"
    lab.mkdir()
    settings = SETTINGS + f'"health.sensor-directory" = "{lab}"\n'
    dice = random.Random(SEED)
    done: Counter[str] = Counter()
    with Box(tmp_path, rate="10kpps", more="workers = 2\ntesting = true", settings=settings,
             metrics='listen = "127.0.0.1:0"') as box:  # fmt: skip
        assert box.process is not None
        soak = Soak(box, lab, dice)
        soak.sensors("40", "1")
        faults = [soak.kill, soak.hang, soak.pause, soak.blind, soak.heat, soak.by_hand,
                  soak.reload, soak.madness, soak.corrupt, soak.bloat, soak.rotate,
                  soak.reporter]  # fmt: skip
        if disk:
            faults.append(soak.fill)
        received = 0
        for number in range(FAULTS):
            fault = dice.choice(faults)
            expected = fault()
            if NORMAL in expected:
                time.sleep(0.05)
                told = box.status()
                assert told["reason"] in expected, (number, fault.__name__, expected, told)
            else:
                told = box.wait(
                    lambda t, wanted=expected: t["state"] == "fallback" and t["reason"] in wanted,
                    f"fault {number}, {fault.__name__}: {expected}",
                )
            balances(told["ledger"])
            assert told["ledger"]["received"]["packets"] >= received
            soak.back()
            told = box.status()
            balances(told["ledger"])
            received = told["ledger"]["received"]["packets"]
            done[fault.__name__] += 1
        box.stop()
    print(f"{sum(done.values())} faults, {received} frames: {dict(done)}")
    assert soak.alerts + len(box.events("alert")) > 0
