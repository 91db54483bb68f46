"""engine: its border, its limits, and what lives on while rules change."""

from typing import Any

import numpy as np
import pytest
import traffic
from engines import FLOW, Run, loaded, process, sids_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decode_events import TRIGGERS
from traffic import Talk

from nsdata import EngineError, LoadedRules, Settings, Verdict
from nsdata.path.engine import Engine
from nsdata.rules.ruleset import load_text

HELLO = 'alert udp any any -> any any (content:"hello"; sid:1;)'
UDP = traffic.udp(b"hello")
LINKTYPES = (0, 1, 9, 12, 101, 104, 108, 113, 228, 229, 276, 9999)


def engine(rules: str = HELLO, **options: Any) -> Engine:
    built = loaded(rules)
    return Engine(built.base, built.numbers, **options)


# ---- the border ------------------------------------------------------------------------


def arrays(n: int = 3) -> dict[str, Any]:
    b = traffic.batch([UDP] * n)
    names = ("data", "offset", "caplen", "wirelen", "ts_ns", "linktype")
    return {name: getattr(b, name) for name in names} | {"verdict": np.zeros(n, np.uint8)}


def test_verdicts_are_written_for_every_frame_taken() -> None:
    e = engine('drop udp any any -> any any (content:"hello"; sid:1;)', inline=True)
    given_ = arrays(3)
    given_["verdict"][:] = 77
    assert e.process(**given_, start=1, stop_frame=2) == 2
    assert given_["verdict"].tolist() == [77, Verdict.DROP, 77]
    assert e.process(**given_, start=2) == 3
    assert given_["verdict"].tolist() == [77, Verdict.DROP, Verdict.DROP]
    assert e.counts()[0] == 2


@pytest.mark.parametrize("name", ["offset", "caplen", "wirelen", "ts_ns", "linktype", "verdict"])
def test_arrays_of_unequal_length(name: str) -> None:
    given_ = arrays()
    given_[name] = given_[name][:-1]
    with pytest.raises(EngineError, match="one element per frame"):
        engine().process(**given_)


@pytest.mark.parametrize(
    ("index", "offset", "caplen"),
    [(1, 10**6, 10), (1, 2**64 - 1, 10), (1, 0, 2**32 - 1), (2, 3 * len(UDP), 1), (0, 2**63, 0)],
)
def test_a_frame_outside_the_data(index: int, offset: int, caplen: int) -> None:
    given_ = arrays()
    given_["offset"], given_["caplen"] = given_["offset"].copy(), given_["caplen"].copy()
    given_["offset"][index], given_["caplen"][index] = offset, caplen
    e = engine()
    with pytest.raises(EngineError, match=f"frame {index} of the batch lies outside its data"):
        e.process(**given_)
    assert e.counts()[0] == index  # those before it were taken, once


@pytest.mark.parametrize("start", [-1, 4, 10**9])
def test_a_start_outside_the_batch(start: int) -> None:
    with pytest.raises(EngineError):
        engine().process(**arrays(), start=start)


def test_start_at_the_end_and_empty_batches() -> None:
    e = engine()
    assert e.process(**arrays(3), start=3) == 3
    assert e.process(**arrays(3) | traffic_free()) == 0
    assert e.counts()[0] == 0


def traffic_free() -> dict[str, Any]:
    return {name: array[:0] for name, array in arrays(1).items()}


def test_frames_without_bytes_are_received_too() -> None:
    run = Run(HELLO).feed([b"", UDP, b"", b""]).finish()
    assert run.verdicts == [0, 0, 0, 0] and run.alerts() == [(2, 1)]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("data", np.zeros(9, np.int16)),
        ("ts_ns", np.zeros(3, np.float64)),
        ("caplen", np.zeros((3, 2), np.uint32)),
        ("offset", [0, 1, 2]),
        ("verdict", np.broadcast_to(np.uint8(0), 3)),
        ("data", None),
    ],
)
def test_arrays_of_a_wrong_kind_are_no_crash(name: str, array: Any) -> None:
    given_ = arrays()
    given_[name] = array
    e = engine()
    with pytest.raises((EngineError, TypeError, ValueError)):
        e.process(**given_)
    assert e.counts()[0] == 0


