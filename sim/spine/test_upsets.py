"""nsd_spine, its injections and upsets: found, told and healed."""

from typing import Any

import cocotb
import pytest

from sim.axis import pattern
from sim.runner import simulate
from sim.spine.bench import (
    ACT_BLOCK,
    BLOCK,
    CLEAR,
    CREDITS,
    DEPTH,
    FAULT,
    NONE,
    PARAMETERS,
    STROBES,
    SUSPECT,
    SpineTB,
)

INJECTED = {"inj_ecc_ce": CLEAR, "inj_ecc_ue": FAULT, "inj_fifo_ovf": FAULT,
            "inj_credit_leak": FAULT, "inj_late": FAULT, "inj_stall": FAULT}  # fmt: skip


@cocotb.test()
@cocotb.parametrize(name=list(INJECTED), pause=["none", "random"])
async def injection(dut: Any, name: str, pause: str) -> None:
    """Each injection in each cycle of traffic: reported once, all frames pass, FAULT after."""
    tb = SpineTB(dut)
    tb.latching = True
    for moment in range(0, 52, 1 if pause == "none" else 5):
        await tb.start()
        tb.sink.pause = pattern(pause, tb.rng)
        frames = [(tb.rng.randbytes(tb.rng.randint(1, 16 * tb.lanes)), 0) for _ in range(12)]
        for data, bad in frames:
            tb.source.send(data, bad)
        await tb.cycles(moment)
        await tb.strobe(getattr(dut, name))
        got = await tb.expect(frames)
        await tb.quiet()
        await tb.source.drained()
        # What came too late for this traffic strikes the next.
        more = [(tb.rng.randbytes(64), 1)] * 3
        for data, bad in more:
            tb.source.send(data, bad)
        got += await tb.expect(more)
        await tb.quiet()
        want = dict.fromkeys(STROBES, 0) | {f"err_{name[4:]}": 1}
        assert tb.errors == want, (moment, tb.errors)
        kinds = [f.user & 7 for f in got]
        assert kinds == sorted(kinds, reverse=True), kinds
        assert kinds[-1] == INJECTED[name]
        assert set(kinds) <= {CLEAR, FAULT}
        sound = name in ("inj_ecc_ce", "inj_credit_leak", "inj_late")
        assert int(dut.sound.value) == sound
        if name == "inj_ecc_ce":
            assert tb.info & 0xFFF == 0x007  # lane 0, column of data bit 0
        if name == "inj_ecc_ue":
            assert tb.info & 0xFFF == 0x003


@cocotb.test()
async def both_kinds_of_flips_strike_two_words(dut: Any) -> None:
    """One and two wrong bits, asked for at once or one soon after the other: never three in one
    word, which would look like one and be "corrected" to a wrong word."""
    tb = SpineTB(dut)
    tb.latching = True
    for first, second in (("ce", "ue"), ("ue", "ce")):
        for apart in (0, 1, 2):
            await tb.start()
            ahead, behind = getattr(dut, f"inj_ecc_{first}"), getattr(dut, f"inj_ecc_{second}")
            ahead.value, behind.value = 1, int(apart == 0)
            await tb.cycles(1)
            ahead.value = behind.value = 0
            if apart:
                await tb.cycles(apart - 1)
                await tb.strobe(behind)
            frames = [(tb.rng.randbytes(3 * tb.lanes), 0) for _ in range(3)]
            for data, bad in frames:
                tb.source.send(data, bad)
            await tb.expect(frames)
            await tb.quiet()
            want = dict.fromkeys(STROBES, 0) | {"err_ecc_ce": 1, "err_ecc_ue": 1}
            assert tb.errors == want, (first, apart, tb.errors)


@cocotb.test()
async def credits_come_back(dut: Any) -> None:
    """Many lost credits leave no trace: full rate and full depth afterwards."""
    tb = SpineTB(dut)
    await tb.start()
    for _ in range(CREDITS + 10):
        await tb.strobe(dut.inj_credit_leak)
        tb.source.send(b"x")
        await tb.cycles(12)
    await tb.cycles(60)
    tb.sink.clear()
    await tb.quiet()
    assert tb.errors["err_credit_leak"] > CREDITS
    tb.sink.pause = iter(lambda: True, False)
    for _ in range(2 * DEPTH):
        tb.source.send(b"y" * tb.lanes)
    await tb.cycles(4 * DEPTH)
    # The exit holds three more beats; the last credit is never spent.
    assert int(dut.occupancy.value) in (CREDITS, CREDITS - 1)
    tb.sink.pause = pattern("none")
    await tb.expect([(b"y" * tb.lanes, 0)] * (2 * DEPTH))


