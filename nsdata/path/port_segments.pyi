"""Types of the compiled module; the C interface is in port_segments.pxd."""

from collections.abc import Sequence

SEGMENTS_MOST: int

class Segments:
    def __init__(
        self, segments: Sequence[tuple[Sequence[int], Sequence[tuple[int, bytes, int]]]] = ()
    ) -> None: ...
    @property
    def named(self) -> int: ...
