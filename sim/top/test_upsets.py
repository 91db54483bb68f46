"""Bits flipped in the tables of nsd_top: told with place and entry; one heals, two are a fault."""

from typing import Any

import cocotb
import pytest

from nsdata.offload import registers as reg
from nsdata.offload import sequences as host
from nsdata.offload.entry import Verdict
from nsdata.offload.registers import ErrorClass, State
from nsdata.offload.report import ErrorReport
from sim.runner import simulate
from sim.top.bench import PARAMETERS, PUBLIC, Judged, TopTB, exact, fault

FLOW, PREFILTER = 0, 1  # indices of the scrub registers; the record's place is one more
BIT = 30  # a data bit of the word's first half


def cell(dut: Any, table: int, entry: int) -> Any:
    """One stored code word, or several: the flow table's way, or the bucket of one lane."""
    if table == FLOW:
        return dut.flow.g_way[entry & 1].ram.mem[entry >> 1]
    return dut.prefilter.gen_group[0].gen_lane[3].lane.ram.mem[entry]


def flip(dut: Any, table: int, entry: int, *bits: int) -> None:
    """Flip bits of a stored word."""
    one = cell(dut, table, entry)
    one.value = int(one.value) ^ sum(1 << bit for bit in bits)


async def report(tb: TopTB) -> ErrorReport:
    """What the block has to say, once it has found something."""
    for _ in range(400):
        if await tb.read(reg.ERR_STATUS.address):
            return await tb.drive(host.read_errors())
        await tb.cycles(20)
    raise AssertionError("no error was found")


def told(found: ErrorReport, error: ErrorClass, table: int, entry: int) -> None:
    """The record names the error, the table and the entry (but not a bucket a lookup met)."""
    assert found.error is error, found.words
    assert found.record_info >> 29 & 3 == table + 1, found.words
    if not (table == PREFILTER and found.record_info >> 28 & 1):
        assert found.record_info & 0x1FFFF == entry, found.words


def exact_or_suspect(judged: Judged) -> None:
    """A wrong bucket that a lookup meets is a hit: the frame is inspected, not trusted."""
    got = Verdict.BLOCK if judged.frame is None else judged.frame.user & 7
    if (got, judged.sent.wanted) != (Verdict.SUSPECT, Verdict.CLEAR):
        exact(judged)


@cocotb.test()
@cocotb.parametrize(table=[FLOW, PREFILTER])
async def one_flipped_bit_heals(dut: Any, table: int) -> None:
    """Reported as corrected, written back; no frame was trusted that should not be."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    address = next(iter(tb.world.tables.flow)) if table == FLOW else 5
    before = int(cell(dut, table, address).value)
    flip(dut, table, address, BIT)
    tb.shower(30, 200)
    found = await report(tb)
    told(found, ErrorClass.ECC_CE, table, address)
    assert not found.fatal and found.state == State.ARMED
    await tb.settle()
    for one in tb.fates():
        exact_or_suspect(one)
    assert await tb.read(reg.SCRUB_CORRECTED[table].address) == 1
    assert await tb.read(reg.SCRUB_ERR_ADDR[table].address) == address
    assert int(cell(dut, table, address).value) == before


@cocotb.test()
@cocotb.parametrize(table=[FLOW, PREFILTER])
async def two_flipped_bits_are_a_fault(dut: Any, table: int) -> None:
    """Reported as uncorrectable; every later frame is permitted; a reload brings it back."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    address = next(iter(tb.world.tables.flow)) if table == FLOW else 5
    tb.shower(30, 200)
    flip(dut, table, address, BIT, BIT + 1)
    found = await report(tb)
    told(found, ErrorClass.ECC_UE, table, address)
    assert found.fatal and found.state == State.FAULT
    await tb.settle()
    for one in tb.fates():
        if one.frame is None or one.frame.user & 7 != Verdict.FAULT:
            exact_or_suspect(one)
    tb.shower(20, 200)
    await tb.settle()
    for one in tb.fates():
        fault(one)
    await tb.cycles(3000)  # a lookup may have met it first: the background check says where
    assert await tb.read(reg.SCRUB_UNCORRECTABLE[table].address) >= 1
    assert await tb.read(reg.SCRUB_ERR_ADDR[table].address) == address

    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    tb.shower(30, 200)
    await tb.settle()
    for one in tb.fates():
        exact(one)


@pytest.mark.full  # each table alone has upsets of its own in the representative part
@pytest.mark.parametrize("width", [64, 512])
def test_upsets(width: int) -> None:
    simulate("nsd_top", __name__, parameters={"DATA_W": width, **PARAMETERS},
             public=[*PUBLIC, "nsd_ram.mem"])  # fmt: skip