@cocotb.test()
@cocotb.parametrize(load=["none", "random"])
async def corrupted_credits(dut: Any, load: str) -> None:
    """Any value of the credit counter, in any state: reported, healed, not a beat lost."""
    tb = SpineTB(dut)
    for value in [0, 1, 2, 30, 61, 62, 63, 64, 65, 100, 126, 127]:
        for moment in (0, 40, 90):
            await tb.start()
            tb.sink.pause = iter(lambda: True, False) if load == "none" else pattern(load, tb.rng)
            frames = [(tb.rng.randbytes(tb.rng.randint(1, 8 * tb.lanes)), 0) for _ in range(40)]
            for data, bad in frames:
                tb.source.send(data, bad)
            await tb.cycles(moment)
            changed = int(dut.credit_reg.value) != value
            dut.credit_reg.value = value
            await tb.cycles(60)
            tb.sink.pause = pattern("none")
            await tb.expect(frames)
            await tb.quiet()
            assert changed <= tb.errors["err_credit_leak"]


@cocotb.test()
async def corrupted_pointers(dut: Any) -> None:
    """Any pointer upset to any value: something is reported, and later frames pass as ever."""
    tb = SpineTB(dut)
    pointers = [dut.wr_ptr_reg, dut.free_ptr_reg, dut.stored_ptr_reg, dut.u_fetch.rd_reg,
                dut.u_fetch.arr_reg, dut.u_exit.head_reg, dut.u_line.rel_reg]  # fmt: skip
    for pointer in pointers:
        for step in (1, 2, 5, 16, 40, 63, 64, 65, 100, 120, 126, 127):
            for moment in (0, 24, 45):
                await tb.start()
                for _ in range(20):
                    tb.source.send(b"z" * tb.rng.randint(1, 6 * tb.lanes))
                await tb.cycles(moment)
                pointer.value = (int(pointer.value) + step) % (2 * DEPTH)
                # Marked frames, one by one: once one comes out as it was, all do.
                for _ in range(5 * DEPTH):
                    tb.source.send(b"w" * tb.lanes)
                await tb.until(
                    lambda: not tb.source.beats, 3000, f"{pointer._name} {step} {moment}"
                )
                await tb.cycles(300)
                dut.fault.value = 0
                tb.sink.clear()
                frames = [(tb.rng.randbytes(tb.rng.randint(1, 100)), 0) for _ in range(8)]
                for data, bad in frames:
                    tb.source.send(data, bad)
                await tb.expect(frames)
                await tb.cycles(100)
                assert not tb.sink.frames


COPIES = ("ended_reg", "q_first_reg", "first_reg", "q_block_reg", "block_reg", "drop_reg")


@cocotb.test()
async def corrupted_copies(dut: Any) -> None:
    """One copy of the exit's framing upset at any time: each frame passes or is dropped whole."""
    tb = SpineTB(dut)
    kept, dropped = (NONE, CLEAR), (ACT_BLOCK, SUSPECT)
    tb.verdicts.choose = lambda i: dropped if i % 2 else kept
    for name in COPIES:
        for copy in range(3):
            register = getattr(dut.u_exit.g_copy[copy], name)
            await tb.start()
            frames = [(bytes([i]) * (tb.lanes * (1, 13, 2, 3)[i // 2 % 4]), 0) for i in range(64)]
            tb.sink.pause = pattern(tb.rng.choice(["none", "random", "bursts"]), tb.rng)
            for data, bad in frames:
                tb.source.send(data, bad)
            while tb.source.beats:
                await tb.cycles(tb.rng.randint(3, 9))
                register.value = 1 - int(register.value)
            got = await tb.expect(frames[::2])
            await tb.quiet()
            assert {f.user & 7 for f in got} == {CLEAR} and tb.outs == [CLEAR, BLOCK] * 32, name
            assert not any(tb.errors.values())


@pytest.mark.parametrize("width", [64, pytest.param(512, marks=pytest.mark.full)])
def test_upsets(width: int) -> None:
    """All of the above at one width."""
    simulate("nsd_spine", __name__, parameters={"DATA_W": width, **PARAMETERS})
