"""A card's registers: a mapped BAR, or a file that stands in for one.

**A real BAR** is mapped memory: a load is a non-posted read and waits for its answer, a store is
posted. Stores arrive in order, a load pushes the stores before it out; a store that the block
refuses (SLVERR) is lost without a word.

**An emulated BAR** is a file, and a file cannot notice that it is read or written, so accesses
go through a ring in its second page that keeps just these rules: a store is put into the ring
and nobody waits; a load is put behind the stores and waits for its answer; the server does them
one after the other, each once, so a strobe strikes once and a load sees what was stored before
it. The first page is not used: what is read must come from the block.

    0x1000  bytes "NSDBAR" 0 1      0x1018  u32 answered: loads, waits and resets done
    0x1008  u32 server's pid        0x101C  u32 status of the last of them: 0 done, 1 refused
    0x100C  u32 beats: counts up    0x1020  u32 its value
            while the server lives  0x1040  ring of RING entries of 16 bytes: u32 kind, address,
    0x1010  u32 head: entries put           value, 0
    0x1014  u32 tail: entries done
Words are the machine's own (little-endian) and written whole; head is written after its entry,
`answered` after status and value.
"""

import mmap
import os
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

from nsdata.errors import BusFault, BusTimeout, TransportDied

PAGE = 0x1000
SIZE = 4 * PAGE
MAGIC = b"NSDBAR\0\1"
RING = 512
_PID, _BEATS, _HEAD, _TAIL, _DONE, _STATUS, _VALUE = (
    (PAGE + offset) // 4 for offset in (0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C, 0x20)
)
_RING = (PAGE + 0x40) // 4
WORD = 0xFFFFFFFF


class Op(IntEnum):
    """Kinds of ring entries."""

    STORE = 1
    LOAD = 2
    WAIT = 3  # value: cycles
    RESET = 4


class _Mapped:
    """A file as 32-bit words."""

    def __init__(self, path: Path) -> None:
        with open(path, "r+b", buffering=0) as file:
            self._map = mmap.mmap(file.fileno(), os.fstat(file.fileno()).st_size)
        self._view = memoryview(self._map)
        self.words = self._view.cast("I")  # an access to an item is one access of 32 bits

    def close(self) -> None:
        """Unmap."""
        self.words.release()
        self._view.release()
        self._map.close()


class MappedBar(_Mapped):
    """A real BAR: sysfs's resource file."""

    def load(self, address: int) -> int:
        """Read a register."""
        return self.words[address // 4]

    def store(self, address: int, value: int) -> None:
        """Write a register; posted."""
        self.words[address // 4] = value


def is_emulated(path: Path) -> bool:
    """Whether a file is an emulated BAR (a real one is not read before it is known)."""
    if path.name.startswith("resource") and path.parent.joinpath("vendor").exists():
        return False
    with open(path, "rb", buffering=0) as file:
        return os.pread(file.fileno(), len(MAGIC), PAGE) == MAGIC


class EmulatedBar(_Mapped):
    """The client's side of the ring."""

    def __init__(self, path: Path, timeout: float = 10.0) -> None:
        super().__init__(path)
        self.timeout = timeout

    def _alive(self) -> None:
        pid = self.words[_PID]
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            state = "X"
        if state in "XZ":
            raise TransportDied(f"pcie: the process behind the BAR ({pid}) has ended")

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        begin, turns = time.monotonic(), 0
        while not ready():
            turns += 1
            if turns < 200:
                continue
            self._alive()
            if time.monotonic() - begin > self.timeout:
                raise BusTimeout(f"pcie: {what}: no answer in {self.timeout:g} s")
            time.sleep(2e-5)

    def _put(self, kind: Op, address: int, value: int) -> None:
        words = self.words
        head = words[_HEAD]
        self._until(lambda: (head - words[_TAIL]) & WORD < RING, "a place in the ring")
        at = _RING + 4 * (head % RING)
        words[at], words[at + 1], words[at + 2] = kind, address, value
        words[_HEAD] = (head + 1) & WORD

    def _call(self, kind: Op, address: int, value: int, what: str) -> int:
        done = (self.words[_DONE] + 1) & WORD
        self._put(kind, address, value)
        self._until(lambda: self.words[_DONE] == done, what)
        if self.words[_STATUS]:
            raise BusFault(f"pcie: {what}: refused")
        return self.words[_VALUE]

    def load(self, address: int) -> int:
        """Read a register: behind every store before it."""
        return self._call(Op.LOAD, address, 0, f"read of {address:#05x}")

    def store(self, address: int, value: int) -> None:
        """Write a register; posted."""
        self._put(Op.STORE, address, value)

    def wait(self, cycles: int) -> None:
        """Let the block's time pass: a card's passes by itself."""
        self._call(Op.WAIT, 0, cycles, f"{cycles} cycles")

    def reset(self) -> None:
        """What writing sysfs's reset file does."""
        self._call(Op.RESET, 0, 0, "reset")


class BarServer(_Mapped):
    """The other side: does what the ring asks for, in order, each once."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(PAGE) + MAGIC + bytes(SIZE - PAGE - len(MAGIC)))
        super().__init__(path)
        self.words[_PID] = os.getpid()

    def turn(self, do: Callable[[Op, int, int], int]) -> int:
        """Do what is in the ring; how much it was. `do` may raise BusFault."""
        words = self.words
        words[_BEATS] = (words[_BEATS] + 1) & WORD
        count = 0
        while words[_TAIL] != words[_HEAD]:
            at = _RING + 4 * (words[_TAIL] % RING)
            kind, address, value = Op(words[at]), words[at + 1], words[at + 2]
            try:
                result, status = do(kind, address, value), 0
            except BusFault:
                result, status = WORD, 1
            words[_TAIL] = (words[_TAIL] + 1) & WORD
            if kind != Op.STORE:  # of a store nobody hears
                words[_STATUS], words[_VALUE] = status, result
                words[_DONE] = (words[_DONE] + 1) & WORD
            count += 1
        return count
