"""defrag: any order gives the datagram back, overlaps by policy, limits, time-outs."""

import itertools
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decode_events import ext, fh, ip4, ip6, ones, tcp, udp

from nsdata.errors import EngineError, SettingError
from nsdata.path.decode import decode_bytes
from nsdata.path.defrag import POLICIES, Defrag

SECOND = 1_000_000_000
Piece = tuple[int, bytes, bool]  # offset in bytes, data, more to come


def v4(piece: Piece, ident: int = 7, proto: int = 17, options: bytes = b"") -> bytes:
    offset, data, more = piece
    packet = bytearray(ip4(proto, data, options, offset // 8 | (0x2000 if more else 0)))
    packet[4:6] = struct.pack("!H", ident)
    return bytes(packet)


def v6(piece: Piece, ident: int = 7, proto: int = 17, before: bytes = b"") -> bytes:
    offset, data, more = piece
    header = struct.pack("!BBHI", proto, 0, offset | more, ident)
    return ip6(60 if before else 44, before + header + data)


def split(data: bytes, cuts: list[int]) -> list[Piece]:
    """Cut `data` at multiples of 8."""
    at = [0, *sorted({c * 8 for c in cuts if 0 < c * 8 < len(data)}), len(data)]
    return [(a, data[a:b], b < len(data)) for a, b in itertools.pairwise(at)]


def feed(defrag: Defrag, packets: list[bytes]) -> tuple[bytes | None, list[str]]:
    """Feed all; the one rebuilt datagram and all events."""
    whole, events = None, []
    for packet in packets:
        result, found = defrag.feed(packet)
        events += found
        assert result is None or whole is None
        whole = whole or result
    return whole, events


# ---- whole datagrams -----------------------------------------------------------------


@given(
    data=st.binary(min_size=9, max_size=6000),
    cuts=st.lists(st.integers(1, 750), min_size=1, max_size=20),
    order=st.randoms(use_true_random=False),
    version=st.sampled_from([4, 6]),
    extended=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_any_order_gives_the_datagram_back(
    data: bytes, cuts: list[int], order: Any, version: int, extended: bool
) -> None:
    pieces = split(data, cuts)
    if len(pieces) == 1:
        pieces = split(data, [1])
    if version == 4:
        head = b"\x94\4\0\0" * 2 if extended else b""
        packets = [v4(p, options=head) for p in pieces]
        want = bytearray(ip4(17, data, head))
    else:
        head = ext(0x2C, b"\5\2\0\0\1\0") if extended else b""
        packets = [v6(p, before=head) for p in pieces]
        want = bytearray(ip6(60, b"\x11" + head[1:] + data) if extended else ip6(17, data))
    order.shuffle(packets)
    defrag = Defrag()
    whole, events = feed(defrag, packets)
    assert whole == bytes(want) and events == []
    stats = defrag.stats()
    assert (stats["rebuilt"], stats["fragments"]) == (1, len(packets))
    assert stats["trackers"] == stats["memuse"] == 0


def test_rebuilt_ipv4_header() -> None:
    segment = tcp(body=bytes(40))
    whole, _ = feed(Defrag(), [v4(p, proto=6) for p in split(segment, [1, 2, 5])])
    assert whole is not None
    assert ones(whole[:20]) == 0 and whole[6:8] == b"\0\0"
    (p,) = decode_bytes(whole, 101)
    assert (p["proto"], p["sport"], p["payload_len"], p["events"]) == (6, 1, 40, [])


def test_long_extension_headers_and_ah() -> None:
    options = bytes([51, 31]) + b"\1\xfe" + bytes(252)  # 256 bytes, then AH of 24
    auth = b"\4\0\0" + bytes(20)
    first = ip6(60, options + b"\x2c" + auth + fh(17, 0, 1) + bytes(8))
    last = ip6(60, options + b"\x2c" + auth + fh(17, 8) + b"tail")
    whole, _ = feed(Defrag(), [last, first])
    assert whole == ip6(60, options + b"\x11" + auth + bytes(8) + b"tail")


def test_the_largest_datagrams() -> None:
    data = bytes(range(256)) * 256
    for make, size in ((v4, 65515), (v6, 65535)):
        pieces = split(data[:size], list(range(100, 8192, 100)))
        whole, events = feed(Defrag(), [make(p) for p in pieces])
        assert whole is not None and whole[-size:] == data[:size] and events == []


def test_tiny_fragments() -> None:
    data = bytes(range(250)) * 4
    whole, _ = feed(Defrag(), [v4(p) for p in split(data, list(range(200)))])
    assert whole == ip4(17, data)


# ---- what keeps datagrams apart ------------------------------------------------------


def test_key() -> None:
    defrag = Defrag(seed=99)
    first, last = split(bytes(16), [1])
    assert defrag.feed(v4(first))[0] is None
    others: list[tuple[bytes, tuple[int, ...]]] = [
        (v4(last, ident=8), ()), (v4(last, proto=6), ()), (v6(last), ()), (v4(last), (5,)),
    ]  # fmt: skip
    for packet, vlan in others:
        assert defrag.feed(packet, vlan=vlan)[0] is None
    assert defrag.stats()["trackers"] == 5
    assert defrag.feed(v4(last))[0] == ip4(17, bytes(16))


@given(st.permutations(range(40)), st.integers(0, 2**64 - 1))
@settings(max_examples=20, deadline=None)
def test_many_at_once(order: list[int], seed: int) -> None:
    defrag = Defrag(seed=seed, max_trackers=64)
    first, last = split(bytes(16), [1])
    for ident in order:
        assert defrag.feed(v4(first, ident))[0] is None
    for ident in reversed(order):
        assert defrag.feed(v4(last, ident))[0] is not None
    assert defrag.stats()["trackers"] == 0


# ---- overlaps ------------------------------------------------------------------------

# The model of Novak, "Target-Based Fragmentation Reassembly" (2005): (unit, units), in
# order of arrival; every policy's outcome by letter, one letter per unit of 8 bytes.
NOVAK = {
    "A": (0, 3), "B": (4, 2), "C": (6, 3), "D": (10, 1), "E": (13, 2), "F": (15, 3),
    "G": (18, 2), "H": (20, 2), "I": (22, 1), "J": (1, 4), "K": (6, 3), "L": (9, 3),
    "M": (12, 3), "N": (16, 1), "O": (19, 1), "P": (20, 1), "Q": (22, 2),
}  # fmt: skip
OUTCOME = {
    "bsd": "AAAJJBCCCLLLMMMFFFGGHHIQ",
    "linux": "AAAJJBKKKLLLMMMFFFGGPHQQ",
    "windows": "AAAJBBCCCLLLMEEFFFGGHHIQ",
    "solaris": "AAAJBBCCCLLLMMMFFFGGHHIQ",
    "first": "AAAJBBCCCLDLMEEFFFGGHHIQ",
    "last": "AJJJJBKKKLLLMMMFNFGOPHQQ",
}


@pytest.mark.parametrize("policy", OUTCOME)
@pytest.mark.parametrize("make", [v4, v6])
def test_overlap_policies(policy: str, make: Any) -> None:
    packets = [
        make((unit * 8, letter.encode() * units * 8, letter != "Q"))
        for letter, (unit, units) in NOVAK.items()
    ]
    whole, events = feed(Defrag(policy=policy), packets)
    assert whole is not None
    assert whole[-192::8].decode() == OUTCOME[policy]
    assert events and set(events) == {f"ipv{4 if make is v4 else 6}.frag_overlap"}


def wins(policy: str, new: tuple[int, int], old: tuple[int, int]) -> bool:
    """The policies over again, from their description."""
    return {
        "first": False,
        "last": True,
        "bsd": new[0] < old[0],
        "bsd-right": new[0] >= old[0],
        "linux": new[0] <= old[0],
        "windows": new[0] < old[0] and new[1] > old[1],
        "solaris": new[0] < old[0] and new[1] >= old[1],
    }[policy]


@given(
    spans=st.lists(st.tuples(st.integers(0, 19), st.integers(1, 8)), min_size=1, max_size=12),
    policy=st.sampled_from(sorted(POLICIES)),
)
@settings(max_examples=300, deadline=None)
def test_overlaps_follow_the_policy(spans: list[tuple[int, int]], policy: str) -> None:
    spans = [(a, min(a + n, 20)) for a, n in spans]
    owner: dict[int, int] = {}
    for i, span in enumerate(spans):
        for unit in range(*span):
            if unit not in owner or wins(policy, span, spans[owner[unit]]):
                owner[unit] = i
    defrag = Defrag(policy=policy)
    packets = [v4((a * 8, bytes([i + 1]) * (b - a) * 8, True)) for i, (a, b) in enumerate(spans)]
    whole, _ = feed(defrag, packets)
    assert whole is None
    # Fill each hole by itself, then end the datagram.
    for unit in range(20):
        if unit not in owner:
            assert defrag.feed(v4((unit * 8, bytes(8), True)))[0] is None
    whole, _ = defrag.feed(v4((160, b"end", False)))
    assert whole is not None
    assert list(whole[20:180:8]) == [owner.get(unit, -1) + 1 for unit in range(20)]


def test_a_retransmission_overlaps_and_harms_nothing() -> None:
    pieces = split(bytes(range(40)), [2, 3])
    defrag = Defrag()
    whole, events = feed(defrag, [v4(pieces[0]), v4(pieces[0]), v4(pieces[1]), v4(pieces[2])])
    assert whole == ip4(17, bytes(range(40))) and events == ["ipv4.frag_overlap"]
    assert defrag.stats()["overlap"] == 1


# ---- what does not belong ------------------------------------------------------------


def test_too_large() -> None:
    for make, version, offset, size in ((v4, 4, 65512, 4), (v6, 6, 65528, 8)):
        defrag = Defrag()
        whole, events = defrag.feed(make((offset, bytes(size), False)))
        assert whole is None and events == [f"ipv{version}.frag_pkt_too_large"]
        assert defrag.stats()["too_large"] == 1 and defrag.stats()["trackers"] == 0


def test_past_the_known_end() -> None:
    defrag = Defrag()
    first, _, last = split(bytes(24), [1, 2])
    defrag.feed(v4(last))
    assert defrag.feed(v4((32, bytes(8), True))) == (None, ["ipv4.frag_ignored"])
    assert defrag.feed(v4((16, bytes(4), False))) == (None, ["ipv4.frag_overlap"])
    assert defrag.feed(v4((8, bytes(8), True)))[0] is None
    assert defrag.feed(v4(first))[0] == ip4(17, bytes(24))


def test_a_last_fragment_before_data_already_here() -> None:
    defrag = Defrag()
    defrag.feed(v6((0, bytes(16), True)))
    assert defrag.feed(v6((8, b"x", False))) == (None, ["ipv6.frag_overlap"])
    assert defrag.feed(v6((16, b"end", False)))[0] == ip6(17, bytes(16) + b"end")


def test_odd_lengths() -> None:
    defrag = Defrag()  # IPv6: discarded (RFC 8200 §4.5); IPv4: cut to a multiple of 8
    assert defrag.feed(v6((0, bytes(9), True))) == (None, [])
    assert defrag.stats()["bad_length"] == 1 and defrag.stats()["trackers"] == 0
    defrag.feed(v4((0, bytes(15), True)))
    assert defrag.feed(v4((8, b"tail", False)))[0] == ip4(17, bytes(8) + b"tail")
    assert defrag.feed(v4((8, b"", False), ident=9)) == (None, ["ipv4.frag_ignored"])


def test_whole_datagrams_pass_by() -> None:
    defrag = Defrag()
    assert defrag.feed(ip4(17, udp())) == (None, [])
    assert defrag.stats()["fragments"] == 0
    with pytest.raises(EngineError, match="not a whole"):
        defrag.feed(b"\x45")


# ---- limits and time -----------------------------------------------------------------


def test_out_of_trackers_the_oldest_goes() -> None:
    defrag = Defrag(max_trackers=3)
    first, last = split(bytes(16), [1])
    for ident in (1, 2, 3):
        defrag.feed(v4(first, ident))
    defrag.feed(v4((8, bytes(8), True), 1))  # 1 is used again: 2 is the oldest now
    defrag.feed(v4(first, 4))
    assert defrag.stats()["dropped_trackers"] == 1 and defrag.stats()["trackers"] == 3
    for ident, here in ((1, True), (3, True), (4, True)):
        last_of = v4((16, b"e", False), ident) if ident == 1 else v4(last, ident)
        assert (defrag.feed(last_of)[0] is not None) == here
    assert defrag.feed(v4(last, 2))[0] is None


def test_out_of_memory_the_oldest_goes() -> None:
    defrag = Defrag(memcap=4 * 3072)  # four pages
    for ident in range(6):
        assert defrag.feed(v4((0, bytes(2048), True), ident))[1] == []
    stats = defrag.stats()
    assert stats["dropped_memcap"] == 2 and stats["trackers"] == 4
    assert stats["memuse"] <= 4 * (3072 + 1024)


def test_one_datagram_larger_than_the_memory() -> None:
    defrag = Defrag(memcap=4 * 3072)
    events = [defrag.feed(v4((i * 2048, bytes(2048), True)))[1] for i in range(6)]
    assert events == [[], [], [], [], ["ipv4.frag_ignored"], ["ipv4.frag_ignored"]]
    # It is still there, and gives its pages back when it is given up.
    defrag.expire_before(61 * SECOND)
    assert defrag.stats()["trackers"] == defrag.stats()["memuse"] == 0


def test_fragments_per_datagram_are_limited() -> None:
    defrag = Defrag(max_fragments=3)
    events = [defrag.feed(v4((i * 8, bytes(8), True)))[1] for i in range(5)]
    assert events == [[], [], [], ["ipv4.frag_ignored"], ["ipv4.frag_ignored"]]
    assert defrag.stats()["max_fragments"] == 2


def test_time_out() -> None:
    first, last = split(bytes(16), [1])
    defrag = Defrag(timeout_s=30)
    defrag.feed(v4(first), ts_ns=1 * SECOND)
    defrag.expire_before(31 * SECOND)
    assert defrag.stats()["trackers"] == 1
    defrag.expire_before(31 * SECOND + 1)
    assert defrag.stats()["trackers"] == 0 and defrag.stats()["timed_out"] == 1
    # Without expire(): a fragment that comes too late begins anew.
    defrag.feed(v4(first), ts_ns=40 * SECOND)
    assert defrag.feed(v4(last), ts_ns=71 * SECOND)[0] is None
    assert defrag.stats()["timed_out"] == 2
    assert defrag.feed(v4(first), ts_ns=72 * SECOND)[0] is not None


@pytest.mark.parametrize(
    "setting",
    [{"max_trackers": 0}, {"memcap": 100}, {"timeout_s": 0}, {"max_fragments": 1},
     {"policy": "beos"}],
)  # fmt: skip
def test_settings(setting: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"defrag\."):
        Defrag(**setting)


@given(
    packets=st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 8191), st.integers(0, 40), st.booleans(),
            st.sampled_from([4, 6]), st.integers(0, 100),
        ),
        max_size=60,
    ),
    policy=st.sampled_from(sorted(POLICIES)),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_any_fragments(packets: list[tuple[int, int, int, bool, int, int]], policy: str) -> None:
    defrag = Defrag(max_trackers=3, memcap=6 * 3072, max_fragments=20, policy=policy)
    for ident, unit, size, more, version, now in packets:
        piece = ((unit if unit % 3 else unit % 9) * 8, bytes(size), more)
        packet = v4(piece, ident) if version == 4 else v6(piece, ident)
        whole, _ = defrag.feed(packet, ts_ns=now * SECOND)
        if whole is not None:
            assert decode_bytes(whole, 101)[0]["ip_len"] == len(whole)
        stats = defrag.stats()
        assert stats["trackers"] <= 3 and stats["memuse"] <= 6 * 3072 + 3 * 1024
    defrag.expire_before(10_000 * SECOND)
    assert defrag.stats()["trackers"] == defrag.stats()["memuse"] == 0
