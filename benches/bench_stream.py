"""TCP: sessions of in-order segments with their acknowledgments, reassembled."""

import pytest

from nsdata.path.stream import StreamTracker, drive

SEGMENTS = 2000


@pytest.mark.parametrize("size", [64, 512, 1460])
def test_in_order(measure, size: int) -> None:
    """Two packets each segment: the data and its acknowledgment."""
    rounds = 50
    measure(
        f"stream: segments of {size:,} bytes",
        lambda tracker: drive(tracker, SEGMENTS, size, rounds),
        2 * (SEGMENTS + 3) * rounds,
        setup=lambda: (StreamTracker(),),
    )
