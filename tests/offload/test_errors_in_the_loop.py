"""Every error class at every moment, with the engine on top: evidence, ledger, frames, restore.

The RTL runs in this process; the error is injected where its detector must find it, in the middle
of a frame where frames run. docs/fpga-errors.md has the same for the block alone.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import traffic
from engines import loaded
from offload.blocks import PARAMETERS, SMALL, needed
from test_streams import TYPES
from test_transport_death import children
from traffic import Talk

from nsdata import Pipeline, Settings, build_engine
from nsdata.errors import FpgaError, OffloadError, TransportDied
from nsdata.fallback.guard import Guard
from nsdata.fallback.ledger import Why
from nsdata.fallback.reasons import Reason, State
from nsdata.offload import registers as reg
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.entry import Verdict
from nsdata.offload.registers import ErrorClass
from nsdata.offload.rtl.block import DROPPED
from nsdata.offload.session import CHUNK, Session, image_for, open_offload
from nsdata.offload.transport import Bytes, Exchange, Lengths, Offsets, open_transport
from nsdata.offload.transport_cocotb import CocotbTransport
from nsdata.offload.transport_rtl import RtlTransport
from nsdata.output.events import EveWriter

RULES = """
alert udp any any -> any any (content:"needle"; sid:1;)
drop tcp any any -> any any (flow:established; content:"dropflow"; sid:2;)
"""
SETS = ["offload.shunt-dropped=true", "offload.check-share=0.2", "offload.restore-frames=128"]
MOMENTS = ("idle", "load", "table", "drop")
FATAL = [error for error in ErrorClass if error is not ErrorClass.ECC_CE]


class Struck(RtlTransport):
    """The RTL, struck by an error: at once, half way through the frames of an exchange, or
    between two writes of a table load."""

    def __init__(self) -> None:
        self.clear()
        super().__init__(64, **SMALL)

    def clear(self) -> None:
        """No error to come; figures at 0."""
        self.error: ErrorClass | None = None
        self.writes = 0
        self.struck = False
        self.reset_at = 0
        self.exchanges: list[tuple[int, int]] = []  # frames, cycle in which all were out
        self.frozen = False

    def reset(self) -> None:
        super().reset()
        self.reset_at = self.block.cycle

    def strike(self, error: ErrorClass) -> None:
        self.struck, self.error = True, None
        super().write(reg.ERR_INJECT.address, 1 << error)

    def write(self, address: int, value: int) -> None:
        if address == reg.PF_CMD.address and self.error is not None and self.writes:
            self.writes -= 1
            if not self.writes:
                self.strike(self.error)
        super().write(address, value)

    def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        if self.error is None or self.writes:
            done = super().exchange(data, offset, length)
        else:
            may_drop = np.ones(len(length), np.uint8)
            self.block.feed(data, offset, length, may_drop=may_drop)
            self.block.wait(int(length.sum()) // 16)
            self.strike(self.error)
            self.block.drain()
            found = self.block.collect()
            found["verdict"][found["fate"] == DROPPED] = Verdict.BLOCK
            done = Exchange(found["verdict"].copy(), True)
        self.exchanges.append((len(length), self.block.cycle))
        return done

    def frames_until(self, cycle: int) -> int:
        """Frames of the exchanges that were over when the block's cycle came."""
        return sum(n for n, at in self.exchanges if at <= self.reset_at + cycle)


