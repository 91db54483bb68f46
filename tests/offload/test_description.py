"""What a block says of itself: what the driver reads, nothing changed by it, a few at a time."""

import re
from pathlib import Path

import pytest
from offload.blocks import needed

from nsdata.errors import TransportDied
from nsdata.offload import registers as reg
from nsdata.offload.description import NO_REGISTERS, PERIOD_NS, TOLD, Describer, decoded, passed
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.driver import Driver
from nsdata.offload.image import compile_image
from nsdata.offload.patterns import from_list
from nsdata.offload.session import ModelOffload, Session
from nsdata.offload.transport import open_transport

MAP = Path(__file__).parents[2] / "hdl" / "regs" / "nsd.rdl"
KINDS = ("model:64", "rtl")
STEP_MOST = 20  # accesses
# By time alone.
MOVING = {"heartbeat", *(one.name for one in (*reg.SCRUB_AGE, *reg.SCRUB_PASSES))}


def whole(driver: Driver) -> dict:
    steps = passed(driver)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value


def opened(kind: str) -> DrivenOffload:
    block = DrivenOffload(open_transport(kind), heartbeat=60)
    size = block.table
    assert size is not None
    block.load(compile_image(from_list([(b"evil", False)]), buckets_log2=size[0], words=size[1]))
    return block


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_what_the_driver_reads(kind: str) -> None:
    needed(kind.partition(":")[0])
    block = opened(kind)
    try:
        driver = block.driver
        told = whole(driver)
        identity = driver.identify()
        assert told["identity"]["magic"] == "0x5444534e (NSDT)"
        assert told["identity"]["version"] == ".".join(map(str, identity.version))
        assert told["identity"]["built"] == identity.built
        assert told["identity"]["flow_capacity"] == identity.capacity
        assert told["counters"].keys() == driver.statistics().keys()
        assert told["record"] is None and told["error_counters"] == {}
        for name, one in told["registers"].items():
            register = reg.REGISTERS[name]
            assert one["address"] == register.address
            assert {k: v for k, v in one["fields"].items() if not isinstance(v, str)}.items() <= (
                register.decode(one["value"]).items()
            )
            if name not in MOVING:
                assert one["value"] == driver.transport.read(register.address), name
        assert told["registers"]["status"]["fields"]["state"] == driver.state().name == "ARMED"

        driver.transport.write(reg.ERR_INJECT.address, 1 << reg.ErrorClass.SEU)
        driver.transport.wait(16)
        told = whole(driver)
        report = driver.errors()
        assert told["record"]["class"] == "SEU" and told["record"]["words"] == report.words
        assert told["record"]["cycle"] == report.record_cycle
        assert told["error_counters"] == {"SEU": 1}
        assert told["registers"]["status"]["fields"]["state"] == "FAULT"
        assert told["registers"]["err_status"]["fields"]["seu"] == 1
        assert driver.errors().record_cycle == report.record_cycle  # telling has cleared nothing
    finally:
        block.close()


def test_nothing_is_changed_by_being_read() -> None:
    assert not re.search(r"\bonread\b|\brclr\b|\brset\b|\bruser\b", MAP.read_text())
    assert all(register.readable for register in TOLD)
    block = opened("model:64")
    driver = block.driver
    driver.transport.write(reg.ERR_INJECT.address, 1 << reg.ErrorClass.ECC_CE)
    driver.transport.wait(16)
    lasting = [
        one
        for one in reg.REGISTERS.values()
        if one.readable and one.name not in MOVING and "stat_" not in one.name
    ]
    before = [driver.transport.read(one.address) for one in lasting]
    for _ in range(3):
        whole(driver)
    assert [driver.transport.read(one.address) for one in lasting] == before
    block.close()


def test_a_step_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    block = opened("model:64")
    describer = Describer(Session(block))
    accesses = 0
    transport = block.driver.transport

    def counted(name: str) -> None:
        real = getattr(transport, name)

        def one(*given: int) -> int:
            nonlocal accesses
            accesses += 1
            return real(*given)

        monkeypatch.setattr(transport, name, one)

    counted("read")
    counted("write")
    told, now, steps = None, 1, 0
    while told is None:
        accesses = 0
        told = describer.step(now)
        assert accesses <= STEP_MOST
        now += PERIOD_NS
        steps += 1
    assert steps > 5 and told["registers"].keys() == {one.name for one in TOLD}
    assert told["transport"] == "model" and told["use"]["verdicts"]["clear"] == 0
    assert describer.step(now - PERIOD_NS + 1) is None and accesses == 19  # not due yet
    describer.anew()
    accesses = 0
    assert describer.step(now - PERIOD_NS + 2) is None and accesses > 0
    block.close()


def test_what_cannot_be_read_is_said() -> None:
    assert Describer(Session(ModelOffload())).step(1)["note"] == NO_REGISTERS
    block = opened("model:64")
    describer = Describer(Session(block))
    assert describer.step(1) is None  # in the middle of a pass
    block.driver.transport.close()
    told = describer.step(PERIOD_NS)
    assert (
        told is not None and "it could not be read: model: the transport is closed" in told["note"]
    )
    assert describer.step(2 * PERIOD_NS) is None  # it is not tried again at once
    with pytest.raises(TransportDied):
        whole(block.driver)


def test_fields_have_their_names() -> None:
    one = decoded("status", reg.STATUS.encode(state=3, fault=1))
    assert one["fields"]["state"] == "FAULT" and one["fields"]["fault"] == 1
    assert "rearm" not in decoded("ctrl", 1)["fields"]  # a strobe is not read
