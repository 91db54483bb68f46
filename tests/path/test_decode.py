"""decode: fields of frames built by hand and by scapy, links, tunnels, checksums."""

import struct
from typing import Any

import numpy as np
import pytest
import scapy.all as scapy
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decode_events import (
    A4,
    A6,
    B4,
    B6,
    eth,
    ext,
    fh,
    gre,
    icmp,
    ip4,
    ip6,
    label,
    nested,
    ones,
    tcp,
    udp,
)

from nsdata.errors import EngineError, SettingError
from nsdata.path.decode import decode_batch, decode_bytes, set_tunnel_ports

RAW = 101
INNER = ip4(6, tcp(body=b"inner"))
Layer = dict[str, Any]


def names(p: Layer) -> list[str]:
    return list(p["events"])


# ---- fields, built by scapy ----------------------------------------------------------


def test_tcp_over_ethernet() -> None:
    frame = bytes(
        scapy.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
        / scapy.IP(src="10.1.2.3", dst="10.4.5.6", ttl=9, tos=0x2E, id=77, flags="DF")
        / scapy.TCP(
            sport=1234, dport=443, seq=0xDEADBEEF, ack=0x01020304, flags="SEC", window=4096,
            urgptr=3,
            options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (11, 22)), ("WScale", 7)],
        )
        / b"hello"
    )  # fmt: skip
    (p,) = decode_bytes(frame)
    assert p["events"] == [] and p["flags"] == []
    assert (p["eth"], p["ip"], p["l4"], p["payload"]) == (0, 14, 34, 74)
    assert (p["ip_version"], p["proto"], p["ttl"], p["tos"], p["ip_id"]) == (4, 6, 9, 0x2E, 77)
    assert (p["frag_dont"], p["frag_more"], p["frag_off"]) == (1, 0, 0)
    assert (p["src"], p["dst"]) == (bytes([10, 1, 2, 3]), bytes([10, 4, 5, 6]))
    assert (p["sport"], p["dport"], p["seq"], p["ack"]) == (1234, 443, 0xDEADBEEF, 0x01020304)
    assert (p["tcp_flags"], p["window"], p["urgent"]) == (2 | 64 | 128, 4096, 3)
    assert (p["mss"], p["wscale"], p["sack_ok"], p["ts"]) == (1460, 7, True, (11, 22))
    assert (p["l4_hlen"], p["payload_len"], p["ip_len"]) == (40, 5, 65)


def test_ethernet_padding_is_not_payload() -> None:
    frame = eth(0x0800, ip4(17, udp(b"hi"))) + bytes(20)
    (p,) = decode_bytes(frame, checksums=False)
    assert p["payload_len"] == 2 and p["l4_len"] == 10


def test_tcp_without_options() -> None:
    (p,) = decode_bytes(ip4(6, tcp()), RAW)
    assert (p["mss"], p["wscale"], p["sack_ok"], p["ts"]) == (0, None, False, None)


def test_common_timestamp_option() -> None:
    (p,) = decode_bytes(ip4(6, tcp(b"\1\1\x08\x0a" + struct.pack("!II", 5, 6))), RAW)
    assert p["ts"] == (5, 6)


def test_ipv6_extension_headers_are_walked() -> None:
    chain = (
        ext(60, b"\5\2\0\0\1\0") + ext(43) + ext(51, b"\2\1abcd")
        + b"\x3c\4\0\0" + bytes(20) + ext(135, b"\5\2\0\0\1\0") + ext(139, bytes(6))
        + ext(140, bytes(6)) + ext(17, bytes(6))
    )  # fmt: skip
    (p,) = decode_bytes(ip6(0, chain + udp(b"deep", 53, 54)), RAW, checksums=False)
    assert (p["proto"], p["sport"], p["dport"], p["payload_len"]) == (17, 53, 54, 4)
    assert p["ip_hlen"] == 40 + len(chain) and p["l4"] == p["ip_hlen"]
    assert (p["src"], p["dst"]) == (A6, B6)


def test_too_many_extension_headers_end() -> None:
    (p,) = decode_bytes(ip6(60, ext(60) * 255 + ext(17) + udp()), RAW)
    assert "decoder.too_many_layers" in names(p) and "invalid" in p["flags"]


