"""nsd_errors: what latches a fault, what arms, what re-arms."""

from typing import Any

import cocotb

from nsdata.offload.registers import ErrorClass, RearmReason, State
from sim.errors.bench import COUNT, FATAL, fresh
from sim.runner import simulate

RESET_CYCLES = 32  # the module's default
SETTLE = 8  # cycles drained before, and quiet after, the inspection's reset
FATAL_CLASSES = [e for e in ErrorClass if FATAL >> e & 1]


@cocotb.test()
async def reset_is_bypass(dut: Any) -> None:
    """Nothing armed, nothing latched, also when reset strikes while armed."""
    tb = await fresh(dut)
    for again in (False, True):
        if again:
            await tb.arm()
            await tb.reset()
            dut.ctl_enable.value = 0
            dut.armed.value = 0
            await tb.step()
        assert tb.state is State.DISARMED
        for name in ("arm", "fault", "irq", "status", "counters", "record_valid", "insp_rst"):
            assert tb.get(name) == 0, name


@cocotb.test()
async def arming_resets_the_inspection_first(dut: Any) -> None:
    """RESET_CYCLES of insp_rst while drained, over SETTLE cycles before the first armed frame."""
    tb = await fresh(dut)
    await tb.beat()
    dut.drained.value = 0
    dut.ctl_enable.value = 1
    await tb.step(100)
    assert tb.state is State.ARMING and not tb.get("arm") and not tb.get("insp_rst")
    dut.drained.value = 1
    resets = []
    for cycle in range(100):
        await tb.step()
        if tb.get("arm"):
            break
        resets += [cycle] if tb.get("insp_rst") else []
    assert tb.state is State.ARMED
    assert len(resets) == RESET_CYCLES and resets == list(range(resets[0], resets[-1] + 1))
    assert resets[0] >= SETTLE and cycle - resets[-1] >= SETTLE


@cocotb.test()
async def a_spine_that_fills_again_delays_the_reset(dut: Any) -> None:
    """The inspection is never reset under an armed frame: the wait begins anew."""
    tb = await fresh(dut)
    await tb.beat()
    dut.ctl_enable.value = 1
    for busy in ("drained", "armed"):
        await tb.until(lambda: tb.get("insp_rst"), 100, "insp_rst")
        signal = getattr(dut, busy)
        signal.value = int(busy == "armed")
        await tb.step(2)
        assert not tb.get("insp_rst")
        await tb.step(3 * RESET_CYCLES)
        assert tb.state is State.ARMING
        signal.value = int(busy == "drained")
    await tb.until(lambda: tb.get("arm"), 100, "arm")


@cocotb.test()
async def arms_only_enabled_and_alive(dut: Any) -> None:
    """Without a heartbeat, or with the limit 0, or not enabled: never armed."""
    tb = await fresh(dut)
    dut.ctl_enable.value = 1
    await tb.step(100)
    assert tb.state is State.DISARMED
    await tb.beat(limit=0)
    await tb.step(100)
    assert tb.state is State.DISARMED
    dut.ctl_enable.value = 0
    await tb.beat()
    await tb.step(100)
    assert tb.state is State.DISARMED
    await tb.arm()
    dut.ctl_enable.value = 0
    await tb.step(2)
    assert tb.state is State.DISARMED and not tb.get("fault") and not tb.get("status")


@cocotb.test()
async def every_fatal_class_opens_in_the_next_cycle(dut: Any) -> None:
    """`fault` rises and `arm` falls right after the strobe; both stay, with status and counter."""
    tb = await fresh(dut)
    for turn, error in enumerate(FATAL_CLASSES):
        await tb.arm()
        assert tb.get("arm") and not tb.get("fault")
        await tb.error(error)
        await tb.step()
        assert tb.get("fault") and not tb.get("arm"), error.name
        await tb.step()
        for _ in range(5):
            await tb.step()
            assert tb.get("fault") and not tb.get("arm") and tb.state is State.FAULT
        assert tb.get("status") == 1 << error and tb.counter(error) == 1
        await tb.clear_status()
        assert await tb.rearm() is RearmReason.NONE, turn
        await tb.step()
        assert not tb.get("fault")


@cocotb.test()
async def a_corrected_error_is_only_counted(dut: Any) -> None:
    """ECC_CE leaves the block armed."""
    tb = await fresh(dut)
    await tb.arm()
    await tb.error(ErrorClass.ECC_CE)
    assert tb.get("arm") and not tb.get("fault")
    await tb.step(5)
    assert tb.state is State.ARMED and tb.get("status") == 1
    assert tb.counter(ErrorClass.ECC_CE) == 1