@pytest.mark.parametrize(
    "options",
    [
        {"capacity_pps": -1},
        {"capacity_pps": 2e9},
        {"capacity_pps": float("nan")},
        {"policies": {99: 1}},
        {"policies": {1: 99}},
        {"policies": {-1: 0}},
        {"bypass": np.zeros(33, np.dtype("V64"))},
        {"bypass": np.zeros(1, np.uint8)},
        {"flow": {"max_flows": 0}},
        {"stream": {"policy": "amiga"}},
        {"no_such": 1},
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises((EngineError, TypeError, ValueError)):
        engine(**options)


def test_bypass_rules_with_prefixes_no_address_has_are_refused() -> None:
    from nsdata.bypass_table import RULE_DTYPE

    rules = np.zeros(1, RULE_DTYPE)
    rules["enabled"], rules["vlan"], rules["proto"] = 1, -1, -1
    for version, prefix in ((4, 33), (6, 129), (4, 255), (5, 0)):
        rules["src_version"], rules["src_prefix"] = version, prefix
        with pytest.raises(EngineError):
            engine().set_bypass(rules)


def test_stop_at_a_time_and_at_a_frame() -> None:
    e, given_ = engine(), arrays(3)
    at = int(given_["ts_ns"][1])
    assert e.process(**given_, stop_ns=at) == 1
    assert e.process(**given_, start=1, stop_ns=at) == 1
    assert e.process(**given_, start=1, stop_ns=at + 1) == 2
    assert e.process(**given_, start=2, stop_frame=3) == 2
    assert e.process(**given_, start=2, stop_frame=2) == 3  # long gone


def test_more_alerts_than_the_ring_holds_are_drained_in_turns() -> None:
    rules = "\n".join(
        f'alert udp any any -> any any (content:"hello"; sid:{n};)' for n in range(1, 16)
    )
    run = Run(rules).feed([UDP] * 2000).finish()
    assert run.drains > 3
    assert len(run.alerts()) == 2000 * 15
    assert [frame for frame, _ in run.alerts()] == [1 + i // 15 for i in range(30000)]
    assert run.engine.stats()["records"] == {"clipped": 0, "overflowed": 0}


def test_a_ring_that_nobody_drains_stops_the_engine_and_loses_nothing() -> None:
    e = engine("\n".join(
        f'alert udp any any -> any any (content:"hello"; sid:{n};)' for n in range(1, 16)
    ))  # fmt: skip
    b = traffic.batch([UDP] * 2000)
    verdict = np.zeros(2000, np.uint8)
    at = process(e, b, verdict)
    assert 0 < at < 2000
    assert process(e, b, verdict, at) == at and e.counts()[0] == at
    e.drain()
    assert process(e, b, verdict, at) > at


# ---- limits ----------------------------------------------------------------------------


def test_a_full_flow_table_evicts_the_oldest_and_accounts_for_all() -> None:
    run = Run(HELLO, engine=engine(flow={"max_flows": 64}))
    frames = [traffic.udp(b"hello", sport=1000 + n) for n in range(500)]
    run.feed(frames)
    flows = run.engine.stats()["flow"]
    assert flows["active"] <= 64 and flows["created"] == 500
    evicted = [e.record for e in run.of(FLOW)]
    assert len(evicted) >= 500 - 64 and {int(r["flow_end"]) for r in evicted} == {2}
    assert [int(r["sport"]) for r in evicted] == list(range(1000, 1000 + len(evicted)))
    run.finish()
    assert len(run.of(FLOW)) == 500 and run.fired() == {1: 500}
    assert sum(int(e.record["flow_packets"][0]) for e in run.of(FLOW)) == 500


def test_streams_of_evicted_flows_are_inspected() -> None:
    rule = 'alert tcp any any -> any any (content:"foobar"; sid:1;)'
    run = Run(rule, engine=engine(rule, flow={"max_flows": 64}))
    for n in range(200):
        run.feed(Talk(sport=2000 + n).open().client(b"foo", b"bar").frames)
    assert run.finish().fired() == {1: 200}


def test_flows_time_out_and_are_reported_once() -> None:
    times = [traffic.START_NS + s * traffic.SECOND for s in (0, 1, 100, 100)]
    other = traffic.udp(b"x", sport=9)
    run = Run(HELLO).feed([UDP, UDP, other, UDP], times).finish()
    ends = [(int(e.record["flow_packets"][0]), int(e.record["flow_end"])) for e in run.of(FLOW)]
    assert ends == [(2, 0), (1, 1), (1, 1)]


def test_times_may_run_backwards_and_lie_anywhere() -> None:
    times = [traffic.START_NS, 5, 2**63 - 1, 0, traffic.START_NS, 2**63 - 2]
    run = Run(HELLO).feed([UDP] * 6, times).finish()
    assert run.fired() == {1: 6}


@pytest.mark.parametrize("inline", [False, True])
def test_every_frame_of_the_decoders_tests(inline: bool) -> None:
    rules = (
        HELLO
        + """
        alert ip any any -> any any (ttl:>0; sid:2;)
        alert pkthdr any any -> any any (decode-event:ipv4.trunc_pkt; sid:3;)
        drop tcp any any -> any any (pcre:"/[a-z]{3}/"; sid:4;)
    """
    )
    for checksums in (True, False):
        run = Run(rules, inline=inline, checksums=checksums)
        for linktype, frame in TRIGGERS.values():
            run.feed(traffic.batch([frame], linktype=linktype))
        run.finish()
        assert len(run.verdicts) == len(TRIGGERS)


HOSTILE = Run(
    HELLO + """
        alert ip any any -> any any (byte_test:4,>,9,2; byte_jump:2,0; isdataat:2,relative; sid:2;)
        drop tcp any any -> any any (pcre:"/a.*b/s"; content:"b"; distance:-3; sid:3;)
        alert tcp any any -> any any (tcp.hdr; content:"|00|"; offset:12; sid:4;)
        alert ip any any -> any any (ipopts:rr; sid:5;)
    """,
    inline=True,
    capacity_pps=1000,
)  # fmt: skip
SEEDS = [
    UDP, traffic.tcp(b"abc"), traffic.icmp(), traffic.udp(b"x", traffic.CLIENT6, traffic.SERVER6),
    *Talk().open().client(b"acb").frames,
    *traffic.fragments(traffic.ip(17, traffic.udp_datagram(b"a" * 60, "10.0.0.1", "10.0.0.2")), 24),
    traffic.frame(traffic.ip(4, traffic.ip(17, b"\0" * 8))),
    traffic.udp(b"\x08\0\0\0\0\0\5\0" + UDP, dport=4789),
]  # fmt: skip
edits = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(SEEDS), edits, st.integers(0, 400), st.binary(max_size=30)),
        min_size=1,
        max_size=10,
    ),
    st.sampled_from(LINKTYPES),
    st.integers(0, 10**9),
)
def test_hostile_frames_are_accounted_for(
    frames: list[tuple[bytes, list[tuple[int, int]], int, bytes]], linktype: int, step: int
) -> None:
    made = []
    for seed, changes, cut, tail in frames:
        data = bytearray(seed)
        for at, value in changes:
            data[at % len(data)] = value
        made.append(bytes(data[: max(0, len(data) - cut)] if cut < 200 else data) + tail)
    now = HOSTILE.now_ns
    HOSTILE.now_ns += step * len(made)
    link = linktype if step % 3 == 0 else 1
    times = [now + i * step for i in range(len(made))]
    HOSTILE.feed(traffic.batch(made, times, link))
    HOSTILE.balanced()
    if step % 50 == 0:
        HOSTILE.finish()


