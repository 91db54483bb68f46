"""Every error class at every moment: injected, detected, recorded, bypassed, re-armed.

12 classes x 6 moments, each at both widths (512 b by make sim-full). What is asserted for each:

- the injection fell into the moment it is named for (the wires are watched in that cycle);
- the error's sticky bit, counter and interrupt come, and no other class's;
- the first-error record names the class, and a cycle after the injection;
- no frame is lost, made, reordered or changed;
- a fatal error: what leaves after the recorded cycle is FAULT until the re-arm, and a frame that
  enters after it is inspected again, its verdict the model's; ECC_CE: every verdict is the model's.

The result is written as JSON into the run's directory; docs/fpga-errors.md is made from it by
`make sim-full` (NSDATA_WRITE_DOCS=1), and test_the_document_is_what_was_measured compares.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from nsdata.offload import registers as reg
from nsdata.offload import sequences as host
from nsdata.offload.registers import ErrorClass
from sim import points
from sim.axis import never, pattern, sometimes
from sim.points import MOMENTS
from sim.runner import ROOT, simulate
from sim.timing import DROP_AFTER, GRACE
from sim.top import table
from sim.top.bench import PARAMETERS, PUBLIC, Judged, TopTB, either, exact, fault

TRIES = 40  # until an injection falls into its moment


class Moment:
    """Brings the block into a moment and knows whether a cycle is one."""

    def __init__(self, tb: TopTB, name: str) -> None:
        self.tb = tb
        self.name = name

    def prepare(self) -> None:
        """Queue the traffic in which the moment comes."""
        tb, lanes = self.tb, self.tb.source.lanes
        tb.source.idle, tb.sink.pause = never(), never()
        if self.name in ("mid-frame", "reset mid-frame"):
            tb.send(tb.rng.randbytes(150 * lanes))
        elif self.name == "last beat":
            for _ in range(60):
                tb.send(tb.rng.randbytes(tb.rng.randint(lanes + 1, 3 * lanes)))
        elif self.name == "back-pressure":
            tb.sink.pause = sometimes(0.8, tb.rng)
            tb.shower(20, 30 * lanes)
        elif self.name == "during a drop":
            tb.send(tb.world.blocked + tb.rng.randbytes(150 * lanes))

    def is_now(self, inside: bool) -> bool:
        """Whether the wires, sampled at an edge, are in the moment. `inside`: a frame had begun
        to enter before this cycle, and not ended."""
        dut, tb = self.tb.dut, self.tb
        into = bool(dut.s_axis_tvalid.value and dut.s_axis_tready.value)
        out, ready = bool(dut.m_axis_tvalid.value), bool(dut.m_axis_tready.value)
        if self.name == "idle":
            return not dut.s_axis_tvalid.value and not out and not tb.source.beats
        if self.name in ("mid-frame", "reset mid-frame"):
            return into and inside and not dut.s_axis_tlast.value
        if self.name == "last beat":
            return into and inside and bool(dut.s_axis_tlast.value)
        if self.name == "back-pressure":
            return out and not ready
        # The blocked frame is well inside, and nothing comes out.
        beats = len(self.tb.input._partial)
        return into and not out and beats > 60


async def inject(tb: TopTB, moment: Moment, error: ErrorClass) -> tuple[int, bool]:
    """Write the injection; the cycle in which it struck, and whether that was the moment."""
    struck: list[tuple[int, bool]] = []

    async def watch() -> None:
        edge = RisingEdge(tb.clk)
        inside = tb.input.mid_frame
        while not struck:
            await edge
            if tb.dut.inject.value:
                struck.append((tb.now, moment.is_now(inside)))
            inside = tb.input.mid_frame

    task = cocotb.start_soon(watch())
    await tb.drive(host.inject(error))
    task.cancel()
    assert len(struck) == 1, "the injection did not reach the block"
    return struck[0]


async def strike(tb: TopTB, moment: Moment, error: ErrorClass) -> dict[str, Any]:
    """One injection in its moment; what came of it. The block is armed before and after."""
    for attempt in range(TRIES):
        await tb.drive(host.beat())
        began = tb.now
        moment.prepare()
        wait = {"idle": 20, "during a drop": 75, "back-pressure": 60}.get(moment.name, 10)
        await tb.cycles(wait + tb.rng.randint(0, 12))
        struck, hit = await inject(tb, moment, error)
        found = await aftermath(tb, error, began, struck, moment.name == "reset mid-frame")
        if hit:
            points.hit("error", error.name, moment.name)
            return {**found, "error": error.name, "moment": moment.name, "tries": attempt + 1}
    raise AssertionError(f"{error.name}: no injection fell into: {moment.name}")


async def aftermath(
    tb: TopTB, error: ErrorClass, began: int, struck: int, reset: bool
) -> dict[str, Any]:
    """Detection, bypass, re-arm; every frame judged."""
    bit = 1 << error
    for _ in range(300):
        if await tb.read(reg.ERR_STATUS.address) & bit:
            break
        if not tb.source.beats:  # detectors that wait for a beat, a decision, a check's turn
            tb.source.idle = sometimes(0.5, tb.rng)
            tb.shower(2, 200)
    else:
        raise AssertionError(f"{error.name} was injected in cycle {struck} and not seen")
    report = await tb.drive(host.read_errors())
    assert report.status == bit, f"{error.name}: status {report.status:#x}"
    others = [ErrorClass(i).name for i, n in enumerate(report.counts) if n and i != error]
    assert not others and report.counts[error] >= 1, f"{error.name}: counters {report.counts}"
    assert report.record_valid and report.record_class == error, f"{error.name}: {report}"
    recorded = tb.zero + report.record_cycle
    assert struck <= recorded <= tb.now, f"{error.name}: struck {struck}, recorded {recorded}"
    assert tb.dut.irq.value, f"{error.name}: no interrupt"
    if reset:
        return await reset_amid(tb, error, recorded - struck, report.counts[error])

    tb.sink.pause = never()
    tb.shower(12, 300)
    await tb.settle()
    opened = tb.now
    if error == ErrorClass.ECC_CE:
        assert not report.fault
        await tb.write(reg.ERR_STATUS.address, 0xFFF)
        await tb.write(reg.ERR_CLEAR.address, 3)
    else:
        assert report.fault and report.state == reg.State.FAULT
        tb.source.idle = never()
        tb.shower(30, 300)  # the re-arm falls into traffic
        await tb.drive(host.rearm())
    armed = tb.now
    assert not tb.dut.irq.value
    tb.source.idle = pattern("random", tb.rng)
    tb.shower(15, 300)
    await tb.settle()
    fates, damage = tb.reckon()
    window = None if error == ErrorClass.ECC_CE else (struck, recorded, opened, armed)
    bypassed, inspected = judge(fates, window)
    assert inspected > 0, "nothing was inspected after the re-arm"
    await tb.cycles(100)
    after = await tb.drive(host.read_errors())
    assert after.status == 0 and after.state == reg.State.ARMED, f"after the re-arm: {after}"
    return {
        "cycles": recorded - struck,
        "count": report.counts[error],
        "frames": len(fates) + len(damage),
        "bypassed": bypassed,
        "damaged": len(damage),
        "rearmed": window is not None,
    }


def judge(fates: list[Judged], window: tuple[int, int, int, int] | None) -> tuple[int, int]:
    """Every frame's verdict. How many were bypassed in the fault, how many inspected after it."""
    if window is None:
        for judged in fates:
            exact(judged)
        return 0, len(fates)
    struck, recorded, opened, armed = window
    bypassed = inspected = 0
    for judged in fates:
        shown = judged.frame.shown if judged.frame else 0
        end = judged.frame.end if judged.frame else 0
        if judged.entered > armed:
            exact(judged)
            inspected += 1
        elif judged.frame is None:
            # A drop that had begun is finished; none begins in a fault.
            dropped = judged.entered + DROP_AFTER
            assert dropped <= recorded + GRACE or judged.entered > opened
        elif end < struck:
            exact(judged)
        elif recorded + GRACE < shown and end <= opened:
            fault(judged)
            bypassed += 1
        else:
            either(judged)
    assert bypassed > 0, "nothing was bypassed"
    return bypassed, inspected


