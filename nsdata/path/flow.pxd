# The flow table: bidirectional flows by tuple, VLANs and tunnel depth.
from libc.stdint cimport uint32_t, uint64_t

from nsdata.path.packet cimport Flow, Packet

cdef enum:
    TIMEOUT_CLASSES = 10

cdef struct TimeoutList:
    uint32_t head             # least recently seen
    uint32_t tail
    uint64_t timeout_ns

cdef class FlowTable:
    cdef Flow **slabs
    cdef uint32_t *buckets
    cdef uint32_t bucket_mask
    cdef uint32_t max_flows
    cdef bint no_vlan             # frames of different VLANs are of one flow
    cdef uint32_t carved          # flows ever carved out of slabs
    cdef uint32_t free_head
    cdef uint32_t eldest          # live flows in the order of creation
    cdef uint32_t youngest
    cdef uint32_t touched         # flow of the last look-up; its class may have changed since
    cdef bint taken_over          # the last look-up found a tuple that p takes over
    cdef uint64_t key0
    cdef uint64_t key1
    cdef uint64_t clock_ns        # latest time seen
    cdef uint64_t next_deadline_ns    # nothing times out before
    cdef TimeoutList lists[TIMEOUT_CLASSES]
    cdef uint64_t sequence        # flows created so far, numbers their ids
    cdef uint64_t active
    cdef uint64_t created_tcp
    cdef uint64_t created_udp
    cdef uint64_t created_icmp
    cdef uint64_t created_icmp6   # ... of them ICMPv6
    cdef uint64_t created_other
    cdef uint64_t refused
    cdef uint64_t ended[4]        # by FlowEnd

    cdef bint wants(self, const Packet *p) noexcept nogil
    cdef Flow *lookup(self, Packet *p) noexcept nogil
    cdef bint reuse(self, Packet *p, Flow *f) noexcept nogil
    cdef Flow *timed_out(self, uint64_t now_ns) noexcept nogil
    cdef Flow *oldest(self) noexcept nogil
    cdef Flow *any(self) noexcept nogil
    cdef void release(self, Flow *f) noexcept nogil
    cdef Flow *at(self, uint32_t index) noexcept nogil

    cdef Flow *create(self, Packet *p, uint32_t hash) noexcept nogil
    cdef void account(self, Packet *p, Flow *f) noexcept nogil
    cdef void enlist(self, Flow *f, uint32_t index, uint32_t which) noexcept nogil
    cdef void delist(self, Flow *f) noexcept nogil
    cdef void settle(self) noexcept nogil
