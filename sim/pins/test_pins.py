"""nsd_pins: two registers against metastability, one report a rise, the level while it stays."""

from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge, Timer

from sim.runner import simulate
from sim.tb import PERIOD_PS, TB

LATENCY = 3  # cycles from the edge that samples a pin to its level: two of them synchronise
INJECT_LATENCY = 1


class PinsTB(TB):
    """One period at a time; level and rise are judged in every one, from what went in before."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.pins = len(dut.pin)
        self.all = (1 << self.pins) - 1
        self.pin_was = [0] * LATENCY  # the newest first
        self.inject_was = [0] * INJECT_LATENCY
        self.level = 0
        self.rises = [0] * self.pins
        dut.pin.value = dut.inject.value = 0

    async def start(self) -> None:
        """Leave reset behind, pins low long enough."""
        await self.reset()
        await self.period(cycles=2)

    async def period(self, pin: int = 0, inject: int = 0, cycles: int = 1) -> None:
        """`cycles` periods of these inputs."""
        dut = self.dut
        for _ in range(cycles):
            dut.pin.value, dut.inject.value = pin, inject
            await RisingEdge(self.clk)
            level = self.pin_was[LATENCY - 1] | self.inject_was[INJECT_LATENCY - 1]
            rise = level & ~self.level
            assert (int(dut.level.value), int(dut.rise.value)) == (level, rise)
            for i in range(self.pins):
                self.rises[i] += rise >> i & 1
            self.level = level
            self.pin_was = [pin, *self.pin_was[:-1]]
            self.inject_was = [inject, *self.inject_was[:-1]]

    async def settled(self) -> list[int]:
        """Everything low again; the rises of each pin since."""
        await self.period(cycles=LATENCY + 2)
        assert int(self.dut.level.value) == 0
        rises, self.rises = self.rises, [0] * self.pins
        return rises


async def ready(dut: Any) -> PinsTB:
    """A testbench behind its reset."""
    tb = PinsTB(dut)
    await tb.start()
    return tb


def only(tb: PinsTB, pin: int, count: int = 1) -> list[int]:
    """Rises when only `pin` rose, `count` times."""
    return [count if i == pin else 0 for i in range(tb.pins)]


@cocotb.test()
async def by_hand(dut: Any) -> None:
    """Depth and shape, counted in edges: level after the third, rise in that cycle alone."""
    tb = await ready(dut)
    for pin in range(tb.pins):
        dut.pin.value = 1 << pin
        seen = []
        for _ in range(8):
            await RisingEdge(tb.clk)
            seen.append((int(dut.level.value) >> pin, int(dut.rise.value) >> pin))
        assert seen == [(0, 0)] * 3 + [(1, 1)] + [(1, 0)] * 4
        dut.pin.value = 0
        await tb.cycles(6)
    meta, sync = int(dut.meta_reg.value), int(dut.sync_reg.value)
    assert meta == sync == 0


@cocotb.test()
async def two_registers_and_no_logic_before_them(dut: Any) -> None:
    """The first register alone sees the pin; the second sees only the first."""
    tb = await ready(dut)
    before = (0, 0)
    for _ in range(200):
        pin = tb.rng.getrandbits(tb.pins)
        dut.pin.value, dut.inject.value = pin, tb.rng.getrandbits(tb.pins)
        await RisingEdge(tb.clk)
        assert int(dut.meta_reg.value) == before[0] and int(dut.sync_reg.value) == before[1]
        before = (pin, before[0])


@cocotb.test()
async def a_pin_that_stays_rises_once(dut: Any) -> None:
    tb = await ready(dut)
    for pin in range(tb.pins):
        for length in (1, 2, 3, 50):
            await tb.period(1 << pin, cycles=length)
            assert await tb.settled() == only(tb, pin)
        for _ in range(5):  # low for one cycle is low
            await tb.period(1 << pin, cycles=3)
            await tb.period(0)
        assert await tb.settled() == only(tb, pin, 5)


@cocotb.test()
async def injection_is_a_pin_high_for_one_cycle(dut: Any) -> None:
    """Alone it rises once; on a pin that is high already nothing rises."""
    tb = await ready(dut)
    for pin in range(tb.pins):
        await tb.period(inject=1 << pin)
        assert await tb.settled() == only(tb, pin)
        await tb.period(1 << pin, cycles=6)
        await tb.period(1 << pin, inject=1 << pin)
        await tb.period(1 << pin, cycles=6)
        assert await tb.settled() == only(tb, pin)
    await tb.period(inject=tb.all)
    assert await tb.settled() == [1] * tb.pins


@cocotb.test()
async def pins_are_independent(dut: Any) -> None:
    """Random pins and injections, each period judged."""
    tb = await ready(dut)
    for _ in range(2000):
        await tb.period(
            tb.rng.choice((tb.pin_was[0], tb.rng.getrandbits(tb.pins))),
            tb.rng.getrandbits(tb.pins) if tb.rng.random() < 0.2 else 0,
        )
    assert min(await tb.settled()) > 100


@cocotb.test()
async def a_pin_may_change_at_any_time(dut: Any) -> None:
    """Away from the clock's edge: one rise, at the latest a cycle later than the aligned one."""
    tb = await ready(dut)
    for pin in range(tb.pins):
        for _ in range(20):
            await RisingEdge(tb.clk)
            await Timer(tb.rng.randrange(100, PERIOD_PS - 100), unit="ps")
            dut.pin.value = 1 << pin
            rises = []
            for at in range(12):
                await RisingEdge(tb.clk)
                if int(dut.rise.value):
                    rises.append((at, int(dut.rise.value)))
            assert rises == [(LATENCY, 1 << pin)]
            dut.pin.value = 0
            await tb.cycles(LATENCY + 2)


@cocotb.test()
async def reset_and_a_pin_already_high(dut: Any) -> None:
    """Nothing is reported in reset; a pin high through it rises right behind it."""
    tb = await ready(dut)
    dut.pin.value = tb.all
    await tb.cycles(6)
    tb.rst.value = 1
    await RisingEdge(tb.clk)
    for _ in range(5):
        dut.inject.value = tb.rng.getrandbits(tb.pins)
        await RisingEdge(tb.clk)
        assert int(dut.level.value) == int(dut.rise.value) == 0
    dut.inject.value = 0
    tb.rst.value = 0
    seen = []
    for _ in range(4):
        await RisingEdge(tb.clk)
        seen.append((int(dut.level.value), int(dut.rise.value)))
    assert seen == [(0, 0), (tb.all, tb.all), (tb.all, 0), (tb.all, 0)]


@pytest.mark.parametrize("pins", [1, 3])
def test_pins(pins: int) -> None:
    simulate("nsd_pins", __name__, parameters={"PINS": pins})
