"""nsd_spine: nothing lost, made, reordered or changed; verdicts in their place; faults open."""

import itertools
import os
import random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from sim.axis import Beat, pattern, to_beats
from sim.runner import simulate
from sim.spine.bench import (
    ACT_BLOCK,
    ACT_BYPASS,
    BLOCK,
    BYPASS,
    CLEAR,
    FAULT,
    LATENCY,
    NONE,
    PARAMETERS,
    STALL_LIMIT,
    SUSPECT,
    SpineTB,
)


def sizes(rng: random.Random, count: int) -> list[int]:
    """Sizes around everything that matters, then some up to 9018."""
    edges = [1, 7, 8, 9, 63, 64, 65, 79, 80, 81, 87, 88, 89, 96, 127, 128, 129, 192, 512, 1518]
    return [*edges, *(rng.choice(edges) for _ in range(count)), 9018,
            *(rng.randint(1, 9018) for _ in range(2))]  # fmt: skip


@cocotb.test()
@cocotb.parametrize(idle=["none", "random", "bursts"], pause=["none", "random", "bursts", "heavy"],
                    armed=[True, False])  # fmt: skip
async def run(dut: Any, idle: str, pause: str, armed: bool) -> None:
    """Every size through every idle and back-pressure; verdicts and the user bit in place."""
    tb = SpineTB(dut)
    tb.source.idle, tb.sink.pause = pattern(idle, tb.rng), pattern(pause, tb.rng)
    await tb.start(armed)
    frames = [(tb.rng.randbytes(size), tb.rng.getrandbits(1)) for size in sizes(tb.rng, 30)]
    answers = [tb.rng.choice([(NONE, CLEAR), (NONE, SUSPECT), (ACT_BYPASS, BYPASS),
                              (ACT_BLOCK, SUSPECT)]) for _ in frames]  # fmt: skip
    tb.verdicts.choose = lambda i: answers[i]
    for data, bad in frames:
        tb.source.send(data, bad)
    kept = [i for i, a in enumerate(answers) if not armed or a[0] != ACT_BLOCK]
    got = await tb.expect([frames[i] for i in kept])
    for i, frame in zip(kept, got, strict=True):
        action, verdict = answers[i]
        early = BYPASS if action == ACT_BYPASS else SUSPECT
        want = [early] * (len(frame.users) - 1) + [verdict]
        assert [u & 7 for u in frame.users] == (want if armed else [FAULT] * len(want))
    await tb.quiet()
    assert not any(tb.errors.values()), tb.errors
    out = [BLOCK if armed and a == ACT_BLOCK else v if armed else FAULT for a, v in answers]
    assert tb.outs == out and tb.ins == len(frames)


@cocotb.test()
async def every_size(dut: Any) -> None:
    """Every frame size; all of 1 to 9018 with NSDATA_FULL=1, else to 400 and some above."""
    tb = SpineTB(dut)
    await tb.start()
    full = os.environ.get("NSDATA_FULL", "") not in ("", "0")
    chosen = [*range(1, 9019 if full else 401), *tb.rng.sample(range(401, 9018), 8), 9018]
    frames = [(tb.rng.randbytes(size), size & 1) for size in chosen]
    for data, bad in frames:
        tb.source.send(data, bad)
    got = await tb.expect(frames)
    assert all(f.user & 7 == CLEAR for f in got)
    await tb.quiet()


@cocotb.test()
async def stress(dut: Any) -> None:
    """Many frames, all patterns at random, verdicts missing at random: still every byte."""
    tb = SpineTB(dut)
    await tb.start()
    frames = [(tb.rng.randbytes(tb.rng.randint(1, 300)), tb.rng.getrandbits(1)) for _ in range(300)]
    answers = [(tb.rng.choice([None, *range(2), 3]), tb.rng.choice([None, *range(8)]))
               for _ in frames]  # fmt: skip
    tb.verdicts.choose = lambda i: answers[i]
    for i, (data, bad) in enumerate(frames):
        if i % 25 == 0:
            await tb.source.drained()
            tb.source.idle = pattern(tb.rng.choice(["none", "random", "bursts"]), tb.rng)
            tb.sink.pause = pattern(tb.rng.choice(["none", "random", "bursts", "heavy"]), tb.rng)
        tb.source.send(data, bad)
    got = await tb.expect(frames)
    for (action, verdict), frame in zip(answers, got, strict=True):
        good = action in (NONE, ACT_BYPASS) and verdict in (CLEAR, SUSPECT, BYPASS)
        assert frame.user & 7 == (verdict if good else FAULT)
    await tb.quiet()
    assert tb.errors["err_late"] > 100


