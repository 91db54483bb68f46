"""The simulation house itself: what it builds, what it reports, and that its agents judge."""

import os
import random
from pathlib import Path
from typing import Any

import cocotb
import pytest

from sim import runner
from sim.axis import PATTERNS, AxisSink, AxisSource, Beat, ProtocolError, pattern, to_beats
from sim.runner import simulate
from sim.tb import TB

SLICE = ["sim/harness/slice.sv"]


class SliceTB(TB):
    """Source, slice, sink."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.source = AxisSource(dut, "s_axis")
        self.sink = AxisSink(dut, "m_axis")
        self.agents = [self.source, self.sink]


async def pass_frames(tb: SliceTB, count: int) -> None:
    """Send `count` frames of random size and expect them back, with their user bit."""
    sent = [(tb.rng.randbytes(tb.rng.randint(1, 300)), tb.rng.randint(0, 1)) for _ in range(count)]
    for data, user in sent:
        tb.source.send(data, user)
    got = [await tb.sink.recv() for _ in sent]
    assert [(f.data, f.user >> 3) for f in got] == sent


@cocotb.test()
@cocotb.parametrize(idle=PATTERNS, pause=PATTERNS)
async def frames_pass(dut: Any, idle: str, pause: str) -> None:
    tb = SliceTB(dut)
    await tb.reset()
    tb.source.idle, tb.sink.pause = pattern(idle, tb.rng), pattern(pause, tb.rng)
    await pass_frames(tb, 30)


@cocotb.test()
async def a_beat_every_cycle(dut: Any) -> None:
    tb = SliceTB(dut)
    await tb.reset()
    lanes = tb.source.lanes
    for size in (1, lanes, lanes + 1, 10 * lanes):
        for _ in range(20):
            tb.source.send(bytes(size))
        got = [await tb.sink.recv() for _ in range(20)]
        assert got[-1].end - got[0].start + 1 == 20 * -(-size // lanes)


@cocotb.test()
async def reset_mid_frame(dut: Any) -> None:
    tb = SliceTB(dut)
    await tb.reset()
    tb.source.send(bytes(60 * tb.source.lanes))
    await tb.cycles(20)
    assert tb.sink.mid_frame
    await tb.reset()
    assert not tb.sink.mid_frame and not tb.sink.frames
    await pass_frames(tb, 5)


@cocotb.test()
async def stalled(dut: Any) -> None:
    """Ends in ProtocolError when the slice is built to break the protocol."""
    tb = SliceTB(dut)
    await tb.reset()
    tb.sink.pause = pattern("heavy", tb.rng)
    await pass_frames(tb, 20)


@cocotb.test(expect_error=ProtocolError)
async def a_hole_in_tkeep_is_seen(dut: Any) -> None:
    tb = SliceTB(dut)
    await tb.reset()
    tb.source.send_beats([Beat(0, 0b101, 1)])
    await tb.sink.recv()


@pytest.mark.parametrize("width", [64, 512])
def test_frames_pass(width: int) -> None:
    simulate("slice", __name__, parameters={"DATA_W": width}, sources=SLICE)


@pytest.mark.parametrize(("how", "says"), [(1, "tvalid fell"), (2, "payload changed")])
def test_a_broken_protocol_fails_the_test(how: int, says: str) -> None:
    with pytest.raises(pytest.fail.Exception) as raised:
        simulate("slice", __name__, parameters={"BREAK": how}, sources=SLICE, testcase="stalled")
    assert "stalled" in str(raised.value) and says in str(raised.value)
    assert "sim.log" in str(raised.value)


def test_a_test_that_does_not_exist_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"no cocotb test ran|left no result"):
        simulate(
            "slice", __name__, parameters={"DATA_W": 64}, sources=SLICE, testcase="no_such_test"
        )


def test_a_parameter_out_of_range_stops_the_build() -> None:
    with pytest.raises(pytest.fail.Exception, match="WIDTH must be at least 1"):
        simulate("nsd_delay", __name__, parameters={"WIDTH": 0, "CYCLES": 1})


def test_an_unchanged_source_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(
        "slice", __name__, parameters={"DATA_W": 64}, sources=SLICE, testcase="reset_mid_frame"
    )

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(runner, "_build", refuse)
    simulate(
        "slice", __name__, parameters={"DATA_W": 64}, sources=SLICE, testcase="reset_mid_frame"
    )


def test_a_build_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.sv").write_text("module broken (input logic clk); oops oops\n")
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "BUILDS", tmp_path / "build")
    with pytest.raises(pytest.fail.Exception, match="does not build"):
        simulate("broken", __name__, sources=[tmp_path / "broken.sv"])


def test_beats_hold_the_bytes() -> None:
    for size in (1, 7, 8, 9, 64, 100):
        data = random.Random(size).randbytes(size)
        beats = to_beats(data, 8)
        assert [b.last for b in beats] == [0] * (len(beats) - 1) + [1]
        joined = b"".join(b.data.to_bytes(8, "little")[: b.keep.bit_count()] for b in beats)
        assert joined == data
    assert os.environ.get("NSDATA_SEED", "1").isdigit()
