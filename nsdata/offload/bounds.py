"""What may cross a transport: addresses, values, cycles and frames, judged alike for all of them.

Checked before anything reaches C, a wire or the model: what does not fit is refused, never cut.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsdata.errors import BusFault

MAP = 0x1000  # bytes of the register map: s_axil has 12 bits of address
WORD = 0xFFFFFFFF


def check_address(transport: str, doing: str, address: int) -> None:
    """Raise BusFault for an address that is outside the map, or not a word's."""
    if not 0 <= address < MAP:
        raise BusFault(f"{transport}: {doing} of {address:#05x}: outside the register map")
    if address & 3:
        raise BusFault(f"{transport}: {doing} of {address:#05x}: not the address of a word")


def check_value(value: int) -> None:
    """Raise ValueError for a value that no register holds."""
    if not 0 <= value <= WORD:
        raise ValueError(f"a register's value of {value:#x}: legal are 0 to {WORD:#x}")


def check_cycles(cycles: int) -> None:
    """Raise ValueError for a time nobody can wait for."""
    if not 0 <= cycles <= WORD:
        raise ValueError(f"a wait of {cycles} cycles: legal are 0 to {WORD}")


def _numbers(name: str, given: Any, kind: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """One number for each frame as `kind`, contiguous."""
    array = np.asarray(given)
    if array.ndim != 1:
        raise ValueError(f"{name}: an array of {array.ndim} dimensions; wanted is 1")
    if array.size and array.dtype != kind:
        if array.dtype.kind not in "iu":
            raise ValueError(f"{name}: {array.dtype} are no whole numbers")
        least, most = int(array.min()), int(array.max())
        if least < 0 or most > np.iinfo(kind).max:
            wrong = least if least < 0 else most
            raise ValueError(f"{name} {wrong}: legal are 0 to {np.iinfo(kind).max}")
    return np.ascontiguousarray(array, dtype=kind)


Arrays = tuple[NDArray[np.uint8], NDArray[np.uint64], NDArray[np.uint32]]


def typed_arrays(data: Any, offset: Any, length: Any) -> Arrays:
    """Frames as contiguous arrays of uint8, uint64 and uint32.

    data: bytes, or uint8 in one dimension; offset, length: whole numbers, one for each frame.
    Raises ValueError for anything else.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        data = np.frombuffer(data, np.uint8)
    data = np.asarray(data)
    if data.dtype != np.uint8 or data.ndim != 1:
        raise ValueError(
            f"data: {data.dtype} in {data.ndim} dimensions; wanted are bytes, or uint8 in 1"
        )
    offset, length = _numbers("offset", offset, np.uint64), _numbers("length", length, np.uint32)
    if len(offset) != len(length):
        raise ValueError(f"{len(offset)} offsets and {len(length)} lengths")
    return np.ascontiguousarray(data), offset, length


def frames_arrays(data: Any, offset: Any, length: Any) -> Arrays:
    """The same of frames that can be sent, as `exchange` is given them. Raises ValueError also for
    a frame without bytes or outside the data."""
    data, offset, length = typed_arrays(data, offset, length)
    if len(length):
        if not int(length.min()):
            raise ValueError("a frame without bytes cannot be sent")
        if int((offset + length).max()) > data.size or int(offset.max()) > data.size:
            raise ValueError("a frame lies outside the data")
    return data, offset, length
