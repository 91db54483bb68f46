"""Reassembly: which bytes reach detect, when, and what overlaps, holes and limits do."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.path.stream import POLICIES, Conversation, StreamTracker

C, S = 1000, 5000  # first bytes of client and server


def opened(
    tracker: StreamTracker | None = None, *, c: int = C, s: int = S, window: int = 65535
) -> Conversation:
    talk = Conversation(tracker)
    talk.feed(0, "S", c - 1, window=window)
    talk.feed(1, "SA", s - 1, c, window=window)
    talk.feed(0, "A", c, s, window=window)
    return talk


def fresh(due: list[tuple[int, bytes, bytes]]) -> bytes:
    return b"".join(new for _, _, new in due)


def test_acknowledged_bytes_come_in_chunks() -> None:
    talk = opened()
    data = bytes(i & 0xFF for i in range(9000))
    got, at = [], 0
    while at < len(data):
        piece = data[at : at + 1000]
        got += talk.feed(0, "PA", C + at, S, piece)["due"]
        at += len(piece)
        assert talk.feed(1, "A", S, C + at)["due"] == []  # not in the other direction
    assert [(off, len(context), len(new)) for off, context, new in got] == [
        (0, 0, 3000), (3000, 256, 3000),
    ]  # fmt: skip
    assert got[1][1] == data[2744:3000]
    rest = talk.flush(0)
    assert fresh(got) + fresh(rest) == data
    assert talk.flush(0) == [] and talk.flush(1) == []


def test_what_is_not_acknowledged_waits_for_the_end() -> None:
    talk = opened()
    assert talk.feed(0, "PA", C, S, b"x" * 4000)["due"] == []
    assert talk.feed(0, "PA", C + 4000, S, b"y" * 4000)["due"] == []
    assert talk.flush(0) == [(0, b"", b"x" * 4000 + b"y" * 4000)]


def test_closing_makes_the_rest_due() -> None:
    talk = opened()
    talk.feed(0, "PA", C, S, b"GET /")
    talk.feed(1, "A", S, C + 5)
    out = talk.feed(0, "FA", C + 5, S)
    assert out["due"] == [(0, b"", b"GET /")] and "eof" in out["flags"]


def test_inline_every_byte_is_due_at_once_with_context() -> None:
    tracker = StreamTracker(inline=True)
    talk = opened(tracker)
    assert talk.feed(0, "PA", C, S, b"abc")["due"] == [(0, b"", b"abc")]
    assert talk.feed(0, "PA", C + 3, S, b"def")["due"] == [(3, b"abc", b"def")]
    assert talk.feed(0, "PA", C + 9, S, b"jkl")["due"] == []
    assert talk.feed(0, "PA", C + 6, S, b"ghi")["due"] == [(6, b"abcdef", b"ghijkl")]
    talk.feed(0, "PA", C + 12, S, b"z" * 5000)
    _, context, new = talk.feed(0, "PA", C + 5012, S, b"!")["due"][0]
    assert (len(context), new) == (2560, b"!")


def test_a_hole_the_peer_acknowledged_is_skipped_and_reported() -> None:
    tracker = StreamTracker()
    talk = opened(tracker)
    talk.feed(0, "PA", C, S, b"VERY")
    talk.feed(0, "PA", C + 8, S, b"DATA")
    out = talk.feed(1, "A", S, C + 12)
    assert out["events"] == {"reassembly_seq_gap"}
    assert talk.feed(1, "A", S, C + 12)["events"] == set()
    assert talk.flush(0) == [(0, b"", b"VERY"), (8, b"", b"DATA")]
    assert tracker.stats()["reassembly_gap"] == 1


def test_after_a_gap_the_bytes_behind_it_come_at_once() -> None:
    talk = opened()
    talk.feed(0, "PA", C, S, b"a" * 100)
    talk.feed(0, "PA", C + 200, S, b"b" * 3000)
    talk.feed(1, "A", S, C + 3200)
    out = talk.feed(0, "PA", C + 3200, S, b"c")
    assert [(o, len(n)) for o, _, n in out["due"]] == [(0, 100), (200, 3000)]
    assert "gap" in out["flags"]
    out = talk.feed(0, "PA", C + 100, S, b"late")
    assert out["due"] == [] and talk.flush(0) == [(3200, b"b" * 256, b"c")]


def test_bytes_beyond_an_unacknowledged_hole_are_no_gap() -> None:
    tracker = StreamTracker()
    talk = opened(tracker)
    talk.feed(1, "PA", S, C, b"Please ")
    talk.feed(1, "PA", S + 11, C, b"Me In!")
    assert talk.feed(0, "A", C, S + 7)["events"] == set()
    out = talk.feed(0, "RA", C, S + 7, b"Access Denied")
    assert out["state"] == "closed" and "reassembly_seq_gap" not in out["events"]
    assert talk.flush(1) == [(0, b"", b"Please "), (11, b"", b"Me In!")]
    assert talk.flush(0) == []  # a RST's payload is not of the stream
    assert tracker.stats()["reassembly_gap"] == 0


def test_retransmission_is_told_and_adds_nothing() -> None:
    talk = opened()
    talk.feed(0, "PA", C, S, b"hello")
    assert "retransmission" in talk.feed(0, "PA", C, S, b"hello")["flags"]
    assert "retransmission" not in talk.feed(0, "PA", C + 3, S, b"lo world")["flags"]
    talk.feed(1, "A", S, C + 5)
    out = talk.feed(0, "PA", C, S, b"hello")
    assert out["events"] >= {"pkt_spurious_retransmission"}
    assert talk.flush(0) == [(0, b"", b"hello world")]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        # same start and length, new longer, new within, new ahead into old
        ("bsd", (b"GOOD", b"GOODBB", b"GOOD", b"xEVID")),
        ("first", (b"GOOD", b"GOODBB", b"GOOD", b"xGOOD")),
        ("last", (b"EVIL", b"EVILBB", b"GXXD", b"xEVID")),
        ("linux", (b"GOOD", b"EVILBB", b"GOOD", b"xEVID")),
        ("old-linux", (b"EVIL", b"EVILBB", b"GOOD", b"xEVID")),
        ("windows", (b"GOOD", b"GOODBB", b"GOOD", b"xEVID")),
        ("solaris", (b"EVIL", b"EVILBB", b"GOOD", b"xGOOD")),
    ],
)
def test_overlap_policies(policy: str, expected: tuple[bytes, ...]) -> None:
    def stream(*segments: tuple[int, bytes]) -> bytes:
        tracker = StreamTracker(policy=policy)
        talk = opened(tracker)
        events: set[str] = set()
        for at, data in segments:
            events |= talk.feed(0, "PA", C + at, S, data)["events"]
        assert "reassembly_overlap_different_data" in events
        assert tracker.stats()["overlap_diff_data"] == 1
        return fresh(talk.flush(0))

    assert stream((0, b"GOOD"), (0, b"EVIL")) == expected[0]
    assert stream((0, b"GOOD"), (0, b"EVILBB")) == expected[1]
    assert stream((0, b"GOOD"), (1, b"XX")) == expected[2]
    assert stream((1, b"GOOD"), (0, b"xEVI")) == expected[3]


@pytest.mark.parametrize("policy", POLICIES)
def test_inline_the_first_copy_stays(policy: str) -> None:
    talk = opened(StreamTracker(inline=True, policy=policy))
    assert fresh(talk.feed(0, "PA", C, S, b"GOOD")["due"]) == b"GOOD"
    out = talk.feed(0, "PA", C, S, b"EVIL!")
    assert out["due"] == [(4, b"GOOD", b"!")]
    talk.feed(0, "PA", C + 7, S, b"first")
    talk.feed(0, "PA", C + 7, S, b"other")
    assert fresh(talk.feed(0, "PA", C + 5, S, b"..XXX")["due"]) == b"..first"


def test_data_before_the_isn_is_cut_off() -> None:
    talk = opened()
    out = talk.feed(0, "PA", C - 4, S, b"EVILgood")
    assert "added" in out["flags"] and talk.flush(0) == [(0, b"", b"good")]


def test_depth() -> None:
    tracker = StreamTracker(depth=5000)
    talk = opened(tracker)
    assert talk.feed(0, "PA", C, S, b"a" * 4000)["due"] == []
    out = talk.feed(0, "PA", C + 4000, S, b"b" * 4000)
    assert "reassembly_depth_reached" in out["events"]
    talk.feed(1, "A", S, C + 8000)
    out = talk.feed(0, "PA", C + 8000, S, b"c" * 100)
    assert fresh(out["due"]) == b"a" * 4000 + b"b" * 1000
    assert "no_payload" in out["flags"] and "added" not in out["flags"]
    assert tracker.stats()["memuse"] < 4096  # the session alone
    assert talk.flush(0) == []


def test_out_of_order_limit() -> None:
    tracker = StreamTracker(max_segments=3)
    talk = opened(tracker)
    for i in range(1, 6):
        out = talk.feed(0, "PA", C + 10 * i, S, b"x")
    assert "reassembly_insert_limit" in out["events"] and "added" not in out["flags"]
    assert tracker.stats()["segment_limit_drop"] == 2


def test_memcap_never_exceeded_and_given_back() -> None:
    tracker = StreamTracker(memcap=100_000)
    talks = [opened(tracker) for _ in range(10)]
    events: set[str] = set()
    for i in range(40):
        for talk in talks:
            events |= talk.feed(0, "PA", C + 1000 * i, S, b"m" * 1000)["events"]
            assert tracker.stats()["memory_held"] <= 100_000
    assert "reassembly_insert_memcap" in events
    assert tracker.stats()["segment_memcap_drop"] > 0
    for talk in talks:
        talk.close()
    assert tracker.stats()["memuse"] == 0 and tracker.stats()["active"] == 0
    tiny = StreamTracker(memcap=0)
    assert Conversation(tiny).feed(0, "S", 1)["state"] == "none"
    assert tiny.stats()["ssn_memcap_drop"] == 1


def test_one_byte_segments_do_not_pile_up() -> None:
    tracker = StreamTracker()
    talk = opened(tracker)
    got = b""
    for i in range(20_000):
        got += fresh(talk.feed(0, "PA", C + i, S, bytes([i & 0xFF]))["due"])
        if i % 7 == 0:
            talk.feed(1, "A", S, C + i + 1)
    got += fresh(talk.flush(0))
    assert got == bytes(i & 0xFF for i in range(20_000))
    assert tracker.stats()["memuse_peak"] < 400_000


def test_bypassed_flow_holds_no_bytes() -> None:
    tracker = StreamTracker()
    talk = opened(tracker)
    empty = tracker.stats()["memuse"]
    talk.feed(0, "PA", C, S, b"x" * 2000)
    talk.mark(1 << 3)
    talk.feed(0, "PA", C + 2000, S, b"x" * 2000)
    assert tracker.stats()["memuse"] == empty and talk.flush(0) == []


def test_inspection_that_never_comes_is_harmless() -> None:
    tracker = StreamTracker(depth=0, memcap=1 << 20)
    talk = opened(tracker)
    for i in range(3000):
        talk.feed(0, "PA", C + 1000 * i, S, b"x" * 1000, inspect=False)
        talk.feed(1, "A", S, C + 1000 * (i + 1))
    assert tracker.stats()["memory_held"] <= 1 << 20
    talk.close()
    assert tracker.stats()["memuse"] == 0


def test_long_streams_keep_their_place_over_the_wrap() -> None:
    start = 0xFFFFFFF0
    talk = opened(StreamTracker(depth=0), c=start)
    data = bytes((i * 7) & 0xFF for i in range(30_000))
    got = b""
    for at in range(0, len(data), 1500):
        got += fresh(talk.feed(0, "PA", start + at, S, data[at : at + 1500])["due"])
        talk.feed(1, "A", S, start + at + 1500)
    assert got + fresh(talk.flush(0)) == data


@settings(max_examples=250, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=6000),
    cuts=st.lists(st.tuples(st.integers(0, 5999), st.integers(1, 1500)), max_size=25),
    order=st.randoms(use_true_random=False),
    start=st.sampled_from([1000, 0xFFFFFFFF, 0xFFFFF000, 0x7FFFFFF0, 0]),
    inline=st.booleans(),
    acks=st.integers(0, 3),
    policy=st.sampled_from(POLICIES),
    chunk=st.sampled_from([1, 100, 2560]),
    overlap=st.sampled_from([0, 10, 256]),
)
def test_any_cutting_order_and_repetition_gives_the_same_bytes(
    data: bytes, cuts: list[tuple[int, int]], order: Any, start: int, inline: bool, acks: int,
    policy: str, chunk: int, overlap: int,
) -> None:  # fmt: skip
    """Segments of one string, cut, repeated, overlapping and shuffled: every byte once."""
    tracker = StreamTracker(
        inline=inline, policy=policy, toserver_chunk=chunk, toclient_chunk=chunk, overlap=overlap
    )
    talk = opened(tracker, c=start)
    segments = [(a, data[a : a + n]) for a, n in cuts if a < len(data)]
    segments += [(a, data[a : a + 700]) for a in range(0, len(data), 700)]
    order.shuffle(segments)
    have = bytearray(len(data))
    got: list[tuple[int, bytes, bytes]] = []
    for at, piece in segments:
        out = talk.feed(0, "PA", start + at, S, piece)
        assert not out["events"] & {"reassembly_overlap_different_data", "reassembly_seq_gap"}
        got += out["due"]
        have[at : at + len(piece)] = b"\1" * len(piece)
        whole = have.find(0) if 0 in have else len(data)
        if acks and order.randrange(acks) == 0:
            talk.feed(1, "A", S, start + whole)
    got += talk.flush(0)
    at = 0
    for off, context, new in got:
        assert off == at and new == data[at : at + len(new)]
        assert context == data[at - len(context) : at] if context else True
        at += len(new)
    assert at == len(data)
    talk.close()
    assert tracker.stats()["memuse"] == 0


@settings(max_examples=250, deadline=None)
@given(
    segments=st.lists(
        st.tuples(
            st.integers(0, 1), st.sampled_from(["A", "PA", "FA", "R", "RA", "S", "SA", "", "F"]),
            st.integers(-50, 6000), st.integers(-50, 6000), st.binary(max_size=400),
            st.sampled_from([0, 1, 500, 65535]), st.sampled_from([None, 0, 5, 1 << 31]),
        ),
        max_size=60,
    ),
    inline=st.booleans(),
    midstream=st.booleans(),
    oneside=st.booleans(),
    policy=st.sampled_from(POLICIES),
    memcap=st.sampled_from([3000, 20_000, 1 << 20]),
    depth=st.sampled_from([0, 300, 1 << 20]),
)  # fmt: skip
def test_whatever_comes_it_holds_together(
    segments: list[Any], inline: bool, midstream: bool, oneside: bool, policy: str, memcap: int,
    depth: int,
) -> None:  # fmt: skip
    """Hostile segments: offsets only grow, limits hold, all memory comes back."""
    tracker = StreamTracker(
        inline=inline, midstream=midstream, async_oneside=oneside, policy=policy, memcap=memcap,
        depth=depth, max_segments=4, toserver_chunk=200, toclient_chunk=200, overlap=20,
    )  # fmt: skip
    talk = Conversation(tracker)
    if not midstream:
        talk.feed(0, "S", C - 1, tsval=5)
        talk.feed(1, "SA", S - 1, C, tsval=9, tsecr=5)
    reached = [0, 0]
    for side, flags, seq, ack, payload, window, tsval in segments:
        a, b = (C, S) if side == 0 else (S, C)
        out = talk.feed(side, flags, a + seq, b + ack, payload, window=window, tsval=tsval)
        for off, _, new in out["due"]:
            assert new and off >= reached[out["dir"]]
            reached[out["dir"]] = off + len(new)
        assert tracker.stats()["memory_held"] <= memcap
    for side in (0, 1):
        for off, _, new in talk.flush(side):
            assert new and off >= reached[side]
            reached[side] = off + len(new)
        assert not depth or reached[side] <= depth
    talk.close()
    assert tracker.stats()["memuse"] == 0
