"""A scenario against a real appliance: its own processes, signals, files; times are wall clock.

What is found is what the appliance itself says: its transitions, its EVE file, its status.
"""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from nsdata.errors import EngineError
from nsdata.fallback.ledger import Count, Fate, LedgerSnapshot, Why
from nsdata.fallback.reasons import State
from nsdata.output.timeline import INTERVALS, SAID, Band
from nsdata.scenario import actions as do
from nsdata.scenario.clock import RealClock
from nsdata.scenario.judge import judge
from nsdata.scenario.real_box import LOOK_S, RealBox, check
from nsdata.scenario.record import Done, Event, Marks, Record, Sample
from nsdata.scenario.run import Progress, Result, compiled
from nsdata.scenario.scenario import Scenario

MOST_ENTRIES = 1000
LOOK_NS = int(LOOK_S * 1e9)


def run(scenario: Scenario, progress: Progress | None = None) -> Result:
    """Run it against a real appliance. Raises SettingError for what cannot be done here, and
    EngineError when the appliance itself does not run."""
    check(scenario)
    compiled(scenario)  # what is wrong with the rules is said with its line
    with RealBox(scenario) as box:
        record = _Run(scenario, box, progress).run()
    return Result(scenario, record, judge(scenario, record))


class _Run:
    """The timeline over a real box."""

    def __init__(self, scenario: Scenario, box: RealBox, progress: Progress | None) -> None:
        self.scenario, self.box, self.progress = scenario, box, progress
        self.clock = RealClock()
        self.start_ns = self.clock.now_ns
        self.shift_ns = time.time_ns() - self.start_ns
        self.record = Record(self.start_ns, real=True)
        self.marks = Marks(scenario, self.start_ns)
        self.rate: float = scenario.file.traffic.rate
        self.resume: tuple[int, float] | None = None
        self.before = 0  # packets that came before the start
        self.first = LedgerSnapshot.empty()
        timeline = self.record.timeline
        timeline.interval_ns = scenario.file.duration // INTERVALS + 1
        timeline.start(self.start_ns)

    def run(self) -> Record:
        """From the start to the end."""
        told = self.box.ask("status")
        self.first = ledger_of(told["ledger"])
        self.before = self._came(told)
        end = self.start_ns + self.scenario.file.duration
        waiting = list(enumerate(self.scenario.file.action))
        came = 0
        self._look(sample=True)
        while (now := self.clock.now_ns) < end:
            due = [
                number for number, action in waiting
                if (action.at is not None and now >= self.start_ns + action.at)
                or (action.at_packet is not None and came >= action.at_packet)
            ]  # fmt: skip
            due.sort(key=lambda number: self.scenario.file.action[number].at or 0)
            for number in due:
                self._act(number)
            waiting = [one for one in waiting if one[0] not in due]
            if self.resume is not None and now >= self.resume[0]:
                self._offer(self.resume[1])
                self.resume = None
            came = self._look(sample=self.marks.passed(now))
            if self.progress is not None:
                self.progress((now - self.start_ns) / self.scenario.file.duration)
            times = [self.start_ns + a.at for _, a in waiting if a.at is not None]
            mark = self.marks.next_ns()
            soon = [end, now + LOOK_NS, *times, *([] if mark is None else [mark])]
            self.clock.to(min(soon))
        self.record.end_ns = self.clock.now_ns
        return self._end()

    # --- looking ----------------------------------------------------------------------------

    def _came(self, told: Mapping[str, Any]) -> int:
        held = int(told["port"].get("held_packets", 0))
        return int(told["ledger"]["received"]["packets"]) + held

    def _look(self, sample: bool = False) -> int:
        """Its status; packets that have come since the start."""
        told = self.box.ask("status")
        now = self.clock.now_ns
        ledger = ledger_of(told["ledger"]).difference(self.first)
        came = self._came(told) - self.before
        fates = [count.packets for count in ledger.by_fate]
        timeline = self.record.timeline
        timeline.take(now, (*fates, ledger.received.bytes, *[0] * len(SAID)))
        timeline.band(now, Band.FALLBACK if told["state"] == State.FALLBACK else Band.INSPECTING)
        timeline.reading(now, float(told["drop_ratio"]))
        reached = self.marks.came(came, now)
        for number in reached:
            self.record.packet_ns[number] = now
        if sample or reached:
            self.record.samples.append(Sample(now, came, ledger, {}))
        return came

    # --- doing ------------------------------------------------------------------------------

    def _offer(self, rate: float) -> None:
        self.box.ask("offer", rate=rate or None)
        self.rate = rate

    def _act(self, number: int) -> None:
        action = self.scenario.file.action[number]
        came = self._look(sample=True)
        now = self.record.samples[-1].at_ns
        try:
            self._do(action, number, now)
        except EngineError as error:
            event = Event(now, "not done", action.what, {"error": str(error)})
            self.record.events.append(event)
        then = self.clock.now_ns
        self.record.done.append(Done(number, action.name, action.what, now, then, came))
        self.marks.acted(action.name, now)

    def _do(self, action: do.Action, number: int, now: int) -> None:
        box = self.box
        match action:
            case do.SetRate():
                self.resume = None
                self._offer(action.rate)
            case do.Pause() | do.Burst():
                usual = self.resume[1] if self.resume is not None else self.rate
                self.resume = (now + action.lasts, usual)
                self._offer(getattr(action, "rate", 0.0))
            case do.Kill():
                box.signal(action.process, signal.SIGKILL)
            case do.Stop():
                box.signal(action.process, signal.SIGSTOP)
            case do.Continue():
                box.signal(action.process, signal.SIGCONT)
            case do.Bloat():
                box.bloat(action.process, action.to)
            case do.Corrupt():
                box.corrupt(action.process)
            case do.FpgaError():
                box.ask("inject", error=action.error)
            case do.SetSensor():
                box.sensor(action.sensor, action.value)
            case do.FillDisk():
                box.fill(action.leave)
            case do.FreeDisk():
                box.free()
            case do.Fallback():
                box.ask("fallback", note=action.note)
            case do.Restore():
                box.ask("restore", force=action.force)
            case do.Reload():
                given = action if action.rules or action.rule_text else self.scenario.file
                rules = box.rules(given.rules, given.rule_text, f"reload-{number}")
                box.ask("reload", rules=rules)

    # --- the end ----------------------------------------------------------------------------

    def _end(self) -> Record:
        record, box = self.record, self.box
        entries = box.ask("transitions", most=MOST_ENTRIES)["transitions"]
        record.entries = sorted(entries, key=lambda one: int(one["sequence"]))
        for entry in record.entries:
            entry["at_packet"] = max(1, entry["at_packet"] - self.before)
        box.stop()
        lines = box.lines()
        record.eve, record.lines = b"".join(lines), len(lines)
        ledger = None
        for line in lines:
            event = json.loads(line)
            kind = event["event_type"]
            if kind == "alert":
                record.alerts[int(event["alert"]["signature_id"])] += 1
            elif kind == "appliance":
                self._event(event)
            elif kind == "ledger":
                ledger = ledger_of(event["ledger"])
        record.events.sort(key=lambda one: one.at_ns)
        if ledger is None:
            record.faults.append("the appliance wrote no ledger at its end")
        else:
            record.faults += unbalanced(ledger)
            record.ledger = ledger.difference(self.first)
        received = record.ledger.received.packets
        record.samples.append(
            Sample(record.end_ns, received, record.ledger, Counter(record.alerts))
        )
        return record

    def _event(self, event: Mapping[str, Any]) -> None:
        at_ns = wall_ns(event["timestamp"]) - self.shift_ns
        if at_ns >= self.start_ns:
            evidence = event.get("evidence", {})
            self.record.events.append(Event(at_ns, event["event"], event["subject"], evidence))


