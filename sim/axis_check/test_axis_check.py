"""nsd_axis_check: legal traffic is never blamed, each breach is, with its rule."""

from dataclasses import dataclass
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from sim.runner import simulate
from sim.tb import TB

LATENCY = 3  # cycles from what was seen to err
HOLE, BAD_LAST, FELL, CHANGED, TOO_LONG = (1 << i for i in range(5))


@dataclass
class Seen:
    """The wires of one cycle."""

    data: int = 0
    keep: int = 0
    valid: int = 0
    ready: int = 0
    last: int = 0
    user: int = 0
    inj: int = 0


class Judge:
    """The rules, read off AXI4-Stream: one cycle in, the breach bits and the beat count out."""

    def __init__(self, width: int, max_frame: int) -> None:
        self.width, self.max_frame = width, max_frame
        self.waiting: Seen | None = None
        self.beats = self.bytes = 0
        self.reported = self.inject = False

    def cycle(self, now: Seen) -> tuple[int, int]:
        """Breaches in `now`, and the beats of its frame before it."""
        breach, beats = 0, self.beats
        if self.waiting is not None:
            if not now.valid:
                breach |= FELL
            elif self.payload(now) != self.payload(self.waiting):
                breach |= CHANGED
        self.inject |= bool(now.inj)
        if now.valid and now.ready:
            keep = now.keep & ~1 if self.inject else now.keep
            self.inject = False
            bits = f"{keep:0{self.width}b}"[::-1]  # byte 0 first
            if now.last:
                if "1" not in bits or "01" in bits:
                    breach |= BAD_LAST
            elif "0" in bits:
                breach |= HOLE
            size = self.bytes + (bits.rindex("1") + 1 if now.last and "1" in bits else self.width)
            if now.last and "1" not in bits:
                size = self.bytes
            if size > self.max_frame and not self.reported:
                breach |= TOO_LONG
                self.reported = True
            self.beats, self.bytes = self.beats + 1, self.bytes + self.width
            if now.last:
                self.beats = self.bytes = 0
                self.reported = False
        self.waiting = now if now.valid and not now.ready else None
        return breach, beats

    @staticmethod
    def payload(beat: Seen) -> tuple[int, int, int, int]:
        """What must not change while the beat waits."""
        return beat.data, beat.keep, beat.last, beat.user


