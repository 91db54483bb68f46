"""The prefilter finds what the golden model finds, and a table gone bad never hides anything."""

import itertools
import os
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from sim.axis import Beat
from sim.prefilter.bench import CLASSES, LATENCY, PrefilterTB, Table, quiet
from sim.runner import simulate

SHAPES = {
    "64": {"DATA_W": 64, "BUCKETS_LOG2": 6, "WORDS": 1},
    "64-full": {"DATA_W": 64, "BUCKETS_LOG2": 10, "WORDS": 1},
    "64-wide": {"DATA_W": 64, "BUCKETS_LOG2": 5, "WORDS": 4},
    "512": {"DATA_W": 512, "BUCKETS_LOG2": 6, "WORDS": 2},
}
FULL = os.environ.get("SHAPE") == "64-full"  # cocotb's side: this shape runs a few tests only


# The lanes are alike: the other shapes have more of them, or wider words.
OTHERS = [pytest.param(s, marks=pytest.mark.full) for s in SHAPES if s not in ("64", "64-full")]


@pytest.mark.parametrize("shape", ["64", "64-full", *OTHERS])
def test_prefilter(shape: str) -> None:
    simulate("nsd_prefilter", __name__, parameters=SHAPES[shape], extra_env={"SHAPE": shape})


async def loaded(dut: Any, windows: list[bytes]) -> tuple[PrefilterTB, Table]:
    """A testbench with a valid table of `windows`."""
    tb = PrefilterTB(dut)
    await tb.start()
    table = tb.table()
    for window in windows:
        assert table.add(window)
    await tb.load(table)
    return tb, table


WINDOWS = [b"pat4", b"sixpat", b"8pattern"]


# --- the search -----------------------------------------------------------------------------


@cocotb.test()
async def every_class_at_every_position(dut: Any) -> None:
    """Also at the frame's end; and cut off by it, when it must not be found."""
    tb, table = await loaded(dut, WINDOWS)
    noise = quiet(tb.rng, 3 * tb.lanes, table)
    for window in WINDOWS:
        size, frames, tails = len(window), [], []
        for position in range(2 * tb.lanes):
            inside = noise[:position] + window
            for behind in {0, 1, 7 - position % 8, tb.lanes - size}:
                frames.append(inside + noise[:behind])
                tails.append(noise)
            # The bytes that tkeep leaves out complete the window: not the frame's.
            for kept in range(1, size):
                frames.append(inside[: position + kept])
                tails.append(window[kept:] + noise)
        hits = await tb.compare(table, frames, tail=tails.__getitem__)
        assert hits == sum(window in frame for frame in frames) > 0
    assert tb.errors == {"err_crc": 0, "err_ce": 0, "err_ue": 0}


@cocotb.test(skip=FULL)
async def no_window_over_two_frames(dut: Any) -> None:
    """A window cut at a frame's end, its rest at the next one's start, back to back."""
    tb, table = await loaded(dut, WINDOWS)
    noise = quiet(tb.rng, 2 * tb.lanes, table)
    for window, gap in itertools.product(WINDOWS, (0, 1)):
        frames = []
        for lead, cut in itertools.product(range(tb.lanes), range(1, len(window))):
            # Whole beats: the cut falls between two beats.
            lead = -(lead + cut) % tb.lanes
            frames += [noise[:lead] + window[:cut], window[cut:] + noise[: tb.lanes]]
        assert await tb.compare(table, frames, idle=lambda gap=gap: gap) == 0


@cocotb.test(skip=FULL)
async def windows_across_idle_gaps(dut: Any) -> None:
    tb, table = await loaded(dut, WINDOWS)
    noise = quiet(tb.rng, 2 * tb.lanes, table)
    for longest in (1, 3, 30):
        frames = [
            noise[: tb.lanes - before] + window + noise[: tb.lanes]
            for window in WINDOWS
            for before in range(len(window) + 1)
        ]
        hits = await tb.compare(table, frames, idle=lambda n=longest: tb.rng.randint(0, n))
        assert hits == len(frames)


@cocotb.test()
async def frames_of_one_beat_every_cycle(dut: Any) -> None:
    """1 to 8 bytes, and every length that fits one beat; half of them hold a window."""
    tb, table = await loaded(dut, WINDOWS)
    noise = quiet(tb.rng, tb.lanes, table)
    frames = [noise[:n] for n in range(1, 9)] + [
        window[:n] for window in WINDOWS for n in range(1, 9)
    ]
    for _ in range(400):
        window = tb.rng.choice(WINDOWS)
        room = tb.rng.randint(0, tb.lanes - len(window))
        frames.append(noise[:room] + tb.rng.choice([window, window[:-1] + b"\0"]))
    beats = tb.beats(frames)
    assert len(beats) == len(frames) and all(beats)
    assert 100 < await tb.compare(table, frames) < 400


