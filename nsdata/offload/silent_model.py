"""Silent faults of the golden model behind its registers."""

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.block_model import BlockModel
from nsdata.offload.error_model import FLOW_TABLE, PF_TABLE
from nsdata.offload.silent import (
    FLOW,
    KEY,
    PREFILTER_COPY,
    SEARCH,
    VERDICT,
    Flip,
    SilentFaults,
    flip_of,
    key_of,
)


def flip_in(table: NDArray[np.uint64], change: Flip) -> None:
    """Flip bits of an entry. Raises ValueError when it has no such bits."""
    words = [change.mask >> at & (1 << 64) - 1 for at in range(0, change.mask.bit_length(), 64)]
    if change.entry >= len(table) or len(words) > table.shape[1]:
        raise ValueError(f"the table has no such bits: {change}")
    table[change.entry, : len(words)] ^= np.array(words, np.uint64)


class ModelFaults(SilentFaults):
    """The ports of a BlockModel; see nsdata.offload.silent."""

    def __init__(self, block: BlockModel) -> None:
        super().__init__()
        self._block = block
        self._made: dict[str, list[int]] = {}  # the entries as they were left

    def do(self, name: str, value: int) -> None:
        """Bring the fault about."""
        wrong = self._block.wrong
        if name == SEARCH:
            wrong.search = value
        elif name == KEY:
            wrong.key = key_of(value)
        elif name == VERDICT:
            wrong.verdict = value
        elif name == PREFILTER_COPY:
            self._part(flip_of(value))
        else:
            self._flip(name, flip_of(value))

    def _part(self, change: Flip) -> None:
        """Let one copy differ from the others."""
        block = self._block
        if change.copy >= block.wrong.lanes:
            raise ValueError(f"there is no copy {change.copy}")
        table = block.table(PF_TABLE).copy()
        flip_in(table, change)
        block.wrong.copy = change.copy
        block.wrong.copies = (block.prefilter(), block.prefilter(table))
        block.changed(PF_TABLE, change.entry)

    def _flip(self, name: str, change: Flip) -> None:
        number = FLOW_TABLE if name == FLOW else PF_TABLE
        flip_in(self._block.table(number), change)
        self._made[name] = self._block.table(number)[change.entry].tolist()
        self._block.changed(number, change.entry)

    def undo(self, name: str, value: int) -> None:
        """Take it away; a table that was loaded anew is left alone."""
        wrong = self._block.wrong
        if name == SEARCH:
            wrong.search = 0
        elif name == KEY:
            wrong.key = None
        elif name == VERDICT:
            wrong.verdict = 0
        elif name == PREFILTER_COPY:
            wrong.copies = None
        else:
            number = FLOW_TABLE if name == FLOW else PF_TABLE
            change = flip_of(value)
            if self._block.table(number)[change.entry].tolist() == self._made.pop(name):
                flip_in(self._block.table(number), change)
                self._block.changed(number, change.entry)
