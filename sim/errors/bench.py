"""The testbench of nsd_errors."""

from typing import Any

from cocotb.triggers import RisingEdge

from nsdata.offload.registers import ERR_FATAL, ErrorClass, RearmReason, State
from sim.tb import TB

COUNT = len(ErrorClass)
FATAL = ERR_FATAL.reset
OWN = 1 << 31  # err_info of what the module finds in itself


class ErrorsTB(TB):
    """Every input quiet, the spine drained. After `step`, outputs are those of the cycle past."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        for name in (
            "err_strobe", "cause_now", "ctl_enable", "ctl_rearm", "ctl_soft_reset", "hold_cycles",
            "irq_mask", "status_clear", "record_clear", "counters_clear", "armed", "hb_write",
            "hb_limit", "inj_heartbeat", "err_info",
        ):  # fmt: skip
            getattr(dut, name).value = 0
        dut.drained.value = 1

    async def step(self, cycles: int = 1) -> None:
        """Let cycles pass; the outputs read then belong to the last of them."""
        for _ in range(cycles):
            await RisingEdge(self.clk)

    def get(self, name: str) -> int:
        """An output as a number."""
        return int(getattr(self.dut, name).value)

    @property
    def state(self) -> State:
        """The state of the cycle past."""
        return State(self.get("state"))

    async def beat(self, limit: int = 1_000_000) -> None:
        """A heartbeat of the host."""
        self.dut.hb_limit.value = limit
        await self.strobe(self.dut.hb_write)

    async def arm(self) -> None:
        """Enable, beat, and wait until frames are armed."""
        await self.beat()
        self.dut.ctl_enable.value = 1
        await self.until(lambda: self.get("arm"), 200, "arm")
        self.dut.armed.value = 1
        await self.step()
        assert self.state is State.ARMED

    async def error(self, *classes: int, info: int = 0) -> None:
        """One strobe of these classes; the outputs are then those of its cycle."""
        word = sum((info + c) << 32 * c for c in classes)
        self.dut.err_info.value = word
        await self.strobe(self.dut.err_strobe, sum(1 << c for c in classes))
        self.dut.armed.value = 0
        self.dut.err_info.value = 0

    async def clear_status(self, bits: int = (1 << COUNT) - 1) -> None:
        """Clear sticky bits and wait until re-arm has seen it."""
        await self.strobe(self.dut.status_clear, bits)
        await self.step(2)

    async def rearm(self) -> RearmReason:
        """Ask for re-arm: the reason it was refused for."""
        await self.strobe(self.dut.ctl_rearm)
        await self.step()
        reason = RearmReason(self.get("rearm_reason"))
        assert self.get("rearm_refused") == (reason is not RearmReason.NONE)
        return reason

    def counter(self, error: int) -> int:
        """A class's counter."""
        return self.get("counters") >> 16 * error & 0xFFFF


async def fresh(dut: Any) -> ErrorsTB:
    """A testbench past its reset."""
    tb = ErrorsTB(dut)
    await tb.reset()
    await tb.step()
    return tb