def wall_ns(text: str) -> int:
    """Nanoseconds since the epoch of EVE's time."""
    found = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
    return int(found.timestamp()) * 10**9 + found.microsecond * 1000


def ledger_of(told: Mapping[str, Any]) -> LedgerSnapshot:
    """A ledger as it is told; bytes are known of fates, not of reasons."""
    packets = {name: int(n) for fate in Fate for name, n in told[fate.token]["reasons"].items()}
    return LedgerSnapshot(
        Count(told["received"]["packets"], told["received"]["bytes"]),
        tuple(Count(told[fate.token]["packets"], told[fate.token]["bytes"]) for fate in Fate),
        tuple(Count(packets.get(why.token, 0), 0) for why in Why),
    )


def unbalanced(ledger: LedgerSnapshot) -> list[str]:
    """What does not balance in a ledger that was told."""
    wrong = []
    for unit in ("packets", "bytes"):
        came = getattr(ledger.received, unit)
        went = sum(getattr(count, unit) for count in ledger.by_fate)
        if came != went:
            wrong.append(f"received {came} {unit} ≠ {went} accounted")
    for fate in Fate:
        reasons = sum(ledger.why(why).packets for why in Why if why.fate is fate)
        if reasons != ledger.fate(fate).packets:
            wrong.append(f"{fate.token}: {ledger.fate(fate).packets} ≠ {reasons} by its reasons")
    return wrong