@cocotb.test()
async def errors_latch_in_every_state(dut: Any) -> None:
    """Also disarmed and arming: the block does not arm over a fault."""
    tb = await fresh(dut)
    await tb.error(ErrorClass.SEU)
    await tb.step(2)
    assert tb.get("fault") and tb.state is State.FAULT
    await tb.beat()
    dut.ctl_enable.value = 1
    await tb.step(100)
    assert tb.state is State.FAULT and not tb.get("arm")
    await tb.clear_status()
    assert await tb.rearm() is RearmReason.NONE
    await tb.until(lambda: tb.state is State.ARMING, 10, "arming")
    await tb.error(ErrorClass.LATE)
    await tb.step(2)
    assert tb.state is State.FAULT


@cocotb.test()
async def rearm_is_refused_with_its_reason(dut: Any) -> None:
    """Each condition alone keeps the fault; without any, re-arm is accepted."""
    tb = await fresh(dut)
    assert await tb.rearm() is RearmReason.NOT_IN_FAULT
    await tb.arm()
    assert await tb.rearm() is RearmReason.NOT_IN_FAULT and tb.state is State.ARMED
    dut.hold_cycles.value = 20
    dut.cause_now.value = 1 << ErrorClass.OVER_TEMP
    dut.drained.value = 0
    await tb.error(ErrorClass.OVER_TEMP)
    await tb.step(2)
    assert await tb.rearm() is RearmReason.HOLD
    await tb.step(30)
    assert await tb.rearm() is RearmReason.CAUSE_ACTIVE
    dut.cause_now.value = 1 << ErrorClass.ECC_CE  # not fatal: hinders nothing
    await tb.step(2)
    assert await tb.rearm() is RearmReason.STATUS_STICKY
    await tb.clear_status()
    assert await tb.rearm() is RearmReason.NOT_DRAINED
    dut.drained.value = 1
    dut.armed.value = 1
    await tb.step()
    assert await tb.rearm() is RearmReason.NOT_DRAINED
    dut.armed.value = 0
    assert tb.get("fault")
    await tb.step()
    assert await tb.rearm() is RearmReason.NONE
    await tb.until(lambda: tb.get("arm"), 100, "arm")


