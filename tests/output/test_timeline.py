"""A timeline holds every frame in the interval of its own time, in memory that does not grow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.output.timeline import COLUMNS, MOST_BANDS, NEVER, Band, Timeline

FRAMES = st.lists(st.tuples(st.integers(0, 3 * 10**6), st.integers(0, 3)), min_size=1, max_size=200)


def run(timeline: Timeline, frames: list[tuple[int, int]], start: int = 10**18) -> None:
    """As a pipeline does: stop before the frame whose time is not below `next_ns`."""
    counts = [0] * len(COLUMNS)
    for at, fate in frames:
        if timeline.start_ns is None:
            timeline.start(start + at)
        if start + at >= timeline.next_ns():
            timeline.take(start + at, counts)
        counts[fate] += 1
        counts[4] += 60
    timeline.take(start + frames[-1][0], counts)


@settings(deadline=None)
@given(FRAMES, st.sampled_from([2, 4, 10]), st.sampled_from([1, 7, 1000]))
def test_every_frame_is_in_the_interval_of_its_time(
    frames: list[tuple[int, int]], intervals: int, first: int
) -> None:
    frames = sorted(frames)
    timeline = Timeline(intervals, first)
    run(timeline, frames)
    wanted = np.zeros((intervals, 4), int)
    for at, fate in frames:
        wanted[(at - frames[0][0]) // timeline.interval_ns, fate] += 1
    used = len(timeline.counts)
    assert used <= intervals and not wanted[used:].any()
    assert (timeline.counts[:, :4] == wanted[:used]).all()
    assert timeline.counts[:, 4].sum() == 60 * len(frames)
    # As fine as it can be: half the length would not do.
    span = frames[-1][0] - frames[0][0]
    assert timeline.interval_ns == first or span >= intervals * timeline.interval_ns // 2


def test_a_year_takes_no_more_memory_than_a_second() -> None:
    timeline = Timeline()
    shape = timeline._counts.shape
    run(timeline, [(i * 3600 * 10**9, 0) for i in range(365 * 24)])
    assert timeline._counts.shape == shape and 120 <= len(timeline.counts) <= 240
    assert timeline.counts[:, 0].sum() == 365 * 24 and timeline.counts[:, 0].min() > 30
    step = timeline.interval_ns // 10**6
    assert step & (step - 1) == 0  # of 1 ms, doubled


def test_readings_keep_the_highest_of_what_is_merged() -> None:
    timeline = Timeline(4, 10)
    timeline.reading(0, 1.0)  # before the first frame: nobody asks
    timeline.start(1000)
    for at, ratio in ((1005, 0.1), (1012, 0.9), (1031, 0.3)):
        timeline.take(at, [0] * len(COLUMNS))
        timeline.reading(at, ratio)
    assert timeline.ratio.tolist()[:2] == [0.1, 0.9] and np.isnan(timeline.ratio[2])
    timeline.take(1079, [0] * len(COLUMNS))
    assert timeline.interval_ns == 20
    assert timeline.ratio[:2].tolist() == [0.9, 0.3] and np.isnan(timeline.ratio[2:]).all()


def test_bands_are_those_that_differ_and_not_without_end() -> None:
    timeline = Timeline()
    timeline.start(5)
    for at in range(6, 20):
        timeline.band(at, Band.INSPECTING)
    assert timeline.bands == [(5, Band.INSPECTING)]
    for at in range(20, 20 + 2 * MOST_BANDS):
        timeline.band(at, Band.FALLBACK if at % 2 else Band.RESTORING)
    assert len(timeline.bands) == MOST_BANDS and timeline.bands_left_out == MOST_BANDS + 1


def test_nothing_came() -> None:
    timeline = Timeline()
    timeline.take(7, [1] * len(COLUMNS))
    assert timeline.next_ns() == NEVER and not len(timeline.counts) and not len(timeline.ratio)


@pytest.mark.parametrize(("intervals", "first"), [(1, 1), (3, 1), (4, 0)])
def test_misuse(intervals: int, first: int) -> None:
    with pytest.raises(ValueError, match="even number"):
        Timeline(intervals, first)
