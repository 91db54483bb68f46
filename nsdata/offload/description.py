"""What a block says of itself, for people: identity, registers field by field, errors, counters.

Nothing the block decides is changed by it: no register of the map changes by being read, and the
one that is written (stat_cmd) latches the statistics. A pass is cut into steps of a few registers,
so that frames do not wait for it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from enum import IntEnum
from typing import Any, Final

from nsdata.errors import FpgaError
from nsdata.offload import registers as reg
from nsdata.offload import sequences as seq
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.driver import Driver
from nsdata.offload.register_types import Register
from nsdata.offload.report import DUMPED
from nsdata.offload.sequences import Identity, Sequence_
from nsdata.offload.session import Session

Message = dict[str, Any]

# Windows into tables (what was written last, or read) are not of it, nor statistics: counters are.
TOLD: Final = sorted(
    (*DUMPED, reg.CLOCK_KHZ, reg.FLOW_CAPACITY, *reg.ERR_COUNT), key=lambda one: one.address
)
NO_REGISTERS = "the golden model has no registers"
PERIOD_NS = 2_000_000_000  # between two passes
RETRY_NS = 10_000_000_000  # after one that failed: what does not answer costs a time-out
STEP_NS = 5_000_000  # between two steps of one
STEP_REGISTERS = 8
RECORD = ("class", "words", "detail", "info", "cycle", "status")  # of a report's evidence


def passed(driver: Driver) -> Generator[None, None, Message]:
    """A pass over the block, in steps of 8 to 19 registers; JSON-ready. Raises FpgaError."""
    identity = driver.identify()
    yield
    report = driver.run(seq.read_errors(), "describe")
    yield
    words: dict[str, int] = {}
    for start in range(0, len(TOLD), STEP_REGISTERS):
        words |= driver.run(_read(TOLD[start : start + STEP_REGISTERS]), "describe")
        yield
    counters = driver.run(seq.snapshot(), "describe")
    record = report.evidence(driver.transport.name)
    return {
        "identity": _identity(identity),
        "registers": {name: decoded(name, word) for name, word in words.items()},
        "counters": counters,
        "error_counters": record["counters"],
        "record": {key: record[key] for key in RECORD} if report.error is not None else None,
    }


def _read(registers: Sequence[Register]) -> Sequence_[dict[str, int]]:
    found = {}
    for register in registers:
        found[register.name] = yield seq.Read(register.address)
    return found


def _identity(found: Identity) -> Message:
    """As the driver has it; the magic was checked."""
    return {
        "magic": f"{seq.MAGIC:#010x} ({seq.MAGIC.to_bytes(4, 'little').decode('ascii')})",
        "version": ".".join(map(str, found.version)),
        "clock_khz": found.clock_khz,
        "flow_capacity": found.capacity,
        "built": found.built,
    }


def decoded(name: str, word: int) -> Message:
    """A register: `address`, `value` (the word) and `fields` by name; those that have names for
    their values by that name."""
    register = reg.REGISTERS[name]
    fields = {
        one: value.name if isinstance(value, IntEnum) else value
        for one, value in register.decode(word).items()
        if register[one].access != "w"
    }
    return {"address": register.address, "value": word, "fields": fields}


class Describer:
    """Passes over the block of a session, one every PERIOD_NS."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._driver: Driver | None = None  # of the pass
        self._pass: Generator[None, None, Message] | None = None
        self._next_ns = 0

    def step(self, now: int) -> Message | None:
        """A step of a pass, if one is due; what the block says of itself when it is complete."""
        if now < self._next_ns:
            return None
        self._next_ns = now + PERIOD_NS
        block = self._session.offload
        if not isinstance(block, DrivenOffload):
            return self._told({"note": NO_REGISTERS})
        if self._pass is None or self._driver is not block.driver:
            self._driver, self._pass = block.driver, passed(block.driver)
        try:
            next(self._pass)
        except StopIteration as done:
            self._pass = None
            return self._told(done.value)
        except FpgaError as error:
            self._pass = None
            self._next_ns = now + RETRY_NS
            return self._failed(error)
        self._next_ns = now + STEP_NS
        return None

    def anew(self) -> None:
        """What was read holds no more: the next pass is due now."""
        self._pass, self._next_ns = None, 0

    def whole(self) -> Message:
        """A pass at once."""
        block = self._session.offload
        if not isinstance(block, DrivenOffload):
            return self._told({"note": NO_REGISTERS})
        try:
            steps = passed(block.driver)
            while True:
                next(steps)
        except StopIteration as done:
            return self._told(done.value)
        except FpgaError as error:
            return self._failed(error)

    def _told(self, told: Message) -> Message:
        return {**told, "transport": self._session.offload.name, "use": self._session.figures()}

    def _failed(self, error: FpgaError) -> Message:
        return self._told({"note": f"it could not be read: {error}"})
