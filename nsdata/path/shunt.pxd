# Flows for the hardware's table: a bounded ring of offers, drained by the host.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.packet cimport Flow, Packet

cdef enum:
    KEY_BYTES = 41            # flow_key_t of hdl/nsd_pkg.sv, least byte first
    MAX_OFFERS = 1024         # kept between two drains

cdef enum OfferKind:
    OFFER_REMOVE = 0          # the flow ended
    OFFER_BYPASS = 1          # action_t: it was bypassed or passed
    OFFER_BLOCK = 2           # ... dropped

cdef struct Offer:
    uint8_t key[KEY_BYTES]
    uint8_t kind              # OfferKind

cdef class Shunts:
    cdef bint on
    cdef bint dropped             # dropped flows too
    cdef bint stale               # a removal has not reached the hardware yet
    cdef bint overflow            # ... or did not fit: its table has to be flushed
    cdef uint32_t n
    cdef uint64_t offered
    cdef uint64_t removed
    cdef Offer ring[MAX_OFFERS]
    cdef void consider(self, const Packet *p, Flow *f) noexcept nogil
    cdef void ended(self, Flow *f) noexcept nogil
    cdef void _put(self, const Flow *f, int kind) noexcept nogil
