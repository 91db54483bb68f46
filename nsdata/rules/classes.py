"""Sets of addresses and ports → classes: what values cannot be told apart by any set.

A packet's address is looked up once, in the sorted starts of elementary intervals; the row
of its class then has one bit per set, so that a rule tests one bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from nsdata.errors import EngineError
from nsdata.rules.variables import ANY_PORT, AddressSet, Intervals

MAX_SETS = 65535
U64 = npt.NDArray[np.uint64]
T = TypeVar("T")


class Numbers(Generic[T]):
    """Numbers distinct values 1, 2, …; `any_value` is 0."""

    def __init__(self, any_value: T, what: str) -> None:
        self.values: list[T] = [any_value]
        self._numbers: dict[T, int] = {any_value: 0}
        self._what = what

    def number(self, value: T) -> int:
        known = self._numbers.get(value)
        if known is None:
            known = len(self.values)
            if known > MAX_SETS:
                raise EngineError(
                    f"the rules name more than {MAX_SETS} different {self._what} sets. "
                    "Load fewer rules, or join rules that differ in them alone"
                )
            self.values.append(value)
            self._numbers[value] = known
        return known


class Rows:
    """Distinct bit rows (as integers), numbered in order of appearance."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self._numbers: dict[int, int] = {}

    def number(self, row: int) -> int:
        known = self._numbers.get(row)
        if known is None:
            known = self._numbers[row] = len(self.rows)
            self.rows.append(row)
        return known

    def bits(self, n_sets: int) -> U64:
        """uint64 [rows, words], bit = set number."""
        words = (n_sets + 63) // 64
        data = b"".join(row.to_bytes(words * 8, "little") for row in self.rows)
        return np.frombuffer(data, dtype="<u8").reshape(len(self.rows), words).copy()


def sweep(sets: Sequence[Intervals], rows: Rows) -> tuple[list[int], list[int]]:
    """(starts of the elementary intervals, first is 0; row number of each)."""
    toggles: dict[int, int] = {0: 0}
    for number, intervals in enumerate(sets):
        bit = 1 << number
        for low, high in intervals:
            toggles[low] = toggles.get(low, 0) ^ bit
            toggles[high + 1] = toggles.get(high + 1, 0) ^ bit
    starts: list[int] = []
    numbers: list[int] = []
    row = 0
    for start in sorted(toggles):
        row ^= toggles[start]
        number = rows.number(row)
        if not numbers or numbers[-1] != number:
            starts.append(start)
            numbers.append(number)
    return starts, numbers


class AddressClasses:
    """Arrays of the image: `v4_starts`, `v4_class`, `v6_starts`, `v6_class`, `bits`."""

    def __init__(self, sets: Sequence[AddressSet]) -> None:
        rows = Rows()
        v4_starts, v4_class = sweep([one.v4 for one in sets], rows)
        v6_starts, v6_class = sweep([one.v6 for one in sets], rows)
        # What lies beyond the last address is no address.
        keep4 = sum(start < 1 << 32 for start in v4_starts)
        keep6 = sum(start < 1 << 128 for start in v6_starts)
        self.v4_starts = np.array(v4_starts[:keep4], dtype=np.uint32)
        self.v4_class = np.array(v4_class[:keep4], dtype=np.uint32)
        packed = b"".join(start.to_bytes(16, "big") for start in v6_starts[:keep6])
        self.v6_starts = np.frombuffer(packed, dtype=np.uint8).reshape(keep6, 16).copy()
        self.v6_class = np.array(v6_class[:keep6], dtype=np.uint32)
        self.bits = rows.bits(len(sets))


class PortClasses:
    """`port_class` (uint16 [65536]), `bits`, and for each set the classes it covers."""

    def __init__(self, sets: Sequence[Intervals]) -> None:
        rows = Rows()
        starts, numbers = sweep(sets, rows)
        self.port_class = np.zeros(65536, dtype=np.uint16)
        for start, number in zip(starts, numbers, strict=True):
            if start < 65536:
                self.port_class[start:] = number
        self.bits = rows.bits(len(sets))
        self.n_classes = len(rows.rows)
        self.of_set = [
            [number for number, row in enumerate(rows.rows) if row >> index & 1]
            for index in range(len(sets))
        ]


__all__ = ["ANY_PORT", "AddressClasses", "Numbers", "PortClasses", "sweep"]
