"""How registers and frames travel to the block: the protocol, and the choice of one.

    model[:512]             the golden model behind a Python register file (transport_model)
    rtl[:512][,NAME=VALUE]  the Verilated RTL in this process (transport_rtl)
    cocotb[:512|:SOCKET]    a cocotb test bench in a simulator of its own (transport_cocotb)
    pcie:ADDR               a card's BAR and character devices (transport_pcie)

docs/offload.md says how to write another one.
"""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nsdata.errors import FpgaError, OffloadError

KINDS = ("model", "rtl", "cocotb", "pcie")
WIDTHS = (64, 512)
# nsd_top's parameters and the values it takes; FAULTS: test-only ports, by those that have them.
PARAMETERS: dict[str, Sequence[int]] = {
    "SETS_LOG2": range(1, 16), "BUCKETS_LOG2": range(4, 17), "PF_WORDS": (1, 2),
    "LATENCY": range(18, 129), "DEPTH": (32, 64, 128, 256), "STALL_LIMIT": range(16, 65536),
    "MAX_FRAME": range(64, 65536), "RELAY_LOG2": range(1, 31), "CLOCK_KHZ": range(1 << 32),
}  # fmt: skip
FAULTS = ("model", "rtl")
HEADER = 88  # bytes of a frame that decide on it; the store holds them, the latency and 12 beats
T = TypeVar("T")

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.uint64]
Lengths = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What became of frames handed over.

    `verdict`: uint8 [frames], tuser[2:0] of each last beat, BLOCK for a dropped frame.
    `bytes_ok`: the transport compared what came out: every frame unchanged and in order.
    """

    verdict: NDArray[np.uint8]
    bytes_ok: bool


@runtime_checkable
class FaultPort(Protocol):
    """Test-only ports of a simulated block: faults that its own checks may not see; those there
    are have the names and values of nsdata.offload.silent."""

    @property
    def names(self) -> tuple[str, ...]:
        """The ports there are."""

    def poke(self, name: str, value: int) -> None:
        """Set the port `name`; 0 takes the fault away. KeyError when there is none."""


@runtime_checkable
class DevicePins(Protocol):
    """A transport whose block has its device's error pins at hand."""

    def pins(self, *, seu: bool = False, over_temp: bool = False) -> None:
        """Drive the pins."""


class Transport(Protocol):
    """The way to one block. Addresses are bytes, values 32 bits, time is the block's cycles.

    What does not fit is refused (nsdata.offload.bounds): an address outside the map or not of a
    word is a BusFault, a value, a number of cycles or frames that are none a ValueError.

    Every method may raise FpgaError: BusFault, BusTimeout, TransportDied; after `close`, every
    one but `close` raises TransportDied. Not for several threads at once.
    """

    name: str
    data_w: int
    faults: FaultPort | None

    def read(self, address: int) -> int:
        """A register's value."""

    def write(self, address: int, value: int) -> None:
        """Write a register. A posted write may be refused without a word."""

    def wait(self, cycles: int) -> None:
        """Let at least `cycles` pass."""

    def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        """Frames in, in order: frame i is length[i] >= 1 bytes of `data` at offset[i].

        Returns when each has come out or been dropped. An exception says of how many that is
        known (FpgaError). Raises ValueError for a frame without bytes or outside the data.
        """

    def irq(self) -> bool:
        """The interrupt's level."""

    def reset(self) -> None:
        """Reset the whole block: registers, tables, frames inside."""

    def close(self) -> None:
        """Give the block back. A second time does nothing."""


class TransportAsync(Protocol):
    """The same for asyncio."""

    name: str
    data_w: int
    faults: FaultPort | None

    async def read(self, address: int) -> int:
        """A register's value."""

    async def write(self, address: int, value: int) -> None:
        """Write a register."""

    async def wait(self, cycles: int) -> None:
        """Let at least `cycles` pass."""

    async def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        """Frames in, in order; returns when each has come out or been dropped."""

    async def irq(self) -> bool:
        """The interrupt's level."""

    async def reset(self) -> None:
        """Reset the whole block."""

    async def close(self) -> None:
        """Give the block back."""


