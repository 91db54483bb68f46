"""nsd_verdict: every rule, every answer missing, and each word in the cycle it is due.

A timeline of frames says what the stages answer in which period, as their latencies do, and what
the spine must be told in which period; every other period must stay silent.
"""

import os
import subprocess
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random
from typing import Any

import cocotb
import pytest
from cocotb.triggers import RisingEdge

from nsdata.offload.entry import FlowAction, Parse, Verdict
from sim.runner import HDL, resolve, simulate, verilator_root
from sim.tb import TB

# Of nsd_pkg: from the decision beat's tap (key, ports, res) or the last beat's (len, pf).
STAGES = {"key": 5, "ports": 5 + 4, "res": 5 + 12, "len": 5, "pf": 13}
DECISION = ("key", "ports", "res")
SAYS = {
    "key": "key_parse", "ports": "ports_hit", "res": "res_action", "len": "len_short",
    "pf": "pf_hit",
}  # fmt: skip
BITS = {"key": 3, "ports": 1, "res": 2, "len": 1, "pf": 1}
DECISION_BEATS = (10, 1)  # index of the beat with byte 87: 64 b and 512 b


@dataclass(frozen=True)
class Answers:
    """What the stages say of a frame; `missing` ones say nothing."""

    key: int = Parse.OK
    ports: int = 0
    res: int = FlowAction.NONE
    len: int = 0
    pf: int = 0
    missing: tuple[str, ...] = ()

    @property
    def action(self) -> int:
        """The rule: only a parsed frame has a flow, hence an action."""
        return self.res if self.key == Parse.OK else FlowAction.NONE

    @property
    def verdict(self) -> Verdict:
        """The rules in their order; a blocked frame's is the spine's own affair."""
        if self.key != Parse.OK or self.len:
            return Verdict.SUSPECT
        if self.res == FlowAction.BYPASS:
            return Verdict.BYPASS
        if self.ports or self.pf:
            return Verdict.SUSPECT
        return Verdict.CLEAR


def anything(rng: Random) -> Answers:
    """Random answers; the clean ones often, or all were SUSPECT."""
    parse = rng.choice((Parse.OK, Parse.OK, Parse.OK, rng.randrange(8)))
    some = [int(rng.random() < 0.25) for _ in range(3)]
    return Answers(parse, some[0], rng.randrange(4), some[1], some[2])


@dataclass
class Timeline:
    """Frames laid out beat by beat: `inputs` by period, `dec` and `fin` due by period."""

    latency: int
    now: int = 0
    inputs: dict[int, dict[str, int]] = field(default_factory=dict)
    dec: dict[int, int] = field(default_factory=dict)
    fin: dict[int, Verdict | None] = field(default_factory=dict)  # None: the spine knows it late

    def answer(self, stage: str, period: int, value: int) -> None:
        """One stage's answer in one period."""
        given = self.inputs.setdefault(period, {})
        assert stage not in given, "two beats in one cycle"
        given[stage] = value

    def frame(self, beats: int, says: Answers, decision: int = 10, gaps: Any = None) -> None:
        """A frame of `beats`, each after gaps() idle periods."""
        for beat in range(beats):
            self.now += gaps() if gaps else 0
            if beat == min(decision, beats - 1):
                for stage in set(DECISION) - set(says.missing):
                    self.answer(stage, self.now + STAGES[stage], getattr(says, stage))
                if not set(DECISION) & set(says.missing):
                    self.dec[self.now + self.latency] = says.action
            if beat == beats - 1:
                for stage in {"len", "pf"} - set(says.missing):
                    self.answer(stage, self.now + STAGES[stage], getattr(says, stage))
                if not {"len", "pf"} & set(says.missing):
                    whole = not says.missing
                    self.fin[self.now + self.latency] = says.verdict if whole else None
            self.now += 1


