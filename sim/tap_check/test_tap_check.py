"""nsd_tap_check: each bit of the inspection's copy is guarded, sound beats are never blamed."""

from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from sim.runner import simulate
from sim.tb import TB

LATENCY = 1  # cycles from the tap's beat to err


def even(bits: int) -> int:
    """The parity bit that makes the number of ones even."""
    return bits.bit_count() & 1


class TapTB(TB):
    """Gives a beat, or noise without one, per period; err is judged in every period."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.lanes = len(dut.tap_parity)
        self.due = 0  # lanes that differ, of the last period
        self.found: list[int] = []
        dut.tap_valid.value = dut.inject.value = 0

    def word(self) -> tuple[int, int, int]:
        """Random data and keep with their parity, taken bit by bit."""
        data, keep = (self.rng.getrandbits(n * self.lanes) for n in (64, 8))
        parity = 0
        for lane in range(self.lanes):
            ones = data >> 64 * lane & (1 << 64) - 1, keep >> 8 * lane & 0xFF
            parity |= (even(ones[0]) ^ even(ones[1])) << lane
        return data, keep, parity

    async def period(
        self, word: tuple[int, int, int], valid: int = 1, due: int = 0, inject: int = 0
    ) -> None:
        """One period; `due`: the lanes err_info must name for it."""
        dut = self.dut
        dut.tap_valid.value, dut.inject.value = valid, inject
        dut.tap_data.value, dut.tap_keep.value, dut.tap_parity.value = word
        await RisingEdge(self.clk)
        assert int(dut.err.value) == bool(self.due)
        if self.due:
            assert int(dut.err_info.value) == self.due
            self.found.append(self.due)
        self.due = due if valid else 0

    async def idle(self, periods: int = 1) -> None:
        """No beat, but words whose parity is as likely wrong as right."""
        for _ in range(periods):
            data, keep, parity = self.word()
            await self.period((data, keep, parity ^ self.rng.getrandbits(self.lanes)), valid=0)

    async def beats(self, count: int) -> None:
        """Sound beats, some with a gap before."""
        for _ in range(count):
            if self.rng.random() < 0.3:
                await self.idle()
            await self.period(self.word())

    async def all_found(self) -> list[int]:
        """What was reported until now."""
        await self.idle(LATENCY + 1)
        found, self.found = self.found, []
        return found


async def ready(dut: Any) -> TapTB:
    """A testbench behind its reset."""
    tb = TapTB(dut)
    await tb.reset()
    return tb


@cocotb.test()
async def sound_beats_are_never_blamed(dut: Any) -> None:
    """Random ones, all zeros, all ones; what lies on the wires between them is no beat."""
    tb = await ready(dut)
    await tb.beats(500)
    ones = (1 << 64 * tb.lanes) - 1, (1 << 8 * tb.lanes) - 1, 0
    for word in ((0, 0, 0), ones, (0, 1, 1), (1, 0, 1), (1, 1, 0)):
        await tb.period(word)
    assert await tb.all_found() == []


@cocotb.test()
async def every_flipped_bit_is_found(dut: Any) -> None:
    """Each bit of data, keep and parity, once amid other beats; its lane is named."""
    tb = await ready(dut)
    for bits, part in ((64, 0), (8, 1), (1, 2)):
        for bit in range(bits * tb.lanes):
            word = list(tb.word())
            word[part] ^= 1 << bit
            await tb.period((word[0], word[1], word[2]), due=1 << bit // bits)
            await tb.beats(tb.rng.randrange(2))
    assert len(await tb.all_found()) == 73 * tb.lanes


@cocotb.test()
async def several_lanes_are_named_together(dut: Any) -> None:
    tb = await ready(dut)
    for lanes in range(1, 1 << tb.lanes):
        data, keep, parity = tb.word()
        await tb.period((data, keep, parity ^ lanes), due=lanes)
    assert await tb.all_found() == list(range(1, 1 << tb.lanes))


@cocotb.test()
async def injection_inverts_the_next_beat(dut: Any) -> None:
    """However long that takes, in every lane, and only there."""
    tb = await ready(dut)
    every = (1 << tb.lanes) - 1
    for wait in (0, 1, 2, 30):
        await tb.period(tb.word(), valid=wait % 2, inject=1)  # the beat beside it is not the next
        await tb.idle(wait)
        await tb.period(tb.word(), due=every)
        await tb.beats(20)
        assert await tb.all_found() == [every]
    await tb.period(tb.word(), valid=0, inject=1)
    await tb.period(tb.word(), due=every, inject=1)  # again, in the very beat it hits
    await tb.period(tb.word(), due=every)
    await tb.beats(5)
    assert await tb.all_found() == [every] * 2


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """An injection that waits and an error under way."""
    tb = await ready(dut)
    for _ in range(20):
        data, keep, parity = tb.word()
        await tb.idle()
        await tb.period((data, keep, parity ^ 1), due=1, inject=1)
        tb.rst.value = 1  # err of that beat comes in this period; none after it
        await tb.period((data, keep, parity ^ 1), inject=1)
        tb.rst.value = 0
        await tb.beats(3)
        assert await tb.all_found() == [1]


@pytest.mark.parametrize("width", [64, 512])
def test_tap_check(width: int) -> None:
    simulate("nsd_tap_check", __name__, parameters={"DATA_W": width})
