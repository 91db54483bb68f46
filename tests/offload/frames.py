"""Frames for the block: whole ones by their fields, and hypothesis' way through all branches."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

ETHER = bytes(range(2, 14))
TYPES = (0x0800, 0x86DD, 0x8100, 0x88A8, 0x9100, 0x8847, 0x8864, 0x0806)
PROTOCOLS = (1, 4, 6, 17, 41, 44, 47, 50, 58, 59, 0, 132)
PORTS = (0, 53, 80, 443, 2152, 3544, 4789, 6081, 65535)


def tags(vlans: tuple[int, ...], ethertype: int) -> bytes:
    """What follows the addresses: tags, then the EtherType."""
    return b"".join(struct.pack("!HH", 0x8100, vid) for vid in vlans) + struct.pack("!H", ethertype)


def ipv4(
    payload: bytes,
    proto: int = 6,
    *,
    vlans: tuple[int, ...] = (),
    words: int = 5,
    total: int | None = None,
    frag: int = 0,
    version: int = 4,
    src: bytes = b"\x0a\1\2\3",
    dst: bytes = b"\xc0\xa8\4\5",
) -> bytes:
    """An IPv4 frame; `words`: header length in 32-bit words, `frag`: flags and offset."""
    header = max(words, 5) * 4
    length = header + len(payload) if total is None else total
    ip = struct.pack("!BBHHHBBH", version << 4 | words, 0, length & 0xFFFF, 7, frag, 64, proto, 0)
    options = bytes(header - 20)
    return ETHER + tags(vlans, 0x0800) + ip + src + dst + options + payload


def ipv6(
    payload: bytes,
    proto: int = 6,
    *,
    vlans: tuple[int, ...] = (),
    length: int | None = None,
    version: int = 6,
    src: bytes = bytes(range(16)),
    dst: bytes = bytes(range(16, 32)),
) -> bytes:
    """An IPv6 frame."""
    size = len(payload) if length is None else length
    ip = struct.pack("!IHBB", version << 28, size & 0xFFFF, proto, 64)
    return ETHER + tags(vlans, 0x86DD) + ip + src + dst + payload


def tcp(sport: int = 1025, dport: int = 80, payload: bytes = b"") -> bytes:
    """A TCP segment."""
    return struct.pack("!HHIIHHHH", sport, dport, 1, 2, 0x5018, 512, 0, 0) + payload


def udp(sport: int = 1025, dport: int = 53, payload: bytes = b"") -> bytes:
    """A UDP datagram."""
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Frames near the parser's decisions, some cut or padded anywhere."""
    vlans = tuple(draw(st.lists(st.integers(0, 4095), max_size=3)))
    proto = draw(st.sampled_from(PROTOCOLS))
    sport, dport = draw(st.sampled_from(PORTS)), draw(st.sampled_from(PORTS))
    tail = draw(st.binary(max_size=40))
    payload = (tcp if draw(st.booleans()) else udp)(sport, dport, tail)
    off = draw(st.sampled_from((None, None, None, 0, 19, 20, 27, 28, 39, 40, 200, 65535)))
    if draw(st.booleans()):
        frame = ipv4(
            payload, proto, vlans=vlans, words=draw(st.sampled_from((5, 5, 5, 4, 6, 15))),
            total=off, frag=draw(st.sampled_from((0, 0, 0x4000, 0x2000, 1, 0x1FFF, 0x8000))),
            version=draw(st.sampled_from((4, 4, 4, 6))),
        )  # fmt: skip
    else:
        frame = ipv6(
            payload, proto, vlans=vlans, length=off, version=draw(st.sampled_from((6, 6, 6, 4)))
        )
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.sampled_from((12, 16, 20)))
        kind = draw(st.sampled_from(TYPES))
        frame = frame[:at] + struct.pack("!H", kind) + frame[at + 2 :]
    if draw(st.integers(0, 2)) == 0:
        frame = frame[: draw(st.integers(0, len(frame)))]
    return frame + bytes(draw(st.sampled_from((0, 0, 6, 46))))
