"""The Verilated nsd_top as a Python object: frames in, results out, registers.

block = Block(data_w=64)
block.reset()
block.write(0x020, 1)
block.feed(data, offset, length)
block.drain()
for result in block.collect(): ...
"""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.bounds import frames_arrays
from nsdata.offload.rtl.build import build

PENDING, OUT, DROPPED, CANCELLED = range(4)
RESULT = np.dtype(
    [
        ("in_first", np.uint64),
        ("in_last", np.uint64),
        ("out_first", np.uint64),
        ("out_last", np.uint64),
        ("length", np.uint32),
        ("fate", np.uint8),
        ("verdict", np.uint8),
        ("open", np.uint8),
        ("mark", np.uint8),
    ]
)


class BusError(Exception):
    """The register bus refused an access, or did not answer."""


class Breach(AssertionError):
    """The scoreboard saw a frame lost, made, reordered or changed, or AXI4-Stream broken."""

    accounted: NDArray[np.uint8] | None = None


class TimeoutInSimulation(Exception):
    """Frames were left when the cycles ran out."""

    accounted: NDArray[np.uint8] | None = None


def _unsigned(what: str, value: int, bits: int) -> int:
    """`value`, which C would cut to `bits`. Raises ValueError."""
    if not 0 <= value < 1 << bits:
        raise ValueError(f"{what} {value}: legal are 0 to {(1 << bits) - 1}")
    return value


