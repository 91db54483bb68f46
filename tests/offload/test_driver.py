"""The driver's own decisions: identity, evidence, asyncio, specifications of transports."""

import asyncio
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from offload.blocks import PARAMETERS, bench

from nsdata.errors import FpgaError, OffloadError
from nsdata.offload import registers as reg
from nsdata.offload.driver import AsyncDriver, Driver
from nsdata.offload.entry import Verdict
from nsdata.offload.registers import ErrorClass, RearmReason, State
from nsdata.offload.report import MEANING, describe
from nsdata.offload.transport import PARAMETERS as LEGAL
from nsdata.offload.transport import WIDTHS, TransportInThread, open_transport
from nsdata.offload.transport_model import ModelTransport

SPEC = f"model:64,{PARAMETERS}"


def another(register: reg.Register, value: int) -> ModelTransport:
    """A block that says something else of itself."""
    transport = ModelTransport()
    transport.block._words[register.address] = value
    return transport


@pytest.mark.parametrize(
    ("register", "value", "says"),
    [
        (reg.ID, 0xFFFFFFFF, "nothing answers there"),
        (reg.ID, 0, "reads as nothing"),
        (reg.ID, 0x12345678, "id is 0x12345678, not 0x5444534e"),
        (reg.VERSION, 0x00020103, r"version is 2\.1\.3|version 2\.1\.3"),
        (reg.BUILD_DATAPATH, 128, "data_w is 128"),
        (reg.FLOW_CAPACITY, 7, "the flow table holds 7"),
    ],
)
def test_another_device_is_named(register: reg.Register, value: int, says: str) -> None:
    with pytest.raises(FpgaError, match=says) as raised:
        Driver(another(register, value)).identify()
    assert raised.value.evidence["class"] == "IDENTITY"
    assert raised.value.evidence["doing"] == "identify"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("smoke", "no such transport"),
        ("pcie", "which card"),
        ("pcie:0000:ff:1f.7", "0000:ff:1f.7"),
        ("model:65", "a width of 65 bits"),
        ("model:64,x", "neither a width nor"),
        ("model:64,COLOUR=3", "no parameter COLOUR; there are SETS_LOG2, "),
        ("rtl:FOO=3", "no parameter FOO; there are SETS_LOG2, .*, FAULTS"),
        ("rtl:SETS_LOG2=99", "SETS_LOG2 99: legal are 1 to 15"),
        ("rtl:64,DEPTH=65", "DEPTH 65: legal are 32, 64, 128, 256"),
        ("rtl:64,LATENCY=60", "at least 83"),
        ("cocotb:512,PF_WORDS=3", "PF_WORDS 3: legal are 1, 2"),
        ("cocotb:FAULTS=1", "no parameter FAULTS"),
        ("cocotb:/nowhere/at/all.sock", "/nowhere/at/all.sock"),
    ],
)
def test_a_wrong_specification_is_said(spec: str, says: str) -> None:
    with pytest.raises(OffloadError, match=says):
        open_transport(spec)


def test_the_parameters_are_those_of_the_block(root: Path) -> None:
    source = (root / "hdl" / "nsd_top.sv").read_text()
    there = {name: int(value) for name, value in re.findall(r"parameter int (\w+) = (\d+)", source)}
    assert there.pop("DATA_W") in WIDTHS
    assert set(there) == set(LEGAL)
    assert all(value in LEGAL[name] for name, value in there.items())


def test_every_class_has_words() -> None:
    assert set(MEANING) == set(ErrorClass)
    assert describe(ErrorClass.ECC_UE, 0x00003A05) == (
        "the frame store, slot 3, lane 10, syndrome 0x05"
    )
    assert describe(ErrorClass.ECC_UE, 0x30000011) == "the flow table, entry 17, met by a lookup"
    assert describe(ErrorClass.ECC_UE, 0x50000011) == "the prefilter's table, met by a lookup"
    assert describe(ErrorClass.ECC_CE, 0x40000011) == (
        "the prefilter's table, bucket 17, found by the background check"
    )
    assert describe(ErrorClass.ECC_CE, 0x80000005) == "one copy of the fault latch differed: 101"
    assert describe(ErrorClass.PARITY, 0x5) == "64-bit lanes 0, 2"
    assert describe(ErrorClass.PARITY, 0x80000007) == (
        "the error unit's own state was no state: 0111"
    )
    assert describe(ErrorClass.LATE, 1 << 20 | 1 << 23) == (
        "the decision is missing, the verdict is missing"
    )
    assert describe(ErrorClass.STALL, 1 << 27) == "nothing left for too long"
    assert describe(ErrorClass.CREDIT_LEAK, 3 << 29) == "credits missing: 3 (modulo 8)"
    assert describe(ErrorClass.TABLE_CRC, 2 << 29) == "the prefilter's table"
    assert describe(ErrorClass.AXI_FAULT, 7 << 16 | 8) == (
        "the payload changed before tready; in beat 7 of its frame"
    )


