# Datagrams whose rebuilt form was dropped, so that no fragment of them follows.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.packet cimport Packet

cdef struct Datagram:
    uint8_t src[16]           # network order
    uint8_t dst[16]
    uint32_t id               # IP identification
    uint8_t version
    uint64_t until_ns         # engine's clock

cdef class CondemnedDatagrams:
    cdef Datagram *slots
    cdef Datagram *_slot(self, const Packet *p) noexcept nogil
    cdef void add(self, const Packet *p) noexcept nogil
    cdef bint has(self, const Packet *p) noexcept nogil
