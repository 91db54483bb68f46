"""What rules remember between packets.

flowbits and flowints live in a block per flow, made when the first one is set (at most
`max_flows` blocks). xbits, hostbits and thresholds share one table of `max_slots` entries
with eight-way probing: when all eight are live, the one that ends first is given up and
counted in `slots_evicted`.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from nsdata.path.packet cimport *
from nsdata.path.rulebase cimport *

cdef enum:
    SLOT_XBIT = 1
    SLOT_THRESHOLD = 2
    WAYS = 8


cdef inline uint64_t _mix(uint64_t h, uint64_t v) noexcept nogil:
    h ^= v
    h *= <uint64_t> 0x9E3779B97F4A7C15ULL
    h ^= h >> 29
    return h


cdef inline uint64_t _mix16(uint64_t h, const uint8_t *a) noexcept nogil:
    cdef uint64_t words[2]
    memcpy(words, a, 16)
    return _mix(_mix(h, words[0]), words[1])


cdef bint _compare(int64_t x, uint8_t cmp, int64_t a) noexcept nogil:
    if cmp == CMP_EQ:
        return x == a
    if cmp == CMP_NE:
        return x != a
    if cmp == CMP_LT:
        return x < a
    if cmp == CMP_GT:
        return x > a
    if cmp == CMP_LE:
        return x <= a
    return x >= a


cdef class DetectState:
    """State of rules. `max_slots` (a power of two) bounds xbits and thresholds, `max_flows`
    the flows that carry flowbits; `seed` keys the hash."""

    def __cinit__(self, uint32_t max_slots=65536, uint32_t max_flows=262144, uint64_t seed=0):
        cdef uint32_t size = 1024
        while size < max_slots and size < 1 << 26:
            size <<= 1
        self.slots = <Slot *> calloc(size, sizeof(Slot))
        if self.slots == NULL:
            raise MemoryError
        self.mask = size - 1
        self.seed = seed
        self.max_flows = max_flows
        self.want_words = 4
        self.want_ints = 0

    def __dealloc__(self):
        free(self.slots)

    def stats(self) -> dict:
        """Counters: flows with flowbits, refused and evicted entries."""
        return {"flows_with_bits": self.n_flows, "flowbits_refused": self.flowbits_refused,
                "slots_evicted": self.slots_evicted}

    cdef void size_for(self, uint32_t n_bits, uint32_t n_ints) noexcept nogil:
        """A rule image that needs this many bits and ints was loaded."""
        if (n_bits + 63) >> 6 > self.want_words:
            self.want_words = (n_bits + 63) >> 6
        if n_ints > self.want_ints:
            self.want_ints = n_ints

    cdef FlowBits *bits_of(self, Flow *f, bint create) noexcept nogil:
        cdef FlowBits *b = <FlowBits *> f.bits
        cdef FlowBits *wide
        cdef size_t size
        if b != NULL and b.n_words >= self.want_words and b.n_ints >= self.want_ints:
            return b
        if not create:
            return b
        if b == NULL and self.n_flows >= self.max_flows:
            self.flowbits_refused += 1
            return NULL
        size = sizeof(FlowBits) + <size_t> self.want_words * 8 + <size_t> self.want_ints * 5
        wide = <FlowBits *> calloc(1, size)
        if wide == NULL:
            self.flowbits_refused += 1
            return b
        wide.n_words = self.want_words
        wide.n_ints = self.want_ints
        wide.words = <uint64_t *> (wide + 1)
        wide.ints = <uint32_t *> (wide.words + wide.n_words)
        wide.int_set = <uint8_t *> (wide.ints + wide.n_ints)
        if b == NULL:
            self.n_flows += 1
        else:       # a newer image needs more room than the flow's block has
            memcpy(wide.words, b.words, <size_t> b.n_words * 8)
            if b.n_ints:
                memcpy(wide.ints, b.ints, <size_t> b.n_ints * 4)
                memcpy(wide.int_set, b.int_set, b.n_ints)
            free(b)
        f.bits = wide
        return wide

    cdef void release(self, Flow *f) noexcept nogil:
        """The flow ends."""
        if f.bits != NULL:
            free(f.bits)
            f.bits = NULL
            self.n_flows -= 1

    cdef Slot *_slot(self, uint8_t kind, uint32_t id, uint32_t gid, uint8_t track, Packet *p,
                     Flow *f, bint create) noexcept nogil:
        """The slot of a key, or NULL; with `create` a fresh one (count 0) if there is none."""
        cdef Slot key
        cdef Slot *s
        cdef Slot *victim = NULL
        cdef uint64_t h
        cdef uint32_t i
        memset(&key, 0, sizeof(Slot))
        key.kind = kind
        key.id = id
        key.gid = gid
        key.track = track
        if track == TRACK_FLOW:
            key.flow_id = f.id if f != NULL else 0
        elif track != TRACK_RULE:
            key.ip_version = p.ip_version
            if track == TRACK_SRC:
                memcpy(key.a, p.src, 16)
            elif track == TRACK_DST:
                memcpy(key.a, p.dst, 16)
            elif memcmp(p.src, p.dst, 16) <= 0:
                memcpy(key.a, p.src, 16)
                memcpy(key.b, p.dst, 16)
            else:
                memcpy(key.a, p.dst, 16)
                memcpy(key.b, p.src, 16)
        if kind == SLOT_XBIT and track <= TRACK_DST:
            key.track = TRACK_SRC       # a host's bit is one bit, however it is reached
        h = _mix(self.seed, <uint64_t> id << 32 | gid)
        h = _mix(h, <uint64_t> kind << 16 | <uint64_t> key.track << 8 | key.ip_version)
        h = _mix16(_mix16(_mix(h, key.flow_id), key.a), key.b)
        if h == 0:
            h = 1
        for i in range(WAYS):
            s = &self.slots[(h + i) & self.mask]
            if s.hash == h and s.kind == kind and s.id == id and s.gid == gid \
                    and s.track == key.track and s.ip_version == key.ip_version \
                    and s.flow_id == key.flow_id and memcmp(s.a, key.a, 16) == 0 \
                    and memcmp(s.b, key.b, 16) == 0:
                return s
        if not create:
            return NULL
        for i in range(WAYS):
            s = &self.slots[(h + i) & self.mask]
            if s.hash == 0 or s.end_ns < p.now_ns:
                victim = s
                break
            if victim == NULL or s.end_ns < victim.end_ns:
                victim = s
        if victim.hash != 0 and victim.end_ns >= p.now_ns:
            self.slots_evicted += 1
        key.hash = h
        victim[0] = key
        return victim

    cdef bint check(self, const Op *op, const uint32_t *lists, Packet *p, Flow *f) noexcept nogil:
        """A flowbits, flowint or xbits condition."""
        cdef FlowBits *b
        cdef Slot *s
        cdef uint32_t i
        cdef uint32_t bit
        cdef bint hit
        if op.kind == CHK_XBITS:
            s = self._slot(SLOT_XBIT, op.data, 0, <uint8_t> op.length, p, f, False)
            hit = s != NULL and s.end_ns >= p.now_ns
            return hit != ((op.flags & OPF_NEGATED) != 0)
        if f == NULL:
            return False
        b = <FlowBits *> f.bits
        if op.kind == CHK_FLOWBITS_ISSET or op.kind == CHK_FLOWBITS_ISNOTSET:
            for i in range(op.length):
                bit = lists[op.data + i]
                hit = b != NULL and bit >> 6 < b.n_words and (b.words[bit >> 6] >> (bit & 63)) & 1
                if hit == (op.kind == CHK_FLOWBITS_ISSET):
                    return True
            return False
        hit = b != NULL and op.data < b.n_ints and b.int_set[op.data] != 0
        if op.kind == CHK_FLOWINT_ISSET:
            return hit != ((op.flags & OPF_NEGATED) != 0)
        if not hit:
            return False
        if op.flags & OPF_VAR_A:
            if <uint64_t> op.a >= b.n_ints or not b.int_set[op.a]:
                return False
            return _compare(b.ints[op.data], op.cmp, b.ints[op.a])
        return _compare(b.ints[op.data], op.cmp, op.a)

    cdef void apply(self, const Op *op, const uint32_t *lists, Packet *p, Flow *f) noexcept nogil:
        """A post-match op."""
        cdef FlowBits *b
        cdef Slot *s
        cdef uint32_t i
        cdef uint32_t bit
        cdef uint64_t one
        cdef uint32_t value
        if POST_XBITS_SET <= op.kind <= POST_XBITS_TOGGLE:
            s = self._slot(SLOT_XBIT, op.data, 0, <uint8_t> op.length, p, f,
                           op.kind != POST_XBITS_UNSET)
            if s == NULL:
                return
            if op.kind == POST_XBITS_UNSET or (op.kind == POST_XBITS_TOGGLE and s.count
                                               and s.end_ns >= p.now_ns):
                s.hash = 0
                return
            s.count = 1
            s.start_ns = p.now_ns
            s.end_ns = p.now_ns + <uint64_t> (op.a if op.a > 0 else 30) * 1000000000
            return
        if f == NULL:
            return
        b = self.bits_of(f, op.kind != POST_FLOWBITS_UNSET)
        if b == NULL:
            return
        if op.kind == POST_FLOWINT:
            if op.data >= b.n_ints:
                return
            value = <uint32_t> op.a
            if op.flags & OPF_VAR_A:
                value = b.ints[op.a] if <uint64_t> op.a < b.n_ints else 0
            if op.cmp == FLOWINT_ADD:
                b.ints[op.data] += value
            elif op.cmp == FLOWINT_SUB:
                b.ints[op.data] -= value
            else:
                b.ints[op.data] = value
            b.int_set[op.data] = 1
            return
        for i in range(op.length):
            bit = lists[op.data + i]
            if bit >> 6 >= b.n_words:
                continue
            one = <uint64_t> 1 << (bit & 63)
            if op.kind == POST_FLOWBITS_SET:
                b.words[bit >> 6] |= one
            elif op.kind == POST_FLOWBITS_UNSET:
                b.words[bit >> 6] &= ~one
            else:
                b.words[bit >> 6] ^= one

    cdef int threshold(self, const Threshold *t, uint32_t sid, uint32_t gid, Packet *p,
                       Flow *f) noexcept nogil:
        """Whether this match alerts: 0 no alert and no action, 1 alert, 2 action alone.

        `limit` alerts for the first `count` matches of a window, `threshold` for every
        `count`-th, `both` once per window at the `count`-th, `backoff` at count,
        count × multiplier, …; `detection_filter` for every match past `count`.
        """
        cdef uint64_t window = <uint64_t> t.seconds * 1000000000
        cdef Slot *s
        if t.track == TRACK_FLOW and f == NULL:
            return 1
        s = self._slot(SLOT_THRESHOLD, sid, gid, t.track, p, f, True)
        if t.kind == THRESHOLD_BACKOFF:
            s.end_ns = p.now_ns + <uint64_t> 3600 * 1000000000
            s.count += 1
            if s.next_at == 0:
                s.next_at = t.count
            if s.count < s.next_at:
                return 2 if s.next_at > t.count else 0
            if s.count == s.next_at:
                s.next_at *= t.multiplier if t.multiplier > 1 else 1
                return 1
            return 2
        if s.count == 0 or p.now_ns > s.end_ns:
            s.start_ns = p.now_ns
            s.end_ns = p.now_ns + window
            s.count = 0
        s.count += 1
        if t.kind == THRESHOLD_LIMIT:
            return 1 if s.count <= t.count else 2
        if t.kind == THRESHOLD_THRESHOLD:
            if s.count >= t.count:
                s.count = 0
                return 1
            return 0
        if t.kind == THRESHOLD_BOTH:
            if s.count == t.count:
                return 1
            return 2 if s.count > t.count else 0
        return 1 if s.count > t.count else 0
