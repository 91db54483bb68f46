"""nsd_delay: q is d of CYCLES cycles ago, zero while that lies before a reset."""

from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from sim.runner import simulate
from sim.tb import TB


class DelayTB(TB):
    """Random words in; q judged in every period."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.width, self.depth = len(dut.d), int(dut.CYCLES.value)
        self.past = [0] * self.depth  # the oldest first
        dut.d.value = 0

    async def words(self, count: int) -> None:
        """`count` random words, one a period."""
        for _ in range(count):
            word = self.rng.getrandbits(self.width)
            self.dut.d.value = word
            await RisingEdge(self.clk)
            self.past.append(word)
            assert int(self.dut.q.value) == self.past.pop(0)


@cocotb.test()
async def so_many_cycles_ago(dut: Any) -> None:
    tb = DelayTB(dut)
    await tb.reset()
    await tb.words(500 + 3 * tb.depth)


@cocotb.test()
async def reset_clears_every_stage(dut: Any) -> None:
    """One cycle of it is enough, however full the line is."""
    tb = DelayTB(dut)
    await tb.reset()
    for _ in range(20):
        await tb.words(tb.rng.randrange(1, 2 * tb.depth + 2))
        tb.rst.value = 1
        await tb.words(1)
        tb.rst.value = 0
        tb.past = [0] * tb.depth
        await tb.words(2 * tb.depth + 1)


@pytest.mark.parametrize(("width", "cycles"), [(1, 0), (8, 1), (70, 15)])
def test_delay(width: int, cycles: int) -> None:
    simulate("nsd_delay", __name__, parameters={"WIDTH": width, "CYCLES": cycles})
