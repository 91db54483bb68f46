"""A few frames for a support report, copied into memory as they come: no disk, bounded."""

from __future__ import annotations

import os

import numpy as np

from nsdata.capture import Batch, CaptureWriter
from nsdata.errors import OutputError

MOST_BYTES = 4 << 20  # of frames
LIMIT_NS = 2_000_000_000  # for as many to come


def new_sample() -> int:
    """A descriptor of memory for a sample. Raises OSError."""
    return os.memfd_create("nsdata-sample", os.MFD_CLOEXEC)


class Sample:
    """The next `frames` frames into the memory behind a descriptor, as a pcap."""

    def __init__(self, descriptor: int, frames: int, now_ns: int) -> None:
        self._writer = CaptureWriter(f"/proc/self/fd/{descriptor}")
        self._left = frames
        self._bytes = 0
        self._end_ns = now_ns + LIMIT_NS

    @property
    def frames(self) -> int:
        """How many there are."""
        return self._writer.frames

    def add(self, batch: Batch | None, now_ns: int) -> bool:
        """Take of these what is wanted; whether the sample is complete, and closed."""
        try:
            if batch is not None and len(batch):
                sizes = self._bytes + np.cumsum(batch.caplen, dtype=np.int64)
                fit = min(self._left, int(np.searchsorted(sizes, MOST_BYTES, "right")))
                self._writer.write(batch, np.arange(fit))
                self._left -= fit
                self._bytes = int(sizes[fit - 1]) if fit else MOST_BYTES
            if self._left and self._bytes < MOST_BYTES and now_ns < self._end_ns:
                return False
            self._writer.close()
        except OutputError:  # frames of another link type: those before it stand
            self._writer.close()
        return True
