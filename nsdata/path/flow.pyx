# cython: language_level=3
"""The flow table.

A flow is the conversation of two endpoints: addresses, ports, protocol, VLAN tags and the
depth of the tunnel that carries it. Either direction finds it. Flows live in slabs that grow
on demand up to `max_flows` and never move, so a `Flow *` stays good until `release`.

ICMP has no ports: `Flow.sport` holds `type << 8 | code` of the first packet and `Flow.dport`
the same of its answer (echo request 8 and reply 0 ...); `Flow.icmp_id` tells queries apart.
Types without an answer have both equal. An ICMP error belongs to the flow of the packet it
quotes when that flow exists, in the direction it travels, but does not count as an answer.

Time-outs use packet time alone. Each class (protocol x state) has a list in the order of last
sight, so its head is the next to go: finding what timed out costs O(1). Time going backwards
makes flows live longer, never shorter.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

import ipaddress

from nsdata.path.packet cimport (
    FLOW_BYPASS, FLOW_CLOSED, FLOW_END_EVICTED, FLOW_END_REUSED, FLOW_END_SHUTDOWN,
    FLOW_END_TIMEOUT, FLOW_EST, FLOW_ESTABLISHED, FLOW_FREE, FLOW_NEW, FLOW_SEEN_TC, FLOW_SEEN_TS,
    MAX_VLAN, NO_FLOW, PKT_ESTABLISHED, PKT_FRAGMENT, PKT_ICMP_ERROR, PKT_INVALID, PKT_REBUILT,
    TCP_ESTABLISHED,
    TCP_LAST_ACK, TCP_NONE, TO_CLIENT, TO_SERVER,
)
from libc.stdint cimport uint8_t, uint16_t

cdef extern from *:
    """
    static inline unsigned long long nsd_fold(unsigned long long a, unsigned long long b) {
        unsigned __int128 r = (unsigned __int128)a * b;
        return (unsigned long long)r ^ (unsigned long long)(r >> 64);
    }
    """
    uint64_t nsd_fold(uint64_t a, uint64_t b) noexcept nogil

cdef enum:
    NONE = 0xFFFFFFFF
    SLAB = 1024                   # flows per slab
    SLAB_BITS = 10
    LIMIT = 1 << 26
    # time-out classes; the answered form is one after the new one
    TCP_NEW_ = 0
    TCP_EST_ = 1
    TCP_CLOSED_ = 2
    UDP_NEW_ = 3
    ICMP_NEW_ = 5
    OTHER_NEW_ = 7
    BYPASSED_ = 9
    IP_ICMP = 1
    IP_TCP = 6
    IP_UDP = 17
    IP_ESP = 50
    IP_ICMP6 = 58
    IP_SCTP = 132

cdef uint64_t ID_MASK = (<uint64_t>1 << 53) - 1    # what every JSON reader keeps exactly

DEFAULT_TIMEOUTS: dict = {
    "tcp": {"new": 60, "established": 600, "closed": 60},
    "udp": {"new": 30, "established": 300},
    "icmp": {"new": 30, "established": 300},
    "default": {"new": 30, "established": 300},
    "bypassed": {"any": 100},
}
_CLASSES = (
    ("tcp", "new"), ("tcp", "established"), ("tcp", "closed"), ("udp", "new"),
    ("udp", "established"), ("icmp", "new"), ("icmp", "established"), ("default", "new"),
    ("default", "established"), ("bypassed", "any"),
)
STATES = ("free", "new", "established", "closed")
ENDS = ("timeout", "shutdown", "evicted", "reused")

include "flow_key.pxi"


cdef uint32_t class_of(const Flow *f) noexcept nogil:
    if f.flags & FLOW_BYPASS:
        return BYPASSED_
    if f.proto == IP_TCP:
        if f.state == FLOW_CLOSED:
            return TCP_CLOSED_
        return TCP_EST_ if f.state == FLOW_EST else TCP_NEW_
    if f.proto == IP_UDP:
        return UDP_NEW_ + (f.state != FLOW_NEW)
    if f.proto == IP_ICMP or f.proto == IP_ICMP6:
        return ICMP_NEW_ + (f.state != FLOW_NEW)
    return OTHER_NEW_ + (f.state != FLOW_NEW)


cdef bint takes_over(const Packet *p, const Flow *f) noexcept nogil:
    """Whether this SYN starts another connection on the tuple of `f`."""
    if p.proto != IP_TCP or f.proto != IP_TCP or (p.tcp_flags & 0x17) != 0x02:
        return False
    if f.tcp == NULL:
        # nothing was tracked: passed over midstream, or out of memory
        return f.tcp_state == TCP_NONE or f.state == FLOW_CLOSED or f.tcp_state >= TCP_LAST_ACK
    if p.dir == TO_SERVER and p.seq == f.isn:
        return False                  # the first SYN again
    return f.tcp_state >= TCP_LAST_ACK or f.tcp_state == TCP_NONE


cdef class FlowTable:
    """Bidirectional flows.

    max_flows: how many may live at once; beyond, `lookup` refuses and the engine evicts.
    seed: of the hash and of the flow ids; the same seed and packets give the same ids.
    timeouts: seconds per protocol (`tcp`, `udp`, `icmp`, `default`) and state (`new`,
    `established`, `closed`), and `bypassed`; what is not named keeps its default.
    Raises ValueError on a limit or a time-out out of range, KeyError on an unknown name.
    """

    def __cinit__(self, *, max_flows=262144, seed=0, timeouts=None, use_vlan=True):
        cdef uint32_t n = 1024
        cdef int i
        if not 1 <= max_flows <= LIMIT:
            raise ValueError(f"max_flows must be between 1 and {LIMIT}, not {max_flows}")
        merged = {name: dict(states) for name, states in DEFAULT_TIMEOUTS.items()}
        for name, states in (timeouts or {}).items():
            if name == "bypassed" and not isinstance(states, dict):
                states = {"any": states}
            for state, seconds in states.items():
                if state not in merged[name]:
                    raise KeyError(f"flow time-out {name}.{state}")
                if not 0 < seconds <= 10_000_000:
                    raise ValueError(f"flow time-out {name}.{state} must be seconds > 0")
                merged[name][state] = seconds
        for i, (name, state) in enumerate(_CLASSES):
            self.lists[i].head = self.lists[i].tail = NONE
            self.lists[i].timeout_ns = int(merged[name][state] * 1_000_000_000)
        self.max_flows = max_flows
        self.no_vlan = not use_vlan
        while n < self.max_flows:
            n <<= 1
        self.bucket_mask = n - 1
        self.buckets = <uint32_t *>calloc(n, sizeof(uint32_t))
        self.slabs = <Flow **>calloc((self.max_flows + SLAB - 1) >> SLAB_BITS, sizeof(Flow *))
        if self.buckets == NULL or self.slabs == NULL:
            raise MemoryError(f"no memory for a table of {max_flows} flows; lower max_flows")
        memset(self.buckets, 0xFF, n * sizeof(uint32_t))
        mixed = (int(seed) * 0x9E3779B97F4A7C15 + 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
        self.key0 = mixed
        self.key1 = ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 + 1) & 0xFFFFFFFFFFFFFFFF
        self.free_head = self.eldest = self.youngest = self.touched = NONE
        self.next_deadline_ns = <uint64_t>-1

    def __dealloc__(self):
        cdef uint32_t i
        if self.slabs != NULL:
            for i in range((self.max_flows + SLAB - 1) >> SLAB_BITS):
                free(self.slabs[i])
        free(self.slabs)
        free(self.buckets)

    cdef bint wants(self, const Packet *p) noexcept nogil:
        """Whether p is of the kind that has a flow (else `lookup` gives NULL for good)."""
        if p.ip_version == 0 or p.flags & (PKT_FRAGMENT | PKT_INVALID):
            return False
        return (
            p.proto == IP_TCP or p.proto == IP_UDP or p.proto == IP_SCTP or p.proto == IP_ESP
            or (p.proto == IP_ICMP and p.ip_version == 4)
            or (p.proto == IP_ICMP6 and p.ip_version == 6)
        )

    cdef Flow *at(self, uint32_t index) noexcept nogil:
        return &self.slabs[index >> SLAB_BITS][index & (SLAB - 1)]

    cdef Flow *lookup(self, Packet *p) noexcept nogil:
        """Find or create the flow of p and count p in; NULL: no flow (see `wants`) or full."""
        cdef Key k
        cdef uint32_t h, i
        cdef Flow *f
        p.flow = NO_FLOW
        p.dir = TO_SERVER
        self.taken_over = False
        if not self.wants(p):
            return NULL
        self.settle()
        if p.flags & PKT_ICMP_ERROR and p.icmp_inner_proto != IP_ICMP \
                and p.icmp_inner_proto != IP_ICMP6:
            key_of(p, &k)
            if self.no_vlan:
                memset(k.vlan, 0, sizeof(k.vlan))
            k.proto = p.icmp_inner_proto
            memcpy(k.src, p.icmp_inner_src, 16)
            memcpy(k.dst, p.icmp_inner_dst, 16)
            k.sport = p.icmp_inner_sport
            k.dport = p.icmp_inner_dport
            k.icmp_id = 0
            h = hash_of(&k, self.key0, self.key1)
            i = self.buckets[h & self.bucket_mask]
            while i != NONE:
                f = self.at(i)
                if f.hash == h and same(f, &k, &p.dir):
                    p.dir ^= 1            # the error travels against the packet it quotes
                    p.flow = i
                    self.account(p, f)
                    return f
                i = f.next
        key_of(p, &k)
        if self.no_vlan:
            memset(k.vlan, 0, sizeof(k.vlan))
        h = hash_of(&k, self.key0, self.key1)
        i = self.buckets[h & self.bucket_mask]
        while i != NONE:
            f = self.at(i)
            if f.hash == h and same(f, &k, &p.dir):
                p.flow = i
                self.taken_over = takes_over(p, f)
                if not self.taken_over:   # else p belongs to the next flow: see `reuse`
                    self.account(p, f)
                return f
            i = f.next
        p.dir = TO_SERVER
        f = self.create(p, h)
        if f != NULL:
            memcpy(f.src, k.src, 16)
            memcpy(f.dst, k.dst, 16)
            memcpy(f.vlan, k.vlan, sizeof(k.vlan))
            f.sport = k.sport
            f.dport = k.dport
            f.icmp_id = k.icmp_id
            f.proto = k.proto
            f.ip_version = k.ip_version
            f.layer = k.layer
            f.first_ns = f.last_ns = p.ts_ns
            if p.now_ns > self.clock_ns:
                self.clock_ns = p.now_ns
            f.seen_ns = self.clock_ns
            f.timeout_class = <uint8_t>class_of(f)
            self.enlist(f, p.flow, f.timeout_class)
            self.account(p, f)
        return f

    cdef bint reuse(self, Packet *p, Flow *f) noexcept nogil:
        """Whether p is a SYN that takes the tuple of the finished f over.

        Then `lookup` has not counted p in; end f, release it and look up again.
        """
        if not self.taken_over or p.flow == NO_FLOW or self.at(p.flow) != f:
            return False
        self.taken_over = False
        f.end = FLOW_END_REUSED
        return True

    cdef Flow *create(self, Packet *p, uint32_t hash) noexcept nogil:
        cdef uint32_t i = self.free_head
        cdef uint32_t slab
        cdef uint64_t id
        cdef Flow *f
        if i != NONE:
            f = self.at(i)
            self.free_head = f.next
        else:
            if self.carved >= self.max_flows:
                self.refused += 1
                return NULL
            i = self.carved
            slab = i >> SLAB_BITS
            if self.slabs[slab] == NULL:
                self.slabs[slab] = <Flow *>calloc(SLAB, sizeof(Flow))
                if self.slabs[slab] == NULL:
                    self.refused += 1
                    return NULL
            self.carved += 1
            f = self.at(i)
        memset(f, 0, sizeof(Flow))
        f.state = FLOW_NEW
        f.hash = hash
        f.next = self.buckets[hash & self.bucket_mask]
        self.buckets[hash & self.bucket_mask] = i
        f.older = f.newer = NONE
        f.elder = self.youngest
        f.younger = NONE
        if self.youngest != NONE:
            self.at(self.youngest).younger = i
        else:
            self.eldest = i
        self.youngest = i
        # a bijection of the creation number within 53 bits, so ids never meet
        id = 0
        while id == 0:
            self.sequence += 1
            id = (self.sequence * <uint64_t>0x9E3779B97F4A7C15 + self.key0) & ID_MASK
            id ^= id >> 27
            id = (id * <uint64_t>0xBF58476D1CE4E5B9) & ID_MASK
        f.id = id
        self.active += 1
        if p.proto == IP_TCP:
            self.created_tcp += 1
        elif p.proto == IP_UDP:
            self.created_udp += 1
        elif p.proto == IP_ICMP or p.proto == IP_ICMP6:
            self.created_icmp += 1
            self.created_icmp6 += p.proto == IP_ICMP6
        else:
            self.created_other += 1
        p.flow = i
        return f

    cdef void account(self, Packet *p, Flow *f) noexcept nogil:
        cdef uint32_t which
        f.packets[p.dir] += 1
        if p.flags & PKT_REBUILT:         # every fragment's bytes, not those of the last frame
            f.bytes[p.dir] += p.link_len + p.ip_len
        else:
            f.bytes[p.dir] += p.wirelen if p.layer == 0 else p.ip_len
        if p.ts_ns > f.last_ns:
            f.last_ns = p.ts_ns
        if p.now_ns > self.clock_ns:
            self.clock_ns = p.now_ns
        f.seen_ns = self.clock_ns
        if not p.flags & PKT_ICMP_ERROR:
            f.flags |= FLOW_SEEN_TC if p.dir == TO_CLIENT else FLOW_SEEN_TS
        if f.proto == IP_TCP:
            if p.proto == IP_TCP:
                f.tcp_flags[p.dir] |= p.tcp_flags
            # as the session stood before p: the handshake's last segment is not "established"
            if f.tcp_state >= TCP_ESTABLISHED:
                p.flags |= PKT_ESTABLISHED
        else:
            if f.state == FLOW_NEW and f.flags & FLOW_SEEN_TC and f.flags & FLOW_SEEN_TS:
                f.state = FLOW_EST
                f.flags |= FLOW_ESTABLISHED
            if f.state == FLOW_EST:
                p.flags |= PKT_ESTABLISHED
        which = class_of(f)
        if which != f.timeout_class or self.lists[which].tail != p.flow:
            self.delist(f)
            self.enlist(f, p.flow, which)
        self.touched = p.flow

    cdef void enlist(self, Flow *f, uint32_t index, uint32_t which) noexcept nogil:
        cdef TimeoutList *l = &self.lists[which]
        f.timeout_class = <uint8_t>which
        f.newer = NONE
        f.older = l.tail
        if l.tail != NONE:
            self.at(l.tail).newer = index
        else:
            l.head = index
            if f.seen_ns + l.timeout_ns < self.next_deadline_ns:
                self.next_deadline_ns = f.seen_ns + l.timeout_ns
        l.tail = index

    cdef void delist(self, Flow *f) noexcept nogil:
        cdef TimeoutList *l = &self.lists[f.timeout_class]
        if f.older != NONE:
            self.at(f.older).newer = f.newer
        else:
            l.head = f.newer
        if f.newer != NONE:
            self.at(f.newer).older = f.older
        else:
            l.tail = f.older

    cdef void settle(self) noexcept nogil:
        # what came after the last look-up (stream, detect) may have changed its flow's class
        cdef Flow *f
        cdef uint32_t which
        if self.touched != NONE:
            f = self.at(self.touched)
            which = class_of(f)
            if which != f.timeout_class:
                self.delist(f)
                self.enlist(f, self.touched, which)
            self.touched = NONE

    cdef Flow *timed_out(self, uint64_t now_ns) noexcept nogil:
        """A flow not seen for its time-out (its `end` set), or NULL; good until `release`."""
        cdef uint64_t deadline, nearest = <uint64_t>-1
        cdef int i
        cdef Flow *f
        if now_ns > self.clock_ns:
            self.clock_ns = now_ns
        self.settle()
        if self.clock_ns < self.next_deadline_ns:
            return NULL
        for i in range(TIMEOUT_CLASSES):
            if self.lists[i].head == NONE:
                continue
            f = self.at(self.lists[i].head)
            deadline = f.seen_ns + self.lists[i].timeout_ns
            if deadline <= self.clock_ns:
                f.end = FLOW_END_TIMEOUT
                return f
            if deadline < nearest:
                nearest = deadline
        self.next_deadline_ns = nearest
        return NULL

    cdef Flow *oldest(self) noexcept nogil:
        """The flow nearest to its time-out (its `end` set), for eviction; NULL when empty."""
        cdef uint64_t deadline, nearest = <uint64_t>-1
        cdef Flow *f
        cdef Flow *best = NULL
        cdef int i
        self.settle()
        for i in range(TIMEOUT_CLASSES):
            if self.lists[i].head == NONE:
                continue
            f = self.at(self.lists[i].head)
            deadline = f.seen_ns + self.lists[i].timeout_ns
            if deadline < nearest:
                nearest = deadline
                best = f
        if best != NULL:
            best.end = FLOW_END_EVICTED
        return best

    cdef Flow *any(self) noexcept nogil:
        """The live flow created first (its `end` set), or NULL: for the end of the run."""
        cdef Flow *f
        if self.eldest == NONE:
            return NULL
        f = self.at(self.eldest)
        f.end = FLOW_END_SHUTDOWN
        return f

    cdef void release(self, Flow *f) noexcept nogil:
        """Take a live flow out; counted by its `end`. What hangs on it must be freed before."""
        cdef uint32_t *link = &self.buckets[f.hash & self.bucket_mask]
        cdef uint32_t i
        if f.state == FLOW_FREE:
            return
        while link[0] != NONE and self.at(link[0]) != f:
            link = &self.at(link[0]).next
        i = link[0]
        if i == NONE:
            return
        link[0] = f.next
        self.delist(f)
        if f.elder != NONE:
            self.at(f.elder).younger = f.younger
        else:
            self.eldest = f.younger
        if f.younger != NONE:
            self.at(f.younger).elder = f.elder
        else:
            self.youngest = f.elder
        if self.touched == i:
            self.touched = NONE
        self.ended[f.end & 3] += 1
        self.active -= 1
        f.state = FLOW_FREE
        f.next = self.free_head
        self.free_head = i

    def stats(self) -> dict:
        """Counters: active, created, refused, ended by cause, and created per protocol."""
        return {
            "active": self.active,
            "created": self.sequence,
            "refused": self.refused,
            "timed_out": self.ended[<int>FLOW_END_TIMEOUT],
            "shutdown": self.ended[<int>FLOW_END_SHUTDOWN],
            "evicted": self.ended[<int>FLOW_END_EVICTED],
            "reused": self.ended[<int>FLOW_END_REUSED],
            "tcp": self.created_tcp,
            "udp": self.created_udp,
            "icmp": self.created_icmp,
            "icmpv6": self.created_icmp6,
            "other": self.created_other,
            "memory": (self.bucket_mask + 1) * sizeof(uint32_t)
            + ((self.carved + SLAB - 1) >> SLAB_BITS) * SLAB * sizeof(Flow),
        }


include "flow_door.pxi"