class CheckTB(TB):
    """Drives the wires cycle by cycle; the judge's word must come LATENCY cycles later."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.width = len(dut.s_axis_tkeep)
        self.full = (1 << self.width) - 1
        self.max_frame = int(dut.MAX_FRAME.value)
        self.judge = Judge(self.width, self.max_frame)
        self.due: list[tuple[int, int]] = []
        self.breaches: list[int] = []
        self.put(Seen())

    def put(self, now: Seen) -> None:
        """The wires of the coming cycle."""
        dut = self.dut
        dut.s_axis_tdata.value, dut.s_axis_tkeep.value = now.data, now.keep
        dut.s_axis_tvalid.value, dut.s_axis_tready.value = now.valid, now.ready
        dut.s_axis_tlast.value, dut.s_axis_tuser.value = now.last, now.user
        dut.inj.value = now.inj

    async def cycle(self, now: Seen) -> None:
        """One cycle with these wires; err is judged for the cycle two before."""
        self.put(now)
        await RisingEdge(self.clk)
        breach, beats = self.judge.cycle(now)
        self.due.append((breach, beats))
        if len(self.due) > LATENCY:
            want, at = self.due.pop(0)
            info = int(self.dut.err_info.value)
            assert int(self.dut.err.value) == bool(want), (want, info)
            if want:
                assert info & 0xFFFF == want and info >> 16 == at
                self.breaches.append(want)

    async def idle(self, cycles: int = LATENCY + 1) -> list[int]:
        """Quiet cycles; the breaches reported until then."""
        for _ in range(cycles):
            await self.cycle(Seen())
        found, self.breaches = self.breaches, []
        return found

    def data(self) -> int:
        """A random beat."""
        return self.rng.getrandbits(8 * self.width)

    async def frame(self, size: int, stall: float = 0.0) -> None:
        """A legal frame of `size` bytes; `stall`: how often it has to wait."""
        left = size
        while left > 0:
            count = min(left, self.width)
            beat = Seen(self.data(), (1 << count) - 1, 1, 1, int(left <= self.width))
            beat.user = beat.last & self.rng.getrandbits(1)
            while self.rng.random() < stall:
                await self.cycle(Seen(beat.data, beat.keep, 1, 0, beat.last, beat.user))
            await self.cycle(beat)
            left -= count


async def fresh(dut: Any) -> CheckTB:
    """A testbench past its reset."""
    tb = CheckTB(dut)
    await tb.reset()
    return tb


@cocotb.test()
async def legal_traffic_is_never_blamed(dut: Any) -> None:
    """Every size up to three beats and a byte, the longest, stalls, gaps, back to back."""
    tb = await fresh(dut)
    sizes = [*range(1, 3 * tb.width + 2), tb.max_frame - 1, tb.max_frame]
    for stall in (0.0, 0.5):
        for size in sizes:
            await tb.frame(size, stall)
            if tb.rng.random() < 0.3:
                await tb.cycle(Seen(ready=1, data=tb.data(), keep=tb.rng.getrandbits(tb.width)))
    assert await tb.idle() == []


@cocotb.test()
async def each_keep_on_a_last_beat_is_judged(dut: Any) -> None:
    """All 256 at 8 bytes; at 64 every single missing or extra byte."""
    tb = await fresh(dut)
    keeps = set(range(256)) if tb.width == 8 else set()
    for n in range(tb.width + 1):
        ones = (1 << n) - 1
        keeps |= {ones} | {ones ^ 1 << i for i in range(tb.width)}
    illegal = 0
    for keep in sorted(keeps):
        await tb.cycle(Seen(tb.data(), keep, 1, 1, 1))
        illegal += not (keep and (keep & keep + 1) == 0)
    assert await tb.idle() == [BAD_LAST] * illegal and illegal > 100


@cocotb.test()
async def a_hole_before_the_last_beat(dut: Any) -> None:
    """Each byte missing, in the first and in a later beat."""
    tb = await fresh(dut)
    for i in range(tb.width):
        for before in range(3):
            for _ in range(before):
                await tb.cycle(Seen(tb.data(), tb.full, 1, 1))
            await tb.cycle(Seen(tb.data(), tb.full ^ 1 << i, 1, 1))
            await tb.cycle(Seen(tb.data(), 1, 1, 1, 1))
            assert await tb.idle() == [HOLE]


@cocotb.test()
async def tvalid_must_wait_and_the_payload_too(dut: Any) -> None:
    """Every payload bit in turn, and tvalid itself."""
    tb = await fresh(dut)
    base = Seen(tb.data(), tb.full, 1, 0, 1, 0)
    await tb.cycle(base)
    assert await tb.idle() == [FELL]
    for bit in range(9 * tb.width + 2):
        changed = Seen(base.data, base.keep, 1, 1, 1, 0)
        if bit < 8 * tb.width:
            changed.data ^= 1 << bit
        elif bit == 9 * tb.width:
            changed.last = 0
        elif bit == 9 * tb.width + 1:
            changed.user = 1
        else:  # the highest byte: tkeep stays legal
            changed.keep ^= 1 << tb.width - 1
        await tb.cycle(base)
        await tb.cycle(base)
        await tb.cycle(changed)
        if not changed.last:
            await tb.cycle(base)
            await tb.cycle(Seen(base.data, base.keep, 1, 1, 1, 0))
        assert await tb.idle() == [CHANGED], bit


@cocotb.test()
async def a_frame_too_long_is_reported_once(dut: Any) -> None:
    """From one byte over; the next frame is judged anew."""
    tb = await fresh(dut)
    for over in (1, 2, tb.width - 1, tb.width, tb.width + 1, 3 * tb.width):
        await tb.frame(tb.max_frame + over)
        assert await tb.idle() == [TOO_LONG], over
        await tb.frame(tb.max_frame)
        assert await tb.idle() == []


@cocotb.test()
async def injection_makes_a_hole(dut: Any) -> None:
    """In the next accepted beat, however long that takes, and only there."""
    tb = await fresh(dut)
    await tb.cycle(Seen(inj=1))
    for _ in range(4):
        await tb.cycle(Seen())
    beat = Seen(tb.data(), tb.full, 1, 0)
    await tb.cycle(beat)
    await tb.cycle(Seen(beat.data, beat.keep, 1, 1))
    await tb.cycle(Seen(tb.data(), 1, 1, 1, 1))
    assert await tb.idle() == [HOLE]
    await tb.cycle(Seen(tb.data(), 1, 1, 1, 1, inj=1))
    await tb.frame(100)
    assert await tb.idle() == [BAD_LAST]


@cocotb.test()
async def reset_forgets_the_frame(dut: Any) -> None:
    """A waiting beat, a frame under way and an injection do not outlive it."""
    tb = await fresh(dut)
    for _ in range(5):
        await tb.cycle(Seen(tb.data(), tb.full, 1, 1))
    await tb.cycle(Seen(tb.data(), tb.full, 1, 0, inj=1))
    tb.put(Seen())
    await tb.reset()
    tb.judge, tb.due = Judge(tb.width, tb.max_frame), []
    await tb.frame(tb.max_frame)
    assert await tb.idle() == []


@cocotb.test()
async def arbitrary_wires_are_judged_as_the_rules_say(dut: Any) -> None:
    """Random wires, mostly legal, against the golden judge."""
    tb = await fresh(dut)
    rng = tb.rng
    now = Seen()
    total = 0
    for _ in range(4000):
        held = now.valid and not now.ready
        if not (held and rng.random() < 0.97):
            keep = tb.full
            last = int(rng.random() < 0.1)
            if last:
                keep = (1 << rng.randint(1, tb.width)) - 1
            if rng.random() < 0.03:
                keep = rng.getrandbits(tb.width)
            now = Seen(tb.data(), keep, int(rng.random() < 0.9), 0, last, rng.getrandbits(1))
        ready, inj = int(rng.random() < 0.8), int(rng.random() < 0.01)
        now = Seen(now.data, now.keep, now.valid, ready, now.last, now.user, inj)
        await tb.cycle(now)
    found = await tb.idle()
    for kind in (HOLE, BAD_LAST, FELL, CHANGED, TOO_LONG):
        total += any(f & kind for f in found)
    assert total == 5, "every rule was broken somewhere"


@pytest.mark.parametrize(("width", "max_frame"), [(64, 203), (512, 1000), (64, 128)])
def test_axis_check(width: int, max_frame: int) -> None:
    simulate("nsd_axis_check", __name__, parameters={"DATA_W": width, "MAX_FRAME": max_frame})
