"""The supervisor's end of the reporter: starts it, replaces it, hands it what there is to tell.

The reporter is watched as the critical processes are, by a watch of its own: what would be a fault
of theirs is an event here, and never a fallback. Nothing here waits for it.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from nsdata.appliance.board import new_board
from nsdata.appliance.channel import Message
from nsdata.appliance.notification import Notification
from nsdata.appliance.processes import Process, launch
from nsdata.appliance.snapshot import Snapshots
from nsdata.errors import EngineError
from nsdata.fallback.decisions import Decision, FaultCleared, FaultHeld, Kill, Note, Start
from nsdata.fallback.watch import Watch

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

REPORTER = "reporter"
PUT_UP_NS = 500_000_000  # between two notices
MEMORY_NS = 1_000_000_000  # between two looks at its resident memory
STOP_NS = 3_000_000_000  # for it to stop when asked to
log = logging.getLogger(__name__)


class Reporting:
    """Of one supervisor. Nothing runs when nothing is to be reported."""

    def __init__(self, box: Supervisor) -> None:
        self.box = box
        settings = box.settings
        self.wanted = bool(settings.metrics.listen or settings.notify.targets)
        self.board_fd, self.board = new_board("reporter")
        self.snapshots = Snapshots(box)
        self.watch = Watch(box.settings.options.watch.build())
        self.process: Process | None = None
        self.lost = 0  # messages it did not take
        self.listening: Message = {}  # host and port of /metrics
        self.tests: dict[int, dict[str, Message]] = {}  # what came of the latest, by target
        self._number = 0
        self._put_up_ns = self._memory_ns = 0
        self._failed = ""

    def begin(self) -> None:
        """Start the reporter, if there is anything to report."""
        if self.wanted:
            limits = self.box.settings.options.watch.limits(REPORTER)
            self._carry_out(self.watch.add(REPORTER, time.monotonic_ns(), limits))

    def look(self, now: int) -> None:
        """See to it, and put up the figures of now. Whatever goes wrong here is an event."""
        if not self.wanted:
            return
        try:
            self._look(now)
            self._failed = ""
        except Exception as error:  # not critical: never the reason of a fallback
            told = f"{type(error).__name__}: {error}"
            if told != self._failed:
                self._failed = told
                log.exception("reporting failed", extra={"event": "reporting failed"})
                self.box.record.note("reporting failed", REPORTER, {"error": told})

    def _look(self, now: int) -> None:
        if self.process is not None:
            self._see(self.process, now)
        self._carry_out(self.watch.tick(time.monotonic_ns()))
        if now >= self._put_up_ns:
            self._put_up_ns = now + PUT_UP_NS
            notice = self.snapshots.build(now)
            notice["processes"][REPORTER] = self.snapshots.process(
                self.watch.status()[REPORTER], self.process, REPORTER, now
            )
            self.board.write({**notice, "messages_lost": self.lost})

    def _see(self, process: Process, now: int) -> None:
        for message in process.messages():
            self._said(message)
        attempt, page = process.attempt, process.page
        if page.beat_ns:
            self._carry_out(
                self.watch.beat(REPORTER, attempt, page.beat_ns, page.beats, time.monotonic_ns())
            )
        if now >= self._memory_ns:
            self._memory_ns = now + MEMORY_NS
            rss = process.rss()
            self._carry_out(self.watch.memory(REPORTER, attempt, rss, time.monotonic_ns()))
        if process.popen.poll() is not None:
            self._gone(process)

    def _gone(self, process: Process) -> None:
        status = process.popen.wait()
        process.close()
        self.process, self.listening = None, {}
        code, number = (status, None) if status >= 0 else (None, -status)
        now = time.monotonic_ns()
        self._carry_out(self.watch.exited(REPORTER, process.attempt, now, code=code, signal=number))

    def _said(self, message: Message) -> None:
        what = message.pop("what")
        if what == "ready" and self.process is not None:
            now = time.monotonic_ns()
            self._carry_out(self.watch.ready(REPORTER, self.process.attempt, now))
        elif what == "listening":
            self.listening = message
            self.box.record.note("metrics served", REPORTER, message)
        elif what == "told":
            self.box.record.note(message.pop("event"), REPORTER, message)
        elif what == "tested":
            self.tests.setdefault(message["number"], {})[message["target"]] = message

    # --- what its watch decides -----------------------------------------------------------

    def _carry_out(self, decisions: tuple[Decision, ...]) -> None:
        for decision in decisions:
            match decision:
                case Start():
                    self._start(decision)
                case Kill():
                    if self.process is not None and self.process.attempt == decision.attempt:
                        self.box.processes.kill(self.process)
                        told = {"pid": self.process.pid, "why": decision.why}
                        self.box.record.note("killed", REPORTER, told)
                case FaultHeld() | FaultCleared():
                    holds = "holds" if isinstance(decision, FaultHeld) else "is over"
                    kind = f"reporter: {decision.reason.value} {holds}"
                    self.box.record.note(kind, REPORTER, decision.evidence)
                case Note():
                    self.box.record.note(decision.kind, decision.subject, decision.evidence)

    def _start(self, decision: Start) -> None:
        settings, attempt = self.box.settings, decision.attempt
        try:
            process = launch(
                REPORTER, REPORTER, attempt, {"board": self.board_fd}, (self.board_fd,),
                self.box.processes.log, self.box.processes.stderr,
            )  # fmt: skip
        except EngineError as error:
            now = time.monotonic_ns()
            self._carry_out(self.watch.not_started(REPORTER, attempt, str(error), now))
            return
        self.process = process
        process.send(
            "setup", name=settings.name, directory=settings.directory,
            since_ns=self.box.record.since_ns, metrics=settings.metrics.model_dump(mode="json"),
            notify=settings.notify.model_dump(mode="json"),
        )  # fmt: skip
        now = time.monotonic_ns()
        self._carry_out(self.watch.started(REPORTER, attempt, process.pid, now))
        told = {"pid": process.pid, "attempt": attempt, "why": decision.why}
        self.box.record.note("started", REPORTER, told)

    # --- telling it -----------------------------------------------------------------------

    def tell(self, one: Notification) -> None:
        """Something that may be notified. One it does not take it finds in the store."""
        if self.process is None or one.kind not in self.box.settings.notify.on:
            return
        try:
            taken = self.process.send("event", at_ns=one.at_ns, kind=one.kind, told=dict(one.told))
        except ValueError:  # too long for a message
            taken = False
        self.lost += not taken

    def test(self, note: str) -> int:
        """Have a test sent to every target; its number. Raises EngineError."""
        targets = self.box.settings.notify.targets
        if not targets:
            raise EngineError("nobody is to be notified: neither notify.webhook nor notify.syslog")
        self._number += 1
        self.tests = {self._number: {}}
        if self.process is None or not self.process.send("test", number=self._number, note=note):
            raise EngineError("the reporter does not answer; try again in a second")
        return self._number

    def status(self) -> dict[str, Any]:
        """For the operator."""
        told = self.watch.status().get(REPORTER, {})
        return {**told, "listening": self.listening, "events_lost": self.lost}

    # --- the end --------------------------------------------------------------------------

    def end(self) -> None:
        """Ask it to stop; it delivers what it can."""
        if self.process is not None:
            self.process.send("stop")

    def close(self) -> None:
        """It is gone when this returns."""
        if self.process is not None:
            limit = time.monotonic_ns() + STOP_NS
            while self.process.popen.poll() is None and time.monotonic_ns() < limit:
                self.box.page.beat()
                time.sleep(0.01)
            self.box.processes.kill(self.process)
            self.process.popen.wait()
            self.process.close()
            self.process = None
        os.close(self.board_fd)
