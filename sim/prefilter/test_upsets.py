"""A prefilter table gone bad never hides anything: upsets in every copy and in the registers."""

import itertools
from typing import Any

import cocotb
import pytest

from sim.axis import Beat
from sim.prefilter.bench import PrefilterTB, quiet
from sim.prefilter.test_prefilter import OTHERS, SHAPES, WINDOWS, loaded
from sim.runner import simulate

# Bits of a code word whose first slot is taken.
PARTS = {"class": [19, 20], "fp": range(19), "check": range(64, 72), "other": range(21, 64)}


@pytest.mark.parametrize("shape", ["64", *OTHERS])
def test_upsets(shape: str) -> None:
    simulate("nsd_prefilter", __name__, parameters=SHAPES[shape], extra_env={"SHAPE": shape})


async def upset(tb: PrefilterTB, lane: int, address: int, bits: int) -> None:
    """Flip `bits` of the code word at `address` of one lane's copy."""
    cell = tb.copy(lane)[address]
    cell.value = int(cell.value) ^ bits
    await tb.cycles(1)


def sample(tb: PrefilterTB) -> list[int]:
    """Lanes to try: all of 8; of 64 the edges of the groups and some others."""
    if tb.lanes == 8:
        return list(range(8))
    return sorted({0, 7, 8, 63, *tb.rng.sample(range(64), 2)})


@cocotb.test()
async def one_wrong_bit_hides_nothing(dut: Any) -> None:
    """In any lane, in any part of the word: the window is found there before the scrubber comes,
    then the copy is corrected and nothing else is a hit."""
    tb, table = await loaded(dut, [WINDOWS[0]])
    window, at = WINDOWS[0], table.bucket(WINDOWS[0])
    noise = quiet(tb.rng, 2 * tb.lanes, table)
    for lane, part in itertools.product(sample(tb), PARTS):
        bit = tb.rng.choice(PARTS[part])
        good = int(tb.copy(lane)[at].value)
        errors = dict(tb.errors)
        # Beats in every cycle leave the scrubber no slot: the upset stays.
        beat = Beat(int.from_bytes(noise[: tb.lanes], "little"), (1 << tb.lanes) - 1, 1)
        await upset(tb, lane, at, 1 << bit)
        frames = [noise[: lane + tb.lanes] + window + noise, noise[:lane] + window]
        got = await tb.play([*tb.beats(frames), *[beat] * 5])
        assert got[:2] == [True, True], (lane, bit)
        await tb.pass_ends(2)
        assert tb.errors == {**errors, "err_ce": errors["err_ce"] + 1}, (lane, bit)
        assert int(tb.copy(lane)[at].value) == good
        assert await tb.compare(table, [noise, *frames]) == 2


@cocotb.test()
async def one_wrong_bit_is_a_hit(dut: Any) -> None:
    """Even where nothing is in the bucket, and only where it is looked up within the frame."""
    tb = PrefilterTB(dut)
    await tb.start()
    start, noise = b"none", bytes(tb.lanes)
    around = noise[:3] + start + noise[:3]
    others = [around[i : i + 4] for i in range(7) if i != 3] + [noise[:4], WINDOWS[0]]
    while True:
        table = tb.table()
        at = table.bucket(start)
        if at not in {table.bucket(window) for window in others}:
            break
    table.add(WINDOWS[0])
    await tb.load(table)
    keep = (1 << tb.lanes) - 1
    for lane in sample(tb):
        # No idle cycle between the frames: the scrubber can't correct before the last of them.
        frames = [noise[:lane] + start, noise[:lane] + start[:3], noise[:lane] + start + noise]
        rest = noise[:lane] + start + bytes(2 * tb.lanes)
        beats = tb.beats(frames, tail=lambda number: b"e" + bytes(tb.lanes))
        assert await tb.play(beats) == [False] * 3
        await upset(tb, lane, at, 1 << tb.rng.randrange(72))
        got = await tb.play([*beats, Beat(int.from_bytes(rest[: tb.lanes], "little"), keep, 1)])
        assert got[:3] == [True, False, True], lane
        await tb.pass_ends(2)
        assert await tb.play(beats) == [False] * 3


