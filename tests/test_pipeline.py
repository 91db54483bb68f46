"""The pipeline: however a capture is cut into batches, the outcome is the same bytes."""

import json
from itertools import pairwise
from typing import Any

import pytest
import traffic
from engines import loaded
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic import MS, SECOND, Talk

from nsdata import Pipeline, Settings, Switch, Verdict, build_engine
from nsdata.capture import Batch
from nsdata.fallback.guard import Guard
from nsdata.fallback.reasons import Reason, State
from nsdata.output.events import EVENT_TYPES, EveWriter

RULES = """
    alert tcp any any -> any any (flow:established; content:"foobar"; sid:1;)
    drop udp any any -> any 53 (content:"drop"; sid:2;)
    alert udp any any -> any any (threshold:type limit,track by_src,count 2,seconds 3; sid:3;)
    reject icmp any any -> any any (itype:8; sid:4;)
"""
DROP = traffic.udp(b"drop", dport=53)
CALM = traffic.udp(b"calm", dport=54)


def pipeline(
    rules: str = RULES,
    switches: list[Switch] | None = None,
    sets: tuple[str, ...] = (),
    restore_after_ns: int | None = None,
    capacity_pps: float = 0,
    **options: Any,
) -> Pipeline:
    built, chosen = loaded(rules), Settings.load(sets=list(sets))
    engine = build_engine(built, chosen, capacity_pps=capacity_pps, **options)
    guard = Guard.build(
        chosen.drop_meter.build(),
        restore_after_ns=restore_after_ns,
        capacity_pps=capacity_pps or None,
    )
    made = Pipeline(engine, guard, EveWriter(None, EVENT_TYPES), list(switches or ()))
    made.set_rules(built.fragments, built.sids)
    return made


def play(p: Pipeline, whole: Batch, cuts: list[int] | None = None) -> tuple[list[int], bytes]:
    """Verdicts and EVE of a capture fed in the batches that `cuts` make of it."""
    verdicts: list[int] = []
    edges = sorted({0, len(whole), *(c % (len(whole) + 1) for c in cuts or ())})
    for start, stop in pairwise(edges):
        verdicts += p.feed(traffic.part(whole, start, stop)).tolist()
    p.finish()
    p.eve.ledger(p.last_ns, p.ledger())
    return verdicts, p.eve.take()


def events(eve: bytes, kind: str) -> list[dict[str, Any]]:
    return [e for line in eve.splitlines() if (e := json.loads(line))["event_type"] == kind]


POOL = [
    *Talk().open().client(b"foo", b"bar").close().frames,
    *traffic.fragments(traffic.ip(17, traffic.udp_datagram(b"drop" * 9, "10.0.0.1", "10.0.0.2",
                                                           dport=53)), 24),
    *[DROP] * 8, CALM, traffic.icmp(), b"", b"\xff" * 20,
]  # fmt: skip
frames = st.lists(
    st.tuples(st.integers(0, len(POOL) - 1), st.sampled_from([0, 1, 40, 300, 1100, 9000, -50])),
    min_size=2,
    max_size=80,
)


@settings(max_examples=150, deadline=None)
@given(
    frames,
    st.lists(st.integers(0, 200), min_size=1, max_size=12),
    st.booleans(),
    st.sampled_from([0, 2, 20]),
    st.lists(
        st.builds(
            lambda to, n, by_time: (
                Switch(to, at_ns=n * 200 * MS) if by_time else Switch(to, at_frame=n)
            ),
            st.sampled_from([State.FALLBACK, State.NORMAL]), st.integers(1, 60), st.booleans(),
        ),
        max_size=4,
    ),
)  # fmt: skip
def test_cuts_into_batches_change_nothing(
    plan: list[tuple[int, int]], cuts: list[int], inline: bool, capacity: int,
    switches: list[Switch],
) -> None:  # fmt: skip
    now, times = traffic.START_NS, []
    for _, step in plan:
        now += step * MS
        times.append(now)
    whole = traffic.batch([POOL[n] for n, _ in plan], times)
    sets = ("drop-meter.minimum-packets=5", "drop-meter.window=2s")
    runs = [
        play(
            pipeline(switches=switches, sets=sets, inline=inline, capacity_pps=capacity, queue=3,
                     restore_after_ns=3 * SECOND),
            whole,
            how,
        )
        for how in (None, cuts, list(range(200)))
    ]  # fmt: skip
    assert runs[0][0] == runs[1][0] == runs[2][0]
    assert runs[0][1] == runs[1][1]
    assert runs[0][1] == runs[2][1]
    assert len(events(runs[0][1], "ledger")) == 1


@pytest.mark.parametrize("cuts", [[], [2], [1, 2, 3]])
def test_a_switch_at_a_frame_whose_time_ran_back_has_the_latest_time(cuts: list[int]) -> None:
    times = [traffic.START_NS + ms * MS for ms in (0, 900, 500, 600)]
    p = pipeline(switches=[Switch(State.FALLBACK, at_frame=3)])
    play(p, traffic.batch([CALM] * 4, times), cuts)
    assert p.transitions[0].at_ns == times[1]


