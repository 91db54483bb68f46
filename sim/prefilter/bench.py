"""The prefilter's testbench: tables, frames as tap beats, and the golden model as the judge."""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from nsdata.offload.model import Prefilter, bucket_of, fingerprint, signature
from sim.axis import Beat, to_beats
from sim.tb import TB

LATENCY = 13  # PREFILTER_LATENCY of nsd_pkg
RANGES = 16
RANGE_BITS = 35
SLOT_BITS = 21
CLASSES = {4: 1, 6: 2, 8: 3}


class Table:
    """A table as the host makes one: words [buckets, words], seed, port ranges (packed)."""

    def __init__(self, buckets_log2: int, words: int, seed: int, ranges: Sequence[int] = ()):
        self.buckets_log2, self.words, self.seed = buckets_log2, words, seed
        self.ranges = [*ranges, *[0] * (RANGES - len(ranges))]
        self.entries = np.zeros((1 << buckets_log2, words), dtype=np.uint64)

    def add(self, window: bytes) -> bool:
        """Put a window of 4, 6 or 8 bytes into a free slot; False when its bucket is full."""
        row = self.entries[bucket_of(window, self.seed, self.buckets_log2)]
        slot = CLASSES[len(window)] << 19 | fingerprint(window)
        for word in range(self.words):
            for at in range(0, 3 * SLOT_BITS, SLOT_BITS):
                if not int(row[word]) >> at & 0x1FFFFF:
                    row[word] |= np.uint64(slot << at)
                    return True
        return False

    def bucket(self, window: bytes) -> int:
        """The bucket in which `window` is looked for."""
        return bucket_of(window, self.seed, self.buckets_log2)

    def judge(self) -> Prefilter:
        """The golden model with this table."""
        return Prefilter(self.entries.reshape(-1), self.seed, self.buckets_log2, self.words)

    def signature(self) -> int:
        """What a commit must give: the entries, and behind them seed and ranges."""
        extra = np.zeros((1 + RANGES, self.words), dtype=np.uint64)
        extra[:, 0] = [self.seed, *self.ranges]
        return signature(self.entries) ^ signature(extra, 1 << self.buckets_log2)

    def ranges_packed(self) -> int:
        """cfg_ranges: sixteen ranges in one number."""
        return sum(value << RANGE_BITS * i for i, value in enumerate(self.ranges))


