"""The base of every testbench: a clock, a reset, a seeded generator of random numbers."""

import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.simtime import get_sim_time
from cocotb.triggers import ClockCycles, RisingEdge

PERIOD_PS = 6400  # 156.25 MHz


class TB:
    """Starts the clock of `dut`, holds its reset; agents named in `agents` are cleared with it.

    `rng` is seeded by NSDATA_SEED (printed by the runner), so a run can be repeated.
    """

    def __init__(self, dut: Any, clock: str = "clk", reset: str = "rst") -> None:
        self.dut = dut
        self.clk = getattr(dut, clock)
        self.rst = getattr(dut, reset)
        self.agents: list[Any] = []
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.rst.value = 1
        cocotb.start_soon(Clock(self.clk, PERIOD_PS, unit="ps").start())

    @property
    def cycle(self) -> int:
        """Clock periods since the simulation began."""
        return int(get_sim_time("ps")) // PERIOD_PS

    async def reset(self, cycles: int = 4) -> None:
        """Hold reset for `cycles`, clear the agents, and leave it one cycle behind."""
        self.rst.value = 1
        for agent in self.agents:
            agent.clear()
        await ClockCycles(self.clk, cycles)
        for agent in self.agents:
            agent.clear()
        self.rst.value = 0
        await RisingEdge(self.clk)

    async def cycles(self, count: int) -> None:
        """Wait for `count` rising edges."""
        if count > 0:
            await ClockCycles(self.clk, count)

    async def strobe(self, signal: Any, value: int = 1) -> None:
        """`signal` = `value` for exactly one cycle."""
        signal.value = value
        await RisingEdge(self.clk)
        signal.value = 0

    async def until(self, condition: Any, limit: int = 10_000, what: str = "condition") -> int:
        """Wait until `condition()` holds; the cycles waited. AssertionError after `limit`."""
        for waited in range(limit):
            if condition():
                return waited
            await RisingEdge(self.clk)
        raise AssertionError(f"{what} did not come within {limit} cycles")
