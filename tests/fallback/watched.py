"""A host of simulated processes for the tests of the watch."""

from __future__ import annotations

from typing import Any

from nsdata.fallback.decisions import Decision, FaultCleared, FaultHeld, Kill, Note, Start
from nsdata.fallback.reasons import Reason
from nsdata.fallback.watch import Watch
from nsdata.fallback.watch_policy import ProcessLimits, WatchPolicy

MS, SECOND = 10**6, 10**9
POLICY = WatchPolicy()
LIMITS = ProcessLimits(max_rss_bytes=1000)
CAUSES = {
    "it gave no heartbeat": Reason.HEARTBEAT,
    "it did not get ready in time": Reason.HEARTBEAT,
    "its memory is past the maximum": Reason.MEMORY,
}


class Box:
    """A host of simulated processes that looks every 20 ms, and beats for those that run."""

    def __init__(self, *names: str, policy: WatchPolicy = POLICY) -> None:
        self.watch = Watch(policy)
        self.now = 0
        self.attempt: dict[str, int] = {}
        self.beats: dict[str, int] = {}
        self.hung: set[str] = set()
        self.dead_on_arrival: set[str] = set()
        self.immortal: set[str] = set()
        self.heard: list[Decision] = []
        self.declared: set[Reason] = set()  # as the controller has it
        for name in names:
            self.take(self.watch.add(name, 0, LIMITS))

    def take(self, decisions: tuple[Decision, ...]) -> list[Decision]:
        """Carry out: a process started is ready at once, one killed is gone at once."""
        heard = list(decisions)
        self.heard += decisions
        for decision in decisions:
            if isinstance(decision, FaultHeld):
                assert decision.reason not in self.declared
                self.declared.add(decision.reason)
            if isinstance(decision, FaultCleared):
                self.declared.remove(decision.reason)
            if isinstance(decision, Kill) and decision.why in CAUSES:  # declared before
                assert self.watch.standing.holds(CAUSES[decision.why], decision.name)
            if isinstance(decision, Start):
                name, attempt = decision.name, decision.attempt
                self.attempt[name], self.beats[name] = attempt, 0
                self.hung.discard(name)
                heard += self.take(self.watch.started(name, attempt, 100 + attempt, self.now))
                if name in self.dead_on_arrival:
                    heard += self.take(self.watch.exited(name, attempt, self.now, code=1))
                else:
                    heard += self.take(self.watch.ready(name, attempt, self.now))
            if isinstance(decision, Kill) and decision.name not in self.immortal:
                heard += self.exit(decision.name, signal=9)
        return heard

    def exit(self, name: str, **how: Any) -> list[Decision]:
        return self.take(self.watch.exited(name, self.attempt[name], self.now, **how))

    def look(self, at_ns: int) -> list[Decision]:
        """Read the pages, then judge."""
        self.now = at_ns
        heard: list[Decision] = []
        for name, attempt in self.attempt.items():
            if name not in self.hung:
                self.beats[name] += 1
                heard += self.take(self.watch.beat(name, attempt, at_ns, self.beats[name], at_ns))
        return heard + self.take(self.watch.tick(at_ns))

    def run(self, until_ns: int) -> list[Decision]:
        heard: list[Decision] = []
        while self.now < until_ns:
            heard += self.look(min(self.watch.next_due_ns(), until_ns))
        return heard


def only(decisions: list[Decision], kind: type[Any]) -> Any:
    (found,) = [d for d in decisions if isinstance(d, kind)]
    return found


def faults(decisions: list[Decision]) -> list[Decision]:
    return [d for d in decisions if isinstance(d, FaultHeld | FaultCleared)]


def notes(decisions: list[Decision]) -> list[str]:
    return [d.kind for d in decisions if isinstance(d, Note)]


def quiet(name: str = "worker 0", policy: WatchPolicy = POLICY) -> Watch:
    """One process, ready at 0."""
    watch = Watch(policy)
    (start,) = watch.add(name, 0, LIMITS)
    assert start == Start(0, name, 1, "added")
    assert watch.started(name, 1, 100, 0) == watch.ready(name, 1, 0) == ()
    return watch


def looked(watch: Watch, start_ns: int, end_ns: int) -> list[Decision]:
    """Looks without beats, at every due time in between, and at the end."""
    heard: list[Decision] = []
    while (at := min(watch.next_due_ns(), end_ns)) < end_ns:
        assert at > start_ns
        heard += watch.tick(at)
    return heard + list(watch.tick(end_ns))
