"""A reboot: which processes stop and start, in which order, and when it is over.

    permit ─► workers stop ─► writer restarts ─► workers start ─► (port restarts) ─► done

Sans-IO: `look` gets what is seen of the processes and gives the orders that follow. The order is
such that nothing is lost: everything is permitted first and what workers hold is settled; workers
hand their last lines to a writer that still takes them; the port, which forwards, is kept unless
it is to be restarted, and then it is the last. Nothing is waited for without an end: a process that
does not come back is a fault (`Watch` finds it), one that does not go is one after `gone_ns`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nsdata.errors import EngineError
from nsdata.fallback.watch_process import Phase

SETTLE_NS = 1_000_000_000  # for what workers hold; after it the port settles it when they go


class Verb(StrEnum):
    """What is to be done with a process."""

    STOP = "stop"  # in order
    START = "start"  # it is gone: watch it, start it
    STUCK = "stuck"  # it does not go: a process error; started again when it has gone


@dataclass(frozen=True, slots=True)
class Order:
    """One thing to do."""

    verb: Verb
    name: str


class Progress(StrEnum):
    """How far a reboot is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Step:
    """These stop, and when all of them are gone, those start."""

    what: str
    stop: tuple[str, ...] = ()
    start: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What is seen of an appliance. phases: of those that are watched."""

    phases: Mapping[str, Phase]
    settled: bool  # the port permits, and workers hold nothing
    faults: Mapping[str, str] = field(default_factory=dict)  # of processes, by name


def plan(workers: Iterable[str], writer: str, port: str | None) -> tuple[Step, ...]:
    """The steps after the first. port: to be restarted, too."""
    every = tuple(workers)
    steps = (
        Step("workers stop", stop=every),
        Step("writer restarts", stop=(writer,), start=(writer,)),
        Step("workers start", start=every),
    )
    return steps if port is None else (*steps, Step("port restarts", (port,), (port,)))


class Reboot:
    """One reboot. gone_ns: within which a process told to stop is gone, kills included."""

    def __init__(self, steps: Iterable[Step], now_ns: int, gone_ns: int) -> None:
        self.steps = (Step("everything is permitted"), *steps)
        self.progress = Progress.RUNNING
        self.error = ""
        self._gone_ns = gone_ns
        self._at = 0
        self._since_ns = now_ns
        self._stopping = False  # of this step
        self._starting = False

    @property
    def what(self) -> str:
        """What it does now, or did last."""
        return self.steps[self._at].what

    def status(self) -> dict[str, Any]:
        """JSON-ready; `step` counts from 1."""
        return {
            "state": self.progress.value, "step": self._at + 1, "of": len(self.steps),
            "what": self.what, "error": self.error,
        }  # fmt: skip

    def look(self, now_ns: int, seen: Seen) -> list[Order]:
        """What is to be done now. EngineError when it is over."""
        if self.progress is not Progress.RUNNING:
            raise EngineError(f"the reboot is over: {self.progress.value}")
        if self._at == 0:
            if not seen.settled and now_ns - self._since_ns < SETTLE_NS:
                return []
            self._next(now_ns)
        orders: list[Order] = []
        while self.progress is Progress.RUNNING:
            more = self._step(now_ns, seen)
            orders += more or []
            if more is not None:
                break
        return orders

    def _step(self, now_ns: int, seen: Seen) -> list[Order] | None:
        """Of the present step; None: it is over, and there may be another at once."""
        step = self.steps[self._at]
        there = [name for name in step.stop if name in seen.phases]
        if step.stop and not self._stopping:
            self._stopping, self._since_ns = True, now_ns
            if there:
                return [Order(Verb.STOP, name) for name in there]
        if there and not self._starting:
            if now_ns - self._since_ns < self._gone_ns:
                return []
            return self._fail(f"{', '.join(there)} did not go", seen, stuck=there)
        if step.start and not self._starting:
            self._starting = True
            return [Order(Verb.START, name) for name in step.start if name not in seen.phases]
        failed = {name: seen.faults[name] for name in step.start if name in seen.faults}
        if failed:
            told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
            return self._fail(told, seen)
        if any(seen.phases.get(name) is not Phase.RUNNING for name in step.start):
            return []
        self._next(now_ns)
        return None

    def _next(self, now_ns: int) -> None:
        if self._at + 1 == len(self.steps):
            self.progress = Progress.DONE
            return
        self._at += 1
        self._since_ns, self._stopping, self._starting = now_ns, False, False

    def _fail(self, error: str, seen: Seen, stuck: Iterable[str] = ()) -> list[Order]:
        """It ends here; whoever it had stopped is started, for the watch to see to."""
        self.progress, self.error = Progress.FAILED, error
        names = dict.fromkeys(n for step in self.steps for n in (*step.stop, *step.start))
        orders = [Order(Verb.STUCK, name) for name in stuck]
        return orders + [Order(Verb.START, name) for name in names if name not in seen.phases]
