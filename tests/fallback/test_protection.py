"""What gives way before fallback: alerts, costly rules, best effort; and the tiers' figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.errors import EngineError, LedgerError, SettingError
from nsdata.fallback import tiers
from nsdata.fallback.decisions import Decision, Note
from nsdata.fallback.ledger import Count, LedgerSnapshot, Why
from nsdata.fallback.protection import (
    KEPT_RULES,
    NAMED_A_WINDOW,
    Adaptive,
    BestEffort,
    Protection,
    ProtectionPolicy,
    RuleCost,
    SetAlerts,
    SetRule,
)

US, SECOND = 10**3, 10**9
WINDOW = 5 * SECOND


def ledger_of(received: int, lost: int, blocked: int = 0) -> LedgerSnapshot:
    packets = [0] * len(Why)
    packets[Why.OVERSUBSCRIBED] = lost
    packets[Why.RULE_DROP] = blocked
    packets[Why.INSPECTED] = received - lost - blocked
    return LedgerSnapshot.from_counts(received, received, packets, packets)


class Box:
    """Protections and cumulative counters; one call is one window."""

    def __init__(self, **policy: Any) -> None:
        self.protection = Protection(ProtectionPolicy(**policy))
        self.now = self.received = self.lost = self.blocked = self.suppressed = 0
        self.costs: dict[int, RuleCost] = {}
        self.protection.start(0, self.ledger())

    def ledger(self) -> LedgerSnapshot:
        return ledger_of(self.received, self.lost, self.blocked)

    def look(self, at_ns: int) -> list[Decision]:
        self.now = at_ns
        done = self.protection.tick(at_ns, self.ledger(), self.costs, self.suppressed)
        return list(done)

    def window(
        self,
        lost: int = 0,
        received: int = 1000,
        blocked: int = 0,
        costs: Mapping[int, int] | None = None,
    ) -> list[Decision]:
        """A window of so many packets; `costs`: work by rule in it."""
        self.received += received
        self.lost += lost
        self.blocked += blocked
        for rule, work in (costs or {}).items():
            old = self.costs.get(rule, RuleCost())
            self.costs[rule] = RuleCost(old.checked + 10, old.matches + 1, old.work + work)
        return self.look(self.now + WINDOW)


def test_another_policy_takes_over_between_two_windows() -> None:
    """A window that is another begins anew; a suspension ends when it would have."""
    box = Box(adaptive=Adaptive.OFF)
    box.window(lost=11)
    box.window(lost=11)
    until_ns = box.protection.alerts.until_ns
    box.look(box.now + SECOND)
    same = Protection(ProtectionPolicy(adaptive=Adaptive.AUTO))
    box.protection.adopt(same, box.now, box.ledger())
    assert box.protection.windows.next_due_ns == 15 * SECOND
    other = Protection(ProtectionPolicy(window_ns=SECOND, suppression_ns=7, adaptive=Adaptive.AUTO))
    box.protection.adopt(other, box.now, box.ledger())
    assert box.protection.windows.next_due_ns == 12 * SECOND
    box.received, box.lost, box.costs = box.received + 1000, box.lost + 500, {1: RuleCost(5, 0, 5)}
    assert set_rules(box.look(12 * SECOND)) == [(1, False)]
    assert box.protection.alerts.until_ns != until_ns  # it was loss once more: from then on
    assert box.protection.alerts.until_ns == 12 * SECOND + 7


# --- alerts -------------------------------------------------------------------------------


def test_two_windows_in_a_row_over_one_percent_suspend_alerts_for_600_s() -> None:
    box = Box()
    assert box.window(lost=11) == []
    (suspended,) = box.window(lost=11)
    assert isinstance(suspended, SetAlerts)
    assert (suspended.at_ns, suspended.until_ns) == (10 * SECOND, 610 * SECOND)
    assert [w["ratio"] for w in suspended.evidence["windows"]] == [0.011, 0.011]
    assert box.protection.status()["alerts_suspended_until_ns"] == 610 * SECOND
    box.suppressed = 42
    heard = []
    while box.now < 605 * SECOND:
        heard += box.window()
    box.received += 1000
    heard += box.look(610 * SECOND - 1)
    assert heard == []
    (again,) = box.look(610 * SECOND)
    assert isinstance(again, SetAlerts) and (again.at_ns, again.until_ns) == (610 * SECOND, None)
    assert again.evidence == {
        "suspended_ns": 600 * SECOND,
        "renewed": 0,
        "suppressed_alerts": 42,
    }
    json.dumps([suspended.as_dict(), again.as_dict()])


@pytest.mark.parametrize(
    "windows",
    [
        [(10, 1000), (11, 1000)],  # one percent is not over it
        [(11, 1000), (0, 1000), (11, 1000)],  # not in a row
        [(199, 199), (199, 199)],  # too few to judge
        [(11, 1000), (0, 0), (11, 1000)],  # nothing came in between
    ],
)
def test_less_than_that_does_not(windows: list[tuple[int, int]]) -> None:
    box = Box()
    assert [d for lost, received in windows for d in box.window(lost, received)] == []


def test_packets_blocked_by_rules_are_not_lost() -> None:
    box = Box()
    assert [box.window(blocked=900) for _ in range(3)] == [[], [], []]


def test_what_is_left_out_after_the_end_is_told_with_the_next() -> None:
    """An engine obeys a little later; no alert that was left out goes untold."""
    box, told = Box(suppression_ns=10 * SECOND), []
    for lost in (11, 11, 0, 0, 11, 11, 0, 0):
        for decision in box.window(lost=lost):
            assert isinstance(decision, SetAlerts)
            told.append(decision.evidence.get("suppressed_alerts"))
        box.suppressed += 5
    assert told == [None, 15, None, 20]


def test_loss_that_goes_on_renews_the_suspension() -> None:
    box = Box()
    box.window(lost=20)
    box.window(lost=20)
    while box.now < 600 * SECOND:
        box.window()
    box.window(lost=20)
    assert box.window(lost=20) == []  # its end and the window's are one instant
    assert box.now == 610 * SECOND
    assert box.protection.alerts.until_ns == 1210 * SECOND
    while box.now < 1205 * SECOND:
        assert box.window() == []
    (again,) = box.window()
    assert again.at_ns == 1210 * SECOND
    assert isinstance(again, SetAlerts)
    assert (again.evidence["renewed"], again.evidence["suspended_ns"]) == (1, 1200 * SECOND)


def test_without_suppression_alerts_go_on() -> None:
    box = Box(suppression_ns=0, adaptive=Adaptive.OFF)
    assert [box.window(lost=500) for _ in range(3)] == [[], [], []]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 40)), max_size=60), st.integers(1, 4))
def test_suspension_against_a_plain_model(windows: list[tuple[int, int]], in_a_row: int) -> None:
    box = Box(windows=in_a_row, suppression_ns=20 * SECOND)
    over: list[bool] = []
    until = -1
    for received, lost in windows:
        lost = min(lost, received)
        box.window(lost, received)
        over.append(received >= 200 and Fraction(lost, received) > Fraction(1, 100))
        if len(over) >= in_a_row and all(over[-in_a_row:]):
            until = box.now + 20 * SECOND
        assert (box.protection.alerts.until_ns is not None) == (until > box.now)


# --- rules --------------------------------------------------------------------------------


def named(decisions: list[Decision]) -> list[int]:
    return [int(d.subject) for d in decisions if isinstance(d, Note) and d.kind == "costly rule"]


def set_rules(decisions: list[Decision]) -> list[tuple[int, bool]]:
    return [(d.rule, d.enabled) for d in decisions if isinstance(d, SetRule)]


COSTS = {1: 500, 2: 300, 3: 100, 4: 99, 5: 1}


def test_rules_that_cost_their_share_are_named_while_there_is_loss() -> None:
    box = Box()
    assert box.window(costs=COSTS) == []
    heard = box.window(lost=20, costs=COSTS)
    assert named(heard) == [1, 2, 3] and set_rules(heard) == []
    note = heard[0]
    assert isinstance(note, Note)
    assert note.evidence["share"] == 0.5 and note.evidence["by"] == "work"
    assert (note.evidence["checked"], note.evidence["matches"]) == (10, 1)
    assert note.evidence["work"] == 500  # of this window alone
    assert named(box.window(lost=20, costs=COSTS)) == []  # once, until it was calm
    assert [told["rule"] for told in box.protection.status()["costly_rules"]] == [3, 2, 1]


def test_off_names_nothing() -> None:
    assert named(Box(adaptive=Adaptive.OFF).window(lost=20, costs=COSTS)) == []


def test_without_work_the_packets_checked_count() -> None:
    box = Box()
    box.costs = {7: RuleCost(checked=900), 8: RuleCost(checked=100), 9: RuleCost(checked=99)}
    heard = box.window(lost=20)
    assert named(heard) == [7]
    assert isinstance(heard[0], Note) and heard[0].evidence["by"] == "packets checked"


def test_auto_disables_the_costliest_one_a_window_but_none_exempt() -> None:
    box = Box(adaptive=Adaptive.AUTO, exempt=frozenset({1}), windows=100)
    heard = box.window(lost=20, costs=COSTS)
    assert set_rules(heard) == [(2, False)] and named(heard) == [1, 3]
    assert isinstance(heard[0], Note) and heard[0].evidence["exempt"] is True
    assert set_rules(box.window(lost=20, costs=COSTS)) == [(3, False)]
    assert box.protection.status()["disabled_rules"] == [2, 3]
    json.dumps([d.as_dict() for d in heard])


def test_disabled_rules_are_enabled_when_it_was_calm_to_the_nanosecond() -> None:
    box = Box(adaptive=Adaptive.AUTO, windows=100)
    box.window(lost=20, costs={1: 10})
    box.window(lost=20, costs={2: 10})
    calm = box.now + 600 * SECOND
    while box.now < calm - WINDOW:
        assert box.window() == []
    assert box.look(calm - 1) == []
    heard = box.look(calm)
    assert set_rules(heard) == [(1, True), (2, True)]
    assert {d.at_ns for d in heard} == {calm}
    assert box.protection.status()["disabled_rules"] == []
    assert set_rules(box.window(lost=20, costs={1: 10})) == [(1, False)]


def test_loss_within_the_calm_begins_it_anew() -> None:
    box = Box(adaptive=Adaptive.AUTO, windows=100)
    box.window(lost=20, costs={1: 10})
    while box.now < 600 * SECOND:
        box.window()
    assert set_rules(box.window(lost=20)) == []
    assert box.protection.rules.next_due_ns == 1205 * SECOND


def test_the_newest_25_are_kept() -> None:
    box = Box()
    for rule in range(1, 41):
        box.window(lost=20, costs={rule: 10**6})
    told = box.protection.status()["costly_rules"]
    assert [entry["rule"] for entry in told] == list(range(40, 40 - KEPT_RULES, -1))
    wide = Box(rule_share=0.01)
    assert len(named(wide.window(lost=20, costs=dict.fromkeys(range(1, 20), 5)))) == NAMED_A_WINDOW


def test_a_reload_enables_all_and_costs_begin_anew() -> None:
    box = Box(adaptive=Adaptive.AUTO, windows=100)
    box.window(lost=20, costs={1: 1000})
    box.costs = {1: RuleCost(5, 0, 5), 2: RuleCost(5, 0, 5)}
    box.protection.rules.reloaded(box.costs)
    assert box.protection.status()["disabled_rules"] == []
    heard = box.window(lost=20, costs={2: 100})
    assert set_rules(heard) == [(2, False)]
    assert isinstance(heard[0], SetRule) and heard[0].evidence["work"] == 100


def test_a_cost_that_began_anew_counts_from_nothing() -> None:
    box = Box()
    box.window(costs={1: 1000, 2: 1000})
    box.costs[1] = RuleCost(1, 0, 10)
    heard = box.window(lost=20, costs={2: 90})
    assert named(heard) == [2, 1]


@given(
    st.lists(st.tuples(st.booleans(), st.dictionaries(st.integers(1, 9), st.integers(0, 100)))),
    st.frozensets(st.integers(1, 9)),
)
@settings(max_examples=100)
def test_exempt_rules_are_never_disabled_and_what_is_disabled_is_enabled(
    windows: list[tuple[bool, dict[int, int]]], exempt: frozenset[int]
) -> None:
    def played() -> list[Decision]:
        box = Box(adaptive=Adaptive.AUTO, exempt=exempt, calm_ns=17 * SECOND)
        heard: list[Decision] = []
        off: set[int] = set()
        for loss, costs in windows:
            new = box.window(lost=50 if loss else 0, costs=costs)
            for rule, enabled in set_rules(new):
                assert rule not in exempt and enabled == (rule in off)
                off ^= {rule}
            assert loss or not named(new)
            assert sum(not enabled for _, enabled in set_rules(new)) <= 1
            assert off == set(box.protection.rules.disabled)
            heard += new
        heard += box.look(box.now + 20 * SECOND)
        assert not box.protection.rules.disabled
        return heard

    once = json.dumps([d.as_dict() for d in played()])
    assert once == json.dumps([d.as_dict() for d in played()])


# --- the time line ------------------------------------------------------------------------


def test_a_long_idle_time_is_one_leap_and_the_same() -> None:
    box, steps = Box(adaptive=Adaptive.AUTO), Box(adaptive=Adaptive.AUTO)
    for one in (box, steps):
        one.window(lost=20, costs={1: 5})
        one.window(lost=20, costs={2: 5})
    year = 10 * SECOND + 365 * 86400 * SECOND
    heard = box.look(year)
    slow: list[Decision] = []
    while steps.now < 700 * SECOND:
        slow += steps.window(received=0)
    assert heard == slow and len(heard) == 3
    assert box.protection.next_due_ns() == year + WINDOW
    box.window(lost=20)
    assert [type(d) for d in box.window(lost=20)] == [SetAlerts]


def test_windows_read_late_are_windows_all_the_same() -> None:
    """What came is of the first; those after it are empty, and break the row."""
    box = Box()
    box.received, box.lost = 1000, 20
    assert set_rules(box.look(3 * WINDOW)) == []
    assert box.window(lost=20) == []
    assert [type(d) for d in box.window(lost=20)] == [SetAlerts]


def test_wrong_use_is_an_error() -> None:
    with pytest.raises(EngineError, match="not started"):
        Protection().next_due_ns()
    box = Box()
    box.window()
    with pytest.raises(EngineError, match="ran backwards in the protections"):
        box.look(1)
    box = Box()
    box.window()
    box.received -= 1
    with pytest.raises(LedgerError, match="went backwards"):
        box.window(received=0)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"window_ns": 0}, r"protection\.window 0ns"),
        ({"calm_ns": 0}, r"protection\.adaptive\.calm 0ns"),
        ({"suppression_ns": -1}, r"protection\.suppression -1"),
        ({"loss": 1.0}, r"protection\.loss 1\.0 is not a share"),
        ({"rule_share": 0.0}, r"protection\.adaptive\.share 0\.0"),
        ({"minimum_packets": 0}, r"protection\.minimum-packets 0"),
        ({"windows": 0}, r"protection\.windows 0"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        ProtectionPolicy(**wrong)


# --- best effort --------------------------------------------------------------------------


def test_best_effort_is_entered_at_1000_us_and_left_at_200() -> None:
    queue = BestEffort("worker 0")
    assert queue.observe(1, 1000 * US - 1, 0) is None
    entered = queue.observe(2, 1000 * US, 7)
    assert entered is not None and entered.active and queue.active
    assert queue.observe(3, 3000 * US, 50) is None
    assert queue.observe(4, 200 * US + 1, 100) is None
    left = queue.observe(5, 200 * US, 107)
    assert left is not None and not left.active and not queue.active
    assert left.evidence == {
        "latency_ns": 200 * US,
        "leave_ns": 200 * US,
        "highest_latency_ns": 3000 * US,
        "lasted_ns": 3,
        "passed": 100,
    }
    assert left.as_dict()["decision"] == "set_best_effort"


@given(st.lists(st.integers(0, 1500 * US)))
def test_best_effort_turns_over_only_at_its_two_limits(latencies: list[int]) -> None:
    queue, active = BestEffort("q"), False
    for at, latency in enumerate(latencies):
        turned = queue.observe(at, latency, 0)
        now = latency > 200 * US if active else latency >= 1000 * US
        assert (turned is not None) == (now != active)
        active = now
        assert queue.active is active


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"enter_ns": 0}, "latency 0ns"), ({"leave_percent": 100.0}, r"leave 100\.0")],
)
def test_limits_of_best_effort_that_make_no_sense(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=rf"protection\.best-effort\.{said}"):
        BestEffort("q", **wrong)


# --- tiers --------------------------------------------------------------------------------


def test_every_packet_leaves_in_one_tier() -> None:
    assert not tiers.SETTLED_IN_1 & tiers.SETTLED_IN_2
    rest = set(Why) - tiers.SETTLED_IN_1 - tiers.SETTLED_IN_2
    assert rest == {Why.INSPECTED, Why.RULE_DROP, Why.RULE_REJECT, Why.POLICY}


@given(st.lists(st.integers(0, 1000), min_size=len(Why), max_size=len(Why)))
def test_fewer_enter_every_further_tier(packets: list[int]) -> None:
    total = sum(packets)
    ledger = LedgerSnapshot.from_counts(total, 2 * total, packets, [2 * n for n in packets])
    first, second, third, fourth = tiers.entered(ledger, Count(1, 2))
    assert first == ledger.received and fourth == Count(1, 2)
    assert first >= second >= third
    left = sum(packets[why] for why in (Why.INSPECTED, *range(Why.RULE_DROP, Why.FLOW_DROP)))
    assert third == Count(left + packets[Why.POLICY], 2 * (left + packets[Why.POLICY]))


def test_rates_watermarks_and_ratios() -> None:
    counts = tiers.Tiers()
    zero = [Count()] * 4
    assert counts.observe(5, zero) is False
    assert counts.as_dict()[0]["ratio_to_next"] is None
    one = [Count(1000, 10**6), Count(800, 8 * 10**5), Count(400, 10**5), Count(4, 100)]
    assert counts.observe(5 + SECOND - 1, one) is False
    assert counts.observe(5 + SECOND, one) is True
    assert counts.as_dict()[0] == {
        "tier": 1,
        "name": "bypass and fallback",
        "packets_per_second": 1000.0,
        "bits_per_second": 8e6,
        "highest_packets_per_second": 1000.0,
        "highest_packets_at_ns": 5 + SECOND,
        "highest_bits_per_second": 8e6,
        "highest_bits_at_ns": 5 + SECOND,
        "ratio_to_next": 0.8,
    }
    assert [tier["ratio_to_next"] for tier in counts.as_dict()] == [0.8, 0.5, 0.01, None]
    assert counts.observe(5 + 3 * SECOND, one) is True
    quiet = counts.as_dict()[0]
    assert (quiet["packets_per_second"], quiet["ratio_to_next"]) == (0.0, None)
    assert quiet["highest_packets_per_second"] == 1000.0
    json.dumps(counts.as_dict())


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_the_watermark_is_the_highest_rate(packets: list[int]) -> None:
    counts, total = tiers.Tiers(), 0
    counts.observe(0, [Count()] * 4)
    for at, more in enumerate(packets, 1):
        total += more
        counts.observe(at * SECOND, [Count(total, total)] * 4)
    told = counts.as_dict()[3]
    assert told["highest_packets_per_second"] == max(packets)
    assert told["highest_packets_at_ns"] == (packets.index(max(packets)) + 1) * SECOND


def test_tiers_do_not_run_back() -> None:
    counts = tiers.Tiers()
    counts.observe(5, [Count(1, 1)] * 4)
    with pytest.raises(EngineError, match="ran backwards in the tiers"):
        counts.observe(4, [Count(1, 1)] * 4)
    with pytest.raises(LedgerError, match="went backwards"):
        counts.observe(5 + SECOND, [Count()] * 4)
