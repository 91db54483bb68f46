"""What the host does over the registers, once for every transport and every testbench.

Sans-IO: each function is a generator of operations, so that the same sequence runs on a
synchronous transport (`drive`), an asynchronous one (`drive_async`) and in a cocotb test:

    yield Read(ID.address)            -> the value is sent back
    yield Write(CTRL.address, 1)
    yield Wait(100)                   cycles
    yield Irq()                       -> 1 or 0
    yield Reset()

What the block does not do as asked raises FpgaError, with evidence.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nsdata.errors import FpgaError
from nsdata.offload import registers as reg
from nsdata.offload.entry import PORT_RANGES, PortRange
from nsdata.offload.model import signature
from nsdata.offload.register_types import Register
from nsdata.offload.registers import RearmReason, State
from nsdata.offload.report import DUMPED, REFUSALS, ErrorReport


class Read(NamedTuple):
    """Read the register at `address`."""

    address: int


class Write(NamedTuple):
    """Write `value` to the register at `address`."""

    address: int
    value: int


class Wait(NamedTuple):
    """Let `cycles` pass."""

    cycles: int


class Irq(NamedTuple):
    """Ask for the interrupt's level."""


class Reset(NamedTuple):
    """Reset the whole block."""


T = TypeVar("T")
Operation = Read | Write | Wait | Irq | Reset
Sequence_ = Generator[Operation, int, T]

ERRORS = tuple(reg.ErrorClass)
FATAL = 0xFFE
MAGIC = 0x5444534E
MAJOR = 1


class HostError(FpgaError):
    """The block did not do what the host asked for."""


@dataclass
class Tables:
    """What is loaded: flow entries by address, the prefilter's buckets, seed and port ranges."""

    flow: dict[int, tuple[int, ...]] = field(default_factory=dict)  # {set, way} -> six words
    buckets: NDArray[np.uint64] | None = None  # [buckets, words]
    seed: int = 0
    ranges: Sequence[PortRange] = ()

    def prefilter_signature(self) -> int:
        """What the commit must find: buckets, then the seed and every port range."""
        assert self.buckets is not None
        words = self.buckets.shape[1]
        extra = np.zeros((1 + PORT_RANGES, words), dtype=np.uint64)
        extra[0, 0] = self.seed
        for i, one in enumerate(self.ranges):
            extra[1 + i, 0] = one.pack()
        return signature(self.buckets) ^ signature(extra, len(self.buckets))


def get(register: Register, name: str) -> Sequence_[int]:
    """One field of a register."""
    return register[name].decode((yield Read(register.address)))


def poll(register: Register, name: str, wanted: int, limit: int = 4000) -> Sequence_[None]:
    """Read until a field has the value. HostError after `limit` reads."""
    for _ in range(limit):
        if (yield from get(register, name)) == wanted:
            return
        yield Wait(8)
    got = yield from get(register, name)
    raise HostError(
        f"{register.name}.{name} did not become {wanted}, it is {got}",
        {"class": "NO_ANSWER", "register": register.name, "field": name, "wanted": wanted,
         "found": int(got)},
    )  # fmt: skip


def command(register: Register, name: str) -> Sequence_[None]:
    """Write 1 to a strobe field."""
    yield Write(register.address, register.encode(**{name: 1}))


@dataclass(frozen=True, slots=True)
class Identity:
    """What the block is: its register map's version, and what it was built with."""

    version: tuple[int, int, int]
    clock_khz: int  # 0: not stated
    capacity: int  # entries of the flow table
    built: dict[str, int]  # data_w, depth, sets_log2, ways, buckets_log2, pf_words, ...

    def cycles(self, seconds: float) -> int:
        """A time in the block's cycles; those of 156.25 MHz when it does not state its clock."""
        return round(seconds * 1000 * (self.clock_khz or 156_250))


def identify() -> Sequence_[dict[str, int]]:
    """Check what the block is; what it was built with, by name."""
    return (yield from identity()).built


