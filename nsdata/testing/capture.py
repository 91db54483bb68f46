"""A capture in memory, of which a test takes pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nsdata.capture import Batch, open_capture
from nsdata.errors import CaptureError


class Capture:
    """Every frame of a capture file, in order; `capture[100:200]` is a Batch of a hundred.

    For captures of some megabytes: all of it is held. Raises CaptureError for a file that
    cannot be read to its end, or that holds no frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_capture(path) as reader:
            pieces = [_copied(batch) for batch in reader.batches()]
        if not pieces:
            raise CaptureError(str(path), "holds no frame to test with")
        starts = np.cumsum([0, *(len(piece.data) for piece in pieces)], dtype=np.uint64)
        moved = [piece.offset + start for piece, start in zip(pieces, starts, strict=False)]
        self.batch = Batch(
            np.concatenate([piece.data for piece in pieces]),
            np.concatenate(moved),
            np.concatenate([piece.caplen for piece in pieces]),
            np.concatenate([piece.wirelen for piece in pieces]),
            np.concatenate([piece.ts_ns for piece in pieces]),
            np.concatenate([piece.linktype for piece in pieces]),
        )

    def __len__(self) -> int:
        """Frames in it."""
        return len(self.batch)

    def __getitem__(self, which: slice) -> Batch:
        """Frames beside each other, or every so many-th."""
        whole = self.batch
        return Batch(
            whole.data, whole.offset[which], whole.caplen[which], whole.wirelen[which],
            whole.ts_ns[which], whole.linktype[which],
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<{self.path.name}: {len(self):,} frames>"


def _copied(batch: Batch) -> Batch:
    """The frames of a batch, end to end, in memory of their own."""
    ends = np.cumsum(batch.caplen, dtype=np.uint64)
    data = b"".join(
        batch.data[start : start + size].tobytes()
        for start, size in zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True)
    )
    return Batch(
        np.frombuffer(data, np.uint8), ends - batch.caplen, batch.caplen.copy(),
        batch.wirelen.copy(), batch.ts_ns.copy(), batch.linktype.copy(),
    )  # fmt: skip
