"""A scenario run in virtual time: its actions in order, then its verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nsdata.appliance.processes import PORT
from nsdata.assembly import LoadedRules
from nsdata.errors import EngineError, SettingError
from nsdata.rules.ruleset import RuleSet, load_rules, load_text
from nsdata.scenario import actions as do
from nsdata.scenario.judge import Verdict, judge
from nsdata.scenario.record import Done, Record
from nsdata.scenario.scenario import Scenario
from nsdata.scenario.virtual import Box
from nsdata.scenario.virtual_worker import Worker

STEP_NS = 100_000_000  # of virtual time, between two words about progress
Progress = Callable[[float], None]
"""Told the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario that was run."""

    scenario: Scenario
    record: Record
    verdicts: list[Verdict]

    @property
    def ok(self) -> bool:
        """Whether every expectation held."""
        return all(one.ok for one in self.verdicts)


class _Files(Protocol):
    rules: tuple[str, ...]
    rule_text: str


def rules_of(scenario: Scenario, of: _Files, *key: str | int) -> RuleSet:
    """The rules of the scenario, or of a reload. One that is refused is a SettingError that
    names the line."""
    if of.rule_text or not of.rules:
        key = (*key, "rule_text")
        found = load_text(of.rule_text, settings=scenario.settings)
    else:
        key = (*key, "rules")
        paths = [Path(scenario.found(one)) for one in of.rules]
        found = load_rules(paths, scenario.settings)
    if found.refused:
        name = ".".join(map(str, key))
        raise SettingError(f"{scenario.place(*key)}: {name}: {found.refused[0]}")
    return found


def compiled(scenario: Scenario) -> LoadedRules:
    """The rules of the scenario. Raises SettingError."""
    rules = rules_of(scenario, scenario.file)
    for number, action in enumerate(scenario.file.action):
        if isinstance(action, do.Reload) and (action.rules or action.rule_text):
            rules_of(scenario, action, "action", number)
    try:
        return LoadedRules.build(rules, scenario.settings)
    except EngineError as error:
        key = "rules" if scenario.file.rules else "rule_text"
        raise SettingError(f"{scenario.place(key)}: {key}: {error}") from None


def run(
    scenario: Scenario, progress: Progress | None = None, loaded: LoadedRules | None = None
) -> Result:
    """Run it in virtual time. Raises SettingError for what it names that cannot be used."""
    record = _Run(scenario, loaded or compiled(scenario), progress).run()
    return Result(scenario, record, judge(scenario, record))


class _Run:
    """The timeline over a box."""

    def __init__(self, scenario: Scenario, loaded: LoadedRules, progress: Progress | None) -> None:
        self.scenario = scenario
        self.box = Box(scenario, loaded)
        self.progress = progress
        self.resume: tuple[int, float] | None = None  # when a pause or burst ends, and the rate

    def run(self) -> Record:
        """From the start to the end."""
        box, start = self.box, self.box.start_ns
        end = start + self.scenario.file.duration
        waiting = list(enumerate(self.scenario.file.action))
        box.begin()
        while True:
            timed = [(start + a.at, n) for n, a in waiting if a.at is not None]
            counted = [(a.at_packet, n) for n, a in waiting if a.at_packet is not None]
            due = min(timed, default=(end, -1))
            packet = min(counted, default=(0, -1))
            until = min(due[0], end)
            if self.resume is not None and self.resume[0] <= until:
                until = self.resume[0]
            reached = packet[1] >= 0 and box.wire.came >= packet[0]
            if not reached:
                reached = self._advance(until, packet[0] or None)
            if reached:
                number = packet[1]
            elif self.resume is not None and box.now_ns >= self.resume[0]:
                box.wire.offer(self.resume[1], box.now_ns)
                self.resume = None
                continue
            elif box.now_ns >= end:
                return box.finish()
            else:
                number = due[1]
            waiting = [one for one in waiting if one[0] != number]
            self._act(number)

    def _advance(self, until: int, packets: int | None) -> bool:
        box = self.box
        while box.now_ns < until:
            if box.advance(min(until, box.now_ns + STEP_NS), packets):
                return True
            if self.progress is not None:
                self.progress((box.now_ns - box.start_ns) / self.scenario.file.duration)
        return False

    def _act(self, number: int) -> None:
        """Carry out an action, now."""
        box, action = self.box, self.scenario.file.action[number]
        came = box.sample().came
        done = Done(number, action.name, action.what, box.now_ns, box.now_ns, came)
        box.record.done.append(done)
        box.marks.acted(action.name, box.now_ns)
        match action:
            case do.SetRate():
                self.resume = None
                box.wire.offer(action.rate, box.now_ns)
            case do.Pause() | do.Burst():
                usual = self.resume[1] if self.resume is not None else box.wire.rate
                self.resume = (box.now_ns + action.lasts, usual)
                box.wire.offer(getattr(action, "rate", 0.0), box.now_ns)
            case do.Fallback():
                box.deciders.fallback(action.note)
            case do.Restore():
                box.deciders.restore(force=action.force)
            case do.SetSensor():
                box.sensors.set(action.sensor, action.value)
            case do.FillDisk():
                box.sensors.free = min(box.sensors.free, action.leave)
            case do.FreeDisk():
                box.sensors.free = box.sensors.size
            case do.Reload():
                self._reload(action, number)
            case do.FpgaError():
                for worker in box.workers():
                    worker.inject(action.error)
            case _:
                self._process(action)
        box.settle()
        box.look_ns = min(box.look_ns, box.now_ns)
        box.turn(box.now_ns)

    def _process(self, action: do.Action) -> None:
        """What happens to a process; nothing, when it is not there just now."""
        box = self.box
        process = box.running.get(getattr(action, "process", ""))
        if process is None:
            box.note("nobody there", getattr(action, "process", ""), {"action": action.what})
            return
        match action:
            case do.Kill():
                box.end(process)
            case do.Stop():
                process.hang(box.now_ns)
            case do.Continue():
                process.go_on(box.now_ns)
                if process.name == PORT:
                    box.wire.offer(box.wire.rate, box.now_ns)
            case do.Bloat():
                process.rss = max(process.rss, action.to)
            case do.Corrupt() if isinstance(process, Worker):
                process.corrupt()
                box.collect(process)

    def _reload(self, action: do.Reload, number: int) -> None:
        """Other rules between two batches of every worker; the old ones stay where that fails."""
        box = self.box
        given = action if action.rules or action.rule_text else self.scenario.file
        rules = rules_of(self.scenario, given, "action", number)
        box.loaded = loaded = LoadedRules.build(rules, self.scenario.settings, box.loaded)
        workers = [worker for worker in box.workers() if worker.works]
        box.note("reload", self.scenario.name, {"workers": [one.name for one in workers]})
        for worker in workers:
            worker.swap(loaded, self.scenario.settings)
            box.protected.loaded(worker)
            box.note("reloaded", worker.name, {"ok": True, "rules": loaded.numbers})
        box.protected.reloaded()
        box.deciders.reloaded()
