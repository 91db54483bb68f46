"""What a run came to, interval by interval of capture time, in memory that does not grow.

There are at most `INTERVALS` intervals. When time goes beyond the last, neighbours are added up and
an interval is twice as long from then on: a second of traffic is shown by the millisecond, a year
by the day. Whoever runs the frames asks `next_ns` where to stop, and gives the counters as they
stand there; so every frame is in the interval of its own time, however frames are batched.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.entry import Verdict

INTERVALS = 240
FIRST_NS = 1_000_000  # of an interval at the start
MOST_BANDS = 1000
NEVER = (1 << 64) - 1

# Columns of Timeline.counts: frames by fate (Fate), bytes, frames by what the block said.
FATES = ("inspected", "bypassed", "blocked", "lost")
SAID = tuple(one.name.lower() for one in Verdict)
COLUMNS = (*FATES, "bytes", *SAID)


class Band(StrEnum):
    """What the engine did for a while."""

    INSPECTING = "inspecting"
    RESTORING = "restoring"  # after the block came back: a share above offload.check-share
    SOFTWARE = "without the FPGA"  # inspecting, its block out of use
    FALLBACK = "fallback"


class Timeline:
    """See the module. `counts`: int64 [intervals used, COLUMNS]; `ratio`: the highest drop ratio
    read in each, NaN where none was; `bands`: (since ns, what), each other than the one before."""

    def __init__(self, intervals: int = INTERVALS, first_ns: int = FIRST_NS) -> None:
        if intervals < 2 or intervals % 2 or first_ns < 1:
            raise ValueError("a timeline has an even number of intervals, of 1 ns or more")
        self.interval_ns = first_ns
        self.start_ns: int | None = None
        self.end_ns = 0
        self.bands: list[tuple[int, Band]] = []
        self.bands_left_out = 0
        self._counts = np.zeros((intervals, len(COLUMNS)), np.int64)
        self._ratio = np.full(intervals, np.nan)
        self._before = np.zeros(len(COLUMNS), np.int64)
        self._now: Band | None = None
        self._at = 0  # the interval that frames belong to now

    @property
    def counts(self) -> NDArray[np.int64]:
        """int64 [intervals used, COLUMNS]."""
        return self._counts[: 0 if self.start_ns is None else self._at + 1]

    @property
    def ratio(self) -> NDArray[np.float64]:
        """float64 [intervals used]."""
        return self._ratio[: 0 if self.start_ns is None else self._at + 1]

    def next_ns(self) -> int:
        """Frames from this time on belong to another interval: `take` before them."""
        if self.start_ns is None:
            return NEVER
        return self.start_ns + (self._at + 1) * self.interval_ns

    def start(self, now_ns: int) -> None:
        """The time of the first frame."""
        self.start_ns = self.end_ns = now_ns
        self.band(now_ns, Band.INSPECTING)

    def take(self, now_ns: int, figures: Sequence[int]) -> None:
        """The counters (COLUMNS, since the start) of every frame before the one of `now_ns`."""
        if self.start_ns is None:
            return
        now = np.asarray(figures, np.int64)
        self._counts[self._at] += now - self._before
        self._before = now
        self.end_ns = max(self.end_ns, now_ns)
        at = self._interval(now_ns)  # may halve what stands in _at
        self._at = max(self._at, at)

    def _interval(self, now_ns: int) -> int:
        assert self.start_ns is not None
        while (at := (now_ns - self.start_ns) // self.interval_ns) >= len(self._counts):
            self._merge()
        return at

    def _merge(self) -> None:
        half = len(self._counts) // 2
        self._counts[:half] = self._counts[0::2] + self._counts[1::2]
        self._counts[half:] = 0
        self._ratio[:half] = np.fmax(self._ratio[0::2], self._ratio[1::2])
        self._ratio[half:] = np.nan
        self._at //= 2
        self.interval_ns *= 2

    def reading(self, now_ns: int, ratio: float) -> None:
        """A drop ratio of the meter, not later than what `take` was last given."""
        if self.start_ns is not None:
            at = min(max(now_ns - self.start_ns, 0) // self.interval_ns, self._at)
            self._ratio[at] = np.fmax(self._ratio[at], ratio)

    def band(self, now_ns: int, what: Band) -> None:
        """From now on."""
        if what is self._now:
            return
        self._now = what
        if len(self.bands) >= MOST_BANDS:
            self.bands_left_out += 1
            return
        self.bands.append((now_ns, what))
