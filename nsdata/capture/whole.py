"""A whole capture in memory, as one batch."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from nsdata.capture.pcapfile import Batch, open_capture
from nsdata.errors import CaptureError


def read_whole(path: str | os.PathLike[str]) -> Batch:
    """Every frame of a capture, in order. Raises CaptureError for a file that cannot be read to
    its end, or that holds no frame."""
    with open_capture(path) as reader:
        pieces = [_copied(batch) for batch in reader.batches()]
    if not pieces:
        raise CaptureError(os.fspath(path), "holds no frame")
    return joined(pieces)


def joined(pieces: Sequence[Batch]) -> Batch:
    """Batches, one behind the other."""
    starts = np.cumsum([0, *(len(piece.data) for piece in pieces)], dtype=np.uint64)
    moved = [piece.offset + start for piece, start in zip(pieces, starts, strict=False)]
    return Batch(
        np.concatenate([piece.data for piece in pieces]),
        np.concatenate(moved),
        np.concatenate([piece.caplen for piece in pieces]),
        np.concatenate([piece.wirelen for piece in pieces]),
        np.concatenate([piece.ts_ns for piece in pieces]),
        np.concatenate([piece.linktype for piece in pieces]),
    )


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
