"""A capture in memory, of which a test takes pieces."""

from __future__ import annotations

from pathlib import Path

from nsdata.capture import Batch
from nsdata.capture.whole import read_whole


class Capture:
    """Every frame of a capture file, in order; `capture[100:200]` is a Batch of a hundred.

    For captures of some megabytes: all of it is held. Raises CaptureError for a file that
    cannot be read to its end, or that holds no frame.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.batch = read_whole(path)

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
