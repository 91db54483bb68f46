"""One suite for every transport: what a driver may rely on.

model and rtl run all of it; cocotb and pcie, which take a process each and are slow, a
representative part. What no transport takes is in test_bounds.py, for all of them.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from offload.blocks import SMALL, Bench, bench, needed, opened

from nsdata.errors import BusFault, FpgaError, OffloadError, TransportDied
from nsdata.offload import registers as reg
from nsdata.offload.entry import FlowAction, FlowKey, Verdict
from nsdata.offload.model import flow_set, parse
from nsdata.offload.registers import ErrorClass, RearmReason, State
from nsdata.offload.transport import DevicePins, Transport

QUICK, SLOW = ("model", "rtl"), ("cocotb", "pcie")
REPRESENTATIVE = {
    "test_identity", "test_reset_is_bypass",
    "test_load_and_read_back", "test_verdicts_are_the_models", "test_a_corrupted_load_is_refused",
    "test_flows_come_and_go", "test_every_error", "test_a_lost_heartbeat_opens_the_block",
    "test_a_rearm_is_refused_with_its_reason", "test_statistics_balance", "test_recover",
    "test_closed_is_closed", "test_a_record_names_the_slot", "test_a_failed_commit_is_recorded",
}  # fmt: skip
# FIRST_INFO of an error that was injected into the first beat after a reset, as hdl/ has it.
RECORDS = {
    ErrorClass.ECC_CE: 0x0000_0007, ErrorClass.ECC_UE: 0x0000_0003, ErrorClass.PARITY: 1,
    ErrorClass.FIFO_OVF: 0, ErrorClass.CREDIT_LEAK: 0x2000_0000, ErrorClass.LATE: 0x0010_0000,
    ErrorClass.STALL: 0x0800_0000, ErrorClass.HEARTBEAT: 0x8000_0000,
    ErrorClass.TABLE_CRC: 0x2000_0000, ErrorClass.SEU: 0, ErrorClass.OVER_TEMP: 0,
    ErrorClass.AXI_FAULT: 1,
}  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test by the quick transports, the representative ones by all."""
    kinds = QUICK + SLOW if metafunc.function.__name__ in REPRESENTATIVE else QUICK
    for name, indirect in (("transport", True), ("kind", False)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, kinds, indirect=indirect, scope="module")