# ---- rules that change while traffic flows ---------------------------------------------

OLD = """
    alert tcp any any -> any any (flow:established; content:"USER"; flowbits:set,b; sid:1;)
    alert tcp any any -> any any (flow:established; content:"foobar"; sid:2;)
"""
NEW = """
    alert tcp any any -> any any (flow:established; content:"x1"; flowbits:isset,a; sid:11;)
    alert tcp any any -> any any (flow:established; content:"x2"; flowbits:isset,b; sid:12;)
    alert tcp any any -> any any (flow:established; content:"foobar"; sid:13;)
    alert tcp any any -> any any (flow:established; content:"y"; flowbits:set,a; sid:14;)
"""


def swap(run: Run, rules: str) -> None:
    run.rules = LoadedRules.build(load_text(rules), Settings(), run.rules)
    run.sids = sids_of(run.rules)
    run.engine.swap_rules(run.rules.base, run.rules.numbers)


def test_flows_streams_and_flowbits_survive_a_swap() -> None:
    run = Run(OLD, inline=True)
    talk = Talk().open().client(b"USER me", b"foo")
    run.feed(talk.frames)
    assert run.fired() == {1: 1}
    swap(run, NEW)
    more = len(talk.frames)
    run.feed(talk.client(b"bar", b"x1", b"x2").close().frames[more:]).finish()
    assert run.fired() == {1: 1, 12: 1, 13: 1}
    assert len(run.verdicts) == len(talk.frames)
    assert run.engine.stats()["flow"]["created"] == 1
    assert set(run.verdicts) == {0}


