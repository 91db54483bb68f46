"""nsd_ram: zero at first, every word its own, two cycles from address to data."""

import random
from typing import Any

import cocotb
import pytest
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from sim.runner import simulate
from sim.tb import PERIOD_PS

LATENCY = 2  # RAM_LATENCY


class RamTB:
    """One period at a time: a write, a read; each read's data judged when it is due."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.rng = random.Random(cocotb.RANDOM_SEED)
        self.width, self.words = len(dut.rd_data), 1 << len(dut.rd_addr)
        self.mem = [0] * self.words
        self.due: list[int | None] = [None] * LATENCY
        dut.wr_en.value = dut.rd_addr.value = 0
        cocotb.start_soon(Clock(dut.clk, PERIOD_PS, unit="ps").start())

    async def period(self, read: int, write: int | None = None, data: int = 0) -> None:
        """Read one address and write another (or, without `write`, have noise there)."""
        dut, rng = self.dut, self.rng
        dut.rd_addr.value = read
        dut.wr_en.value = write is not None
        dut.wr_addr.value = rng.randrange(self.words) if write is None else write
        dut.wr_data.value = rng.getrandbits(self.width) if write is None else data
        await RisingEdge(dut.clk)
        want = self.due.pop(0)
        got = int(dut.rd_data.value)
        assert want is None or got == want, (hex(got), hex(want))
        self.due.append(None if read == write else self.mem[read])  # either value: no promise
        if write is not None:
            self.mem[write] = data

    async def read_all(self) -> None:
        """Every word, in a random order, a new address every cycle."""
        for address in self.rng.sample(range(self.words), self.words):
            await self.period(address)
        for _ in range(LATENCY):
            await self.period(0)


@cocotb.test()
async def zero_at_first(dut: Any) -> None:
    await RamTB(dut).read_all()


@cocotb.test()
async def every_word_and_bit_is_its_own(dut: Any) -> None:
    """All words at once, twice; then each bit of the first and the last word alone."""
    tb = RamTB(dut)
    for _ in range(2):
        for address in range(tb.words):
            await tb.period(0, address, tb.rng.getrandbits(tb.width))
        await tb.read_all()
    for address in (0, tb.words - 1):
        for bit in range(tb.width):
            await tb.period(1, address, 1 << bit)
            await tb.period(address)
    await tb.read_all()


@cocotb.test()
async def reads_beside_writes(dut: Any) -> None:
    """Random, close addresses: a word written is read from the next cycle on."""
    tb = RamTB(dut)
    for address in range(tb.words):  # what the tests before left is not known here
        await tb.period(0, address, 0)
    for _ in range(3000):
        write = tb.rng.randrange(min(4, tb.words)) if tb.rng.random() < 0.5 else None
        await tb.period(tb.rng.randrange(min(4, tb.words)), write, tb.rng.getrandbits(tb.width))
    await tb.read_all()


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (83, 9)])
def test_ram(width: int, depth: int) -> None:
    simulate("nsd_ram", __name__, parameters={"WIDTH": width, "DEPTH_LOG2": depth})
