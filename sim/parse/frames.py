"""Frames for the parser's tests: named ones with what they must give, grids, lies, captures."""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

from scapy.contrib.geneve import GENEVE
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE, PPPoED
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw
from scapy.utils import RawPcapReader

from nsdata.offload.entry import FlowKey, Parse

MAC = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="192.0.2.1", dst="198.51.100.200")
V6 = IPv6(src="2001:db8::1:2", dst="2001:db8:ffff::abcd")
T = TCP(sport=40000, dport=443, flags="PA")
U = UDP(sport=40001, dport=53)
DATA = Raw(b"payload " * 4)
TPIDS = (0x8100, 0x88A8, 0x9100)
ETHERTYPES = (0x0800, 0x86DD, *TPIDS, 0x8847, 0x8848, 0x8863, 0x8864, 0x0806, 0)
TUNNEL_PROTOCOLS = (4, 41, 47, 50, 51, 94, 97, 137)
TUNNEL_PORTS = (2152, 3544, 4789, 6081)


def _v4(proto: int, sport: int, dport: int, vlans: tuple[int, ...] = ()) -> FlowKey:
    return FlowKey.of("192.0.2.1", "198.51.100.200", proto, sport, dport, vlans)


def _v6(proto: int, sport: int, dport: int, vlans: tuple[int, ...] = ()) -> FlowKey:
    return FlowKey.of("2001:db8::1:2", "2001:db8:ffff::abcd", proto, sport, dport, vlans)


