"""nsd_csr: every register reads, writes, strobes and refuses as hdl/regs/nsd.rdl says."""

import re
from collections.abc import Iterator
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from nsdata.offload import registers
from nsdata.offload.register_types import Field, Register
from sim.regs.bench import SLOT, signals, write_shell
from sim.runner import simulate
from sim.tb import TB

MAP = list(registers.REGISTERS.values())
ADDRESSES = 1 << 12
COUNTERS = re.compile(r"scrub\[\d\]\.(passes|age|corrected|uncorrectable|mismatches)")


class RegsTB(TB):
    """A bus master in front, every hardware signal behind."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.ins, self.outs = signals("hwif_in"), signals("hwif_out")
        self.hardware = 0
        dut.hw_in.value = 0
        dut.err_status.value = 0
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)

    async def read(self, address: int) -> tuple[int, AxiResp]:
        """Data and response."""
        got = await with_timeout(self.bus.read(address, 4), 10, "us")
        return int.from_bytes(got.data, "little"), got.resp

    async def write(self, address: int, value: int, size: int = 4, offset: int = 0) -> AxiResp:
        """The response; `size` bytes from `offset` of the word."""
        data = value.to_bytes(4, "little")[offset : offset + size]
        return (await with_timeout(self.bus.write(address + offset, data), 10, "us")).resp

    def drive(self, name: str, value: int) -> None:
        """A signal of hwif_in."""
        slot, width = self.ins[name]
        assert value < 1 << width
        self.hardware &= ~((1 << SLOT) - 1 << SLOT * slot)
        self.hardware |= value << SLOT * slot
        self.dut.hw_in.value = self.hardware

    def seen(self, name: str) -> int:
        """A signal of hwif_out."""
        return int(self.dut.hw_out.value) >> SLOT * self.outs[name][0] & (1 << SLOT) - 1


async def fresh(dut: Any) -> RegsTB:
    """A testbench past its reset."""
    tb = RegsTB(dut)
    await tb.reset()
    await tb.cycles(2)
    return tb


def fields() -> Iterator[tuple[Register, Field, str]]:
    """Every field with its name in hwif."""
    for register in MAP:
        for field in register.fields:
            yield register, field, f"{register.name}.{field.name}"


@cocotb.test()
async def reset_values(dut: Any) -> None:
    """Every readable register, constants included; the hardware's values are all zero here."""
    tb = await fresh(dut)
    for register in MAP:
        if register.readable:
            assert await tb.read(register.address) == (register.reset, AxiResp.OKAY), register.name
    for register, field, name in fields():
        if field.access != "r" and not field.strobe and f"{name}.value" in tb.outs:
            assert tb.seen(f"{name}.value") == (field.reset or 0), register.name


@cocotb.test()
async def what_hardware_drives_is_read(dut: Any) -> None:
    """Every field the hardware drives, at random values, each in its own place."""
    tb = await fresh(dut)
    driven = 0
    for _ in range(2):
        wanted: dict[str, int] = {}
        for register, field, name in fields():
            if f"{name}.next" in tb.ins and register.name != "err_status":
                value = tb.rng.getrandbits(field.width)
                tb.drive(f"{name}.next", value)
                wanted[register.name] = wanted.get(register.name, 0) | field.encode(value)
                driven += 1
        await tb.cycles(2)
        for name, value in wanted.items():
            got = await tb.read(registers.REGISTERS[name].address)
            assert got == (value, AxiResp.OKAY), name
    assert driven > 150
    assert set(wanted) >= {"heartbeat", "pf_rdata[3]", "stat_backpressure.hi", "err_count[11]"}


@cocotb.test()
async def what_is_written_is_kept(dut: Any) -> None:
    """Every kept field, all registers first, then read: none shares storage with another."""
    tb = await fresh(dut)
    for _ in range(2):
        kept: dict[str, int] = {}
        for register in MAP:
            if not register.writable or register.name in ("heartbeat", "err_status"):
                continue
            if any(f.strobe for f in register.fields) and register.name != "ctrl":
                continue
            kept[register.name] = tb.rng.getrandbits(32)
            assert await tb.write(register.address, kept[register.name]) is AxiResp.OKAY
        for register, field, name in fields():
            if register.name in kept and not field.strobe and f"{name}.value" in tb.outs:
                assert tb.seen(f"{name}.value") == field.decode(kept[register.name]), name
        for name, value in kept.items():
            register = registers.REGISTERS[name]
            if register.readable:
                mask = sum(f.mask for f in register.fields if not f.strobe)
                assert await tb.read(register.address) == (value & mask, AxiResp.OKAY), name
        assert len(kept) > 50


@cocotb.test()
async def strobes_last_one_cycle(dut: Any) -> None:
    """Each strobe alone, for one cycle, and no other with it."""
    tb = await fresh(dut)
    strobes = [(r, f, f"{n}.value") for r, f, n in fields() if f.strobe]
    names = [name for _, _, name in strobes]
    assert len(strobes) == 12 + 2 + 2 + 4 + 4 + 1
    for register, field, name in strobes:
        task = cocotb.start_soon(tb.write(register.address, field.mask))
        high = []
        for _ in range(14):
            await RisingEdge(tb.clk)
            high += [n for n in names if tb.seen(n)]
        assert await task is AxiResp.OKAY
        assert high == [name]


