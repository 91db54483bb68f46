"""Write traffic.pcap: a small office, the same bytes every time. Standard library only.

    python make_traffic.py [FILE]

640 frames in 12.8 s: name queries and readings over UDP, downloads over TCP; every 40th frame is
a reading that the rules block, and one download climbs out of the web root.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

FRAMES, GAP_NS, START_NS = 640, 20_000_000, 1_767_225_600_000_000_000  # 2026-01-01
CLIENT, SERVER = bytes([10, 7, 0, 2]), bytes([10, 7, 0, 80])
SYN, ACK, PUSH, FIN = 2, 16, 8, 1


def checksum(data: bytes) -> int:
    """The Internet's, of RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(source: bytes, target: bytes, protocol: int, body: bytes, number: int) -> bytes:
    """An Ethernet frame with an IPv4 packet; `body` has its checksum at the usual place, 0."""
    at = 6 if protocol == 17 else 16
    pseudo = source + target + struct.pack(">BBH", 0, protocol, len(body))
    body = body[:at] + struct.pack(">H", checksum(pseudo + body) or 0xFFFF) + body[at + 2 :]
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), number, 0x4000, 64, protocol, 0)
    head += source + target
    head = head[:10] + struct.pack(">H", checksum(head)) + head[12:]
    return b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0" + head + body


def udp(number: int, sport: int, dport: int, text: bytes) -> bytes:
    """From the client to the server."""
    body = struct.pack(">HHHH", sport, dport, 8 + len(text), 0) + text
    return ip(CLIENT, SERVER, 17, body, number)


def download(sport: int, request: bytes, answer: bytes) -> list[bytes]:
    """A whole HTTP session, from SYN to FIN."""
    frames: list[bytes] = []
    sequence = {True: 1000, False: 9000}

    def segment(up: bool, flags: int, text: bytes = b"") -> None:
        ports = (sport, 80) if up else (80, sport)
        acknowledged = 0 if flags == SYN else sequence[not up]
        head = struct.pack(
            ">HHIIBBHHH", *ports, sequence[up], acknowledged, 5 << 4, flags, 64240, 0, 0
        )
        ends = (CLIENT, SERVER) if up else (SERVER, CLIENT)
        frames.append(ip(*ends, 6, head + text, len(frames)))
        sequence[up] += len(text) + bool(flags & (SYN | FIN))

    segment(True, SYN)
    segment(False, SYN | ACK)
    segment(True, ACK)
    segment(True, PUSH | ACK, b"GET " + request + b" HTTP/1.1\r\nHost: office\r\n\r\n")
    segment(False, PUSH | ACK, b"HTTP/1.1 200 OK\r\n\r\n" + answer)
    segment(True, ACK)
    segment(True, FIN | ACK)
    segment(False, FIN | ACK)
    segment(True, ACK)
    return frames


def traffic() -> list[bytes]:
    """All frames in order."""
    frames: list[bytes] = []
    while len(frames) < FRAMES:
        number = len(frames)
        if number % 40 == 39:
            frames.append(udp(number, 5000, 8125, b"card=4111-1111-1111-1111"))
        elif number % 80 == 20:
            path = b"/../../etc/passwd" if number // 80 == 3 else b"/page-%d.html" % number
            frames += download(20000 + number, path, b"<p>" + b"office " * (number % 100))
        elif number % 3:
            frames.append(udp(number, 5000 + number % 7, 8125, b"temperature=%d" % (number % 90)))
        else:
            query = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0)
            query += b"\x06office\x07example\0" + struct.pack(">HH", 1, 1)
            frames.append(udp(number, 30000 + number, 53, query))
    return frames[:FRAMES]


def main() -> None:
    """Write the file (nanosecond pcap, Ethernet)."""
    path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_name("traffic.pcap"))
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)]
    for number, frame in enumerate(traffic()):
        seconds, ns = divmod(START_NS + number * GAP_NS, 1_000_000_000)
        out += [struct.pack("<IIII", seconds, ns, len(frame), len(frame)), frame]
    path.write_bytes(b"".join(out))


if __name__ == "__main__":
    main()