def test_an_error_as_evidence() -> None:
    one = bench(open_transport(SPEC))
    one.up()
    one.transport.write(reg.ERR_INJECT.address, 1 << ErrorClass.OVER_TEMP)
    report = one.driver.poll()
    assert report is not None
    failure = report.failure("model")
    assert isinstance(failure, FpgaError) and "OVER_TEMP" in str(failure)
    evidence = failure.evidence
    assert evidence["class"] == "OVER_TEMP" and evidence["counters"] == {"OVER_TEMP": 1}
    assert evidence["state"] == "FAULT" and evidence["transport"] == "model"
    assert int(evidence["registers"]["err_status"], 16) == 1 << ErrorClass.OVER_TEMP


def test_a_heartbeat_that_is_not_taken_is_an_error() -> None:
    one = bench(open_transport(SPEC))
    one.up()
    one.transport.write(reg.HEARTBEAT_LIMIT.address, 0)
    with pytest.raises(FpgaError, match="does not take the heartbeat"):
        one.driver.beat()


def test_a_limit_shorter_than_arming_is_said() -> None:
    with Driver(open_transport(SPEC)) as driver, pytest.raises(
        FpgaError, match=r"DISARMED, not ARMED: the heartbeat ran out, its limit is 20 cycles. Try"
    ) as raised:  # fmt: skip
        driver.start(limit=20)
    assert raised.value.evidence["found"] == "DISARMED"


def test_a_beat_shorter_than_the_hold_time_re_arms() -> None:
    with Driver(open_transport(SPEC)) as driver:
        driver.start(limit=1000)
        driver.transport.wait(10_000)
        report = driver.poll()
        assert report is not None and report.error == ErrorClass.HEARTBEAT
        assert set(driver.rearm()) == {RearmReason.HOLD} and driver.state() == State.ARMED


def test_the_same_under_asyncio() -> None:
    one = bench(open_transport(SPEC))
    frames = one.frames(100)

    async def course() -> np.ndarray:
        driver = AsyncDriver(TransportInThread(one.transport))
        assert (await driver.identify()).built["data_w"] == 64
        await driver.load(one.image, one.flows.items())
        await driver.start(hold=64)
        assert await driver.beat() > 0 and await driver.verify() > 0
        verdict = await driver.inspect(*frames)
        one.transport.write(reg.ERR_INJECT.address, 1 << ErrorClass.SEU)
        report = await driver.poll()
        assert report is not None and report.error == ErrorClass.SEU
        await driver.rearm()
        assert await driver.poll() is None
        assert (await driver.statistics())["frames_in"] == 100
        key = next(iter(one.flows))
        assert await driver.remove_flow(key, both=False)
        assert await driver.insert_flow(key, both=False)
        await driver.flush_flows()
        await driver.recover()
        await driver.close()
        with pytest.raises(FpgaError):
            await driver.identify()
        return verdict

    assert asyncio.run(course()).tolist() == one.wanted(frames).tolist()


def test_frames_may_be_bytes_and_lists() -> None:
    one = bench(open_transport(SPEC))
    one.up()
    frames = one.frames(20)
    data, offset, length = frames
    said = one.driver.inspect(data.tobytes(), offset.tolist(), length.tolist())
    assert said.tolist() == one.wanted(frames).tolist()


@pytest.mark.parametrize(
    "frames",
    [
        ([b"frame"], [0], [5]),
        (["frame"], [0], [5]),
        (b"frame", [0], [-5]),
        (b"frame", 0, 5),
        (b"frame", [0, 1], [5]),
        (b"frame", None, [5]),
    ],
)
def test_what_are_no_frames_is_said(frames: Any) -> None:
    one = bench(open_transport(SPEC))
    one.up()
    with pytest.raises(OffloadError, match="frames are bytes"):
        one.driver.inspect(*frames)
    with pytest.raises(OffloadError, match="frames are bytes"):
        asyncio.run(AsyncDriver(TransportInThread(one.transport)).inspect(*frames))


def test_leaving_disarms() -> None:
    with Driver(open_transport(SPEC)) as driver:
        one = bench(driver.transport)
        driver.load(one.image)
        driver.start()
        block = driver.transport.block  # type: ignore[attr-defined]
        assert (driver.inspect(*one.frames(3)) != Verdict.FAULT).any()
    block.advance(10)
    assert block.read(reg.STATUS.address) & 7 == reg.State.DISARMED
