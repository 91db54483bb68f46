"""nsd_top as the driver sees it: bring-up, real frames by the model, registers, statistics."""

import os
from pathlib import Path
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from scapy.utils import RawPcapReader

from nsdata.offload import registers as reg
from nsdata.offload import sequences as host
from nsdata.offload.entry import Verdict
from sim import points
from sim.axis import PATTERNS, pattern
from sim.runner import ROOT, simulate
from sim.top.bench import PARAMETERS, PUBLIC, TopTB, either, exact, fault


def captured(path: Path, most: int, every: int = 1) -> list[bytes]:
    """Frames of a capture, every n-th."""
    with RawPcapReader(str(path)) as reader:
        return [data for i, (data, _) in zip(range(most * every), reader, strict=False)
                if i % every == 0 and data]  # fmt: skip


@cocotb.test()
async def reset_is_bypass(dut: Any) -> None:
    """Nothing is set up: every frame passes, FAULT, and nothing is an error."""
    tb = TopTB(dut)
    await tb.reset()
    tb.shower(20)
    await tb.settle()
    for judged in tb.fates():
        fault(judged)
    report = await tb.drive(host.read_errors())
    assert report.status == 0 and report.state == reg.State.DISARMED


@cocotb.test()
@cocotb.parametrize(idle=PATTERNS, pause=PATTERNS)
async def the_model_judges(dut: Any, idle: str, pause: str) -> None:
    """Armed, every verdict is the golden model's, and the statistics are the sums."""
    tb = TopTB(dut)
    await tb.reset()
    built = await tb.drive(host.bring_up(tb.world.tables))
    assert built["data_w"] == len(dut.s_axis_tdata) and built["sets_log2"] == 4
    tb.source.idle, tb.sink.pause = pattern(idle, tb.rng), pattern(pause, tb.rng)
    points.hit("idle", idle, built["data_w"])
    points.hit("back-pressure", pause, built["data_w"])
    tb.shower(80)
    tb.shower(2, 9018)
    await tb.settle()
    fates = tb.fates()
    for judged in fates:
        exact(judged)
    found = await tb.drive(host.snapshot())
    wanted = {v: sum(j.sent.wanted == v for j in fates) for v in Verdict}
    assert found["frames_in"] == len(fates)
    assert {v: found[v.name.lower()] for v in Verdict} == wanted
    assert (await tb.drive(host.read_errors())).status == 0


@cocotb.test()
async def real_frames(dut: Any) -> None:
    """Frames of the captures, but for those that were put together to more than a frame can be."""
    tb = TopTB(dut)
    await tb.reset()
    built = await tb.drive(host.bring_up(tb.world.tables))
    tb.sink.pause = pattern("random", tb.rng)
    paths = [ROOT / "tests" / "captures" / "office.pcap"]
    shared = Path(os.environ.get("NSDATA_SHARED") or ROOT.parent / "shared")
    paths += [path for path in [shared / "captures" / "mixed.pcap"] if path.is_file()]
    full = os.environ.get("NSDATA_FULL", "") not in ("", "0")
    for path in paths:
        for frame in captured(path, 400 if full else 60, 7):
            if len(frame) <= built["max_frame"]:
                tb.send(frame)
        await tb.settle()
        for judged in tb.fates():
            exact(judged)


@cocotb.test()
async def a_wrong_signature_is_not_committed(dut: Any) -> None:
    """The commit finds another signature: the table stays invalid, every frame SUSPECT."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(host.Tables()))
    tb.world.tables.seed ^= 1  # what is written differs from what the signature is of
    expect = tb.world.tables.prefilter_signature()
    tb.world.tables.seed ^= 1
    tb.world.tables.prefilter_signature = lambda: expect  # type: ignore[method-assign]
    with pytest.raises(host.HostError):
        await tb.drive(host.load_prefilter(tb.world.tables))
    assert await tb.drive(host.get(reg.PF_STATUS, "commit_failed")) == 1
    points.hit("table", "prefilter commit failed")
    assert await tb.drive(host.get(reg.ERR_STATUS, "table_crc")) == 1


@cocotb.test()
async def disable_and_enable_lose_nothing(dut: Any) -> None:
    """Disarming and soft resets under traffic: frames are either judged or FAULT."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    for control in (0, 1, 0b101, 1, 0):
        tb.shower(25, 200)
        await tb.cycles(tb.rng.randint(20, 200))
        await tb.write(reg.CTRL.address, control)
        if control & 4:
            points.hit("reset", "soft")
        await tb.settle()
        for judged in tb.fates():
            either(judged)
    assert (await tb.drive(host.read_errors())).status == 0