class VerdictTB(TB):
    """Plays a timeline, noise where no answer is, and judges every period."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.latency = int(dut.LATENCY.value)
        self.inputs = {s: (getattr(dut, f"{s}_valid"), getattr(dut, SAYS[s])) for s in STAGES}
        for valid, said in self.inputs.values():
            valid.value = said.value = 0

    def timeline(self) -> Timeline:
        """An empty one."""
        return Timeline(self.latency)

    def drive(self, given: dict[str, int]) -> None:
        """The inputs of the coming period."""
        for stage, (valid, said) in self.inputs.items():
            valid.value = stage in given
            said.value = given.get(stage, self.rng.getrandbits(BITS[stage]))

    async def play(self, line: Timeline, until: int | None = None) -> list[Verdict]:
        """The whole timeline, or its periods before `until`; the final verdicts that came."""
        came = []
        for period in range(line.now + line.latency + 4 if until is None else until):
            self.drive(line.inputs.get(period, {}))
            await RisingEdge(self.clk)
            dut = self.dut
            assert int(dut.dec_valid.value) == (period in line.dec), f"dec_valid in {period}"
            assert int(dut.fin_valid.value) == (period in line.fin), f"fin_valid in {period}"
            if period in line.dec:
                assert int(dut.dec_action.value) == line.dec[period], f"dec_action in {period}"
            if period in line.fin:
                got, want = int(dut.fin_verdict.value), line.fin[period]
                assert want is None or got == want, f"fin_verdict in {period}: {got}, not {want}"
                came.append(Verdict(got))
        self.drive({})
        return came


async def ready(dut: Any) -> VerdictTB:
    """A testbench behind its reset."""
    tb = VerdictTB(dut)
    await tb.reset()
    return tb


@cocotb.test()
async def by_hand(dut: Any) -> None:
    """The rules without the model's help: a parsed frame, one reason at a time."""
    tb = await ready(dut)
    for says, action, verdict in (
        (Answers(), 0, 1),
        (Answers(ports=1), 0, 2),
        (Answers(pf=1), 0, 2),
        (Answers(len=1), 0, 2),
        (Answers(key=1), 0, 2),
        (Answers(res=1), 1, 3),
        (Answers(res=1, ports=1, pf=1), 1, 3),
        (Answers(res=1, len=1), 1, 2),
        (Answers(res=1, key=3), 0, 2),
        (Answers(res=2), 2, 1),
        (Answers(res=2, key=4), 0, 2),
    ):
        assert (says.action, says.verdict) == (action, verdict), says
        line = tb.timeline()
        line.frame(2, says)
        assert await tb.play(line) == [verdict]


@cocotb.test()
async def every_combination(dut: Any) -> None:
    """Illegal codes too (the spine calls them late); decided at the last beat and far before."""
    tb = await ready(dut)
    cases = list(product(range(8), (0, 1), range(4), (0, 1), (0, 1)))
    for beats in (1, 3, 16):
        line = tb.timeline()
        tb.rng.shuffle(cases)
        for case in cases:
            line.frame(beats, Answers(*case))
        assert len(line.dec) == len(line.fin) == len(cases) == 256
        assert set(await tb.play(line)) == {Verdict.CLEAR, Verdict.SUSPECT, Verdict.BYPASS}


@cocotb.test()
async def random_frames(dut: Any) -> None:
    """All lengths about the decision beat and long ones; back to back, with gaps, in bursts."""
    tb = await ready(dut)
    rng = tb.rng
    for decision in DECISION_BEATS:
        for gaps in (
            None, lambda: rng.randrange(3), lambda: rng.choice((0, 0, 0, 0, rng.randrange(40))),
        ):  # fmt: skip
            line = tb.timeline()
            for _ in range(60):
                beats = rng.choice((1, 2, decision, decision + 1, decision + 2, 40))
                line.frame(beats, anything(rng), decision, gaps)
            assert len(await tb.play(line)) == 60


