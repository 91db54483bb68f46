import numpy as np
from numpy.typing import NDArray

def bucket_of(window: bytes, seed: int, buckets_log2: int) -> int: ...
def fingerprint(window: bytes) -> int: ...
def buckets_of(
    starts: NDArray[np.uint8], seed: int, buckets_log2: int
) -> NDArray[np.uint32]: ...

class Prefilter:
    """The prefilter with a table in it; see the module."""

    table: NDArray[np.uint64]
    buckets_log2: int
    def __init__(
        self, table: NDArray[np.uint64], seed: int, buckets_log2: int, words: int
    ) -> None: ...
    def hit(self, frame: bytes | NDArray[np.uint8]) -> bool: ...
    def places(self, frame: bytes | NDArray[np.uint8]) -> list[tuple[int, int]]: ...
    def hits(
        self,
        data: NDArray[np.uint8],
        offset: NDArray[np.uint64],
        length: NDArray[np.uint32],
    ) -> NDArray[np.uint8]: ...