class TransportInThread:
    """A Transport for asyncio: each call runs in a worker thread, one at a time."""

    def __init__(self, inner: Transport) -> None:
        self.inner = inner
        self.name = inner.name
        self.data_w = inner.data_w
        self.faults = inner.faults
        self._lock = asyncio.Lock()

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        async with self._lock:
            return await asyncio.to_thread(function, *arguments)

    async def read(self, address: int) -> int:
        """A register's value."""
        return await self._call(self.inner.read, address)

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        await self._call(self.inner.write, address, value)

    async def wait(self, cycles: int) -> None:
        """Let at least `cycles` pass."""
        await self._call(self.inner.wait, cycles)

    async def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        """Frames in, in order; returns when each has come out or been dropped."""
        return await self._call(self.inner.exchange, data, offset, length)

    async def irq(self) -> bool:
        """The interrupt's level."""
        return await self._call(self.inner.irq)

    async def reset(self) -> None:
        """Reset the whole block."""
        await self._call(self.inner.reset)

    async def close(self) -> None:
        """Give the block back."""
        await self._call(self.inner.close)


def accounted(
    error: FpgaError, verdict: NDArray[np.uint8], frames: int, what: str = ""
) -> FpgaError:
    """`error`, saying that of `frames` frames handed over the first len(verdict) are known."""
    error.evidence |= {"frames": frames, "accounted": len(verdict)}
    error.verdict = verdict
    text = f"{error}; of {frames} frames, {len(verdict)} are accounted for"
    if len(verdict) < frames:
        text += f", frames {len(verdict)} to {frames - 1} are not"
    error.args = (text + what,)
    return error


def parameters_of(kind: str, text: str) -> tuple[int, dict[str, int]]:
    """`512,SETS_LOG2=4` -> (512, {"SETS_LOG2": 4}); OffloadError when no block is built so."""
    width, parameters = 64, {}
    seen: set[str] = set()
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        what = name.upper() if equals else "a width"
        if what in seen and (equals or name.isdecimal()):
            raise OffloadError(f"{kind}:{text}: {what} is given twice")
        seen.add(what)
        try:
            if equals:
                parameters[name.upper()] = int(value, 0)
            else:
                width = int(name)
        except ValueError:
            raise OffloadError(
                f"{kind}:{text}: {part} is neither a width nor NAME=NUMBER. "
                f"Try: {kind}:64 or {kind}:512,SETS_LOG2=9"
            ) from None
    if width not in WIDTHS:
        raise OffloadError(f"{kind}:{text}: a width of {width} bits; legal are 64 and 512")
    legal = PARAMETERS | ({"FAULTS": (0, 1)} if kind in FAULTS else {})
    for given, number in parameters.items():
        if given not in legal:
            raise OffloadError(f"{kind}:{text}: no parameter {given}; there are {', '.join(legal)}")
        if number not in legal[given]:
            raise OffloadError(
                f"{kind}:{text}: {given} {number}: legal are {_values(legal[given])}"
            )
    least = -(-8 * HEADER // width) + parameters.get("LATENCY", 18) + 12
    if parameters.get("DEPTH", 64) < least:
        raise OffloadError(f"{kind}:{text}: this latency takes a DEPTH of at least {least}")
    return width, parameters


def _values(legal: Sequence[int]) -> str:
    if isinstance(legal, range):
        return f"{legal[0]} to {legal[-1]}"
    return ", ".join(map(str, legal))


def open_transport(spec: str) -> Transport:
    """The transport a specification names (see the module). Raises OffloadError, saying why."""
    kind, _, rest = spec.partition(":")
    if kind not in KINDS:
        raise OffloadError(f"{spec}: no such transport; there are model, rtl, cocotb and pcie:ADDR")
    if kind == "pcie" and not rest:
        raise OffloadError("pcie: which card? Try: pcie:0000:03:00.0 (lspci -D lists them)")
    # By name, so that only what is used need be there.
    module = importlib.import_module(f"nsdata.offload.transport_{kind}")
    made: Transport = module.open_spec(rest)
    return made
