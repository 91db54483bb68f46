"""The bit-exact golden model of the FPGA block (hdl/): what every frame's verdict must be.

It has no clock: a frame goes in, a verdict comes out, as an armed block without a fault gives it.
The C core works on a batch without the GIL; the functions of single stages (`parse`, `flow_set`,
`prefilter_hit`, `ports_hit`, `signature`) are the judges of the block's own tests.

What the block's contract leaves open, and how it is read here:

- `end` beyond the frame is compared with the frame length held at 65535 (`len_short`).
- A frame of a flow with action BLOCK is BLOCK, truncated or not: it is dropped at its start,
  before its end is seen. For all other actions a truncated frame is SUSPECT.
- Configuration words in a signature are zero-extended to the table's entry width.
- Bits 334 and above of a flow entry are not looked at.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

import numpy as np

from nsdata.offload.entry import Parse, Parsed
from nsdata.path.prefilter import (  # the window test: shared with reassembly
    Prefilter, bucket_of, buckets_of, fingerprint,  # no-cython-lint
)

from nsdata.path cimport prefilter as windows
from nsdata.path.prefilter cimport check_batch, crc32_tab, filter_hit

__all__ = (
    "Model", "Prefilter", "RESULT", "bucket_of", "buckets_of", "fingerprint", "flow_set", "parse",
    "ports_hit", "prefilter_hit", "signature", "verdict",
)

include "model_core.pxi"


# --- the doors: single stages -----------------------------------------------------------


def parse(const uint8_t[::1] frame not None) -> Parsed:
    """What the parser makes of a frame."""
    cdef Headers h
    cdef uint8_t nothing = 0
    parse_headers(&frame[0] if frame.shape[0] else &nothing, frame.shape[0], &h)
    key = int.from_bytes(h.key[:KEY], "little")
    return Parsed(Parse(h.parse), key, bool(h.lookup), bool(h.len_short))


def flow_set(key: int, int sets_log2) -> int:
    """The set of a packed key in a table of 2**sets_log2 sets."""
    cdef bytes packed = key.to_bytes(KEY, "little")
    return set_of(packed, <uint32_t>1 << sets_log2)


def ports_hit(key: int, ranges) -> bool:
    """Whether a parsed frame's key falls into one of the port ranges (PortRange or packed)."""
    cdef Ranges r
    cdef bytes packed = key.to_bytes(KEY, "little")
    set_ranges(&r, ranges)
    return bool(in_ranges(&r, packed))


cdef int set_ranges(Ranges *r, ranges) except -1:
    words = [one if isinstance(one, int) else one.pack() for one in ranges]
    if len(words) > MAX_RANGES:
        raise ValueError(f"{len(words)} port ranges; the block has {MAX_RANGES}")
    r.count = <int>len(words)
    for i, word in enumerate(words):
        r.word[i] = word
    return 0


def signature(entries, start: int = 0) -> int:
    """The table's signature: XOR of zlib.crc32 over address and payload of every entry.

    `entries`: uint64 [addresses, words], the first at address `start`. An entry of zeros
    contributes nothing, whatever its address.
    """
    cdef uint64_t[:, ::1] rows = np.ascontiguousarray(entries, dtype=np.uint64)
    cdef uint32_t total = 0, c, address = start
    cdef uint64_t word
    cdef Py_ssize_t i, w
    cdef int k
    with nogil:
        for i in range(rows.shape[0]):
            word = 0
            for w in range(rows.shape[1]):
                word |= rows[i, w]
            if word:
                c = 0xFFFFFFFF
                for k in range(4):
                    c = (c >> 8) ^ crc32_tab[0][(c ^ (address >> 8 * k)) & 0xFF]
                for w in range(rows.shape[1]):
                    for k in range(8):
                        c = (c >> 8) ^ crc32_tab[0][(c ^ <uint32_t>(rows[i, w] >> 8 * k)) & 0xFF]
                total ^= ~c
            address += 1
    return total


def prefilter_hit(frame: bytes, image) -> bool:
    """Whether the prefilter finds something in a frame. `image` has `table`, `seed`,
    `buckets_log2` and `words`, as a PrefilterImage."""
    return Prefilter(image.table, image.seed, image.buckets_log2, image.words).hit(frame)


RESULT = np.dtype([
    ("verdict", np.uint8), ("parse", np.uint8), ("lookup", np.uint8), ("len_short", np.uint8),
    ("action", np.uint8), ("ports_hit", np.uint8), ("pf_hit", np.uint8),
])

cdef packed struct Result:
    uint8_t verdict
    uint8_t parse
    uint8_t lookup
    uint8_t len_short
    uint8_t action
    uint8_t ports_hit
    uint8_t pf_hit


