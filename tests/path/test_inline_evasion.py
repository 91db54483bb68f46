"""Inline, no byte may pass that was not the one inspected."""

import traffic
from engines import Run
from traffic import ACK, PSH, Talk

EVIL = 'drop tcp any any -> any any (content:"EVIL"; flow:established; sid:1;)'


def datagram(body: bytes) -> bytes:
    return traffic.ip(
        17, traffic.udp_datagram(body, "10.0.0.1", "10.0.0.2"), "10.0.0.1", "10.0.0.2"
    )


def test_no_fragment_follows_a_dropped_datagram() -> None:
    rule = 'drop udp any any -> any any (content:"EVIL"; sid:1;)'
    pieces = traffic.fragments(datagram(bytes(16) + b"EVIL" + bytes(16)), 16)
    run = Run(rule, inline=True).feed([*pieces, pieces[-1], pieces[0]]).finish()
    assert all(v == 0 for v in run.verdicts[: len(pieces) - 1])
    assert all(v != 0 for v in run.verdicts[len(pieces) - 1 :])
    # another datagram between the same hosts is not its fellow
    other = traffic.fragments(datagram(bytes(40)), 16, ident=100)
    run = Run(rule, inline=True).feed([*pieces, *other]).finish()
    assert all(v == 0 for v in run.verdicts[len(pieces) :])


def test_a_duplicate_fragment_passes_and_one_that_says_otherwise_ends_the_datagram() -> None:
    pieces = traffic.fragments(datagram(bytes(40)), 16)
    other = traffic.fragments(datagram(bytes(16) + b"EVIL" + bytes(20)), 16)
    same = Run("", inline=True).feed([pieces[0], pieces[1], pieces[1], pieces[2]]).finish()
    assert same.verdicts == [0] * 4
    frames = [pieces[0], pieces[1], other[1], pieces[2], pieces[1]]
    run = Run("", inline=True).feed(frames).finish()
    assert [v == 0 for v in run.verdicts] == [True, True, False, False, False]
    assert Run("").feed(frames).finish().verdicts == [0] * 5


def test_a_drop_for_an_overlap_does_not_hide_the_datagram_from_the_rules() -> None:
    rule = 'drop udp any any -> any any (content:"EVIL"; sid:1;)'
    body = bytes(20) + b"EVIL" + bytes(40)
    whole = traffic.udp_datagram(body, "10.0.0.1", "10.0.0.2")

    def piece(start: int, end: int) -> bytes:
        more = 0x2000 if end < len(whole) else 0
        part = whole[start:end]
        return traffic.frame(
            traffic.ip(17, part, "10.0.0.1", "10.0.0.2", ident=5, frag=more | start // 8)
        )

    frames = [piece(0, 32), piece(24, len(whole)), piece(32, len(whole))]
    run = Run(rule, inline=True).feed(frames).finish()
    assert run.fired() == {1: 1}
    assert [v == 0 for v in run.verdicts] == [True, False, False]


def test_many_dropped_datagrams_do_not_free_an_earlier_one() -> None:
    rule = 'drop udp any any -> any any (content:"EVIL"; sid:1;)'
    body = bytes(8) + b"EVIL" + bytes(20)
    whole = datagram(body)
    first = traffic.fragments(whole, 16, ident=1)
    flood = [f for ident in range(2, 3000) for f in traffic.fragments(whole, 24, ident=ident)]
    frames = [*first, *flood, first[-1]]
    run = Run(rule, inline=True).feed(frames).finish()
    assert run.verdicts[-1] != 0


def test_a_segment_that_says_otherwise_is_dropped() -> None:
    talk = Talk().open()
    # a hole, then bytes behind it twice, each time others
    at = talk.next[0]
    first = talk.segment(0, PSH | ACK, b"GOOD", at + 4)
    second = talk.segment(0, PSH | ACK, b"EVIL", at + 4)
    same = talk.segment(0, PSH | ACK, b"GOOD", at + 4)
    frames = [*talk.frames, first, second, same]
    verdicts = Run("", inline=True).feed(frames).finish().verdicts
    assert [v == 0 for v in verdicts[3:]] == [True, False, True]
    assert Run("").feed(frames).finish().verdicts == [0] * 6


def test_what_could_not_be_kept_for_inspection_does_not_pass() -> None:
    talk = Talk().open()
    at = talk.next[0]
    waiting = [talk.segment(0, PSH | ACK, b"x", at + 10 + 2 * i) for i in range(1100)]
    verdicts = Run(EVIL, inline=True).feed([*talk.frames, *waiting]).finish().verdicts
    passed = sum(v == 0 for v in verdicts[3:])
    assert 0 < passed <= 1024
    assert all(v != 0 for v in verdicts[3 + passed :])
