"""Wrong time stamps must not keep the engine from falling back."""

import numpy as np
import pytest
import traffic

import nsdata
from nsdata.fallback.reasons import State

START = 1_700_000_000 * 10**9
MS = 10**6
HOUR = 3600 * 10**9
DROP_ALL = "drop udp any any -> any any (sid:1;)"


def run(times: list[int], **options: object) -> nsdata.Engine:
    engine = nsdata.Engine(DROP_ALL, inline=True, **options)
    frames = [traffic.udp(b"x")] * len(times)
    engine.inspect(frames, ts_ns=np.array(times, np.uint64))
    assert engine.ledger.received.packets == len(times)
    return engine


def steady(n: int = 4000) -> list[int]:
    return [START + i * MS for i in range(n)]


def test_a_clean_run_falls_back() -> None:
    assert run(steady()).state is State.FALLBACK


@pytest.mark.parametrize("at", [0, 1, 100])
@pytest.mark.parametrize("ahead", [HOUR, 24 * HOUR, 5000 * 24 * HOUR])
def test_one_frame_far_ahead_does_not_stop_the_meter(at: int, ahead: int) -> None:
    times = steady()
    times[at] += ahead
    assert run(times).state is State.FALLBACK


def test_an_older_capture_behind_a_newer_one_does_not_stop_the_meter() -> None:
    engine = run(steady(150))
    assert engine.state is State.NORMAL
    older = np.array([t - 24 * HOUR for t in steady()], np.uint64)
    engine.inspect([traffic.udp(b"x")] * len(older), ts_ns=older)
    assert engine.state is State.FALLBACK


@pytest.mark.parametrize("behind", [1.5, 2, 10, 3600])
@pytest.mark.parametrize("clocks", [2, 3])
def test_frames_of_two_clocks_pass_at_their_own_pace(behind: float, clocks: int) -> None:
    times = [t - (i % clocks) * int(behind * 10**9) for i, t in enumerate(steady())]
    engine = run(times)
    assert engine.state is State.FALLBACK
    assert abs(engine.pipeline.last_ns - times[0] - 4000 * MS) <= 10 * MS


def test_small_disorder_is_not_taken_for_time() -> None:
    times = [t + (400 * MS if i % 2 else 0) for i, t in enumerate(steady())]
    engine = run(times)
    span = engine.pipeline.last_ns - START
    assert 4000 * MS <= span + MS <= 4400 * MS + MS


def test_one_frame_far_ahead_does_not_clog_the_modelled_queue() -> None:
    times = steady()
    times[100] += HOUR
    engine = nsdata.Engine("", capacity_pps=100_000)
    engine.inspect([traffic.udp(b"x")] * len(times), ts_ns=np.array(times, np.uint64))
    assert engine.ledger.lost.packets == 0


def test_thresholds_go_on_behind_a_frame_far_ahead() -> None:
    rule = (
        'alert udp any any -> any any (content:"x"; threshold:type limit, track by_src, '
        "count 1, seconds 1; sid:1;)"
    )
    times = [START + i * 2 * 10**9 for i in range(20)]
    times[5] += 24 * HOUR
    engine = nsdata.Engine(rule)
    engine.inspect([traffic.udp(b"x")] * 20, ts_ns=np.array(times, np.uint64))
    assert sum(e["event_type"] == "alert" for e in engine.events()) >= 19


@pytest.mark.parametrize("time", [2**63, 2**64 - 1])
def test_a_time_past_2262_is_an_error_and_what_was_before_it_counts(time: int) -> None:
    engine = nsdata.Engine("")
    with pytest.raises(nsdata.EngineError, match="2262"):
        engine.inspect([traffic.udp(b"x")] * 2, ts_ns=np.array([START, time], np.uint64))
    assert engine.ledger.received.packets == 1