async def reset_amid(tb: TopTB, error: ErrorClass, cycles: int, count: int) -> dict[str, Any]:
    """Reset in the middle of a frame, the fault latched: nothing of either is left."""
    tb.source.idle = never()
    tb.send(tb.rng.randbytes(100 * tb.source.lanes))
    await tb.until(lambda: tb.input.mid_frame, 1000, "a frame under way")
    await tb.reset()
    points.hit("reset", "mid-frame")
    await tb.cycles(50)
    assert not tb.sink.frames, "a frame came out of a reset block"
    report = await tb.drive(host.read_errors())
    assert report.status == 0 and not report.fault and report.state == reg.State.DISARMED
    await ready(tb)
    tb.shower(15, 300)
    await tb.settle()
    fates, damage = tb.reckon()
    for judged in fates:
        exact(judged)
    return {"cycles": cycles, "count": count, "frames": len(fates) + len(damage), "bypassed": 0,
            "damaged": len(damage), "rearmed": False}  # fmt: skip


async def ready(tb: TopTB) -> None:
    """Armed, every class raising the interrupt."""
    await tb.drive(host.bring_up(tb.world.tables, hold=16))
    await tb.write(reg.ERR_IRQ_MASK.address, 0xFFF)


@cocotb.test()
@cocotb.parametrize(moment=MOMENTS)
async def errors_at(dut: Any, moment: str) -> None:
    """Each class at one moment."""
    tb = TopTB(dut)
    await tb.reset()
    await ready(tb)
    place = Moment(tb, moment)
    only = os.environ.get("NSDATA_ERROR")
    rows = []
    for error in ErrorClass:
        if only and error.name != only:
            continue
        found = await strike(tb, place, error)
        tb.dut._log.info("%s", found)
        rows.append(found)
    path = Path(os.environ["NSDATA_RUN"]) / f"errors-{moment.replace(' ', '-')}.json"
    path.write_text(json.dumps(rows, indent=1))


