"""Coming back: the share of flows, automatic restore, graduated re-entry."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.errors import SettingError
from nsdata.fallback.controller import Moment, Outcome, Transition, Trigger
from nsdata.fallback.decisions import Decision, Note
from nsdata.fallback.guard import Guard
from nsdata.fallback.ledger import Count, LedgerSnapshot, Why
from nsdata.fallback.reasons import Reason, State
from nsdata.fallback.reentry import (
    FallBackAgain,
    Graduated,
    Reentry,
    ReentryPolicy,
    SetShare,
    TryRestore,
)
from nsdata.fallback.share import ALL, MAX_STEPS, Step, check_steps, inside, of_share, threshold_of

SECOND = 10**9
H = 100 * SECOND
AUTO = ReentryPolicy(automatic=True, wait_ns=H, wait_max_ns=350 * SECOND, max_attempts=4)


class Box:
    """Guard, re-entry and a host that steps from due to due."""

    def __init__(self, policy: ReentryPolicy = AUTO) -> None:
        self.guard = Guard.build()
        self.reentry = Reentry(policy)
        self.packets = [0] * len(Why)
        self.now = 0
        self.loss = False  # what is inspected is lost
        self.pps = 10_000
        self.record: list[Transition] = []
        self.heard: list[Decision] = []
        self.guard.start(self.moment())

    def moment(self) -> Moment:
        total = sum(self.packets)
        sizes = [100 * n for n in self.packets]
        ledger = LedgerSnapshot.from_counts(total, 100 * total, self.packets, sizes)
        return Moment(self.now, total + 1, ledger)

    def tell(self, transitions: list[Transition]) -> list[Decision]:
        heard: list[Decision] = []
        for entry in transitions:
            self.record.append(entry)
            heard += self.reentry.on_transition(entry, self.moment())
        self.heard += heard
        return heard

    def look(self) -> list[Decision]:
        """What is due now, carried out."""
        heard = self.tell(self.guard.evaluate(self.moment()))
        decided = self.reentry.tick(self.moment(), self.guard.controller)
        self.heard += decided
        heard += decided
        for decision in decided:
            if isinstance(decision, TryRestore):
                done = self.guard.restore_automatically(self.moment(), decision.evidence)
                heard += self.tell(done)
            if isinstance(decision, FallBackAgain):
                done = self.guard.judge(decision.reading, self.moment(), decision.evidence)
                heard += self.tell(done)
        return heard

    def run(self, until_ns: int) -> list[Decision]:
        heard: list[Decision] = []
        while self.now < until_ns:
            due = self.reentry.next_due_ns()
            step = min(until_ns, self.guard.next_evaluation_ns())
            then = step if due is None else max(self.now, min(step, due))
            came = self.pps * (then - self.now) // SECOND
            if self.guard.state is State.FALLBACK:
                self.packets[Why.FALLBACK] += came
            else:
                share = came * self.reentry.threshold // ALL
                self.packets[Why.SHARE] += came - share
                self.packets[Why.OVERSUBSCRIBED if self.loss else Why.INSPECTED] += share
            self.now = then
            heard += self.look()
        return heard

    def fault(self, reason: Reason = Reason.HEARTBEAT) -> list[Decision]:
        return self.tell(self.guard.fault(reason, self.moment(), {"process": "worker 0"}))

    def clear(self, reason: Reason = Reason.HEARTBEAT) -> list[Decision]:
        return self.tell(self.guard.clear_fault(reason, self.moment())) + self.look()

    def restore(self, force: bool = False) -> list[Decision]:
        return self.tell(self.guard.restore(self.moment(), force=force))

    @property
    def state(self) -> State:
        return self.guard.state


def of_kind(decisions: list[Decision], kind: type[Any]) -> list[Any]:
    return [d for d in decisions if isinstance(d, kind)]


def notes(decisions: list[Decision]) -> list[str]:
    return [note.kind for note in of_kind(decisions, Note)]


# --- the share --------------------------------------------------------------------------

hashes = st.integers(0, 2**32 - 1)
percents = st.fractions(Fraction(1, 10**6), 100)


@given(hashes, st.integers(0, ALL), st.integers(0, ALL))
def test_what_is_inside_stays_inside_as_the_share_grows(flow: int, a: int, b: int) -> None:
    low, high = sorted((a, b))
    assert inside(flow, low) <= inside(flow, high)
    assert inside(flow, ALL) and not inside(flow, 0)


@given(st.integers(0, ALL))
def test_a_threshold_takes_in_exactly_its_part_of_all_hashes(threshold: int) -> None:
    assert sum(inside(h << 16, threshold) for h in range(ALL)) == threshold


@given(hashes, st.integers(0, 0xFFFF), st.integers(0, ALL))
def test_the_lower_half_of_the_hash_has_no_say(flow: int, low: int, threshold: int) -> None:
    assert inside(flow, threshold) is inside((flow & 0xFFFF0000) | low, threshold)


@given(percents, percents)
def test_thresholds_grow_with_the_share_and_are_never_too_small(a: Fraction, b: Fraction) -> None:
    low, high = sorted((a, b))
    assert 1 <= threshold_of(low) <= threshold_of(high) <= ALL
    assert Fraction(threshold_of(a), ALL) >= a / 100 > Fraction(threshold_of(a) - 1, ALL)


def test_thresholds_of_the_default_steps() -> None:
    assert [step.threshold for step in ReentryPolicy().steps] == [656, 6554, ALL]
    assert [step.text for step in ReentryPolicy().steps] == ["1%:1m", "10%:1m", "100%:1m"]


@pytest.mark.parametrize(
    "text", ["1%", "1:60s", "0%:60s", "101%:60s", "1%:0s", "1%:x", "x%:1s", "1.5%%:1s", ""]
)
def test_a_step_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"step .*legal: "):
        Step.parse(text)


@given(st.sampled_from(["0.5", "1", "33.25", "100"]), st.integers(1, 10**12))
def test_steps_read_what_they_write(percent: str, duration_ns: int) -> None:
    step = Step(Fraction(percent), duration_ns)
    assert Step.parse(step.text) == step


def steps_of(*texts: str) -> tuple[Step, ...]:
    return tuple(map(Step.parse, texts))


@pytest.mark.parametrize(
    "texts",
    [(), ("10%:1s",), ("10%:1s", "10%:1s", "100%:1s"), ("50%:1s", "10%:1s", "100%:1s")],
)
def test_steps_must_grow_and_end_with_all(texts: tuple[str, ...]) -> None:
    with pytest.raises(SettingError, match="must grow and end with 100%"):
        check_steps(steps_of(*texts))


def test_there_are_at_most_so_many_steps() -> None:
    most = (*(f"{n}%:1s" for n in range(1, MAX_STEPS)), "100%:1s")
    assert len(check_steps(steps_of(*most))) == MAX_STEPS
    with pytest.raises(SettingError, match="at most 16"):
        check_steps(steps_of("0.5%:1s", *most))


@given(st.lists(st.integers(0, 1000), min_size=len(Why), max_size=len(Why)))
def test_the_ledger_of_the_share_balances_without_the_rest(packets: list[int]) -> None:
    total = sum(packets)
    share = of_share(LedgerSnapshot.from_counts(total, total, packets, packets))
    share.check()
    out = packets[Why.SHARE] + packets[Why.FALLBACK] + packets[Why.FALLBACK_BLOCK]
    assert share.received.packets == total - out
    assert share.why(Why.SHARE) == share.why(Why.FALLBACK) == Count()
    assert share.lost.packets == packets[Why.OVERSUBSCRIBED] + packets[Why.PORT]


# --- automatic restore --------------------------------------------------------------------


def test_off_by_default() -> None:
    box = Box(ReentryPolicy())
    box.fault()
    box.clear()
    assert box.run(1000 * SECOND) == []
    assert box.state is State.FALLBACK and box.reentry.next_due_ns() is None


def test_tried_when_the_causes_are_gone_for_the_wait_to_the_nanosecond() -> None:
    box = Box()
    box.run(SECOND)
    box.fault()
    assert of_kind(box.run(1000 * SECOND), TryRestore) == []
    box.clear()
    gone = box.now
    assert box.reentry.next_due_ns() == gone + H
    box.run(gone + H - 1)
    assert box.state is State.FALLBACK
    (tried,) = of_kind(box.run(gone + H), TryRestore)
    assert box.state is State.NORMAL
    restored = box.record[-1]
    assert (restored.outcome, restored.trigger) == (Outcome.RESTORED, Trigger.AUTOMATIC)
    assert restored.evidence["given"] == tried.evidence
    assert tried.evidence["automatic_restore"] == {
        "attempt": 1,
        "of": 4,
        "failures": 0,
        "causes_gone_since_ns": gone,
        "wait_ns": H,
    }
    json.dumps([d.as_dict() for d in box.heard])


def test_a_cause_that_comes_again_begins_the_wait_anew() -> None:
    box = Box()
    box.fault()
    box.clear()
    box.run(H - 1)
    box.fault(Reason.MEMORY)
    box.look()
    box.run(H + 50 * SECOND)
    box.clear(Reason.MEMORY)
    assert box.reentry.next_due_ns() == box.now + H


def failing(box: Box, times: int) -> list[int]:
    """Waits of so many attempts, each of which fails in its re-entry."""
    waits = []
    box.fault()
    for _ in range(times):
        box.clear()
        gone = box.now
        box.run(gone + box.reentry.wait_ns)
        assert box.state is State.NORMAL
        waits.append(box.now - gone)
        box.run(box.now + SECOND)
        box.fault()
    return waits


def test_failures_double_the_wait_up_to_the_longest_and_then_a_person_has_to_act() -> None:
    box = Box()
    assert failing(box, 4) == [H, 2 * H, 350 * SECOND, 350 * SECOND]
    assert notes(box.heard)[-2:] == ["re-entry failed", "automatic restore gave up"]
    box.clear()
    assert of_kind(box.run(box.now + 10 * H), TryRestore) == []  # a person has to act
    assert box.reentry.next_due_ns() is None
    box.restore()
    assert box.state is State.NORMAL and box.reentry.wait_ns == H
    box.run(box.now + SECOND)
    assert failing(box, 1) == [H]


def test_a_re_entry_that_is_done_forgets_the_failures() -> None:
    box = Box()
    failing(box, 3)
    box.clear()
    box.run(box.now + box.reentry.wait_ns)
    assert notes(box.run(box.now + 180 * SECOND)) == ["re-entered"]
    assert (box.reentry.failures, box.reentry.attempts) == (0, 0)


def test_by_hand_means_by_hand() -> None:
    box = Box()
    box.tell(box.guard.fallback(box.moment(), "maintenance"))
    assert box.run(10 * H) == []
    assert box.state is State.FALLBACK and box.reentry.status()["by_hand"] is True
    box.restore()
    assert box.state is State.NORMAL
    box.fault()
    box.tell(box.guard.fallback(box.moment()))  # refused, it is in fallback: it is to stay there
    assert box.record[-1].refused
    box.clear()
    assert of_kind(box.run(box.now + 10 * H), TryRestore) == []


def test_a_refused_attempt_counts_as_failed() -> None:
    box = Box()
    box.fault()
    box.clear()
    box.run(H - 1)
    box.now = H
    decided = box.reentry.tick(box.moment(), box.guard.controller)
    assert len(of_kind(list(decided), TryRestore)) == 1
    assert box.reentry.tick(box.moment(), box.guard.controller) == ()  # asked once
    box.fault()  # in between
    heard = box.tell(box.guard.restore_automatically(box.moment(), {}))
    assert box.record[-1].refused and notes(heard) == ["re-entry failed"]
    assert box.reentry.wait_ns == 2 * H


# --- graduated re-entry ---------------------------------------------------------------------


def restored_automatically(policy: ReentryPolicy = AUTO) -> Box:
    box = Box(policy)
    box.fault()
    box.clear()
    box.run(policy.wait_ns)
    assert box.state is State.NORMAL
    return box


def test_the_share_grows_step_by_step() -> None:
    box = restored_automatically()
    start = box.now
    assert box.reentry.threshold == 656
    heard = box.run(start + 60 * SECOND - 1)
    assert of_kind(heard, SetShare) == [] and box.reentry.threshold == 656
    box.run(start + 60 * SECOND)
    assert box.reentry.threshold == 6554
    heard = box.run(start + 179 * SECOND)
    assert box.reentry.threshold == ALL and notes(heard) == []
    (note,) = of_kind(box.run(start + 180 * SECOND), Note)
    assert note.kind == "re-entered" and box.reentry.next_due_ns() is None
    shares = of_kind(box.heard, SetShare)
    assert [(s.at_ns - start, s.threshold) for s in shares] == [
        (0, 656),
        (60 * SECOND, 6554),
        (120 * SECOND, ALL),
    ]
    told = note.evidence["steps"]
    assert [step["step"] for step in told] == ["1%:1m", "10%:1m", "100%:1m"]
    assert [step["received"] for step in told] == pytest.approx([6000, 60_000, 600_000], rel=0.1)
    assert all(step["ratio"] == 0 and 50 < step["readings_judged"] <= 60 for step in told)


def test_a_drop_ratio_over_the_threshold_in_the_share_falls_back_again() -> None:
    """Among all packets it would be 1 %: no other meter sees it."""
    box = restored_automatically()
    start = box.now
    box.loss = True
    heard = box.run(start + 10 * SECOND)
    (again,) = of_kind(heard, FallBackAgain)
    assert box.state is State.FALLBACK
    entered = box.record[-1]
    assert (entered.outcome, entered.reason) == (Outcome.ENTERED, Reason.THRESHOLD)
    assert entered.evidence["ratio"] == 1.0
    assert entered.evidence["given"]["reentry"]["step"] == 1
    assert entered.evidence["given"]["reentry"]["drop_threshold"] == 0.9
    assert notes(heard) == ["re-entry failed"]
    assert box.reentry.wait_ns == 2 * H
    assert again.at_ns - start <= 5 * SECOND
    assert "reading" not in again.as_dict()
    json.dumps([d.as_dict() for d in heard])


def test_a_share_too_small_to_judge_says_so() -> None:
    box = restored_automatically()
    box.pps = 100
    box.loss = True
    box.run(box.now + 60 * SECOND)
    assert box.state is State.NORMAL
    share = of_kind(box.heard, SetShare)[-1]
    assert share.evidence["reentry"]["done"][0]["readings_judged"] == 0


@given(st.integers(0, 180 * SECOND - 1))
@settings(max_examples=30, deadline=None)
def test_any_fault_during_re_entry_falls_back_at_once_and_doubles_the_wait(after: int) -> None:
    box = restored_automatically()
    box.run(box.now + after)
    heard = box.fault(Reason.PROCESS)
    assert box.state is State.FALLBACK
    (note,) = of_kind(heard, Note)
    assert note.kind == "re-entry failed" and note.evidence["reason"] == "process error"
    assert note.evidence["next_wait_ns"] == box.reentry.wait_ns == 2 * H


def test_a_fault_after_re_entry_is_a_new_one() -> None:
    box = restored_automatically()
    box.run(box.now + 180 * SECOND)
    assert box.fault() == [] and box.reentry.wait_ns == H


@pytest.mark.parametrize(
    ("graduated", "by_hand", "threshold"),
    [
        (Graduated.OFF, True, ALL),
        (Graduated.OFF, False, ALL),
        (Graduated.AUTOMATIC, True, ALL),
        (Graduated.AUTOMATIC, False, 656),
        (Graduated.ALWAYS, True, 656),
        (Graduated.ALWAYS, False, 656),
    ],
)
def test_which_restores_are_graduated(graduated: Graduated, by_hand: bool, threshold: int) -> None:
    box = Box(ReentryPolicy(automatic=True, wait_ns=H, graduated=graduated))
    box.fault()
    box.clear()
    if by_hand:
        box.restore()
    else:
        box.run(H)
    assert box.state is State.NORMAL and box.reentry.threshold == threshold


def test_an_automatic_restore_that_is_not_graduated_still_has_to_prove_itself() -> None:
    policy = ReentryPolicy(automatic=True, wait_ns=H, graduated=Graduated.OFF)
    box = restored_automatically(policy)
    box.run(box.now + 59 * SECOND)
    assert notes(box.fault()) == ["re-entry failed"]
    box = restored_automatically(policy)
    assert notes(box.run(box.now + 60 * SECOND)) == ["re-entered"]


def test_fallback_by_hand_during_re_entry_is_no_failure() -> None:
    box = restored_automatically()
    box.run(box.now + SECOND)
    heard = box.tell(box.guard.fallback(box.moment()))
    assert notes(heard) == ["re-entry ended by hand"] and box.reentry.failures == 0


def test_a_reading_at_the_end_of_a_step_comes_before_the_step() -> None:
    """The step is not a whole number of intervals long: its rest is judged too."""
    policy = ReentryPolicy(automatic=True, wait_ns=H, steps=steps_of("10%:1500ms", "100%:10s"))
    box = restored_automatically(policy)
    start = box.now
    box.run(start + SECOND)
    box.loss = True
    box.packets[Why.OVERSUBSCRIBED] += 100_000
    heard = box.run(start + 1500 * 10**6)
    assert len(of_kind(heard, FallBackAgain)) == 1
    assert of_kind(heard, SetShare) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["run", "run", "fault", "clear", "hand", "restore", "force", "loss"]),
            st.integers(1, 200),
        ),
        max_size=25,
    )
)
@settings(max_examples=50, deadline=None)
def test_any_order_of_events(play: list[tuple[str, int]]) -> None:
    def played() -> tuple[str, Box]:
        box = Box(ReentryPolicy(automatic=True, wait_ns=30 * SECOND, max_attempts=2))
        for what, seconds in play:
            if what == "run":
                box.run(box.now + seconds * SECOND)
            elif what == "fault":
                box.fault()
            elif what == "clear":
                box.clear()
            elif what == "hand":
                box.tell(box.guard.fallback(box.moment()))
            elif what in ("restore", "force"):
                box.restore(force=what == "force")
            else:
                box.loss = not box.loss
            due = box.reentry.next_due_ns()
            assert due is None or due > box.now or box.state is State.FALLBACK
            assert box.reentry.attempts <= 2
            json.dumps(box.reentry.status())
        return json.dumps([d.as_dict() for d in box.heard]), box

    once, box = played()
    assert once == played()[0]
    hand = False
    for entry in box.record:  # nothing but a person undoes what a person did
        if entry.outcome is Outcome.RESTORED:
            assert entry.trigger is Trigger.MANUAL or not hand
            hand = False
        elif "by hand" in entry.input:
            hand = hand or entry.input == "fallback by hand"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"wait_ns": 0}, r"restore\.wait 0ns"),
        ({"wait_max_ns": SECOND}, r"restore\.wait-max 1s must not be shorter than restore\.wait"),
        ({"max_attempts": 0}, r"restore\.max-attempts 0"),
        ({"steps": ()}, "must grow and end"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        ReentryPolicy(**wrong)