@cocotb.test()
async def two_wrong_bits_are_a_hit_and_an_error(dut: Any) -> None:
    """err_ue from the lookup, and from the scrubber; a load mends it."""
    tb, table = await loaded(dut, [WINDOWS[0]])
    start = b"none"
    at = table.bucket(start)
    noise = bytes(tb.lanes)
    for lane in sample(tb):
        one, two = tb.rng.sample(range(72), 2)
        await upset(tb, lane, at, 1 << one | 1 << two)
        before = tb.lookup_ues
        frames = [noise[:lane] + start + noise, noise[:lane] + WINDOWS[0]]
        assert await tb.play(tb.beats(frames)) == [True, True]
        await tb.cycles(3)
        assert tb.lookup_ues > before
        scrubs = tb.errors["err_ue"] - tb.lookup_ues
        await tb.pass_ends(2)
        assert tb.errors["err_ue"] - tb.lookup_ues > scrubs
        await tb.load(table)
        assert await tb.compare(table, frames) == 1
    # Not found by a commit either: what can't be read is not what was loaded.
    await tb.fill(table)
    await upset(tb, tb.lanes - 1, at, 3)
    assert not await tb.commit(table)
    assert dut.commit_failed.value == 1


@cocotb.test()
async def what_the_code_cannot_see(dut: Any) -> None:
    """One copy holds another code word: the comparison of the copies tells, within two passes."""
    tb, table = await loaded(dut, [WINDOWS[0]])
    at = table.bucket(WINDOWS[0])
    elsewhere = (at + 1) % (1 << tb.buckets_log2)
    for lane in sample(tb):
        word = int(tb.copy(lane)[at].value)
        for address, value in ((at, 0), (elsewhere, word)):
            good = int(tb.copy(lane)[address].value)
            await upset(tb, lane, address, good ^ value)
            errors = dict(tb.errors)
            await tb.pass_ends(2)
            assert tb.errors["err_crc"] > errors["err_crc"], (lane, address)
            assert tb.errors["err_ce"] == errors["err_ce"] == 0 == tb.errors["err_ue"]
            await upset(tb, lane, address, good ^ value)
            await tb.pass_ends(2)
            errors = dict(tb.errors)
            await tb.pass_ends(1)
            assert tb.errors == errors
    # A commit compares the copies too.
    await tb.fill(table)
    await upset(tb, tb.lanes - 2, at, int(tb.copy(0)[at].value))
    assert not await tb.commit(table)


@cocotb.test()
async def configuration_upset(dut: Any) -> None:
    """A flipped bit of the seed or of a range in force is err_crc within two passes."""
    tb = PrefilterTB(dut)
    await tb.start()
    table = tb.table(ranges=[tb.rng.getrandbits(35) for _ in range(16)])
    table.add(WINDOWS[0])
    await tb.load(table)
    await tb.pass_ends(2)
    assert tb.errors["err_crc"] == 0
    for name, bits in (("seed_reg", 32), ("ranges_reg", 16 * 35)):
        register = getattr(dut.load, name)
        for bit in {0, bits - 1, *tb.rng.sample(range(bits), 4)}:
            good = int(register.value)
            register.value = good ^ 1 << bit
            before = tb.errors["err_crc"]
            await tb.pass_ends(2)
            assert tb.errors["err_crc"] > before, (name, bit)
            register.value = good
            await tb.pass_ends(2)
            before = tb.errors["err_crc"]
            await tb.pass_ends(1)
            assert tb.errors["err_crc"] == before


@cocotb.test()
async def injected_error(dut: Any) -> None:
    """inj_crc: one err_crc, and the table stays what it is."""
    tb, table = await loaded(dut, WINDOWS)
    await tb.strobe(dut.inj_crc)
    await tb.pass_ends(3)
    assert tb.errors == {"err_crc": 1, "err_ce": 0, "err_ue": 0}
    noise = quiet(tb.rng, 40, table)
    assert await tb.compare(table, [noise, noise + WINDOWS[1]]) == 1