@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_a_switch_by_packet_number_takes_effect_at_exactly_that_packet(number: int) -> None:
    p = pipeline(switches=[Switch(State.FALLBACK, at_frame=number)], inline=True)
    verdicts, eve = play(p, traffic.batch([DROP] * 10), [3, 7])
    assert verdicts == [Verdict.DROP] * (number - 1) + [Verdict.PASS] * (11 - number)
    (said,) = events(eve, "fallback")
    assert said["fallback"]["state"] == "fallback"
    assert [t.at_packet for t in p.transitions] == [number]
    assert p.ledger().bypassed.packets == 11 - number


def test_a_switch_by_time_counts_from_the_first_packet() -> None:
    switches = [Switch(State.FALLBACK, at_ns=3 * MS), Switch(State.NORMAL, at_ns=6 * MS)]
    p = pipeline(switches=switches, inline=True)
    verdicts, eve = play(p, traffic.batch([DROP] * 9))
    assert verdicts == [1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert [e["fallback"]["state"] for e in events(eve, "fallback")] == ["fallback", "normal"]
    assert [(t.reason, t.to_state) for t in p.transitions] == [
        (Reason.NO_ERROR, State.FALLBACK), (Reason.NO_ERROR, State.NORMAL),
    ]  # fmt: skip


def test_a_switch_after_the_last_packet_never_comes() -> None:
    p = pipeline(switches=[Switch(State.FALLBACK, at_frame=99)])
    play(p, traffic.batch([CALM] * 3))
    assert p.transitions == [] and p.guard.state is State.NORMAL


def over_tuned(share: int, n: int = 4000) -> Batch:
    """`share` of 100 packets are to be dropped; 4,000 packets in 8 s."""
    return traffic.batch(
        [DROP if i % 100 < share else CALM for i in range(n)],
        [traffic.START_NS + i * 2 * MS for i in range(n)],
    )


def test_above_ninety_percent_the_engine_falls_back_and_names_the_rule() -> None:
    p = pipeline(inline=True)
    verdicts, eve = play(p, over_tuned(95))
    (said,) = [e["fallback"] for e in events(eve, "fallback")]
    assert said["reason"] == "threshold error" and said["state"] == "fallback"
    evidence = said["evidence"]
    assert evidence["attribution"] == "over-tuning" and evidence["top_rules"][0]["rule"] == 2
    assert 0.9 < evidence["ratio"] <= 1 and evidence["threshold"] == 0.9
    at = p.transitions[0].at_packet
    assert at is not None and Verdict.DROP in verdicts[: at - 1]
    assert set(verdicts[at - 1 :]) == {Verdict.PASS}
    late = [e["pcap_cnt"] for e in events(eve, "alert") if e["pcap_cnt"] >= at]
    assert late == []


def test_the_graph_holds_every_reading_judged_or_not() -> None:
    p = pipeline(inline=True, sets=("drop-meter.minimum-packets=900",))
    play(p, over_tuned(50))
    assert [judged for *_, judged in p.points] == [False] + [True] * 6
    assert all(abs(ratio - 0.5) < 0.01 for _, ratio, _, _ in p.points)


@pytest.mark.parametrize("share", [50, 89, 90])
def test_at_ninety_percent_and_below_it_does_not(share: int) -> None:
    p = pipeline(inline=True)
    verdicts, _ = play(p, over_tuned(share))
    assert p.transitions == []
    assert verdicts.count(Verdict.DROP) == share * 40


def test_without_inline_rules_drop_nothing_and_trip_nothing() -> None:
    p = pipeline()
    play(p, over_tuned(95))
    assert p.transitions == [] and p.ledger().blocked.packets == 0


def test_an_automatic_restore_is_checked_and_inspection_resumes() -> None:
    whole = traffic.batch(
        [DROP] * 2000 + [CALM, DROP] * 1000,
        [traffic.START_NS + i * 2 * MS for i in range(4000)],
    )
    p = pipeline(inline=True, restore_after_ns=2 * SECOND)
    verdicts, eve = play(p, whole)
    said = [e["fallback"]["outcome"] for e in events(eve, "fallback")]
    assert said == ["entered", "restored"] * 2
    # what was dropped before a fallback trips nothing after the restore, new drops do
    assert [t.at_packet for t in p.transitions] == [501, 1501, 2001, 3001]
    assert verdicts[500:1500] == [0] * 1000 and verdicts[1500:2000] == [1] * 500
    assert verdicts[3000:] == [0, 1] * 500


def test_drops_by_rule_are_by_signature() -> None:
    p = pipeline(inline=True)
    play(p, traffic.batch([DROP, DROP, traffic.icmp(), CALM]))
    assert p.drops_by_rule() == {2: 2, 4: 1}


def test_feeding_nothing() -> None:
    p = pipeline()
    assert p.feed(traffic.batch([])).tolist() == []
    p.finish()
    assert p.ledger().received.packets == 0 and p.first_ns is None
