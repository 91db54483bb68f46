"""Guard against a plain model: random traffic, commands and faults in any order."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from nsdata.fallback.controller import Moment, Outcome, Transition
from nsdata.fallback.drop_meter import DropMeter
from nsdata.fallback.guard import Guard
from nsdata.fallback.ledger import Fate, LedgerSnapshot, Why
from nsdata.fallback.reasons import FAULT_REASONS, Reason, State

TICK = 10**8
INTERVAL, WINDOW, MINIMUM = 10 * TICK, 30 * TICK, 5
faults = st.sampled_from(sorted(FAULT_REASONS, key=lambda r: r.rank))
kinds = st.sampled_from([Why.INSPECTED, Why.RULE_DROP, Why.OVERSUBSCRIBED, Why.OVERSUBSCRIBED])


class GuardMachine(RuleBasedStateMachine):
    """The model keeps every packet and judges each boundary from them alone."""

    @initialize(start=st.integers(0, 100), retry=st.sampled_from([None, 17 * TICK]))
    def begin(self, start: int, retry: int | None) -> None:
        self.now = start * TICK
        meter = DropMeter(WINDOW, INTERVAL, 0.9, MINIMUM)
        self.guard = Guard.build(meter, restore_after_ns=retry)
        self.events: list[tuple[int, Why]] = []
        self.packets = [0] * len(Why)
        self.record: list[Transition] = []
        self.origin = self.now  # where the window began anew
        self.checked = self.now
        self.standing: set[Reason] = set()
        self.guard.start(self.moment())

    def moment(self) -> Moment:
        total = sum(self.packets)
        ledger = LedgerSnapshot.from_counts(total, total, self.packets, self.packets)
        ledger.check()
        return Moment(self.now, total + 1, ledger, {1: self.packets[Why.RULE_DROP]})

    def over(self, at: int) -> bool:
        begin = max(self.origin, at - WINDOW)
        inside = [why for when, why in self.events if begin <= when < at]
        dropped = sum(why.fate in (Fate.BLOCKED, Fate.LOST) for why in inside)
        return len(inside) >= MINIMUM and Fraction(dropped, len(inside)) > Fraction(9, 10)

    def take(self, transitions: list[Transition], state: State) -> None:
        """Check a batch of transitions against the model, boundary by boundary."""
        due = list(transitions)
        at = self.checked
        while True:
            steps = (at - self.origin) // INTERVAL + 1
            at = self.origin + steps * INTERVAL
            while due and due[0].at_ns < at:  # timed restores and commands between boundaries
                state = self.apply(due.pop(0), state)
                if state is State.NORMAL:
                    at = min(at, self.origin + INTERVAL)
            if at > self.now:
                break
            steps, rest = divmod(at - self.origin, INTERVAL)
            if rest or steps < 1:
                continue
            tripped = state is State.NORMAL and self.over(at)
            entered = bool(due) and due[0].at_ns == at and due[0].reason is Reason.THRESHOLD
            entered = entered and due[0].outcome is Outcome.ENTERED
            assert tripped == entered, (at, tripped, due)
            before = self.origin
            while due and due[0].at_ns == at:
                state = self.apply(due.pop(0), state)
            if self.origin != before:
                at = self.origin
        for entry in due:
            state = self.apply(entry, state)
        self.checked = self.now
        assert state is self.guard.state

    def apply(self, entry: Transition, state: State) -> State:
        assert entry.from_state is state
        assert entry.sequence == len(self.record) + 1
        self.record.append(entry)
        if entry.outcome is Outcome.RESTORED:
            self.origin = entry.at_ns
            self.standing.clear()
        return entry.to_state

    @rule(ticks=st.integers(0, 45), arrived=st.lists(kinds, max_size=25))
    def traffic(self, ticks: int, arrived: list[Why]) -> None:
        """Packets at the present time, up to the next stop; then time goes on."""
        state = self.guard.state
        for why in arrived:
            fate = Why.FALLBACK if state is State.FALLBACK else why
            self.events.append((self.now, fate))
            self.packets[fate] += 1
        self.now += ticks * TICK
        self.take(self.guard.evaluate(self.moment()), state)

    @rule()
    def fallback(self) -> None:
        state = self.guard.state
        done = self.guard.fallback(self.moment())
        assert (done[-1].outcome is Outcome.ENTERED) == (state is State.NORMAL)
        self.take(done, state)

    @rule(force=st.booleans())
    def restore(self, force: bool) -> None:
        state = self.guard.state
        done = self.guard.restore(self.moment(), force=force)
        if state is State.NORMAL or (self.standing and not force):
            assert done[-1].refused
        elif force:
            assert done[-1].outcome is Outcome.RESTORED
        self.take(done, state)

    @rule(reason=faults)
    def fault(self, reason: Reason) -> None:
        state = self.guard.state
        done = self.guard.fault(reason, self.moment())
        self.take(done, state)
        self.standing.add(reason)
        assert self.guard.state is State.FALLBACK
        assert self.guard.controller.reason.rank <= reason.rank

    @rule(reason=faults)
    def clear(self, reason: Reason) -> None:
        state = self.guard.state
        self.take(self.guard.clear_fault(reason, self.moment()), state)
        self.standing.discard(reason)

    @invariant()
    def state_and_reason_agree(self) -> None:
        if hasattr(self, "guard") and self.guard.state is State.NORMAL:
            assert self.guard.controller.reason is Reason.NO_ERROR
            assert self.guard.controller.next_due_ns() is None
            assert not self.standing

    @invariant()
    def next_stop_lies_ahead(self) -> None:
        if hasattr(self, "guard"):
            assert self.guard.next_evaluation_ns() > self.now


TestGuardMachine = GuardMachine.TestCase
TestGuardMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

frames = st.lists(
    st.tuples(st.integers(0, 12), kinds), min_size=1, max_size=150
)  # time since the frame before, in ticks


def replayed(gaps: list[tuple[int, Why]], batch: int, command: int) -> list[dict[str, object]]:
    """A host: batches of at most `batch` frames, cut at the guard's stops and a command."""
    guard = Guard.build(
        DropMeter(WINDOW, INTERVAL, 0.9, MINIMUM), restore_after_ns=25 * TICK, capacity_pps=20.0
    )
    packets = [0] * len(Why)
    times, at = [], 0
    for gap, _ in gaps:
        at += gap * TICK
        times.append(at)

    def moment(frame: int) -> Moment:
        total = sum(packets)
        ledger = LedgerSnapshot.from_counts(total, total, packets, packets)
        return Moment(times[frame], frame + 1, ledger)

    out: list[Transition] = []
    guard.start(moment(0))
    frame = 0
    while frame < len(gaps):
        out += guard.evaluate(moment(frame))
        if frame == command:
            out += guard.fallback(moment(frame))
        stop = guard.next_evaluation_ns()
        end = min(frame + batch, len(gaps), command if frame < command else len(gaps))
        while frame < end and times[frame] < stop:
            why = Why.FALLBACK if guard.state is State.FALLBACK else gaps[frame][1]
            packets[why] += 1
            frame += 1
    return [entry.as_dict() for entry in out]


@settings(max_examples=200, deadline=None)
@given(frames, st.integers(1, 40), st.integers(0, 150))
def test_cutting_into_batches_changes_nothing(
    gaps: list[tuple[int, Why]], batch: int, command: int
) -> None:
    assert replayed(gaps, batch, command) == replayed(gaps, 10**6, command)