def test_traffic_class_and_hop_limit() -> None:
    data = bytearray(ip6(17, udp(), hops=3))
    data[0], data[1] = 0x6A, 0xB0
    (p,) = decode_bytes(bytes(data), RAW)
    assert (p["tos"], p["ttl"]) == (0xAB, 3)


def test_fragments_stop_before_l4() -> None:
    (p,) = decode_bytes(ip4(6, tcp(), frag=0x2000), RAW)
    assert p["flags"] == ["fragment"] and p["frag_more"] == 1
    assert (p["l4"], p["l4_len"], p["payload"], p["sport"]) == (20, 20, None, 0)
    (p,) = decode_bytes(ip6(44, fh(6, 16, 1) + bytes(24)), RAW)
    assert (p["proto"], p["frag_off"], p["ip_id"], p["l4"], p["l4_len"]) == (44, 16, 9, 48, 24)


def test_truncated_keeps_the_ip_header() -> None:
    frame = ip4(17, udp(b"x" * 100))[:60]
    (p,) = decode_bytes(frame, RAW)
    assert p["flags"] == ["invalid", "truncated"] and names(p) == ["ipv4.trunc_pkt"]
    assert (p["src"], p["proto"], p["ip_len"], p["l4"]) == (A4, 17, 60, None)


def test_icmp_error_quotes_a_packet() -> None:
    quoted = ip4(17, udp(sport=53, dport=4000), options=bytes(4))
    (p,) = decode_bytes(ip4(1, icmp(3, 3, quoted)), RAW)
    assert "icmp_error" in p["flags"]
    assert (p["icmp_inner_proto"], p["icmp_inner_sport"], p["icmp_inner_dport"]) == (17, 53, 4000)
    assert (p["icmp_inner_src"], p["icmp_inner_dst"]) == (A4, B4)
    (p,) = decode_bytes(ip6(58, icmp(1, 4, ip6(60, ext(6) + tcp()))), RAW)
    assert (p["icmp_inner_proto"], p["icmp_inner_sport"], p["icmp_inner_dport"]) == (6, 1, 2)
    assert (p["icmp_inner_src"], p["icmp_inner_dst"]) == (A6, B6)


def test_quoted_fragment_has_no_ports() -> None:
    (p,) = decode_bytes(ip4(1, icmp(11, 0, ip4(17, udp(), frag=5))), RAW)
    assert (p["icmp_inner_proto"], p["icmp_inner_sport"]) == (17, 0)


def test_echo() -> None:
    echo = struct.pack("!BBHHH", 8, 0, 0, 0x1234, 7) + b"ping"
    (p,) = decode_bytes(ip4(1, echo), RAW)
    assert (p["icmp_type"], p["icmp_id"], p["icmp_seq"], p["payload_len"]) == (8, 0x1234, 7, 4)


def test_sctp_and_esp() -> None:
    (p,) = decode_bytes(ip4(132, struct.pack("!HHII", 9, 10, 0, 0) + b"chunk"), RAW)
    assert (p["sport"], p["dport"], p["payload_len"]) == (9, 10, 5)
    (p,) = decode_bytes(ip6(50, bytes(8) + b"secret"), RAW)
    assert (p["proto"], p["l4_hlen"], p["payload_len"]) == (50, 8, 6)


# ---- link layers ---------------------------------------------------------------------

