# Datagrams that were dropped, so that no further fragment of them is forwarded.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.packet cimport MAX_VLAN, Packet

cdef enum:
    SETS = 8192               # a power of two
    WAYS = 8

# What makes a datagram one (RFC 791, RFC 8200), and where it was seen.
cdef struct Datagram:
    uint8_t src[16]           # network order
    uint8_t dst[16]
    uint32_t id               # IP identification
    uint16_t vlan[MAX_VLAN]
    uint8_t version
    uint8_t proto             # IPv4; 44 for IPv6
    uint8_t layer
    uint64_t until_ns         # engine's clock; 0: free

cdef class CondemnedDatagrams:
    cdef Datagram *slots      # [SETS][WAYS]
    cdef uint64_t *full_until_ns      # [SETS]: every fragment of the set is dropped till then
    cdef uint64_t seed
    cdef readonly uint64_t added
    cdef readonly uint64_t overflowed     # times a set was full
    cdef uint32_t _key(self, const Packet *p, Datagram *d) noexcept nogil
    cdef void add(self, const Packet *p) noexcept nogil
    cdef bint has(self, const Packet *p) noexcept nogil
