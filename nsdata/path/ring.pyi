"""Types of the compiled module; the C interface is in ring.pxd."""

import mmap
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

LARGEST_FRAME: int

Slot = tuple[
    npt.NDArray[np.uint8],
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint32],
    npt.NDArray[np.uint64],
    npt.NDArray[np.uint16],
    npt.NDArray[np.uint8],
]

def ring_bytes(slots: int, frames: int, room: int) -> tuple[int, int]: ...

class Ring:
    def __init__(
        self,
        frames: mmap.mmap,
        answers: mmap.mmap,
        slots: int = 0,
        per_slot: int = 0,
        room: int = 0,
    ) -> None: ...
    @property
    def waiting(self) -> int: ...
    def take(self) -> Slot | None: ...
    def hand_back(self, packets: Sequence[int], nbytes: Sequence[int]) -> None: ...