@cocotb.test(skip=FULL)
async def letters_match_in_either_case(dut: Any) -> None:
    """A-Z only: @, [, ` and { are not each other."""
    tb, table = await loaded(dut, [b"AzBY", b"gEtpUt", b"@[`{zZaA"])
    frames = []
    for window in (b"AZBY", b"azby", b"GETput", b"getPUT", b"@[`{ZzAa", b"`{@[ZzAa", b"@{`{zzaa",
                   b"\xc1zby", b"\x01zby", b"GEtpu\x14", b"@[@[zzaa"):  # fmt: skip
        frames += [bytes(tb.rng.choices(b"\0\xff", k=n)) + window for n in range(10)]
    assert await tb.compare(table, frames) == 50


@cocotb.test()
async def random_frames_random_tables(dut: Any) -> None:
    """Tables as full as they get, of pieces of the frames and of random slots."""
    tb = PrefilterTB(dut)
    await tb.start()
    hits = total = 0
    for _ in range(2 if FULL else 4):
        table = tb.table(seed=tb.rng.choice([0, 0xFFFFFFFF, tb.rng.getrandbits(32)]))
        alphabet = tb.rng.choice([b"ab", b"AbCd", bytes(range(256)), b"@Z[`z{"])
        frames = [
            bytes(tb.rng.choices(alphabet, k=tb.rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 65, 66])
                                 if tb.rng.random() < 0.5 else tb.rng.randint(1, 200)))
            for _ in range(200)
        ]  # fmt: skip
        for _ in range(12):
            frame = tb.rng.choice([frame for frame in frames if len(frame) >= 8])
            size = tb.rng.choice(list(CLASSES))
            at = tb.rng.randint(0, len(frame) - size)
            table.add(frame[at : at + size])
        for _ in range(80):
            table.add(tb.rng.randbytes(tb.rng.choice(list(CLASSES))))
        await tb.load(table)
        for idle in (lambda: 0, lambda: tb.rng.choice([0, 0, 0, 1, 5])):
            hits += await tb.compare(table, frames, idle=idle)
            total += len(frames)
    assert total // 10 < hits < total
    assert tb.errors == {"err_crc": 0, "err_ce": 0, "err_ue": 0}


@cocotb.test(skip=FULL)
async def every_slot_of_a_bucket(dut: Any) -> None:
    """A full bucket: each slot is found by itself; class 0 and foreign classes match nothing."""
    tb = PrefilterTB(dut)
    await tb.start()
    table = tb.table(seed=0x1234_5678)
    numbers = (b"%04d" % number for number in range(10_000))
    same = itertools.islice((n for n in numbers if table.bucket(n) == 3), 3 * tb.words + 1)
    *starts, surplus = same
    windows = [
        start + b"abcd"[: size - 4]
        for start, size in zip(starts, itertools.cycle(CLASSES), strict=False)
    ]
    for window in windows:
        assert table.add(window)
    assert not table.add(surplus)
    await tb.load(table)
    frames = [b"--" + window + b"--" for window in windows]
    assert await tb.compare(table, [*frames, b"--" + surplus]) == len(frames)
    full = table.entries.copy()
    # Fingerprints as they were, of another class or of none.
    for classes in ({1: 2, 2: 3, 3: 1}, {1: 3, 2: 1, 3: 2}, {1: 0, 2: 0, 3: 0}):
        for word, at in itertools.product(range(tb.words), (19, 40, 61)):
            old = int(full[3, word])
            new = int(table.entries[3, word]) & ~(3 << at) | classes[old >> at & 3] << at
            table.entries[3, word] = new
        await tb.load(table)
        assert await tb.compare(table, frames) == 0


# --- validity and loading -------------------------------------------------------------------


