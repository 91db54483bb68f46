"""nsd_parse at both widths: every kind of frame, whatever stands between them.

The judge is the golden model's `parse`; `named_frames` also holds expectations written by hand.
Both widths see the same frames, so they agree with each other when both agree with the model.
NSDATA_FULL=1 plays ten times the mutations and captured frames.
"""

import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from nsdata.offload.model import parse
from sim.axis import Beat, never, pattern, to_beats
from sim.parse import frames
from sim.runner import ROOT, simulate
from sim.tb import TB

LATENCY = 5  # PARSE_LATENCY
HDR_BYTES = 88
SCALE = 10 if os.environ.get("NSDATA_FULL") else 1
SHARED = Path(os.environ.get("NSDATA_SHARED") or ROOT.parent / "shared")
CAPTURES = [*sorted((ROOT / "tests" / "captures").glob("*.pcap")),
            *sorted((SHARED / "captures").glob("*.pcap"))]  # fmt: skip


class ParseTB(TB):
    """Plays beats on the tap and judges both results in the very cycle they are due.

    While no beat is on the tap, its other signals carry noise.
    """

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.lanes = len(dut.tap_keep)
        self.idle = never()
        self.judged = 0
        self.now = 0  # periods since the testbench was made
        self.keys: dict[int, tuple[bytes, Any]] = {}  # by the period in which they are due
        self.lengths: dict[int, tuple[bytes, Any]] = {}
        dut.tap_valid.value = 0

    def _noise(self) -> None:
        dut, rng = self.dut, self.rng
        dut.tap_valid.value = 0
        dut.tap_data.value = rng.getrandbits(8 * self.lanes)
        dut.tap_keep.value = rng.getrandbits(self.lanes)
        for signal in (dut.tap_last, dut.tap_first, dut.tap_dec):
            signal.value = rng.getrandbits(1)

    async def _edge(self) -> None:
        """Pass one edge: judge the period that ends with it."""
        await RisingEdge(self.clk)
        dut, now = self.dut, self.now
        self.now += 1
        assert int(dut.key_valid.value) == (now in self.keys), f"key_valid in period {now}"
        assert int(dut.len_valid.value) == (now in self.lengths), f"len_valid in period {now}"
        if now in self.keys:
            frame, want = self.keys.pop(now)
            got = (int(dut.key_parse.value), int(dut.key.value), bool(dut.key_lookup.value))
            assert got == (want.parse, want.key, want.lookup), f"{frame.hex()}: {got}, not {want}"
        if now in self.lengths:
            frame, want = self.lengths.pop(now)
            got_short = bool(dut.len_short.value)
            assert got_short == want.len_short, f"{frame[:120].hex()} ({len(frame)}): {want}"
            self.judged += 1

    async def play(self, frame: bytes, beats: list[Beat] | None = None) -> None:
        """One frame, its beats given or made of it; results are judged when they are due."""
        dut, want = self.dut, parse(frame)
        beats = to_beats(frame, self.lanes) if beats is None else beats
        decision = min((HDR_BYTES - 1) // self.lanes, len(beats) - 1)
        for i, beat in enumerate(beats):
            while next(self.idle):
                self._noise()
                await self._edge()
            dut.tap_valid.value = 1
            dut.tap_data.value = beat.data
            dut.tap_keep.value = beat.keep
            dut.tap_last.value = beat.last
            dut.tap_first.value = i == 0
            dut.tap_dec.value = i == decision
            if i == decision:
                self.keys[self.now + LATENCY] = (frame, want)
            if beat.last:
                self.lengths[self.now + LATENCY] = (frame, want)
            await self._edge()

    async def flush(self) -> None:
        """Idle until everything was judged."""
        for _ in range(LATENCY + 2):
            self._noise()
            await self._edge()
        assert not self.keys and not self.lengths

    async def start(self) -> None:
        """Leave reset behind, with no result pending."""
        await self.reset()
        self.now = 0
        await self.flush()

    async def judge(self, sent: Iterable[bytes], idle: str = "none") -> None:
        """All of `sent`, with `idle` between beats."""
        self.idle = pattern(idle, self.rng)
        count = 0
        for frame in sent:
            await self.play(frame)
            count += 1
        await self.flush()
        assert self.judged == count > 0
        self.judged = 0


async def ready(dut: Any) -> ParseTB:
    """A testbench behind its reset."""
    tb = ParseTB(dut)
    await tb.start()
    return tb


def pool(rng: random.Random) -> list[bytes]:
    """Frames to mutate."""
    return [*(frame for _, frame, _, _ in frames.named()), *frames.grid(rng)]


@cocotb.test()
async def named_frames(dut: Any) -> None:
    tb = await ready(dut)
    for name, frame, want, key in frames.named():
        model = parse(frame)
        assert (model.parse, model.key) == (want, key.pack() if key else 0), name
    await tb.judge(frame for _, frame, _, _ in frames.named())


@cocotb.test()
@cocotb.parametrize(idle=["none", "random"])
async def headers_of_every_shape(dut: Any, idle: str) -> None:
    tb = await ready(dut)
    await tb.judge(frames.grid(tb.rng), idle)
    await tb.judge(frames.lies(tb.rng), idle)


@cocotb.test()
async def every_number(dut: Any) -> None:
    tb = await ready(dut)
    await tb.judge(frames.numbers(tb.rng))


@cocotb.test()
async def every_length(dut: Any) -> None:
    tb = await ready(dut)
    cut = list(frames.truncated(tb.rng))
    await tb.judge(cut)
    tb.rng.shuffle(cut)  # what a short frame lacks is now another frame's
    await tb.judge(cut)


@cocotb.test()
async def ends_at_every_byte(dut: Any) -> None:
    """Truncation far behind the decision beat, and a trailer that is none."""
    tb = await ready(dut)
    sent = []
    for length in range(90, 290):
        for end in (length - 1, length, length + 1):
            total, tagging = end - 14, b""
            if length % 2:
                total, tagging = end - 22, frames.tags(2, tb.rng)
            packet = frames.ipv4(6, bytes(300), tb.rng, total=total)
            sent.append(frames.ethernet(packet, 0x0800, tagging)[:length])
            packet = frames.ipv6(17, bytes(300), tb.rng, length=total - 40)
            sent.append(frames.ethernet(packet, 0x86DD, tagging)[:length])
    await tb.judge(sent[:: max(1, 64 // tb.lanes // 2)])


@cocotb.test()
async def saturated_lengths(dut: Any) -> None:
    """Frames around 65535 bytes, and one so long that a counter of 16 bits comes round."""
    tb = await ready(dut)
    heads = [
        frames.ethernet(frames.ipv4(6, b"", tb.rng, total=65521), 0x0800),  # end 65535
        frames.ethernet(frames.ipv6(6, b"", tb.rng, length=65535), 0x86DD, frames.tags(2, tb.rng)),
    ]
    lengths = (65534, 65535, 65600)
    if tb.lanes == 64:
        lengths += (65536, 65540, 65597, 70000, 131072 + 100, 196608 + 64)
    sent = [head + bytes(n - len(head)) for n in lengths for head in heads[: 1 + tb.lanes // 64]]
    shorts = {parse(frame).len_short for frame in sent}
    assert shorts == {False, True}
    await tb.judge(sent)


@cocotb.test()
@cocotb.parametrize(idle=["none", "bursts"])
async def captures(dut: Any, idle: str) -> None:
    tb = await ready(dut)
    for path in CAPTURES:
        await tb.judge(frames.captured(path, SCALE * (300 if idle == "none" else 60)), idle)


@cocotb.test()
@cocotb.parametrize(idle=["none", "random"])
async def mutations(dut: Any, idle: str) -> None:
    tb = await ready(dut)
    await tb.judge(frames.mutated(pool(tb.rng), 1500 * SCALE, tb.rng), idle)


@cocotb.test()
async def one_beat_frames_every_cycle(dut: Any) -> None:
    """A whole frame in every cycle, each of another kind than the one before."""
    tb = await ready(dut)
    sent = [frame[: tb.rng.randint(1, tb.lanes)] for frame in pool(tb.rng)]
    tb.rng.shuffle(sent)
    await tb.judge(sent)
    short = [frame[:64] for frame in pool(tb.rng)]
    tb.rng.shuffle(short)
    start = tb.now
    await tb.judge(short)
    assert tb.now - start == sum(-(-len(f) // tb.lanes) for f in short) + LATENCY + 2


@cocotb.test()
async def illegal_keep(dut: Any) -> None:
    """Holes count as bytes that are missing at the end; tkeep before the last beat is not read."""
    tb = await ready(dut)
    for frame in tb.rng.sample(pool(tb.rng), 200):
        beats = to_beats(frame + bytes(tb.rng.choice((0, 150))), tb.lanes)
        keeps = [tb.rng.choice((0, tb.rng.getrandbits(tb.lanes))) for _ in beats]
        beats = [beat._replace(keep=keep) for beat, keep in zip(beats, keeps, strict=True)]
        length = tb.lanes * (len(beats) - 1) + keeps[-1].bit_count()
        data = b"".join(beat.data.to_bytes(tb.lanes, "little") for beat in beats)
        await tb.play(data[:length], beats)
    await tb.flush()


@cocotb.test()
async def reset_mid_frame(dut: Any) -> None:
    """Results under way are lost, and the half frame does not reach into the next one."""
    tb = await ready(dut)
    long = frames.ethernet(frames.ipv4(6, bytes(400), tb.rng), 0x0800, frames.tags(1, tb.rng))
    for beats in range(1, 14):
        for frame in (long[:60], long[:64]):  # with its result still to come
            await tb.play(frame)
        for i, beat in enumerate(to_beats(long, tb.lanes)[:beats]):
            dut.tap_valid.value, dut.tap_last.value, dut.tap_dec.value = 1, 0, 0
            dut.tap_first.value = i == 0
            dut.tap_data.value, dut.tap_keep.value = beat.data, beat.keep
            await tb._edge()
        dut.tap_valid.value = 0
        tb.rst.value = 1
        await RisingEdge(tb.clk)
        tb.rst.value = 0
        tb.keys.clear()
        tb.lengths.clear()
        tb.judged = 0
        await tb.judge([long[:70], long])


@pytest.mark.parametrize("width", [64, 512])
def test_parse(width: int) -> None:
    assert any(path.name == "office.pcap" for path in CAPTURES)
    simulate("nsd_parse", __name__, parameters={"DATA_W": width})
