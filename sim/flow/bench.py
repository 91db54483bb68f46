"""The flow table's testbench: keys under way and the table as it stood at their edges.

Inputs change and outputs are sampled at the falling edge. A key driven at edge k reads the
table at k + 3, is compared at k + 9 and answered at k + 12; the expectation is made of the
table, the generation and table_ready as they stood at those edges.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import cocotb
from cocotb.triggers import FallingEdge

from nsdata.offload.entry import KEY_BITS, KEY_BYTES, FlowAction, FlowEntry, FlowKey
from sim.scrub.reference import Table
from sim.tb import TB

LATENCY = 12
READ, COMPARE, HIT = 3, 9, 10  # edges behind the key's
WORDS = 6
BYPASS, BLOCK, NONE = FlowAction.BYPASS, FlowAction.BLOCK, FlowAction.NONE
INPUTS = ("key_valid", "key", "key_lookup", "cmd_write", "cmd_read", "cmd_addr", "cmd_wdata",
          "clear", "flush", "check_enable", "inj_crc", "pipe_rst")  # fmt: skip
STROBES = ("err_crc", "err_ce", "err_ue", "pass_done")


def key_set(key: int, sets_log2: int) -> int:
    """CRC-32 from 0 and without the final inversion, by way of zlib."""
    crc = zlib.crc32(key.to_bytes(KEY_BYTES, "little"), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc & (1 << sets_log2) - 1


def entry(key: int, action: int = BYPASS, generation: int = 0, valid: int = 1) -> int:
    """A packed flow_entry_t."""
    return FlowEntry(FlowKey.unpack(key), action, generation, valid).pack()


class Bench(TB):
    """Sends keys, holds every answer to the Python table, and plays the host."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.sets_log2 = len(dut.cmd_addr) - 1
        self.sets = 1 << self.sets_log2
        self.table = Table(2 * self.sets, WORDS)
        self.writing: tuple[int, int] | None = None  # the host's command, until it lands
        self.broken: set[int] = set()  # entries with an uncorrectable error
        self.generation = 0
        self.edge = 0
        self.keys: deque[tuple[int, int]] = deque()
        self.source: Callable[[], tuple[int, int] | None] = lambda: None
        self.seen = dict.fromkeys(STROBES, 0)
        self.info: list[int] = []
        self.answers = dict.fromkeys(range(4), 0)
        self.lookups_hit_broken = 0
        for name in INPUTS:
            getattr(dut, name).value = 0

    async def start(self, check: int = 1) -> None:
        """Reset, wait until the table is clear, and watch from then on."""
        dut = self.dut
        dut.rst.value = 1
        dut.check_enable.value = check
        for _ in range(3):
            await FallingEdge(self.clk)
        dut.rst.value = 0
        while not int(dut.table_ready.value):
            await FallingEdge(self.clk)
        cocotb.start_soon(self.watch())
        await self.wait()

    async def watch(self) -> None:
        """One turn an edge: answers due, what stands at this edge, the next key."""
        dut = self.dut
        flight: deque[dict[str, Any]] = deque()
        while True:
            for name in STROBES:
                self.seen[name] += int(getattr(dut, name).value)
            if int(dut.err_ue.value):
                self.info.append(int(dut.err_info.value))
            ready = int(dut.table_ready.value)
            if int(dut.pipe_rst.value) or int(dut.rst.value):
                flight.clear()
            for key in flight:
                self.note(key, self.edge - key["edge"], ready)
            if int(dut.wr_en.value) and self.writing and int(dut.wr_addr.value) == self.writing[0]:
                self.table.write(*self.writing)
            due = flight and self.edge - flight[0]["edge"] == LATENCY
            assert int(dut.res_valid.value) == int(bool(due)), self.edge
            if due:
                key = flight.popleft()
                got = int(dut.res_action.value)
                assert got == key["answer"], (self.edge, hex(key["key"]), got, key)
                self.answers[got] += 1
            sent = self.keys.popleft() if self.keys else self.source()
            dut.key_valid.value = int(sent is not None)
            dut.key.value, dut.key_lookup.value = sent or (0, 1)
            if sent:
                flight.append({"edge": self.edge, "key": sent[0], "lookup": sent[1]})
            await FallingEdge(self.clk)
            self.edge += 1

    def note(self, key: dict[str, Any], age: int, ready: int) -> None:
        """What the key meets at this edge."""
        if age == READ - 1:
            key["lookup"] = key["lookup"] and ready
        elif age == READ:
            base = 2 * key_set(key["key"], self.sets_log2)
            key["ways"] = [self.table.read(base + way) for way in (0, 1)]
            key["unread"] = [base + way in self.broken for way in (0, 1)]
            self.lookups_hit_broken += bool(key["lookup"] and any(key["unread"]))
        elif age == COMPARE:
            key["hits"] = []
            for value, unread in zip(key["ways"], key["unread"], strict=True):
                held = FlowEntry.unpack(value)
                same = held.key.pack() == key["key"] and held.generation == self.generation
                key["hits"].append((same and held.valid and not unread, held.action))
        elif age == HIT:
            answers = [action for hit, action in key["hits"] if hit and key["lookup"] and ready]
            key["answer"] = answers[0] if answers and answers[0] in (BYPASS, BLOCK) else NONE

    async def wait(self, cycles: int = 1) -> None:
        """Falling edges."""
        for _ in range(cycles):
            await FallingEdge(self.clk)

    async def pulse(self, **values: int) -> None:
        """Inputs for one cycle, then zero again."""
        for name, value in values.items():
            getattr(self.dut, name).value = value
        await FallingEdge(self.clk)
        for name in values:
            getattr(self.dut, name).value = 0

    async def done(self, limit: int = 20_000) -> None:
        """Until the host may give a command."""
        for _ in range(limit):
            if not int(self.dut.busy.value):
                return
            await FallingEdge(self.clk)
        raise AssertionError("busy did not end")

    async def write(self, addr: int, value: int) -> None:
        """A host write; the table changes when it lands."""
        self.writing = (addr, value)
        await self.pulse(cmd_write=1, cmd_addr=addr, cmd_wdata=value)
        await self.done()
        self.writing = None
        self.broken.discard(addr)
        assert self.table.read(addr) == value, "busy ended before the write"

    async def insert(self, key: int, way: int, action: int = BYPASS, **fields: int) -> int:
        """An entry of the present generation in the key's set; gives its address."""
        addr = 2 * key_set(key, self.sets_log2) + way
        fields.setdefault("generation", self.generation)
        await self.write(addr, entry(key, action, **fields))
        return addr

    async def read(self, addr: int) -> int:
        """A host read."""
        await self.pulse(cmd_read=1, cmd_addr=addr)
        await self.done()
        return int(self.dut.cmd_rdata.value)

    async def flush(self) -> None:
        """The generation goes up."""
        await self.pulse(flush=1)
        self.generation = (self.generation + 1) % 256
        if not self.generation:
            self.table.clear()
            self.broken.clear()
        # At the edge pulse() ends on, the new generation stands already.
        assert int(self.dut.generation.value) == self.generation

    async def clear(self) -> None:
        """Clear, without waiting for its end."""
        await self.pulse(clear=1)
        self.table.clear()
        self.broken.clear()
        assert not int(self.dut.table_ready.value)

    async def ready(self) -> int:
        """Until lookups may hit again; the cycles it took."""
        for cycles in range(10 * self.sets + 1000):
            if int(self.dut.table_ready.value):
                return cycles
            await FallingEdge(self.clk)
        raise AssertionError("the table did not become ready")

    async def ask(self, keys: Iterable[int]) -> None:
        """Look keys up, one a cycle, until the last is answered."""
        self.keys.extend((key, 1) for key in keys)
        while self.keys:
            await FallingEdge(self.clk)
        await self.wait(LATENCY + 2)

    async def pass_end(self, count: int = 2) -> None:
        """`count` ends of a pass: one whole pass when it is 2."""
        wanted = self.seen["pass_done"] + count
        for _ in range(200_000):
            if self.seen["pass_done"] >= wanted:
                return
            await FallingEdge(self.clk)
        raise AssertionError("no pass ended")

    def random_key(self) -> int:
        """Any 323 bits."""
        return self.rng.getrandbits(KEY_BITS)

    def cell(self, addr: int) -> Any:
        """The stored entry, check bits and all."""
        return self.dut.g_way[addr & 1].ram.mem[addr >> 1]

    def flip(self, addr: int, *bits: int) -> int:
        """Flip bits of a stored entry; gives what was there."""
        before = after = int(self.cell(addr).value)
        for bit in bits:
            after ^= 1 << bit
        self.cell(addr).value = after
        return before

    def quiet(self) -> None:
        """No error was reported so far."""
        assert not any(self.seen[name] for name in STROBES[:3]), self.seen
