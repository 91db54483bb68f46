"""Silent faults: a block that answers and is wrong, by test-only ports of a simulated block.

    prefilter        bits of a bucket flipped in every copy of the table, check bits made to match
    prefilter-copy   the same in one copy: of the byte positions p with p % lanes == copy
    flow             bits of a flow entry flipped, check bits made to match
    search           the search's answer is stuck: 1 nothing is ever found, 2 something always is
    key              the parser's key is stuck: stuck_key(key)
    verdict          verdicts go wrong at the join: WRONG[value]

`transport.faults.poke(name, value)`; 0 takes the fault away. Table faults are flip(...). None of
them loses a frame, but for a key stuck at that of a flow to be blocked. `SilentFaults` is a
FaultPort (nsdata.offload.transport); what it does to the model is `Wrong`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.entry import KEY_BITS, FlowAction, Parse, PortRange, Verdict
from nsdata.offload.model import Model, Prefilter, ports_hit

PREFILTER, PREFILTER_COPY, FLOW = "prefilter", "prefilter-copy", "flow"
SEARCH, KEY, VERDICT = "search", "key", "verdict"
NAMES = (PREFILTER, PREFILTER_COPY, FLOW, SEARCH, KEY, VERDICT)
TABLES = (PREFILTER, PREFILTER_COPY, FLOW)
WRONG: dict[int, dict[int, int]] = {
    1: {Verdict.SUSPECT: Verdict.CLEAR, Verdict.CLEAR: Verdict.SUSPECT},  # exchanged
    2: {Verdict.SUSPECT: Verdict.CLEAR},
    3: {Verdict.SUSPECT: Verdict.BYPASS},
    4: {Verdict.CLEAR: Verdict.SUSPECT},
}


class Flip(NamedTuple):
    """A change of one entry of a table."""

    entry: int  # a bucket, or 2 * set + way
    mask: int  # the bits that change, of the entry without check bits
    copy: int  # of the prefilter: which one


def flip(entry: int, mask: int, copy: int = 0) -> int:
    """The value that changes an entry's bits. Raises ValueError when that says nothing."""
    if not (0 <= entry < 1 << 20 and 0 <= copy < 64 and mask > 0):
        raise ValueError(f"entry {entry}, mask {mask:#x}, copy {copy}: no change of a table")
    return 1 | entry << 1 | copy << 21 | mask << 27


def flip_of(value: int) -> Flip:
    """The inverse of `flip`."""
    return Flip(value >> 1 & 0xFFFFF, value >> 27, value >> 21 & 63)


def stuck_key(key: int) -> int:
    """The value that makes every key look-ups see this packed one."""
    return 1 | key << 1


def key_of(value: int) -> int:
    """The inverse of `stuck_key`."""
    return value >> 1 & (1 << KEY_BITS) - 1


class SilentFaults(ABC):
    """The faults of one simulated block, by name; see the module. A FaultPort."""

    names = NAMES

    def __init__(self) -> None:
        self.active: dict[str, int] = {}

    def poke(self, name: str, value: int) -> None:
        """Set the port `name`; 0 takes the fault away. KeyError when there is none, ValueError
        for a value it does not take."""
        if name not in self.names:
            raise KeyError(f"{name}: no such port; there are {', '.join(self.names)}")
        legal = {SEARCH: (1, 2), VERDICT: tuple(WRONG)}.get(name)
        if value < 0 or (value and (value not in legal if legal else not value & 1)):
            raise ValueError(f"{name}: it does not take {value:#x}")
        if name in self.active:
            self.undo(name, self.active.pop(name))
        if value:
            self.do(name, value)
            self.active[name] = value

    @abstractmethod
    def do(self, name: str, value: int) -> None:
        """Bring the fault about. Raises ValueError for an entry that is none."""

    @abstractmethod
    def undo(self, name: str, value: int) -> None:
        """Take it away. A table that was loaded anew meanwhile is left alone."""


class Wrong:
    """What a block with these faults says of frames, where the model would say otherwise.

    Faults of whole tables are in the model's own tables; the others, and a bucket that is wrong in
    one copy, are here. `lanes`: byte positions of a beat, each with its copy.
    """

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.search = self.verdict = 0
        self.key: int | None = None
        self.ranges: Sequence[int] | Sequence[PortRange] = ()  # those in force: wanted for `key`
        self.copy = 0
        # The tables of the others and of that copy; None: the copies are alike.
        self.copies: tuple[Prefilter, Prefilter] | None = None

    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.search or self.verdict or self.copies) or self.key is not None

    def verdicts(
        self,
        model: Model,
        data: NDArray[np.uint8],
        offset: NDArray[np.uint64],
        length: NDArray[np.uint32],
    ) -> NDArray[np.uint8]:
        """The verdict of every frame: uint8 [frames]."""
        if not self.any():
            return model.verdicts(data, offset, length)
        said = model.inspect(data, offset, length)
        action, ports, found = said["action"], said["ports_hit"] != 0, said["pf_hit"] != 0
        parsed = said["parse"] == Parse.OK
        if self.key is not None:
            action = np.where(parsed & (said["lookup"] != 0), model.lookup(self.key), 0)
            ports = parsed & ports_hit(self.key, self.ranges)
        if self.copies is not None:
            found = self._found(data, offset, length, *self.copies)
        if self.search:
            found = np.full(len(found), self.search == 2)
        verdict = np.where(ports | found, Verdict.SUSPECT, Verdict.CLEAR)
        verdict = np.where(action == FlowAction.BYPASS, Verdict.BYPASS, verdict)
        verdict = np.where(~parsed | (said["len_short"] != 0), Verdict.SUSPECT, verdict)
        told = np.arange(8, dtype=np.uint8)
        for right, wrong in WRONG.get(self.verdict, {}).items():
            told[right] = wrong
        return np.where(action == FlowAction.BLOCK, Verdict.BLOCK, told[verdict]).astype(np.uint8)

    def _found(
        self,
        data: NDArray[np.uint8],
        offset: NDArray[np.uint64],
        length: NDArray[np.uint32],
        right: Prefilter,
        wrong: Prefilter,
    ) -> NDArray[np.bool_]:
        """Which frames hold a window, each place being looked up in its own copy."""
        found = np.zeros(len(length), np.bool_)
        maybe = right.hits(data, offset, length) | wrong.hits(data, offset, length)
        for i in np.flatnonzero(maybe).tolist():
            start = int(offset[i])
            frame = data[start : start + int(length[i])]
            found[i] = any(p % self.lanes != self.copy for p, _ in right.places(frame)) or any(
                p % self.lanes == self.copy for p, _ in wrong.places(frame)
            )
        return found