@cocotb.test()
async def hit_while_not_valid(dut: Any) -> None:
    """After reset, while being loaded, after load_begin, after a commit that failed."""
    tb = PrefilterTB(dut)
    await tb.start()
    table = tb.table()
    table.add(WINDOWS[0])
    frames = [quiet(tb.rng, n, table) for n in (1, 8, 64, 100)]

    async def all_hit() -> None:
        assert dut.table_valid.value == 0
        assert await tb.play(tb.beats(frames)) == [True] * len(frames)

    await all_hit()
    await tb.fill(table)
    await all_hit()
    assert not await tb.commit(table, table.signature() ^ 1)
    await all_hit()
    assert await tb.commit(table)
    assert await tb.compare(table, frames) == 0
    await tb.strobe(dut.load_begin)
    await tb.cycles(1)
    await all_hit()


@cocotb.test(skip=FULL)
async def frame_across_a_change_of_validity(dut: Any) -> None:
    """A frame of which any beat met an invalid table is a hit: both ways, at every beat."""
    tb, table = await loaded(dut, WINDOWS)
    frame = quiet(tb.rng, 6 * tb.lanes, table)
    for turn in (*range(1, 6), *range(13, 34, 2), 38):
        strobe = cocotb.start_soon(late_strobe(tb, dut.load_begin, turn))
        got = await tb.play(tb.beats([frame] * 4))
        await strobe
        # Frames end in cycles 6, 12, 18, 24 and are judged LATENCY later.
        for number, hit in enumerate(got):
            judged = 6 * (number + 1) + LATENCY
            if turn + 3 < judged or turn > judged + 3:
                assert hit == (turn < judged), (turn, number)
        await tb.load(table)
    # Becoming valid, at several places of a frame of six beats, one every other cycle.
    keep = (1 << tb.lanes) - 1
    for lead in (0, 4, 8):
        await tb.fill(table)
        await tb.strobe(dut.commit)
        rise = cocotb.start_soon(cycle_of(tb, dut.table_valid))
        beats = [None if i % 2 else Beat(0, keep, i % 12 == 10) for i in range(3_600)]
        began = tb.cycle + 2
        got = await tb.play([*[None] * lead, *beats])
        valid_from = await rise - began
        for number, hit in enumerate(got):
            # The first beat is judged ten cycles after the second one came.
            first = lead + 12 * number + 2 + 10
            if abs(first - valid_from) > 2:
                assert hit == (first < valid_from), (number, first, valid_from)
        assert got[0] and not got[-1]


async def cycle_of(tb: PrefilterTB, signal: Any) -> int:
    """The cycle in which `signal` is high for the first time."""
    await tb.until(lambda: signal.value == 1, 10_000, "a rise")
    return tb.cycle


async def late_strobe(tb: PrefilterTB, signal: Any, cycles: int) -> None:
    await tb.cycles(cycles)
    await tb.strobe(signal)


@cocotb.test(skip=FULL)
async def a_load_between_two_beats_is_a_hit(dut: Any) -> None:
    """The new table has not seen the beats before it; the frames after it are judged by it."""
    tb, table = await loaded(dut, WINDOWS)
    other = tb.table()
    assert other.add(b"evil")
    quiet_frame = quiet(tb.rng, 6 * tb.lanes, other)
    frame = b"evil" + quiet_frame[4:]
    for cut in (1, 2, 4):
        beats = tb.beats([frame])
        for beat in beats[:cut]:
            assert beat is not None
            dut.tap_valid.value = 1
            dut.tap_data.value, dut.tap_keep.value, dut.tap_last.value = beat[:3]
            await RisingEdge(dut.clk)
        dut.tap_valid.value = 0
        await tb.cycles(2 * LATENCY)
        await tb.load(other)
        assert await tb.play(beats[cut:]) == [True], f"cut behind beat {cut}"
        assert await tb.compare(other, [quiet_frame, frame, quiet_frame]) == 1
        await tb.load(table)


@cocotb.test(skip=FULL)
async def commit_counts_generations(dut: Any) -> None:
    """Right signature: valid, one more generation; wrong: invalid, failed, err_crc."""
    tb, table = await loaded(dut, WINDOWS)
    assert dut.generation.value == 1 and tb.errors["err_crc"] == 0
    assert dut.sig.value == table.signature() ^ Table.signature(empty(tb, table))
    for flip in range(0, 32, 5):
        await tb.fill(table)
        assert dut.table_valid.value == 0
        assert not await tb.commit(table, table.signature() ^ 1 << flip)
        assert dut.commit_failed.value == 1 and dut.generation.value == 1
        await tb.cycles(5)
    assert tb.errors["err_crc"] == 7
    # A table that is not what its signature says: a missing entry, a changed seed or range.
    lacking = tb.table(table.seed)
    lacking.add(WINDOWS[0])
    await tb.fill(lacking)
    assert not await tb.commit(lacking, table.signature())
    await tb.fill(table)
    other = tb.table(table.seed ^ 1 << 31)
    assert not await tb.commit(other, table.signature())
    ranges = tb.table(table.seed, [0] * 15 + [1 << 34])
    assert not await tb.commit(ranges, table.signature())
    assert await tb.commit(table)
    assert dut.commit_failed.value == 0 and dut.generation.value == 2
    assert dut.cmd_error.value == 0