LINKS = {
    "ethernet": (1, eth(0x0800, INNER)),
    "vlan": (1, eth(0x8100, b"\x20\7\x08\0" + INNER)),
    "qinqinq": (1, eth(0x88A8, b"\0\1\x91\0\0\2\x81\0\0\3\x08\0" + INNER)),
    "mpls": (1, eth(0x8847, label(16, 0) + label(17) + INNER)),
    "mpls explicit null": (1, eth(0x8848, label(0) + INNER)),
    "mpls pseudowire": (1, eth(0x8847, label(17) + bytes(4) + eth(0x0800, INNER))),
    "pppoe": (1, eth(0x8864, b"\x11\0\0\1\0\x30\0\x21" + INNER)),
    "802.1ah": (1, eth(0x88E7, bytes(16) + b"\x08\0" + INNER)),
    "vntag": (1, eth(0x8926, bytes(4) + b"\x08\0" + INNER)),
    "fabricpath": (1, eth(0x8903, bytes(2) + eth(0x0800, INNER))),
    "nsh": (1, eth(0x894F, b"\0\6\1\1" + bytes(20) + INNER)),
    "nsh ethernet": (1, eth(0x894F, b"\0\2\2\3" + bytes(4) + eth(0x0800, INNER))),
    "sll": (113, bytes(14) + b"\x08\0" + INNER),
    "sll vlan": (113, bytes(14) + b"\x81\0\0\5\x08\0" + INNER),
    "sll2": (276, b"\x08\0" + bytes(18) + INNER),
    "null little": (0, b"\2\0\0\0" + INNER),
    "null big": (0, b"\0\0\0\2" + INNER),
    "loop": (108, b"\0\0\0\2" + INNER),
    "ppp": (9, b"\xff\3\0\x21" + INNER),
    "ppp compressed": (9, b"\x21" + INNER),
    "chdlc": (104, b"\x0f\0\x08\0" + INNER),
    "raw": (101, INNER),
    "raw bsd": (12, INNER),
    "ipv4": (228, INNER),
    "pppoe link": (51, b"\x11\0\0\1\0\x30\0\x21" + INNER),
}


@pytest.mark.parametrize("name", LINKS)
def test_link_layer(name: str) -> None:
    linktype, frame = LINKS[name]
    (p,) = decode_bytes(frame, linktype, checksums=False)
    assert p["events"] == []
    assert (p["proto"], p["sport"], p["dport"]) == (6, 1, 2)
    assert frame[p["payload"] :][: p["payload_len"]] == b"inner"


def test_vlan_identifiers() -> None:
    (p,) = decode_bytes(LINKS["qinqinq"][1])
    assert p["vlan"] == [1, 2, 3] and p["ethertype"] == 0x0800
    assert decode_bytes(LINKS["vlan"][1])[0]["vlan"] == [7]  # the priority is cut off


def test_ipv6_links() -> None:
    data = ip6(17, udp(b"x"))
    for linktype, head in ((229, b""), (0, b"\x1e\0\0\0"), (9, b"\xff\3\0\x57"), (1, eth(0x86DD))):
        (p,) = decode_bytes(head + data, linktype)
        assert (p["ip_version"], p["proto"], p["payload_len"]) == (6, 17, 1)


def test_arp_has_no_ip() -> None:
    (p,) = decode_bytes(bytes(scapy.Ether() / scapy.ARP()))
    assert (p["ip_version"], p["events"], p["ip"], p["ethertype"]) == (0, [], None, 0x0806)


def test_empty_frame() -> None:
    (p,) = decode_bytes(b"")
    assert names(p) == ["ethernet.pkt_too_small"]


# ---- tunnels -------------------------------------------------------------------------