@cocotb.test()
async def the_decision_is_kept(dut: Any) -> None:
    """A frame's end comes far behind its decision, between frames that say the opposite."""
    tb = await ready(dut)
    for says in (Answers(), Answers(ports=1), Answers(key=2), Answers(res=1)):
        for other in (Answers(), Answers(ports=1), Answers(key=2), Answers(res=1)):
            line = tb.timeline()
            for one in (other, says, other):
                line.frame(200 if one is says else 1, one)
            assert (await tb.play(line))[1] == says.verdict


@cocotb.test()
async def a_missing_answer_leaves_a_hole(dut: Any) -> None:
    """One stage or several silent for one frame: that frame's word is missing, no other's."""
    tb = await ready(dut)
    silent = [(s,) for s in STAGES] + [("key", "ports"), ("len", "pf"), tuple(STAGES)]
    for missing in silent:
        for beats in (1, 11, 30):
            line = tb.timeline()
            for at in range(7):
                line.frame(beats, replace(anything(tb.rng), missing=missing if at == 3 else ()))
            assert len(line.dec) == 7 - bool(set(missing) & set(DECISION))
            assert len(line.fin) == 7 - bool(set(missing) & {"len", "pf"})
            await tb.play(line)
    line = tb.timeline()
    for _ in range(400):
        some = tuple(s for s in STAGES if tb.rng.random() < 0.1)
        line.frame(tb.rng.choice((1, 2, 12)), replace(anything(tb.rng), missing=some))
    await tb.play(line)


@cocotb.test()
async def an_answer_alone_changes_nothing(dut: Any) -> None:
    """Answers of some stages, in a long frame's middle: no word, and its own decision stands."""
    tb = await ready(dut)
    alone = [some for some in product((0, 1), repeat=3) if sum(some) in (1, 2)]
    for says in (Answers(), Answers(ports=1), Answers(key=2), Answers(res=1)):
        line = tb.timeline()
        line.frame(120, says)
        for at, some in enumerate(alone * 3):
            for stage in (s for s, one in zip(DECISION, some, strict=True) if one):
                line.answer(stage, 20 + 5 * at + STAGES[stage], getattr(anything(tb.rng), stage))
            line.answer("len" if at % 2 else "pf", 21 + 5 * at, 1)
        assert await tb.play(line) == [says.verdict]


@cocotb.test()
async def reset_forgets(dut: Any) -> None:
    """Answers under way give no word, and what was decided before it vouches for nothing."""
    tb = await ready(dut)
    for under_way in range(1, tb.latency + 3):
        line = tb.timeline()
        for _ in range(under_way + 1):
            line.frame(1, Answers())
        await tb.play(line, under_way)
        tb.rst.value = 1
        await RisingEdge(tb.clk)
        tb.rst.value = 0
        await tb.play(tb.timeline())
        lost = tb.timeline()
        lost.frame(1, Answers(missing=("key",)))
        assert await tb.play(lost) == [Verdict.SUSPECT]
        line = tb.timeline()
        line.frame(1, Answers())
        assert await tb.play(line) == [Verdict.CLEAR]


@pytest.mark.parametrize("latency", [18, 30])
def test_verdict(latency: int) -> None:
    simulate("nsd_verdict", __name__, parameters={"LATENCY": latency})


@pytest.mark.parametrize(("latency", "legal"), [(17, False), (18, True)])
def test_a_latency_shorter_than_the_stages_does_not_elaborate(latency: int, legal: bool) -> None:
    command = [
        verilator_root() / "bin" / "verilator_bin", "--lint-only", f"-GLATENCY={latency}",
        "--top-module", "nsd_verdict", HDL / "nsd.vlt", *resolve("nsd_verdict", None),
    ]  # fmt: skip
    environment = {**os.environ, "VERILATOR_ROOT": str(verilator_root())}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode == 0) == legal, ran.stderr
    assert ("shorter than a stage's own" in ran.stderr) == (not legal), ran.stderr
