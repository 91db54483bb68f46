"""The block's error record in words, and as the evidence of a fallback.

The layouts of `info` are those of the detecting modules (hdl/nsd_spine.sv, nsd_axis_check.sv,
nsd_tap_check.sv, nsd_top.sv, nsd_errors.sv); docs/offload.md lists what each class means.
"""

from dataclasses import dataclass, field
from typing import Any

from nsdata.errors import FpgaError
from nsdata.offload import registers as reg
from nsdata.offload.registers import ErrorClass, RearmReason, State

FATAL = 0xFFE
PLACES = ("the frame store", "the flow table", "the prefilter's table")

MEANING = {
    ErrorClass.ECC_CE: "a flipped bit was corrected",
    ErrorClass.ECC_UE: "two flipped bits in one word cannot be corrected",
    ErrorClass.PARITY: "what is inspected differs from what passes",
    ErrorClass.FIFO_OVF: "a beat came for a full store",
    ErrorClass.CREDIT_LEAK: "credits and stored beats do not add up",
    ErrorClass.LATE: "a frame was due before its verdict",
    ErrorClass.STALL: "frames did not leave although the sink was ready",
    ErrorClass.HEARTBEAT: "the host stopped writing its heartbeat",
    ErrorClass.TABLE_CRC: "a table is not what was loaded",
    ErrorClass.SEU: "the device reports an upset of its configuration",
    ErrorClass.OVER_TEMP: "the device reports over-temperature",
    ErrorClass.AXI_FAULT: "the source broke AXI4-Stream's rules",
}
REFUSALS = {
    RearmReason.NONE: "nothing was refused",
    RearmReason.NOT_IN_FAULT: "there is no fault to leave",
    RearmReason.HOLD: "the hold time is not over",
    RearmReason.CAUSE_ACTIVE: "the cause is still there (a device pin)",
    RearmReason.STATUS_STICKY: "an error came after the status was cleared",
    RearmReason.NOT_DRAINED: "the spine still holds a frame that entered armed",
}
_LATE = (
    "the decision is missing", "the decision is none", "a decision came unasked",
    "the verdict is missing", "the verdict is none", "a verdict came unasked",
)  # fmt: skip
_AXI = (
    "tkeep has a hole before the last beat", "tkeep of the last beat is empty or has a hole",
    "tvalid fell before tready", "the payload changed before tready",
    "the frame is longer than the block takes",
)  # fmt: skip


def _named(info: int, low: int, names: tuple[str, ...]) -> str:
    found = [name for i, name in enumerate(names) if info >> (low + i) & 1]
    return ", ".join(found) or "no detail"


def _word(info: int) -> str:
    place = info >> 29 & 3
    if place in (1, 2):
        lookup = info >> 28 & 1
        met = "met by a lookup" if lookup else "found by the background check"
        if place == 2 and lookup:  # every lane looks its own bucket up: which, it does not say
            return f"{PLACES[place]}, {met}"
        what = "entry" if place == 1 else "bucket"
        return f"{PLACES[place]}, {what} {info & 0x1FFFF}, {met}"
    text = f"{PLACES[0]}, slot {info >> 12 & 0xFF}, lane {info >> 8 & 15}"
    text += f", syndrome {info & 0xFF:#04x}"
    return text + (", stored and sent tlast differ" if info >> 28 & 1 else "")


