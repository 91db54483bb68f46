"""Datagrams that were dropped, whole or in part.

Inline, the earlier fragments of a datagram are forwarded by the time it is whole. Dropping
one fragment suffices as long as no other can complete the datagram at the receiver; so the
datagram is remembered for as long as a receiver may keep the others (60 s, RFC 8200), and
every further fragment of it is dropped. The table is keyed by a seeded hash; when a sender
fills a set of it, all fragments that fall in that set are dropped for 60 s: it fails closed,
for fragments alone.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from nsdata.path.packet cimport MAX_VLAN, Packet

cdef uint64_t KEEP_NS = <uint64_t> 60 * 1000000000
cdef size_t KEY_BYTES = 32


cdef class CondemnedDatagrams:
    """At most SETS x WAYS datagrams. `seed` keys the hash."""

    def __cinit__(self, uint64_t seed=0):
        self.slots = <Datagram *> calloc(SETS * WAYS, sizeof(Datagram))
        self.full_until_ns = <uint64_t *> calloc(SETS, sizeof(uint64_t))
        if self.slots == NULL or self.full_until_ns == NULL:
            raise MemoryError
        self.seed = seed

    def __dealloc__(self):
        free(self.slots)
        free(self.full_until_ns)

    cdef uint32_t _key(self, const Packet *p, Datagram *d) noexcept nogil:
        """Fill `d` with the identity of p's datagram; the number of its set."""
        cdef uint64_t words[4]
        cdef uint64_t h = self.seed ^ <uint64_t> 0x9E3779B97F4A7C15ULL
        cdef int k
        memset(d, 0, sizeof(Datagram))
        memcpy(d.src, p.src, 16)
        memcpy(d.dst, p.dst, 16)
        d.id = p.ip_id
        d.version = p.ip_version
        d.proto = p.proto
        d.layer = p.layer
        for k in range(p.n_vlan if p.n_vlan < MAX_VLAN else MAX_VLAN):
            d.vlan[k] = p.vlan[k]
        memcpy(words, d.src, KEY_BYTES)
        for k in range(4):
            h = (h ^ words[k]) * <uint64_t> 0xBF58476D1CE4E5B9ULL
            h ^= h >> 31
        h = (h ^ d.id ^ <uint64_t> d.vlan[0] << 32 ^ <uint64_t> d.proto << 48)
        h *= <uint64_t> 0x94D049BB133111EBULL
        return <uint32_t> (h >> 40) & (SETS - 1)

    cdef void add(self, const Packet *p) noexcept nogil:
        """A fragment of p's datagram, or the datagram, was dropped."""
        cdef Datagram key
        cdef uint32_t number = self._key(p, &key)
        cdef Datagram *way = self.slots + <size_t> number * WAYS
        cdef Datagram *place = NULL
        cdef int k
        self.added += 1
        key.until_ns = p.now_ns + KEEP_NS
        for k in range(WAYS):
            if way[k].until_ns < p.now_ns or _same(&way[k], &key):
                place = &way[k]
                if _same(&way[k], &key):
                    break
        if place == NULL:
            self.overflowed += 1
            self.full_until_ns[number] = key.until_ns
            return
        place[0] = key

    cdef bint has(self, const Packet *p) noexcept nogil:
        """Whether fragment p belongs to a dropped datagram (or to a set that is full)."""
        cdef Datagram key
        cdef uint32_t number
        cdef Datagram *way
        cdef int k
        if self.added == 0:
            return False
        number = self._key(p, &key)
        if self.full_until_ns[number] >= p.now_ns and self.full_until_ns[number]:
            return True
        way = self.slots + <size_t> number * WAYS
        for k in range(WAYS):
            if way[k].until_ns >= p.now_ns and _same(&way[k], &key):
                return True
        return False


cdef bint _same(const Datagram *a, const Datagram *b) noexcept nogil:
    return a.until_ns != 0 and a.id == b.id and a.version == b.version and a.proto == b.proto \
        and a.layer == b.layer and memcmp(a.src, b.src, 16) == 0 \
        and memcmp(a.dst, b.dst, 16) == 0 \
        and memcmp(a.vlan, b.vlan, MAX_VLAN * sizeof(uint16_t)) == 0