@cocotb.test()
async def tuser_and_odd_keep(dut: Any) -> None:
    """tkeep passes as it is, legal or not, and the mark is the last beat's own."""
    tb = SpineTB(dut)
    await tb.start()
    beats = [Beat(tb.rng.getrandbits(8 * tb.lanes), tb.rng.getrandbits(tb.lanes),
                  int(i % 7 == 6), tb.rng.getrandbits(1)) for i in range(140)]  # fmt: skip
    tb.source.send_beats(beats)
    got: list[Beat] = []
    while len(got) < len(beats):
        got += (await tb.sink.recv()).beats
    assert [(b.data, b.keep, b.last, b.user >> 3) for b in got] == [tuple(b) for b in beats]


@cocotb.test()
async def throughput_and_latency(dut: Any) -> None:
    """One beat per cycle at every size, back to back; the latencies the header states."""
    tb = SpineTB(dut)
    for count in [*range(1, 16), 60, 61, 62, 63, 64, 65, 150]:
        await tb.start()
        number = max(4, 200 // count)
        frames = [(tb.rng.randbytes(count * tb.lanes), 0) for _ in range(number)]
        tb.entered.clear()
        tb.left.clear()
        for data, bad in frames:
            tb.source.send(data, bad)
        got = await tb.expect(frames)
        assert tb.left[0] - tb.entered[0] == LATENCY + 4 + min(count, tb.dec_beats) - 1, count
        assert tb.entered[-1] - tb.entered[0] == count * number - 1, f"{count} beats: held"
        assert got[-1].end - got[0].start == count * number - 1, f"{count} beats: a gap"
        for a, b in itertools.pairwise(got):
            assert b.start == a.end + 1 and a.end - a.start == count - 1


@cocotb.test()
async def throughput_of_drops(dut: Any) -> None:
    """Dropped frames cost one cycle per beat, too, and go on while m_axis is stalled."""
    tb = SpineTB(dut)
    for count in [1, 2, 3, 11, 12, 40]:
        await tb.start()
        tb.verdicts.choose = lambda i: (NONE, CLEAR) if i == 0 else (ACT_BLOCK, SUSPECT)
        tb.sink.pause = iter(lambda: True, False)
        data = tb.rng.randbytes(tb.lanes)
        for i in range(1 + 200 // count):
            tb.source.send(data * count if i else data)
        began = tb.sink.cycle
        await tb.source.drained()
        assert len(tb.outs) > 0
        await tb.cycles(LATENCY + 20)
        assert tb.outs[0] == CLEAR and tb.outs[1:] == [BLOCK] * (200 // count)
        assert tb.sink.cycle - began < count * (1 + 200 // count) + LATENCY + 60
        tb.sink.pause = pattern("none")
        await tb.expect([(data, 0)])
        await tb.quiet()


@cocotb.test()
async def fault_during_drops(dut: Any) -> None:
    """A fault in any cycle: whole frames only, dropped ones whole, FAULT from there on."""
    tb = SpineTB(dut)
    sizes_in_beats = [3, 14, 1, 2]
    for moment in range(1, 60):
        await tb.start()
        tb.verdicts.choose = lambda i: (ACT_BLOCK, SUSPECT) if i % 2 else (NONE, CLEAR)
        tb.sink.pause = pattern("random" if moment % 2 else "none", tb.rng)
        frames = [(bytes([i]) * (tb.lanes * sizes_in_beats[i // 2 % 4]), 0) for i in range(16)]
        for data, bad in frames:
            tb.source.send(data, bad)
        await tb.cycles(moment)
        dut.fault.value = 1
        before = tb.outs.count(BLOCK)
        await tb.cycles(200)
        # The frame whose drop had begun, and one that was told late: frame_out is registered.
        assert tb.outs.count(BLOCK) <= before + 2, "dropped in a fault"
        got = list(tb.sink.frames)
        seen = [f.data for f in got]
        want = [d for d, _ in frames]
        assert all(d in want for d in seen), "a fragment"
        first = next((i for i in range(1, 16, 2) if want[i] in seen), 16)
        # Every even frame, and every odd one from the first that was let go.
        assert seen == [d for i, d in enumerate(want) if i % 2 == 0 or i >= first]
        marked = [f.user & 7 for f in got]
        clear = marked.index(FAULT) if FAULT in marked else len(marked)
        assert set(marked[:clear]) <= {CLEAR} and set(marked[clear:]) <= {FAULT}
        for f in got:
            kinds = [u & 7 for u in f.users]
            at = kinds.index(FAULT) if FAULT in kinds else len(kinds)
            assert set(kinds[at:]) <= {FAULT}
        tb.sink.frames.clear()
        await tb.quiet()
        assert tb.outs.count(BLOCK) == 16 - len(seen)


@cocotb.test()
async def fault_as_noise(dut: Any) -> None:
    """`fault` toggling at random while m_axis stalls: tuser holds still (the sink judges)."""
    tb = SpineTB(dut)
    await tb.start()
    tb.sink.pause = pattern("heavy", tb.rng)
    frames = [(tb.rng.randbytes(tb.rng.randint(1, 200)), 0) for _ in range(60)]
    for data, bad in frames:
        tb.source.send(data, bad)

    async def noise() -> None:
        while True:
            dut.fault.value = tb.rng.getrandbits(1)
            await RisingEdge(tb.clk)

    task = cocotb.start_soon(noise())
    got = await tb.expect(frames)
    task.cancel()
    for f in got:
        kinds = [u & 7 for u in f.users]
        at = kinds.index(FAULT) if FAULT in kinds else len(kinds)
        assert set(kinds[at:]) <= {FAULT} and set(kinds[:at]) <= {SUSPECT, CLEAR}


@cocotb.test()
async def late_verdicts(dut: Any) -> None:
    """Each kind of late is found, named, and costs its own frame alone its verdict."""
    tb = SpineTB(dut)
    cases = [((None, CLEAR), 1 << 20), ((3, CLEAR), 1 << 21), ((NONE, None), 1 << 23),
             ((NONE, 0), 1 << 24), ((NONE, 5), 1 << 24), ((NONE, 7), 1 << 24)]  # fmt: skip
    for count in (1, 2, 20):
        for answer, info in cases:
            await tb.start()
            tb.verdicts.choose = lambda i, a=answer: a if i == 1 else (ACT_BYPASS, BYPASS)
            frames = [(tb.rng.randbytes(tb.lanes * count), 0) for _ in range(3)]
            for data, bad in frames:
                tb.source.send(data, bad)
            got = await tb.expect(frames)
            assert [f.user & 7 for f in got] == [BYPASS, FAULT, BYPASS]
            early = FAULT if answer[0] in (None, 3) else SUSPECT
            assert all(u & 7 == early for u in got[1].users[:-1])
            assert tb.errors["err_late"] == 1 and tb.info == info, (answer, hex(tb.info))


@cocotb.test()
async def unasked_verdicts(dut: Any) -> None:
    """A verdict nobody is due is `late` while an armed frame is inside, and nothing otherwise."""
    tb = SpineTB(dut)
    for armed in (True, False):
        for name, info in (("dec_valid", 1 << 22), ("fin_valid", 1 << 25)):
            await tb.start(armed)
            extra = {name: 1, "dec_action": ACT_BLOCK, "fin_verdict": BLOCK}
            tb.verdicts.due[tb.verdicts.now + 2] = extra  # nothing inside at all
            await tb.cycles(8)
            assert tb.errors["err_late"] == 0
            frames = [(tb.rng.randbytes(tb.lanes * 20), 0)]
            tb.source.send(*frames[0])
            await tb.cycles(6)
            tb.verdicts.due[tb.verdicts.now + 2] = extra
            got = await tb.expect(frames)
            assert tb.errors["err_late"] == int(armed)
            assert not armed or tb.info == info
            assert got[0].user & 7 == (CLEAR if armed else FAULT)


@cocotb.test()
async def arm_boundary(dut: Any) -> None:
    """`arm` moving in any cycle: a frame is armed as a whole or not at all; `drained` follows."""
    tb = SpineTB(dut)
    for moment in range(40):
        for rising in (True, False):
            await tb.start(not rising)
            tb.verdicts.choose = lambda i: (NONE, CLEAR)
            frames = [(tb.rng.randbytes(tb.lanes * (1 + i % 4)), 0) for i in range(16)]
            for data, bad in frames:
                tb.source.send(data, bad)
            await tb.cycles(moment)
            dut.arm.value = int(rising)
            got = await tb.expect(frames)
            kinds = [f.user & 7 for f in got]
            want = [CLEAR if armed else FAULT for armed in tb.armed_at]
            assert tb.armed_at == sorted(tb.armed_at, reverse=not rising)
            assert kinds == want, moment
            for f in got:
                assert (FAULT in [u & 7 for u in f.users]) == (f.user & 7 == FAULT)
            await tb.quiet()
            assert not any(tb.errors.values())


@cocotb.test()
async def drained_tells_armed_frames(dut: Any) -> None:
    """`drained` is low from an armed frame's start to its last beat's handshake."""
    tb = SpineTB(dut)
    await tb.start()
    assert int(dut.drained.value)
    beats = to_beats(tb.rng.randbytes(tb.lanes * 15), tb.lanes)
    tb.sink.pause = pattern("none")
    tb.source.send_beats(beats[:-1])
    await tb.cycles(100)  # all of it has left, but the frame has not ended
    assert not int(dut.occupancy.value) and not int(dut.drained.value)
    dut.arm.value = 0
    await tb.cycles(4)
    tb.sink.pause = iter(lambda: True, False)
    tb.source.send_beats(beats[-1:])
    tb.source.send(bytes(tb.lanes))  # not armed: does not count
    await tb.cycles(100)
    assert not int(dut.drained.value)
    tb.sink.pause = pattern("none")
    await tb.cycles(8)
    assert int(dut.drained.value)


@cocotb.test()
async def reset_mid_frame(dut: Any) -> None:
    """Reset in any cycle of traffic: nothing of before comes out, all of after does."""
    tb = SpineTB(dut)
    await tb.start()
    for moment in range(1, 56):
        for _ in range(6):
            tb.source.send(b"\xee" * tb.rng.randint(1, 20 * tb.lanes))
        tb.sink.pause = pattern("random" if moment % 3 == 0 else "none", tb.rng)
        await tb.cycles(moment)
        await tb.start(bool(moment % 2))
        assert not dut.m_axis_tvalid.value and not dut.occupancy.value
        frames = [(tb.rng.randbytes(tb.rng.randint(1, 200)), 1) for _ in range(4)]
        for data, bad in frames:
            tb.source.send(data, bad)
        got = await tb.expect(frames)
        assert {f.user & 7 for f in got} == {CLEAR if moment % 2 else FAULT}
        await tb.quiet()
        assert not any(tb.errors.values())


@cocotb.test()
async def endless_frame(dut: Any) -> None:
    """A frame far longer than the store, that does not end, flows on; so does what follows."""
    tb = SpineTB(dut)
    await tb.start()
    beats = to_beats(tb.rng.randbytes(tb.lanes * 3000), tb.lanes)
    tb.source.send_beats(beats[:-1])
    await tb.until(lambda: not tb.source.beats, 4000)
    await tb.cycles(LATENCY + 20)
    assert len(tb.sink._partial) == 2999
    tb.source.idle = pattern("random", tb.rng)
    tb.source.send_beats(beats[-1:])
    tb.source.send(b"after")
    frames = [await tb.sink.recv(), await tb.sink.recv()]
    assert [f.user for f in frames] == [CLEAR, CLEAR]
    assert [b[:3] for b in frames[0].beats] == [b[:3] for b in beats]
    assert frames[1].data == b"after"


@cocotb.test()
async def pause_before_decision(dut: Any) -> None:
    """A source that stops before the decision beat holds its own frame, without an error."""
    tb = SpineTB(dut)
    await tb.start()
    beats = to_beats(tb.rng.randbytes(tb.lanes * 12), tb.lanes)
    for count in range(1, tb.dec_beats):
        tb.source.send(b"earlier")
        tb.source.send_beats(beats[:count])
        await tb.cycles(3 * STALL_LIMIT)
        assert tb.sink.frames.popleft().data == b"earlier" and not tb.sink.mid_frame
        tb.source.send_beats(beats[count:])
        assert (await tb.sink.recv()).user == CLEAR
        assert not any(tb.errors.values())


@pytest.mark.parametrize("width", [64, pytest.param(512, marks=pytest.mark.full)])
def test_spine(width: int) -> None:
    """All of the above at one width."""
    simulate("nsd_spine", __name__, parameters={"DATA_W": width, **PARAMETERS})
