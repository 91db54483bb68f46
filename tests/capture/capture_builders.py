"""Captures built by hand, byte by byte, for the tests of nsdata.capture."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from nsdata.capture import open_capture
from nsdata.errors import CaptureError

USEC, NSEC, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
ETHERNET, RAW = 1, 101

# (ns since the epoch, bytes captured, length on the wire, LINKTYPE)
Frame = tuple[int, bytes, int, int]


def pcap(
    frames: Sequence[Frame], order: str = "<", magic: int = NSEC, minor: int = 4, link: int = 1
) -> bytes:
    out = [struct.pack(order + "IHHiIII", magic, 2, minor, 0, 0, 65535, link)]
    for ts, data, wire, _ in frames:
        part = ts % 10**9 if magic == NSEC else ts % 10**9 // 1000
        lengths = (wire, len(data)) if minor < 3 else (len(data), wire)
        out.append(struct.pack(order + "IIII", ts // 10**9, part, *lengths))
        if magic == MODIFIED:
            out.append(struct.pack(order + "IHBB", 1, 0, 0, 0))
        out.append(data)
    return b"".join(out)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def section(order: str = "<", length: int = -1, version: tuple[int, int] = (1, 0)) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, *version, length))


def interface(
    order: str = "<",
    link: int = 1,
    snaplen: int = 0,
    tsresol: int | None = None,
    tsoffset: int | None = None,
    name: str = "",
) -> bytes:
    body = struct.pack(order + "HHI", link, 0, snaplen)
    if name:
        body += option(order, 2, name.encode())
    if tsresol is not None:
        body += option(order, 9, bytes([tsresol]))
    if tsoffset is not None:
        body += option(order, 14, struct.pack(order + "q", tsoffset))
    return block(order, 1, body + option(order, 0, b""))


def enhanced(
    order: str, number: int, ticks: int, data: bytes, wire: int | None = None, options: bytes = b""
) -> bytes:
    wire = len(data) if wire is None else wire
    head = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(data), wire)
    return block(order, 6, head + data + b"\0" * (-len(data) % 4) + options)


def simple(order: str, data: bytes, wire: int | None = None) -> bytes:
    return block(order, 3, struct.pack(order + "I", len(data) if wire is None else wire) + data)


def obsolete(order: str, number: int, ticks: int, data: bytes) -> bytes:
    head = struct.pack(
        order + "HHIIII", number, 7, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)
    )
    return block(order, 2, head + data)


def pcapng(frames: Sequence[Frame], order: str = "<") -> bytes:
    links = sorted({link for *_, link in frames})
    out = [section(order)]
    out += [interface(order, link, tsresol=9) for link in links]
    out += [enhanced(order, links.index(link), ts, data, wire) for ts, data, wire, link in frames]
    return b"".join(out)


def read(path: object, max_frames: int = 4096) -> tuple[list[Frame], CaptureError | None]:
    """Every frame of a capture and the fault at its end, if any."""
    frames: list[Frame] = []
    try:
        with open_capture(path) as reader:  # type: ignore[arg-type]
            for batch in reader.batches(max_frames):
                assert 0 < len(batch) <= max_frames
                for i in range(len(batch)):
                    start, length = int(batch.offset[i]), int(batch.caplen[i])
                    frames.append(
                        (
                            int(batch.ts_ns[i]),
                            batch.data[start : start + length].tobytes(),
                            int(batch.wirelen[i]),
                            int(batch.linktype[i]),
                        )
                    )
                assert batch.offset.dtype == np.uint64
    except CaptureError as error:
        return frames, error
    return frames, None