def named() -> list[tuple[str, bytes, Parse, FlowKey | None]]:
    """(name, frame, what the parser must say, the key it must give), written down by hand."""
    ok, tunnel, other = Parse.OK, Parse.TUNNEL, Parse.OTHER
    malformed, fragment, not_ip = Parse.MALFORMED, Parse.FRAGMENT, Parse.NOT_IP
    qinq = Dot1AD(vlan=0xABC, prio=7) / Dot1Q(vlan=0x123, prio=5)
    cases: list[tuple[str, Packet | bytes, Parse, FlowKey | None]] = [
        ("tcp4", MAC / V4 / T / DATA, ok, _v4(6, 40000, 443)),
        ("udp4", MAC / V4 / U / DATA, ok, _v4(17, 40001, 53)),
        ("icmp4", MAC / V4 / ICMP() / DATA, ok, _v4(1, 0, 0)),
        ("tcp6", MAC / V6 / T / DATA, ok, _v6(6, 40000, 443)),
        ("udp6", MAC / V6 / U / DATA, ok, _v6(17, 40001, 53)),
        ("icmp6", MAC / V6 / ICMPv6EchoRequest() / DATA, ok, _v6(58, 0, 0)),
        ("vlan", MAC / Dot1Q(vlan=7, prio=3) / V4 / T / DATA, ok, _v4(6, 40000, 443, (7,))),
        ("qinq", MAC / qinq / V4 / U / DATA, ok, _v4(17, 40001, 53, (0xABC, 0x123))),
        ("qinq6", MAC / qinq / V6 / T / DATA, ok, _v6(6, 40000, 443, (0xABC, 0x123))),
        ("0x9100", Ether(type=0x9100) / Raw(bytes(Dot1Q(vlan=9) / V4 / T)), ok,
         _v4(6, 40000, 443, (9,))),
        ("three tags", MAC / qinq / Dot1Q(vlan=1) / V4 / T, not_ip, None),
        ("arp", MAC / ARP(), not_ip, None),
        ("802.3 length", Ether(type=40) / DATA, not_ip, None),
        ("mpls", MAC / MPLS() / V4 / T, tunnel, None),
        ("mpls multicast", Ether(type=0x8848) / Raw(bytes(MPLS() / V4 / T)), tunnel, None),
        ("pppoe", MAC / PPPoE() / PPP() / V4 / T, tunnel, None),
        ("pppoe discovery", MAC / PPPoED(), tunnel, None),
        ("mpls in a vlan", MAC / Dot1Q(vlan=1) / MPLS() / V4 / T, tunnel, None),
        ("ip in ip", MAC / V4 / V4 / T, tunnel, None),
        ("6in4", MAC / V4 / V6 / T, tunnel, None),
        ("4in6", MAC / V6 / V4 / T, tunnel, None),
        ("gre", MAC / V4 / GRE() / V4 / T, tunnel, None),
        ("gre6", MAC / V6 / GRE() / V4 / T, tunnel, None),
        ("esp", MAC / V4 / ESP(spi=1, seq=1, data=b"x" * 20), tunnel, None),
        ("ah", MAC / V4 / AH() / T, tunnel, None),
        ("etherip", MAC / V4.copy().__class__(proto=97) / DATA, tunnel, None),
        ("vxlan", MAC / V4 / UDP(sport=1, dport=4789) / VXLAN() / MAC / V4 / T, tunnel, None),
        ("geneve", MAC / V6 / UDP(sport=1, dport=6081) / GENEVE() / MAC / V4, tunnel, None),
        ("gtp-u", MAC / V4 / UDP(sport=2152, dport=9) / GTP_U_Header() / V4 / T, tunnel, None),
        ("teredo", MAC / V4 / UDP(sport=3544, dport=9) / V6 / T, tunnel, None),
        ("tcp to 4789", MAC / V4 / TCP(sport=6081, dport=4789), ok, _v4(6, 6081, 4789)),
        ("sctp", MAC / V4.copy().__class__(proto=132) / DATA, other, None),
        ("icmp6 in ipv4", MAC / IP(proto=58) / DATA, other, None),
        ("icmp4 in ipv6", MAC / IPv6(nh=1) / DATA, other, None),
        ("hop by hop", MAC / V6 / IPv6ExtHdrHopByHop() / T, other, None),
        ("routing", MAC / V6 / IPv6ExtHdrRouting() / T, other, None),
        ("destination options", MAC / V6 / IPv6ExtHdrDestOpt() / T, other, None),
        ("no next header", MAC / IPv6(nh=59) / DATA, other, None),
        ("mobility", MAC / IPv6(nh=135) / DATA, other, None),
        ("fragment6", MAC / V6 / IPv6ExtHdrFragment(m=1) / T, fragment, None),
        ("first fragment", MAC / IP(flags="MF", proto=6) / T, fragment, None),
        ("last fragment", MAC / IP(frag=185, proto=17) / DATA, fragment, None),
        ("fragment of a tunnel", MAC / IP(flags="MF", proto=47) / DATA, fragment, None),
        ("don't fragment", MAC / IP(src="1.2.3.4", dst="5.6.7.8", flags="DF") / T, ok,
         FlowKey.of("1.2.3.4", "5.6.7.8", 6, 40000, 443)),
        ("version 5", MAC / IP(version=5) / T, malformed, None),
        ("version 4 in ipv6", MAC / IPv6(version=4) / T, malformed, None),
        ("ihl 4", MAC / IP(ihl=4) / T, malformed, None),
        ("total 19", MAC / IP(len=19) / T, malformed, None),
        ("total 39 of tcp", MAC / IP(len=39) / T / DATA, malformed, None),
        ("total 27 of udp", MAC / IP(len=27) / U / DATA, malformed, None),
        ("payload 19 of tcp", MAC / IPv6(plen=19) / T / DATA, malformed, None),
        ("payload 7 of udp", MAC / IPv6(plen=7) / U / DATA, malformed, None),
        ("jumbogram", MAC / IPv6(plen=0) / U / DATA, malformed, None),
        ("runt", bytes(MAC)[:13], Parse.RUNT, None),
        ("tag cut", bytes(MAC / Dot1Q() / V4)[:17], Parse.RUNT, None),
        ("second tag cut", bytes(MAC / qinq / V4)[:21], Parse.RUNT, None),
        ("only ethernet", bytes(MAC / V4)[:14], malformed, None),
    ]  # fmt: skip
    return [(name, bytes(frame), parse, key) for name, frame, parse, key in cases]


