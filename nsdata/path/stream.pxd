# The TCP stage: session state table and in-order reassembly.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.packet cimport Flow, Packet
from nsdata.path.prefilter cimport Filter, Prefilter

cdef enum:
    POOL_CLASSES = 28             # power-of-two blocks of 2**0 .. 2**27 bytes (64 the least used)

# Settings, memory and counters: what the C functions of the stage share.
cdef struct Core:
    bint inline_mode
    bint midstream
    bint async_oneside
    bint ignore_bad_checksum
    uint8_t policy                # overlap policy of new sessions
    uint32_t chunk[2]             # bytes, by Direction
    uint32_t overlap              # bytes of context kept before what is new
    uint64_t depth                # bytes per direction; 0: no limit
    uint32_t max_segments         # out-of-order segments per direction
    uint64_t memcap
    uint64_t memuse               # bytes handed out
    uint64_t held                 # bytes taken from the system: handed out or spare
    uint64_t memuse_peak
    void *spare[POOL_CLASSES]
    uint8_t *scratch              # 64 KiB: a segment while overlaps are settled
    uint64_t sessions
    uint64_t active
    uint64_t midstream_pickups
    uint64_t midstream_refused
    uint64_t session_memcap
    uint64_t segments
    uint64_t segment_memcap
    uint64_t segment_limit
    uint64_t gaps
    uint64_t overlaps
    uint64_t overlaps_different
    uint64_t depth_reached
    uint64_t bad_checksum
    uint64_t out_of_state
    uint64_t ack_unseen
    uint64_t chunks
    uint64_t chunk_bytes
    const Filter *filter          # the hardware's window test; NULL: no frame is CLEAR
    uint32_t epoch                # counts its changes
    uint64_t seams                # tested
    uint64_t seam_hits

cdef class StreamTracker:
    cdef Core core
    cdef Prefilter prefilter      # owns core.filter

    cdef object set_filter(self, Prefilter prefilter)
    cdef void packet(self, Packet *p, Flow *f) noexcept nogil
    cdef void inspected(self, Packet *p, Flow *f) noexcept nogil
    cdef bint more(self, Packet *p, Flow *f) noexcept nogil
    cdef bint flush(self, Flow *f, int dir, Packet *pseudo) noexcept nogil
    cdef void free(self, Flow *f) noexcept nogil
