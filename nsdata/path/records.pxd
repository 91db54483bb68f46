# What the path tells the output: a preallocated ring of Records and an arena for bytes.
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.packet cimport Flow, Packet, Record

cdef enum:
    RECORDS = 16384           # records between two drains
    RECORD_RESERVE = 8192     # always left free when a frame (or a flow's end) begins
    ARENA = 8 << 20           # bytes
    ARENA_RESERVE = 2 << 20

cdef class Records:
    cdef object _items
    cdef object _arena
    cdef Record *items
    cdef uint8_t *arena
    cdef uint32_t n
    cdef size_t used
    cdef bint keep_payload
    cdef bint keep_packet
    cdef uint32_t max_payload         # payload bytes kept with an alert
    cdef const uint8_t *last_frame    # already in the arena for this frame
    cdef uint32_t last_off
    cdef uint32_t last_len
    cdef readonly uint64_t clipped    # byte copies left out: the arena was full
    cdef readonly uint64_t overflowed  # records left out: the ring was full
    cdef bint room(self) noexcept nogil
    cdef Record *packet(self, uint8_t kind, const Packet *p, const Flow *f,
                        const Packet *outer) noexcept nogil
    cdef void payload(self, Record *r, const uint8_t *data, uint32_t length) noexcept nogil
    cdef void frame(self, Record *r, const Packet *p) noexcept nogil
    cdef void flow_end(self, const Flow *f) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef void _of_flow(self, Record *r, const Flow *f) noexcept nogil
    cdef bint _store(self, const uint8_t *data, uint32_t length, uint32_t *at) noexcept nogil
