"""The golden model as a transport: bit-exact verdicts, always there, and fast."""

import numpy as np

from nsdata.errors import TransportDied
from nsdata.offload.block_model import BlockModel
from nsdata.offload.bounds import check_address, check_cycles, check_value, frames_arrays
from nsdata.offload.silent_model import ModelFaults
from nsdata.offload.transport import (
    Bytes,
    Exchange,
    FaultPort,
    Lengths,
    Offsets,
    parameters_of,
)

# Of the circuit alone: taken, so that one set of parameters does for every transport.
CIRCUIT = ("RELAY_LOG2", "FAULTS")


class ModelTransport:
    """See Transport; `parameters` as nsd_top's, in lower case."""

    name = "model"

    def __init__(self, data_w: int = 64, **parameters: int) -> None:
        self.block = BlockModel(data_w, **parameters)
        self.faults: FaultPort | None = ModelFaults(self.block)
        self.data_w = data_w
        self._open = True

    def _alive(self) -> BlockModel:
        if not self._open:
            raise TransportDied("model: the transport is closed")
        return self.block

    def read(self, address: int) -> int:
        """A register's value."""
        block = self._alive()
        check_address(self.name, "read", address)
        return block.read(address)

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        block = self._alive()
        check_address(self.name, "write", address)
        check_value(value)
        block.write(address, value)

    def wait(self, cycles: int) -> None:
        """Let `cycles` pass."""
        block = self._alive()
        check_cycles(cycles)
        block.advance(cycles)

    def exchange(self, data: Bytes, offset: Offsets, length: Lengths) -> Exchange:
        """Frames in, and out again or dropped."""
        block = self._alive()
        data, offset, length = frames_arrays(data, offset, length)
        if not len(length):
            return Exchange(np.zeros(0, np.uint8), True)
        return Exchange(block.inspect(data, offset, length), True)

    def irq(self) -> bool:
        """The interrupt's level."""
        block = self._alive()
        block.advance(1)
        return block.irq

    def pins(self, *, seu: bool = False, over_temp: bool = False) -> None:
        """Drive the device's error pins."""
        self._alive().pins(seu=seu, over_temp=over_temp)

    def reset(self) -> None:
        """Reset the block."""
        self._alive().reset()

    def close(self) -> None:
        """Nothing is held; every later use is refused."""
        self._open = False


def open_spec(text: str) -> ModelTransport:
    """Of `model:TEXT`. Raises OffloadError."""
    width, parameters = parameters_of("model", text)
    chosen = {name.lower(): n for name, n in parameters.items() if name not in CIRCUIT}
    return ModelTransport(width, **chosen)
