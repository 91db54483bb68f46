import numpy as np
from numpy.typing import NDArray

DONE: int
ROOM: int
LINK: int
OUTSIDE: int

def pack(
    blocks: bool,
    data: NDArray[np.uint8],
    offset: NDArray[np.uint64],
    caplen: NDArray[np.uint32],
    wirelen: NDArray[np.uint32],
    ts_ns: NDArray[np.uint64],
    linktype: NDArray[np.uint16],
    chosen: NDArray[np.int64],
    start: int,
    interface_of: NDArray[np.int32],
    out: NDArray[np.uint8],
    used: int,
) -> tuple[int, int, int]:
    """Append the frames `chosen[start:]` to `out[used:]`: (reason, next start, used).

    `reason` is DONE, ROOM, LINK or OUTSIDE and says about the frame `chosen[next start]`
    why it is not in. ValueError when arrays of one batch differ in length.
    """

def whole(blocks: bool, out: NDArray[np.uint8], written: int) -> int:
    """Where the last whole record or block within `out[:written]` ends (`out` from `pack`)."""
