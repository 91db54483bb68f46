"""The supervisor: it observes, asks those who decide, and does what they decide.

    status pages, exits, memory ─► Watch ─► start, kill, fault ─┐
    the port's counters         ─► Guard ─► state ──────────────┴─► orders to the port, EVE, store

It looks at least every `watch.interval`, and at once when a process ends or says something. It
holds no frame, so traffic does not wait for it; when it falls silent the port permits everything.
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from nsdata.appliance import port as port_process
from nsdata.appliance.channel import Message
from nsdata.appliance.commands import Commands
from nsdata.appliance.control import Control
from nsdata.appliance.memory import new_page
from nsdata.appliance.processes import PORT, Process, Processes, log_file
from nsdata.appliance.sensors import SensorReader, sources
from nsdata.appliance.settings import ApplianceSettings
from nsdata.appliance.store import Store
from nsdata.config import Settings
from nsdata.errors import EngineError, LedgerError
from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.decisions import (
    Decision,
    FaultCleared,
    FaultHeld,
    Kill,
    Note,
    Start,
)
from nsdata.fallback.guard import Guard
from nsdata.fallback.health import Health
from nsdata.fallback.ledger import LedgerSnapshot, Why
from nsdata.fallback.reasons import Reason, State
from nsdata.fallback.reentry import FallBackAgain, SetShare, TryRestore
from nsdata.fallback.watch import Watch
from nsdata.output.events import event_line
from nsdata.path.port import FULL_SHARE

STOP_NS = 15_000_000_000  # for all to stop when asked to
SAVE_NS = 1_000_000_000  # between two writes of counters
MEMORY_NS = 100_000_000  # between two looks at resident memory
EVENTS_KEPT = 1000  # while there is no writer


class Clock:
    """Nanoseconds since the epoch that never run back: the wall's at the start, then its own."""

    def __init__(self) -> None:
        self._shift = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """For the record; deciders get CLOCK_MONOTONIC."""
        return time.monotonic_ns() + self._shift