V6 = ip6(6, tcp(body=b"inner"))
TUNNELS: dict[str, tuple[str, bytes]] = {
    "ip in ip": ("ipv4", ip4(4, INNER)),
    "6in4": ("ipv6", ip4(41, V6)),
    "4in6": ("ipv4", ip6(4, INNER)),
    "6in6": ("ipv6", ip6(41, V6)),
    "gre": ("gre", ip4(47, gre(0, 0x0800, INNER))),
    "gre v6": ("gre", ip6(47, gre(0, 0x86DD, V6))),
    "gre all fields": ("gre", ip4(47, gre(0xB000, 0x0800, bytes(12) + INNER))),
    "gre routed": (
        "gre", ip4(47, gre(0x4000, 0x0800, bytes(4) + b"\x08\0\0\4" + A4 + bytes(4) + INNER))
    ),
    "gre ethernet": ("gre", ip4(47, gre(0x2000, 0x6558, bytes(4) + eth(0x0800, INNER)))),
    "gre vlan": ("gre", ip4(47, gre(0, 0x8100, b"\0\x09\x08\0" + INNER))),
    "pptp": (
        "gre", ip4(47, gre(0x3081, 0x880B, b"\0\x30\0\1" + bytes(8) + b"\xff\3\0\x21" + INNER))
    ),
    "erspan I": ("erspan", ip4(47, gre(0, 0x88BE, eth(0x0800, INNER)))),
    "erspan II": (
        "erspan", ip4(47, gre(0x1000, 0x88BE, bytes(4) + b"\x10\7" + bytes(6) + eth(0x0800, INNER)))
    ),
    "vxlan": ("vxlan", ip4(17, udp(b"\x08\0\0\0\0\0\7\0" + eth(0x0800, INNER), dport=4789))),
    "geneve": (
        "geneve", ip4(17, udp(b"\2\0\x65\x58\0\0\7\0\0\1\1\1abcd" + eth(0x0800, INNER), dport=6081))
    ),
    "geneve ip": ("geneve", ip6(17, udp(b"\0\0\x86\xdd\0\0\7\0" + V6, dport=6081))),
    "teredo": ("teredo", ip4(17, udp(V6, dport=3544))),
    "teredo origin": ("teredo", ip4(17, udp(bytes(8) + V6, sport=3544))),
}  # fmt: skip


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnel(name: str) -> None:
    tunnel, data = TUNNELS[name]
    outer, inner = decode_bytes(data, RAW, checksums=False)
    assert outer["events"] == inner["events"] == []
    assert outer["flags"] == ["has_inner"] and inner["flags"] == ["tunneled"]
    assert (outer["layer"], inner["layer"]) == (0, 1)
    assert (outer["tunnel"], inner["tunnel"]) == ("", tunnel)
    assert (inner["proto"], inner["sport"]) == (6, 1)
    assert data[inner["payload"] :][: inner["payload_len"]] == b"inner"
    assert outer["payload_len"] > inner["ip_len"] - 1


def test_vlans_of_a_tunnel_follow_those_of_its_carrier() -> None:
    carrier = ip4(47, gre(0, 0x6558, eth(0x8100, b"\0\2\x08\0" + INNER)))
    outer, inner = decode_bytes(eth(0x8100, b"\0\1\x08\0" + carrier))
    assert (outer["vlan"], inner["vlan"]) == ([1], [1, 2])
    assert outer["eth"] == 0 and inner["eth"] == 18 + 20 + 4
    assert decode_bytes(TUNNELS["erspan II"][1], RAW)[1]["vlan"] == [7]


def test_arp_in_a_tunnel_is_no_layer() -> None:
    (p,) = decode_bytes(ip4(47, gre(0, 0x6558, bytes(scapy.Ether() / scapy.ARP()))), RAW)
    assert p["flags"] == [] and p["events"] == []


def test_a_broken_inner_header_is_told_on_its_own_layer() -> None:
    outer, inner = decode_bytes(ip4(47, gre(0, 0x0800, INNER[:30])), RAW)
    assert outer["events"] == [] and names(inner) == ["ipv4.trunc_pkt"]


def test_what_only_looks_like_teredo_is_udp() -> None:
    for data in (V6 + b"x", V6[:-1], b"\x60" + bytes(39)[1:], V6[:6] + b"\x3c" + V6[7:]):
        layers = decode_bytes(ip4(17, udp(data, dport=3544)), RAW, checksums=False)
        assert len(layers) == 1 and layers[0]["flags"] == [] and layers[0]["events"] == []


def test_depth_is_bounded() -> None:
    layers = decode_bytes(nested(7), RAW)
    assert [p["layer"] for p in layers] == list(range(8))
    assert layers[-1]["proto"] == 17 and names(layers[-1]) == []
    layers = decode_bytes(nested(20), RAW)
    assert len(layers) == 8 and names(layers[-1]) == ["decoder.too_many_layers"]


def test_tunnel_ports_are_settings() -> None:
    data = ip4(17, udp(b"\x08\0\0\0\0\0\7\0" + eth(0x0800, INNER), dport=8472))
    assert len(decode_bytes(data, RAW)) == 1
    try:
        set_tunnel_ports(vxlan=(4789, 8472))
        assert len(decode_bytes(data, RAW)) == 2
        set_tunnel_ports(vxlan=(), geneve=(), teredo=())
        assert len(decode_bytes(TUNNELS["vxlan"][1], RAW)) == 1
        for wrong in ((0,), (65536,), (1, 2, 3, 4, 5)):
            with pytest.raises(SettingError, match=r"decoder\.geneve\.ports"):
                set_tunnel_ports(geneve=wrong)
    finally:
        set_tunnel_ports()