def identity() -> Sequence_[Identity]:
    """Check what the block is and read what it was built with.

    HostError when it is not an nsdata block, of another major version, or makes no sense.
    """
    magic = yield Read(reg.ID.address)
    if magic != MAGIC:
        told = {0xFFFFFFFF: ": nothing answers there", 0: ": it reads as nothing"}.get(
            magic, f" ({magic.to_bytes(4, 'little')!r})"
        )
        raise HostError(
            f"no nsdata block here: id is {magic:#010x}, not {MAGIC:#010x}{told}",
            {"class": "IDENTITY", "id": f"{magic:#010x}"},
        )
    version = reg.VERSION.decode((yield Read(reg.VERSION.address)))
    triple = (version["major"], version["minor"], version["patch"])
    if version["major"] != MAJOR:
        raise HostError(
            f"the block's register map is version {'.'.join(map(str, triple))}; this nsdata "
            f"drives version {MAJOR}",
            {"class": "IDENTITY", "version": list(triple)},
        )
    built: dict[str, int] = {}
    for register in (reg.BUILD_DATAPATH, reg.BUILD_TABLES, reg.BUILD_TIMING):
        built |= register.decode((yield Read(register.address)))
    clock = yield Read(reg.CLOCK_KHZ.address)
    capacity = yield Read(reg.FLOW_CAPACITY.address)
    odd = [
        f"{name} is {built[name]}"
        for name, legal in (("data_w", (64, 512)), ("ways", (2,)), ("port_ranges", (PORT_RANGES,)))
        if built[name] not in legal
    ]
    if capacity != built["ways"] << built["sets_log2"]:
        odd.append(f"the flow table holds {capacity}, not {built['ways']} << sets_log2")
    if odd:
        raise HostError(
            f"the block says what this nsdata cannot drive: {'; '.join(odd)}",
            {"class": "IDENTITY", "built": built},
        )
    return Identity(triple, clock, capacity, built)


def write_flow(address: int, words: Iterable[int]) -> Sequence_[None]:
    """Write one flow entry: six 64-bit words, low first."""
    yield Write(reg.FLOW_ADDR.address, address)
    for i, word in enumerate(words):
        yield Write(reg.FLOW_WDATA[2 * i].address, word & 0xFFFFFFFF)
        yield Write(reg.FLOW_WDATA[2 * i + 1].address, word >> 32)
    yield from command(reg.FLOW_CMD, "write")
    yield from poll(reg.FLOW_STATUS, "busy", 0)
    if (yield from get(reg.FLOW_STATUS, "error")):
        raise HostError(f"the flow table refused entry {address}")


def _words(registers: Sequence[Register]) -> Sequence_[tuple[int, ...]]:
    """Registers as 64-bit words, low word first."""
    words = []
    for register in registers:
        words.append((yield Read(register.address)))
    return tuple(low | high << 32 for low, high in zip(words[::2], words[1::2], strict=True))


def read_flow(address: int) -> Sequence_[tuple[int, ...]]:
    """Read one flow entry back: six 64-bit words, corrected."""
    yield Write(reg.FLOW_ADDR.address, address)
    yield from command(reg.FLOW_CMD, "read")
    yield from poll(reg.FLOW_STATUS, "busy", 0)
    return (yield from _words(reg.FLOW_RDATA))


def read_bucket(address: int, words: int) -> Sequence_[tuple[int, ...]]:
    """Read one bucket of the prefilter back: `words` 64-bit words, corrected."""
    yield Write(reg.PF_ADDR.address, address)
    yield from command(reg.PF_CMD, "read")
    yield from poll(reg.PF_STATUS, "busy", 0)
    return (yield from _words(reg.PF_RDATA[: 2 * words]))


def clear_flows() -> Sequence_[None]:
    """Empty the flow table, and wait until lookups may hit again."""
    yield from poll(reg.FLOW_STATUS, "busy", 0, 100_000)
    yield from command(reg.FLOW_CMD, "clear")
    yield from poll(reg.FLOW_STATUS, "busy", 0, 100_000)
    yield from poll(reg.FLOW_STATUS, "ready", 1, 100_000)


def check_signature(register: Register, wanted: int, what: str, left: str) -> Sequence_[None]:
    """Compare the block's signature of a table with the host's; `left`: what is in force now."""
    found = yield Read(register.address)
    if found != wanted:
        raise HostError(
            f"{what} does not hold what was loaded: its signature is {found:#010x}, "
            f"not {wanted:#010x}; {left}",
            {"class": "TABLE_READBACK", "table": what, "found": f"{found:#010x}",
             "wanted": f"{wanted:#010x}", "left": left},
        )  # fmt: skip


