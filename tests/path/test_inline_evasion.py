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


def test_an_overlapping_fragment_is_dropped() -> None:
    pieces = traffic.fragments(datagram(bytes(40)), 16)
    run = Run("", inline=True).feed([pieces[0], pieces[1], pieces[1], pieces[2]]).finish()
    assert [v == 0 for v in run.verdicts] == [True, True, False, True]
    assert Run("").feed([pieces[0], pieces[1], pieces[1], pieces[2]]).finish().verdicts == [0] * 4


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