# ---- checksums -----------------------------------------------------------------------

IPS = {4: scapy.IP(src="1.2.3.4", dst="5.6.7.8"), 6: scapy.IPv6(src="2001::1", dst="2001::2")}
L4S = {"tcp": scapy.TCP(options=[("MSS", 9)]), "udp": scapy.UDP()}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("l4", ["tcp", "udp", "icmp"])
@given(body=st.binary(max_size=200), bit=st.integers(0, 7), data=st.data())
@settings(max_examples=30, deadline=None)
def test_checksums(version: int, l4: str, body: bytes, bit: int, data: st.DataObject) -> None:
    upper = L4S.get(l4) or (scapy.ICMP() if version == 4 else scapy.ICMPv6EchoRequest())
    frame = bytes(IPS[version] / upper / body)
    (p,) = decode_bytes(frame, RAW)
    assert p["flags"] == []
    if version == 4:
        at = data.draw(st.integers(12, 19))
    else:
        at = data.draw(st.integers(p["l4"], len(frame) - 1).filter(lambda i: i not in (4, 5)))
    broken = bytearray(frame)
    broken[at] ^= 1 << bit
    want = ["bad_ip_csum", "bad_l4_csum"] if version == 4 else ["bad_l4_csum"]
    if version == 4 and l4 == "icmp":
        want = ["bad_ip_csum"]  # no pseudo-header
    flags = decode_bytes(bytes(broken), RAW)[0]["flags"]
    if "invalid" not in flags:
        zeroed = l4 == "udp" and broken[p["l4"] + 6 : p["l4"] + 8] == b"\0\0" and version == 4
        assert zeroed or [f for f in flags if "csum" in f] == want
    assert "csum" not in str(decode_bytes(bytes(broken), RAW, checksums=False)[0]["flags"])


def test_udp_without_checksum() -> None:
    assert decode_bytes(ip4(17, udp(b"x")), RAW)[0]["flags"] == []
    assert decode_bytes(ip6(17, udp(b"x")), RAW)[0]["flags"] == ["bad_l4_csum"]


def test_fragments_have_no_l4_checksum() -> None:
    assert decode_bytes(ip4(6, tcp(), frag=0x2000), RAW)[0]["flags"] == ["fragment"]


def test_source_routed_ipv6_is_not_summed() -> None:
    routed = b"\6\2\2\1" + bytes(4) + A6
    assert decode_bytes(ip6(43, routed + tcp()), RAW)[0]["flags"] == []
    routed = b"\6\2\2\0" + bytes(4) + A6
    assert decode_bytes(ip6(43, routed + tcp()), RAW)[0]["flags"] == ["bad_l4_csum"]


# ---- the batch door ------------------------------------------------------------------


def test_batch_counts_what_single_frames_give() -> None:
    frames = [f for _, f in TUNNELS.values()] + [b"", b"\x45"]
    offset = np.cumsum([0] + [len(f) for f in frames[:-1]]).astype(np.uint64)
    caplen = np.array([len(f) for f in frames], np.uint32)
    kind = np.full(len(frames), RAW, np.uint16)
    data = np.frombuffer(b"".join(frames), np.uint8)
    found, payload, events = decode_batch(data, offset, caplen, caplen, kind, True)
    layers = [p for f in frames for p in decode_bytes(f, RAW)]
    assert found == len(layers)
    assert payload == sum(p["payload_len"] for p in layers)
    assert events >= sum(bool(p["events"]) for p in layers) > 0
    with pytest.raises(EngineError, match="frame 1 lies outside"):
        decode_batch(data[: len(frames[0])], offset, caplen, caplen, kind)
    with pytest.raises(EngineError, match="differ in length"):
        decode_batch(data, offset, caplen[1:], caplen, kind)


def test_ones_is_a_checksum() -> None:
    head = ip4(17, udp())[:20]
    assert ones(head) == 0
