"""What a capture holds, for `nsdata info CAPTURE`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from nsdata.capture.pcapfile import Interface, open_capture
from nsdata.errors import CaptureError

# Link types by number, in plain words; the numbers are those of libpcap's LINKTYPE_*.
LINKTYPES = {
    0: "BSD loopback (NULL)",
    1: "Ethernet",
    9: "PPP",
    12: "raw IP",
    14: "raw IP",
    50: "PPP over HDLC",
    51: "PPPoE",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "IEEE 802.11 (not decoded)",
    108: "OpenBSD loopback (LOOP)",
    113: "Linux cooked (SLL)",
    127: "IEEE 802.11 with radiotap (not decoded)",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2 (SLL2)",
}


def linktype_text(linktype: int) -> str:
    """`Ethernet (link type 1)`."""
    name = LINKTYPES.get(linktype, "not decoded")
    return f"{name} (link type {linktype})"


@dataclass(frozen=True)
class CaptureInfo:
    """A capture read to its end, or to the fault that `error` describes."""

    path: str
    format: str  # "pcap" or "pcapng"
    compression: str | None  # "gzip", "zstd" or None
    byte_order: str  # "little" or "big"; of the first section of a pcapng
    resolution: str  # step of the timestamps, "10^-6 s"
    size_bytes: int  # of the file on the disk
    frames: int
    captured_bytes: int  # sum of the captured lengths
    wire_bytes: int  # sum of the lengths on the wire
    first_ns: int | None  # earliest timestamp, ns since the epoch; None without frames
    last_ns: int | None  # latest timestamp
    backwards: int  # frames with a time before that of the frame before them
    shortened: int  # frames of which fewer bytes were captured than were on the wire
    frames_by_linktype: dict[int, int]  # LINKTYPE_* -> frames
    interfaces: tuple[Interface, ...]
    truncated: bool  # the file ends early
    error: str | None  # the fault that ended the reading, None when there is none
    error_offset: int | None  # its byte offset in the (decompressed) file

    @property
    def duration_ns(self) -> int:
        """From the earliest to the latest timestamp."""
        if self.first_ns is None or self.last_ns is None:
            return 0
        return self.last_ns - self.first_ns

    @property
    def mean_size(self) -> float:
        """Mean length of a frame on the wire, bytes; 0 without frames."""
        return self.wire_bytes / self.frames if self.frames else 0.0


def capture_info(path: str | os.PathLike[str]) -> CaptureInfo:
    """Read a capture to its end. CaptureError when not even its header can be read;
    faults further on are part of the answer."""
    frames = captured = wire = backwards = shortened = 0
    first: int | None = None
    last: int | None = None
    before = 0
    by_linktype: dict[int, int] = {}
    fault: CaptureError | None = None
    with open_capture(path) as reader:
        try:
            for batch in reader:
                times = batch.ts_ns
                frames += len(batch)
                captured += int(batch.caplen.sum(dtype=np.uint64))
                wire += int(batch.wirelen.sum(dtype=np.uint64))
                shortened += int(np.count_nonzero(batch.caplen < batch.wirelen))
                backwards += int(np.count_nonzero(times[1:] < times[:-1]))
                backwards += int(times[0]) < before
                before = int(times[-1])
                low, high = int(times.min()), int(times.max())
                first = low if first is None else min(first, low)
                last = high if last is None else max(last, high)
                kinds, counts = np.unique(batch.linktype, return_counts=True)
                for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
                    by_linktype[kind] = by_linktype.get(kind, 0) + count
        except CaptureError as error:
            fault = error
        return CaptureInfo(
            path=reader.path,
            format=reader.format,
            compression=reader.compression,
            byte_order=reader.byte_order,
            resolution=reader.resolution,
            size_bytes=reader.size_bytes,
            frames=frames,
            captured_bytes=captured,
            wire_bytes=wire,
            first_ns=first,
            last_ns=last,
            backwards=backwards,
            shortened=shortened,
            frames_by_linktype=dict(sorted(by_linktype.items())),
            interfaces=reader.interfaces,
            truncated=reader.truncated,
            error=fault.reason if fault else None,
            error_offset=fault.offset if fault else None,
        )