class Loop:
    """An engine with a block, fed with frames that differ in every one."""

    def __init__(self, offload: Any, sets: tuple[str, ...] = ()) -> None:
        settings = Settings.load(sets=[*SETS, *sets])
        self.rules = loaded(RULES)
        self.image = image_for(self.rules, table=offload.table)
        engine = build_engine(self.rules, settings, inline=True)
        self.session = Session(offload, settings.offload)
        self.session.attach(engine, self.rules, self.image)
        guard = Guard.build(settings.drop_meter.build())
        self.made = Pipeline(engine, guard, EveWriter(None, TYPES), offload=self.session)
        self.made.set_rules(self.rules.fragments, self.rules.sids)
        self.talk = Talk().open().client(b"dropflow")
        self.fed = 0
        self.droppable: list[bool] = []
        self.verdicts: list[int] = []
        self.needles = 0

    def feed(self, frames: list[bytes], droppable: bool = False) -> None:
        times = [traffic.START_NS + (self.fed + i) * traffic.MS for i in range(len(frames))]
        self.verdicts += self.made.feed(traffic.batch(frames, times)).tolist()
        self.fed += len(frames)
        self.droppable += [droppable] * len(frames)

    def mixed(self, count: int = CHUNK) -> None:
        """Frames of many sizes, one in eight with a hit; flows of their own."""
        frames = []
        for i in range(self.fed, self.fed + count):
            text = b"needle" if i % 8 == 5 else b"calm"
            self.needles += i % 8 == 5
            body = text + bytes(i * 37 % 300)
            frames.append(traffic.udp(body, sport=1024 + i % 50, ident=i % 65536))
        self.feed(frames)

    def dropped(self, count: int = CHUNK) -> None:
        """Frames of a flow that the rules drop."""
        while len(self.talk.frames) < count:
            self.talk.client(b"x" * (len(self.talk.frames) % 90))
        frames, self.talk.frames = self.talk.frames[:count], self.talk.frames[count:]
        self.feed(frames, droppable=True)

    def settled(self) -> None:
        """Ledger balanced, nothing lost, and nothing dropped that no rule wanted dropped."""
        ledger = self.made.ledger()
        assert ledger.received.packets == self.fed == len(self.verdicts)
        assert not ledger.lost.packets
        gone = [v != 0 for v in self.verdicts]
        assert all(may for may, is_gone in zip(self.droppable, gone, strict=True) if is_gone)
        assert ledger.blocked.packets == sum(gone)

    def alerts(self) -> int:
        return self.made.eve.take().count(b'"signature_id":1,')

    @property
    def given(self) -> dict[str, Any]:
        """The evidence of the fallback."""
        [entered] = self.made.transitions
        assert entered.reason is Reason.FPGA and entered.to_state is State.FALLBACK
        found: dict[str, Any] = entered.evidence["given"]["fpga"]
        return found

    def restore(self) -> None:
        """Back to normal: the block judges again, as its model does."""
        self.made.switch(State.NORMAL, self.made.last_ns)
        assert self.made.guard.state is State.NORMAL and self.session.active
        assert self.session.stats()["recoveries"] == 1
        before, checks = len(self.made.transitions), self.session.stats()["checks"]
        self.made.eve.take()
        self.needles = 0
        self.mixed(2 * CHUNK)
        assert self.alerts() == self.needles > 0
        stats = self.session.stats()
        assert stats["checks"] > checks and not stats["disagreements"]
        assert len(self.made.transitions) == before and self.made.guard.state is State.NORMAL


@pytest.fixture(scope="module")
def rtl() -> Iterator[Struck]:
    needed("rtl")
    transport = Struck()
    yield transport
    transport.close()


def until_noticed(loop: Loop, wait: Any, moment: str) -> None:
    """Frames until the error led to a fallback; 0 in the meter's view is not enough."""
    for _ in range(100):
        if loop.made.transitions:
            return
        loop.dropped() if moment == "drop" else loop.mixed()
        wait(200)
    raise AssertionError("the error was not noticed")


