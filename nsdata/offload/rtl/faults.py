"""Silent faults of the Verilated block, by the signals that faults.vlt makes public."""

from nsdata.offload.ecc import code_word
from nsdata.offload.entry import ENTRY_WORDS
from nsdata.offload.rtl.block import Block
from nsdata.offload.silent import (
    FLOW,
    KEY,
    PREFILTER_COPY,
    SEARCH,
    VERDICT,
    WRONG,
    Flip,
    SilentFaults,
    flip_of,
    key_of,
)

# What sticks, and at what; registers of hdl/.
FOUND, KEY_REG, LOOKUP, FINAL = (
    "prefilter.pf_hit", "parse.key_reg", "parse.key_lookup_reg", "verdict.fin_verdict",
)  # fmt: skip


class RtlFaults(SilentFaults):
    """The ports of a block that was built with them; see nsdata.offload.silent."""

    def __init__(self, block: Block, *, words: int, buckets_log2: int, sets_log2: int) -> None:
        super().__init__()
        self._block = block
        self._words = words
        self._entries = {FLOW: 2 << sets_log2}  # of the tables; the prefilter's by default
        self._buckets = 1 << buckets_log2
        self._made: dict[str, list[tuple[str, int, int, int]]] = {}  # memory, entry, was, is

    def do(self, name: str, value: int) -> None:
        """Bring the fault about."""
        if name == SEARCH:
            self._stick(FOUND, value - 1)
        elif name == KEY:
            self._stick(KEY_REG, key_of(value))
            self._block.hold(LOOKUP, {0: 0, 1: 1})
        elif name == VERDICT:
            self._block.hold(FINAL, WRONG[value])
        else:
            self._flip(name, flip_of(value))

    def _stick(self, register: str, value: int) -> None:
        self._block.poke(register, value)
        self._block.hold(register)

    def _flip(self, name: str, change: Flip) -> None:
        words = ENTRY_WORDS if name == FLOW else self._words
        lanes = self._block.data_w // 8
        if (
            change.entry >= self._entries.get(name, self._buckets)
            or change.mask >> 64 * words
            or change.copy >= lanes
        ):
            raise ValueError(f"{name}: the table has no such bits: {change}")
        entry = change.entry
        if name == FLOW:
            memories, entry = [f"flow.g_way[{entry & 1}].ram.mem"], entry >> 1
        else:
            memories = [
                f"prefilter.gen_group[{i // 8}].gen_lane[{i}].lane.ram.mem"
                for i in ([change.copy] if name == PREFILTER_COPY else range(lanes))
            ]
        # The code is linear: the check bits change by those of the mask.
        mask = code_word(change.mask, words)
        made = self._made[name] = []
        for memory in memories:
            was = self._block.peek(memory, entry)
            self._block.poke(memory, was ^ mask, entry)
            made.append((memory, entry, was, was ^ mask))

    def undo(self, name: str, value: int) -> None:
        """Take it away; a table that was loaded anew is left alone."""
        registers = {SEARCH: (FOUND,), KEY: (KEY_REG, LOOKUP), VERDICT: (FINAL,)}
        for register in registers.get(name, ()):
            self._block.let_go(register)
        for memory, entry, was, made in self._made.pop(name, ()):
            if self._block.peek(memory, entry) == made:
                self._block.poke(memory, was, entry)
