"""nsd_relay: a square wave while the spine is sound, standing still in every other cycle."""

from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from sim.runner import simulate
from sim.tb import TB


class RelayTB(TB):
    """Drives `sound` and judges heartbeat_out in every period from the count of sound ones."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.half = 2 ** int(dut.PERIOD_LOG2.value)
        self.sound_periods = 0
        dut.sound.value = 0

    async def run(self, sound: int, periods: int) -> int:
        """`periods` with this `sound`; how often heartbeat_out changed."""
        toggles, was = 0, None
        for _ in range(periods):
            self.dut.sound.value = sound
            await RisingEdge(self.clk)
            now = int(self.dut.heartbeat_out.value)
            assert now == self.sound_periods // self.half % 2, self.sound_periods
            toggles += was is not None and now != was
            was = now
            self.sound_periods += sound
        return toggles


async def ready(dut: Any) -> RelayTB:
    """A testbench behind its reset."""
    tb = RelayTB(dut)
    await tb.reset()
    return tb


@cocotb.test()
async def the_period(dut: Any) -> None:
    """Low first, then a change every 2**PERIOD_LOG2 cycles, for several whole periods."""
    tb = await ready(dut)
    assert await tb.run(1, 8 * tb.half + 1) == 8


@cocotb.test()
async def stands_still_when_not_sound(dut: Any) -> None:
    """At once and for good, low or high, wherever in the period; goes on where it stood."""
    tb = await ready(dut)
    for _ in range(12):
        await tb.run(1, tb.rng.randrange(1, 2 * tb.half + 1))
        assert await tb.run(0, 4 * tb.half + 2) <= 1  # the last sound cycle's own change
        assert await tb.run(0, 4 * tb.half) == 0
    assert await tb.run(1, 2 * tb.half + 1) == 2


@cocotb.test()
async def only_sound_cycles_count(dut: Any) -> None:
    tb = await ready(dut)
    for _ in range(600):
        await tb.run(tb.rng.getrandbits(1), 1)
    assert tb.sound_periods > 200


@cocotb.test()
async def reset_is_low_and_starts_anew(dut: Any) -> None:
    """From any count, with `sound` high throughout."""
    tb = await ready(dut)
    for before in range(1, 2 * tb.half + 1, max(1, tb.half // 8)):
        await tb.run(1, before)
        tb.rst.value = 1
        await RisingEdge(tb.clk)
        tb.sound_periods = 0
        for _ in range(2 * tb.half):
            await RisingEdge(tb.clk)
            assert int(dut.heartbeat_out.value) == 0
        tb.rst.value = 0
        assert await tb.run(1, 2 * tb.half + 1) == 2


@pytest.mark.parametrize("log2", [1, 6])
def test_relay(log2: int) -> None:
    simulate("nsd_relay", __name__, parameters={"PERIOD_LOG2": log2})