cdef class Model:
    """The block: a flow table, a prefilter (None: its table is not valid) and port ranges.

    `entries` is the flow table, uint64 [2**sets_log2 * 2, 6]; entry {set, way} stands at
    address 2 * set + way and may be written directly.
    """

    cdef Flows flows
    cdef Ranges ranges
    cdef readonly int sets_log2
    cdef readonly object entries
    cdef windows.Prefilter _prefilter

    def __init__(self, int sets_log2=9, prefilter=None, ranges=()) -> None:
        if not 1 <= sets_log2 <= 20:
            raise ValueError(f"sets_log2 {sets_log2}: legal are 1 to 20")
        self.sets_log2 = sets_log2
        self.entries = np.zeros((2 << sets_log2, FLOW_WORDS), dtype=np.uint64)
        cdef uint64_t[:, ::1] view = self.entries
        self.flows.sets = <uint32_t>1 << sets_log2
        self.flows.entry = &view[0, 0]
        self.load(prefilter, ranges)

    def load(self, prefilter, ranges=()) -> None:
        """Take over a prefilter table (a Prefilter, or None: not valid) and its port ranges."""
        set_ranges(&self.ranges, ranges)
        self._prefilter = prefilter

    @property
    def generation(self) -> int:
        """The generation in which entries count, 0 to 255."""
        return self.flows.generation

    @generation.setter
    def generation(self, value: int) -> None:
        self.flows.generation = value

    def flush(self) -> None:
        """The next generation; the table is cleared when it comes round to 0."""
        self.flows.generation = (self.flows.generation + 1) & 0xFF
        if not self.flows.generation:
            self.clear()

    def clear(self) -> None:
        """Every entry zero."""
        self.entries[:] = 0

    def write(self, address: int, words) -> None:
        """Write an entry: six 64-bit words, low word first."""
        self.entries[address] = np.array(words, dtype=np.uint64)

    def signature(self) -> int:
        """The flow table's signature."""
        return signature(self.entries)

    def lookup(self, key: int) -> int:
        """The action for a packed key."""
        cdef bytes packed = key.to_bytes(KEY, "little")
        return find_flow(&self.flows, packed)

    cdef void judge(self, const uint8_t *d, uint64_t length, Result *r) noexcept nogil:
        cdef Headers h
        r.parse = parse_headers(d, length, &h)
        r.lookup = h.lookup
        r.len_short = h.len_short
        r.action = find_flow(&self.flows, h.key) if h.lookup else A_NONE
        r.ports_hit = r.parse == P_OK and in_ranges(&self.ranges, h.key)
        if <void *>self._prefilter == <void *>None:
            r.pf_hit = True
        else:
            r.pf_hit = filter_hit(&self._prefilter.filter, d, length)
        if r.action == A_BLOCK:
            r.verdict = V_BLOCK
        elif r.parse != P_OK or r.len_short:
            r.verdict = V_SUSPECT
        elif r.action == A_BYPASS:
            r.verdict = V_BYPASS
        elif r.ports_hit or r.pf_hit:
            r.verdict = V_SUSPECT
        else:
            r.verdict = V_CLEAR

    def inspect(
        self,
        const uint8_t[::1] data not None,
        const uint64_t[::1] offset not None,
        const uint32_t[::1] length not None,
    ):
        """What every stage says of every frame of a batch: RESULT [frames].

        Frame i is length[i] bytes of `data` at offset[i]. Raises ValueError when one lies
        outside.
        """
        cdef Py_ssize_t i
        cdef Py_ssize_t count = check_batch(data, offset, length)
        cdef uint8_t nothing = 0
        result = np.zeros(count, dtype=RESULT)
        if not count:
            return result
        cdef uint8_t[::1] raw = result.view(np.uint8)
        cdef Result *out = <Result *>&raw[0]
        with nogil:
            for i in range(count):
                self.judge(&data[0] + offset[i] if length[i] else &nothing, length[i], &out[i])
        return result

    def verdicts(self, data, offset, length):
        """The verdict of every frame of a batch: uint8 [frames]."""
        return np.ascontiguousarray(self.inspect(data, offset, length)["verdict"])

    def verdict(self, frame: bytes) -> int:
        """The verdict of one frame."""
        one = np.frombuffer(frame, dtype=np.uint8)
        return int(self.verdicts(one, np.zeros(1, np.uint64), np.array([one.size], np.uint32))[0])


def verdict(frame: bytes, model: Model) -> int:
    """The verdict an armed block without a fault gives one frame."""
    return model.verdict(frame)