@pytest.fixture(scope="module")
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    """A block of small tables by each transport."""
    needed(request.param)
    with opened(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def made(transport: Transport) -> Bench:
    return bench(transport)


@pytest.fixture
def armed(made: Bench) -> Bench:
    """Armed, the tables loaded, no error."""
    if isinstance(made.transport, DevicePins):
        made.transport.pins()
    made.up()
    return made


def exchange(one: Bench, count: int = 60, largest: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Frames through the block: what came, and what the model wants."""
    frames = one.frames(count, largest)
    return one.driver.inspect(*frames), one.wanted(frames)


def test_identity(made: Bench) -> None:
    found = made.driver.identify()
    assert found.version == (1, 0, 0) and found.capacity == 2 << SMALL["SETS_LOG2"]
    assert found.built["data_w"] == made.transport.data_w
    assert found.built["sets_log2"] == SMALL["SETS_LOG2"]
    assert found.built["buckets_log2"] == SMALL["BUCKETS_LOG2"]
    assert found.cycles(1.0) == found.clock_khz * 1000


def test_access_is_as_the_map_says(made: Bench) -> None:
    for register in (reg.ID, reg.STATUS, reg.FLOW_SIGNATURE, reg.ERR_COUNT[3]):
        with pytest.raises(BusFault):
            made.transport.write(register.address, 0)
    for register in (reg.FLOW_CMD, reg.ERR_INJECT, reg.PF_WDATA[0]):
        with pytest.raises(BusFault):
            made.transport.read(register.address)


def test_reset_is_bypass(made: Bench) -> None:
    made.transport.reset()
    frames = made.frames(20)
    done = made.transport.exchange(*frames)
    assert done.bytes_ok and (done.verdict == Verdict.FAULT).all()
    assert made.driver.state() == State.DISARMED and not made.transport.irq()


def test_load_and_read_back(armed: Bench) -> None:
    filled = int(armed.image.table.any(axis=1).sum())
    assert armed.driver.verify() == len(armed.flows) + filled
    assert armed.driver.state() == State.ARMED
    assert armed.transport.read(reg.PF_STATUS.address) >> 2 & 1


def test_verdicts_are_the_models(armed: Bench) -> None:
    seen = set()
    for _ in range(3):
        got, wanted = exchange(armed, 150)
        assert got.tolist() == wanted.tolist()
        seen |= set(got.tolist())
    assert seen == {Verdict.CLEAR, Verdict.SUSPECT, Verdict.BYPASS, Verdict.BLOCK}
    assert armed.driver.poll() is None


def test_a_corrupted_load_is_refused(armed: Bench) -> None:
    """What is written is not what the signature is of: no table, the block disarmed."""
    image = armed.image
    wrong = image.table.copy()
    address = int(np.flatnonzero(wrong.any(axis=1))[0])
    wrong[address, 0] ^= np.uint64(1)

    class Corrupt(type(image)):  # type: ignore[misc]
        """The signature of the compiler's table over another one."""

        signature = image.signature

    broken = Corrupt(image.seed, image.buckets_log2, image.words, wrong, image.ranges)
    with pytest.raises(FpgaError, match="commit failed") as raised:
        armed.driver.load(broken, armed.flows.items())
    evidence = raised.value.evidence
    assert evidence["class"] == "TABLE_READBACK" and evidence["left"].startswith("disarmed")
    assert evidence["transport"] == armed.transport.name
    got, _ = exchange(armed)
    assert (got == Verdict.FAULT).all()
    report = armed.driver.errors()
    assert report.error == ErrorClass.TABLE_CRC and not armed.driver.host.image
    # A good load makes it whole again.
    armed.driver.load(image, armed.flows.items())
    armed.driver.start(hold=64) if not report.fatal else armed.driver.rearm()
    got, wanted = exchange(armed)
    assert got.tolist() == wanted.tolist()


def test_what_does_not_fit_leaves_the_old_tables(armed: Bench) -> None:
    image = armed.image
    twice = np.concatenate([image.table, image.table])
    large = type(image)(image.seed, image.buckets_log2 + 1, 1, twice, image.ranges)
    with pytest.raises(OffloadError, match="the old tables are in force"):
        armed.driver.load(large)
    number = flow_set(next(iter(armed.flows)).pack(), SMALL["SETS_LOG2"])
    same_set = []
    for port in range(65536):
        key = FlowKey.of("10.0.0.1", "10.0.0.2", 6, port, 80)
        if flow_set(key.pack(), SMALL["SETS_LOG2"]) == number:
            same_set.append((key, FlowAction.BYPASS))
        if len(same_set) == 3:
            break
    with pytest.raises(OffloadError, match="no room for 3 flows"):
        armed.driver.load(image, same_set)
    got, wanted = exchange(armed)
    assert got.tolist() == wanted.tolist()


WRITE, READ, CLEAR = 1, 2, 4  # of flow_cmd
BEGIN, PUT, GET, COMMIT = 1, 2, 4, 8  # of pf_cmd


def status_after(made: Bench, command: int, what: int, status: reg.Register) -> dict[str, int]:
    """The status once a command's work is over."""
    made.transport.write(command, what)
    made.transport.wait(4000)
    return status.decode(made.transport.read(status.address))


def test_of_several_commands_at_once_the_first_is_done(armed: Bench) -> None:
    """Clear, write, read; load_begin, commit, write, read: and the error tells of the others."""
    send, take = armed.transport.write, armed.transport.read
    flow = (reg.FLOW_CMD.address, reg.FLOW_STATUS)
    assert not status_after(armed, flow[0], CLEAR, flow[1])["error"]
    send(reg.FLOW_ADDR.address, 3)
    send(reg.FLOW_WDATA[0].address, 77)
    for what, written in ((WRITE | READ, True), (WRITE | CLEAR, False), (READ | CLEAR, False)):
        assert status_after(armed, flow[0], what, flow[1])["error"]
        assert bool(take(reg.FLOW_SIGNATURE.address)) is written
    assert not status_after(armed, flow[0], READ, flow[1])["error"]
    assert take(reg.FLOW_RDATA[0].address) == 0

    prefilter = (reg.PF_CMD.address, reg.PF_STATUS)
    send(reg.PF_ADDR.address, 3)
    send(reg.PF_WDATA[0].address, 77)
    for i in range(len(reg.PF_RANGE_PORTS)):
        send(reg.PF_RANGE_PORTS[i].address, 0)
        send(reg.PF_RANGE_PROTOCOLS[i].address, 0)
    send(reg.PF_SEED.address, 0)
    assert not status_after(armed, prefilter[0], BEGIN, prefilter[1])["error"]
    send(reg.PF_EXPECT.address, 0)
    assert status_after(armed, prefilter[0], PUT | GET, prefilter[1])["error"]
    assert take(reg.PF_SIGNATURE.address)
    for other in (PUT, GET, COMMIT):
        assert status_after(armed, prefilter[0], BEGIN | other, prefilter[1])["error"]
        assert not take(reg.PF_SIGNATURE.address)
    for other in (PUT, GET):
        assert not status_after(armed, prefilter[0], BEGIN, prefilter[1])["error"]
        found = status_after(armed, prefilter[0], COMMIT | other, prefilter[1])
        assert found["error"] and found["valid"] and not take(reg.PF_SIGNATURE.address)


def test_flows_come_and_go(armed: Bench) -> None:
    """Insert (both directions), remove, a full set, flush."""
    driver = armed.driver
    driver.load(armed.image)
    frame = next(f for f in armed.world.fine if parse(f).lookup and not parse(f).len_short)
    key = FlowKey.unpack(parse(frame).key)
    flows: dict[FlowKey, FlowAction] = {}

    def check() -> None:
        frames = armed.frames(40)
        assert driver.inspect(*frames).tolist() == armed.wanted(frames, flows).tolist()

    def verdict() -> int:
        one = np.frombuffer(frame, np.uint8)
        return int(driver.inspect(one, np.zeros(1, np.uint64), np.array([one.size], np.uint32))[0])

    assert driver.insert_flow(key, FlowAction.BLOCK)
    flows |= {key: FlowAction.BLOCK, key.reversed(): FlowAction.BLOCK}
    assert verdict() == Verdict.BLOCK
    check()
    assert driver.insert_flow(key, FlowAction.BYPASS)  # changed in place
    flows |= {key: FlowAction.BYPASS, key.reversed(): FlowAction.BYPASS}
    assert verdict() == Verdict.BYPASS
    assert driver.remove_flow(key) and not driver.remove_flow(key)
    flows.clear()
    assert verdict() in (Verdict.CLEAR, Verdict.SUSPECT)
    check()
    inserted = 0
    while driver.insert_flow(FlowKey.of("10.1.0.1", "10.1.0.2", 17, 1000 + inserted, 53)):
        inserted += 1
    assert inserted > 2 and len(driver.host.flows) == 2 * inserted
    assert driver.insert_flow(key, FlowAction.BYPASS, both=False) in (True, False)
    driver.flush_flows()
    assert not driver.host.flows
    check()
    assert driver.insert_flow(key, FlowAction.BYPASS) and verdict() == Verdict.BYPASS
    driver.verify()


@pytest.mark.parametrize("error", list(ErrorClass), ids=lambda error: error.name)
def test_every_error(armed: Bench, error: ErrorClass) -> None:
    """Injected, reported by irq, decoded; faults permit; re-armed, the verdicts are back."""
    driver = armed.driver
    armed.transport.write(reg.ERR_IRQ_MASK.address, 0xFFF)
    armed.transport.write(reg.ERR_INJECT.address, 1 << error)
    report = None
    frames = armed.frames(10)
    for _ in range(60):
        report = driver.poll()
        if report is not None:
            break
        got = driver.inspect(*frames)
        wanted = armed.wanted(frames)
        assert ((got == wanted) | (got == Verdict.FAULT)).all()
        armed.transport.wait(200)
    assert report is not None, "the error was not seen"
    assert report.error == error and report.record_class == error
    assert report.record_info == RECORDS[error], f"{report.record_info:#010x}"
    assert error.name in report.words and report.counts[error] >= 1
    evidence = report.evidence(armed.transport.name)
    assert evidence["class"] == error.name and evidence["registers"]["id"] == "0x5444534e"
    assert evidence["cycle"] > 0 and evidence["status"] == [error.name]
    if error == ErrorClass.ECC_CE:
        assert not report.fatal and driver.state() == State.ARMED
        got, wanted = exchange(armed)
        assert got.tolist() == wanted.tolist()
        return
    assert report.fatal and driver.state() == State.FAULT
    got, _ = exchange(armed)
    assert (got == Verdict.FAULT).all()
    refused = driver.rearm()
    assert set(refused) <= {RearmReason.HOLD, RearmReason.STATUS_STICKY, RearmReason.NOT_DRAINED}
    assert driver.poll() is None and driver.state() == State.ARMED
    got, wanted = exchange(armed)
    assert got.tolist() == wanted.tolist()


@pytest.mark.parametrize("error", [ErrorClass.ECC_CE, ErrorClass.ECC_UE])
def test_a_record_names_the_slot(armed: Bench, error: ErrorClass) -> None:
    """The word of the store that was hit: beats are stored one behind the other."""
    exchange(armed, 40)
    beats = armed.driver.statistics()["beats_in"]
    armed.transport.write(reg.ERR_INJECT.address, 1 << error)
    exchange(armed, 5)
    slot = beats % (armed.transport.read(reg.BUILD_DATAPATH.address) >> 16)
    report = armed.driver.errors()
    assert slot and report.record_info == slot << 12 | RECORDS[error]
    assert f"slot {slot}, lane 0" in report.words


def test_a_failed_commit_is_recorded(made: Bench) -> None:
    """The prefilter's table is named, when the check is over, once."""
    transport = made.transport
    transport.reset()
    transport.wait(2000)
    transport.write(reg.PF_EXPECT.address, 0x1234)
    transport.write(reg.PF_CMD.address, reg.PF_CMD.encode(commit=1))
    assert transport.read(reg.PF_STATUS.address) & 0b1001 == 1  # busy, not failed yet
    assert not transport.read(reg.ERR_STATUS.address)
    transport.wait(5000)
    report = made.driver.errors()
    assert report.status == 1 << ErrorClass.TABLE_CRC == report.counts[ErrorClass.TABLE_CRC] << 8
    assert report.record_class == ErrorClass.TABLE_CRC and report.record_info == 0x4000_0000
    assert "the prefilter's table" in report.words
    assert transport.read(reg.PF_STATUS.address) & 0b1001 == 0b1000
    assert transport.read(reg.FIRST_CYCLE_LO.address) > 2500


def test_what_a_pin_says_already_is_not_said_again(armed: Bench) -> None:
    """An injection while its pin is high is no rise: nothing is noted. A rise is, once."""
    transport = armed.transport
    assert isinstance(transport, DevicePins)
    for pins, error in (
        ({"seu": True}, ErrorClass.SEU),
        ({"over_temp": True}, ErrorClass.OVER_TEMP),
    ):
        transport.pins(**pins)
        transport.wait(50)
        assert armed.driver.errors().counts[error] == 1
        transport.write(reg.ERR_STATUS.address, 0xFFF)
        transport.write(reg.ERR_INJECT.address, 1 << error)
        transport.wait(50)
        report = armed.driver.errors()
        assert report.status == 0 and report.counts[error] == 1
        transport.pins()
        transport.wait(50)
        transport.write(reg.ERR_INJECT.address, 1 << error)
        transport.wait(50)
        assert armed.driver.errors().counts[error] == 2


def test_a_corrected_error_gives_way_to_a_fatal_one(armed: Bench) -> None:
    armed.transport.write(reg.ERR_INJECT.address, 1 << ErrorClass.ECC_CE)
    exchange(armed, 5)
    assert armed.driver.errors().error == ErrorClass.ECC_CE and armed.driver.poll() is None
    armed.transport.write(reg.ERR_INJECT.address, 1 << ErrorClass.SEU)
    armed.transport.wait(20)
    report = armed.driver.poll()
    assert report is not None and report.error == ErrorClass.SEU
    assert report.counts[ErrorClass.ECC_CE] >= 1


def test_a_rearm_is_refused_with_its_reason(armed: Bench) -> None:
    driver, transport = armed.driver, armed.transport

    def reason() -> RearmReason:
        transport.write(reg.CTRL.address, 0b011)
        return RearmReason(transport.read(reg.STATUS.address) >> 17 & 7)

    assert reason() == RearmReason.NOT_IN_FAULT
    transport.write(reg.HOLD_CYCLES.address, 3000)
    transport.write(reg.ERR_INJECT.address, 1 << ErrorClass.OVER_TEMP)
    assert reason() == RearmReason.HOLD
    transport.wait(3200)
    assert reason() == RearmReason.STATUS_STICKY
    assert driver.rearm() == ()
    if isinstance(transport, DevicePins):
        transport.pins(seu=True)
        transport.wait(4000)
        with pytest.raises(FpgaError, match="CAUSE_ACTIVE, the cause is still there") as raised:
            driver.rearm()
        assert raised.value.evidence["reason"] == "CAUSE_ACTIVE"
        transport.pins()
        driver.rearm()


def test_a_lost_heartbeat_opens_the_block(armed: Bench) -> None:
    driver = armed.driver
    driver.start(limit=4000, hold=64)
    assert 0 < driver.beat() <= 4000
    armed.transport.wait(2500)
    assert driver.poll() is None and driver.state() == State.ARMED
    assert 3000 < driver.beat() <= 4000
    armed.transport.wait(4500)
    report = driver.poll()
    assert report is not None and report.error == ErrorClass.HEARTBEAT
    got, _ = exchange(armed, 10)
    assert (got == Verdict.FAULT).all()
    driver.rearm()
    assert driver.state() == State.ARMED


def test_statistics_balance(armed: Bench) -> None:
    seen = [exchange(armed, 70)[0] for _ in range(3)]
    armed.transport.write(reg.CTRL.address, 0)
    seen.append(exchange(armed, 11)[0])
    got = np.concatenate(seen)
    found = armed.driver.statistics()
    assert found["frames_in"] == len(got) and found["beats_in"] >= len(got)
    for verdict in Verdict:
        assert found[verdict.name.lower()] == int((got == verdict).sum()), verdict
    later = armed.driver.statistics()
    assert later["cycle"] > found["cycle"] and later["frames_in"] == found["frames_in"]


def test_a_missing_frame_shows_in_the_statistics(armed: Bench) -> None:
    exchange(armed, 20)
    armed.driver.host.dropped += 100
    with pytest.raises(FpgaError, match="do not add up"):
        armed.driver.statistics()


def test_recover(armed: Bench) -> None:
    armed.transport.write(reg.ERR_INJECT.address, 1 << ErrorClass.SEU)
    armed.transport.wait(20)
    assert armed.driver.poll() is not None
    assert armed.driver.recover() > len(armed.flows)
    assert armed.driver.poll() is None and armed.driver.state() == State.ARMED
    got, wanted = exchange(armed)
    assert got.tolist() == wanted.tolist()


def test_soft_reset_keeps_the_tables(armed: Bench) -> None:
    armed.transport.write(reg.CTRL.address, 0b101)
    armed.transport.wait(400)
    got, wanted = exchange(armed)
    assert got.tolist() == wanted.tolist()


def test_frames_that_cannot_be_sent(armed: Bench) -> None:
    data = np.zeros(20_000, np.uint8)
    offset = np.zeros(3, np.uint64)
    with pytest.raises(ValueError, match="without bytes"):
        armed.transport.exchange(data, offset[:1], np.zeros(1, np.uint32))
    with pytest.raises(ValueError, match="outside"):
        armed.transport.exchange(data, offset[:1], np.array([20_001], np.uint32))
    got = armed.driver.inspect(data, offset, np.array([0, 16_385, 60], np.uint32))
    assert got[:2].tolist() == [Verdict.SUSPECT, Verdict.SUSPECT]
    assert armed.driver.statistics()["frames_in"] == 1 and armed.driver.poll() is None
    none = armed.transport.exchange(data, offset[:0], np.zeros(0, np.uint32))
    assert len(none.verdict) == 0


def test_a_frame_too_long_is_the_sources_breach(armed: Bench) -> None:
    data = np.zeros(20_000, np.uint8)
    done = armed.transport.exchange(data, np.zeros(1, np.uint64), np.array([20_000], np.uint32))
    assert done.verdict.tolist() == [Verdict.FAULT]
    report = armed.driver.poll()
    assert report is not None and report.error == ErrorClass.AXI_FAULT
    assert "longer than the block takes; in beat 2048" in report.words
    assert report.record_info == 16384 // (armed.transport.data_w // 8) << 16 | 1 << 4


def test_closed_is_closed(kind: str) -> None:
    needed(kind)
    with opened(kind) as transport:
        one = bench(transport)
        one.up()
        one.driver.close()
        one.driver.close()
        uses = (("read", 0), ("write", reg.SCRATCH.address, 0), ("wait", 1), ("irq",), ("reset",),
                ("exchange", *one.frames(1)))  # fmt: skip
        for name, *arguments in uses:
            with pytest.raises(TransportDied, match="closed"):
                getattr(transport, name)(*arguments)
        with pytest.raises(FpgaError) as raised:
            one.driver.poll()
        assert raised.value.evidence["class"] == "TransportDied"
        assert raised.value.evidence["doing"] == "poll"