@cocotb.test()
async def bytes_are_written_alone(dut: Any) -> None:
    """Write strobes select bytes."""
    tb = await fresh(dut)
    want = 0
    for _ in range(12):
        size = tb.rng.choice((1, 2, 4))
        offset = tb.rng.randrange(0, 4, size)
        value = tb.rng.getrandbits(32)
        mask = (1 << 8 * size) - 1 << 8 * offset
        want = want & ~mask | value & mask
        assert await tb.write(registers.SCRATCH.address, value, size, offset) is AxiResp.OKAY
        assert (await tb.read(registers.SCRATCH.address))[0] == want


@cocotb.test()
async def what_the_map_has_not_is_refused(dut: Any) -> None:
    """Holes, reads of write-only and writes to read-only: SLVERR, and nothing changes."""
    tb = await fresh(dut)
    known = {r.address: r for r in MAP}
    await tb.write(registers.SCRATCH.address, 0x12345678)
    await tb.cycles(2)
    outputs = int(dut.hw_out.value)
    refused = 0
    for address in [*range(0, registers.SIZE + 64, 4), *range(0x800, ADDRESSES, 252)]:
        register = known.get(address)
        for ok, writing in (
            (register is not None and register.readable, False),
            (register is not None and register.writable, True),
        ):
            if ok:
                continue  # the other tests
            resp = await tb.write(address, 0xFFFFFFFF) if writing else (await tb.read(address))[1]
            assert resp is AxiResp.SLVERR, (hex(address), writing)
            refused += 1
    assert int(dut.hw_out.value) == outputs and refused > 300
    assert await tb.read(registers.SCRATCH.address) == (0x12345678, AxiResp.OKAY)


@cocotb.test()
async def err_status_is_written_1_to_clear(dut: Any) -> None:
    """Its word is the port's; ones become strobes of one cycle, in the bytes written only."""
    tb = await fresh(dut)
    address = registers.ERR_STATUS.address
    for _ in range(10):
        status, value = tb.rng.getrandbits(12), tb.rng.getrandbits(32)
        size = tb.rng.choice((1, 2, 4))
        offset = tb.rng.randrange(0, 4, size)
        dut.err_status.value = status
        await tb.cycles(2)
        assert await tb.read(address) == (status, AxiResp.OKAY)
        task = cocotb.start_soon(tb.write(address, value, size, offset))
        strobes = []
        for _ in range(14):
            await RisingEdge(tb.clk)
            strobes += [int(dut.err_status_clear.value)] if int(dut.err_status_clear.value) else []
        assert await task is AxiResp.OKAY
        want = value & ((1 << 8 * size) - 1) << 8 * offset & 0xFFF
        assert strobes == ([want] if want else [])
        assert await tb.read(address) == (status, AxiResp.OKAY)


@cocotb.test()
async def a_write_to_heartbeat_beats(dut: Any) -> None:
    """One strobe, whatever the value; reads are the hardware's."""
    tb = await fresh(dut)
    tb.drive("heartbeat.remaining.next", 77)
    for value in (0, 0xFFFFFFFF):
        task = cocotb.start_soon(tb.write(registers.HEARTBEAT.address, value))
        beats = 0
        for _ in range(14):
            await RisingEdge(tb.clk)
            beats += tb.seen("heartbeat.remaining.swmod")
        await task
        assert beats == 1
        assert await tb.read(registers.HEARTBEAT.address) == (77, AxiResp.OKAY)


@cocotb.test()
async def the_counters_of_the_checks_count(dut: Any) -> None:
    """Each its own strobe; `age` starts again at the end of a pass."""
    tb = await fresh(dut)
    counters = [r for r in MAP if COUNTERS.fullmatch(r.name)]
    assert len(counters) == 10
    for i, register in enumerate(counters):
        tb.drive(f"{register.name}.count.incr", 1)
        await tb.cycles(i + 3)
        tb.drive(f"{register.name}.count.incr", 0)
        await tb.cycles(1)
    for i, register in enumerate(counters):
        assert await tb.read(register.address) == (i + 3, AxiResp.OKAY), register.name
    tb.drive("scrub[1].age.count.hwclr", 1)
    await tb.cycles(1)
    tb.drive("scrub[1].age.count.hwclr", 0)
    assert (await tb.read(registers.SCRUB_AGE[1].address))[0] == 0
    kept = counters.index(registers.SCRUB_AGE[0]) + 3
    assert (await tb.read(registers.SCRUB_AGE[0].address))[0] == kept


@cocotb.test()
async def reads_and_writes_take_turns(dut: Any) -> None:
    """Both at once, with pauses on every channel: all are answered, in order, and right."""
    tb = await fresh(dut)
    rng = tb.rng

    def pauses() -> Iterator[bool]:
        while True:
            yield rng.random() < 0.5

    for channel in (
        tb.bus.write_if.aw_channel, tb.bus.write_if.w_channel, tb.bus.write_if.b_channel,
        tb.bus.read_if.ar_channel, tb.bus.read_if.r_channel,
    ):  # fmt: skip
        channel.set_pause_generator(pauses())
    words = [rng.getrandbits(16) for _ in range(40)]

    async def writer() -> None:
        for word in words:
            assert await tb.write(registers.PF_ADDR.address, word) is AxiResp.OKAY

    async def reader() -> list[int]:
        return [(await tb.read(registers.PF_ADDR.address))[0] for _ in range(60)]

    writing = cocotb.start_soon(writer())
    got = await reader()
    await writing
    order = [words.index(word) for word in got if word]
    assert order == sorted(order) and len(set(order)) > 10


def test_regs() -> None:
    simulate("csr_shell", __name__, sources=[write_shell()])