def measured(run: Path) -> list[dict[str, Any]]:
    """The rows of a run, all moments."""
    rows: list[dict[str, Any]] = []
    for moment in MOMENTS:
        path = run / f"errors-{moment.replace(' ', '-')}.json"
        rows += json.loads(path.read_text())
    return rows


def check(width: int, write: Callable[[list[dict[str, Any]]], None]) -> None:
    """Run the matrix, see that it is whole, and hand it to `write`."""
    run = simulate("nsd_top", __name__, parameters={"DATA_W": width, **PARAMETERS},
             public=PUBLIC)  # fmt: skip
    rows = measured(run)
    assert len(rows) == len(ErrorClass) * len(MOMENTS)
    write(rows)  # first: what it says of damage is what was counted
    hurt = {f"{row['error']}, {row['moment']}": row["damaged"] for row in rows if row["damaged"]}
    assert not hurt, f"frames lost, made, reordered or changed: {hurt}"


def test_errors_at_every_moment() -> None:
    """64 b: also compares docs/fpga-errors.md, or writes it (NSDATA_WRITE_DOCS=1)."""

    def document(rows: list[dict[str, Any]]) -> None:
        path, text = ROOT / "docs" / "fpga-errors.md", table.render(rows, list(MOMENTS))
        if os.environ.get("NSDATA_WRITE_DOCS", "") not in ("", "0"):
            path.write_text(text)
        else:
            seed = int(os.environ.get("NSDATA_SEED", table.SEED))
            news = table.differs(path.read_text(), text, seed)
            assert not news, f"docs/fpga-errors.md: {news}. If that is meant: make sim-full"

    check(64, document)


@pytest.mark.full
def test_errors_at_every_moment_512() -> None:
    check(512, lambda rows: None)
