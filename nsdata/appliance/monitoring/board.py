"""A notice board: the latest of something, as JSON, in memory that a supervisor shares.

One writer, any number of readers, no lock: the writer fills the half that does not stand, then
exchanges them. A reader checks what it copied, so that one it was too slow for is read again. A
reader that hangs costs the writer nothing.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from nsdata.appliance.memory import make, view
from nsdata.errors import EngineError

ROOM = 1 << 20  # bytes of a half
HEAD = 64  # before the halves: which one stands
TRIES = 16
_SEQUENCE = struct.Struct("=Q")
_HALF = struct.Struct("=II")  # length and CRC-32 of what follows


def new_board(name: str) -> tuple[int, Board]:
    """A board and its descriptor, for its writer."""
    fd = make(f"{name}-board", HEAD + 2 * ROOM)
    return fd, Board(view(fd))


class Board:
    """The board over `memory`; readers map it read-only."""

    def __init__(self, memory: mmap.mmap) -> None:
        if len(memory) < HEAD + 2 * ROOM:
            raise EngineError(f"a board takes {HEAD + 2 * ROOM} bytes, not {len(memory)}")
        self.memory = memory

    def write(self, notice: Mapping[str, Any]) -> None:
        """Put this up in place of what stands. Raises EngineError when it is too long."""
        data = json.dumps(notice, separators=(",", ":")).encode()
        if len(data) > ROOM - _HALF.size:
            raise EngineError(f"a notice of {len(data):,} bytes; {ROOM - _HALF.size:,} fit")
        sequence = _SEQUENCE.unpack_from(self.memory)[0] + 1
        at = HEAD + (sequence & 1) * ROOM
        _HALF.pack_into(self.memory, at, len(data), zlib.crc32(data))
        self.memory[at + _HALF.size : at + _HALF.size + len(data)] = data
        _SEQUENCE.pack_into(self.memory, 0, sequence)

    def read(self) -> dict[str, Any] | None:
        """What stands; None before the first, or when it changes faster than it can be read."""
        for _ in range(TRIES):
            sequence = _SEQUENCE.unpack_from(self.memory)[0]
            if not sequence:
                return None
            at = HEAD + (sequence & 1) * ROOM
            length, crc = _HALF.unpack_from(self.memory, at)
            data = self.memory[at + _HALF.size : at + _HALF.size + min(length, ROOM)]
            if zlib.crc32(data) == crc:
                found: dict[str, Any] = json.loads(data)
                return found
        return None