def tags(count: int, rng: random.Random) -> bytes:
    """`count` tags of random TPID and random control bits; the EtherType is to follow."""
    return b"".join(
        struct.pack("!HH", rng.choice(TPIDS), rng.getrandbits(16)) for _ in range(count)
    )


def ethernet(payload: bytes, ethertype: int, tagging: bytes = b"") -> bytes:
    """A frame of fixed addresses."""
    return bytes(MAC)[:12] + tagging + struct.pack("!H", ethertype) + payload


def ipv4(
    proto: int, payload: bytes, rng: random.Random, *, options: int = 0, ihl: int | None = None,
    total: int | None = None, version: int = 4, fragment: int = 0x4000,
) -> bytes:  # fmt: skip
    """A header of random addresses; `ihl`, `total` and `version` may lie."""
    size = 20 + options
    head = struct.pack(
        "!BBHHHBBH", version << 4 | (size // 4 if ihl is None else ihl), rng.getrandbits(8),
        size + len(payload) if total is None else total, rng.getrandbits(16), fragment, 64, proto,
        rng.getrandbits(16),
    )  # fmt: skip
    return head + rng.randbytes(8 + options) + payload


def ipv6(
    proto: int, payload: bytes, rng: random.Random, *, length: int | None = None, version: int = 6
) -> bytes:
    """A header of random addresses; `length` and `version` may lie."""
    head = struct.pack(
        "!IHBB", version << 28 | rng.getrandbits(28),
        len(payload) if length is None else length, proto, 64,
    )  # fmt: skip
    return head + rng.randbytes(32) + payload


def payload_of(proto: int, rng: random.Random) -> bytes:
    """Something for the protocol, a little longer or shorter than its header."""
    ports = struct.pack("!HH", rng.getrandbits(16), rng.getrandbits(16))
    return (ports + rng.randbytes(40))[: rng.choice((8, 20, 24, 44))] if proto else b""


def grid(rng: random.Random) -> Iterator[bytes]:
    """Every number of tags × every option length × the protocols that matter, and IPv6."""
    for count in range(4):
        for proto in (6, 17, 1, 58, 47):
            for options in range(0, 44, 4):
                packet = ipv4(proto, payload_of(proto, rng), rng, options=options)
                yield ethernet(packet, 0x0800, tags(count, rng))
            for _ in range(3):
                packet = ipv6(proto, payload_of(proto, rng), rng)
                yield ethernet(packet, 0x86DD, tags(count, rng))


def numbers(rng: random.Random) -> Iterator[bytes]:
    """Every protocol; every EtherType, TPID and tunnel port with each of its bits flipped."""
    for proto in range(256):
        yield ethernet(ipv4(proto, rng.randbytes(24), rng), 0x0800)
        yield ethernet(ipv6(proto, rng.randbytes(24), rng), 0x86DD)
    packets = [ipv4(6, rng.randbytes(24), rng), ipv6(17, rng.randbytes(24), rng)]
    for ethertype in ETHERTYPES:
        for flip in (0, *(1 << bit for bit in range(16))):
            for packet in packets:
                yield ethernet(packet, ethertype ^ flip, tags(rng.randint(0, 2), rng))
    for port in TUNNEL_PORTS:
        for flip in (0, *(1 << bit for bit in range(16))):
            for pair in ((port ^ flip, 99), (99, port ^ flip)):
                for proto in (17, 6):
                    payload = struct.pack("!HHHH", *pair, 8, 0) + bytes(16)
                    yield ethernet(ipv4(proto, payload, rng), 0x0800)
                    yield ethernet(ipv6(proto, payload, rng), 0x86DD, tags(1, rng))


def lies(rng: random.Random) -> Iterator[bytes]:
    """Headers whose lengths contradict the frame, from one too few to one too many."""
    for ihl in range(16):
        for proto, least in ((6, 20), (17, 8), (1, 0), (47, 0)):
            size = 4 * ihl
            totals = {0, 19, 20, size - 1, size, size + least - 1, size + least, 84, 85, 65535}
            for total in totals - {-1}:
                packet = ipv4(proto, bytes(24), rng, options=40, ihl=ihl, total=total)
                yield ethernet(packet, 0x0800, tags(rng.randint(0, 2), rng))
    for proto, least in ((6, 20), (17, 8), (58, 0), (44, 0)):
        for length in (0, 1, least - 1, least, least + 1, 23, 24, 25, 0x1000, 0x8000, 65535):
            if length >= 0:
                packet = ipv6(proto, bytes(24), rng, length=length)
                yield ethernet(packet, 0x86DD, tags(rng.randint(0, 2), rng))
    for version in range(16):
        yield ethernet(ipv4(6, bytes(24), rng, version=version), 0x0800)
        yield ethernet(ipv6(6, bytes(24), rng, version=version), 0x86DD)
    for fragment in (0, 0x8000, 0x4000, *(1 << bit for bit in range(14))):
        yield ethernet(ipv4(17, bytes(24), rng, fragment=fragment), 0x0800)


def truncated(rng: random.Random) -> Iterator[bytes]:
    """Frames of every kind cut at every length from 1 to 120."""
    deep = [
        ethernet(ipv4(6, rng.randbytes(100), rng), 0x0800),
        ethernet(ipv4(17, rng.randbytes(60), rng, options=40), 0x0800, tags(2, rng)),
        ethernet(ipv4(1, rng.randbytes(100), rng, options=12), 0x0800, tags(1, rng)),
        ethernet(ipv4(6, rng.randbytes(40), rng, options=40, total=24), 0x0800, tags(2, rng)),
        ethernet(ipv6(6, rng.randbytes(80), rng), 0x86DD),
        ethernet(ipv6(17, rng.randbytes(80), rng), 0x86DD, tags(2, rng)),
        ethernet(ipv6(58, rng.randbytes(80), rng), 0x86DD, tags(1, rng)),
        ethernet(ipv4(6, rng.randbytes(100), rng), 0x0800, tags(3, rng)),
        bytes(MAC / V4 / UDP(sport=1, dport=4789) / VXLAN() / MAC / V4 / T / DATA / DATA),
        bytes(MAC / MPLS() / V4 / T / DATA / DATA),
    ]
    for frame in deep:
        assert len(frame) > 100
        yield from (frame[:length] for length in range(1, min(len(frame), 120) + 1))


def mutated(pool: list[bytes], count: int, rng: random.Random) -> Iterator[bytes]:
    """`count` frames of `pool`, each with a few of the bytes that the parser reads changed."""
    for _ in range(count):
        frame = bytearray(rng.choice(pool)[:200])
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(min(len(frame), 60))
            frame[at] = rng.choice(
                (rng.getrandbits(8), frame[at] ^ 1 << rng.randrange(8), *TUNNEL_PROTOCOLS,
                 0x08, 0x00, 0x81, 0x86, 0xDD, 0x45, 0x4F, 0x60, 6, 17, 44)
            )  # fmt: skip
        yield bytes(frame[: rng.choice((len(frame), rng.randint(1, len(frame))))])


def captured(path: Path, limit: int, longest: int = 1600) -> list[bytes]:
    """Up to `limit` frames of a pcap file, spread over its first 20 × `limit`."""
    with RawPcapReader(str(path)) as reader:
        frames = [data for data, _ in zip((d for d, _ in reader), range(20 * limit), strict=False)]
    frames = [frame for frame in frames if 0 < len(frame) <= longest]
    return frames[:: max(1, len(frames) // limit)][:limit]
