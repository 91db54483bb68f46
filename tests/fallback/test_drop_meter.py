from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.errors import EngineError, LedgerError, SettingError
from nsdata.fallback.drop_meter import Attribution, DropMeter, Reading, attribute
from nsdata.fallback.ledger import Fate, LedgerSnapshot, Why

SECOND = 10**9
Event = tuple[int, Why, int]  # time, reason, rule


def ledger_of(events: list[Event]) -> LedgerSnapshot:
    packets = [0] * len(Why)
    for _, why, _ in events:
        packets[why] += 1
    return LedgerSnapshot.from_counts(
        len(events), 100 * len(events), packets, [100 * n for n in packets]
    )


def drops_of(events: list[Event]) -> dict[int, int]:
    return dict(Counter(rule for _, why, rule in events if why is Why.RULE_DROP))


def counted(received: int, blocked: int = 0, lost: int = 0) -> LedgerSnapshot:
    packets = [0] * len(Why)
    packets[Why.INSPECTED] = received - blocked - lost
    packets[Why.RULE_DROP], packets[Why.OVERSUBSCRIBED] = blocked, lost
    return LedgerSnapshot.from_counts(received, 0, packets, [0] * len(Why))


def run(meter: DropMeter, events: list[Event], until: int) -> list[Reading]:
    """Drive the meter as a host does, one evaluation at each boundary."""
    meter.start(0)
    readings = []
    done: list[Event] = []
    rest = list(events)
    while (at := meter.next_evaluation_ns()) <= until:
        while rest and rest[0][0] < at:
            done.append(rest.pop(0))
        readings.append(meter.observe(at, ledger_of(done), drops_of(done)))
    return readings


traffic = st.lists(
    st.tuples(
        st.integers(0, 19),  # 0.5 s steps, so that boundaries are hit exactly
        st.sampled_from([Why.INSPECTED, Why.FALLBACK, Why.RULE_DROP, Why.OVERSUBSCRIBED]),
        st.integers(1, 3),
    ),
    max_size=80,
).map(lambda raw: sorted((t * SECOND // 2, why, rule) for t, why, rule in raw))


@settings(max_examples=300)
@given(traffic, st.integers(1, 4), st.sampled_from([0.5, 0.9, 0.25]), st.integers(1, 8))
def test_against_single_packets(
    events: list[Event], width: int, threshold: float, minimum: int
) -> None:
    meter = DropMeter(width * SECOND, SECOND, threshold, minimum)
    peak = Fraction(0)
    readings = run(meter, events, 15 * SECOND)
    assert [r.now_ns for r in readings] == [n * SECOND for n in range(1, 16)]
    for reading in readings:
        start = max(0, reading.now_ns - width * SECOND)
        inside = [event for event in events if start <= event[0] < reading.now_ns]
        blocked = sum(why.fate is Fate.BLOCKED for _, why, _ in inside)
        lost = sum(why.fate is Fate.LOST for _, why, _ in inside)
        exact = Fraction(blocked + lost, len(inside)) if inside else Fraction(0)
        assert (reading.window_start_ns, reading.received) == (start, len(inside))
        assert (reading.blocked, reading.lost) == (blocked, lost)
        assert reading.ratio == pytest.approx(float(exact))
        assert reading.judged == (len(inside) >= minimum)
        assert reading.over == (reading.judged and exact > Fraction(str(threshold)))
        if reading.judged:
            peak = max(peak, exact)
        assert reading.peak_ratio == pytest.approx(float(peak))
        by_rule = drops_of(inside)
        assert {top.rule: top.packets for top in reading.top_rules} == by_rule
        assert [t.packets for t in reading.top_rules] == sorted(by_rule.values(), reverse=True)
        assert len(meter._samples) <= width + 2


def test_threshold_is_strict() -> None:
    for lost, over in ((900, False), (901, True)):
        meter = DropMeter()
        meter.start(0)
        reading = meter.observe(SECOND, counted(1000, lost=lost), {})
        assert reading.over is over


def test_minimum_packets() -> None:
    for received, over in ((199, False), (200, True)):
        meter = DropMeter(minimum_packets=200)
        meter.start(0)
        reading = meter.observe(SECOND, counted(received, lost=received), {})
        assert (reading.judged, reading.over) == (over, over)
        assert (reading.peak_at_ns is None) is not over


@pytest.mark.parametrize(
    ("blocked", "lost", "named"),
    [
        (0, 0, Attribution.NONE),
        (1, 2, Attribution.OVER_SUBSCRIPTION),
        (2, 1, Attribution.OVER_TUNING),
        (100, 199, Attribution.BOTH),
        (199, 100, Attribution.BOTH),
    ],
)
def test_attribution(blocked: int, lost: int, named: Attribution) -> None:
    assert attribute(blocked, lost) is named


def test_restart_forgets_drops_and_keeps_the_peak() -> None:
    meter = DropMeter(minimum_packets=1)
    meter.start(0)
    assert meter.observe(SECOND, counted(100, lost=100), {}).over
    meter.restart(SECOND + 5, counted(100, lost=100), {})
    assert meter.next_evaluation_ns() == 2 * SECOND + 5
    reading = meter.observe(2 * SECOND + 5, counted(110, lost=100), {})
    assert (reading.received, reading.dropped, reading.over) == (10, 0, False)
    assert (reading.peak_ratio, reading.peak_at_ns) == (1.0, SECOND)


def test_skipping_idle_time_changes_no_reading() -> None:
    day = 86_400 * SECOND
    meter = DropMeter(minimum_packets=1)
    meter.start(0)
    evaluations = 0
    while meter.next_evaluation_ns() <= day:
        meter.observe(meter.next_evaluation_ns(), counted(10, lost=10), {7: 0})
        meter.skip_idle(day)
        evaluations += 1
    assert evaluations <= 8
    assert meter.next_evaluation_ns() == day + SECOND
    reading = meter.observe(day + SECOND, counted(15, lost=12), {})
    assert (reading.received, reading.lost) == (5, 2)
    assert reading.window_start_ns == day - 4 * SECOND


def test_misuse_is_refused() -> None:
    meter = DropMeter()
    with pytest.raises(EngineError, match="not started"):
        meter.next_evaluation_ns()
    meter.start(5 * SECOND)
    with pytest.raises(EngineError, match="backwards"):
        meter.observe(SECOND, counted(0), {})
    meter.observe(6 * SECOND, counted(5), {})
    with pytest.raises(LedgerError, match="backwards"):
        meter.observe(7 * SECOND, counted(4), {})


@pytest.mark.parametrize(
    "arguments",
    [
        {"window_ns": 0},
        {"interval_ns": 0},
        {"window_ns": 5, "interval_ns": 2},
        {"window_ns": 10**9, "interval_ns": 1},
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"minimum_packets": 0},
    ],
)
def test_settings_without_sense(arguments: dict[str, float]) -> None:
    with pytest.raises(SettingError, match="drop-meter"):
        DropMeter(**arguments)  # type: ignore[arg-type]


def test_what_is_blocked_uninspected_is_no_drop() -> None:
    """Nine of ten frames of a fallback whose segment blocks: a policy, neither rules nor load."""
    events = [(i * SECOND // 100, Why.FALLBACK_BLOCK if i % 10 else Why.INSPECTED, 0)
              for i in range(500)]  # fmt: skip
    last = run(DropMeter(minimum_packets=10), events, 5 * SECOND)[-1]
    assert (last.received, last.dropped, last.over) == (500, 0, False)
    assert last.attribution is Attribution.NONE and last.ratio == 0.0
