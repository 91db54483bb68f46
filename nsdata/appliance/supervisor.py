"""The supervisor: it observes, asks those who decide, and does what they decide.

    status pages, exits, memory ─┐
    the port's counters, sensors ┴─► Deciders ─► processes, orders to the port, EVE, store

It looks at least every `watch.interval`, and at once when a process ends or says something. It
holds no frame, so traffic does not wait for it; when it falls silent the port permits everything.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

from nsdata.appliance import orphan
from nsdata.appliance import port as port_process
from nsdata.appliance.agent.agency import Agency
from nsdata.appliance.block import Block
from nsdata.appliance.channel import Message
from nsdata.appliance.commands import Commands
from nsdata.appliance.control import Control
from nsdata.appliance.figures import Figures
from nsdata.appliance.memory import new_page
from nsdata.appliance.monitoring.reporting import Reporting
from nsdata.appliance.processes import HEARD, PORT, Process, Processes
from nsdata.appliance.rebooting import Rebooting
from nsdata.appliance.record import Record
from nsdata.appliance.reload import Reloading
from nsdata.appliance.reports.reports import Reports
from nsdata.appliance.sensors import SensorReader, sources
from nsdata.appliance.settings import ApplianceSettings
from nsdata.appliance.store import Store
from nsdata.appliance.systemd import Notify
from nsdata.assembly import build_deciders
from nsdata.errors import EngineError, LedgerError
from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.deciders import Measures
from nsdata.fallback.decisions import Kill, Start
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import State
from nsdata.path.port import FULL_SHARE
from nsdata.path.status import StatusPage

STOP_NS = 15_000_000_000  # for all to stop when asked to
PAUSE_S = 0.01  # after what nobody expected
TOLD = ("capture", "output", "failed", "refused", "detached", "best effort")
log = logging.getLogger(__name__)
MEMORY_NS = 100_000_000  # between two looks at resident memory


class Supervisor:
    """One appliance. Raises NsdataError for what keeps it from being set up."""

    def __init__(self, settings: ApplianceSettings, file: str | Path | None = None) -> None:
        self.settings = settings
        directory = Path(settings.directory)
        directory.mkdir(parents=True, exist_ok=True)
        self.control = Control(directory / "control.sock", Commands(self).answer)
        try:
            self._set_up(settings, directory, file)
        except BaseException:
            self.control.close()
            raise

    def _set_up(
        self, settings: ApplianceSettings, directory: Path, file: str | Path | None
    ) -> None:
        self.page_fd, self.page = new_page("supervisor")
        self.page.enter()
        self.processes = Processes(settings, self.page_fd)
        store = Store(directory / "appliance.db")
        self.before = store.last()
        self.record = Record(settings.name, store, self.processes.writer_end)
        self.rebooting = Rebooting(self, store)
        self.reports = Reports(self)
        self.figures = Figures(settings.segments)
        self.notify = Notify()
        options = settings.options
        if (best := options.protection.best_effort).enabled:
            self.processes.best_effort = (best.latency, best.leave)
        self.deciders = build_deciders(options, self, settings.exposure())
        self.watch = self.deciders.watch
        self.sensors = SensorReader(sources(options.health, directory), options.health)
        self.sensors_ns = 0
        self.order = 0
        self.blocked = 0  # segments, as the port was told last
        self.clock_ns = 0  # the latest time stamp of ports that ended
        self.obeyed: Message = {}  # the port's last word on what it does
        self.block = Block(self)
        self.stopping = False
        self.reloading = Reloading(self, file)
        self.other_sensors = False  # since they were last read
        self.ready = False  # the port was, once
        self.selector = selectors.DefaultSelector()
        self.memory_ns = 0
        self.reporting = Reporting(self)
        self.record.tell = self.reporting.tell
        self.agency = Agency(self)

    # --- figures ----------------------------------------------------------------------------

    def _page(self) -> StatusPage | None:
        port = self.processes.running.get(PORT)
        return None if port is None else port.page

    def ledger(self) -> LedgerSnapshot:
        """Of all frames that are settled, since the appliance started. Raises LedgerError."""
        return self.figures.ledger(self._page())

    def moment(self) -> Moment:
        """Now, for the deciders."""
        return self.figures.moment(time.monotonic_ns(), self._page())

    def measures(self) -> Measures:
        """What the protections are decided by."""
        return self.figures.measures()

    # --- what the deciders need done: nsdata.fallback.deciders.Hands ---------------------------

    def transition(self, entry: Transition) -> None:
        """On the record."""
        self.record.transition(entry)

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """On the record."""
        self.record.note(kind, subject, evidence)

    def health(self, told: Mapping[str, Any]) -> None:
        """On the record."""
        self.record.health(told)

    def obey(self) -> None:
        """Tell the port what to do from now on."""
        port = self.processes.running.get(PORT)
        if port is None or not port.ready:
            return
        self.order += 1
        normal = self.deciders.state is State.NORMAL
        self._mode(port, port_process.INSPECT if normal else port_process.FALLBACK)

    def _mode(self, port: Process, mode: int) -> None:
        self.blocked = self.deciders.exposure.blocked(self.settings.segments)
        port.send("mode", mode=mode, share=self.deciders.share, blocked=self.blocked,
                  order=self.order)  # fmt: skip

    def _fall_back(self) -> None:
        """Whatever the state, asking nobody: inspect nothing, until the next order. Segments are
        as they were."""
        if port := self.processes.running.get(PORT):
            self.order += 1
            port.send("mode", mode=port_process.FALLBACK, share=FULL_SHARE, blocked=self.blocked,
                      order=self.order)  # fmt: skip

    def protect(self) -> None:
        """Tell the workers what holds: whether alerts are written, and which rules are off."""
        self.processes.protect(self.deciders.suspended, self.deciders.disabled)

    def start(self, decision: Start) -> None:
        """Start a process, and see to it."""
        name, attempt = decision.name, decision.attempt
        more = {}
        if name == PORT:
            clock_ns = self.clock_ns = max(self.clock_ns, self.figures.port.get("clock_ns", 0))
            blocked = self.blocked = self.deciders.exposure.blocked(self.settings.segments)
            inspect = self.deciders.state is State.NORMAL
            more = {"inspect": inspect, "after_ns": clock_ns, "blocked": blocked}
        try:
            process = self.processes.start(name, attempt, **more)
        except EngineError as error:
            now = time.monotonic_ns()
            self.deciders.carry_out(self.watch.not_started(name, attempt, str(error), now))
            return
        self.selector.register(process.pidfd, selectors.EVENT_READ, ("gone", process))
        self.selector.register(process.channel, selectors.EVENT_READ, ("said", process))
        now = time.monotonic_ns()
        self.deciders.carry_out(self.watch.started(name, attempt, process.pid, now))
        self.record.note(
            "started", name, {"pid": process.pid, "attempt": attempt, "why": decision.why}
        )

    def kill(self, decision: Kill) -> None:
        """Kill that attempt of a process."""
        process = self.processes.running.get(decision.name)
        if process is not None and process.attempt == decision.attempt:
            self._leave(process)
            self.processes.kill(process)
            self.record.note("killed", decision.name, {"pid": process.pid, "why": decision.why})

    def _leave(self, process: Process) -> None:
        """The port is to settle itself what this worker has."""
        port = self.processes.running.get(PORT)
        if process.worker is not None and port is not None:
            port.send("detach", worker=process.worker)

    # --- what is seen -----------------------------------------------------------------------

    def _gone(self, process: Process) -> None:
        """A process has ended."""
        self._leave(process)
        self._said(process, None)  # the rest: there will be no more
        for end in (process.pidfd, process.channel):
            self.selector.unregister(end)
        if process.name == PORT:
            self.clock_ns = max(self.clock_ns, self.figures.port.get("clock_ns", 0))
            self.processes.port_gone()
            if lost := self.figures.port_gone(process.page):
                self.record.note("port gone", PORT, lost)
        self.reporting.snapshots.tallies.gone(process)
        code, number = self.processes.gone(process)
        now = time.monotonic_ns()
        if process.worker is not None:
            self.figures.worker_gone(process.name, process.page)
            self.reloading.gone(process)
        self.deciders.carry_out(
            self.watch.exited(process.name, process.attempt, now, code=code, signal=number)
        )

    def _said(self, process: Process, most: int | None = HEARD) -> None:
        """Messages of a process; what is left is heard in the next turn."""
        for message in islice(process.messages(), most):
            what = message["what"]
            self.reports.heard(process, message)
            if what == "ready":
                now = time.monotonic_ns()
                self.deciders.carry_out(self.watch.ready(process.name, process.attempt, now))
                self.processes.join(process)
                if process.name == PORT:
                    self.obey()
                    self._ready()
                if process.worker is not None:
                    self.block.over({"why": "the worker began anew"})
                    self.reloading.joined(process)
                for text in message.get("refused", []):
                    self.record.note("rule refused", process.name, {"rule": text})
            elif what == "drops":
                self.figures.dropped(process.name, message["by_rule"])
            elif what == "costs":
                self.figures.spent(message["by_rule"])
            elif what == "mode":
                self.obeyed = message
            elif what in ("fpga", "fpga over", "described"):
                self.block.heard(process.name, message)
            elif what == "mad":
                self._mad(message)
            elif what == "reloaded":
                self.reloading.answered(process, message)
                self._told(process, message)
            elif what in TOLD:
                self._told(process, message)

    def _ready(self) -> None:
        if not self.ready:
            self.ready = True
            self.notify.tell(f"READY=1\nMAINPID={os.getpid()}")

    def _mad(self, message: Message) -> None:
        """A worker that accounts for what it was not given: its word is worth nothing."""
        name = f"worker-{message['worker']}"
        now = time.monotonic_ns()
        self.deciders.carry_out(self.watch.unexpected(name, message["why"], now))
        process = self.processes.running.get(name)
        if process is not None:
            self.processes.kill(process)

    def _told(self, process: Process, message: Message) -> None:
        rest = {key: value for key, value in message.items() if key != "what"}
        if message["what"] != "detached" or message["held"]:
            self.record.note(message["what"], process.name, rest)

    def _look(self, now: int) -> None:
        """Status pages, memory, the ledger; then what time alone brings about."""
        memory = now >= self.memory_ns
        for process in list(self.processes.running.values()):
            name, attempt = process.name, process.attempt
            beat_ns, beats = process.page.beat_ns, process.page.beats
            if beat_ns:
                seen = self.watch.beat(name, attempt, beat_ns, beats, time.monotonic_ns())
                self.deciders.carry_out(seen)
            if process.worker is not None:
                self.figures.worker(name, process.page)
            if memory:
                rss = process.rss()
                self.deciders.carry_out(self.watch.memory(name, attempt, rss, time.monotonic_ns()))
        self.processes.protect_again()
        if memory:
            self.memory_ns = now + MEMORY_NS
        try:
            self.ledger()
            self.deciders.carry_out(self.watch.ledger(None, time.monotonic_ns()))
        except LedgerError as error:
            self.deciders.carry_out(self.watch.ledger(str(error), time.monotonic_ns()))
        if told := self.figures.was_alone():
            self.record.note("port was alone", PORT, told)
        self.deciders.look()
        self._sensors(now)

    def look_elsewhere(self) -> None:
        """Read the sensors that the settings name now; others are expected no more."""
        self.sensors.close()
        health = self.settings.options.health
        self.sensors = SensorReader(sources(health, Path(self.settings.directory)), health)
        self.other_sensors = True

    def _sensors(self, now: int) -> None:
        """The health score, when sensors have answered."""
        if now >= self.sensors_ns:
            self.sensors_ns = now + self.settings.options.health.interval
            self.sensors.ask()
        readings = self.sensors.poll()
        if readings is None:
            return
        forget, self.other_sensors = self.other_sensors, False
        self.deciders.read_sensors(readings, time.monotonic_ns(), forget=forget)

    # --- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Until it is told to stop. What nobody expected is reason *unknown*, and it goes on."""
        for number, handler in (
            (signal.SIGTERM, self._stop), (signal.SIGINT, self._stop), (signal.SIGHUP, self._hup),
        ):  # fmt: skip
            signal.signal(number, handler)
        self.selector.register(self.control, selectors.EVENT_READ, ("asked", None))
        self._begin()
        if told := orphan.end(Path(self.settings.directory) / orphan.LOCK):
            self.record.note(told[0], PORT, told[1])
        for name in self.processes.names():
            limits = self.settings.options.watch.limits(name)
            self.deciders.carry_out(self.watch.add(name, time.monotonic_ns(), limits))
        self.record.note(
            "appliance started", self.settings.name, {"workers": self.settings.workers}
        )
        while not self.stopping:
            self._guarded("loop", self._turn)
        self._guarded("stop", self._end)
        self.close()

    def _begin(self) -> None:
        """In the state it was put into by hand; causes of other states are found again."""
        self.deciders.start()
        last = self.before
        if last and self.rebooting.begun_by_hand(last["state"], last["reason"]):
            note = "it was in fallback by hand when it was stopped"
            self.deciders.fallback(note)

    def _guarded(self, where: str, work: Callable[[], None]) -> None:
        """Whatever goes wrong in the supervisor's watch is reason *unknown*, on the record."""
        try:
            work()
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            log.exception("unexpected in the %s", where, extra={"event": "unexpected"})
            try:
                self.deciders.carry_out(self.watch.unexpected(where, told, time.monotonic_ns()))
            except Exception:
                # Those who decide have failed, too: traffic flows, and that is all.
                log.exception("those who decide have failed", extra={"event": "unexpected"})
                with suppress(Exception):
                    self._fall_back()
            time.sleep(PAUSE_S)  # what fails at every turn is not to use up a core

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
        self.control.look(now)
        self.reloading.serve()
        self.notify.alive(now)
        self._look(now)
        self.rebooting.look()
        self.reports.look()
        self.reporting.look(now)
        self.agency.look(now)
        self.record.push()
        self.record.save(now, self.moment().ledger, self.deciders.state, self.deciders.reason)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _hup(self, number: int, frame: FrameType | None) -> None:
        self.reloading.asked = True

    def _end(self) -> None:
        """In order: the port settles what workers hold, they end flows, lines are written."""
        limit = time.monotonic_ns() + STOP_NS
        names = [PORT, *[w.name for w in self.processes.workers()]]
        self.notify.tell("STOPPING=1")
        self.record.note("appliance stops", self.settings.name, {})
        for group in ([PORT], names[1:], ["writer"]):
            for name in group:
                if process := self.processes.running.get(name):
                    self.deciders.carry_out(self.watch.stop(name, time.monotonic_ns()))
                    process.send("stop")
            if group == names[1:]:
                told = {"ledger": self.ledger().as_dict(), "segments": self.figures.exposed()}
                self.record.say("ledger", told)
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
        ledger = self.moment().ledger
        self.record.counters(ledger, self.deciders.state, self.deciders.reason)
        self.reporting.end()

    def close(self) -> None:
        """Let go of everything."""
        for process in list(self.processes.running.values()):
            self.processes.kill(process)
            self.processes.gone(process)
        self.reports.close()
        self.record.store.flush()  # what is not delivered now is at the next start
        self.reporting.close()
        self.agency.close()
        self.sensors.close()
        self.control.close()
        self.record.close()
        self.notify.close()
        self.selector.close()
        self.processes.close()
