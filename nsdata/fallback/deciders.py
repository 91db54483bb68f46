"""All deciders of an appliance on one time line, and the hands that do what they decide.

    what is observed ─► Watch, Health ─► start, kill, fault ─┐
    the ledger       ─► Guard, Reentry ─► state, share ──────┴─► Hands

A running appliance has hands of processes and sockets, a scenario in virtual time has hands of its
own: both decide alike. Times are nanoseconds of the hands' clock and never run back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.decisions import Decision, FaultCleared, FaultHeld, Kill, Note, Start
from nsdata.fallback.guard import Guard
from nsdata.fallback.health import Health
from nsdata.fallback.reasons import Reason, State
from nsdata.fallback.reentry import FallBackAgain, Reentry, SetShare, TryRestore
from nsdata.fallback.sensor import Reading
from nsdata.fallback.watch import Watch
from nsdata.fallback.watch_policy import ProcessLimits


class Hands(Protocol):
    """What the deciders need done. None of these may wait."""

    def moment(self) -> Moment:
        """Now, with the counters of now."""

    def start(self, decision: Start) -> None:
        """Start a process; `watch.started` or `watch.not_started` follows."""

    def kill(self, decision: Kill) -> None:
        """Kill that attempt of a process; `watch.exited` follows."""

    def obey(self) -> None:
        """State or share changed: the port is to act by `Deciders.state` and `share`."""

    def transition(self, entry: Transition) -> None:
        """A change of state or reason, or a refusal, for the record."""

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """Something that changes no state, for the record."""

    def health(self, told: Mapping[str, Any]) -> None:
        """The level of the health score changed, for the record."""


class Deciders:
    """Guard (drop meter and controller), watch, re-entry and health score of one appliance."""

    def __init__(
        self, hands: Hands, guard: Guard, watch: Watch, reentry: Reentry, health: Health
    ) -> None:
        self.hands = hands
        self.guard = guard
        self.watch = watch
        self.reentry = reentry
        self.health = health
        self.health_told: dict[str, Any] = {}

    @property
    def state(self) -> State:
        return self.guard.state

    @property
    def reason(self) -> Reason:
        """The primary reason of the state."""
        return self.guard.controller.reason

    @property
    def share(self) -> int:
        """Of 65536: the flows that are inspected while the state is normal."""
        return self.reentry.threshold

    def start(self) -> None:
        """Begin: windows and durations count from now."""
        self.guard.start(self.hands.moment())

    def adopt(self, other: Deciders, limits: Mapping[str, ProcessLimits]) -> None:
        """The policies of `other` from now on, and these limits of processes; what has been
        observed, and the state, stay. A window of the drop meter begins anew if it is another."""
        self.look()
        mine, theirs = self.guard.meter, other.guard.meter
        if mine.policy != theirs.policy:
            self.guard.adopt(theirs, self.hands.moment())
        self.reentry.adopt(other.reentry)
        self.health.policy = other.health.policy
        self.watch.policy = other.watch.policy
        for name, limit in limits.items():
            self.carry_out(self.watch.limit(name, limit, self.hands.moment().now_ns))

    def next_due_ns(self) -> int:
        """When to `look` again, at the latest. EngineError before the watch was told anything."""
        due = (self.watch.next_due_ns(), self.guard.next_evaluation_ns())
        entry = self.reentry.next_due_ns()
        return min(due) if entry is None else min(*due, entry)

    # --- what is observed -------------------------------------------------------------------

    def look(self) -> None:
        """What time alone brings about, up to now; after what was seen has been told."""
        self.apply(self.guard.evaluate(self.hands.moment()))
        self.carry_out(self.reentry.tick(self.hands.moment(), self.guard.controller))
        self.carry_out(self.watch.tick(self.hands.moment().now_ns))

    def read_sensors(
        self, readings: Iterable[Reading], now_ns: int, *, forget: bool = False
    ) -> None:
        """The health score of these readings.

        `forget`: sensors that are not among them are expected no more (other settings).
        """
        readings = list(readings)
        if forget:
            self.health.keep({reading.name for reading in readings})
        report = self.health.evaluate(readings, now_ns)
        level = self.health_told.get("level")
        self.health_told = report.as_dict()
        if self.health_told["level"] != level:
            self.hands.health(self.health_told)
        if report.entered:
            self.fault(Reason.HEALTH, report.evidence())
        elif report.cleared:
            self.clear(Reason.HEALTH, report.evidence())

    def fault(self, reason: Reason, evidence: Mapping[str, Any]) -> None:
        """A fault holds from now on."""
        self.apply(self.guard.fault(reason, self.hands.moment(), evidence))
        self.hands.note(f"{reason.value} holds", "", evidence)

    def clear(self, reason: Reason, evidence: Mapping[str, Any]) -> None:
        """A fault holds no longer."""
        self.apply(self.guard.clear_fault(reason, self.hands.moment()))
        self.hands.note(f"{reason.value} is over", "", evidence)

    def fallback(self, note: str = "") -> list[Transition]:
        """Into fallback by hand; what became of it."""
        return self.apply(self.guard.fallback(self.hands.moment(), note))

    def restore(self, *, force: bool = False) -> list[Transition]:
        """Back to normal by hand, refused while a cause holds unless forced; what became of it."""
        return self.apply(self.guard.restore(self.hands.moment(), force=force))

    # --- what is decided --------------------------------------------------------------------

    def carry_out(self, decisions: Iterable[Decision]) -> None:
        """In order: what is decided may lead to more."""
        for decision in decisions:
            match decision:
                case Start():
                    self.hands.start(decision)
                case Kill():
                    self.hands.kill(decision)
                case FaultHeld():
                    self.fault(decision.reason, decision.evidence)
                case FaultCleared():
                    self.clear(decision.reason, decision.evidence)
                case SetShare():
                    self.hands.obey()
                    self.hands.note("share", "port", decision.evidence)
                case TryRestore():
                    moment = self.hands.moment()
                    self.apply(self.guard.restore_automatically(moment, decision.evidence))
                case FallBackAgain():
                    moment = self.hands.moment()
                    self.apply(self.guard.judge(decision.reading, moment, decision.evidence))
                case Note():
                    self.hands.note(decision.kind, decision.subject, decision.evidence)

    def apply(self, transitions: list[Transition]) -> list[Transition]:
        """New states: to the port first, then on the record."""
        for transition in transitions:
            more = self.reentry.on_transition(transition, self.hands.moment())
            if transition.from_state is not transition.to_state:
                self.hands.obey()
                if transition.to_state is State.NORMAL:
                    self.carry_out(self.watch.restored(self.hands.moment().now_ns))
            self.hands.transition(transition)
            self.carry_out(more)
        return transitions
