from __future__ import annotations

import json
from itertools import product

import pytest

from nsdata.errors import EngineError, SettingError
from nsdata.fallback.controller import (
    STATE_TABLE,
    Controller,
    Input,
    Moment,
    Outcome,
    Transition,
    Trigger,
    When,
)
from nsdata.fallback.drop_meter import DropMeter
from nsdata.fallback.guard import Guard
from nsdata.fallback.ledger import LedgerSnapshot, Why
from nsdata.fallback.reasons import FAULT_REASONS, Reason, Severity, State

SECOND = 10**9


class Box:
    """A guard and cumulative counters, moved on by hand."""

    def __init__(self, **options: float) -> None:
        self.guard = Guard.build(DropMeter(), **options)  # type: ignore[arg-type]
        self.packets = [0] * len(Why)
        self.rules: dict[int, int] = {}
        self.now = 0
        self.guard.start(self.moment())

    def moment(self) -> Moment:
        total = sum(self.packets)
        ledger = LedgerSnapshot.from_counts(
            total, 100 * total, self.packets, [100 * n for n in self.packets]
        )
        return Moment(self.now, total + 1, ledger, dict(self.rules))

    def second(self, inspected: int = 0, blocked: int = 0, lost: int = 0) -> list[Transition]:
        """One second of traffic, then what is due."""
        if self.guard.state is State.FALLBACK:
            self.packets[Why.FALLBACK] += inspected + blocked + lost
        else:
            self.packets[Why.INSPECTED] += inspected
            self.packets[Why.RULE_DROP] += blocked
            self.packets[Why.OVERSUBSCRIBED] += lost
            if blocked:
                self.rules[2001] = self.rules.get(2001, 0) + blocked
        self.now += SECOND
        return self.guard.evaluate(self.moment())


def test_table_is_total_and_unambiguous() -> None:
    for state, event in product(State, Input):
        rows = [row for row in STATE_TABLE if (row.state, row.input) == (state, event)]
        conditions = sorted(row.when for row in rows)
        assert conditions in (
            [When.ALWAYS],
            sorted([When.OUTRANKS, When.NEW, When.KNOWN]),
            sorted([When.CAUSE_GONE, When.CAUSE_HOLDS]),
        ), (state, event)
    for row in STATE_TABLE:
        changes = row.outcome in (Outcome.ENTERED, Outcome.RESTORED)
        assert changes == (row.state is not row.to)


def test_threshold_falls_back_with_evidence() -> None:
    box = Box()
    assert box.second(inspected=150, lost=850) == []  # 85 %: a near miss
    (entry,) = box.second(inspected=10, blocked=40, lost=9950)
    assert (entry.from_state, entry.to_state) == (State.NORMAL, State.FALLBACK)
    assert (entry.reason, entry.severity) == (Reason.THRESHOLD, Severity.CRITICAL)
    assert entry.trigger is Trigger.AUTOMATIC
    assert (entry.at_ns, entry.at_packet) == (2 * SECOND, 11001)
    evidence = entry.evidence
    assert evidence["window"] == {"start_ns": 0, "end_ns": 2 * SECOND, "length_ns": 2 * SECOND}
    assert evidence["counters"] == {
        "received": 11000,
        "inspected": 160,
        "bypassed": 0,
        "blocked": 40,
        "lost": 10800,
        "dropped": 10840,
    }
    assert evidence["ratio"] == round(10840 / 11000, 6)
    assert evidence["attribution"] == "over-subscription"
    assert evidence["top_rules"] == [{"rule": 2001, "packets": 40, "share": round(40 / 10840, 6)}]
    assert evidence["near_misses"] == {
        "count": 1,
        "highest_ratio": 0.85,
        "at_ns": SECOND,
        "margin": 0.05,
    }
    assert evidence["previous"]["duration_ns"] == 2 * SECOND
    assert json.loads(json.dumps(entry.as_dict()))["reason"] == "threshold error"


