"""The tables and the re-arm through nsd_top's registers: every command, every refusal."""

from typing import Any

import cocotb
import pytest

from nsdata.offload import registers as reg
from nsdata.offload import sequences as host
from nsdata.offload.register_types import Register
from nsdata.offload.registers import RearmReason
from sim import points
from sim.axis import never, sometimes
from sim.runner import simulate
from sim.top.bench import PARAMETERS, PUBLIC, TopTB, exact


async def judged(tb: TopTB, count: int = 40) -> None:
    """Frames of the world, each with the model's verdict; no error came."""
    tb.shower(count, 300)
    await tb.settle()
    for one in tb.fates():
        exact(one)
    assert (await tb.drive(host.read_errors())).status == 0


async def words(tb: TopTB, registers: tuple[Register, ...]) -> list[int]:
    """Registers read as 64-bit words, low first."""
    found = [await tb.read(register.address) for register in registers]
    return [low | high << 32 for low, high in zip(found[::2], found[1::2], strict=True)]


@cocotb.test()
async def flow_table(dut: Any) -> None:
    """Write and read back, signature, flush, clear; the verdicts follow at once."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    points.hit("table", "flow write")
    points.hit("table", "prefilter load")
    points.hit("table", "prefilter commit")
    model = tb.world.model
    assert await tb.read(reg.FLOW_SIGNATURE.address) == model.signature()
    for address, entry in list(tb.world.tables.flow.items())[:4]:
        await tb.write(reg.FLOW_ADDR.address, address)
        await tb.drive(host.command(reg.FLOW_CMD, "read"))
        await tb.drive(host.poll(reg.FLOW_STATUS, "busy", 0))
        assert tuple(await words(tb, reg.FLOW_RDATA)) == entry
    points.hit("table", "flow read")
    await judged(tb)

    await tb.drive(host.command(reg.FLOW_CMD, "flush"))
    model.flush()
    assert await tb.drive(host.get(reg.FLOW_STATUS, "generation")) == model.generation == 1
    points.hit("table", "flow flush")
    await judged(tb)

    await tb.drive(host.command(reg.FLOW_CMD, "clear"))
    await tb.drive(host.command(reg.FLOW_CMD, "write"))  # refused: the clear is under way
    assert await tb.drive(host.get(reg.FLOW_STATUS, "error")) == 1
    points.hit("table", "flow refused")
    await tb.drive(host.poll(reg.FLOW_STATUS, "busy", 0))
    model.clear()
    assert await tb.read(reg.FLOW_SIGNATURE.address) == 0
    points.hit("table", "flow clear")
    await judged(tb)


@cocotb.test()
async def flows_come_and_go_under_traffic(dut: Any) -> None:
    """Entries are written while frames pass: afterwards the verdicts are the new ones."""
    tb = TopTB(dut)
    await tb.reset()
    empty = host.Tables({}, tb.world.tables.buckets, tb.world.tables.seed, tb.world.tables.ranges)
    await tb.drive(host.bring_up(empty))
    for _ in range(30):
        tb.source.send(tb.world.frame(300))
    await tb.drive(host.load(host.Tables(tb.world.tables.flow)))
    while tb.source.beats:
        await tb.cycles(50)
    await tb.cycles(400)
    tb.input.clear()
    tb.sink.clear()
    await judged(tb)


@cocotb.test()
async def prefilter_table(dut: Any) -> None:
    """Read back, refuse a write while valid, load another table; invalid means SUSPECT."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    buckets = tb.world.tables.buckets
    assert buckets is not None
    address = next(i for i, row in enumerate(buckets.tolist()) if any(row))
    await tb.write(reg.PF_ADDR.address, address)
    await tb.drive(host.command(reg.PF_CMD, "read"))
    await tb.drive(host.poll(reg.PF_STATUS, "busy", 0))
    assert (await words(tb, reg.PF_RDATA[:2])) == buckets[address].tolist()
    points.hit("table", "prefilter read")
    await tb.drive(host.command(reg.PF_CMD, "write"))
    assert await tb.drive(host.get(reg.PF_STATUS, "error")) == 1
    points.hit("table", "prefilter refused")
    await judged(tb)
    generation = await tb.drive(host.get(reg.PF_STATUS, "generation"))
    # While nothing is committed, the model has no table either: every frame is a hit.
    await tb.drive(host.command(reg.PF_CMD, "load_begin"))
    await tb.drive(host.poll(reg.PF_STATUS, "valid", 0))
    filled, ranges = tb.world.prefilter, tb.world.tables.ranges
    tb.world.model.load(None, ranges)
    await judged(tb)
    tb.world.model.load(filled, ranges)
    await tb.drive(host.load_prefilter(tb.world.tables))
    assert await tb.drive(host.get(reg.PF_STATUS, "generation")) == generation + 1
    await judged(tb)


@cocotb.test()
async def scrubbing_goes_on(dut: Any) -> None:
    """The background checks finish passes under traffic, and find nothing."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    before = [await tb.read(register.address) for register in reg.SCRUB_PASSES]
    await judged(tb, 60)
    await tb.cycles(3000)
    after = [await tb.read(register.address) for register in reg.SCRUB_PASSES]
    assert all(b > a for a, b in zip(before, after, strict=True)), (before, after)
    assert [await tb.read(register.address) for register in reg.SCRUB_MISMATCHES] == [0, 0]


@cocotb.test()
async def every_refusal_of_a_rearm(dut: Any) -> None:
    """Each reason in turn, then the re-arm that is accepted."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables, hold=400))

    async def refused(reason: RearmReason) -> None:
        await tb.write(reg.CTRL.address, 0b011)
        status = reg.STATUS.decode(await tb.read(reg.STATUS.address))
        assert status["rearm_refused"] and status["rearm_reason"] == reason, status
        points.hit("re-arm refused", reason.name)

    await refused(RearmReason.NOT_IN_FAULT)
    dut.seu_in.value = 1
    await tb.cycles(10)
    await tb.write(reg.ERR_STATUS.address, 0xFFF)
    await refused(RearmReason.HOLD)
    await tb.cycles(500)
    await refused(RearmReason.CAUSE_ACTIVE)
    dut.seu_in.value = 0
    await tb.cycles(10)
    await tb.drive(host.inject(reg.ErrorClass.PARITY))
    tb.shower(3, 200)
    await tb.settle()
    tb.fates()
    await tb.cycles(500)
    await refused(RearmReason.STATUS_STICKY)
    await tb.write(reg.ERR_STATUS.address, 0xFFF)
    await tb.drive(host.rearm())
    # Armed frames wait in the spine for the sink: not drained.
    tb.sink.pause = sometimes(1.0)
    tb.send(bytes(64))
    await tb.cycles(60)
    await tb.drive(host.inject(reg.ErrorClass.SEU))
    await tb.cycles(500)
    await tb.write(reg.ERR_STATUS.address, 0xFFF)
    await refused(RearmReason.NOT_DRAINED)
    tb.sink.pause = never()
    await tb.settle()
    await tb.drive(host.rearm())
    tb.fates()
    await judged(tb)


@pytest.mark.parametrize("width", [64, pytest.param(512, marks=pytest.mark.full)])
def test_tables(width: int) -> None:
    simulate("nsd_top", __name__, parameters={"DATA_W": width, **PARAMETERS},
             public=PUBLIC)  # fmt: skip
