"""Frames built by hand, with right checksums and lengths, for tests of the engine.

Everything is bytes in network order; addresses are text. `Talk` is a TCP conversation that
keeps its own sequence numbers and appends frames to a list.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Sequence

import numpy as np

from nsdata.capture import Batch

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT6, SERVER6 = "fd00::1", "fd00::2"
ETHERNET = 1
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
SECOND = 1000 * MS
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))


def ones(data: bytes) -> int:
    """RFC 1071 checksum."""
    total = int.from_bytes(data + b"\0" * (len(data) % 2))  # 2^16 = 1 (mod 65535)
    total = total % 0xFFFF if total else 0
    return ~(total or (0xFFFF if any(data) else 0)) & 0xFFFF


def packed(address: str) -> bytes:
    return ipaddress.ip_address(address).packed


def eth(ethertype: int, body: bytes, vlans: Sequence[int] = ()) -> bytes:
    tags = b"".join(struct.pack("!HH", 0x8100, vlan) for vlan in vlans)
    return b"\x02\0\0\0\0\2\x02\0\0\0\0\1" + tags + struct.pack("!H", ethertype) + body


def ip(
    proto: int,
    body: bytes,
    src: str = CLIENT,
    dst: str = SERVER,
    *,
    ttl: int = 64,
    tos: int = 0,
    ident: int = 1,
    frag: int = 0,
    options: bytes = b"",
) -> bytes:
    """An IPv4 or IPv6 datagram, by its addresses."""
    if ":" in src:
        head = struct.pack("!IHBB", 6 << 28 | tos << 20, len(body), proto, ttl)
        return head + packed(src) + packed(dst) + body
    words = 5 + len(options) // 4
    head = struct.pack(
        "!BBHHHBBH", 0x40 | words, tos, words * 4 + len(body), ident, frag, ttl, proto, 0
    )
    head += packed(src) + packed(dst) + options
    return head[:10] + struct.pack("!H", ones(head)) + head[12:] + body


def with_sum(proto: int, segment: bytes, at: int, src: str, dst: str) -> bytes:
    """The segment with its checksum (over the pseudo header too) at byte `at`."""
    pseudo = packed(src) + packed(dst) + struct.pack("!IHH", len(segment), 0, proto)
    total = ones(pseudo + segment[:at] + b"\0\0" + segment[at + 2 :])
    if total == 0 and proto == 17:
        total = 0xFFFF
    return segment[:at] + struct.pack("!H", total) + segment[at + 2 :]


def udp_datagram(payload: bytes, src: str, dst: str, sport: int = 1024, dport: int = 5000) -> bytes:
    head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    return with_sum(17, head + payload, 6, src, dst)


def frame(datagram: bytes, vlans: Sequence[int] = ()) -> bytes:
    """The datagram in Ethernet."""
    return eth(0x86DD if datagram[0] >> 4 == 6 else 0x0800, datagram, vlans)


def udp(
    payload: bytes = b"",
    src: str = CLIENT,
    dst: str = SERVER,
    sport: int = 1024,
    dport: int = 5000,
    vlans: Sequence[int] = (),
    **header: int,
) -> bytes:
    return frame(ip(17, udp_datagram(payload, src, dst, sport, dport), src, dst, **header), vlans)


def tcp_segment(
    payload: bytes = b"",
    flags: int = ACK,
    seq: int = 1,
    ack: int = 1,
    src: str = CLIENT,
    dst: str = SERVER,
    sport: int = 1024,
    dport: int = 80,
    window: int = 8192,
    options: bytes = b"",
) -> bytes:
    head = struct.pack(
        "!HHIIBBHHH", sport, dport, seq, ack, 5 + len(options) // 4 << 4, flags, window, 0, 0
    )
    return with_sum(6, head + options + payload, 16, src, dst)


def tcp(
    payload: bytes = b"",
    flags: int = ACK,
    seq: int = 1,
    ack: int = 1,
    src: str = CLIENT,
    dst: str = SERVER,
    sport: int = 1024,
    dport: int = 80,
    window: int = 8192,
    options: bytes = b"",
    ttl: int = 64,
) -> bytes:
    segment = tcp_segment(payload, flags, seq, ack, src, dst, sport, dport, window, options)
    return frame(ip(6, segment, src, dst, ttl=ttl))


def icmp(
    kind: int = 8,
    code: int = 0,
    payload: bytes = b"ping",
    ident: int = 7,
    seq: int = 1,
    src: str = CLIENT,
    dst: str = SERVER,
) -> bytes:
    """ICMP, or ICMPv6 by the addresses."""
    message = struct.pack("!BBHHH", kind, code, 0, ident, seq) + payload
    if ":" in src:
        return frame(ip(58, with_sum(58, message, 2, src, dst), src, dst))
    message = message[:2] + struct.pack("!H", ones(message)) + message[4:]
    return frame(ip(1, message, src, dst))


def fragments(datagram: bytes, size: int, ident: int = 99) -> list[bytes]:
    """An IPv4 datagram without options as Ethernet frames of `size` payload bytes each."""
    src, dst = (str(ipaddress.ip_address(datagram[at : at + 4])) for at in (12, 16))
    body, proto = datagram[20:], datagram[9]
    out = []
    for at in range(0, len(body), size):
        more = 0x2000 if at + size < len(body) else 0
        part = body[at : at + size]
        out.append(frame(ip(proto, part, src, dst, ident=ident, frag=more | at // 8)))
    return out


class Talk:
    """A TCP conversation. `frames` grows by what is said; nothing is lost by itself."""

    def __init__(
        self,
        src: str = CLIENT,
        dst: str = SERVER,
        sport: int = 1024,
        dport: int = 80,
        frames: list[bytes] | None = None,
        isn: tuple[int, int] = (1000, 5000),
    ) -> None:
        self.ends = ((src, dst, sport, dport), (dst, src, dport, sport))
        self.next = list(isn)
        self.frames = [] if frames is None else frames

    def segment(self, side: int, flags: int, payload: bytes = b"", seq: int | None = None) -> bytes:
        """A segment of a side (0 client, 1 server) without sending it."""
        src, dst, sport, dport = self.ends[side]
        seq = self.next[side] if seq is None else seq
        ack = self.next[1 - side] if flags & ACK else 0
        return tcp(payload, flags, seq % 2**32, ack % 2**32, src, dst, sport, dport)

    def send(self, side: int, flags: int, payload: bytes = b"") -> Talk:
        self.frames.append(self.segment(side, flags, payload))
        self.next[side] += len(payload) + (1 if flags & (SYN | FIN) else 0)
        return self

    def open(self) -> Talk:
        return self.send(0, SYN).send(1, SYN | ACK).send(0, ACK)

    def client(self, *payloads: bytes) -> Talk:
        """Each payload as one segment, acknowledged by the server."""
        for payload in payloads:
            self.send(0, PSH | ACK, payload).send(1, ACK)
        return self

    def server(self, *payloads: bytes) -> Talk:
        for payload in payloads:
            self.send(1, PSH | ACK, payload).send(0, ACK)
        return self

    def close(self) -> Talk:
        return self.send(0, FIN | ACK).send(1, FIN | ACK).send(0, ACK)


def batch(
    frames: Sequence[bytes],
    times: Sequence[int] | None = None,
    linktype: int = ETHERNET,
    wire: Sequence[int] | None = None,
) -> Batch:
    """The frames as arrays; one millisecond apart unless `times` (ns) are given."""
    n = len(frames)
    caplen = np.array([len(f) for f in frames], np.uint32)
    offset = np.zeros(n, np.uint64)
    offset[1:] = np.cumsum(caplen[:-1], dtype=np.uint64)
    if times is None:
        times = [START_NS + i * MS for i in range(n)]
    return Batch(
        np.frombuffer(b"".join(frames), np.uint8),
        offset,
        caplen,
        caplen.copy() if wire is None else np.array(wire, np.uint32),
        np.array(times, np.uint64),
        np.full(n, linktype, np.uint16),
    )


def part(whole: Batch, start: int, stop: int) -> Batch:
    """Frames start..stop of a batch, as a batch of its own."""
    s = slice(start, stop)
    return Batch(
        whole.data, whole.offset[s], whole.caplen[s], whole.wirelen[s], whole.ts_ns[s],
        whole.linktype[s],
    )  # fmt: skip
