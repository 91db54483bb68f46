"""Segments: which of them a frame is of, and what becomes of its frames that are not inspected."""

import ipaddress
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import traffic
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_port import FALLBACK, FRAMES, ledger, make_ring, offer

from nsdata.errors import EngineError
from nsdata.fallback.ledger import Why
from nsdata.path.port import PENDING, Port
from nsdata.path.port_segments import SEGMENTS_MOST, Segments

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Spec = tuple[Sequence[int], Sequence[Network]]

NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "10.0.0.7/32", "10.0.1.0/24", "128.0.0.0/1",
        "255.255.255.255/32", "::/0", "2001:db8::/32", "2001:db8::1/128", "ffff::/16",
    )
]  # fmt: skip
V4 = ("0.0.0.0", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.1.1", "128.0.0.0", "255.255.255.255")
V6 = ("::1", "2001:db8::1", "2001:db8::2", "ffff::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
specs = st.lists(
    st.tuples(
        st.lists(st.sampled_from([0, 1, 5, 4095]), max_size=3),
        st.lists(st.sampled_from(NETWORKS), max_size=4),
    ),
    max_size=6,
)
OUTSIDE = {"share": 0}
UNINSPECTED = ({"mode": FALLBACK}, OUTSIDE, {})  # the last: there is no worker
ends = st.one_of(*(st.tuples(st.sampled_from(v), st.sampled_from(v)) for v in (V4, V6)))
tagged = st.lists(st.sampled_from([0, 1, 5, 9, 4095]), max_size=2)


def table(spec: Sequence[Spec]) -> Segments:
    return Segments([
        (vlans, [(n.version, n.network_address.packed, n.prefixlen) for n in networks])
        for vlans, networks in spec
    ])  # fmt: skip


def meant(spec: Sequence[Spec], vlans: Sequence[int], addresses: Sequence[str]) -> int:
    """The first segment that takes such a frame, by the book."""
    found = [ipaddress.ip_address(text) for text in addresses]
    for number, (ids, networks) in enumerate(spec):
        if (not ids or (vlans and vlans[0] in ids)) and (
            not networks or any(a in n for a in found for n in networks)
        ):
            return number
    return len(spec)


def used(port: Port) -> list[int]:
    """Segments of which something was not inspected."""
    return [number for number, counts in enumerate(port.exposure()) if any(counts)]


@settings(max_examples=400, deadline=None)
@given(specs, tagged, ends, st.sampled_from(UNINSPECTED))
@example([([], [ipaddress.ip_network("10.0.0.0/24")])], [5], ("10.0.0.7", "10.0.1.1"), OUTSIDE)
def test_the_first_segment_that_takes_a_frame_has_it(
    spec: list[Spec], vlans: list[int], between: tuple[str, str], how: dict[str, int]
) -> None:
    """By the outermost VLAN and either address; in fallback, outside the share of a re-entry and
    without a worker alike."""
    port = Port(1, 0, table(spec))
    sent = traffic.udp(b"x", *between, vlans=vlans)
    offer(port, [sent], **how)
    mine = meant(spec, vlans, between)
    assert used(port) == [mine]
    assert port.exposure()[mine] == (1, len(sent), 0, 0)
    port.block(1 << mine)
    assert offer(port, [sent], **how) == [Why.FALLBACK_BLOCK]
    assert port.exposure()[mine] == (1, len(sent), 1, len(sent))


@settings(max_examples=100, deadline=None)
@given(specs, st.lists(st.tuples(tagged, ends), max_size=20), st.integers(0, 127))
def test_what_is_blocked_and_what_is_permitted(
    spec: list[Spec], sent: list[Any], blocked: int
) -> None:
    """Each frame by its segment, and counted there; what a failed worker had as well."""
    blocked &= (2 << len(spec)) - 1
    port, (mine, _) = Port(1, 0, table(spec)), make_ring()
    port.block(blocked)
    frames = [traffic.udp(b"x" * i, *ends, vlans=v) for i, (v, ends) in enumerate(sent)]
    where = [meant(spec, vlans, ends) for vlans, ends in sent]
    stopped = np.array([bool(blocked >> segment & 1) for segment in where], bool)
    fates = np.where(stopped, Why.FALLBACK_BLOCK, Why.FALLBACK)
    assert np.array_equal(offer(port, frames, mode=FALLBACK), fates)
    port.attach(0, mine)
    assert (offer(port, frames) == PENDING).all()
    left = port.detach(0)
    found = np.concatenate([slot[-1] for slot in left]) if left else np.zeros(0)
    assert np.array_equal(found, np.where(stopped, Why.FALLBACK_BLOCK, Why.WORKER))
    for segment, (permitted, size, dropped, dropped_size) in enumerate(port.exposure()):
        of = [2 * len(f) for f, number in zip(frames, where, strict=True) if number == segment]
        all_of_it = (2 * len(of), sum(of))
        gone = blocked >> segment & 1
        assert (dropped, dropped_size) == (all_of_it if gone else (0, 0))
        assert (permitted, size) == ((0, 0) if gone else all_of_it)
    assert ledger(port).received.packets == 2 * len(frames)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=80), min_size=1, max_size=20), specs)
def test_frames_that_are_no_packets(frames: list[bytes], spec: list[Spec]) -> None:
    """Whatever comes is of one segment."""
    port = Port(1, 0, table(spec))
    offer(port, frames, mode=FALLBACK)
    packets = sum(counts[0] for counts in port.exposure())
    assert packets == len(frames) == ledger(port).bypassed.packets


def test_a_frame_without_addresses_is_of_no_network() -> None:
    arp = traffic.eth(0x0806, bytes(28), (5,))
    everywhere = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    port = Port(1, 0, table([([], everywhere), ([5], [])]))
    offer(port, [arp], mode=FALLBACK)
    assert used(port) == [1]


def test_what_is_inspected_is_not_exposed() -> None:
    port, (mine, _) = Port(1, 0, table([([], [NETWORKS[0]])])), make_ring()
    port.attach(0, mine)
    assert port.missing == 0
    offer(port, [traffic.udp(b"x")] * FRAMES)
    assert not used(port)


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([((), ())] * (SEGMENTS_MOST + 1), "at most 32"),
        ([((4096,), ())], "no VLAN 4096"),
        ([((-1,), ())], "no VLAN -1"),
        ([((), [(4, bytes(16), 8)])], "no network"),
        ([((), [(4, bytes(4), 33)])], "no network"),
        ([((), [(6, bytes(16), 129)])], "no network"),
        ([((), [(5, b"", 0)])], "no network"),
    ],
)
def test_what_makes_no_sense(segments: list[Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        Segments(segments)


def test_a_segment_that_is_not_there_is_not_blocked() -> None:
    most = Port(1, 0, Segments([((), ())] * SEGMENTS_MOST))
    most.block((2 << SEGMENTS_MOST) - 1)
    with pytest.raises(EngineError, match="33 segments"):
        most.block(2 << SEGMENTS_MOST)
    with pytest.raises(EngineError, match="1 segments"):
        Port(1).block(2)