def load_prefilter(tables: Tables, wanted: int | None = None) -> Sequence_[None]:
    """Load buckets, seed and ranges, and commit them; `wanted`: the compiler's signature of them.

    HostError when the block finds another signature: then it has no table and says TABLE_CRC.
    """
    assert tables.buckets is not None
    yield from command(reg.PF_CMD, "load_begin")
    yield from poll(reg.PF_STATUS, "busy", 0, 100_000)
    for address, words in enumerate(tables.buckets.tolist()):
        if not any(words):
            continue
        yield Write(reg.PF_ADDR.address, address)
        for i, word in enumerate(words):
            yield Write(reg.PF_WDATA[2 * i].address, word & 0xFFFFFFFF)
            yield Write(reg.PF_WDATA[2 * i + 1].address, word >> 32)
        yield from command(reg.PF_CMD, "write")
        yield from poll(reg.PF_STATUS, "busy", 0)
        if (yield from get(reg.PF_STATUS, "error")):
            raise HostError(f"the prefilter refused bucket {address}")
    yield Write(reg.PF_SEED.address, tables.seed)
    for i in range(PORT_RANGES):
        one = tables.ranges[i] if i < len(tables.ranges) else PortRange()
        yield Write(reg.PF_RANGE_PORTS[i].address, one.low | one.high << 16)
        protocols = int(one.tcp) | int(one.udp) << 1 | int(one.icmp) << 2
        yield Write(reg.PF_RANGE_PROTOCOLS[i].address, protocols)
    wanted = tables.prefilter_signature() if wanted is None else wanted
    yield Write(reg.PF_EXPECT.address, wanted)
    yield from command(reg.PF_CMD, "commit")
    yield from poll(reg.PF_STATUS, "busy", 0, 100_000)
    if not (yield from get(reg.PF_STATUS, "valid")):
        found = yield Read(reg.PF_SIGNATURE.address)
        raise HostError(
            f"the prefilter's commit failed: the block does not hold a table of signature "
            f"{wanted:#010x}; it has no table now, and calls every frame SUSPECT",
            {"class": "TABLE_READBACK", "table": "prefilter", "wanted": f"{wanted:#010x}",
             "buckets": f"{found:#010x}", "left": "no prefilter table"},
        )  # fmt: skip


def load(tables: Tables) -> Sequence_[None]:
    """Everything the tables hold."""
    for address, words in tables.flow.items():
        yield from write_flow(address, words)
    if tables.buckets is not None:
        yield from load_prefilter(tables)


def beat() -> Sequence_[None]:
    """The host's sign of life."""
    yield Write(reg.HEARTBEAT.address, 1)


def arm(*, hold: int = 64, limit: int = 1 << 30) -> Sequence_[None]:
    """Start the heartbeat, enable, and wait until the block is armed."""
    yield Write(reg.HOLD_CYCLES.address, hold)
    yield Write(reg.HEARTBEAT_LIMIT.address, limit)
    yield from beat()
    yield Write(reg.CTRL.address, 1)
    yield from _armed()


def _armed(limit: int = 4000) -> Sequence_[None]:
    """Read until the block is armed. HostError names the state it is in instead."""
    state = State.ARMING
    for _ in range(limit):
        state = State((yield from get(reg.STATUS, "state")))
        if state in (State.ARMED, State.FAULT):
            break
        yield Wait(8)
    if state == State.ARMED:
        return
    why = ""
    sticky = (yield Read(reg.ERR_STATUS.address)) >> reg.ErrorClass.HEARTBEAT & 1
    if sticky or not (yield Read(reg.HEARTBEAT.address)):
        cycles = yield Read(reg.HEARTBEAT_LIMIT.address)
        why = (
            f": the heartbeat ran out, its limit is {cycles} cycles. Try start with a larger "
            "limit: identify().cycles(1.0) is a second"
        )
    raise HostError(
        f"the block is {state.name}, not {State.ARMED.name}{why}",
        {"class": "NO_ANSWER", "register": reg.STATUS.name, "field": "state",
         "wanted": State.ARMED.name, "found": state.name},
    )  # fmt: skip


def bring_up(tables: Tables, **options: Any) -> Sequence_[dict[str, int]]:
    """From reset to armed: identify, load, arm. The parameters it was built with."""
    built = yield from identify()
    yield from poll(reg.FLOW_STATUS, "ready", 1, 100_000)
    yield from load(tables)
    yield from arm(**options)
    return built


def inject(*errors: int) -> Sequence_[None]:
    """Cause an error of each of the classes, all in the same cycle."""
    yield Write(reg.ERR_INJECT.address, sum(1 << error for error in set(errors)))


def dump() -> Sequence_[dict[str, int]]:
    """The registers that explain an error, by name."""
    found = {}
    for register in DUMPED:
        found[register.name] = yield Read(register.address)
    return found


