"""Which flows the hardware may decide on by itself, and when it must forget them.

A flow that was bypassed or passed (and, on request, dropped) is offered once with the keys of
both its directions; when it ends the keys are offered for removal. The host drains the offers
(`take`) after every chunk of frames. Until a removal is done the hardware may still say BYPASS
of a new flow of the same key, which is why `stale` makes the inspector look for itself. Removals
that do not fit are not lost: `take` then says that the whole table has to be flushed.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

import numpy as np

from nsdata.path.packet cimport (
    FLOW_BYPASS, FLOW_DROP, FLOW_OFFERED, FLOW_PASS, MAX_VLAN, Flow, Packet,
)

OFFER = np.dtype([("key", np.uint8, (KEY_BYTES,)), ("kind", np.uint8)])


cdef void address(uint8_t *into, const uint8_t *network, uint8_t version) noexcept nogil:
    cdef int n = 4 if version == 4 else 16
    cdef int i
    for i in range(n):
        into[i] = network[n - 1 - i]


cdef int tags_of(const Flow *f) noexcept nogil:
    cdef int n = 0
    while n < MAX_VLAN and f.vlan[n]:
        n += 1
    return n


cdef class Shunts:
    """The ring of offers. Owned by the inspector."""

    cdef void consider(self, const Packet *p, Flow *f) noexcept nogil:
        """Offer the flow of the outermost layer `p` if it was decided on, once."""
        cdef int tags
        cdef int i
        if f.flags & FLOW_OFFERED or not f.flags & (FLOW_BYPASS | FLOW_PASS | FLOW_DROP):
            return
        if (f.proto != 6 and f.proto != 17) or p.proto != f.proto:
            return
        if f.flags & FLOW_DROP and not self.dropped:
            return
        tags = tags_of(f)
        if tags > 2 or p.n_vlan != tags:
            return                # tags that the flow does not remember cannot be in a key
        for i in range(tags):
            if p.vlan[i] != f.vlan[i]:
                return
        if self.n + 2 > MAX_OFFERS:
            return                # another packet of it will come
        f.flags |= FLOW_OFFERED
        self.offered += 1
        self._put(f, OFFER_BLOCK if f.flags & FLOW_DROP else OFFER_BYPASS)

    cdef void ended(self, Flow *f) noexcept nogil:
        """The flow was offered and is no more."""
        self.stale = True
        self.removed += 1
        if self.n + 2 > MAX_OFFERS:
            self.overflow = True
            return
        self._put(f, OFFER_REMOVE)

    cdef void _put(self, const Flow *f, int kind) noexcept nogil:
        cdef Offer *o
        cdef int tags = tags_of(f)
        cdef int back
        cdef uint16_t sport
        cdef uint16_t dport
        cdef const uint8_t *src
        cdef const uint8_t *dst
        cdef uint32_t top = (f.vlan[1] & 0xFFF if tags > 1 else 0) \
            | (<uint32_t> f.vlan[0] & 0xFFF) << 12 | <uint32_t> tags << 24 \
            | (<uint32_t> 1 << 26 if f.ip_version == 6 else 0)
        for back in range(2):
            o = &self.ring[self.n]
            self.n += 1
            memset(o, 0, sizeof(Offer))
            src, dst = <const uint8_t *> f.src, <const uint8_t *> f.dst
            sport, dport = f.sport, f.dport
            if back:
                src, dst = dst, src
                sport, dport = dport, sport
            o.key[0] = dport & 0xFF
            o.key[1] = dport >> 8
            o.key[2] = sport & 0xFF
            o.key[3] = sport >> 8
            address(o.key + 4, dst, f.ip_version)
            address(o.key + 20, src, f.ip_version)
            o.key[36] = f.proto
            memcpy(o.key + 37, &top, 4)
            o.kind = <uint8_t> kind

    def take(self) -> tuple:
        """(offers since the last call, a copy: OFFER array in order; whether to flush the
        table instead). The hardware must have them before it judges another frame."""
        cdef const uint8_t[::1] raw
        offers = np.zeros(self.n, dtype=OFFER)
        flush = bool(self.overflow)
        if self.n:
            raw = <const uint8_t[:self.n * sizeof(Offer)]> <const uint8_t *> self.ring
            offers.view(np.uint8)[:] = raw
        self.n = 0
        self.stale = self.overflow = False
        return offers, flush

    def stats(self) -> dict:
        """Flows offered, and ended after it."""
        return {"offered": self.offered, "removed": self.removed}
