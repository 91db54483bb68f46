"""What the host has written to the flow table: places for keys, generation, signature.

The block finds a key in one of two ways of its set and keeps no list; the host remembers what
stands where. Pure: nothing here touches a bus.
"""

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.entry import ENTRY_WORDS, FlowAction, FlowEntry, FlowKey
from nsdata.offload.model import flow_set, signature

WAYS = 2


class FlowMirror:
    """A copy of the table of 2**sets_log2 sets. `entries`: uint64 [2 * sets, 6], as written."""

    def __init__(self, sets_log2: int) -> None:
        self.sets_log2 = sets_log2
        self.entries: NDArray[np.uint64] = np.zeros((WAYS << sets_log2, ENTRY_WORDS), np.uint64)
        self.signature = 0
        self.clear()

    def clear(self) -> None:
        """Every entry zero, as after a reset or a clear; the generation stays."""
        self.entries[:] = 0
        self.signature = 0
        self.generation = getattr(self, "generation", 0)
        self.held: dict[FlowKey, int] = {}  # of this generation: key -> address
        self._keys: dict[int, FlowKey] = {}

    def flush(self) -> None:
        """The next generation: nothing is held; old entries stand until they are overwritten."""
        self.generation = (self.generation + 1) & 0xFF
        self.held.clear()
        self._keys.clear()
        if not self.generation:
            self.clear()

    def place(self, key: FlowKey) -> int | None:
        """The address for a key: its own, or a free one of its set; None when the set is full."""
        if key in self.held:
            return self.held[key]
        first = WAYS * flow_set(key.pack(), self.sets_log2)
        for address in range(first, first + WAYS):
            if address not in self._keys:
                return address
        return None

    def put(self, address: int, key: FlowKey, action: FlowAction) -> tuple[int, ...]:
        """Note an entry; the words to write."""
        words = FlowEntry(key, int(action), self.generation).words()
        self._set(address, words)
        self.held[key] = address
        self._keys[address] = key
        return words

    def take(self, key: FlowKey) -> int | None:
        """Forget a key; the address to zero, or None when it is not held."""
        address = self.held.pop(key, None)
        if address is not None:
            del self._keys[address]
            self._set(address, (0,) * ENTRY_WORDS)
        return address

    def _set(self, address: int, words: tuple[int, ...]) -> None:
        row = self.entries[address : address + 1]
        self.signature ^= signature(row, address)
        row[0] = np.array(words, dtype=np.uint64)
        self.signature ^= signature(row, address)