def read_errors(registers: bool = False) -> Sequence_[ErrorReport]:
    """Status, record and counters; `registers`: with a dump."""
    status = yield Read(reg.ERR_STATUS.address)
    state = yield Read(reg.STATUS.address)
    first = yield Read(reg.FIRST_ERROR.address)
    info = yield Read(reg.FIRST_INFO.address)
    low = yield Read(reg.FIRST_CYCLE_LO.address)
    high = yield Read(reg.FIRST_CYCLE_HI.address)
    counts = []
    for register in reg.ERR_COUNT:
        counts.append((yield Read(register.address)))
    dumped = (yield from dump()) if registers else {}
    return ErrorReport(
        status, state & 7, state >> 4 & 1, first & 1, first >> 4 & 15, info, low | high << 32,
        tuple(counts), dumped,
    )  # fmt: skip


def rearm(limit: int = 200, wait: int = 16) -> Sequence_[tuple[RearmReason, ...]]:
    """Clear what is sticky and ask until the block is armed again; the refusals on the way.

    HostError after `limit` refusals, `wait` cycles apart, naming the last.
    """
    refused: list[RearmReason] = []
    for _ in range(limit):
        yield from beat()  # again: the hold time may be longer than a beat lasts
        yield Write(reg.ERR_STATUS.address, 0xFFF)
        # Before the block is armed: what strikes from then on keeps its record.
        yield Write(reg.ERR_CLEAR.address, 0b11)
        yield Write(reg.CTRL.address, 0b011)
        state = yield Read(reg.STATUS.address)
        if state & 7 != State.FAULT:
            yield from _armed()
            return tuple(refused)
        refused.append(RearmReason(state >> 17 & 7))
        yield Wait(wait)
    why = refused[-1] if refused else RearmReason.NONE
    raise HostError(
        f"re-arm refused {len(refused)} times: {why.name}, {REFUSALS[why]}",
        {"class": "REARM_REFUSED", "reason": why.name, "times": len(refused),
         "reasons": sorted({one.name for one in refused})},
    )  # fmt: skip


STATISTICS = (
    "cycle", "frames_in", "clear", "suspect", "bypass", "block", "fault", "beats_in",
    "backpressure",
)  # fmt: skip


def snapshot() -> Sequence_[dict[str, int]]:
    """The statistics, all of one cycle."""
    yield Write(reg.STAT_CMD.address, 1)
    found = {}
    for name in STATISTICS:
        low = yield Read(reg.REGISTERS[f"stat_{name}.lo"].address)
        high = yield Read(reg.REGISTERS[f"stat_{name}.hi"].address)
        found[name] = low | high << 32
    return found


class Bus(Protocol):
    """What `drive` works on: any Transport."""

    def read(self, address: int) -> int:
        """A register's value."""

    def write(self, address: int, value: int) -> None:
        """Write a register."""

    def wait(self, cycles: int) -> None:
        """Let time pass."""

    def irq(self) -> bool:
        """The interrupt's level."""

    def reset(self) -> None:
        """Reset the block."""


class BusAsync(Protocol):
    """What `drive_async` works on: any TransportAsync."""

    async def read(self, address: int) -> int:
        """A register's value."""

    async def write(self, address: int, value: int) -> None:
        """Write a register."""

    async def wait(self, cycles: int) -> None:
        """Let time pass."""

    async def irq(self) -> bool:
        """The interrupt's level."""

    async def reset(self) -> None:
        """Reset the block."""


def drive(bus: Bus, sequence: Sequence_[T]) -> T:
    """Run a sequence on a synchronous transport; its result. FpgaErrors are thrown into it."""
    answer = 0
    try:
        operation = next(sequence)
        while True:
            try:
                if isinstance(operation, Read):
                    answer = bus.read(operation.address)
                elif isinstance(operation, Write):
                    bus.write(operation.address, operation.value)
                elif isinstance(operation, Wait):
                    bus.wait(operation.cycles)
                elif isinstance(operation, Irq):
                    answer = int(bus.irq())
                else:
                    bus.reset()
            except FpgaError as error:
                operation = sequence.throw(error)
            else:
                operation = sequence.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result


async def drive_async(bus: BusAsync, sequence: Sequence_[T]) -> T:
    """Run a sequence on an asynchronous transport; its result, as `drive`."""
    answer = 0
    try:
        operation = next(sequence)
        while True:
            try:
                if isinstance(operation, Read):
                    answer = await bus.read(operation.address)
                elif isinstance(operation, Write):
                    await bus.write(operation.address, operation.value)
                elif isinstance(operation, Wait):
                    await bus.wait(operation.cycles)
                elif isinstance(operation, Irq):
                    answer = int(await bus.irq())
                else:
                    await bus.reset()
            except FpgaError as error:
                operation = sequence.throw(error)
            else:
                operation = sequence.send(answer)
    except StopIteration as done:
        result: T = done.value
        return result
