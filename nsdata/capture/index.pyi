from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

FULL: int
MORE: int
SECTION: int
FAULTS: dict[int, str]

class State(TypedDict):
    format: str | None
    swapped: bool
    version: tuple[int, int]
    record_header: int
    need: int
    fault_at: int
    fault_a: int
    fault_b: int
    skipped_blocks: int

class Indexer:
    """Notes where frames are in windows of a capture's bytes, `capacity` at a time.

    `begin` reads the file header at the start of `data`; `run` goes on from `position`,
    keeps the first `count` entries of the arrays and fills in behind them. Both see the
    first `size` bytes of `data` and return FULL, MORE, SECTION or a key of FAULTS;
    `position` is then behind the last whole frame. After SECTION the interfaces of the
    section that ended are still there; `leave_section` forgets them.
    """

    offset: NDArray[np.uint64]
    caplen: NDArray[np.uint32]
    wirelen: NDArray[np.uint32]
    ts_ns: NDArray[np.uint64]
    linktype: NDArray[np.uint16]
    position: int
    count: int
    capacity: int
    def __init__(self, capacity: int) -> None: ...
    def begin(self, data: NDArray[np.uint8], size: int) -> int: ...
    def run(self, data: NDArray[np.uint8], position: int, size: int, count: int) -> int: ...
    def leave_section(self) -> None: ...
    @property
    def state(self) -> State: ...
    @property
    def interfaces(self) -> list[tuple[int, int, int, int, str]]:
        """(linktype, snaplen, if_tsresol, if_tsoffset in s, name) of the current section."""

def timestamp_ns(ticks: int, tsresol: int, tsoffset: int = 0) -> int:
    """ns since the epoch of a pcapng timestamp, held between 0 and 2^63 - 1."""