def describe(error: int, info: int) -> str:
    """The details of a record, in words; "" for a class without any."""
    if error == ErrorClass.ECC_CE and info >> 31:
        return f"one copy of the fault latch differed: {info & 7:03b}"
    if error in (ErrorClass.ECC_CE, ErrorClass.ECC_UE):
        return _word(info)
    if error == ErrorClass.PARITY:
        if info >> 31:
            return f"the error unit's own state was no state: {info & 15:04b}"
        lanes = [str(i) for i in range(31) if info >> i & 1]
        return f"64-bit lanes {', '.join(lanes)}" if lanes else "no detail"
    if error == ErrorClass.CREDIT_LEAK:
        lost = info >> 29 & 7
        return f"credits missing: {lost} (modulo 8)" if lost else "the read pointers disagree"
    if error == ErrorClass.LATE:
        return _named(info, 20, _LATE)
    if error == ErrorClass.STALL:
        return _named(info, 26, ("a decision beat was lost", "nothing left for too long"))
    if error == ErrorClass.TABLE_CRC:
        return PLACES[info >> 29 & 3] if info >> 29 & 3 in (1, 2) else "no detail"
    if error == ErrorClass.AXI_FAULT:
        return f"{_named(info, 0, _AXI)}; in beat {info >> 16} of its frame"
    return ""


@dataclass
class ErrorReport:
    """What the host reads after an error. `record_cycle`: cycles since the block's reset."""

    status: int
    state: int
    fault: int
    record_valid: int
    record_class: int
    record_info: int
    record_cycle: int
    counts: tuple[int, ...]
    registers: dict[str, int] = field(default_factory=dict)  # a dump, by name

    @property
    def error(self) -> ErrorClass | None:
        """The recorded class; without a record the lowest sticky one; None: no error."""
        if self.record_valid and self.record_class in tuple(ErrorClass):
            return ErrorClass(self.record_class)
        return next((one for one in ErrorClass if self.status >> one & 1), None)

    @property
    def fatal(self) -> bool:
        """Whether the block has turned to bypass."""
        return bool(self.fault or self.state == State.FAULT or self.status & FATAL)

    @property
    def words(self) -> str:
        """One line for a person."""
        error = self.error
        if error is None:
            return "no error"
        text = f"{error.name}: {MEANING[error]}"
        if self.record_valid:
            detail = describe(error, self.record_info)
            text += f" ({detail})" if detail else ""
            text += f", in cycle {self.record_cycle}"
        return text

    def evidence(self, transport: str) -> dict[str, Any]:
        """The whole of it, JSON-able, for the fallback's record."""
        error = self.error
        return {
            "class": error.name if error is not None else "",
            "words": self.words,
            "info": f"{self.record_info:#010x}" if self.record_valid else "",
            "detail": describe(error, self.record_info)
            if error is not None and self.record_valid
            else "",
            "cycle": self.record_cycle if self.record_valid else None,
            "state": State(self.state).name if self.state in tuple(State) else str(self.state),
            "status": [one.name for one in ErrorClass if self.status >> one & 1],
            "counters": {one.name: self.counts[one] for one in ErrorClass if self.counts[one]},
            "registers": {name: f"{value:#010x}" for name, value in self.registers.items()},
            "transport": transport,
        }

    def failure(self, transport: str) -> FpgaError:
        """The report as an exception."""
        return FpgaError(f"{transport}: the block reports {self.words}", self.evidence(transport))


# Read for a report: all that explains an error and changes nothing by being read.
DUMPED = (
    reg.ID, reg.VERSION, reg.BUILD_DATAPATH, reg.BUILD_TABLES, reg.BUILD_TIMING, reg.CTRL,
    reg.STATUS, reg.HEARTBEAT, reg.HEARTBEAT_LIMIT, reg.HOLD_CYCLES, reg.ERR_STATUS,
    reg.ERR_IRQ_MASK, reg.FIRST_ERROR, reg.FIRST_INFO, reg.FIRST_CYCLE_LO, reg.FIRST_CYCLE_HI,
    reg.FLOW_STATUS, reg.FLOW_SIGNATURE, reg.PF_STATUS, reg.PF_EXPECT, reg.PF_SIGNATURE,
    reg.PF_SEED, *reg.SCRUB_PASSES, *reg.SCRUB_AGE, *reg.SCRUB_CORRECTED,
    *reg.SCRUB_UNCORRECTABLE, *reg.SCRUB_MISMATCHES, *reg.SCRUB_ERR_ADDR,
)  # fmt: skip
