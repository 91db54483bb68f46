"""nsd_errors: what it does about its own upsets, and what it remembers of errors."""

from typing import Any

import cocotb

from nsdata.offload.registers import ErrorClass, RearmReason, State
from sim.errors.bench import COUNT, OWN, fresh
from sim.runner import simulate


@cocotb.test()
async def one_upset_copy_of_the_latch_changes_nothing(dut: Any) -> None:
    """It is repaired in the next cycle and counted as corrected; set or not, each copy."""
    tb = await fresh(dut)
    seen = 0
    for latched in (0, 1):
        if latched:
            await tb.error(ErrorClass.LATE)
        else:
            await tb.arm()
        await tb.step(3)
        dut.record_clear.value = 1
        await tb.step()
        dut.record_clear.value = 0
        for i in range(3):
            copy = dut.g_latch[i].copy_reg
            copy.value = 1 - latched
            await tb.step()
            assert tb.get("fault") == latched and tb.get("arm") == 1 - latched
            await tb.step()
            assert int(copy.value) == latched and tb.get("fault") == latched
            seen += 1
            await tb.step(4)
            assert tb.counter(ErrorClass.ECC_CE) == seen
            assert tb.get("record_class") == ErrorClass.ECC_CE
            if not i:
                assert tb.get("record_info") == OWN | (latched * 7 ^ 1)


@cocotb.test()
async def two_upset_copies_open(dut: Any) -> None:
    """Outvoted, the latch falls to the open side; an outvoted fault does not arm either."""
    tb = await fresh(dut)
    await tb.arm()
    for i in (0, 2):
        dut.g_latch[i].copy_reg.value = 1
    await tb.step()
    assert tb.get("fault") and not tb.get("arm")
    await tb.step(3)
    assert tb.state is State.FAULT and tb.get("fault")
    for i in (1, 2):
        dut.g_latch[i].copy_reg.value = 0
    await tb.step(100)
    assert tb.state is State.FAULT and not tb.get("arm")


@cocotb.test()
async def a_flipped_state_bit_is_a_fault(dut: Any) -> None:
    """Each bit, armed and disarmed: `arm` is low in that very cycle, PARITY follows."""
    tb = await fresh(dut)
    for bit in range(4):
        for armed in (True, False):
            if armed:
                await tb.arm()
            else:
                dut.ctl_enable.value = 0
                await tb.step(3)
                assert tb.state is State.DISARMED
            upset = int(dut.state_reg.value) ^ 1 << bit
            dut.state_reg.value = upset
            dut.armed.value = 0
            await tb.step()
            assert not tb.get("arm"), bit
            await tb.step(5)
            assert tb.state is State.FAULT and tb.get("fault")
            assert tb.get("status") == 1 << ErrorClass.PARITY
            assert tb.get("record_info") == OWN | upset
            await tb.clear_status()
            await tb.strobe(dut.record_clear)
            assert await tb.rearm() is RearmReason.NONE


@cocotb.test()
async def the_first_error_is_recorded(dut: Any) -> None:
    """A fatal one replaces a corrected one and nothing else does; the lowest class comes first."""
    tb = await fresh(dut)

    async def record() -> tuple[int, int, int]:
        await tb.step(4)
        return tb.get("record_valid"), tb.get("record_class"), tb.get("record_info")

    await tb.error(ErrorClass.ECC_CE, info=0x100)
    stamp = tb.get("cycle")
    assert await record() == (1, 0, 0x100)
    assert tb.get("record_cycle") == stamp + 1
    await tb.error(ErrorClass.ECC_CE, info=0x200)
    assert await record() == (1, 0, 0x100)
    await tb.error(ErrorClass.AXI_FAULT, info=0xABCD_0000)
    assert await record() == (1, 11, 0xABCD_000B)
    await tb.error(ErrorClass.ECC_UE, info=0x300)
    assert await record() == (1, 11, 0xABCD_000B)
    await tb.strobe(dut.record_clear)
    await tb.step()
    assert not tb.get("record_valid")
    for low in range(1, COUNT):
        rest = [c for c in range(low + 1, COUNT) if tb.rng.random() < 0.5]
        await tb.error(*rest, low, ErrorClass.ECC_CE, info=0x7000)
        assert await record() == (1, low, 0x7000 + low)
        await tb.strobe(dut.record_clear)


@cocotb.test()
async def sticky_bits_mask_and_interrupt(dut: Any) -> None:
    """Set beats clear; the interrupt is the masked bits."""
    tb = await fresh(dut)
    for error in ErrorClass:
        dut.status_clear.value = (1 << COUNT) - 1
        await tb.error(error)
        dut.status_clear.value = 0
        await tb.step()
        assert tb.get("status") == 1 << error
        for mask, irq in ((0, 0), (1 << error, 1), (0xFFF ^ 1 << error, 0)):
            dut.irq_mask.value = mask
            await tb.step(3)
            assert tb.get("irq") == irq
        await tb.strobe(dut.status_clear, 0xFFF ^ 1 << error)
        await tb.step()
        assert tb.get("status") == 1 << error


@cocotb.test()
async def counters_saturate(dut: Any) -> None:
    """At 65535, each class; clearing them keeps an error of that cycle."""
    tb = await fresh(dut)
    dut.err_strobe.value = (1 << COUNT) - 1
    await tb.cycles(65_534)
    dut.err_strobe.value = 0
    await tb.step(3)
    assert [tb.counter(e) for e in range(COUNT)] == [65_534] * COUNT
    dut.err_strobe.value = (1 << COUNT) - 1
    await tb.step(3)
    dut.err_strobe.value = 0
    await tb.step(3)
    assert [tb.counter(e) for e in range(COUNT)] == [65_535] * COUNT
    await tb.strobe(dut.counters_clear)
    await tb.step(2)
    assert tb.get("counters") == 0


@cocotb.test()
async def the_cycle_counter_carries(dut: Any) -> None:
    """64 bits: the high word takes over without a gap."""
    tb = await fresh(dut)
    dut.i_record.low_reg.value = 0xFFFF_FFFA
    await tb.step()
    last = tb.get("cycle")
    for _ in range(12):
        await tb.step()
        assert tb.get("cycle") == last + 1
        last += 1
    assert last > 1 << 32


def test_upsets_and_records() -> None:
    simulate("nsd_errors", __name__)
