"""The bench of nsd_spine: source, sink, inspection that answers in its cycle, error counters."""

from collections.abc import Callable
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from sim.axis import AxisSink, AxisSource, Frame, to_beats
from sim.tb import TB
from sim.timing import LATENCY

DEPTH = 64
CREDITS = DEPTH - 2
STALL_LIMIT = 80
HDR_BYTES = 88
FAULT, CLEAR, SUSPECT, BYPASS, BLOCK = range(5)
NONE, ACT_BYPASS, ACT_BLOCK = range(3)
PARAMETERS: dict[str, int | str] = {"LATENCY": LATENCY, "DEPTH": DEPTH, "STALL_LIMIT": STALL_LIMIT}
STROBES = ("err_ecc_ce", "err_ecc_ue", "err_fifo_ovf", "err_credit_leak", "err_late", "err_stall")


class Verdicts:
    """Inspection: answers each tapped decision beat and last beat exactly LATENCY cycles later.

    `choose(frame number)` gives (action, verdict), either may be None: no answer.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.choose: Callable[[int], tuple[int | None, int | None]] = lambda _: (NONE, CLEAR)
        self.frame = 0
        self.due: dict[int, dict[str, int]] = {}
        self.now = 0
        self.firsts: list[bool] = []
        self.decs = 0  # decision beats seen in the frame in progress
        dut.dec_valid.value = 0
        dut.fin_valid.value = 0
        cocotb.start_soon(self._run())

    def clear(self) -> None:
        self.due.clear()
        self.decs = 0
        self.open = False
        self.muted = True  # a tap of the edge at which the reset begins is not judged

    async def _run(self) -> None:
        dut = self.dut
        edge = RisingEdge(dut.clk)
        self.open = self.muted = False
        while True:
            await edge
            # The period that ends here is `now`; what is driven now is seen in the next one.
            muted, self.muted = self.muted, False
            if dut.tap_valid.value and not dut.rst.value and not muted:
                action, verdict = self.choose(self.frame)
                assert int(dut.tap_first.value) == (not self.open), "tap_first"
                self.open = not int(dut.tap_last.value)
                when = self.due.setdefault(self.now + LATENCY, {})
                if dut.tap_dec.value:
                    self.decs += 1
                    if action is not None:
                        when |= {"dec_valid": 1, "dec_action": action}
                if dut.tap_last.value:
                    assert self.decs == 1, f"{self.decs} decision beats in a frame"
                    self.decs = 0
                    self.frame += 1
                    if verdict is not None:
                        when |= {"fin_valid": 1, "fin_verdict": verdict}
            self.now += 1
            answer = self.due.pop(self.now, {})
            dut.dec_valid.value = answer.get("dec_valid", 0)
            dut.fin_valid.value = answer.get("fin_valid", 0)
            if "dec_action" in answer:
                dut.dec_action.value = answer["dec_action"]
            if "fin_verdict" in answer:
                dut.fin_verdict.value = answer["fin_verdict"]


class SpineTB(TB):
    """Source, spine, sink, inspection; counts error strobes; latches faults when asked to."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.lanes = len(dut.s_axis_tkeep)
        self.dec_beats = -(-HDR_BYTES // self.lanes)
        self.source = AxisSource(dut, "s_axis")
        self.sink = AxisSink(dut, "m_axis", strict=False, keep_beats=True)
        self.verdicts = Verdicts(dut)
        self.agents = [self.source, self.sink, self.verdicts]
        self.errors = dict.fromkeys(STROBES, 0)
        self.info = 0
        self.latching = False  # fault := any fatal error so far, as nsd_errors does
        self.fault_now = 0
        self.outs: list[int] = []
        self.ins = 0
        self.now = 0
        self.entered: list[int] = []  # cycles of the handshakes on s_axis
        self.left: list[int] = []  # and on m_axis
        self.armed_at: list[int] = []  # `armed` in the cycle of each frame's first handshake
        for name in ("arm", "fault", *(f"inj_{s[4:]}" for s in STROBES)):
            getattr(dut, name).value = 0
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        dut = self.dut
        strobes = [(name, getattr(dut, name)) for name in STROBES]
        edge = RisingEdge(dut.clk)
        first = True
        while True:
            await edge
            self.now += 1
            if dut.rst.value:
                first = True
                continue
            if dut.s_axis_tvalid.value and dut.s_axis_tready.value:
                if first:
                    self.armed_at.append(int(dut.armed.value))
                first = bool(dut.s_axis_tlast.value)
                self.entered.append(self.now)
            if dut.m_axis_tvalid.value and dut.m_axis_tready.value:
                self.left.append(self.now)
            for name, signal in strobes:
                if signal.value:
                    self.errors[name] += 1
                    self.info = int(dut.err_info.value)
                    if self.latching and name != "err_ecc_ce":
                        dut.fault.value = 1
            if dut.frame_out.value:
                self.outs.append(int(dut.frame_out_verdict.value))
            self.ins += int(dut.frame_in.value)

    async def start(self, armed: bool = True) -> None:
        self.dut.fault.value = 0
        self.dut.arm.value = int(armed)
        await self.reset()
        self.errors = dict.fromkeys(STROBES, 0)
        for seen in (self.outs, self.entered, self.left, self.armed_at):
            seen.clear()
        self.ins = 0
        self.verdicts.frame = 0
        await self.cycles(3)
        assert int(self.dut.armed.value) == armed

    async def expect(self, frames: list[tuple[bytes, int]], timeout: int = 40_000) -> list[Frame]:
        """Wait for exactly these frames (data, mac_bad), in order, each byte as sent."""
        got = []
        for data, bad in frames:
            waited = 0
            while not self.sink.frames:
                await RisingEdge(self.clk)
                waited += 1
                assert waited < timeout, f"frame {len(got)} did not come"
            frame = self.sink.frames.popleft()
            assert frame.data == data, f"frame {len(got)} changed"
            sent = to_beats(data, self.lanes)
            assert [b[:3] for b in frame.beats] == [b[:3] for b in sent], "keep or last changed"
            assert frame.user >> 3 == bad, f"frame {len(got)}: bad-frame mark"
            got.append(frame)
        return got

    async def quiet(self) -> None:
        """Wait until nothing is inside, then assert that nothing more came out."""
        dut = self.dut
        await self.until(lambda: not dut.occupancy.value and not dut.m_axis_tvalid.value, 4000)
        await self.cycles(4)
        assert not self.sink.frames and not self.sink.mid_frame
        assert int(dut.drained.value)
