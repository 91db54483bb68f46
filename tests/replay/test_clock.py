from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsdata.errors import SettingError
from nsdata.replay.clock import RealClock, VirtualClock, clock_for


@given(st.lists(st.integers(0, 2**63), min_size=1))
def test_virtual_time_never_runs_back(stamps: list[int]) -> None:
    clock = VirtualClock()
    times = [clock.advance(stamp) for stamp in stamps]
    highest = 0
    for stamp, time in zip(stamps, times, strict=True):
        highest = max(highest, stamp)
        assert time == highest
    assert clock.elapsed_ns == highest - stamps[0]
    assert (clock.went_back == 0) == (stamps == sorted(stamps))


def test_steps_back_are_counted() -> None:
    clock = VirtualClock()
    for stamp in (100, 90, 110, 50):
        clock.advance(stamp)
    assert (clock.now_ns, clock.went_back, clock.worst_ns) == (110, 2, 60)


@given(
    st.lists(st.integers(0, 10**9), min_size=1, max_size=50),
    st.sampled_from([0.5, 1.0, 10.0]),
    st.integers(0, 10**12),
)
def test_host_that_sleeps_as_told_keeps_pace(gaps: list[int], speed: float, wall: int) -> None:
    clock = RealClock(speed)
    started, packet = wall, 10**18
    first = packet
    for gap in gaps:
        packet += gap
        if packet - gap == first and gap:
            assert clock.wait_ns(wall, first) == 0
        wall += clock.wait_ns(wall, packet)
        assert wall - started <= (packet - first) / speed + 1
    assert clock.worst_late_ns <= 1


def test_late_host_catches_up_without_drift() -> None:
    clock = RealClock(10.0)
    assert clock.wait_ns(1000, 0) == 0
    assert clock.wait_ns(1000, 100) == 10
    assert clock.wait_ns(1050, 200) == 0
    assert (clock.late_ns, clock.worst_late_ns) == (30, 30)
    assert clock.wait_ns(1050, 600) == 10
    assert (clock.late_ns, clock.now_ns) == (0, 600)


def test_frames_out_of_order_do_not_wait() -> None:
    clock = RealClock()
    clock.wait_ns(0, 1000)
    assert clock.wait_ns(5, 500) == 0


def test_speeds() -> None:
    assert isinstance(clock_for("max"), VirtualClock)
    assert [clock_for(s).speed for s in ("1x", "10x", "2.5x")] == [1.0, 10.0, 2.5]  # type: ignore[union-attr]
    for wrong in ("fast", "0x", "-1x", "nan", "infx", ""):
        with pytest.raises(SettingError, match="speed"):
            clock_for(wrong)
