# Counters of the EVE stats event that no stage keeps.
from libc.stdint cimport uint64_t

from nsdata.path.packet cimport Flow, Packet

cdef struct Frames:
    uint64_t ethernet         # frames by link type
    uint64_t raw
    uint64_t null
    uint64_t sll
    uint64_t sll2
    uint64_t ppp
    uint64_t chdlc
    uint64_t ipv4_in_ipv4     # inner in outer
    uint64_t ipv4_in_ipv6
    uint64_t ipv6_in_ipv4
    uint64_t ipv6_in_ipv6
    uint64_t arp
    uint64_t vlan
    uint64_t vlan_qinq
    uint64_t max_pkt_size     # bytes on the wire
    uint64_t syn
    uint64_t synack
    uint64_t rst
    uint64_t flows_new        # flows that ended in that state
    uint64_t flows_established
    uint64_t flows_closed
    uint64_t flows_bypassed

cdef class Counters:
    cdef Frames frames
    cdef uint64_t invalid
    cdef uint64_t protocols[256]
    cdef uint64_t versions[16]
    cdef uint64_t tunnels[16]
    cdef uint64_t event_count[256]
    cdef void packet(self, const Packet *p, const Packet *outer) noexcept nogil
    cdef void events(self, const Packet *p) noexcept nogil
    cdef void flow_end(self, const Flow *f) noexcept nogil