class Supervisor:
    """One appliance. Raises NsdataError for what keeps it from being set up."""

    def __init__(self, settings: ApplianceSettings) -> None:
        self.settings = settings
        directory = Path(settings.directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.store = Store(directory / "appliance.db")
        self.control = Control(directory / "control.sock", Commands(self).answer)
        self.page_fd, self.page = new_page("supervisor")
        self.page.enter()
        self.log = log_file(directory)
        self.processes = Processes(settings, self.page_fd, self.log)
        self.options = options = Settings.load(sets=self.processes.options)
        meter = options.drop_meter.build()
        self.guard = Guard.build(meter)
        self.watch = Watch(options.watch.build())
        self.reentry = options.restore.build(meter)
        self.health = Health(options.health.policy())
        self.sensors = SensorReader(sources(options.health, directory), options.health)
        self.sensors_ns = 0
        self.health_told: dict[str, Any] = {}
        self.share = FULL_SHARE
        self.clock = Clock()
        self.base = LedgerSnapshot.empty()  # of ports that ended
        self.drops: dict[str, dict[int, int]] = {}  # by worker, by rule
        self.order = 0
        self.stopping = False
        self.reload_asked = False
        self.started = False
        self.selector = selectors.DefaultSelector()
        self.to_writer: socket.socket | None = None
        self.events: list[bytes] = []
        self.events_lost = 0
        self.save_ns = self.memory_ns = 0
        self.last: dict[str, int] = {}

    # --- the record -------------------------------------------------------------------------

    def say(self, kind: str, members: Mapping[str, Any]) -> None:
        """An EVE event of the appliance's own."""
        line = event_line(kind, self.clock.now(), {"appliance": self.settings.name, **members})
        if len(self.events) >= EVENTS_KEPT:
            self.events_lost += 1
            del self.events[0]
        self.events.append(line)
        self._push()

    def _push(self) -> None:
        if self.to_writer is None:
            self.to_writer = self.processes.writer_end()
        while self.events and self.to_writer is not None:
            try:
                self.to_writer.send(self.events[0])
            except BlockingIOError:
                return
            except OSError:
                self.to_writer.close()
                self.to_writer = None
                return
            del self.events[0]

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """Something happened that changes no state: on the record."""
        self.store.event(self.clock.now(), kind, subject, evidence)
        self.say("appliance", {"event": kind, "subject": subject, "evidence": dict(evidence)})

    # --- figures ----------------------------------------------------------------------------

    def ledger(self) -> LedgerSnapshot:
        """Of all frames that are settled, since the appliance started. Raises LedgerError."""
        port = self.processes.running.get(PORT)
        if port is None:
            return self.base
        at_ns, counters = port.page.read()
        if not at_ns:
            return self.base
        self.last = port_process.figures(counters)
        found = _sum(self.base, port_process.ledger_of(counters))
        found.check()
        return found

    def moment(self, now_ns: int) -> Moment:
        """For the deciders."""
        ledger = self.ledger()
        drops: dict[int, int] = {}
        for by_rule in self.drops.values():
            for sid, packets in by_rule.items():
                drops[sid] = drops.get(sid, 0) + packets
        return Moment(now_ns, ledger.received.packets + self.last.get("held_packets", 0) + 1,
                      ledger, drops)  # fmt: skip

    # --- what is decided --------------------------------------------------------------------

    def carry_out(self, decisions: tuple[Decision, ...]) -> None:
        """In order: what is decided may lead to more."""
        for decision in decisions:
            match decision:
                case Start():
                    self._start(decision)
                case Kill():
                    self._kill(decision)
                case FaultHeld():
                    moment = self.moment(time.monotonic_ns())
                    self.apply(self.guard.fault(decision.reason, moment, decision.evidence))
                    self.note(f"{decision.reason.value} holds", "", decision.evidence)
                case FaultCleared():
                    moment = self.moment(time.monotonic_ns())
                    self.apply(self.guard.clear_fault(decision.reason, moment))
                    self.note(f"{decision.reason.value} is over", "", decision.evidence)
                case SetShare():
                    self.share = decision.threshold
                    self._mode()
                    self.note("share", "port", decision.evidence)
                case TryRestore():
                    moment = self.moment(time.monotonic_ns())
                    self.apply(self.guard.restore_automatically(moment, decision.evidence))
                case FallBackAgain():
                    moment = self.moment(time.monotonic_ns())
                    self.apply(self.guard.judge(decision.reading, moment, decision.evidence))
                case Note():
                    self.note(decision.kind, decision.subject, decision.evidence)

    def apply(self, transitions: list[Transition]) -> None:
        """New states: to the port first, then on the record."""
        for transition in transitions:
            if transition.from_state is not transition.to_state:
                self._mode()
                if transition.to_state is State.NORMAL:
                    self.carry_out(self.watch.restored(time.monotonic_ns()))
            moment = self.moment(time.monotonic_ns())
            self.carry_out(self.reentry.on_transition(transition, moment))
            told = transition.as_dict()
            self.store.transition(self.clock.now(), told)
            self.say("fallback", {"fallback": told})

    def _mode(self) -> None:
        """Tell the port what to do from now on."""
        port = self.processes.running.get(PORT)
        if port is None or not port.ready:
            return
        self.order += 1
        normal = self.guard.state is State.NORMAL
        block = self.settings.in_fallback == "block"
        mode = port_process.INSPECT if normal else (
            port_process.BLOCK if block else port_process.PERMIT)  # fmt: skip
        port.send("mode", mode=mode, share=self.share, order=self.order)

    def _start(self, decision: Start) -> None:
        name, attempt = decision.name, decision.attempt
        more = {"inspect": self.guard.state is State.NORMAL} if name == PORT else {}
        try:
            process = self.processes.start(name, attempt, **more)
        except EngineError as error:
            now = time.monotonic_ns()
            self.carry_out(self.watch.not_started(name, attempt, str(error), now))
            return
        self.selector.register(process.pidfd, selectors.EVENT_READ, ("gone", process))
        self.selector.register(process.channel, selectors.EVENT_READ, ("said", process))
        now = time.monotonic_ns()
        self.carry_out(self.watch.started(name, attempt, process.pid, now))
        self.note("started", name, {"pid": process.pid, "attempt": attempt, "why": decision.why})

    def _kill(self, decision: Kill) -> None:
        process = self.processes.running.get(decision.name)
        if process is not None and process.attempt == decision.attempt:
            self._leave(process)
            self.processes.kill(process)
            self.note("killed", decision.name, {"pid": process.pid, "why": decision.why})

    def _leave(self, process: Process) -> None:
        """The port is to settle itself what this worker has."""
        port = self.processes.running.get(PORT)
        if process.worker is not None and port is not None:
            port.send("detach", worker=process.worker)

    # --- what is seen -----------------------------------------------------------------------

    def _gone(self, process: Process) -> None:
        """A process has ended."""
        self._leave(process)
        self._said(process)
        for end in (process.pidfd, process.channel):
            self.selector.unregister(end)
        if process.name == PORT:
            at_ns, counters = process.page.read()
            if at_ns:
                self._port_gone(counters)
        code, number = self.processes.gone(process)
        now = time.monotonic_ns()
        if process.worker is not None:
            self.drops.pop(process.name, None)
        self.carry_out(
            self.watch.exited(process.name, process.attempt, now, code=code, signal=number)
        )

    def _port_gone(self, counters: np.ndarray[Any, np.dtype[np.uint64]]) -> None:
        """Its ledger goes on; what it held was not forwarded by anybody: lost with it."""
        figures = port_process.figures(counters)
        self.base = _sum(self.base, port_process.ledger_of(counters))
        if figures["held_packets"]:
            self.base = _lost(self.base, figures["held_packets"], figures["held_bytes"])
        for worker in self.processes.workers():
            worker.ring = None  # a ring that was used is not used again
        self.last = {}

    def _said(self, process: Process) -> None:
        """Messages of a process."""
        for message in process.messages():
            what = message["what"]
            if what == "ready":
                now = time.monotonic_ns()
                self.carry_out(self.watch.ready(process.name, process.attempt, now))
                self.processes.join(process)
                if process.name == PORT:
                    self._mode()
                for text in message.get("refused", []):
                    self.note("rule refused", process.name, {"rule": text})
            elif what == "drops":
                self.drops[process.name] = {int(k): n for k, n in message["by_rule"].items()}
            elif what == "mad":
                self._mad(message)
            elif what in ("capture", "output", "failed", "refused", "reloaded", "detached"):
                self._told(process, message)

    def _mad(self, message: Message) -> None:
        """A worker that accounts for what it was not given: its word is worth nothing."""
        name = f"worker-{message['worker']}"
        now = time.monotonic_ns()
        self.carry_out(self.watch.unexpected(name, message["why"], now))
        process = self.processes.running.get(name)
        if process is not None:
            self.processes.kill(process)

    def _told(self, process: Process, message: Message) -> None:
        rest = {key: value for key, value in message.items() if key != "what"}
        if message["what"] != "detached" or message["held"]:
            self.note(message["what"], process.name, rest)

    def _look(self, now: int) -> None:
        """Status pages, memory, the ledger; then what time alone brings about."""
        memory = now >= self.memory_ns
        for process in list(self.processes.running.values()):
            name, attempt = process.name, process.attempt
            beat_ns, beats = process.page.beat_ns, process.page.beats
            if beat_ns:
                seen = self.watch.beat(name, attempt, beat_ns, beats, time.monotonic_ns())
                self.carry_out(seen)
            if memory:
                rss = process.rss()
                self.carry_out(self.watch.memory(name, attempt, rss, time.monotonic_ns()))
        if memory:
            self.memory_ns = now + MEMORY_NS
        try:
            moment = self.moment(time.monotonic_ns())
            self.carry_out(self.watch.ledger(None, moment.now_ns))
            if self.started:
                self.apply(self.guard.evaluate(moment))
                self.carry_out(self.reentry.tick(moment, self.guard.controller))
            else:
                self.guard.start(moment)
                self.started = True
        except LedgerError as error:
            self.carry_out(self.watch.ledger(str(error), time.monotonic_ns()))
        self._sensors(now)
        self.carry_out(self.watch.tick(time.monotonic_ns()))

    def _sensors(self, now: int) -> None:
        """The health score, when sensors have answered."""
        if now >= self.sensors_ns:
            self.sensors_ns = now + self.options.health.interval
            self.sensors.ask()
        readings = self.sensors.poll()
        if readings is None:
            return
        now = time.monotonic_ns()
        report = self.health.evaluate(readings, now)
        self.health_told = report.as_dict()
        if report.entered:
            self.carry_out((FaultHeld(now, Reason.HEALTH, report.evidence()),))
        elif report.cleared:
            self.carry_out((FaultCleared(now, Reason.HEALTH, report.evidence()),))

    # --- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Until it is told to stop. What nobody expected is reason *unknown*, and it goes on."""
        for number, handler in (
            (signal.SIGTERM, self._stop), (signal.SIGINT, self._stop), (signal.SIGHUP, self._hup),
        ):  # fmt: skip
            signal.signal(number, handler)
        self.selector.register(self.control, selectors.EVENT_READ, ("asked", None))
        for name in self.processes.names():
            limits = self.options.watch.limits(name)
            self.carry_out(self.watch.add(name, time.monotonic_ns(), limits))
        self.note("appliance started", self.settings.name, {"workers": self.settings.workers})
        while not self.stopping:
            self._guarded("loop", self._turn)
        self._guarded("stop", self._end)
        self.close()

    def _guarded(self, where: str, work: Callable[[], None]) -> None:
        """Whatever goes wrong in the supervisor's watch is reason *unknown*, on the record."""
        try:
            work()
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            self.carry_out(self.watch.unexpected(where, told, time.monotonic_ns()))

    def _turn(self) -> None:
        wait = max(0, self.watch.next_due_ns() - time.monotonic_ns())
        for key, _ in self.selector.select(wait / 1e9):
            what, process = key.data
            if what == "gone":
                self._gone(process)
            elif what == "said":
                if process.channel.end.fileno() >= 0:
                    self._said(process)
            else:
                self.control.serve()
        now = time.monotonic_ns()
        self.page.beat()
        if self.reload_asked:
            self.reload_asked = False
            self.reload(self.processes.rules)
        self._look(now)
        self._push()
        if now >= self.save_ns:
            self.save_ns = now + SAVE_NS
            self.store.counters(self.clock.now(), self.ledger(), self.guard.state,
                                self.guard.controller.reason)  # fmt: skip

    def reload(self, rules: list[str]) -> tuple[int, list[str]]:
        """Have the workers take other rules, or the same files read again; (order, workers)."""
        self.processes.rules = rules
        self.order += 1
        asked = [w.name for w in self.processes.workers() if w.ready
                 and w.send("reload", rules=rules, order=self.order)]  # fmt: skip
        self.note("reload", self.settings.name, {"rules": rules, "workers": asked})
        return self.order, asked

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _hup(self, number: int, frame: FrameType | None) -> None:
        self.reload_asked = True

    def _end(self) -> None:
        """In order: the port settles what workers hold, they end flows, lines are written."""
        limit = time.monotonic_ns() + STOP_NS
        names = [PORT, *[w.name for w in self.processes.workers()]]
        self.note("appliance stops", self.settings.name, {})
        for group in ([PORT], names[1:], ["writer"]):
            for name in group:
                if process := self.processes.running.get(name):
                    self.carry_out(self.watch.stop(name, time.monotonic_ns()))
                    process.send("stop")
            if group == names[1:]:
                ledger = self.ledger()
                self.say("ledger", {"ledger": ledger.as_dict()})
                self._push()
            while any(name in self.processes.running for name in group):
                if time.monotonic_ns() > limit:
                    for name in group:
                        if process := self.processes.running.get(name):
                            self.processes.kill(process)
                for key, _ in self.selector.select(0.02):
                    what, process = key.data
                    if what == "gone":
                        self._gone(process)
                    elif what == "said" and process.channel.end.fileno() >= 0:
                        self._said(process)
                self.page.beat()
        self.store.counters(self.clock.now(), self.ledger(), self.guard.state,
                            self.guard.controller.reason)  # fmt: skip

    def close(self) -> None:
        """Let go of everything."""
        for process in list(self.processes.running.values()):
            self.processes.kill(process)
            self.processes.gone(process)
        self.sensors.close()
        self.control.close()
        self.store.close()
        self.selector.close()
        self.log.close()


def _sum(one: LedgerSnapshot, other: LedgerSnapshot) -> LedgerSnapshot:
    return LedgerSnapshot(
        one.received + other.received,
        tuple(a + b for a, b in zip(one.by_fate, other.by_fate, strict=True)),
        tuple(a + b for a, b in zip(one.by_why, other.by_why, strict=True)),
    )


def _lost(one: LedgerSnapshot, packets: int, nbytes: int) -> LedgerSnapshot:
    """With so many more received, and lost with the port that held them."""
    by_packets = [count.packets for count in one.by_why]
    by_bytes = [count.bytes for count in one.by_why]
    by_packets[Why.PORT] += packets
    by_bytes[Why.PORT] += nbytes
    return LedgerSnapshot.from_counts(
        one.received.packets + packets, one.received.bytes + nbytes, by_packets, by_bytes
    )