def test_restore_after_over_subscription_waits_for_the_load_to_fall() -> None:
    box = Box()
    box.second(inspected=100, lost=9900)
    assert box.guard.state is State.FALLBACK
    for _ in range(5):
        assert box.second(inspected=5000) == []
    (refused,) = box.guard.restore(box.moment())
    assert refused.refused and box.guard.state is State.FALLBACK
    assert refused.reason is Reason.THRESHOLD
    assert refused.evidence["recheck"]["holds"] is True
    assert refused.evidence["recheck"]["offered_pps"] == 5000
    assert refused.evidence["recheck"]["capacity_pps"] == 100
    assert refused.evidence["recheck"]["capacity_source"] == "measured"
    for _ in range(5):
        box.second(inspected=100)
    (restored,) = box.guard.restore(box.moment())
    assert restored.outcome is Outcome.RESTORED
    assert (box.guard.state, restored.reason) == (State.NORMAL, Reason.NO_ERROR)
    assert restored.trigger is Trigger.MANUAL
    assert restored.evidence["permitted_uninspected"] == {
        "packets": 25_500,
        "bytes": 2_550_000,
    }
    assert restored.evidence["previous"]["duration_ns"] == 10 * SECOND


def test_stated_capacity_is_what_the_load_is_held_against() -> None:
    box = Box(capacity_pps=6000.0)
    box.second(inspected=100, lost=9900)
    for _ in range(5):
        box.second(inspected=5000)
    (restored,) = box.guard.restore(box.moment())
    assert restored.outcome is Outcome.RESTORED
    assert restored.evidence["recheck"]["capacity_source"] == "stated"


def test_force_overrides_and_says_so() -> None:
    box = Box()
    box.second(inspected=100, lost=9900)
    (forced,) = box.guard.restore(box.moment(), force=True)
    assert forced.outcome is Outcome.RESTORED
    assert forced.evidence["recheck"]["overridden"] is True


def test_restore_after_over_tuning_is_granted_and_old_drops_do_not_trip_again() -> None:
    box = Box()
    (entry,) = box.second(inspected=10, blocked=990)
    assert entry.evidence["attribution"] == "over-tuning"
    (restored,) = box.guard.restore(box.moment())
    assert restored.outcome is Outcome.RESTORED
    assert box.second(inspected=300) == []  # with the old window it would be 76 %: too easy
    (entry,) = box.second(blocked=9900)
    assert entry.evidence["window"]["start_ns"] == SECOND
    box.guard.restore(box.moment())
    assert box.second(inspected=200) == []  # 9900 of 11400 would still be near
    assert box.guard.meter.last is not None
    assert box.guard.meter.last.dropped == 0


def test_manual_fallback_and_refusals_are_on_record() -> None:
    box = Box()
    (entry,) = box.guard.fallback(box.moment(), note="maintenance")
    assert (entry.reason, entry.severity) == (Reason.NO_ERROR, Severity.INFO)
    assert entry.evidence["given"] == {"note": "maintenance"}
    (again,) = box.guard.fallback(box.moment())
    assert again.refused and again.evidence["recheck"]["why"] == "already in fallback"
    (restored,) = box.guard.restore(box.moment())
    assert restored.outcome is Outcome.RESTORED
    (needless,) = box.guard.restore(box.moment())
    assert needless.refused and needless.evidence["recheck"]["why"] == "already normal"
    record = box.guard.controller.transitions
    assert [entry.sequence for entry in record] == [1, 2, 3, 4]


