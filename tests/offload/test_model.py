"""The golden model against the contract in plain Python, and against values worked out by hand."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from offload import reference
from offload.frames import ETHER, frames, ipv4, ipv6, tcp, udp

from nsdata.offload import model
from nsdata.offload.entry import (
    FlowAction,
    FlowEntry,
    FlowKey,
    Parse,
    PortRange,
    Verdict,
)

KEYS = st.builds(
    FlowKey,
    st.integers(0, 1), st.integers(0, 2), st.integers(0, 4095), st.integers(0, 4095),
    st.integers(0, 255), st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1),
    st.integers(0, 65535), st.integers(0, 65535),
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(frames())
@example(b"")
@example(ipv4(tcp(), total=65535) + bytes(65600))
def test_parse_is_the_contracts(frame: bytes) -> None:
    parsed = model.parse(frame)
    assert (parsed.parse, parsed.fields, parsed.lookup, parsed.len_short) == reference.parse(frame)


@pytest.mark.parametrize(
    ("frame", "parse"),
    [
        (ETHER + b"\x08", Parse.RUNT),
        (ETHER + b"\x81\x00\x00\x01\x08", Parse.RUNT),
        (ETHER + b"\x08\x06" + bytes(40), Parse.NOT_IP),
        (ipv4(tcp(), vlans=(1, 2, 3)), Parse.NOT_IP),
        (ETHER + b"\x88\x47" + bytes(40), Parse.TUNNEL),
        (ipv4(tcp(), words=4), Parse.MALFORMED),
        (ipv4(tcp(), frag=0x2000), Parse.FRAGMENT),
        (ipv4(tcp(), 47, frag=5), Parse.FRAGMENT),
        (ipv6(tcp(), 44), Parse.FRAGMENT),
        (ipv4(tcp(), 44), Parse.OTHER),
        (ipv4(b"", 47), Parse.TUNNEL),
        (ipv4(udp(dport=4789), 17), Parse.TUNNEL),
        (ipv4(tcp(dport=4789)), Parse.OK),
        (ipv4(tcp(), total=39), Parse.MALFORMED),
        (ipv4(b"", 58), Parse.OTHER),
        (ipv6(b"", 58), Parse.OK),
        (ipv6(tcp(), 0), Parse.OTHER),
        (ipv4(tcp(), words=15, vlans=(7, 8)), Parse.OK),
    ],
)
def test_parse_by_hand(frame: bytes, parse: Parse) -> None:
    assert model.parse(frame).parse == parse


def test_a_key_by_hand() -> None:
    parsed = model.parse(ipv4(tcp(1025, 80), vlans=(100, 200)))
    assert parsed.fields == FlowKey.of("10.1.2.3", "192.168.4.5", 6, 1025, 80, (100, 200))
    # v6 | tags | outer | inner | proto | src | dst | sport | dport
    assert parsed.key == int(
        "0" "10" f"{100:012b}" f"{200:012b}" f"{6:08b}" f"{0x0A010203:0128b}"
        f"{0xC0A80405:0128b}" f"{1025:016b}" f"{80:016b}", 2
    )  # fmt: skip
    assert parsed.lookup and not parsed.len_short
    assert model.parse(ipv4(tcp(), total=500)).len_short
    assert model.parse(ipv4(tcp(), 47, total=500)).len_short
    assert not model.parse(ipv4(tcp(), version=5, total=500)).len_short


@settings(deadline=None)
@given(KEYS, st.integers(1, 12))
def test_sets_and_entries(key: FlowKey, sets_log2: int) -> None:
    assert FlowKey.unpack(key.pack()) == key
    assert key.pack() < 1 << 323
    assert model.flow_set(key.pack(), sets_log2) == reference.flow_set(key.pack(), sets_log2)
    entry = FlowEntry(key, FlowAction.BLOCK, 200)
    assert FlowEntry.unpack(entry.pack()) == entry
    assert sum(word << 64 * i for i, word in enumerate(entry.words())) == entry.pack()
    assert entry.pack() >> 323 == 1 << 10 | 2 << 8 | 200


def flow_model(key: FlowKey, action: FlowAction, way: int = 0, **entry: int) -> model.Model:
    block = model.Model(4, model.Prefilter(np.zeros(16, np.uint64), 0, 4, 1))
    fields = {"generation": 0, "valid": 1, **entry}
    address = 2 * model.flow_set(key.pack(), 4) + way
    block.write(address, FlowEntry(key, action, **fields).words())
    return block


@settings(deadline=None)
@given(KEYS, st.integers(0, 322), st.integers(0, 1))
def test_a_flow_is_found_by_its_whole_key(key: FlowKey, bit: int, way: int) -> None:
    block = flow_model(key, FlowAction.BYPASS, way)
    assert block.lookup(key.pack()) == FlowAction.BYPASS
    other = key.pack() ^ 1 << bit
    block.entries[:] = block.entries[2 * model.flow_set(key.pack(), 4) + way]
    assert block.lookup(other) == FlowAction.NONE, "every set holds the key, none another"


def test_no_bit_of_the_key_is_ignored() -> None:
    key = FlowKey.of("10.0.0.1", "10.0.0.2", 6, 1, 2)
    block = flow_model(key, FlowAction.BYPASS)
    block.entries[:] = FlowEntry(key, FlowAction.BYPASS, 0).words()
    assert block.lookup(key.pack()) == FlowAction.BYPASS
    assert not any(block.lookup(key.pack() ^ 1 << bit) for bit in range(323))


def test_generations() -> None:
    key = FlowKey.of("10.0.0.1", "10.0.0.2", 6, 1, 2)
    block = flow_model(key, FlowAction.BYPASS)
    block.flush()
    assert (block.generation, block.lookup(key.pack())) == (1, FlowAction.NONE)
    for _ in range(254):
        block.flush()
    assert block.entries.any()
    block.flush()
    assert block.generation == 0 and not block.entries.any(), "else old entries would live again"
    assert flow_model(key, FlowAction.BLOCK, generation=3).lookup(key.pack()) == FlowAction.NONE
    assert flow_model(key, FlowAction.BLOCK, valid=0).lookup(key.pack()) == FlowAction.NONE


def test_way_0_goes_first() -> None:
    key = FlowKey.of("10.0.0.1", "10.0.0.2", 6, 1, 2)
    block = flow_model(key, FlowAction.BLOCK, 1)
    at = 2 * model.flow_set(key.pack(), 4)
    block.write(at, FlowEntry(key, FlowAction.BYPASS, 0).words())
    assert block.lookup(key.pack()) == FlowAction.BYPASS


@settings(max_examples=300, deadline=None)
@given(
    st.binary(min_size=8, max_size=60), st.integers(0, 2**32 - 1), st.integers(4, 7),
    st.integers(1, 3), st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_filter_is_the_contracts(frame, seed, buckets_log2, words, random) -> None:
    """Tables full of random slots (mostly misses), some of which are of the frame (hits)."""
    table = [0] * (words << buckets_log2)
    for length, kind in ((4, 1), (6, 2), (8, 3)):
        at = random.randrange(len(frame) - length + 1)
        window = frame[at : at + length]
        fp = model.fingerprint(window)
        assert fp == reference.raw_crc32c(window.lower()) & 0x7FFFF
        bucket = model.bucket_of(window, seed, buckets_log2)
        assert bucket == reference.bucket(window, seed, buckets_log2)
        if random.random() < 0.3:
            place = random.randrange(3)
            word = bucket * words + random.randrange(words)
            table[word] &= ~(0x1FFFFF << 21 * place)
            table[word] |= (kind << 19 | fp ^ random.choice((0, 1, 1 << 18))) << 21 * place
    filter_ = model.Prefilter(np.array(table, np.uint64), seed, buckets_log2, words)
    for cut in (len(frame), len(frame) - 1, len(frame) // 2, 3, 0):
        part = frame[:cut]
        wanted = reference.prefilter_hit(part, table, seed, buckets_log2, words)
        assert filter_.hit(part) == wanted
        assert filter_.hit(part.swapcase()) == wanted
        assert bool(filter_.places(part)) == wanted


@settings(deadline=None)
@given(
    KEYS,
    st.lists(st.builds(PortRange, *[st.integers(0, 65535)] * 2, *[st.booleans()] * 3), max_size=16),
)
def test_ports(key: FlowKey, ranges: list[PortRange]) -> None:
    for proto in (1, 6, 17, 58, 47):
        one = key._replace(proto=proto)
        hit = model.ports_hit(one.pack(), ranges)
        assert hit == reference.ports_hit(one, ranges)
        assert hit == model.ports_hit(one.pack(), [each.pack() for each in ranges])
    assert [PortRange.unpack(each.pack()) for each in ranges] == ranges


def test_too_many_ranges() -> None:
    with pytest.raises(ValueError, match="16"):
        model.ports_hit(0, [PortRange()] * 17)


@settings(deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda width: st.lists(
            st.lists(st.integers(0, 2**64 - 1) | st.just(0), min_size=width, max_size=width),
            min_size=1, max_size=20,
        )
    ),
    st.integers(0, 5000),
)  # fmt: skip
def test_signature(entries: list[list[int]], start: int) -> None:
    array = np.array(entries, dtype=np.uint64)
    assert model.signature(array, start) == reference.signature(entries, start)


def test_a_signature_by_hand() -> None:
    assert model.signature(np.zeros((9, 2), np.uint64)) == 0
    entry = np.zeros((3, 1), np.uint64)
    entry[2, 0] = 0x0102030405060708
    assert model.signature(entry) == zlib.crc32(bytes([2, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1]))


def verdict_of(frame: bytes, action: FlowAction, hit: bool = False, ports: bool = False) -> int:
    key = model.parse(frame).fields
    block = flow_model(key, action)
    table = np.zeros(16, np.uint64)
    if hit:
        window = frame[4:12]
        table[model.bucket_of(window, 0, 4)] = 3 << 19 | model.fingerprint(window)
    ranges = [PortRange(0, 65535, True, True, True)] if ports else []
    block.load(model.Prefilter(table, 0, 4, 1), ranges)
    return model.verdict(frame, block)


def test_verdicts() -> None:
    whole, cut = ipv4(tcp()), ipv4(tcp(), total=90)
    fragment = ipv4(tcp(), frag=0x2000)
    none, bypass, block = FlowAction
    assert verdict_of(whole, none) == Verdict.CLEAR
    assert verdict_of(whole, none, hit=True) == Verdict.SUSPECT
    assert verdict_of(whole, none, ports=True) == Verdict.SUSPECT
    assert verdict_of(whole, bypass, hit=True, ports=True) == Verdict.BYPASS
    assert verdict_of(whole, block, hit=True) == Verdict.BLOCK
    assert verdict_of(cut, none) == Verdict.SUSPECT
    assert verdict_of(cut, bypass) == Verdict.SUSPECT
    assert verdict_of(cut, block) == Verdict.BLOCK
    assert verdict_of(fragment, block) == Verdict.SUSPECT, "not looked up"
    assert verdict_of(ipv4(b"x" * 30, 1), none) == Verdict.CLEAR
    assert verdict_of(ipv4(b"x" * 30, 1), bypass) == Verdict.CLEAR, "only TCP and UDP have flows"


def test_without_a_table_all_are_suspect() -> None:
    assert model.Model().verdict(ipv4(tcp())) == Verdict.SUSPECT


def test_a_batch_is_its_frames() -> None:
    key = model.parse(ipv4(tcp())).fields
    block = flow_model(key, FlowAction.BYPASS)
    each = [ipv4(tcp()), b"", ipv6(udp(), 17), ETHER, ipv4(tcp(), total=99)]
    data = np.frombuffer(b"".join(each), np.uint8)
    length = np.array([len(one) for one in each], np.uint32)
    offset = np.cumsum(np.r_[0, length[:-1]]).astype(np.uint64)
    assert block.verdicts(data, offset, length).tolist() == [block.verdict(one) for one in each]
    result = block.inspect(data, offset, length)
    for one, row in zip(each, result, strict=True):
        parsed = model.parse(one)
        assert (row["parse"], row["lookup"], row["len_short"]) == (
            parsed.parse, parsed.lookup, parsed.len_short,
        )  # fmt: skip
    with pytest.raises(ValueError, match="outside"):
        block.verdicts(data, offset, length + np.uint32(1))
    assert block.verdicts(data[:0], offset[:0], length[:0]).shape == (0,)
