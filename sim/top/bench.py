"""The testbench of nsd_top: a driver on AXI4-Lite, frames by the model, every verdict judged."""

import logging
import random
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from nsdata.offload import sequences as host
from nsdata.offload.entry import Verdict
from sim import points
from sim.axis import AxisMonitor, AxisSink, AxisSource, Frame
from sim.tb import TB
from sim.traffic import World, batch

T = TypeVar("T")

# Small tables and a short watchdog: their checks come round soon.
PARAMETERS = {"SETS_LOG2": 4, "BUCKETS_LOG2": 5, "STALL_LIMIT": 128, "RELAY_LOG2": 4}
# What the tests touch; the rest may be optimised.
PUBLIC = ("clk", "rst", "s_ax*", "m_ax*", "seu_in", "over_temp_in", "irq", "heartbeat_out",
          "cycle", "inject")  # fmt: skip

@dataclass
class Sent:
    """A frame on its way, and what the model says of it."""

    data: bytes
    mark: int
    wanted: int


@dataclass
class Judged:
    """A frame and its fate: `entered` and `left` are cycles of its first and last beat."""

    sent: Sent
    entered: int
    accepted: int
    frame: Frame | None  # None: dropped


class TopTB(TB):
    """Source, sink and a monitor on the input; the host's sequences over cocotbext-axi."""

    def __init__(self, dut: Any, world: World | None = None) -> None:
        super().__init__(dut)
        for pin in (dut.seu_in, dut.over_temp_in):
            pin.value = 0
        self.world = world or World(
            random.Random(self.rng.getrandbits(32)), sets_log2=PARAMETERS["SETS_LOG2"],
            buckets_log2=PARAMETERS["BUCKETS_LOG2"], flows=24, patterns=30,
        )  # fmt: skip
        self.source = AxisSource(dut, "s_axis")
        self.input = AxisMonitor(dut, "s_axis", strict=False)
        self.sink = AxisSink(dut, "m_axis", strict=False)
        self.agents = [self.source, self.input, self.sink]
        self.axil = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        for half in (self.axil.write_if, self.axil.read_if):
            half.log.setLevel(logging.WARNING)  # a line for each access otherwise
        self.sent: deque[Sent] = deque()
        self.zero = 0

    @property
    def now(self) -> int:
        """Cycles as the monitors count them."""
        return self.sink.cycle

    async def reset(self, cycles: int = 4) -> None:
        """Reset, and learn in which cycle the block's counter is 0."""
        self.sent.clear()
        await super().reset(cycles)
        await RisingEdge(self.clk)
        await RisingEdge(self.clk)
        self.zero = self.now - int(self.dut.cycle.value)

    async def drive(self, sequence: host.Sequence_[T]) -> T:
        """Run a sequence of nsdata.offload.sequences over the bus."""
        return await host.drive_async(self, sequence)

    async def read(self, address: int) -> int:
        """Read a register."""
        answer = await self.axil.read(address, 4)
        assert int(answer.resp) == 0, f"read of {address:#x}: {answer.resp!r}"
        return int.from_bytes(answer.data, "little")

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        answer = await self.axil.write(address, value.to_bytes(4, "little"))
        assert int(answer.resp) == 0, f"write of {address:#x}: {answer.resp!r}"

    async def wait(self, cycles: int) -> None:
        """Let cycles pass."""
        await self.cycles(cycles)

    async def irq(self) -> bool:
        """The interrupt pin."""
        return bool(self.dut.irq.value)

    def send(self, data: bytes, mark: int = 0) -> None:
        """Queue a frame; the model says what must come of it."""
        self.sent.append(Sent(data, mark, self.world.model.verdict(data)))
        self.source.send(data, mark)

    def shower(self, count: int, largest: int = 400) -> None:
        """Queue frames of the world."""
        for _ in range(count):
            self.send(self.world.frame(largest), self.rng.getrandbits(1))

    async def settle(self, quiet: int = 400, limit: int = 200_000) -> None:
        """Wait until all queued frames are in, and nothing has come out for a while."""
        seen, still = -1, 0
        for _ in range(limit // 20):
            await self.cycles(20)
            now = (len(self.sink.frames), len(self.input.frames), self.sink.mid_frame)
            still = still + 20 if now == seen else 0
            seen = now  # type: ignore[assignment]
            if not self.source.beats and still >= quiet:
                return
        raise AssertionError("the block did not come to rest")

    def fates(self) -> list[Judged]:
        """What became of every frame sent: in order, unchanged, dropped only where allowed."""
        found, damage = self.reckon()
        assert not damage, f"{len(damage)} frames: {'; '.join(damage[:3])}"
        return found

    def reckon(self) -> tuple[list[Judged], list[str]]:
        """What became of every frame sent, and what was done to frames that may not be (match)."""
        inputs, outputs = list(self.input.frames), list(self.sink.frames)
        sent = list(self.sent)
        for seen in (self.input.frames, self.sink.frames, self.sent):
            seen.clear()
        found, damage = match(sent, inputs, outputs)
        if found:
            one = batch([judged.sent.data for judged in found])
            got = [4 if j.frame is None else j.frame.user & 7 for j in found]
            points.frames(8 * self.sink.lanes, self.world.model.inspect(*one), one.length,
                          np.array(got, dtype=np.uint8))  # fmt: skip
        return found, damage


def match(
    sent: list[Sent], inputs: list[Frame], outputs: list[Frame]
) -> tuple[list[Judged], list[str]]:
    """The fate of every frame that came out as it went in, or was dropped as it may be; and each
    frame that was lost, made, reordered or changed, in words.

    A frame that comes out and is none of those to come is one that was made, or the next one
    changed: that is then not counted as lost too.
    """
    assert len(inputs) == len(sent), f"{len(sent)} frames sent, {len(inputs)} accepted"
    found: list[Judged] = []
    damage: list[str] = []

    def same(one: Sent, frame: Frame) -> bool:
        return one.data == frame.data and {user >> 3 for user in frame.users} == {one.mark}

    at = 0
    for i, (one, came) in enumerate(zip(sent, inputs, strict=True)):
        assert came.data == one.data
        words = f"of {len(one.data)} bytes, {Verdict(one.wanted).name}"
        head = outputs[at] if at < len(outputs) else None
        if head is not None and same(one, head):
            found.append(Judged(one, came.start, came.end, head))
            at += 1
        elif one.wanted == Verdict.BLOCK:
            found.append(Judged(one, came.start, came.end, None))
        elif head is None or any(same(other, head) for other in sent[i + 1 :]):
            damage.append(f"one {words}, is lost")
        else:
            damage.append(f"one {words}, came out as {head.data[:40].hex()}")
            at += 1
    damage += [f"one was made: {head.data[:40].hex()}" for head in outputs[at:]]
    return found, damage


def exact(judged: Judged) -> None:
    """The verdict is the model's."""
    got = Verdict.BLOCK if judged.frame is None else judged.frame.user & 7
    assert got == judged.sent.wanted, (
        f"{Verdict(got).name}, the model says {Verdict(judged.sent.wanted).name}: "
        f"{judged.sent.data[:64].hex()} ({len(judged.sent.data)} bytes), in {judged.entered}"
    )


def fault(judged: Judged) -> None:
    """Permitted without inspection."""
    assert judged.frame is not None, "dropped although nothing was inspected"
    assert judged.frame.user & 7 == Verdict.FAULT, (
        f"{Verdict(judged.frame.user & 7).name} instead of FAULT, in {judged.entered}, "
        f"out {judged.frame.start} to {judged.frame.end}"
    )


def either(judged: Judged) -> None:
    """The model's verdict or FAULT."""
    if judged.frame is not None and judged.frame.user & 7 != Verdict.FAULT:
        exact(judged)
