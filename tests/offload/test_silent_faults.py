"""Silent faults: a block that answers and is wrong, in the Verilated RTL and in the model.

The same fault in both gives the same wrong verdicts, frame by frame, and loses no frame; what
finds it is the scrubber or the sampled second judgement.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from offload.blocks import PARAMETERS, SMALL, Bench, bench, needed
from test_errors_in_the_loop import Loop

from nsdata.fallback.ledger import Why
from nsdata.fallback.reasons import State
from nsdata.offload import silent
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.entry import FlowAction, FlowEntry, FlowKey, Verdict
from nsdata.offload.model import Model, Prefilter, bucket_of, flow_set, parse
from nsdata.offload.registers import ErrorClass
from nsdata.offload.session import CHUNK, ModelOffload
from nsdata.offload.silent import FLOW, KEY, PREFILTER, PREFILTER_COPY, SEARCH, VERDICT
from nsdata.offload.transport import FaultPort, Transport, open_transport
from sim.traffic import Batch, batch

KINDS = ("model", "rtl")
LANES = 8
PASS = 32 * 23 + 200  # cycles in which the scrubber has been round a table of SMALL


def opened(kind: str) -> Transport:
    needed(kind)
    return open_transport(f"{kind}:64,FAULTS=1,{PARAMETERS}")


def ports(transport: Transport) -> FaultPort:
    found = transport.faults
    assert isinstance(found, FaultPort)
    return found


@pytest.fixture(scope="module", params=KINDS)
def block(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A small block with test-only ports."""
    transport = opened(request.param)
    yield bench(transport)
    transport.close()


@pytest.fixture
def up(block: Bench) -> Iterator[Bench]:
    """Loaded and armed; without a fault before and after."""
    block.up()
    yield block
    for name in ports(block.transport).names:
        ports(block.transport).poke(name, 0)


def golden(one: Bench) -> Model:
    """The model of what was loaded."""
    model = Model(SMALL["SETS_LOG2"])
    model.entries[:] = one.driver.host.mirror.entries
    image = one.image
    table = Prefilter(image.table, image.seed, image.buckets_log2, image.words)
    model.load(table, image.ranges)
    return model


def clear_head(one: Bench) -> bytes:
    """A short frame that is CLEAR."""
    model = golden(one)
    return next(f for f in one.world.fine if len(f) < 90 and model.verdict(f) == Verdict.CLEAR)


def a_window(one: Bench) -> tuple[int, Batch]:
    """A bucket with one window in it, and short frames with that one, at each place of a beat."""
    alone = [w for w in one.world.windows if bucket_of(w, one.image.seed, 5) == 1]
    assert len(alone) == 1
    head = clear_head(one).ljust(96, b"\0")
    frames = [head + bytes(i) + alone[0] + bytes(9) for i in range(LANES)]
    assert all(golden(one).verdict(frame) == Verdict.SUSPECT for frame in frames)
    return 1, batch(frames)


def two_flows(one: Bench) -> tuple[int, int, Batch]:
    """Where a bypassed flow stands; the bits that make another one of it; a frame of each."""
    by_key = {found.key: f for f in one.world.fine if (found := parse(f)).lookup}
    mirror = one.driver.host.mirror
    for key, place in sorted(mirror.held.items(), key=lambda item: item[1]):
        if one.flows[key] != FlowAction.BYPASS:
            continue
        for packed, frame in sorted(by_key.items()):
            other = FlowKey.unpack(packed)
            if flow_set(packed, SMALL["SETS_LOG2"]) == place // 2 and other not in mirror.held:
                bits = FlowEntry(key, 1, 0).pack() ^ FlowEntry(other, 1, 0).pack()
                return place, bits, batch([frame, by_key[key.pack()]])
    raise AssertionError("no two flows of one set")


