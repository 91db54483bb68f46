"""decode: what no input may do, and real packets as dpkt reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decode import LINKS, TUNNELS
from test_decode_events import TRIGGERS

from nsdata.path.decode import decode_bytes

RAW = 101
Layer = dict[str, Any]
SOUND = [(lt, f) for lt, f in LINKS.values()] + [(RAW, f) for _, f in TUNNELS.values()]

# ---- no input may do this ------------------------------------------------------------


def within(layers: list[Layer], size: int) -> None:
    """Every pointer and length lies in the frame, and the parts follow each other."""
    assert 1 <= len(layers) <= 8
    for i, p in enumerate(layers):
        assert p["layer"] == i
        assert (p["ip"] is None) == (p["ip_version"] == 0)
        for start, length in (("ip", "ip_len"), ("l4", "l4_len"), ("payload", "payload_len")):
            if p[start] is None:
                assert p[length] == 0
            else:
                assert 0 <= p[start] <= p[start] + p[length] <= size
        if p["l4"] is not None:
            assert p["l4"] == p["ip"] + p["ip_hlen"]
            assert p["l4_len"] == p["ip_len"] - p["ip_hlen"]
        if p["payload"] is not None:
            assert p["payload"] == p["l4"] + p["l4_hlen"]
            assert p["l4_hlen"] + p["payload_len"] <= p["l4_len"]


LINKTYPES = [0, 1, 9, 12, 50, 51, 101, 104, 108, 113, 147, 228, 229, 276]


@given(data=st.binary(max_size=400), linktype=st.sampled_from(LINKTYPES), sums=st.booleans())
@settings(max_examples=400, deadline=None)
def test_arbitrary_bytes(data: bytes, linktype: int, sums: bool) -> None:
    within(decode_bytes(data, linktype, sums), len(data))


@given(
    frame=st.sampled_from(SOUND + list(TRIGGERS.values())),
    changes=st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), max_size=6),
)
@settings(max_examples=400, deadline=None)
def test_broken_frames(frame: tuple[int, bytes], changes: list[tuple[int, int]]) -> None:
    linktype, data = frame[0], bytearray(frame[1])
    for at, value in changes:
        if data:
            data[at % len(data)] = value
    within(decode_bytes(bytes(data), linktype), len(data))


@pytest.mark.parametrize("frame", SOUND, ids=[*LINKS, *TUNNELS])
def test_cut_at_every_length(frame: tuple[int, bytes]) -> None:
    linktype, data = frame
    whole = decode_bytes(data, linktype, checksums=False)
    for size in range(len(data)):
        layers = decode_bytes(data[:size], linktype)
        within(layers, size)
        assert any(p["events"] for p in layers) or len(layers) < len(whole), size


# ---- many real packets, by other decoders --------------------------------------------


def packets(path: Path, limit: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        try:
            reader = dpkt.pcap.UniversalReader(file)
        except (ValueError, dpkt.dpkt.Error):
            return
        if reader.datalink() != 1:
            return
        for i, (_, data) in enumerate(reader):
            if i == limit:
                return
            yield data


def agree(data: bytes) -> int:
    """Compare the outermost layer with dpkt's reading; 1 if there was something to compare."""
    try:
        frame = dpkt.ethernet.Ethernet(data)
    except dpkt.dpkt.Error:
        return 0
    outer = decode_bytes(data, checksums=False)[0]
    ip = frame.data
    if "invalid" in outer["flags"] or not isinstance(ip, dpkt.ip.IP | dpkt.ip6.IP6):
        return 0
    assert (outer["src"], outer["dst"]) == (ip.src, ip.dst)
    if isinstance(ip, dpkt.ip.IP):
        assert (outer["ttl"], outer["proto"], outer["ip_id"]) == (ip.ttl, ip.p, ip.id)
        assert (outer["ip_hlen"], outer["ip_len"]) == (ip.hl * 4, ip.len)
    if "fragment" in outer["flags"]:
        return 1
    upper = ip.data
    if isinstance(upper, dpkt.tcp.TCP) and outer["proto"] == 6:
        assert (outer["sport"], outer["dport"]) == (upper.sport, upper.dport)
        assert (outer["seq"], outer["ack"]) == (upper.seq, upper.ack)
        assert (outer["window"], outer["tcp_flags"]) == (upper.win, upper.flags)
        assert outer["l4_hlen"] == upper.off * 4
        at = outer["payload"]
        assert data[at : at + outer["payload_len"]] == upper.data
    elif isinstance(upper, dpkt.udp.UDP) and outer["proto"] == 17:
        assert (outer["sport"], outer["dport"]) == (upper.sport, upper.dport)
    elif isinstance(upper, dpkt.icmp.ICMP) and outer["proto"] == 1:
        assert (outer["icmp_type"], outer["icmp_code"]) == (upper.type, upper.code)
    return 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_agrees_with_dpkt_on_real_packets(shared: Path) -> None:
    compared = 0
    files = sorted(shared.glob("conformance/cases/*/*/*.pcap*"))
    for path in files:
        for data in packets(path, 300):
            compared += agree(data)
    for data in packets(shared / "captures" / "mixed.pcap", 40000):
        compared += agree(data)
    assert compared > 10000


def test_every_shared_capture_stays_in_bounds(shared: Path) -> None:
    for path in sorted(shared.glob("conformance/cases/*/*/*.pcap*")):
        for data in packets(path, 200):
            within(decode_bytes(data), len(data))
