"""A process beside the critical ones, and the supervisor's end of it: the reporter, the agent.

It is watched as they are, by a watch of its own: what would be a fault of theirs is an event here,
and never a fallback. Nothing here waits for it.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Any

from nsdata.appliance.channel import Message
from nsdata.appliance.processes import HEARD, Process, launch
from nsdata.errors import EngineError
from nsdata.fallback.decisions import Decision, FaultCleared, FaultHeld, Kill, Note, Start
from nsdata.fallback.watch import Watch

if TYPE_CHECKING:
    from nsdata.appliance.supervisor import Supervisor

LOOK_NS = 1_000_000_000  # between two looks at what changes slowly: its memory, whether it is due
STOP_NS = 3_000_000_000  # for it to stop when asked to
log = logging.getLogger(__name__)


class Companion(ABC):
    """Of one supervisor: starts it when it is `due`, replaces it when it fails."""

    name: str  # of the process, and its role

    def __init__(self, box: Supervisor) -> None:
        self.box = box
        self.watch = Watch(box.settings.options.watch.build())
        self.process: Process | None = None
        self.wanted = False
        self._look_ns = 0
        self._failed = ""

    # --- what one differs in from another ---------------------------------------------------

    @abstractmethod
    def due(self) -> bool:
        """Whether it is to be there; once it is, it stays."""

    @abstractmethod
    def setup(self) -> dict[str, Any]:
        """The members of its first message."""

    def plan(self) -> dict[str, int]:
        """Descriptors that it is started with, by what it knows them as."""
        return {}

    def said(self, message: Message) -> None:  # noqa: B027 - not every companion has one
        """A message that is none of those that every companion sends."""

    def told(self, event: str, evidence: Message) -> None:
        """An event that it tells; it goes on record."""
        self.box.record.note(event, self.name, evidence)

    def seen(self, now: int) -> None:  # noqa: B027 - not every companion has a use for it
        """It was looked at, and is wanted."""

    # --- looking ----------------------------------------------------------------------------

    def look(self, now: int) -> None:
        """See to it. Whatever goes wrong here is an event."""
        try:
            self._look(now)
            self._failed = ""
        except Exception as error:  # not critical: never the reason of a fallback
            told = f"{type(error).__name__}: {error}"
            if told != self._failed:
                self._failed = told
                kind = f"{self.name} failed"
                log.exception(kind, extra={"event": kind})
                self.box.record.note(kind, self.name, {"error": told})

    def _look(self, now: int) -> None:
        slow = now >= self._look_ns
        if slow:
            self._look_ns = now + LOOK_NS
        if not self.wanted:
            if not slow or not self.due():
                return
            self.wanted = True
            limits = self.box.settings.options.watch.limits(self.name)
            self._carry_out(self.watch.add(self.name, time.monotonic_ns(), limits))
        if self.process is not None:
            self._see(self.process, slow)
        self._carry_out(self.watch.tick(time.monotonic_ns()))
        self.seen(now)

    def _see(self, process: Process, slow: bool) -> None:
        for message in islice(process.messages(), HEARD):
            match message.pop("what"):
                case "ready":
                    now = time.monotonic_ns()
                    self._carry_out(self.watch.ready(self.name, process.attempt, now))
                case "told":
                    self.told(message.pop("event"), message)
                case "failed":
                    self.box.record.note("failed", self.name, message)
                case what:
                    self.said({"what": what, **message})
        attempt, page = process.attempt, process.page
        if page.beat_ns:
            now = time.monotonic_ns()
            self._carry_out(self.watch.beat(self.name, attempt, page.beat_ns, page.beats, now))
        if slow:
            rss = process.rss()
            self._carry_out(self.watch.memory(self.name, attempt, rss, time.monotonic_ns()))
        if process.popen.poll() is not None:
            self._gone(process)

    def _gone(self, process: Process) -> None:
        status = process.popen.wait()
        process.close()
        self.process = None
        code, number = (status, None) if status >= 0 else (None, -status)
        now = time.monotonic_ns()
        self._carry_out(
            self.watch.exited(self.name, process.attempt, now, code=code, signal=number)
        )

    # --- what its watch decides ---------------------------------------------------------------

    def _carry_out(self, decisions: tuple[Decision, ...]) -> None:
        note = self.box.record.note
        for decision in decisions:
            match decision:
                case Start():
                    self._start(decision)
                case Kill():
                    if self.process is not None and self.process.attempt == decision.attempt:
                        self.box.processes.kill(self.process)
                        note("killed", self.name, {"pid": self.process.pid, "why": decision.why})
                case FaultHeld() | FaultCleared():
                    holds = "holds" if isinstance(decision, FaultHeld) else "is over"
                    kind = f"{self.name}: {decision.reason.value} {holds}"
                    note(kind, self.name, decision.evidence)
                case Note():
                    note(decision.kind, decision.subject, decision.evidence)

    def _start(self, decision: Start) -> None:
        name, attempt, plan, all_of = self.name, decision.attempt, self.plan(), self.box.processes
        try:
            keep = tuple(plan.values())
            process = launch(name, name, attempt, plan, keep, all_of.log, all_of.stderr)
        except EngineError as error:
            now = time.monotonic_ns()
            self._carry_out(self.watch.not_started(name, attempt, str(error), now))
            return
        self.process = process
        process.send("setup", **self.setup())
        now = time.monotonic_ns()
        self._carry_out(self.watch.started(name, attempt, process.pid, now))
        told = {"pid": process.pid, "attempt": attempt, "why": decision.why}
        self.box.record.note("started", name, told)

    # --- the end ------------------------------------------------------------------------------

    def end(self) -> None:
        """Ask it to stop; it delivers what it can."""
        if self.process is not None:
            self.process.send("stop")

    def close(self) -> None:
        """It is gone when this returns."""
        if self.process is None:
            return
        limit = time.monotonic_ns() + STOP_NS
        while self.process.popen.poll() is None and time.monotonic_ns() < limit:
            self.box.page.beat()
            time.sleep(0.01)
        self.box.processes.kill(self.process)
        self.process.popen.wait()
        self.process.close()
        self.process = None
