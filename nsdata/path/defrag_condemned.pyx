"""Datagrams whose rebuilt form was dropped.

Inline, the earlier fragments of a datagram are forwarded by the time it is whole. Dropping
the last one suffices as long as no other fragment can complete the datagram at the
receiver; so its addresses and identification are remembered for as long as a receiver may
keep the others (60 s, RFC 8200), and every further fragment of it is dropped.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy

from nsdata.path.packet cimport Packet

cdef enum:
    SLOTS = 4096              # a power of two; the newest takes a slot that is in use
    KEEP_S = 60


cdef class CondemnedDatagrams:
    """At most SLOTS datagrams."""

    def __cinit__(self):
        self.slots = <Datagram *> calloc(SLOTS, sizeof(Datagram))
        if self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.slots)

    cdef Datagram *_slot(self, const Packet *p) noexcept nogil:
        cdef uint32_t h = p.ip_id * <uint32_t> 0x9E3779B1
        cdef int k
        for k in range(16):
            h = (h ^ p.src[k]) * <uint32_t> 0x01000193
            h = (h ^ p.dst[k]) * <uint32_t> 0x01000193
        return &self.slots[(h >> 8) & (SLOTS - 1)]

    cdef void add(self, const Packet *p) noexcept nogil:
        """The datagram that fragment p completed was dropped."""
        cdef Datagram *d = self._slot(p)
        memcpy(d.src, p.src, 16)
        memcpy(d.dst, p.dst, 16)
        d.id = p.ip_id
        d.version = p.ip_version
        d.until_ns = p.now_ns + <uint64_t> KEEP_S * 1000000000

    cdef bint has(self, const Packet *p) noexcept nogil:
        """Whether fragment p belongs to a dropped datagram."""
        cdef Datagram *d = self._slot(p)
        return d.until_ns >= p.now_ns and d.version == p.ip_version and d.id == p.ip_id \
            and memcmp(d.src, p.src, 16) == 0 and memcmp(d.dst, p.dst, 16) == 0
