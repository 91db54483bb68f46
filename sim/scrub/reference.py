"""What a table under nsd_scrub holds, and its signature, in plain Python."""

import zlib
from collections.abc import Iterable

WORD = (1 << 64) - 1


def contribution(addr: int, payload: int, words: int) -> int:
    """What an entry adds to the signature: `payload` is one integer of 64 * `words` bits."""
    if not payload:
        return 0
    return zlib.crc32(addr.to_bytes(4, "little") + payload.to_bytes(8 * words, "little"))


def signature(entries: Iterable[tuple[int, int]], words: int) -> int:
    """The XOR of the contributions of (address, payload) pairs."""
    total = 0
    for addr, payload in entries:
        total ^= contribution(addr, payload, words)
    return total


def payload(code: int, words: int) -> int:
    """The data of a stored entry, without its check bits and without correction."""
    return sum((code >> 72 * i & WORD) << 64 * i for i in range(words))


class Table:
    """The entries a host wrote; the rest is zero."""

    def __init__(self, entries: int, words: int) -> None:
        self.entries, self.words = entries, words
        self.held: dict[int, int] = {}

    def write(self, addr: int, value: int) -> None:
        """Store `value`, an integer of 64 * words bits."""
        self.held[addr] = value

    def read(self, addr: int) -> int:
        """The entry at `addr`."""
        return self.held.get(addr, 0)

    def clear(self) -> None:
        """Every entry becomes zero."""
        self.held.clear()

    @property
    def sig(self) -> int:
        """The signature the host expects."""
        return signature(self.held.items(), self.words)