class PrefilterTB(TB):
    """Drives the tap and the host's port; collects outcomes and error strobes."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.lanes = len(dut.tap_keep)
        self.buckets_log2 = len(dut.cmd_addr)
        self.words = len(dut.cmd_wdata) // 64
        for name in ("tap_valid", "load_begin", "commit", "cmd_write", "cmd_read", "inj_crc",
                     "pipe_rst"):  # fmt: skip
            getattr(dut, name).value = 0
        self.errors = {"err_crc": 0, "err_ce": 0, "err_ue": 0}
        self.lookup_ues = 0
        self.passes = 0

    def table(self, seed: int | None = None, ranges: Sequence[int] = ()) -> Table:
        """An empty table of this instance's shape."""
        seed = self.rng.getrandbits(32) if seed is None else seed
        return Table(self.buckets_log2, self.words, seed, ranges)

    def copy(self, lane: int) -> Any:
        """The memory of one lane's copy, entries 72 bits a word."""
        return self.dut.gen_group[lane // 8].gen_lane[lane].lane.ram.mem

    async def start(self) -> None:
        """Reset, watch the error strobes, and wait until the memory is cleared."""
        await self.reset()
        cocotb.start_soon(self._watch())
        await self.free()

    async def _watch(self) -> None:
        dut = self.dut
        signals = [(name, getattr(dut, name)) for name in self.errors]
        while True:
            await RisingEdge(dut.clk)
            for name, signal in signals:
                if signal.value == 1:
                    self.errors[name] += 1
                    if name == "err_ue":
                        self.lookup_ues += int(dut.err_info.value) >> 31
            if dut.pass_done.value == 1:
                self.passes += 1

    # --- host ------------------------------------------------------------------------------

    async def free(self, limit: int = 60_000) -> None:
        """Wait until the table takes a command."""
        await self.cycles(2)
        await self.until(lambda: self.dut.busy.value == 0, limit, "the end of busy")

    async def write(self, address: int, words: Iterable[int]) -> None:
        """cmd_write, and wait for it."""
        self.dut.cmd_addr.value = address
        self.dut.cmd_wdata.value = sum(int(word) << 64 * i for i, word in enumerate(words))
        await self.strobe(self.dut.cmd_write)
        await self.free()

    async def read(self, address: int) -> int:
        """cmd_read: the entry as one number."""
        self.dut.cmd_addr.value = address
        await self.strobe(self.dut.cmd_read)
        await self.free()
        return int(self.dut.cmd_rdata.value)

    async def fill(self, table: Table) -> None:
        """load_begin, and write every entry that is not zero."""
        await self.strobe(self.dut.load_begin)
        await self.free()
        for address in np.flatnonzero(table.entries.any(axis=1)):
            await self.write(int(address), table.entries[address])

    async def commit(self, table: Table, sig: int | None = None) -> bool:
        """commit, and wait for its outcome."""
        self.dut.cfg_seed.value = table.seed
        self.dut.cfg_ranges.value = table.ranges_packed()
        self.dut.expect_sig.value = table.signature() if sig is None else sig
        await self.strobe(self.dut.commit)
        await self.free()
        return bool(self.dut.table_valid.value)

    async def load(self, table: Table) -> None:
        """The whole way to a valid table."""
        await self.fill(table)
        assert await self.commit(table)
        assert self.dut.commit_failed.value == 0

    async def pass_ends(self, count: int = 2) -> None:
        """Wait until `count` passes of the scrubber have ended: the last of two is a whole one."""
        goal = self.passes + count
        await self.until(lambda: self.passes >= goal, 200_000, "the end of a pass")

    # --- tap -------------------------------------------------------------------------------

    async def play(self, beats: Iterable[Beat | None]) -> list[bool]:
        """One beat or idle (None) a cycle; the frames' outcomes, each in its exact cycle."""
        dut = self.dut
        due: dict[int, bool] = {}
        got: list[bool] = []
        cycle = 0

        async def step() -> None:
            nonlocal cycle
            await RisingEdge(dut.clk)
            # The values of the cycle that ends here: number `cycle`.
            said = dut.pf_valid.value == 1
            assert said == due.pop(cycle, False), f"pf_valid {said} in cycle {cycle}"
            if said:
                got.append(dut.pf_hit.value == 1)
            cycle += 1

        await RisingEdge(dut.clk)
        for beat in beats:
            dut.tap_valid.value = beat is not None
            # Without tap_valid the wires hold what would do harm if it was taken.
            drive = beat or Beat(self.rng.getrandbits(8 * self.lanes), (1 << self.lanes) - 1, 1)
            dut.tap_data.value, dut.tap_keep.value, dut.tap_last.value = drive[:3]
            if beat is not None and beat.last:
                due[cycle + LATENCY] = True
            await step()
        dut.tap_valid.value = 0
        for _ in range(LATENCY + 2):
            await step()
        assert not due
        return got

    def beats(
        self,
        frames: Iterable[bytes],
        idle: Callable[[], int] = lambda: 0,
        tail: Callable[[int], bytes] | None = None,
    ) -> list[Beat | None]:
        """Frames as beats, `idle()` cycles before each; `tail`: what lies behind a frame's end
        in its last beat, the bytes that tkeep leaves out (random by default)."""
        beats: list[Beat | None] = []
        for number, frame in enumerate(frames):
            cut = to_beats(frame, self.lanes)
            room = len(cut) * self.lanes - len(frame)
            rest = tail(number)[:room] if tail else self.rng.randbytes(room)
            last = cut[-1]
            data = last.data | int.from_bytes(rest, "little") << 8 * (self.lanes - room)
            for beat in [*cut[:-1], last._replace(data=data)]:
                beats += [None] * idle()
                beats.append(beat)
        return beats

    async def compare(
        self,
        table: Table,
        frames: Sequence[bytes],
        idle: Callable[[], int] = lambda: 0,
        tail: Callable[[int], bytes] | None = None,
    ) -> int:
        """Send frames and hold every outcome to the model's; how many were hits."""
        judge = table.judge()
        want = [judge.hit(frame) for frame in frames]
        got = await self.play(self.beats(frames, idle, tail))
        wrong = [i for i, pair in enumerate(zip(want, got, strict=True)) if pair[0] != pair[1]]
        assert not wrong, (
            f"{len(wrong)} frames differ; frame {wrong[0]} ({len(frames[wrong[0]])} "
            f"bytes): expected hit {want[wrong[0]]}, places {judge.places(frames[wrong[0]])}"
        )
        return sum(want)


def quiet(rng: Random, length: int, table: Table) -> bytes:
    """Random bytes in which the table finds nothing."""
    judge = table.judge()
    while True:
        data = rng.randbytes(length)
        if not judge.hit(data):
            return data
