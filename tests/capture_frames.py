"""Whole captures in tests: written from frames, read as (time, bytes)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from nsdata.capture import open_capture


def write_capture(path: Path, frames: Sequence[bytes], times: Sequence[int]) -> Path:
    """A pcap with nanoseconds, Ethernet."""
    out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)]
    for frame, ts in zip(frames, times, strict=True):
        out.append(struct.pack("<IIII", ts // 10**9, ts % 10**9, len(frame), len(frame)) + frame)
    path.write_bytes(b"".join(out))
    return path


def frames_of(path: Path) -> Iterator[tuple[int, bytes]]:
    with open_capture(path) as reader:
        for batch in reader.batches():
            for start, length, ts in zip(batch.offset, batch.caplen, batch.ts_ns, strict=True):
                yield int(ts), batch.data[int(start) : int(start) + int(length)].tobytes()
