# What rules remember between packets: flowbits and flowints per flow; xbits and
# thresholds per address, pair, rule or flow in one bounded table.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.packet cimport Flow, Packet
from nsdata.path.rulebase cimport Op, Threshold

# Bits and integers of one flow; Flow.bits points here.
cdef struct FlowBits:
    uint32_t n_words          # capacity of words, in 64-bit words
    uint32_t n_ints           # capacity of ints
    uint64_t *words
    uint32_t *ints
    uint8_t *int_set          # 1 where an int has been set

# One remembered thing, found by its key.
cdef struct Slot:
    uint64_t hash             # 0: empty
    uint64_t start_ns
    uint64_t end_ns           # xbits: expiry; thresholds: end of the window
    uint64_t flow_id
    uint32_t id               # xbit number, or rule signature
    uint32_t gid
    uint32_t count
    uint32_t next_at          # backoff: the count at which it alerts next
    uint8_t kind              # what `id` is: SLOT_*
    uint8_t track
    uint8_t ip_version
    uint8_t a[16]
    uint8_t b[16]

cdef class DetectState:
    cdef Slot *slots
    cdef uint32_t mask
    cdef uint64_t seed
    cdef uint32_t n_flows
    cdef uint32_t max_flows
    cdef uint32_t want_words
    cdef uint32_t want_ints
    cdef readonly uint64_t slots_evicted
    cdef readonly uint64_t flowbits_refused   # flows that could get none: the limit was reached
    cdef void size_for(self, uint32_t n_bits, uint32_t n_ints) noexcept nogil
    cdef FlowBits *bits_of(self, Flow *f, bint create) noexcept nogil
    cdef void release(self, Flow *f) noexcept nogil
    cdef bint check(self, const Op *op, const uint32_t *lists, Packet *p, Flow *f) noexcept nogil
    cdef void apply(self, const Op *op, const uint32_t *lists, Packet *p, Flow *f) noexcept nogil
    # 0 suppress alert and action, 1 alert, 2 act without alert
    cdef int threshold(self, const Threshold *t, uint32_t sid, uint32_t gid, Packet *p,
                       Flow *f) noexcept nogil
    cdef Slot *_slot(self, uint8_t kind, uint32_t id, uint32_t gid, uint8_t track, Packet *p,
                     Flow *f, bint create) noexcept nogil
