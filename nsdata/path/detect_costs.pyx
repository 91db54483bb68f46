"""What each rule costs: packets it was checked against, packets it was verified in full, and time.

Counts are kept of every packet. Time is taken of one packet in TIMED_EVERY, by the clock around
each rule: that is cheap, and enough to tell which rules cost most. What takes longer than
TIMED_MOST_NS was in all likelihood interrupted, and is not charged with what others did meanwhile.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

import numpy as np

from nsdata.path.rulebase cimport Rule

cdef uint64_t TIMED_MOST_NS = 1000000


cdef class RuleCosts:
    """Of the `n_rules` rules of one image. All are switched on at first."""

    def __cinit__(self, uint32_t n_rules):
        cdef uint32_t words = (n_rules + 63) >> 6
        self.n_rules = n_rules
        self.items = <Cost *> calloc(max(1, n_rules), sizeof(Cost))
        self.enabled = <uint64_t *> calloc(max(1, words), 8)
        if self.items == NULL or self.enabled == NULL:
            raise MemoryError
        memset(self.enabled, 0xFF, <size_t> words * 8)

    def __dealloc__(self):
        free(self.items)
        free(self.enabled)

    cdef object read(self, const Rule *rules, uint32_t n_numbers):
        """uint64 arrays by source rule; `rules`: of the image, their numbers below n_numbers."""
        cdef uint32_t i
        cdef uint32_t number
        arrays = {name: np.zeros(n_numbers, np.uint64) for name in ("checked", "verified", "ns")}
        cdef uint64_t[::1] checked = arrays["checked"]
        cdef uint64_t[::1] verified = arrays["verified"]
        cdef uint64_t[::1] ns = arrays["ns"]
        for i in range(self.n_rules):
            number = rules[i].number
            checked[number] += self.items[i].checked
            verified[number] += self.items[i].verified
            ns[number] += self.items[i].timed_ns * TIMED_EVERY
        return arrays

    cdef void switch(self, uint32_t index, bint on) noexcept nogil:
        """One rule of the image; `index` below `n_rules`."""
        cdef uint64_t bit = <uint64_t> 1 << (index & 63)
        if on:
            self.enabled[index >> 6] |= bit
        else:
            self.enabled[index >> 6] &= ~bit