def broken(one: Bench, name: str) -> tuple[int, Batch, NDArray[np.uint8]]:
    """For a fault of that name: its value, frames that meet it, and what they are to be told."""
    model = golden(one)
    if name == FLOW:
        place, bits, frames = two_flows(one)
        words = [bits >> 64 * i & (1 << 64) - 1 for i in range(6)]
        model.entries[place] ^= np.array(words, np.uint64)
        told = model.verdicts(*frames)
        assert told[0] == Verdict.BYPASS != told[1]
        return silent.flip(place, bits), frames, told
    if name in (PREFILTER, PREFILTER_COPY):
        bucket, frames = a_window(one)
        told = np.full(LANES, Verdict.CLEAR, np.uint8)
        if name == PREFILTER_COPY:  # the windows begin at 96, 97, …
            told[:] = Verdict.SUSPECT
            told[3] = Verdict.CLEAR
        return silent.flip(bucket, 1, 3), frames, told
    frames = one.frames(200, 300)
    said = model.inspect(*frames)
    sound = (said["parse"] == 0) & (said["len_short"] == 0)
    if name == SEARCH:
        free = sound & (said["action"] == 0) & (said["ports_hit"] == 0)
        return 1, frames, np.where(free, Verdict.CLEAR, said["verdict"])
    if name == KEY:
        key = next(key for key, action in one.flows.items() if action == FlowAction.BYPASS)
        told = np.where(sound, Verdict.BYPASS, Verdict.SUSPECT)
        stuck = (said["lookup"] != 0) | ~sound
        return silent.stuck_key(key.pack()), part(frames, stuck), told[stuck].astype(np.uint8)
    told = said["verdict"].copy()
    told[said["verdict"] == Verdict.SUSPECT] = Verdict.CLEAR
    told[said["verdict"] == Verdict.CLEAR] = Verdict.SUSPECT
    return 1, frames, told


def part(frames: Batch, chosen: NDArray[np.bool_]) -> Batch:
    return Batch(frames.data, frames.offset[chosen], frames.length[chosen])


@pytest.mark.parametrize("name", silent.NAMES)
def test_a_fault_is_silent_wrong_and_taken_back(up: Bench, name: str) -> None:
    """Just these frames are wrong; every one comes out unchanged (or the transport raises)."""
    value, frames, told = broken(up, name)
    right = golden(up).verdicts(*frames)
    assert (told != right).any()
    assert (up.driver.inspect(*frames) == right).all()
    ports(up.transport).poke(name, value)
    assert (up.driver.inspect(*frames) == told).all()
    ports(up.transport).poke(name, 0)
    assert (up.driver.inspect(*frames) == right).all()
    up.transport.wait(2 * PASS)
    up.driver.beat()
    assert (up.driver.inspect(*frames) == right).all()
    up.driver.statistics()
    if name not in silent.TABLES:  # of those, the scrubber may have seen an entry in between
        assert up.driver.poll() is None


@pytest.mark.parametrize("name", silent.TABLES)
def test_the_scrubber_finds_tables(up: Bench, name: str) -> None:
    """Not a single bit error: the signature, or copies that differ."""
    value, frames, _ = broken(up, name)
    ports(up.transport).poke(name, value)
    up.transport.wait(2 * PASS)
    report = up.driver.poll()
    assert report is not None and report.error is ErrorClass.TABLE_CRC
    assert report.record_info >> 29 & 3 == (1 if name == FLOW else 2)
    assert not report.counts[ErrorClass.ECC_CE] and not report.counts[ErrorClass.ECC_UE]
    assert (up.driver.inspect(*frames) == Verdict.FAULT).all()  # it permits
    up.driver.recover()  # with new tables the fault is gone
    up.transport.wait(2 * PASS)
    up.driver.beat()
    assert up.driver.poll() is None
    assert (up.driver.inspect(*frames) == golden(up).verdicts(*frames)).all()


def test_what_is_no_port_is_refused(up: Bench) -> None:
    faults = ports(up.transport)
    with pytest.raises(KeyError, match="no such port"):
        faults.poke("clock", 1)
    for name, value in ((SEARCH, 3), (VERDICT, 9), (KEY, 2), (FLOW, 2), (PREFILTER, -1)):
        with pytest.raises(ValueError, match="does not take"):
            faults.poke(name, value)
    big = ((PREFILTER, silent.flip(32, 1)), (FLOW, silent.flip(32, 1)),
           (PREFILTER, silent.flip(1, 1 << 64)), (FLOW, silent.flip(0, 1 << 384)),
           (PREFILTER_COPY, silent.flip(1, 1, LANES)))  # fmt: skip
    for name, value in big:
        with pytest.raises(ValueError, match=r"no such|no copy"):
            faults.poke(name, value)
    for entry, mask, copy in ((-1, 1, 0), (0, 0, 0), (0, 1, 64)):
        with pytest.raises(ValueError, match="no change"):
            silent.flip(entry, mask, copy)


def test_the_fast_build_has_no_ports() -> None:
    needed("rtl")
    transport = open_transport(f"rtl:64,{PARAMETERS}")
    assert transport.faults is None
    with pytest.raises(KeyError, match="no such signal"):
        transport.block.peek("verdict.fin_verdict")  # type: ignore[attr-defined]
    transport.close()


# --- with the engine ----------------------------------------------------------------------


