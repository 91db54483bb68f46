"""What the host does over the registers, once for every testbench.

Each function is a generator of bus operations, so that the same sequence runs on the in-process
block (`drive`) and in a cocotb test (sim/top/test_top.py drives it with cocotbext-axi):

    yield Read(ID.address)            -> the value is sent back
    yield Write(CTRL.address, 1)
    yield Wait(100)                   cycles
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nsdata.offload import registers as reg
from nsdata.offload.entry import PORT_RANGES, PortRange
from nsdata.offload.model import signature
from nsdata.offload.register_types import Register


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


T = TypeVar("T")
Sequence_ = Generator[Read | Write | Wait, int, T]

ERRORS = tuple(reg.ErrorClass)
FATAL = 0xFFE


class HostError(AssertionError):
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
    raise HostError(f"{register.name}.{name} did not become {wanted}")


def command(register: Register, name: str) -> Sequence_[None]:
    """Write 1 to a strobe field."""
    yield Write(register.address, register.encode(**{name: 1}))


def identify() -> Sequence_[dict[str, int]]:
    """Check what the block is and read what it was built with."""
    if (yield Read(reg.ID.address)) != 0x5444534E:
        raise HostError("no nsdata block here")
    if (yield from get(reg.VERSION, "major")) != 1:
        raise HostError("another major version of the register map")
    built: dict[str, int] = {}
    for register in (reg.BUILD_DATAPATH, reg.BUILD_TABLES, reg.BUILD_TIMING):
        built |= register.decode((yield Read(register.address)))
    return built


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


def load_prefilter(tables: Tables) -> Sequence_[None]:
    """Load buckets, seed and ranges, and commit them."""
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
    yield Write(reg.PF_EXPECT.address, tables.prefilter_signature())
    yield from command(reg.PF_CMD, "commit")
    yield from poll(reg.PF_STATUS, "busy", 0, 100_000)
    if not (yield from get(reg.PF_STATUS, "valid")):
        raise HostError("the prefilter's commit failed")


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
    yield from poll(reg.STATUS, "state", int(reg.State.ARMED))


def bring_up(tables: Tables, **options: Any) -> Sequence_[dict[str, int]]:
    """From reset to armed: identify, load, arm. The parameters it was built with."""
    built = yield from identify()
    yield from poll(reg.FLOW_STATUS, "ready", 1, 100_000)
    yield from load(tables)
    yield from arm(**options)
    return built


def inject(error: int) -> Sequence_[None]:
    """Cause an error of the class."""
    yield Write(reg.ERR_INJECT.address, 1 << error)


@dataclass
class ErrorReport:
    """What the host reads after an error."""

    status: int
    state: int
    fault: int
    record_valid: int
    record_class: int
    record_info: int
    record_cycle: int
    counts: tuple[int, ...]


def read_errors() -> Sequence_[ErrorReport]:
    """Status, record and counters."""
    status = yield Read(reg.ERR_STATUS.address)
    state = yield Read(reg.STATUS.address)
    first = yield Read(reg.FIRST_ERROR.address)
    info = yield Read(reg.FIRST_INFO.address)
    low = yield Read(reg.FIRST_CYCLE_LO.address)
    high = yield Read(reg.FIRST_CYCLE_HI.address)
    counts = []
    for register in reg.ERR_COUNT:
        counts.append((yield Read(register.address)))
    return ErrorReport(
        status, state & 7, state >> 4 & 1, first & 1, first >> 4 & 15, info, low | high << 32,
        tuple(counts),
    )  # fmt: skip


def rearm(limit: int = 200) -> Sequence_[int]:
    """Clear what is sticky and ask until the block is armed again; how often it refused."""
    yield from beat()
    for refused in range(limit):
        yield Write(reg.ERR_STATUS.address, 0xFFF)
        yield Write(reg.CTRL.address, 0b011)
        state = yield Read(reg.STATUS.address)
        if state & 7 != reg.State.FAULT:
            yield Write(reg.ERR_CLEAR.address, 0b11)
            yield from poll(reg.STATUS, "state", int(reg.State.ARMED))
            return refused
        yield Wait(16)
    value = yield Read(reg.STATUS.address)
    raise HostError(f"re-arm refused: {reg.RearmReason(value >> 17 & 7).name}")


def snapshot() -> Sequence_[dict[str, int]]:
    """The statistics, all of one cycle."""
    yield Write(reg.STAT_CMD.address, 1)
    found = {}
    for name in ("cycle", "frames_in", "clear", "suspect", "bypass", "block", "fault",
                 "beats_in", "backpressure"):  # fmt: skip
        low = yield Read(reg.REGISTERS[f"stat_{name}.lo"].address)
        high = yield Read(reg.REGISTERS[f"stat_{name}.hi"].address)
        found[name] = low | high << 32
    return found


class Bus(Protocol):
    """What `drive` works on; sim.bulk.rtl.Block is one."""

    def read(self, address: int) -> int: ...
    def write(self, address: int, value: int) -> None: ...
    def run(self, cycles: int) -> None: ...


def drive(bus: Bus, sequence: Sequence_[T]) -> T:
    """Run a sequence on an in-process block; its result."""
    answer = 0
    try:
        operation = next(sequence)
        while True:
            if isinstance(operation, Read):
                answer = bus.read(operation.address)
            elif isinstance(operation, Write):
                bus.write(operation.address, operation.value)
            else:
                bus.run(operation.cycles)
            operation = sequence.send(answer)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
