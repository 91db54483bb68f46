"""All deciders of an appliance on one time line, and the hands that do what they decide.

    what is observed ─► Watch, Health ─► start, kill, fault ─┐
    the ledger       ─► Guard, Reentry ─► state, share ──────┤
    Measures         ─► Protection, Exposure ─► alerts, ─────┴─► Hands
                                                rules, segments

A running appliance has hands of processes and sockets, a scenario in virtual time has hands of its
own: both decide alike. Times are nanoseconds of the hands' clock and never run back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.decisions import Decision, FaultCleared, FaultHeld, Kill, Note, Start
from nsdata.fallback.exposure import Exposure, SetSegment
from nsdata.fallback.guard import Guard
from nsdata.fallback.health import Health
from nsdata.fallback.ledger import Count
from nsdata.fallback.protection import Protection, RuleCost, SetAlerts, SetRule
from nsdata.fallback.reasons import Reason, State
from nsdata.fallback.reentry import FallBackAgain, Reentry, SetShare, TryRestore
from nsdata.fallback.sensor import Reading
from nsdata.fallback.share import ALL
from nsdata.fallback.tiers import Tiers, entered
from nsdata.fallback.watch import Watch
from nsdata.fallback.watch_policy import ProcessLimits


class Measures(NamedTuple):
    """What the protections are decided by; all cumulative but `missing`."""

    costs: Mapping[int, RuleCost] = {}  # by sid
    suppressed: int = 0  # alerts that were not written, since they were suspended
    verified: Count = Count()  # packets of which rules were verified in full
    permitted_bytes: Mapping[str, int] = {}  # by segment, uninspected
    missing: int = 0  # workers that take no frames now


class Hands(Protocol):
    """What the deciders need done. None of these may wait."""

    def moment(self) -> Moment:
        """Now, with the counters of now."""

    def measures(self) -> Measures:
        """Costs, and what was not inspected, up to now."""

    def start(self, decision: Start) -> None:
        """Start a process; `watch.started` or `watch.not_started` follows."""

    def kill(self, decision: Kill) -> None:
        """Kill that attempt of a process; `watch.exited` follows."""

    def obey(self) -> None:
        """State, share or a segment's action changed: the port is to act by `Deciders.state`,
        `share` and `exposure.action`."""

    def protect(self) -> None:
        """The workers are to act by `Deciders.suspended` and `disabled`."""

    def transition(self, entry: Transition) -> None:
        """A change of state or reason, or a refusal, for the record."""

    def note(self, kind: str, subject: str, evidence: Mapping[str, Any]) -> None:
        """Something that changes no state, for the record."""

    def health(self, told: Mapping[str, Any]) -> None:
        """The level of the health score changed, for the record."""


class Deciders:
    """Guard (drop meter and controller), watch, re-entry, health score, protections and exposure
    of one appliance."""

    def __init__(
        self,
        hands: Hands,
        guard: Guard,
        watch: Watch,
        reentry: Reentry,
        health: Health,
        protection: Protection,
        exposure: Exposure,
    ) -> None:
        self.hands = hands
        self.guard = guard
        self.watch = watch
        self.reentry = reentry
        self.health = health
        self.protection = protection
        self.exposure = exposure
        self.tiers = Tiers()
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

    @property
    def suspended(self) -> bool:
        """Whether alerts are counted and not written."""
        return self.protection.alerts.until_ns is not None

    @property
    def disabled(self) -> list[int]:
        """The rules (sid) that are switched off, in the order they were."""
        return list(self.protection.rules.disabled)

    def start(self) -> None:
        """Begin: windows and durations count from now."""
        moment, measures = self.hands.moment(), self.hands.measures()
        self.guard.start(moment)
        self.protection.start(moment.now_ns, moment.ledger, measures.costs)

    def adopt(self, other: Deciders, limits: Mapping[str, ProcessLimits]) -> None:
        """The policies of `other` from now on, and these limits of processes; what has been
        observed, and the state, stay. Windows of the drop meter and of loss begin anew if they are
        others."""
        self.look()
        mine, theirs, moment = self.guard.meter, other.guard.meter, self.hands.moment()
        if mine.policy != theirs.policy:
            self.guard.adopt(theirs, moment)
        self.reentry.adopt(other.reentry)
        self.protection.adopt(other.protection, moment.now_ns, moment.ledger)
        self.exposure.adopt(other.exposure)
        self.health.policy = other.health.policy
        self.watch.policy = other.watch.policy
        for name, limit in limits.items():
            self.carry_out(self.watch.limit(name, limit, self.hands.moment().now_ns))

    def next_due_ns(self) -> int:
        """When to `look` again, at the latest. EngineError before the watch was told anything."""
        due = (
            self.watch.next_due_ns(),
            self.guard.next_evaluation_ns(),
            self.protection.next_due_ns(),
            self.reentry.next_due_ns(),
            self.exposure.next_due_ns(),
        )
        return min(at_ns for at_ns in due if at_ns is not None)

    # --- what is observed -------------------------------------------------------------------

    def look(self) -> None:
        """What time alone brings about, up to now; after what was seen has been told."""
        self.apply(self.guard.evaluate(self.hands.moment()))
        self.carry_out(self.reentry.tick(self.hands.moment(), self.guard.controller))
        self.carry_out(self.watch.tick(self.hands.moment().now_ns))
        self._protect()

    def _protect(self) -> None:
        """What gives way before a fallback, and what is not inspected; after the guard, so that a
        fallback counts from its beginning."""
        moment, measures = self.hands.moment(), self.hands.measures()
        now_ns, ledger = moment.now_ns, moment.ledger
        self.carry_out(self.protection.tick(now_ns, ledger, measures.costs, measures.suppressed))
        exposed = self.state is State.FALLBACK or self.share < ALL or measures.missing > 0
        self.carry_out(self.exposure.observe(now_ns, exposed, measures.permitted_bytes))
        self.tiers.observe(now_ns, entered(ledger, measures.verified))

    def reloaded(self) -> None:
        """Other rules have taken over: every one of them is on."""
        self.protection.rules.reloaded(self.hands.measures().costs)
        self.hands.protect()

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
                case SetAlerts():
                    self.hands.protect()
                    suspended = decision.until_ns is not None
                    what = "alerts suspended" if suspended else "alerts written again"
                    self.hands.note(what, "", decision.evidence)
                case SetRule():
                    self.hands.protect()
                    what = "rule enabled" if decision.enabled else "rule disabled"
                    self.hands.note(what, str(decision.rule), decision.evidence)
                case SetSegment():
                    self.hands.obey()
                    told = {"action": decision.action.value, "why": decision.why}
                    self.hands.note("segment", decision.segment, {**told, **decision.evidence})
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
