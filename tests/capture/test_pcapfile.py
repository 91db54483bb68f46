"""Reading captures: every format, as other readers read them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from capture_builders import (
    ETHERNET,
    MODIFIED,
    NSEC,
    RAW,
    USEC,
    Frame,
    block,
    enhanced,
    interface,
    obsolete,
    option,
    pcap,
    pcapng,
    read,
    section,
    simple,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.capture import open_capture
from nsdata.capture.index import timestamp_ns
from nsdata.errors import CaptureError

FRAMES: list[Frame] = [
    (1_600_000_000_123_456_000 + i * 1_000_000, bytes(range(i * 5)), i * 5 + i % 3, ETHERNET)
    for i in range(9)
]

frame_lists = st.lists(
    st.builds(
        lambda ts, data, more, link: (ts, data, len(data) + more, link),
        st.integers(0, (2**32 - 1) * 10**9 + 10**9 - 1),
        st.binary(max_size=70),
        st.integers(0, 2000),
        st.sampled_from([ETHERNET, RAW, 113, 276, 65535]),
    ),
    max_size=30,
)


def shared() -> Path:
    root = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("NSDATA_SHARED", root.parent / "shared"))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "a capture"
        path.write_bytes(data)
        return path

    return write


# -- classic pcap


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("magic", [USEC, NSEC, MODIFIED])
def test_pcap_of_every_magic_and_byte_order(file, order: str, magic: int) -> None:
    path = file(pcap(FRAMES, order, magic))
    assert read(path) == (FRAMES, None)
    with open_capture(path) as reader:
        assert reader.format == "pcap"
        assert reader.byte_order == ("little" if order == "<" else "big")
        assert reader.resolution == ("10^-9 s" if magic == NSEC else "10^-6 s")
        assert reader.linktypes == (ETHERNET,)
        assert reader.compression is None
        assert reader.size_bytes == path.stat().st_size


@pytest.mark.parametrize("minor", [0, 2, 3])
def test_old_minor_versions_have_the_lengths_the_other_way_round(file, minor: int) -> None:
    assert read(file(pcap(FRAMES, minor=minor))) == (FRAMES, None)


def test_upper_bits_of_the_link_type_are_the_fcs_length(file) -> None:
    found, _ = read(file(pcap(FRAMES, link=0x14000001)))
    assert {link for *_, link in found} == {ETHERNET}


def test_unknown_link_type_is_still_read(file) -> None:
    frames = [(ts, data, wire, 54321) for ts, data, wire, _ in FRAMES]
    assert read(file(pcap(frames, link=54321))) == (frames, None)


@given(frames=frame_lists, order=st.sampled_from("<>"), batch=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_pcap_of_any_frames(tmp_path_factory, frames, order, batch) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pcap"
    frames = [(ts, data, wire, RAW) for ts, data, wire, _ in frames]
    path.write_bytes(pcap(frames, order, NSEC, link=RAW))
    assert read(path, batch) == (frames, None)


# -- pcapng


@given(frames=frame_lists, order=st.sampled_from("<>"), batch=st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_pcapng_of_any_frames(tmp_path_factory, frames, order, batch) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pcapng"
    path.write_bytes(pcapng(frames, order))
    assert read(path, batch) == (frames, None)


def test_sections_differ_in_byte_order_and_have_their_own_interfaces(file) -> None:
    data = (
        section("<", length=12345)  # a wrong section length does not matter
        + interface("<", link=1, name="eth0")
        + interface("<", link=101, tsresol=9)
        + enhanced("<", 1, 7_000_000_001, b"raw")
        + section(">")
        + interface(">", link=113, tsresol=0x80 | 10, tsoffset=100, name="any")
        + enhanced(">", 0, 3 * 1024 + 512, b"cooked", wire=99)
        + section("<")
        + interface("<", link=1, tsoffset=-1)
        + enhanced("<", 0, 5_000_001, b"late")
    )
    frames, fault = read(file(data))
    assert fault is None
    assert frames == [
        (7_000_000_001, b"raw", 3, 101),
        (103_500_000_000, b"cooked", 99, 113),
        (4_000_001_000, b"late", 4, 1),
    ]
    with open_capture(file(data)) as reader:
        list(reader)
        assert [(i.name, i.linktype, i.section) for i in reader.interfaces] == [
            ("eth0", 1, 0),
            ("", 101, 0),
            ("any", 113, 1),
            ("", 1, 2),
        ]
        assert reader.linktypes == (1, 101, 113)
        assert reader.resolution == "10^-6 s, 10^-9 s, 2^-10 s"
        assert reader.interfaces[2].tsoffset == 100


@pytest.mark.parametrize("order", "<>")
def test_every_packet_block(file, order: str) -> None:
    data = (
        section(order)
        + interface(order, snaplen=6)
        + block(order, 0x0BAD, b"unknown")
        + enhanced(order, 0, 1_000_000, b"12345", options=option(order, 1, b"a comment"))
        + simple(order, b"abcdef", wire=60)  # cut by the snaplen
        + simple(order, b"abc")
        + obsolete(order, 0, 2_000_000, b"old")
        + block(order, 5, b"\0" * 12)
    )
    assert read(file(data)) == (
        [
            (1_000_000_000, b"12345", 5, 1),
            (1_000_000_000, b"abcdef", 60, 1),  # no time of its own: that of the one before
            (1_000_000_000, b"abc", 3, 1),
            (2_000_000_000, b"old", 3, 1),
        ],
        None,
    )


GOOD = section() + interface() + enhanced("<", 0, 1, b"good")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (struct.pack("<II", 6, 0), "0 bytes long"),
        (struct.pack("<II", 6, 8), "8 bytes long"),
        (struct.pack("<II", 6, 33), "33 bytes long"),
        (struct.pack("<II", 6, 2**31), f"{2**31} bytes long"),
        (struct.pack("<II", 6, 28) + b"\0" * 16 + struct.pack("<I", 28), "28 bytes long"),
        (struct.pack("<III", 5, 16, 0) + struct.pack("<I", 20), "16 bytes long in front and 20"),
        (enhanced("<", 1, 1, b"x"), "interface 1, where 1 are described"),
        (
            block("<", 6, struct.pack("<IIIII", 0, 0, 0, 9, 9) + b"12345678"),
            "9 bytes, where 8 are possible",
        ),
        (simple("<", b"1234", wire=5), "5 bytes, where 4 are possible"),
        (block("<", 3, b""), "12 bytes long"),
        (block("<", 1, b"1234"), "16 bytes long"),
        (interface(tsresol=6)[:16] + b"\x09\0\2\0" + interface(tsresol=6)[20:], "option 9 with 2"),
        (block("<", 1, b"\1\0\0\0\0\0\0\0" + b"\2\0\xff\0name"), "option 2 with 255"),
        (section(version=(2, 7)), "version 2.7"),
        (block("<", 0x0A0D0D0A, b"\0" * 16), "byte-order magic"),
        (block("<", 0x0A0D0D0A, struct.pack("<IHH", 0x1A2B3C4D, 1, 0)), "20 bytes long"),
    ],
)
def test_corrupt_pcapng_names_the_block(file, bad: bytes, says: str) -> None:
    path = file(GOOD + bad + b"\0" * 64)
    frames, fault = read(path)
    assert frames == [(1000, b"good", 4, 1)]
    assert fault is not None
    assert fault.offset == len(GOOD)
    assert says in fault.reason
    assert str(path) in str(fault)


def test_simple_packet_needs_an_interface(file) -> None:
    frames, fault = read(file(section() + simple("<", b"abc")))
    assert not frames
    assert fault is not None and fault.offset == 28


def test_number_of_interfaces_is_limited(file) -> None:
    frames, fault = read(file(section() + interface() * 5000))
    assert fault is not None and "more than 4096 interfaces" in fault.reason
    sections = (section() + interface() + enhanced("<", 0, 1, b"x")) * 5000
    frames, fault = read(file(sections))
    assert (len(frames), fault) == (5000, None)


@given(st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=500, deadline=None)
def test_timestamps_of_any_resolution(ticks: int, tsresol: int, tsoffset: int) -> None:
    base = 2 if tsresol & 0x80 else 10
    exact = ticks * 10**9 // base ** (tsresol & 0x7F) + tsoffset * 10**9
    got = timestamp_ns(ticks, tsresol, tsoffset)
    if exact < 0:
        assert got == 0
    elif exact >= 9223372036 * 10**9:
        assert got == 2**63 - 1
    else:
        assert abs(got - exact) <= 1  # finer than 2^-34 s is cut
        if not tsresol & 0x80 or tsresol & 0x7F <= 34:
            assert got == exact


# -- use


def test_arrays_are_read_only_views(file) -> None:
    with open_capture(file(pcap(FRAMES))) as reader:
        for batch in reader:
            for name in ("data", "offset", "caplen", "wirelen", "ts_ns", "linktype"):
                with pytest.raises(ValueError, match="read-only"):
                    getattr(batch, name)[0] = 1
            assert batch.data.size == reader.size_bytes  # the mapping itself


def test_reader_can_be_iterated_again_and_outlived(file) -> None:
    path = file(pcap(FRAMES))
    with open_capture(path) as reader:
        assert [len(batch) for batch in reader] == [9]
        assert [len(batch) for batch in reader.batches(4)] == [4, 4, 1]
        batch = next(iter(reader))
    reader.close()
    assert batch.data[int(batch.offset[1])] == 0
    with open_capture(path) as reader:
        first, second = reader.batches(4), None
        next(first)
        second = reader.batches(4)
        assert [len(batch) for batch in second] == [4, 4, 1]
        assert list(first) == []
    with open_capture(path) as reader:
        left = reader.batches(2)
        next(left)
    assert list(left) == []


# -- against other readers


def captures() -> list[Path]:
    root = shared()
    return sorted(
        path
        for pattern in ("conformance/cases/**/*.pcap*", "captures/*.pcap*")
        for path in root.glob(pattern)
    )


@pytest.mark.skipif(not captures(), reason="no shared captures")
def test_agrees_with_dpkt_on_every_shared_capture() -> None:
    import dpkt

    compared = 0
    for path in captures():
        ours, fault = read_arrays(path)
        with path.open("rb") as file:
            try:
                theirs = list(dpkt.pcap.UniversalReader(file))
            except (ValueError, dpkt.Error):
                continue
        if fault is None:
            assert len(ours) == len(theirs), path
        else:  # dpkt believes any length; libpcap and we do not
            assert "corrupt" in fault.reason, path
        for (ts, data), (their_ts, their_data) in zip(ours, theirs, strict=False):
            assert data == their_data, path
            assert abs(ts / 1e9 - float(their_ts)) < 1e-6, path
        compared += 1
    assert compared > 0


def read_arrays(path: Path) -> tuple[list[tuple[int, bytes]], CaptureError | None]:
    frames: list[tuple[int, bytes]] = []
    try:
        with open_capture(path) as reader:
            for batch in reader:
                ends = batch.offset + batch.caplen.astype(np.uint64)
                frames += [
                    (ts, batch.data[start:end].tobytes())
                    for ts, start, end in zip(
                        batch.ts_ns.tolist(), batch.offset.tolist(), ends.tolist(), strict=True
                    )
                ]
    except CaptureError as error:
        return frames, error
    return frames, None


@pytest.mark.parametrize("order", "<>")
def test_agrees_with_scapy_on_pcapng(file, order: str) -> None:
    from scapy.utils import RawPcapNgReader

    frames = [(1_700_000_000 * 10**9 + i, bytes([i] * i), i, 1) for i in range(1, 20)]
    path = file(pcapng(frames, order))
    with RawPcapNgReader(str(path)) as reader:
        theirs = [
            ((meta.tshigh << 32) + meta.tslow, bytes(data), meta.wirelen) for data, meta in reader
        ]
    ours, fault = read(path)
    assert fault is None
    assert [frame[:3] for frame in ours] == theirs
