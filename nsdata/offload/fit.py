"""Windows → slots: find a place for one window of every pattern.

A window's bucket is given by its first four bytes and the seed. Where a bucket is full, another
window of the pattern is taken, or one that stands there moves to another window of its own,
whichever costs less; the cost of a window is the share of frames expected to hold it. When
nothing helps, the next seed is tried. Everything follows from patterns, costs and the first seed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from nsdata.errors import EngineError
from nsdata.offload.model import buckets_of, fingerprint
from nsdata.offload.patterns import Pattern, readable
from nsdata.offload.rarity import LENGTHS, windows

SLOTS = 3  # of a 64-bit word
TRIES = 32  # seeds
DEPTH = 4  # patterns that may move for the sake of one
FIRST_SEED = 0x9E3779B9

Slot = tuple[int, int, int]  # bucket, class, fingerprint


@dataclass(slots=True)
class Choice:
    """One window a pattern may be found by."""

    window: bytes
    cost: float


@dataclass(slots=True)
class Fit:
    """`chosen` is the window of each pattern, `slots` the window of each slot."""

    seed: int
    tried: int
    chosen: list[Choice]
    slots: dict[Slot, bytes]


@dataclass(slots=True)
class _Bucket:
    """The slots in use and which patterns each stands for."""

    slots: dict[Slot, list[int]] = field(default_factory=dict)


def choices(pattern: bytes, share: Callable[[bytes], float]) -> list[Choice]:
    """The windows of a pattern, the rarest first, the first of equals first."""
    distinct = dict.fromkeys(windows(pattern))
    return sorted((Choice(one, share(one)) for one in distinct), key=lambda one: one.cost)


def next_seed(seed: int) -> int:
    """The seed that is tried after `seed`."""
    return zlib.crc32(seed.to_bytes(4, "little"))


class _Table:
    """One attempt with one seed."""

    def __init__(
        self, options: Sequence[Sequence[Choice]], bucket: dict[bytes, int], room: int
    ) -> None:
        self.options = options
        self.bucket = bucket
        self.room = room
        self.buckets: dict[int, _Bucket] = {}
        self.at: list[int] = [-1] * len(options)  # pattern -> number of its choice
        self.prints: dict[bytes, int] = {}

    def slot(self, window: bytes) -> Slot:
        fp = self.prints.get(window)
        if fp is None:
            fp = self.prints[window] = fingerprint(window)
        return self.bucket[window[:4]], LENGTHS.index(len(window)) + 1, fp

    def put(self, pattern: int, choice: int) -> None:
        slot = self.slot(self.options[pattern][choice].window)
        bucket = self.buckets.setdefault(slot[0], _Bucket())
        bucket.slots.setdefault(slot, []).append(pattern)
        self.at[pattern] = choice

    def take(self, pattern: int) -> None:
        slot = self.slot(self.options[pattern][self.at[pattern]].window)
        holders = self.buckets[slot[0]].slots[slot]
        holders.remove(pattern)
        if not holders:
            del self.buckets[slot[0]].slots[slot]
        self.at[pattern] = -1

    def fits(self, slot: Slot) -> bool:
        bucket = self.buckets.get(slot[0])
        return bucket is None or slot in bucket.slots or len(bucket.slots) < self.room

    def place(self, pattern: int, depth: int, banned: frozenset[int]) -> bool:
        """Put a pattern somewhere, moving others when that is cheaper or the only way.
        `banned`: patterns that must stay."""
        free: int | None = None
        for number, choice in enumerate(self.options[pattern]):
            if self.fits(self.slot(choice.window)):
                free = number
                break
        if free == 0:
            self.put(pattern, 0)
            return True
        # What moving one other pattern would cost, against taking the free window.
        best: tuple[float, int, int, int] | None = None
        limit = self.options[pattern][free].cost if free is not None else float("inf")
        for number, choice in enumerate(self.options[pattern][:free]):
            bucket = self.buckets[self.slot(choice.window)[0]]
            for holders in bucket.slots.values():
                if len(holders) > 1 or holders[0] in banned:
                    continue
                other = holders[0]
                here = self.options[other][self.at[other]].cost
                for there, option in enumerate(self.options[other]):
                    if there != self.at[other] and self.fits(self.slot(option.window)):
                        total = choice.cost + option.cost - here
                        if total < limit and (best is None or total < best[0]):
                            best = (total, number, other, there)
                        break
        if best is not None:
            _, number, other, there = best
            self.take(other)
            self.put(other, there)
            self.put(pattern, number)
            return True
        if free is not None:
            self.put(pattern, free)
            return True
        return depth > 0 and self._push(pattern, depth, banned)

    def _push(self, pattern: int, depth: int, banned: frozenset[int]) -> bool:
        """Make room by moving a pattern that can move only if others do."""
        for number, choice in enumerate(self.options[pattern]):
            bucket = self.buckets[self.slot(choice.window)[0]]
            for slot in list(bucket.slots):
                holders = bucket.slots[slot]  # a try that failed has put it back in a new list
                other = holders[0]
                if len(holders) > 1 or other in banned or len(self.options[other]) == 1:
                    continue
                before = self.at[other]
                self.take(other)
                self.put(pattern, number)
                if self.place(other, depth - 1, banned | {pattern, other}):
                    return True
                self.take(pattern)
                self.put(other, before)
        return False


def fit(
    patterns: Sequence[Pattern],
    share: Callable[[bytes], float],
    buckets_log2: int,
    words: int,
    seed: int = FIRST_SEED,
) -> Fit:
    """Choose a window for every pattern. Raises EngineError naming the pattern that has no
    place with any of TRIES seeds."""
    options = [choices(one.data, share) for one in patterns]
    # The most constrained first, then those that have most to lose.
    order = sorted(
        range(len(patterns)),
        key=lambda i: (len(options[i]), options[i][0].cost - options[i][-1].cost, i),
    )
    buckets, room = 1 << buckets_log2, SLOTS * words
    apart = _apart(options, order)
    if len(apart) > room * buckets:
        enough = 1 << (-(-len(apart) // room) - 1).bit_length()
        raise EngineError(
            f"the pattern {patterns[apart[room * buckets]]} does not fit into {buckets:,} buckets "
            f"of {room} slots: {len(apart):,} patterns want a slot of their own. "
            f"Try --buckets {enough}, or fewer rules"
        )
    starts = list(dict.fromkeys(c.window[:4] for each in options for c in each))
    rows = np.frombuffer(b"".join(starts), dtype=np.uint8).reshape(-1, 4)
    failed: tuple[int, _Table] | None = None
    for tried in range(1, TRIES + 1):
        numbers = buckets_of(rows, seed, buckets_log2).tolist()
        table = _Table(options, dict(zip(starts, numbers, strict=True)), SLOTS * words)
        stuck = next((i for i in order if not table.place(i, DEPTH, frozenset({i}))), None)
        if stuck is None:
            chosen = [options[i][table.at[i]] for i in range(len(patterns))]
            slots = {table.slot(one.window): one.window for one in chosen}
            return Fit(seed, tried, chosen, slots)
        failed = (stuck, table)
        seed = next_seed(seed)
    assert failed is not None
    raise EngineError(_advice(patterns, *failed, buckets_log2, words))


def _apart(options: Sequence[Sequence[Choice]], order: Sequence[int]) -> list[int]:
    """Patterns no two of which have a window in common: each wants a slot of its own.

    A search for more than there are would take very long, to no end.
    """
    seen: set[bytes] = set()
    found = []
    for i in order:
        own = {one.window for one in options[i]}
        if seen.isdisjoint(own):
            seen |= own
            found.append(i)
    return found


def _advice(
    patterns: Sequence[Pattern], stuck: int, table: _Table, buckets_log2: int, words: int
) -> str:
    """What does not fit, why, and what to try."""
    buckets, room = 1 << buckets_log2, SLOTS * words
    placed = sum(len(bucket.slots) for bucket in table.buckets.values())
    text = (
        f"the pattern {patterns[stuck]} does not fit into {buckets:,} buckets of {room} slots "
        f"({placed:,} in use) with any of {TRIES} seeds: "
    )
    only = {option.window[:4] for option in table.options[stuck]}
    alike = {
        option.window
        for options in table.options
        if len(only) == 1 and {one.window[:4] for one in options} == only
        for option in options
    }
    if len(alike) > room:
        return text + (
            f"{len(alike)} windows that start with {readable(only.pop())} are wanted, and those "
            f"share a bucket whatever the seed. Try --words {-(-len(alike) // SLOTS)}, or fewer "
            "such rules"
        )
    return text + (
        f"all {len(table.options[stuck])} of its windows fall into full buckets. "
        f"Try --buckets {2 * buckets}, --words {words + 1}, or fewer rules"
    )
