"""nsd_spine: nothing lost, made, reordered or changed; verdicts in their place; faults open."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import cocotb
import pytest
from cocotb.triggers import ReadOnly, RisingEdge

from sim.axis import AxisSink, AxisSource, Beat, Frame, pattern, to_beats
from sim.runner import simulate
from sim.tb import TB

LATENCY = 16
DEPTH = 64
CREDITS = DEPTH - 2
STALL_LIMIT = 1024
HDR_BYTES = 88
FAULT, CLEAR, SUSPECT, BYPASS, BLOCK = range(5)
NONE, ACT_BYPASS, ACT_BLOCK = range(3)
STROBES = ("err_ecc_ce", "err_ecc_ue", "err_fifo_ovf", "err_credit_leak", "err_late", "err_stall")


class Verdicts:
    """Inspection: answers each tapped decision beat and last beat exactly LATENCY cycles later.

    `choose(frame number)` gives (action, verdict), either may be None: no answer.
    `spoil` holds extra answers by cycle: {cycle: {signal: value}}.
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

    async def _run(self) -> None:
        dut = self.dut
        edge = RisingEdge(dut.clk)
        self.open = False
        while True:
            await edge
            # The period that ends here is `now`; what is driven now is seen in the next one.
            if dut.tap_valid.value and not dut.rst.value:
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
        for name in ("arm", "fault", *(f"inj_{s[4:]}" for s in STROBES)):
            getattr(dut, name).value = 0
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        dut = self.dut
        strobes = [(name, getattr(dut, name)) for name in STROBES]
        edge = RisingEdge(dut.clk)
        while True:
            await edge
            if dut.rst.value:
                continue
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
        self.outs.clear()
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
            assert frame.beats == [Beat(b.data, b.keep, b.last, got_beat.user) for b, got_beat in
                                   zip(to_beats(data, self.lanes), frame.beats, strict=True)]  # fmt: skip
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


def sizes(rng: random.Random, count: int) -> list[int]:
    """Sizes around everything that matters, then some up to 9018."""
    edges = [1, 7, 8, 9, 63, 64, 65, 79, 80, 81, 87, 88, 89, 96, 127, 128, 129, 192, 512, 1518]
    return [*edges, *(rng.choice(edges) for _ in range(count)), 9018,
            *(rng.randint(1, 9018) for _ in range(2))]  # fmt: skip


@cocotb.test()
@cocotb.parametrize(idle=["none", "random", "bursts"], pause=["none", "random", "bursts", "heavy"],
                    armed=[True, False])  # fmt: skip
async def run(dut: Any, idle: str, pause: str, armed: bool) -> None:
    """Every size through every idle and back-pressure; verdicts and the user bit in place."""
    tb = SpineTB(dut)
    tb.source.idle, tb.sink.pause = pattern(idle, tb.rng), pattern(pause, tb.rng)
    await tb.start(armed)
    frames = [(tb.rng.randbytes(size), tb.rng.getrandbits(1)) for size in sizes(tb.rng, 30)]
    answers = [tb.rng.choice([(NONE, CLEAR), (NONE, SUSPECT), (ACT_BYPASS, BYPASS),
                              (ACT_BLOCK, SUSPECT)]) for _ in frames]  # fmt: skip
    tb.verdicts.choose = lambda i: answers[i]
    for data, bad in frames:
        tb.source.send(data, bad)
    kept = [i for i, a in enumerate(answers) if not armed or a[0] != ACT_BLOCK]
    got = await tb.expect([frames[i] for i in kept])
    for i, frame in zip(kept, got, strict=True):
        action, verdict = answers[i]
        early = BYPASS if action == ACT_BYPASS else SUSPECT
        want = [early] * (len(frame.users) - 1) + [verdict]
        assert [u & 7 for u in frame.users] == (want if armed else [FAULT] * len(want))
    await tb.quiet()
    assert not any(tb.errors.values()), tb.errors
    out = [BLOCK if armed and a == ACT_BLOCK else v if armed else FAULT for a, v in answers]
    assert tb.outs == out and tb.ins == len(frames)


def _parameters(width: int) -> dict[str, int | str]:
    return {"DATA_W": width, "LATENCY": LATENCY, "DEPTH": DEPTH, "STALL_LIMIT": STALL_LIMIT}


@pytest.mark.parametrize("width", [64, 512])
def test_spine(width: int) -> None:
    """All of the above at one width."""
    simulate("nsd_spine", __name__, parameters=_parameters(width))
