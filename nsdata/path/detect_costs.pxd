# What each rule costs, and whether it is switched on. See detect_costs.pyx.
from libc.stdint cimport uint32_t, uint64_t

from nsdata.path.rulebase cimport Rule

cdef enum:
    TIMED_EVERY = 61          # packets; a prime, so that no pattern of traffic keeps step with it

cdef uint64_t TIMED_MOST_NS

cdef struct Cost:
    uint64_t checked          # packets it was a candidate for
    uint64_t verified         # ... whose header and packet checks held
    uint64_t timed_ns         # in every TIMED_EVERY-th packet

cdef class RuleCosts:
    cdef Cost *items          # by index in the image
    cdef uint64_t *enabled    # a bit for each
    cdef uint32_t n_rules

    cdef object read(self, const Rule *rules, uint32_t n_numbers)
    cdef void switch(self, uint32_t index, bint on) noexcept nogil