@cocotb.test()
async def a_frame_at_a_boundary(dut: Any) -> None:
    """Reset in the middle of a frame, in and out: nothing of it is left, nothing is an error."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    for wait in (3, 25, 60):
        tb.source.send(bytes(40 * tb.source.lanes))
        await tb.cycles(wait)
        await tb.reset()
        await tb.drive(host.bring_up(tb.world.tables))
        tb.shower(10)
        await tb.settle()
        for judged in tb.fates():
            exact(judged)
        assert (await tb.drive(host.read_errors())).status == 0


@cocotb.test()
async def the_relay_beats(dut: Any) -> None:
    """heartbeat_out toggles while the spine is sound, and stands still after a stall."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))

    async def toggles(cycles: int) -> int:
        count, last = 0, int(dut.heartbeat_out.value)
        for _ in range(cycles):
            await RisingEdge(tb.clk)
            count += int(dut.heartbeat_out.value) != last
            last = int(dut.heartbeat_out.value)
        return count

    assert await toggles(160) in (9, 10, 11)  # RELAY_LOG2 = 4
    tb.shower(10)
    await tb.drive(host.inject(reg.ErrorClass.STALL))
    await tb.cycles(600)
    assert await toggles(160) == 0
    await tb.settle()
    for judged in tb.fates():
        either(judged)
    await tb.drive(host.rearm())
    assert await toggles(160) > 0


@cocotb.test()
async def pins_hold_the_fault(dut: Any) -> None:
    """A device pin latches its error, and re-arming is refused while it is high."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables))
    for pin, error in ((dut.seu_in, reg.ErrorClass.SEU),
                       (dut.over_temp_in, reg.ErrorClass.OVER_TEMP)):  # fmt: skip
        await tb.write(reg.ERR_IRQ_MASK.address, 1 << error)
        pin.value = 1
        await tb.cycles(10)
        report = await tb.drive(host.read_errors())
        assert report.status == 1 << error and report.fault and dut.irq.value
        await tb.cycles(80)
        await tb.write(reg.ERR_STATUS.address, 0xFFF)
        await tb.write(reg.CTRL.address, 3)
        reason = await tb.drive(host.get(reg.STATUS, "rearm_reason"))
        assert reason == reg.RearmReason.CAUSE_ACTIVE
        pin.value = 0
        await tb.cycles(10)
        await tb.drive(host.rearm())
        assert not dut.irq.value


@cocotb.test()
async def a_dead_host_opens_the_block(dut: Any) -> None:
    """No heartbeat for heartbeat_limit cycles: the error comes, and frames are FAULT."""
    tb = TopTB(dut)
    await tb.reset()
    await tb.drive(host.bring_up(tb.world.tables, limit=2000))
    await tb.drive(host.beat())
    await tb.cycles(1500)
    assert (await tb.drive(host.read_errors())).status == 0
    await tb.cycles(1000)
    report = await tb.drive(host.read_errors())
    assert report.status == 1 << reg.ErrorClass.HEARTBEAT
    tb.shower(5)
    await tb.settle()
    for judged in tb.fates():
        fault(judged)


@pytest.mark.parametrize("width", [64, pytest.param(512, marks=pytest.mark.full)])
def test_top(width: int) -> None:
    simulate("nsd_top", __name__, parameters={"DATA_W": width, **PARAMETERS},
             public=PUBLIC)  # fmt: skip