class Run:
    """An engine with a block that has ports."""

    def __init__(self, kind: str, share: float) -> None:
        self.transport = opened(kind)
        self.offload = DrivenOffload(self.transport)
        self.loop = Loop(self.offload, (f"offload.check-share={share}",))
        self.loop.mixed(4 * CHUNK)
        assert not self.loop.made.transitions

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *what: object) -> None:
        self.transport.close()

    def poke(self, name: str, value: int) -> None:
        ports(self.transport).poke(name, value)

    def needle(self) -> int:
        """The bucket and bit of the needle's first window."""
        table = self.loop.image.table
        [bucket] = np.flatnonzero(table.any(axis=1))[:1].tolist()
        return silent.flip(bucket, 1)

    def bypassed(self) -> FlowKey:
        key = FlowKey.of("10.0.0.9", "10.0.0.8", 6, 1, 2)
        self.offload.insert_flow(key, FlowAction.BYPASS)
        self.loop.session._golden.insert_flow(key, FlowAction.BYPASS)
        return key

    def until_found(self, chunks: int) -> int:
        """Chunks until the fallback; 0: none."""
        for i in range(chunks):
            self.loop.mixed()
            if self.loop.made.transitions:
                return i + 1
        return 0


def value_of(run: Run, name: str) -> int:
    if name == KEY:
        return silent.stuck_key(run.bypassed().pack())
    return run.needle() if name in silent.TABLES else 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [SEARCH, KEY, VERDICT])
def test_the_second_judgement_finds_stages(kind: str, name: str) -> None:
    """A fallback with both verdicts as evidence; nothing is lost; no restore while it lasts."""
    with Run(kind, 0.5) as run:
        run.poke(name, value_of(run, name))
        before = run.loop.fed
        assert run.until_found(4)
        given = run.loop.given
        assert given["class"] == "disagreement" and given["frame"] > before
        assert given["hardware"] in ("CLEAR", "BYPASS") and given["model"] in ("SUSPECT", "CLEAR")
        assert len(given["bytes"]) == 2 * min(64, given["frame_bytes"])
        run.loop.settled()
        if name != KEY:  # that flow is in no table after a restore
            run.loop.made.switch(State.NORMAL, run.loop.made.last_ns)
            run.loop.mixed(2 * CHUNK)  # the share is 1 after a restore
            assert run.loop.made.guard.state is State.FALLBACK
        run.poke(name, 0)
        run.loop.made.switch(State.NORMAL, run.loop.made.last_ns)
        run.loop.mixed(4 * CHUNK)
        assert run.loop.made.guard.state is State.NORMAL and run.loop.session.active
        run.loop.settled()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", silent.TABLES[:2])
def test_without_a_second_judgement_the_scrubber_finds_tables(kind: str, name: str) -> None:
    with Run(kind, 0) as run:
        run.poke(name, run.needle())
        assert run.until_found(20)
        assert run.loop.given["class"] == "TABLE_CRC"
        run.loop.settled()
        run.loop.restore()


class Permitting(ModelOffload):
    """A block that says FAULT of all frames and reports no error; the RTL's spine would: LATE."""

    table = (10, 1)

    def inspect(self, batch: Any) -> NDArray[np.uint8]:
        return np.zeros(len(batch), np.uint8)


def test_fault_verdicts_need_a_reason() -> None:
    loop = Loop(Permitting(), ("offload.check-share=0",))
    loop.mixed(2 * CHUNK)
    assert loop.given["class"] == "unexplained" and loop.given["frames"] == CHUNK
    assert loop.made.transitions[0].at_packet <= CHUNK + 1
    loop.settled()


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_suspects_cost_time_and_nothing_else(kind: str) -> None:
    """The second judgement does not look at them; every alert is there."""
    with Run(kind, 1) as run:
        run.loop.made.eve.take()
        run.loop.needles = 0
        run.poke(VERDICT, 4)
        assert not run.until_found(4)
        assert run.loop.alerts() == run.loop.needles > 0
        run.loop.settled()


def test_wrong_drops_are_found() -> None:
    """A key stuck at a flow to be dropped: here the host knows what it handed over."""
    with Run("model", 0.5) as run:
        key = FlowKey.of("10.0.0.9", "10.0.0.8", 6, 1, 2)
        run.offload.insert_flow(key, FlowAction.BLOCK)
        run.poke(KEY, silent.stuck_key(key.pack()))
        assert run.until_found(4)
        assert run.loop.given["hardware"] == "BLOCK"
        ledger = run.loop.made.ledger()
        assert 0 < ledger.why(Why.OFFLOAD_BLOCK).packets <= CHUNK
        ledger.check()