def test_restore_after_a_set_time() -> None:
    box = Box(restore_after_ns=int(2.5 * SECOND))
    box.second(inspected=100, lost=9900)
    assert box.guard.next_evaluation_ns() == 2 * SECOND
    assert box.second(inspected=5000) == []
    assert box.second(inspected=5000) == []
    assert box.guard.next_evaluation_ns() == int(3.5 * SECOND)
    (refused,) = box.second(inspected=5000)
    assert (refused.outcome, refused.at_ns) == (Outcome.REFUSED, int(3.5 * SECOND))
    assert (refused.input, refused.trigger) == (Input.TIMED_RESTORE, Trigger.AUTOMATIC)
    later = [entry for _ in range(8) for entry in box.second()]
    assert [entry.outcome for entry in later] == [
        Outcome.REFUSED,  # the window still holds the load of before
        Outcome.REFUSED,
        Outcome.RESTORED,
    ]
    assert [entry.at_ns for entry in later] == [n * SECOND // 2 for n in (12, 17, 22)]


def test_timed_restore_in_the_middle_of_a_long_silence() -> None:
    box = Box(restore_after_ns=3600 * SECOND + 7)
    box.second(inspected=10, blocked=990)
    box.now = 86_400 * SECOND
    (restored,) = box.guard.evaluate(box.moment())
    assert restored.at_ns == SECOND + 3600 * SECOND + 7
    assert box.guard.next_evaluation_ns() > box.now


def test_which_reason_wins() -> None:
    box = Box()
    (entry,) = box.guard.fault(Reason.HEALTH, box.moment(), {"score": 3})
    assert (entry.outcome, entry.reason) == (Outcome.ENTERED, Reason.HEALTH)
    assert entry.evidence["given"] == {"score": 3}
    (added,) = box.guard.fault(Reason.UNKNOWN, box.moment())
    assert (added.outcome, added.reason) == (Outcome.REASON_ADDED, Reason.UNKNOWN)
    assert box.guard.controller.reason is Reason.HEALTH
    (changed,) = box.guard.fault(Reason.FPGA, box.moment())
    assert (changed.outcome, changed.reason) == (Outcome.REASON_CHANGED, Reason.FPGA)
    assert changed.evidence["also_holding"] == ["low health score error", "unknown"]
    assert box.guard.fault(Reason.HEALTH, box.moment()) == []
    for reason in (Reason.FPGA, Reason.HEALTH):
        assert box.guard.clear_fault(reason, box.moment()) == []
    (refused,) = box.guard.restore(box.moment())
    assert refused.refused and "unknown" in refused.evidence["recheck"]["why"]
    box.guard.clear_fault(Reason.UNKNOWN, box.moment())
    (restored,) = box.guard.restore(box.moment())
    assert restored.outcome is Outcome.RESTORED


@pytest.mark.parametrize("reason", sorted(FAULT_REASONS, key=lambda r: r.rank))
def test_every_fault_enters(reason: Reason) -> None:
    box = Box()
    (entry,) = box.guard.fault(reason, box.moment())
    assert (entry.reason, entry.severity) == (reason, reason.about.severity)
    assert (entry.cause, entry.resolution) == (reason.about.cause, reason.about.resolution)


@pytest.mark.parametrize("reason", [Reason.NO_ERROR, Reason.THRESHOLD])
def test_what_is_no_fault_cannot_be_reported(reason: Reason) -> None:
    box = Box()
    with pytest.raises(EngineError, match="not a fault"):
        box.guard.fault(reason, box.moment())


def test_fault_on_top_of_a_threshold_error_keeps_both_checks() -> None:
    box = Box()
    box.second(inspected=100, lost=9900)
    (changed,) = box.guard.fault(Reason.PROCESS, box.moment())
    assert changed.outcome is Outcome.REASON_CHANGED
    assert changed.evidence["also_holding"] == ["threshold error"]
    box.guard.clear_fault(Reason.PROCESS, box.moment())
    (refused,) = box.guard.restore(box.moment())
    assert refused.refused and "over-subscribed" in refused.evidence["recheck"]["why"]


def test_restore_after_must_be_longer_than_nothing() -> None:
    with pytest.raises(SettingError, match="restore-after"):
        Controller(DropMeter(), restore_after_ns=0)