@cocotb.test()
async def the_hold_time_counts_from_the_last_error(dut: Any) -> None:
    """Asked in every cycle, re-arm is not accepted before hold_cycles have passed."""
    tb = await fresh(dut)
    for hold in (0, 1, 7, 50):
        dut.hold_cycles.value = hold
        await tb.error(ErrorClass.STALL)
        await tb.step(hold // 2)
        await tb.error(ErrorClass.STALL)  # starts the hold time again
        await tb.step()
        dut.hold_cycles.value = 0  # not taken any more
        dut.status_clear.value = (1 << COUNT) - 1
        dut.ctl_rearm.value = 1
        waited = 0
        while tb.get("fault"):
            await tb.step()
            waited += 1
            assert waited < hold + 20
        dut.status_clear.value = 0
        dut.ctl_rearm.value = 0
        assert hold < waited <= hold + 5, (hold, waited)
        await tb.step(2)


@cocotb.test()
async def an_error_in_the_cycle_of_rearm_wins(dut: Any) -> None:
    """The fault does not fall for a cycle, and the block is not armed."""
    tb = await fresh(dut)
    await tb.error(ErrorClass.LATE)
    await tb.step(3)
    await tb.clear_status()
    dut.ctl_enable.value = 1
    dut.ctl_rearm.value = 1
    await tb.error(ErrorClass.FIFO_OVF)
    dut.ctl_rearm.value = 0
    for _ in range(6):
        assert tb.get("fault") and not tb.get("arm")
        await tb.step()
    assert tb.state is State.FAULT


@cocotb.test()
async def a_lost_heartbeat_is_an_error_while_armed(dut: Any) -> None:
    """It counts down from the limit, a beat starts it again, and its end opens the block."""
    tb = await fresh(dut)
    await tb.beat(limit=20)
    await tb.step(60)
    assert not tb.get("hb_alive") and not tb.get("status") and not tb.get("fault")
    await tb.arm()
    for _ in range(5):
        await tb.beat(limit=30)
        await tb.step(29)
        assert tb.get("hb_alive") and tb.state is State.ARMED
    await tb.beat(limit=10)
    waited = await tb.until(lambda: tb.get("fault"), 20, "fault")
    assert 10 <= waited <= 14 and not tb.get("arm")
    await tb.step(5)
    assert tb.get("status") == 1 << ErrorClass.HEARTBEAT
    assert tb.counter(ErrorClass.HEARTBEAT) == 1 and not tb.get("hb_remaining")


@cocotb.test()
async def the_heartbeat_can_be_injected(dut: Any) -> None:
    """inj_heartbeat ends it at once."""
    tb = await fresh(dut)
    await tb.arm()
    await tb.strobe(dut.inj_heartbeat)
    await tb.step(5)
    assert tb.state is State.FAULT and tb.get("status") == 1 << ErrorClass.HEARTBEAT


@cocotb.test()
async def soft_reset_drains_and_keeps_the_fault(dut: Any) -> None:
    """Arming or armed, it re-arms by itself; disarmed or in FAULT, it stays there."""
    tb = await fresh(dut)
    await tb.strobe(dut.ctl_soft_reset)
    await tb.step()
    assert tb.state is State.RESETTING
    await tb.until(lambda: tb.state is State.DISARMED, 100, "disarmed")
    await tb.beat()
    dut.ctl_enable.value = 1
    await tb.until(lambda: tb.state is State.ARMING, 20, "arming")
    await tb.strobe(dut.ctl_soft_reset)
    await tb.step()
    assert tb.state is State.RESETTING and not tb.get("arm")
    await tb.until(lambda: tb.state is State.DISARMED, 100, "disarmed")
    await tb.until(lambda: tb.get("arm"), 100, "arm")
    dut.drained.value = 0
    await tb.strobe(dut.ctl_soft_reset)
    dut.armed.value = 0
    await tb.step()
    assert tb.state is State.RESETTING and not tb.get("arm")
    await tb.step(100)
    assert tb.state is State.RESETTING and not tb.get("insp_rst")
    dut.drained.value = 1
    await tb.until(lambda: tb.get("insp_rst"), 50, "insp_rst")
    await tb.until(lambda: tb.state is State.DISARMED, 100, "disarmed")
    await tb.until(lambda: tb.get("arm"), 100, "arm")
    await tb.error(ErrorClass.PARITY)
    await tb.strobe(dut.ctl_soft_reset)
    await tb.step()
    assert tb.state is State.RESETTING and tb.get("fault")
    assert await tb.rearm() is RearmReason.NOT_IN_FAULT
    await tb.until(lambda: tb.state is State.FAULT, 100, "fault")
    assert tb.get("fault")


@cocotb.test()
async def under_random_inputs_the_laws_hold(dut: Any) -> None:
    """fault excludes arm; a fault ends by an accepted re-arm alone; status is a shadow's."""
    tb = await fresh(dut)
    rng = tb.rng
    status, faults, rearms, armed_cycles, was_fault = 0, 0, 0, 0, 0
    hold_left, may_rearm, fatal_before, ready_before = 0, False, False, False
    dut.hb_limit.value = 5000
    dut.hb_write.value = 1
    for _ in range(12_000):
        strobe = 1 << rng.randrange(COUNT) if rng.random() < 0.004 else 0
        clear = rng.getrandbits(COUNT) if rng.random() < 0.2 else 0
        cause = 1 << rng.randrange(COUNT) if rng.random() < 0.2 else 0
        drained, rearm = int(rng.random() < 0.995), int(rng.random() < 0.3)
        dut.err_strobe.value, dut.status_clear.value, dut.cause_now.value = strobe, clear, cause
        dut.drained.value, dut.ctl_rearm.value = drained, rearm
        dut.ctl_enable.value = int(rng.random() < 0.999)
        dut.ctl_soft_reset.value = int(rng.random() < 0.002)
        dut.hold_cycles.value = rng.randrange(40)
        await tb.step()
        fault, state = tb.get("fault"), tb.state
        assert not (fault and tb.get("arm"))
        assert tb.get("arm") == (state is State.ARMED and not fault)
        assert tb.get("status") == status
        if fatal_before:
            assert fault
        if was_fault and not fault:
            assert may_rearm, "the fault went without a permitted re-arm"
            rearms += 1
        assert not (tb.get("insp_rst") and state is State.ARMED)
        # Judged by the conditions of the cycle before; a fatal error in between wins.
        may_rearm = bool(rearm and ready_before and not fatal_before and state is State.FAULT)
        ready_before = bool(
            drained and not hold_left and not cause & FATAL and not status & FATAL
            and not fatal_before and state is State.FAULT
        )  # fmt: skip
        hold_left = int(dut.hold_cycles.value) if fatal_before else max(0, hold_left - 1)
        fatal_before = bool(strobe & FATAL)
        status = status & ~clear | strobe
        faults += bool(strobe & FATAL)
        armed_cycles += tb.get("arm")
        was_fault = fault
    assert faults > 10 and rearms > 5 and armed_cycles > 500, (faults, rearms, armed_cycles)


def test_errors() -> None:
    simulate("nsd_errors", __name__)
