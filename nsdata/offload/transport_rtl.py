"""The block's own RTL, compiled by Verilator and driven in this process.

One C call for a batch of frames: whole captures go through it. The harness's scoreboard compares
every byte that comes out, so `bytes_ok` is always true; a breach raises TransportDied, for such
a block can be trusted with nothing more. `rtl:64,FAULTS=1` is built with test-only ports.
"""

import numpy as np

from nsdata.errors import BusFault, BusTimeout, TransportDied
from nsdata.offload.bounds import check_address, check_cycles, check_value, frames_arrays
from nsdata.offload.rtl.block import Block, Breach, BusError, TimeoutInSimulation
from nsdata.offload.rtl.build import build
from nsdata.offload.rtl.faults import RtlFaults
from nsdata.offload.transport import (
    Bytes,
    Exchange,
    FaultPort,
    Lengths,
    Offsets,
    accounted,
    parameters_of,
)

# Cycles a frame and a beat may take until they are out, ample: a stall is noticed much earlier.
PER_CALL, PER_BEAT = 200_000, 64


class RtlTransport:
    """See Transport; `parameters` are nsd_top's (SETS_LOG2=9, ...). `idle`, `pause` of `block`
    hold source and sink back. `faults`: with test-only ports (nsdata.offload.silent)."""

    name = "rtl"

    def __init__(
        self, data_w: int = 64, *, seed: int = 1, faults: bool = False, **parameters: int
    ) -> None:
        library = build(data_w, None, faults=faults, **parameters)
        self.block = Block(data_w, seed=seed, library=library)
        self.data_w: int = self.block.data_w
        self.faults: FaultPort | None = None
        if faults:
            self.faults = RtlFaults(
                self.block,
                words=parameters.get("PF_WORDS", 1),
                buckets_log2=parameters.get("BUCKETS_LOG2", 10),
                sets_log2=parameters.get("SETS_LOG2", 9),
            )
        self._open = True
        self.reset()

    def _alive(self) -> Block:
        if not self._open:
            raise TransportDied("rtl: the transport is closed")
        return self.block

    def read(self, address: int) -> int:
        """A register's value."""
        block = self._alive()
        check_address(self.name, "read", address)
        try:
            return block.read(address)
        except BusError as error:
            raise BusFault(f"rtl: read of {address:#05x}: {error}") from error
        except TimeoutInSimulation as error:
            raise BusTimeout(f"rtl: read of {address:#05x}: no answer") from error
        except Breach as error:
            raise TransportDied(f"rtl: {error}") from error

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        block = self._alive()
        check_address(self.name, "write", address)
        check_value(value)
        try:
            block.write(address, value)
        except BusError as error:
            raise BusFault(f"rtl: write of {address:#05x}: {error}") from error
        except TimeoutInSimulation as error:
            raise BusTimeout(f"rtl: write of {address:#05x}: no answer") from error
        except Breach as error:
            raise TransportDied(f"rtl: {error}") from error

    def wait(self, cycles: int) -> None:
        """Let `cycles` pass."""
        block = self._alive()
        check_cycles(cycles)
        try:
            block.wait(cycles)
        except Breach as error:
            raise TransportDied(f"rtl: {error}") from error

    def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        """Frames in, and out again or dropped."""
        block = self._alive()
        data, offset, length = frames_arrays(data, offset, length)
        if not len(length):
            return Exchange(np.zeros(0, np.uint8), True)
        beats = int(length.sum(dtype=np.uint64)) // (self.data_w // 8) + len(length)
        try:
            return Exchange(block.exchange(data, offset, length, PER_CALL + PER_BEAT * beats), True)
        except Breach as error:
            assert error.accounted is not None
            raise accounted(TransportDied(f"rtl: {error}"), error.accounted, len(length)) from error
        except TimeoutInSimulation as error:
            assert error.accounted is not None
            raise accounted(BusTimeout(f"rtl: {error}"), error.accounted, len(length)) from error

    def irq(self) -> bool:
        """The interrupt pin."""
        return self._alive().irq()

    def pins(self, *, seu: bool = False, over_temp: bool = False) -> None:
        """Drive the device's error pins."""
        self._alive().pins(seu=seu, over_temp=over_temp)

    def reset(self) -> None:
        """Reset the block."""
        self._alive().reset()

    def close(self) -> None:
        """Free the model."""
        self._open = False
        self.block.close()


def open_spec(text: str) -> RtlTransport:
    """Of `rtl:TEXT`. Raises OffloadError."""
    width, parameters = parameters_of("rtl", text)
    faults = bool(parameters.pop("FAULTS", 0))
    return RtlTransport(width, faults=faults, **parameters)
