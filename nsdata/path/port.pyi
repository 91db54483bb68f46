"""Types of the compiled module; the C interface is in port.pxd."""

import numpy as np
import numpy.typing as npt

from nsdata.path.ring import Ring, Slot

WORKERS_MOST: int
PENDING: int
FULL_SHARE: int

class Port:
    now_ns: int
    def __init__(self, workers: int, seed: int = 0) -> None: ...
    @property
    def workers(self) -> int: ...
    def attach(self, worker: int, ring: Ring) -> None: ...
    def detach(self, worker: int) -> list[Slot]: ...
    def offer(
        self,
        data: npt.NDArray[np.uint8],
        offset: npt.NDArray[np.uint64],
        caplen: npt.NDArray[np.uint32],
        wirelen: npt.NDArray[np.uint32],
        ts_ns: npt.NDArray[np.uint64],
        linktype: npt.NDArray[np.uint16],
        fate: npt.NDArray[np.uint8],
        mode: int = 0,
        share: int = 65536,
        best_effort: bool = False,
        passing: int = 0,
    ) -> None: ...
    def flush(self) -> None: ...
    def collect(self, worker: int) -> list[Slot]: ...
    def waiting_ns(self, worker: int) -> int: ...
    def counts(self) -> tuple[int, int, list[int], list[int]]: ...
    @property
    def holding(self) -> tuple[int, int]: ...