def empty(tb: PrefilterTB, table: Table) -> Table:
    """A table of the same configuration without entries."""
    return tb.table(table.seed, table.ranges)


@cocotb.test(skip=FULL)
async def refused_commands(dut: Any) -> None:
    """Writes and commits of a valid table, and anything during a check, change nothing."""
    tb, table = await loaded(dut, WINDOWS)
    at = table.bucket(WINDOWS[0])
    before = await tb.read(at)
    assert before == sum(int(word) << 64 * i for i, word in enumerate(table.entries[at]))
    assert dut.cmd_error.value == 0
    await tb.write(at, [0])
    assert dut.cmd_error.value == 1
    assert await tb.read(at) == before and dut.cmd_error.value == 0
    await tb.strobe(dut.commit)
    await tb.cycles(2)
    assert dut.cmd_error.value == 1 and dut.table_valid.value == 1 and dut.checking.value == 0

    await tb.fill(table)
    dut.expect_sig.value = table.signature()
    await tb.strobe(dut.commit)
    await tb.cycles(3)
    assert dut.checking.value == 1 and dut.cmd_error.value == 0
    dut.cmd_addr.value, dut.cmd_wdata.value = at, 0
    for signal in (dut.cmd_write, dut.cmd_read, dut.commit):
        await tb.strobe(signal)
        await tb.cycles(2)
        assert dut.cmd_error.value == 1 and dut.checking.value == 1
    await tb.free()
    assert dut.table_valid.value == 1

    # load_begin ends a check, and is not refused.
    await tb.fill(table)
    await tb.strobe(dut.commit)
    await tb.cycles(100)
    await tb.strobe(dut.load_begin)
    await tb.cycles(2)
    assert dut.checking.value == 0 and dut.table_valid.value == 0
    await tb.free()
    assert dut.sig.value == 0 and await tb.read(at) == 0


@cocotb.test(skip=FULL)
async def configuration_is_latched_at_commit(dut: Any) -> None:
    """Registers written later do nothing until the next commit."""
    tb = PrefilterTB(dut)
    await tb.start()
    table = tb.table(ranges=[tb.rng.getrandbits(35) for _ in range(16)])
    for window in WINDOWS:
        table.add(window)
    await tb.load(table)
    packed = table.ranges_packed()
    dut.cfg_seed.value = table.seed ^ 0xFFFFFFFF
    dut.cfg_ranges.value = 0
    noise = quiet(tb.rng, 30, table)
    await tb.compare(table, [noise + window for window in WINDOWS] * 3)
    assert dut.cfg_ranges_active.value == packed
    await tb.pass_ends()
    assert tb.errors["err_crc"] == 0
    other = empty(tb, tb.table(table.seed ^ 0xFFFFFFFF))
    await tb.load(other)
    assert dut.cfg_ranges_active.value == 0 and dut.generation.value == 2


@cocotb.test(skip=FULL)
async def resets(dut: Any) -> None:
    """pipe_rst forgets the frame under way, not the table; rst forgets the table too."""
    tb, table = await loaded(dut, WINDOWS)
    noise = quiet(tb.rng, 4 * tb.lanes, table)
    half = [beat for beat in tb.beats([WINDOWS[2] + noise]) if beat][:-1]
    for wait in range(LATENCY + 2):
        for beat in half:
            dut.tap_valid.value = 1
            dut.tap_data.value, dut.tap_keep.value, dut.tap_last.value = beat[:3]
            await tb.cycles(1)
        dut.tap_valid.value = 0
        await tb.cycles(wait)
        await tb.strobe(dut.pipe_rst)
        # Nothing of the half frame shows in the next ones.
        assert await tb.compare(table, [noise, noise[:9], noise + WINDOWS[0]]) == 1
    await tb.reset()
    await tb.free()
    assert dut.table_valid.value == 0 and dut.generation.value == 0
    await tb.load(table)
    assert await tb.compare(table, [noise]) == 0