def _library(path: Path) -> ctypes.CDLL:
    u32, u64, at, text = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_char_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "nsd_new": (at, [u64]),
        "nsd_free": (None, [at]),
        "nsd_data_w": (u32, []),
        "nsd_reset": (None, [at, u32]),
        "nsd_idle": (None, [at, u32, u32]),
        "nsd_pause": (None, [at, u32, u32]),
        "nsd_feed": (ctypes.c_int, [at, at, at, at, at, at, u32]),
        "nsd_run": (ctypes.c_int, [at, u64]),
        "nsd_drain": (ctypes.c_int, [at, u32, u64]),
        "nsd_exchange": (ctypes.c_int, [at, at, at, at, u32, u64, at, ctypes.POINTER(u32)]),
        "nsd_cycle": (u64, [at]),
        "nsd_pending": (u32, [at]),
        "nsd_beats_in": (u64, [at]),
        "nsd_collect": (u32, [at, at, u32]),
        "nsd_keep": (None, [at, ctypes.c_int]),
        "nsd_fetch": (u64, [at, at, u64]),
        "nsd_write": (ctypes.c_int, [at, u32, u32]),
        "nsd_read": (ctypes.c_int, [at, u32, ctypes.POINTER(u32)]),
        "nsd_pins": (None, [at, u32]),
        "nsd_outputs": (u32, [at]),
        "nsd_signal": (ctypes.c_int, [at, text, text]),
        "nsd_peek": (ctypes.c_int, [at, text, text, u32, at]),
        "nsd_poke": (ctypes.c_int, [at, text, text, u32, text]),
        "nsd_hold": (ctypes.c_int, [at, text, text, text]),
        "nsd_let_go": (ctypes.c_int, [at, text, text]),
        "nsd_error": (text, [at]),
    }
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Block:
    """nsd_top, simulated in this process. Methods that take time let frames flow meanwhile."""

    def __init__(
        self, data_w: int = 64, *, seed: int = 1, library: Path | None = None, **parameters: int
    ) -> None:
        self._lib = _library(library or build(data_w, None, faults=False, **parameters))
        self.data_w = self._lib.nsd_data_w()
        self._block = self._lib.nsd_new(seed)

    def close(self) -> None:
        """Free the model."""
        if self._block:
            self._lib.nsd_free(self._block)
            self._block = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self, code: int) -> None:
        if code == 0:
            return
        if code == -1:
            raise BusError("SLVERR")
        said = self._lib.nsd_error(self._block).decode()
        if said:
            raise Breach(said)
        raise TimeoutInSimulation(f"cycle {self.cycle}: {self.pending} frames pending")

    def reset(self, cycles: int = 8) -> None:
        """Reset; frames in the block are cancelled, queued ones stay."""
        self._lib.nsd_reset(self._block, _unsigned("cycles", cycles, 32))

    def idle(self, p: float, burst: int = 1) -> None:
        """The source holds back with probability `p` per cycle, for 1 to `burst` cycles."""
        self._lib.nsd_idle(self._block, round(p * 65536), burst)

    def pause(self, p: float, burst: int = 1) -> None:
        """The sink holds back likewise."""
        self._lib.nsd_pause(self._block, round(p * 65536), burst)

    def feed(
        self,
        data: NDArray[np.uint8],
        offset: NDArray[np.uint64],
        length: NDArray[np.uint32],
        mark: NDArray[np.uint8] | None = None,
        may_drop: NDArray[np.uint8] | None = None,
    ) -> None:
        """Queue frames: frame i is length[i] >= 1 bytes at offset[i]; the bytes are copied."""
        arrays = frames_arrays(data, offset, length)
        options = [
            None if array is None else np.ascontiguousarray(array, dtype=np.uint8)
            for array in (mark, may_drop)
        ]
        if any(array is not None and len(array) != len(length) for array in options):
            raise ValueError("mark and may_drop have one value for each frame")
        pointers: list[int | None] = [array.ctypes.data for array in arrays]
        pointers += [None if array is None else array.ctypes.data for array in options]
        self._check(self._lib.nsd_feed(self._block, *pointers, len(length)))

    def exchange(
        self,
        data: NDArray[np.uint8],
        offset: NDArray[np.uint64],
        length: NDArray[np.uint32],
        limit: int = 1 << 40,
    ) -> NDArray[np.uint8]:
        """Frames in, and out again or dropped, in one call; nothing may be pending.

        The verdict of each: uint8 [frames], 4 for a dropped one. When it raises, `accounted` of
        the exception is the same for the frames whose fate is known.
        """
        data, offset, length = frames_arrays(data, offset, length)
        limit = _unsigned("limit", limit, 64)
        verdict = np.zeros(len(length), dtype=np.uint8)
        accounted = ctypes.c_uint32()
        code = self._lib.nsd_exchange(
            self._block, data.ctypes.data, offset.ctypes.data, length.ctypes.data, len(length),
            limit, verdict.ctypes.data, ctypes.byref(accounted),
        )  # fmt: skip
        try:
            self._check(code)
        except (Breach, TimeoutInSimulation) as error:
            error.accounted = verdict[: accounted.value]
            raise
        return verdict

    def wait(self, cycles: int) -> None:
        """Let time pass."""
        self._check(self._lib.nsd_run(self._block, _unsigned("cycles", cycles, 64)))

    def drain(self, pending: int = 0, limit: int = 1 << 40) -> None:
        """Run until at most `pending` frames are in the block or queued."""
        pending, limit = _unsigned("pending", pending, 32), _unsigned("limit", limit, 64)
        self._check(self._lib.nsd_drain(self._block, pending, limit))

    def collect(self) -> NDArray[np.void]:
        """RESULT of the frames whose fate is known, in order, each once."""
        chunks = []
        while True:
            chunk = np.zeros(65536, dtype=RESULT)
            count = self._lib.nsd_collect(self._block, chunk.ctypes.data, chunk.size)
            chunks.append(chunk[:count])
            if count < chunk.size:
                return np.concatenate(chunks)

    def keep(self, keep: bool = True) -> None:
        """Keep the bytes that come out, for `fetch`."""
        self._lib.nsd_keep(self._block, keep)

    def fetch(self) -> bytes:
        """The bytes kept since the last call: frames one after the other."""
        size = self._lib.nsd_fetch(self._block, None, 0)
        room = (ctypes.c_uint8 * size)()
        if size:
            self._lib.nsd_fetch(self._block, room, size)
        return bytes(room)

    def write(self, address: int, value: int) -> None:
        """Write a register. Raises BusError."""
        address, value = _unsigned("address", address, 32), _unsigned("value", value, 32)
        self._check(self._lib.nsd_write(self._block, address, value))

    def read(self, address: int) -> int:
        """Read a register. Raises BusError."""
        value = ctypes.c_uint32()
        address = _unsigned("address", address, 32)
        self._check(self._lib.nsd_read(self._block, address, ctypes.byref(value)))
        return value.value

    def pins(self, *, seu: bool = False, over_temp: bool = False) -> None:
        """Drive the device's error pins."""
        self._lib.nsd_pins(self._block, seu | over_temp << 1)

    def irq(self) -> bool:
        """The interrupt pin."""
        return bool(self._lib.nsd_outputs(self._block) & 1)

    # --- signals inside, in a build with test-only ports: see faults.vlt

    def _signal(self, name: str) -> tuple[bytes, bytes]:
        """`verdict.fin_verdict` -> its scope and its name in it."""
        scope, _, last = f"TOP.nsd_top.{name}".rpartition(".")
        return scope.encode(), last.encode()

    def _named(self, name: str, code: int) -> None:
        if code < 0:
            raise KeyError(f"{name}: no such signal here, or no build with test-only ports")

    def peek(self, name: str, entry: int = 0) -> int:
        """The value of a register, or of a memory's entry. Raises KeyError."""
        size = self._lib.nsd_signal(self._block, *self._signal(name))
        self._named(name, size)
        room = (ctypes.c_uint8 * size)()
        self._named(name, self._lib.nsd_peek(self._block, *self._signal(name), entry, room))
        return int.from_bytes(room, "little")

    def poke(self, name: str, value: int, entry: int = 0) -> None:
        """Write it, once. Raises KeyError; OverflowError for a value that is too long."""
        size = self._lib.nsd_signal(self._block, *self._signal(name))
        self._named(name, size)
        content = value.to_bytes(size, "little")
        self._named(name, self._lib.nsd_poke(self._block, *self._signal(name), entry, content))

    def hold(self, name: str, becomes: Mapping[int, int] | None = None) -> None:
        """From the next clock on a register stays as it is, or its value v is becomes[v]. Raises
        KeyError."""
        table = None if becomes is None else bytes(becomes.get(v, v) for v in range(256))
        self._named(name, self._lib.nsd_hold(self._block, *self._signal(name), table))

    def let_go(self, name: str) -> None:
        """A register is the circuit's again. Raises KeyError."""
        self._named(name, self._lib.nsd_let_go(self._block, *self._signal(name)))

    @property
    def heartbeat_out(self) -> bool:
        """The relay's pin."""
        return bool(self._lib.nsd_outputs(self._block) & 2)

    @property
    def cycle(self) -> int:
        """Cycles since the block was made."""
        return int(self._lib.nsd_cycle(self._block))

    @property
    def pending(self) -> int:
        """Frames neither out nor dropped."""
        return int(self._lib.nsd_pending(self._block))

    @property
    def beats_in(self) -> int:
        """Beats accepted."""
        return int(self._lib.nsd_beats_in(self._block))