def test_a_drop_of_the_flow_survives_a_swap() -> None:
    run = Run("drop udp 10.0.0.1 any -> any any (sid:1;)", inline=True).feed([UDP])
    swap(run, HELLO)
    assert run.feed([UDP]).verdicts == [Verdict.DROP_FLOW, Verdict.DROP]


def test_thresholds_survive_a_swap() -> None:
    limited = HELLO.replace("sid", "threshold:type limit,track by_src,count 1,seconds 60; sid")
    run = Run(limited).feed([UDP])
    swap(run, HELLO.replace("sid:1", "sid:2") + "\n" + limited)
    assert run.feed([UDP]).fired() == {1: 1, 2: 1}


def test_records_of_the_old_rules_must_be_drained_before_a_swap() -> None:
    e, built = engine(), loaded(HELLO)
    e.process(**arrays(1))
    with pytest.raises(EngineError, match="drain"):
        e.swap_rules(built.base, built.numbers)
    e.drain()
    e.swap_rules(built.base, built.numbers)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(1, 9))
def test_swaps_at_any_frame_lose_no_packet(plan: list[int], size: int) -> None:
    images = (OLD, NEW, HELLO)
    run = Run(OLD, inline=True)
    frames = Talk().open().client(b"USER", b"foo", b"bar", b"x1", b"x2", b"y").close().frames
    for number, image in enumerate(plan):
        run.feed(frames[number * size % len(frames) :][:size])
        swap(run, images[image])
    fed = sum(len(frames[n * size % len(frames) :][:size]) for n in range(len(plan)))
    run.finish()
    assert run.engine.counts()[0] == fed == len(run.verdicts)


# ---- fallback --------------------------------------------------------------------------


def test_in_fallback_everything_passes_and_nothing_is_inspected() -> None:
    run = Run('drop udp any any -> any any (content:"hello"; sid:1;)', inline=True).feed([UDP])
    assert run.engine.set_fallback(True) and run.engine.in_fallback
    run.feed([UDP, b"", b"\xff" * 60, UDP])
    assert run.verdicts == [Verdict.DROP, 0, 0, 0, 0] and run.fired() == {1: 1}
    assert run.engine.set_fallback(False) and not run.engine.in_fallback
    run.feed([UDP]).finish()
    assert run.verdicts[-1] == Verdict.DROP and run.fired() == {1: 2}
    assert run.engine.counts()[2][1] == 4


def test_entering_fallback_inspects_what_streams_still_hold() -> None:
    rule = 'alert tcp any any -> any any (flow:established; content:"foobar"; sid:1;)'
    run = Run(rule).feed(Talk().open().client(b"foo", b"bar").frames)
    assert run.alerts() == []
    assert run.engine.set_fallback(True)
    run.drain()
    assert run.fired() == {1: 1}


def test_sessions_open_before_a_restore_are_not_dropped_for_their_missing_handshake() -> None:
    run = Run(HELLO, inline=True)
    talk = Talk().open()
    run.feed(talk.frames)
    run.engine.set_fallback(True)
    run.feed(talk.client(b"unseen").frames[3:])
    run.engine.set_fallback(False)
    more = len(talk.frames)
    run.feed(talk.client(b"seen").frames[more:]).finish()
    assert set(run.verdicts) == {0}


# ---- the modelled queue ----------------------------------------------------------------


def test_capacity_loses_what_the_queue_does_not_hold() -> None:
    run = Run(HELLO, capacity_pps=1000, queue=10)
    at = [traffic.START_NS] * 30
    run.feed([UDP] * 30, at).finish()
    assert run.verdicts == [0] * 10 + [Verdict.LOST] * 20
    assert run.fired() == {1: 10}
    later = [traffic.START_NS + 5 * traffic.MS] * 10  # five were served meanwhile
    run.feed([UDP] * 10, later)
    assert run.verdicts[30:] == [0] * 5 + [Verdict.LOST] * 5


def test_a_load_within_capacity_loses_nothing() -> None:
    run = Run(HELLO, capacity_pps=1000, queue=1).feed([UDP] * 500).finish()
    assert set(run.verdicts) == {0}
