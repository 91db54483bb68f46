"""A box in virtual time: the real deciders, port, rings and pipelines, in one process.

    Wire ─► Port ═rings═► Worker 0 … n ─► lines        due: the next of frames, slots, looks,
             ▲                                         actions and marks; time goes there
             └───────── Deciders (this is their Hands)

Nothing here reads a clock, so two runs of a scenario are alike to the byte.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from nsdata.appliance.figures import total
from nsdata.appliance.port import FALLBACK, INSPECT, LINGER_NS
from nsdata.appliance.processes import PORT, WRITER, worker_name
from nsdata.appliance.supervisor import MEMORY_NS
from nsdata.assembly import LoadedRules, build_deciders
from nsdata.capture import Batch
from nsdata.errors import EngineError, LedgerError
from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.deciders import Measures
from nsdata.fallback.decisions import Kill, Start
from nsdata.fallback.exposure import SegmentAction
from nsdata.fallback.ledger import LedgerSnapshot, Why
from nsdata.fallback.reasons import Reason, State
from nsdata.output.timeline import INTERVALS, SAID, Band
from nsdata.path.port import FULL_SHARE, Port
from nsdata.scenario.clock import VirtualClock
from nsdata.scenario.record import Event, Marks, Record, Sample
from nsdata.scenario.scenario import Scenario
from nsdata.scenario.traffic import STEP_NS, Wire, offered
from nsdata.scenario.virtual_lines import Lines
from nsdata.scenario.virtual_protection import SEGMENTS, Protected
from nsdata.scenario.virtual_sensors import Sensors
from nsdata.scenario.virtual_worker import Process, Worker

FIRST_PID = 1000
DROPS_NS = 100_000_000  # between two looks at what rules dropped
SIGKILL = 9


class Box:
    """See the module. `loaded`: its rules, compiled."""

    def __init__(self, scenario: Scenario, loaded: LoadedRules) -> None:
        self.scenario = scenario
        self.appliance = scenario.file.appliance
        self.settings = scenario.settings
        self.loaded = loaded
        self.clock = VirtualClock()
        self.start_ns = self.clock.now_ns
        self.record = Record(self.start_ns)
        self.marks = Marks(scenario, self.start_ns)
        self.wire = Wire(offered(scenario), scenario.file.traffic.rate, self.start_ns)
        self.sensors = Sensors(scenario)
        self.sensors_ns = self.start_ns + self.settings.health.interval
        self.running: dict[str, Process] = {}
        self.exits: list[Process] = []
        self.started = 0
        self.port: Port | None = None
        self.ended = LedgerSnapshot.empty()  # of ports that ended
        self.sound = self.ended  # the last ledger that balanced
        best = self.settings.protection.best_effort
        workers = range(self.appliance.workers)
        self.queues = [best.build(str(i)) for i in workers] if best.enabled else []
        self.passing = 0
        self.fate = np.zeros(4096, np.uint8)
        self.drops: dict[int, int] = {}
        self.drops_ns = 0
        self.memory_ns = 0
        self.fpga_held = False
        self.lines = Lines(scenario.name, self.sensors)
        self.protected = Protected()
        usual = SegmentAction(self.appliance.in_fallback)
        exposure = self.settings.exposure.build(SEGMENTS, usual)
        self.deciders = build_deciders(self.settings, self, exposure)
        self.look_ns = 0
        self.marked = False  # counters are to be taken when this instant is over

    @property
    def now_ns(self) -> int:
        """Virtual, since the epoch."""
        return self.clock.now_ns

    def workers(self) -> list[Worker]:
        """Those that are there."""
        return [one for one in self.running.values() if isinstance(one, Worker)]

    # --- figures ----------------------------------------------------------------------------

    def ledger(self) -> LedgerSnapshot:
        """Of all frames that are settled. Raises LedgerError."""
        found = self.ended
        if self.port is not None:
            found = total(found, LedgerSnapshot.from_counts(*self.port.counts()))
        found.check()
        found.difference(self.sound)
        self.sound = found
        return found

    def moment(self) -> Moment:
        """Now, with the counters of now."""
        try:
            ledger = self.ledger()
        except LedgerError:
            ledger = self.sound
        held = self.port.holding[0] if self.port is not None else 0
        return Moment(self.now_ns, ledger.received.packets + held + 1, ledger, self.drops)

    def sample(self) -> Sample:
        """Take the counters of now."""
        moment = self.moment()
        one = Sample(self.now_ns, moment.at_packet - 1, moment.ledger, Counter(self.lines.alerts))
        self.record.samples.append(one)
        return one

    def _dropped(self) -> None:
        """What rules dropped, of every worker there is."""
        if self.now_ns < self.drops_ns:
            return
        self.drops_ns = self.now_ns + DROPS_NS
        found: Counter[int] = Counter()
        for worker in self.workers():
            if worker.pipeline is not None:
                found.update(worker.pipeline.drops_by_rule())
        self.drops = dict(found)

    # --- what the deciders need done: nsdata.fallback.deciders.Hands --------------------------

    def start(self, decision: Start) -> None:
        """Start a process: ready at once when the box begins, else after its start time."""
        self.started += 1
        begins = self.now_ns == self.start_ns
        ready_ns = self.now_ns + (0 if begins else self.appliance.start_time)
        given = (decision.name, decision.attempt, FIRST_PID + self.started, ready_ns)
        if decision.name.startswith("worker-"):
            number = int(decision.name.removeprefix("worker-"))
            process: Process = Worker(
                *given, self.appliance.memory, number=number, capacity=self.appliance.capacity
            )
        else:
            process = Process(*given, self.appliance.memory)
        self.running[process.name] = process
        watch = self.deciders.watch
        told = watch.started(process.name, process.attempt, process.pid, self.now_ns)
        self.deciders.carry_out(told)
        evidence = {"pid": process.pid, "attempt": process.attempt, "why": decision.why}
        self.note("started", process.name, evidence)

    def kill(self, decision: Kill) -> None:
        """Kill that attempt of a process; its exit follows."""
        process = self.running.get(decision.name)
        if process is not None and process.attempt == decision.attempt:
            self.end(process)
            self.note("killed", process.name, {"pid": process.pid, "why": decision.why})

    def end(self, process: Process) -> None:
        """It is gone: by the watch, or by what happens."""
        if not process.gone:
            process.gone = True
            self.exits.append(process)

    def obey(self) -> None:
        """The port acts by state, share and segment with the next frames."""
        if self.port is not None:
            self.port.block(self.deciders.exposure.blocked(SEGMENTS))
        if self.deciders.state is State.FALLBACK:
            band = Band.FALLBACK
        elif self.deciders.share < FULL_SHARE:
            band = Band.RESTORING
        else:
            band = Band.INSPECTING
        self.record.timeline.band(self.now_ns, band)

    def measures(self) -> Measures:
        """What the protections are decided by."""
        return self.protected.measures(self.workers(), self.port)

    def protect(self) -> None:
        """Every worker acts by what is decided."""
        for worker in self.workers():
            self.protected.act(worker, self.deciders.suspended, self.deciders.disabled)

    def transition(self, entry: Transition) -> None:
        """On the record."""
        told = entry.as_dict()
        self.record.entries.append(json.loads(json.dumps(told)))
        self._say("fallback", {"fallback": told})

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """On the record."""
        plain = json.loads(json.dumps(dict(evidence)))
        self.record.events.append(Event(self.now_ns, kind, subject, plain, self.wire.came))
        self._say("appliance", {"event": kind, "subject": subject, "evidence": plain})

    def health(self, told: Mapping[str, Any]) -> None:
        """On the record."""
        self._say("health", {"health": told})

    def _say(self, kind: str, members: Mapping[str, Any]) -> None:
        self.lines.say(kind, self.now_ns, members)

    def write(self) -> None:
        """What the writer takes now."""
        self.lines.take(self.running.get(WRITER), self.workers())

    # --- the run ----------------------------------------------------------------------------

    def begin(self) -> None:
        """Everything is started, and ready."""
        timeline = self.record.timeline
        timeline.interval_ns = self.scenario.file.duration // INTERVALS + 1
        timeline.start(self.now_ns)
        self.deciders.start()
        names = [WRITER, *(worker_name(i) for i in range(self.appliance.workers)), PORT]
        for name in names:
            limits = self.settings.watch.limits(name)
            self.deciders.carry_out(self.deciders.watch.add(name, self.now_ns, limits))
        self.note("appliance started", self.scenario.name, {"workers": self.appliance.workers})
        self.settle()
        self.look()
        self.sample()

    def next_ns(self) -> int:
        """When something is due."""
        dues: list[int | None] = [
            self.look_ns, self.marks.next_ns(), self.record.timeline.next_ns(),
            self.wire.next_ns() if self.receives else None,
        ]  # fmt: skip
        if self.queues and self.port is not None and self.port.holding[0]:
            dues.append(self.now_ns + STEP_NS)  # a port looks so often how long they wait
        dues += [worker.next_ns(self.now_ns) for worker in self.workers()]
        dues += [
            p.ready_ns for p in self.running.values()
            if p.due(p.ready_ns)
        ]  # fmt: skip
        return min(due for due in dues if due is not None)

    @property
    def receives(self) -> bool:
        """Whether frames are taken: with the port away, or hung, nothing comes in."""
        process = self.running.get(PORT)
        return self.port is not None and process is not None and process.works

    def advance(self, until_ns: int, packets: int | None = None) -> bool:
        """Go on to `until_ns`, or until so many packets have come: then True."""
        while self.now_ns < until_ns:
            now = self.clock.to(min(self.next_ns(), until_ns))
            if self.frames(now, packets):
                return True
            self.turn(now)
        return False

    def turn(self, now: int) -> None:
        """What is due now."""
        if self.record.timeline.next_ns() <= now:
            self._figures(now)
        for worker in self.workers():
            if worker.serve(now):
                self.collect(worker)
        self._best_effort(now)
        self.settle()
        if now >= self.look_ns:
            self.look()
        if self.marks.passed(now) or self.marked:
            self.marked = False
            self.sample()

    def frames(self, until_ns: int, packets: int | None) -> bool:
        """Frames that came before `until_ns`; True when so many packets have come."""
        if not self.receives:
            return False
        while True:
            wanted = [n for n in (packets, self.marks.next_packet()) if n is not None]
            most = min(wanted) - self.wire.came if wanted else None
            batch = self.wire.take(until_ns, most)
            if batch is None:
                return False
            self._offer(batch)
            for number in self.marks.came(self.wire.came, self.now_ns):
                self.record.packet_ns[number] = self.now_ns
                self.marked = True
            if packets is not None and self.wire.came >= packets:
                return True

    def _offer(self, batch: Batch) -> None:
        assert self.port is not None
        if len(batch) > len(self.fate):
            self.fate = np.zeros(len(batch), np.uint8)
        fallback = self.deciders.state is State.FALLBACK
        self.port.now_ns = self.now_ns
        self.port.offer(
            batch.data, batch.offset, batch.caplen, batch.wirelen, batch.ts_ns, batch.linktype,
            self.fate[: len(batch)],
            mode=FALLBACK if fallback else INSPECT,
            share=self.deciders.share, best_effort=bool(self.queues), passing=self.passing,
        )  # fmt: skip
        self.port.flush()

    def collect(self, worker: Worker) -> None:
        """Settle what a worker handed back; one whose word is worth nothing is let go."""
        if self.port is None:
            return
        try:
            self.port.collect(worker.number)
        except EngineError as error:
            self.port.detach(worker.number)
            watch = self.deciders.watch
            self.deciders.carry_out(watch.unexpected(worker.name, str(error), self.now_ns))
            self.end(worker)
        self.write()

    def _best_effort(self, now: int) -> None:
        if self.port is None or not self.queues:
            return
        self.port.now_ns = now
        passed = self.port.counts()[2][Why.BEST_EFFORT]
        for number, queue in enumerate(self.queues):
            decided = queue.observe(now, self.port.waiting_ns(number), passed)
            if decided is not None:
                self.passing ^= 1 << number
                told = {"worker": number, "on": queue.active, **decided.evidence}
                self.note("best effort", PORT, told)

    # --- processes --------------------------------------------------------------------------

    def settle(self) -> None:
        """Processes that ended, and those that got ready."""
        while self.exits:
            self._gone(self.exits.pop(0))
        for process in list(self.running.values()):
            if process.due(self.now_ns):
                self._ready(process)

    def _gone(self, process: Process) -> None:
        if isinstance(process, Worker):
            if self.port is not None:
                held = self.port.detach(process.number)
                if held:
                    frames = sum(len(slot[1]) for slot in held)
                    self.note("detached", PORT, {"worker": process.number, "held": frames})
            self.lines.gone(process)
            self.protected.gone(process)
            process.close()
        elif process.name == PORT:
            self._port_gone()
        if self.running.get(process.name) is process:
            del self.running[process.name]
        watch = self.deciders.watch
        told = watch.exited(process.name, process.attempt, self.now_ns, signal=SIGKILL)
        self.deciders.carry_out(told)
        self.look_ns = self.now_ns

    def _port_gone(self) -> None:
        """What it held was forwarded by nobody: lost with it."""
        if self.port is None:
            return
        received, size, packets, nbytes = self.port.counts()
        held = self.port.holding
        packets[Why.PORT] += held[0]
        nbytes[Why.PORT] += held[1]
        last = LedgerSnapshot.from_counts(received + held[0], size + held[1], packets, nbytes)
        self.ended = total(self.ended, last)
        self.protected.port_gone(self.port)
        self.port = None
        for worker in self.workers():
            worker.ring = worker.memory = worker.served_ns = None
        if held[0]:
            self.note("port gone", PORT, {"lost_packets": held[0], "lost_bytes": held[1]})

    def _ready(self, process: Process) -> None:
        process.ready = True
        process.beat(self.now_ns)
        if process.name == PORT:
            self.port = Port(self.appliance.workers)
            self.obey()
            self.wire.offer(self.wire.rate, self.now_ns)
            for worker in self.workers():
                self._attach(worker)
        elif isinstance(process, Worker):
            appliance = self.appliance
            process.begin(self.loaded, self.settings, appliance.inline, appliance.offload)
            self.protected.act(process, self.deciders.suspended, self.deciders.disabled)
            self._attach(process)
        watch = self.deciders.watch
        self.deciders.carry_out(watch.ready(process.name, process.attempt, self.now_ns))
        if isinstance(process, Worker):
            self._fpga_over({"why": "the worker began anew"})
        self.look_ns = self.now_ns

    def _attach(self, worker: Worker) -> None:
        if self.port is not None and worker.ready and worker.ring is None:
            self.port.attach(worker.number, worker.wire(self.appliance))

    def _fpga_over(self, evidence: Mapping[str, Any]) -> None:
        if self.fpga_held:
            self.fpga_held = False
            self.deciders.clear(Reason.FPGA, evidence)

    # --- the supervisor ---------------------------------------------------------------------

    def look(self) -> None:
        """What the supervisor of an appliance does each time it wakes."""
        now, watch = self.now_ns, self.deciders.watch
        self._dropped()
        memory = now >= self.memory_ns
        if memory:
            self.memory_ns = now + MEMORY_NS
        for process in list(self.running.values()):
            if process.ready:
                process.beat(now)
                told = watch.beat(
                    process.name, process.attempt, process.beat_ns, process.beats, now
                )
                self.deciders.carry_out(told)
            if memory:
                self.deciders.carry_out(
                    watch.memory(process.name, process.attempt, process.rss, now)
                )
        for worker in self.workers():
            self._block(worker)
        try:
            self.ledger()
            self.deciders.carry_out(watch.ledger(None, now))
        except LedgerError as error:
            self.record.faults.append(str(error))
            self.deciders.carry_out(watch.ledger(str(error), now))
        self.deciders.look()
        if now >= self.sensors_ns:
            self.sensors_ns = now + self.settings.health.interval
            self.deciders.read_sensors(self.sensors.read(now), now)
        self.settle()
        self.write()
        reading = self.deciders.guard.meter.last
        if reading is not None and reading.received:
            self.record.timeline.reading(reading.now_ns, reading.ratio)
        self.look_ns = min(self.deciders.next_due_ns(), self.sensors_ns)

    def _block(self, worker: Worker) -> None:
        told = worker.block(self.now_ns)
        if told is None:
            return
        if "over" in told:
            self._fpga_over({"why": "the block was brought back"})
        elif told["software"]:
            self.note("FPGA out of use", worker.name, {"process": worker.name, **told})
        else:
            self.fpga_held = True
            evidence = {"process": worker.name, "fpga": told["fpga"]}
            self.deciders.fault(Reason.FPGA, json.loads(json.dumps(evidence)))

    def _figures(self, now: int) -> None:
        ledger = self.moment().ledger
        fates = [count.packets for count in ledger.by_fate]
        self.record.timeline.take(now, (*fates, ledger.received.bytes, *[0] * len(SAID)))

    # --- the end ----------------------------------------------------------------------------

    def finish(self) -> Record:
        """Stop in order, as an appliance does: the port settles what workers hold, they end their
        flows, lines are written."""
        record, end_ns = self.record, self.now_ns
        if self.port is not None:
            for worker in self.workers():
                worker.linger(end_ns, LINGER_NS)
                self.collect(worker)
                self.port.detach(worker.number)
        for worker in self.workers():
            if worker.works:
                worker.finish()
        try:
            record.ledger = self.ledger()
        except LedgerError as error:
            record.faults.append(str(error))
            record.ledger = self.sound
        self._say("ledger", {"ledger": record.ledger.as_dict()})
        self.write()
        for worker in self.workers():
            self.lines.gone(worker)
            worker.close()
        self.lines.end()
        record.alerts = self.lines.alerts
        record.lines, record.lines_lost = self.lines.written, self.lines.lost
        self._figures(end_ns)
        record.samples.append(
            Sample(end_ns, record.ledger.received.packets, record.ledger, record.alerts)
        )
        record.end_ns, record.offered, record.eve = end_ns, self.wire.came, bytes(self.lines.file)
        return record
