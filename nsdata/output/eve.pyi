from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

KINDS: dict[str, int]

class EveFormatter:
    def __init__(
        self,
        types: Collection[str] = ...,
        *,
        payload: bool = ...,
        packet: bool = ...,
        ethernet: bool = ...,
    ) -> None: ...
    def set_rules(self, fragments: Sequence[bytes]) -> None: ...
    def set_tail(self, tail: bytes = ...) -> None: ...
    def take(self) -> bytes: ...
    @property
    def counts(self) -> dict[str, int]: ...
    def format_array(
        self,
        records: npt.NDArray[Any],
        arena: bytes | bytearray | memoryview | npt.NDArray[np.uint8] = ...,
    ) -> None: ...

def record_dtype() -> np.dtype[Any]: ...
def format_records(
    records: npt.NDArray[Any],
    arena: bytes = ...,
    rules: Sequence[bytes] = ...,
    *,
    types: Collection[str] = ...,
    payload: bool = ...,
    packet: bool = ...,
    ethernet: bool = ...,
    tail: bytes = ...,
) -> bytes: ...
def format_time(ts_ns: int) -> str: ...