def strike(loop: Loop, transport: Struck, error: ErrorClass, moment: str) -> None:
    """The error, at that moment."""
    loop.mixed(3 * CHUNK)
    if moment == "idle":
        transport.strike(error)
        loop.made.idle()
    elif moment == "load":
        transport.error = error
        loop.mixed()
    elif moment == "table":
        transport.error, transport.writes = error, 2
        loop.made.swap_rules(loop.rules.base, loop.rules.fragments, loop.rules.sids)
        loop.made.load_offload(loop.rules, loop.image)
    else:
        loop.dropped(2 * CHUNK)
        assert loop.session.stats()["verdicts"]["block"] > CHUNK // 2
        transport.error = error
        loop.dropped()
    assert transport.struck


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("error", FATAL, ids=lambda error: error.name)
def test_an_error_leads_to_fallback(rtl: Struck, error: ErrorClass, moment: str) -> None:
    rtl.clear()
    block = DrivenOffload(rtl)
    loop = Loop(block)
    strike(loop, rtl, error, moment)
    until_noticed(loop, rtl.wait, moment)

    given = loop.given
    assert given["class"] == error.name and error.name in given["words"]
    assert given["transport"] == "rtl" and given["status"][0] == error.name
    assert given["registers"]["id"] == "0x5444534e" and given["counters"][error.name] >= 1
    [entered] = loop.made.transitions
    detected = rtl.frames_until(given["cycle"])
    assert 0 <= entered.at_packet - 1 - detected <= CHUNK

    # What the block says it did is what came of the frames, none of them lost or changed.
    sent = sum(n for n, _ in rtl.exchanges)
    assert block.driver.statistics()["frames_in"] == sent == loop.fed
    ledger = loop.made.ledger()
    assert ledger.why(Why.OFFLOAD_FAULT).packets <= CHUNK
    assert block.driver.statistics()["block"] == ledger.why(Why.OFFLOAD_BLOCK).packets
    loop.settled()

    # In fallback everything is permitted, and the block is left alone.
    loop.mixed()
    loop.dropped()
    assert loop.verdicts[-2 * CHUNK :] == [0] * 2 * CHUNK
    assert sum(n for n, _ in rtl.exchanges) == sent
    loop.settled()

    loop.restore()
    loop.settled()
    assert loop.session.stats()["block_errors"][error.name] >= 1
    loop.made.finish()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_corrected_error_is_counted(rtl: Struck, moment: str) -> None:
    rtl.clear()
    loop = Loop(DrivenOffload(rtl))
    strike(loop, rtl, ErrorClass.ECC_CE, moment)
    loop.mixed(2 * CHUNK)
    loop.made.idle()
    assert not loop.made.transitions and loop.session.active
    stats = loop.session.stats()
    assert stats["block_errors"] == {"ECC_CE": 1} and not stats["errors"]
    assert loop.alerts() == loop.needles
    loop.settled()
    loop.made.finish()


@pytest.mark.parametrize("error", [ErrorClass.SEU, ErrorClass.LATE], ids=lambda e: e.name)
def test_software_goes_on(rtl: Struck, error: ErrorClass) -> None:
    """With on-failure=software nothing goes uninspected, whatever the block did with it."""
    rtl.clear()
    loop = Loop(DrivenOffload(rtl), ("offload.on-failure=software",))
    strike(loop, rtl, error, "load")
    loop.mixed(4 * CHUNK)
    assert not loop.made.transitions and not loop.session.active
    assert loop.alerts() == loop.needles
    assert loop.made.ledger().inspected.packets == loop.fed
    assert len(loop.session.errors) == 1 and error.name in loop.session.errors[0]
    loop.made.finish()


# --- what the block does not say itself ---------------------------------------------------


def test_an_unanswered_heartbeat(rtl: Struck, monkeypatch: pytest.MonkeyPatch) -> None:
    """A register that takes no heartbeat any more: noticed by the next look."""
    rtl.clear()
    loop = Loop(DrivenOffload(rtl))
    loop.mixed(2 * CHUNK)
    read = rtl.read
    monkeypatch.setattr(rtl, "read", lambda a: 0 if a == reg.HEARTBEAT.address else read(a))
    loop.mixed(2 * CHUNK)
    assert loop.given["class"] == "HEARTBEAT_UNANSWERED" and loop.given["doing"] == "beat"
    assert loop.made.transitions[0].at_packet == 3 * CHUNK + 1
    monkeypatch.undo()
    loop.restore()
    loop.settled()


