"""The table controller's testbench: host commands, free cycles, and a count of every strobe.

Inputs change and outputs are sampled at the falling edge, between two clock edges.
"""

from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge

from sim.scrub.reference import Table, signature
from sim.tb import TB

INPUTS = ("cmd_write", "cmd_read", "cmd_clear", "cmd_addr", "cmd_wdata", "idle", "rd_ce_any",
          "rd_ue_any", "rd_differs", "extra_data", "expect_sig", "expect_own", "check_enable",
          "restart", "inj_crc")  # fmt: skip


class Bench(TB):
    """The controller, its memory, the host's commands, and a count of every strobe."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.words = len(dut.cmd_wdata) // 64
        self.entries = 1 << len(dut.cmd_addr)
        self.extra = int(dut.EXTRA.value)
        self.late = int(dut.LATE.value)
        self.table = Table(self.entries, self.words)
        self.idle_rate = 1.0
        self.seen: dict[str, int] = {}
        self.passes: list[tuple[int, ...]] = []  # (pass_sig, clean, ok)
        self.corrected: list[int] = []
        self.unread: list[int] = []
        self.extra_entries = [0] * self.extra
        for name in INPUTS:
            getattr(dut, name).value = 0

    async def start(self, check: int = 1, own: int = 1) -> None:
        """Reset, wait for the clear that follows, and watch from then on."""
        dut = self.dut
        dut.idle.value = 1
        dut.check_enable.value = check
        dut.expect_own.value = own
        dut.rst.value = 1
        for _ in range(3):
            await FallingEdge(self.clk)
        dut.rst.value = 0
        cocotb.start_soon(self.watch())
        await self.done()

    def count(self, name: str) -> int:
        """How often a strobe was high since start()."""
        return self.seen.get(name, 0)

    async def watch(self) -> None:
        """Drives idle, counts strobes, and holds the memory's one rule: only when idle."""
        dut = self.dut
        while True:
            await RisingEdge(self.clk)
            dut.idle.value = int(self.rng.random() < self.idle_rate)
            await FallingEdge(self.clk)
            for name in ("rd_en", "wr_en", "pass_done", "err_crc", "err_ce", "err_ue"):
                if int(getattr(dut, name).value):
                    self.seen[name] = self.seen.get(name, 0) + 1
            if int(dut.rd_en.value) or int(dut.wr_en.value):
                assert int(dut.idle.value), "the memory was touched while a lookup read it"
            if int(dut.err_ce.value):
                self.corrected.append(int(dut.err_addr.value))
            if int(dut.err_ue.value):
                self.unread.append(int(dut.err_addr.value))
            if int(dut.pass_done.value):
                ended = (dut.pass_sig, dut.pass_clean, dut.pass_ok)
                self.passes.append((int(ended[0].value), *(int(x.value) for x in ended[1:])))
            if int(dut.err_crc.value):
                assert int(dut.pass_done.value)

    async def wait(self, cycles: int = 1) -> None:
        """Falling edges."""
        for _ in range(cycles):
            await FallingEdge(self.clk)

    async def done(self, limit: int = 20_000) -> None:
        """Until the controller is not busy."""
        for _ in range(limit):
            await FallingEdge(self.clk)
            if not int(self.dut.busy.value):
                return
        raise AssertionError("busy did not end")

    async def pulse(self, **values: int) -> None:
        """Inputs for one cycle, then zero again."""
        for name, value in values.items():
            getattr(self.dut, name).value = value
        await FallingEdge(self.clk)
        for name in values:
            getattr(self.dut, name).value = 0

    async def write(self, addr: int, value: int) -> None:
        """A host write, until it is done."""
        await self.pulse(cmd_write=1, cmd_addr=addr, cmd_wdata=value)
        self.table.write(addr, value)
        await self.done()

    async def read(self, addr: int) -> int:
        """A host read."""
        await self.pulse(cmd_read=1, cmd_addr=addr)
        await self.done()
        return int(self.dut.cmd_rdata.value)

    async def pass_end(self, count: int = 1, limit: int = 100_000) -> None:
        """Until `count` more passes have ended."""
        wanted = self.count("pass_done") + count
        for _ in range(limit):
            await FallingEdge(self.clk)
            if self.count("pass_done") >= wanted:
                return
        raise AssertionError("no pass ended")

    async def fresh_pass(self) -> None:
        """One whole pass that began after now: two ends."""
        await self.pass_end(2)

    def cell(self, addr: int) -> Any:
        """The stored entry, check bits and all."""
        return self.dut.ram.mem[addr]

    def flip(self, addr: int, *bits: int) -> int:
        """Flip bits of a stored entry; gives what was there."""
        before = int(self.cell(addr).value)
        after = before
        for bit in bits:
            after ^= 1 << bit
        self.cell(addr).value = after
        return before

    def value(self) -> int:
        """A random entry, sometimes a sparse one or zero."""
        kind = self.rng.randrange(8)
        if kind == 0:
            return 0
        if kind == 1:
            return 1 << self.rng.randrange(64 * self.words)
        return self.rng.getrandbits(64 * self.words)

    async def fill(self) -> None:
        """Every entry random and not zero."""
        for addr in range(self.entries):
            await self.write(addr, self.rng.getrandbits(64 * self.words) | 1)

    async def set_extra(self) -> None:
        """Random configuration words; the expected signature is left to the caller."""
        width = 64 * self.words
        self.extra_entries = [self.value() for _ in range(self.extra)]
        self.dut.extra_data.value = sum(v << width * i for i, v in enumerate(self.extra_entries))
        await FallingEdge(self.clk)

    @property
    def whole_sig(self) -> int:
        """The signature with the configuration behind the table."""
        extra = ((self.entries + i, value) for i, value in enumerate(self.extra_entries))
        return self.table.sig ^ signature(extra, self.words)

    def quiet(self) -> None:
        """No error was reported so far."""
        for name in ("err_crc", "err_ce", "err_ue"):
            assert not self.count(name), (name, self.passes)
