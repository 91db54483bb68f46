"""The supervisor's end of the agent: starts it when the appliance is enrolled, replaces it.

The agent is watched as the critical processes are, by a watch of its own: what would be a fault of
theirs is an event here, and never a fallback. Nothing here waits for it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from nsdata.appliance.membership import file_of
from nsdata.appliance.processes import Process, launch
from nsdata.errors import EngineError
from nsdata.fallback.decisions import Decision, FaultCleared, FaultHeld, Kill, Note, Start
from nsdata.fallback.watch import Watch

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

AGENT = "agent"
LOOK_NS = 1_000_000_000  # between two looks for a membership, at memory
STOP_NS = 3_000_000_000


class Agency:
    """Of one supervisor. Nothing runs while the appliance is enrolled nowhere."""

    def __init__(self, box: Supervisor) -> None:
        self.box = box
        self.directory = Path(box.settings.directory)
        self.watch = Watch(box.settings.options.watch.build())
        self.process: Process | None = None
        self.wanted = False
        self._look_ns = 0
        self._failed = ""

    def look(self, now: int) -> None:
        """See to it. Whatever goes wrong here is an event."""
        try:
            self._look(now)
            self._failed = ""
        except Exception as error:  # not critical: never the reason of a fallback
            told = f"{type(error).__name__}: {error}"
            if told != self._failed:
                self._failed = told
                self.box.record.note("agent failed", AGENT, {"error": told})

    def _look(self, now: int) -> None:
        slow = now >= self._look_ns
        if slow:
            self._look_ns = now + LOOK_NS
        if not self.wanted:
            if slow and file_of(self.directory).exists():
                self.wanted = True
                limits = self.box.settings.options.watch.limits(AGENT)
                self._carry_out(self.watch.add(AGENT, time.monotonic_ns(), limits))
            return
        if self.process is not None:
            self._see(self.process, slow)
        self._carry_out(self.watch.tick(time.monotonic_ns()))

    def _see(self, process: Process, slow: bool) -> None:
        for message in process.messages():
            what = message.pop("what")
            if what == "ready":
                self._carry_out(self.watch.ready(AGENT, process.attempt, time.monotonic_ns()))
            elif what == "told":
                self.box.record.note(message.pop("event"), AGENT, message)
            elif what == "failed":
                self.box.record.note("failed", AGENT, message)
        page, attempt = process.page, process.attempt
        if page.beat_ns:
            now = time.monotonic_ns()
            self._carry_out(self.watch.beat(AGENT, attempt, page.beat_ns, page.beats, now))
        if slow:
            rss = process.rss()
            self._carry_out(self.watch.memory(AGENT, attempt, rss, time.monotonic_ns()))
        if process.popen.poll() is not None:
            self._gone(process)

    def _gone(self, process: Process) -> None:
        status = process.popen.wait()
        process.close()
        self.process = None
        code, number = (status, None) if status >= 0 else (None, -status)
        now = time.monotonic_ns()
        self._carry_out(self.watch.exited(AGENT, process.attempt, now, code=code, signal=number))

    def _carry_out(self, decisions: tuple[Decision, ...]) -> None:
        for decision in decisions:
            match decision:
                case Start():
                    self._start(decision)
                case Kill():
                    if self.process is not None and self.process.attempt == decision.attempt:
                        self.box.processes.kill(self.process)
                        told = {"pid": self.process.pid, "why": decision.why}
                        self.box.record.note("killed", AGENT, told)
                case FaultHeld() | FaultCleared():
                    holds = "holds" if isinstance(decision, FaultHeld) else "is over"
                    kind = f"agent: {decision.reason.value} {holds}"
                    self.box.record.note(kind, AGENT, decision.evidence)
                case Note():
                    self.box.record.note(decision.kind, decision.subject, decision.evidence)

    def _start(self, decision: Start) -> None:
        attempt = decision.attempt
        try:
            process = launch(
                AGENT, AGENT, attempt, {}, (), self.box.processes.log, self.box.processes.stderr
            )
        except EngineError as error:
            now = time.monotonic_ns()
            self._carry_out(self.watch.not_started(AGENT, attempt, str(error), now))
            return
        self.process = process
        process.send("setup", directory=str(self.directory.resolve()))
        now = time.monotonic_ns()
        self._carry_out(self.watch.started(AGENT, attempt, process.pid, now))
        told = {"pid": process.pid, "attempt": attempt, "why": decision.why}
        self.box.record.note("started", AGENT, told)

    def close(self) -> None:
        """It is gone when this returns."""
        if self.process is None:
            return
        self.process.send("stop")
        limit = time.monotonic_ns() + STOP_NS
        while self.process.popen.poll() is None and time.monotonic_ns() < limit:
            self.box.page.beat()
            time.sleep(0.01)
        self.box.processes.kill(self.process)
        self.process.popen.wait()
        self.process.close()
        self.process = None