def test_a_table_that_reads_back_wrong(rtl: Struck, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signature that is not the loaded one: fallback, and no restore while it stays so."""
    rtl.clear()
    loop = Loop(DrivenOffload(rtl))
    loop.mixed()
    read = rtl.read

    def wrong(address: int) -> int:
        return read(address) ^ (address == reg.PF_SIGNATURE.address)

    monkeypatch.setattr(rtl, "read", wrong)
    loop.made.swap_rules(loop.rules.base, loop.rules.fragments, loop.rules.sids)
    loop.made.load_offload(loop.rules, loop.image)
    assert loop.given["class"] == "TABLE_READBACK" and loop.given["left"].startswith("disarmed")
    loop.mixed()
    loop.made.switch(State.NORMAL, loop.made.last_ns)
    assert loop.made.guard.state is State.FALLBACK and loop.made.transitions[-1].refused
    assert len(loop.session.errors) == 2
    monkeypatch.undo()
    loop.restore()
    loop.settled()


def test_the_host_that_sleeps_too_long(rtl: Struck) -> None:
    """Without `idle` the block opens in time; with it, never."""
    rtl.clear()
    loop = Loop(DrivenOffload(rtl, heartbeat=1e-4))
    limit = block_cycles(1e-4)
    loop.mixed()
    for _ in range(6):
        rtl.wait(limit // 2)
        loop.made.idle()
    assert not loop.made.transitions
    rtl.wait(limit + 100)
    loop.made.idle()
    assert loop.given["class"] == "HEARTBEAT" and loop.made.transitions[0].at_packet == CHUNK + 1


def block_cycles(seconds: float) -> int:
    """At the clock the simulated block states."""
    return round(seconds * 156_250_000)


def test_a_block_that_hangs_is_opened_anew() -> None:
    """The sink takes nothing more: a time-out in the middle, permitted frames, a new transport."""
    needed("rtl")
    made: list[RtlTransport] = []

    def reopen() -> RtlTransport:
        made.append(RtlTransport(64, **SMALL))
        return made[-1]

    loop = Loop(DrivenOffload(reopen(), reopen))
    loop.mixed(2 * CHUNK)
    made[0].block.pause(1.0, 1 << 30)
    loop.mixed(2 * CHUNK)
    given = loop.given
    assert given["class"] == "BusTimeout" and given["doing"] == "inspect"
    assert given["frames"] == CHUNK and given["accounted"] < CHUNK
    assert loop.made.transitions[0].at_packet == 3 * CHUNK + 1
    unknown = CHUNK - given["accounted"]
    assert loop.made.ledger().why(Why.OFFLOAD_FAULT).packets == unknown
    loop.settled()
    loop.restore()
    assert len(made) == 2
    loop.settled()
    loop.session.close()
    with pytest.raises(TransportDied):
        made[1].read(0)


def test_frames_that_stayed_here_do_not_shift_what_is_known(rtl: Struck) -> None:
    """A frame too long for the block is SUSPECT in its own place, also when the way dies."""
    rtl.clear()
    block = DrivenOffload(rtl)
    Loop(block)
    rtl.block.pause(1.0, 1 << 30)
    data, offset = np.zeros(40_000, np.uint8), np.zeros(4, np.uint64)
    try:
        with pytest.raises(FpgaError) as raised:
            block.driver.inspect(data, offset, np.array([30_000, 20_000, 60, 70], np.uint32))
    finally:
        rtl.block.pause(0.0)
    assert raised.value.verdict.tolist() == [Verdict.SUSPECT] * 2
    assert raised.value.evidence["frames"] == 4 and raised.value.evidence["accounted"] == 2
    rtl.close()
    rtl.__init__()  # type: ignore[misc]


def test_another_block_in_its_place_is_refused() -> None:
    """Opened anew with other tables: not what the rules were compiled for."""
    first = open_transport("model:64,BUCKETS_LOG2=5")
    block = DrivenOffload(first, lambda: open_transport("model:64,BUCKETS_LOG2=6"))
    loop = Loop(block)
    first.close()
    loop.mixed()
    assert loop.given["class"] == "TransportDied"
    loop.made.switch(State.NORMAL, loop.made.last_ns)
    assert loop.made.transitions[-1].refused and "another block" in loop.session.errors[-1]
    block._reopen = None
    loop.made.switch(State.NORMAL, loop.made.last_ns)
    assert loop.made.transitions[-1].refused
    loop.settled()


def test_tables_given_to_a_failed_block_wait_for_its_recovery() -> None:
    """Other rules while it is out of use; those that do not fit it refuse the restore."""
    first = open_transport("model:64,BUCKETS_LOG2=5")
    block = DrivenOffload(first)
    loop = Loop(block)
    first.write(reg.ERR_INJECT.address, 1 << ErrorClass.SEU)
    loop.mixed()
    assert loop.given["class"] == "SEU"
    other = loaded('alert udp any any -> any any (content:"needle"; sid:1; rev:2;)')
    for size, fits in (((6, 1), False), ((5, 1), True)):
        loop.made.swap_rules(other.base, other.fragments, other.sids)
        loop.made.load_offload(other, image_for(other, table=size))
        assert not loop.session.active
        loop.made.switch(State.NORMAL, loop.made.last_ns)
        assert loop.session.active is fits is not loop.made.transitions[-1].refused
    loop.needles = 0
    loop.made.eve.take()
    loop.mixed()
    assert loop.alerts() == loop.needles
    loop.settled()


def test_rules_that_do_not_fit() -> None:
    many = "\n".join(
        f'alert udp any any -> any any (content:"{i * 0x9E3779B9 % 2**32:08x}"; sid:{i + 1};)'
        for i in range(200)
    )
    block = open_offload("model:64,BUCKETS_LOG2=5")
    with pytest.raises(OffloadError, match=r"32 buckets, 1 words each: .*BUCKETS_LOG2=14"):
        image_for(loaded(many), table=block.table)


# --- cocotb -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> Iterator[DrivenOffload]:
    needed("cocotb")
    block = open_offload(f"cocotb:64,{PARAMETERS}")
    assert isinstance(block, DrivenOffload)
    yield block
    block.close()


@pytest.mark.parametrize(
    ("error", "moment"),
    [("SEU", "idle"), ("LATE", "load"), ("ECC_UE", "load"), ("PARITY", "drop"),
     ("AXI_FAULT", "load"), ("HEARTBEAT", "drop")],
)  # fmt: skip
def test_an_error_on_a_cocotb_bench(bench: DrivenOffload, error: str, moment: str) -> None:
    transport = bench.driver.transport
    transport.reset()
    bench.driver.host.__init__()  # type: ignore[misc]
    loop = Loop(bench)
    loop.mixed()
    if moment == "drop":
        loop.dropped()
    transport.write(reg.ERR_INJECT.address, 1 << ErrorClass[error])
    if moment == "idle":
        loop.made.idle()
    until_noticed(loop, transport.wait, moment)
    assert loop.given["class"] == error and loop.given["transport"] == "cocotb"
    assert loop.made.ledger().why(Why.OFFLOAD_FAULT).packets <= CHUNK
    assert bench.driver.statistics()["frames_in"] == loop.fed
    loop.settled()
    loop.restore()
    loop.settled()


def test_a_simulator_that_is_killed_is_started_anew() -> None:
    """In the middle of frames: what is known keeps, the rest is permitted, a restore works."""
    needed("cocotb")
    block = open_offload(f"cocotb:64,{PARAMETERS}")
    assert isinstance(block, DrivenOffload)
    transport = block.driver.transport
    assert isinstance(transport, CocotbTransport) and transport.process is not None
    loop = Loop(block)
    loop.mixed()
    killer = threading.Timer(0.3, os.kill, (children(transport.process.pid)[-1], signal.SIGKILL))
    killer.start()
    for _ in itertools.takewhile(lambda _: not loop.made.transitions, range(1000)):
        loop.mixed()
    killer.join()
    given = loop.given
    assert given["class"] == "TransportDied" and "closed the socket" in given["error"]
    fault = loop.made.ledger().why(Why.OFFLOAD_FAULT).packets
    assert fault == given.get("frames", 0) - given.get("accounted", 0)
    loop.settled()
    with pytest.raises(FpgaError):
        transport.read(0)
    loop.restore()
    loop.settled()
    loop.session.close()
