# cython: language_level=3
"""IP defragmentation (RFC 791, RFC 8200 §4.5): fragments in, whole datagrams out.

Data is kept per datagram in pages; every 8-byte unit knows which fragment owns it, so an
overlap is settled unit by unit the moment it arrives, by the rules of the host that will
receive it (Policy). Suricata's default, BSD, is the default here.

Limits and what happens at them: out of trackers or of pages, the datagram used least
recently is given up; a datagram over its fragment limit, a fragment past the known end
and an IPv6 fragment of odd length (RFC 8200 asks the receiver to discard it) are ignored.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from nsdata.path.events cimport (
    EV_IPV4__FRAG_IGNORED, EV_IPV4__FRAG_OVERLAP, EV_IPV4__FRAG_PKT_TOO_LARGE,
    EV_IPV6__FRAG_IGNORED, EV_IPV6__FRAG_OVERLAP, EV_IPV6__FRAG_PKT_TOO_LARGE,
)
from nsdata.path.packet cimport MAX_VLAN, PKT_FRAGMENT, Packet

from nsdata.path.events import event_names

NAMES = {number: name for name, number in event_names().items()}
POLICIES = {
    "first": POLICY_FIRST, "last": POLICY_LAST, "bsd": POLICY_BSD,
    "bsd-right": POLICY_BSD_RIGHT, "linux": POLICY_LINUX, "windows": POLICY_WINDOWS,
    "solaris": POLICY_SOLARIS,
}

cdef enum:
    MAX_DATAGRAM = 65535
    OUTS = 3                      # rebuilt datagrams alive at once, one in another
    OUT_SIZE = 65536 + 64         # IPv6: 40 bytes of header on top of a 16-bit length


cdef object error(kind, message):
    """An exception of nsdata.errors, imported late: fuzz builds hold extensions alone."""
    from nsdata import errors

    return getattr(errors, kind)(message)


cdef inline void note(Packet *p, int v4_event, int v6_event) noexcept nogil:
    cdef int event = v4_event if p.ip_version == 4 else v6_event
    p.events[event >> 6] |= <uint64_t>1 << (event & 63)


cdef inline uint64_t mix(uint64_t a, uint64_t b) noexcept nogil:
    """One round of a multiply-xorshift hash (constants of splitmix64)."""
    a ^= b
    a ^= a >> 30
    a *= <uint64_t>0xBF58476D1CE4E5B9ULL
    a ^= a >> 27
    a *= <uint64_t>0x94D049BB133111EBULL
    return a ^ (a >> 31)


cdef inline uint32_t hash_of(const Packet *p, uint64_t seed) noexcept nogil:
    cdef uint64_t w[4]
    cdef uint64_t h
    memcpy(w, p.src, 16)
    memcpy(w + 2, p.dst, 16)
    h = mix(seed, w[0])
    if p.ip_version == 6:
        h = mix(h, w[1])
        h = mix(h, w[3])
    h = mix(h, w[2])
    h = mix(h, (<uint64_t>p.ip_id << 32) | (<uint64_t>p.proto << 16)
            | (<uint64_t>p.layer << 8) | p.ip_version)
    if p.n_vlan:
        h = mix(h, (<uint64_t>p.vlan[0] << 32) | (<uint64_t>p.vlan[1] << 16) | p.vlan[2])
    return <uint32_t>h


cdef class Defrag:
    """Reassembler of IPv4 and IPv6 fragments.

    `max_trackers` datagrams at once, `memcap` bytes of fragment data and bookkeeping,
    `timeout_s` since a datagram's latest fragment, `max_fragments` per datagram, `policy`
    one of bsd (default), bsd-right, first, last, linux, windows, solaris. `seed` keys the
    hash; give it a random number where packets are hostile. SettingError if out of range.
    """

    def __init__(self, *, max_trackers=65535, memcap=32 << 20, timeout_s=60, seed=0,
                 max_fragments=8192, policy="bsd"):
        if self.out != NULL:
            raise error("EngineError", "Defrag is built once; make a new one")
        for key, value, low, high in (
            ("trackers", max_trackers, 1, 1 << 24), ("memcap", memcap, 4 * sizeof(Page), 1 << 40),
            ("timeout", timeout_s, 1, 86400), ("max-fragments", max_fragments, 2, 65535),
        ):
            if not low <= value <= high:
                raise error("SettingError", f"defrag.{key}: {value} is not within {low}..{high}")
        if policy not in POLICIES:
            raise error("SettingError",
                        f"defrag.policy: {policy!r} is none of {', '.join(POLICIES)}")
        self.oldest = self.newest = NO_INDEX
        self.free_tracker = self.free_page = NO_INDEX
        self.n_trackers = max_trackers
        self.n_pages = min(memcap // sizeof(Page), NO_INDEX - 1)
        self.timeout_ns = <uint64_t>int(timeout_s * 1_000_000_000)
        self.fragment_limit = max_fragments
        self.policy = POLICIES[policy]
        self.seed = seed & 0xFFFF_FFFF_FFFF_FFFF
        self.mask = (1 << (max_trackers - 1).bit_length()) - 1
        # calloc'd and touched only when used: the limits cost address space, not memory.
        self.trackers = <Tracker *>calloc(self.n_trackers, sizeof(Tracker))
        self.pages = <Page *>calloc(self.n_pages, sizeof(Page))
        self.table = <uint32_t *>calloc(<size_t>self.mask + 1, sizeof(uint32_t))
        self.out = <uint8_t *>malloc(OUTS * OUT_SIZE)
        if NULL in (self.trackers, self.pages, self.table, self.out):
            raise MemoryError("defrag: lower defrag.trackers or defrag.memcap")

    def __dealloc__(self):
        free(self.trackers)
        free(self.pages)
        free(self.table)
        free(self.out)

    cdef uint32_t find(self, const Packet *p, uint32_t hash) noexcept nogil:
        """The tracker `p` belongs to, or NO_INDEX. The table holds index + 1, 0: none."""
        cdef uint32_t index = self.table[hash & self.mask]
        cdef Tracker *t
        while index:
            t = &self.trackers[index - 1]
            if (t.hash == hash and t.id == p.ip_id and t.version == p.ip_version
                    and t.proto == p.proto and t.layer == p.layer and t.n_vlan == p.n_vlan
                    and memcmp(t.src, p.src, 16) == 0 and memcmp(t.dst, p.dst, 16) == 0
                    and memcmp(t.vlan, p.vlan, sizeof(t.vlan)) == 0):
                return index - 1
            index = t.next
        return NO_INDEX

    cdef void drop(self, uint32_t index) noexcept nogil:
        """Take a tracker out of the table, free its pages and itself."""
        cdef Tracker *t = &self.trackers[index]
        cdef uint32_t *link = &self.table[t.hash & self.mask]
        cdef int i
        while link[0] != index + 1:
            link = &self.trackers[link[0] - 1].next
        link[0] = t.next
        self.unlink(index)
        for i in range(PAGES):
            if t.page[i] != NO_INDEX:
                self.free_one(t.page[i])
        if t.header_page != NO_INDEX:
            self.free_one(t.header_page)
        t.next = self.free_tracker
        self.free_tracker = index
        self.live -= 1

    cdef void unlink(self, uint32_t index) noexcept nogil:
        cdef Tracker *t = &self.trackers[index]
        if t.older == NO_INDEX:
            self.oldest = t.newer
        else:
            self.trackers[t.older].newer = t.newer
        if t.newer == NO_INDEX:
            self.newest = t.older
        else:
            self.trackers[t.newer].older = t.older

    cdef void make_newest(self, uint32_t index) noexcept nogil:
        cdef Tracker *t = &self.trackers[index]
        t.older = self.newest
        t.newer = NO_INDEX
        if self.newest == NO_INDEX:
            self.oldest = index
        else:
            self.trackers[self.newest].newer = index
        self.newest = index

    cdef void free_one(self, uint32_t page) noexcept nogil:
        # A free page's first bytes hold the next free one.
        memcpy(self.pages[page].data, &self.free_page, sizeof(uint32_t))
        self.free_page = page
        self.live_pages -= 1

    cdef uint32_t take_page(self, uint32_t keep) noexcept nogil:
        """A page without owners; gives up the oldest datagrams but `keep` if need be."""
        cdef uint32_t page, victim
        while self.free_page == NO_INDEX and self.fresh_page == self.n_pages:
            victim = self.oldest
            if victim == keep:
                victim = self.trackers[keep].newer
            if victim == NO_INDEX:
                return NO_INDEX
            self.drop(victim)
            self.counts.dropped_memcap += 1
        if self.free_page != NO_INDEX:
            page = self.free_page
            memcpy(&self.free_page, self.pages[page].data, sizeof(uint32_t))
            memset(self.pages[page].owner, 0, sizeof(self.pages[page].owner))
        else:
            page = self.fresh_page
            self.fresh_page += 1
        self.live_pages += 1
        return page

    cdef uint32_t begin(self, const Packet *p, uint32_t hash) noexcept nogil:
        """A new tracker for the datagram of `p`, in the table."""
        cdef uint32_t index
        cdef Tracker *t
        cdef int i
        if self.free_tracker == NO_INDEX and self.fresh_tracker == self.n_trackers:
            self.drop(self.oldest)
            self.counts.dropped_trackers += 1
        if self.free_tracker != NO_INDEX:
            index = self.free_tracker
            self.free_tracker = self.trackers[index].next
        else:
            index = self.fresh_tracker
            self.fresh_tracker += 1
        t = &self.trackers[index]
        memset(t, 0, sizeof(Tracker))
        memcpy(t.src, p.src, 16)
        memcpy(t.dst, p.dst, 16)
        memcpy(t.vlan, p.vlan, sizeof(t.vlan))
        t.id = p.ip_id
        t.hash = hash
        t.version = p.ip_version
        t.proto = p.proto
        t.layer = p.layer
        t.n_vlan = p.n_vlan
        t.policy = self.policy        # the place for a policy by destination host
        t.header_page = NO_INDEX
        for i in range(PAGES):
            t.page[i] = NO_INDEX
        t.next = self.table[hash & self.mask]
        self.table[hash & self.mask] = index + 1
        self.make_newest(index)
        self.live += 1
        return index

    cdef bint store(self, uint32_t index, const uint8_t *data, uint32_t start, uint32_t end,
                    bint *overlap) noexcept nogil:
        """Put bytes [start, end) where the policy lets them; False when out of pages."""
        cdef Tracker *t = &self.trackers[index]
        cdef uint32_t at = start, count, first = start >> 3
        cdef uint32_t page
        cdef Page *leaf
        cdef Owner *owner
        for page in range(start // PAGE, (end - 1) // PAGE + 1):
            if t.page[page] == NO_INDEX:
                t.page[page] = self.take_page(index)
                if t.page[page] == NO_INDEX:
                    return False
        while at < end:
            leaf = &self.pages[t.page[at // PAGE]]
            owner = &leaf.owner[(at % PAGE) >> 3]
            count = 8 if end - at >= 8 else end - at
            if owner.end == 0:
                t.units += 1
            else:
                overlap[0] = True
                if differ(leaf.data + at % PAGE, data, count, owner, at):
                    self.differs = True
                if not newcomer_wins(t.policy, first, end, owner):
                    at += count
                    data += count
                    continue
            memcpy(leaf.data + at % PAGE, data, count)
            owner.first = <uint16_t>first
            owner.end = <uint16_t>end
            at += count
            data += count
        return True

    cdef bint keep_header(self, uint32_t index, const Packet *p) noexcept nogil:
        """Keep the IP header of the fragment at offset 0, fragment header left out."""
        cdef Tracker *t = &self.trackers[index]
        cdef uint32_t length = p.ip_hlen
        if p.ip_version == 6:
            length -= 8
            t.next_header = p.ip[length]
        if length > PAGE:
            return False
        if length <= INLINE_HEADER:
            memcpy(t.header, p.ip, length)
        else:
            if t.header_page == NO_INDEX:
                t.header_page = self.take_page(index)
                if t.header_page == NO_INDEX:
                    return False
            memcpy(self.pages[t.header_page].data, p.ip, length)
        t.header_len = length
        return True

    cdef const uint8_t *rebuild(self, uint32_t index, uint32_t *length) noexcept nogil:
        """Lay the datagram out in self.out and let the tracker go."""
        cdef Tracker *t = &self.trackers[index]
        cdef uint8_t *out = self.out + self.turn * OUT_SIZE
        cdef uint32_t header = t.header_len, at, count, sum, i, size = t.header_len + t.total
        cdef uint8_t proto
        self.turn = (self.turn + 1) % OUTS
        if header <= INLINE_HEADER:
            memcpy(out, t.header, header)
        else:
            memcpy(out, self.pages[t.header_page].data, header)
        at = 0
        while at < t.total:
            count = t.total - at if t.total - at < PAGE else PAGE
            memcpy(out + header + at, self.pages[t.page[at // PAGE]].data, count)
            at += count
        if t.version == 4:
            out[2] = <uint8_t>(size >> 8)
            out[3] = <uint8_t>size
            out[6] = out[7] = 0
            out[10] = out[11] = 0
            sum = 0
            for i in range(header // 2):
                sum += (<uint32_t>out[2 * i] << 8) | out[2 * i + 1]
            sum = (sum & 0xFFFF) + (sum >> 16)
            sum = ~((sum & 0xFFFF) + (sum >> 16))
            out[10] = <uint8_t>(sum >> 8)
            out[11] = <uint8_t>sum
        else:
            out[4] = <uint8_t>((size - 40) >> 8)
            out[5] = <uint8_t>(size - 40)
            # The last header before the fragment header names it; it names the next now.
            proto = out[6]
            count = 6
            at = 40
            while at + 8 <= header:
                count = at
                if proto == 51:       # AH counts in 4 bytes, and has 12 at least
                    at += 8 + 4 * (<uint32_t>out[at + 1] if out[at + 1] else 1)
                else:
                    at += 8 + 8 * <uint32_t>out[at + 1]
                proto = out[count]
            out[count] = t.next_header
        length[0] = size
        self.counts.rebuilt_v4 += t.version == 4
        self.drop(index)
        self.counts.rebuilt += 1
        return out

    cdef const uint8_t *add(self, Packet *p, uint32_t *length) noexcept nogil:
        cdef uint32_t index, hash, start, end
        cdef Tracker *t
        cdef bint overlap = False, stored
        length[0] = 0
        if not p.flags & PKT_FRAGMENT or p.l4 == NULL:
            return NULL
        self.differs = False
        self.counts.fragments += 1
        self.counts.fragments_v4 += p.ip_version == 4
        start = p.frag_off
        end = start + p.l4_len
        # What stands before the data counts too: all of an IPv4 header, of IPv6 the
        # extension headers but not the fragment header.
        if (end + (p.ip_hlen if p.ip_version == 4 else p.ip_hlen - 48)) > MAX_DATAGRAM:
            note(p, EV_IPV4__FRAG_PKT_TOO_LARGE, EV_IPV6__FRAG_PKT_TOO_LARGE)
            self.counts.too_large += 1
            return NULL
        if p.frag_more and p.l4_len % 8:
            if p.ip_version == 6:
                self.counts.bad_length += 1
                self.counts.ignored += 1
                return NULL
            end -= p.l4_len % 8           # as Linux does
        if end == start:
            note(p, EV_IPV4__FRAG_IGNORED, EV_IPV6__FRAG_IGNORED)
            self.counts.ignored += 1
            return NULL
        hash = hash_of(p, self.seed)
        index = self.find(p, hash)
        if index != NO_INDEX:
            t = &self.trackers[index]
            if p.now_ns > t.seen_ns and p.now_ns - t.seen_ns > self.timeout_ns:
                self.drop(index)
                self.counts.timed_out += 1
                index = NO_INDEX
            else:
                self.unlink(index)
                self.make_newest(index)
        if index == NO_INDEX:
            index = self.begin(p, hash)
        t = &self.trackers[index]
        t.seen_ns = p.now_ns
        if t.fragments >= self.fragment_limit:
            note(p, EV_IPV4__FRAG_IGNORED, EV_IPV6__FRAG_IGNORED)
            self.counts.max_fragments += 1
            self.counts.ignored += 1
            return NULL
        t.fragments += 1
        # A last fragment that ends before data already here, or data past a known end,
        # contradicts what was accepted: it is not stored. It still overlaps if it does.
        if (t.total and (end > t.total or (not p.frag_more and end != t.total))) or (
                not p.frag_more and end < t.reach):
            self.differs = True
            if start < t.reach:
                note(p, EV_IPV4__FRAG_OVERLAP, EV_IPV6__FRAG_OVERLAP)
                self.counts.overlap += 1
            else:
                note(p, EV_IPV4__FRAG_IGNORED, EV_IPV6__FRAG_IGNORED)
            self.counts.ignored += 1
            return NULL
        stored = self.store(index, p.l4, start, end, &overlap)
        if overlap:
            note(p, EV_IPV4__FRAG_OVERLAP, EV_IPV6__FRAG_OVERLAP)
            self.counts.overlap += 1
        # The header goes with the bytes at offset 0.
        if stored and start == 0 and (
                t.header_len == 0
                or t.policy in (POLICY_LAST, POLICY_LINUX, POLICY_BSD_RIGHT)):
            stored = self.keep_header(index, p)
        if not stored:
            note(p, EV_IPV4__FRAG_IGNORED, EV_IPV6__FRAG_IGNORED)
            self.counts.ignored += 1
            return NULL
        if end > t.reach:
            t.reach = end
        if not p.frag_more:
            t.total = end
        if (t.total == 0 or t.header_len == 0 or t.units * 8 < t.total
                or t.header_len + t.total > (MAX_DATAGRAM if t.version == 4
                                             else MAX_DATAGRAM + 40)):
            return NULL
        return self.rebuild(index, length)

    cdef void expire(self, uint64_t now_ns) noexcept nogil:
        cdef Tracker *t
        while self.oldest != NO_INDEX:
            t = &self.trackers[self.oldest]
            if now_ns <= t.seen_ns or now_ns - t.seen_ns <= self.timeout_ns:
                return
            self.drop(self.oldest)
            self.counts.timed_out += 1

    def stats(self):
        """Counters since construction, and `trackers` / `memuse` (bytes) in use now."""
        result = dict(self.counts)
        result["trackers"] = self.live
        result["memuse"] = self.live_pages * sizeof(Page) + self.live * sizeof(Tracker)
        return result

    def expire_before(self, uint64_t now_ns):
        """Give up the datagrams whose latest fragment is older than the time-out."""
        if self.out != NULL:
            self.expire(now_ns)

    def feed(self, bytes datagram not None, uint64_t ts_ns=0, vlan=()):
        """Take in one IP datagram (no link header); for tests and debugging.

        Returns (rebuilt datagram or None, names of the events set). EngineError when it is
        no sound datagram, or an IPv6 one without a fragment header.
        """
        cdef Packet p
        cdef const uint8_t *d = <const uint8_t *>PyBytes_AS_STRING(datagram)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(datagram), at, total
        cdef uint32_t length
        cdef uint8_t proto
        cdef const uint8_t *whole
        memset(&p, 0, sizeof(p))
        p.ip = d
        p.ts_ns = p.now_ns = ts_ns
        for tag in vlan[:MAX_VLAN]:
            p.vlan[p.n_vlan] = tag
            p.n_vlan += 1
        at = total = 0
        if size >= 20 and d[0] >> 4 == 4:
            at = (d[0] & 15) * 4
            total = (<Py_ssize_t>d[2] << 8) | d[3]
            p.ip_version = 4
            memcpy(p.src, d + 12, 4)
            memcpy(p.dst, d + 16, 4)
            p.proto = d[9]
            p.ip_id = (<uint32_t>d[4] << 8) | d[5]
            p.frag_more = (d[6] >> 5) & 1
            p.frag_off = ((<uint32_t>(d[6] & 0x1F) << 8) | d[7]) * 8
        elif size >= 48 and d[0] >> 4 == 6:
            total = 40 + ((<Py_ssize_t>d[4] << 8) | d[5])
            p.ip_version = 6
            memcpy(p.src, d + 8, 16)
            memcpy(p.dst, d + 24, 16)
            p.proto = 44
            proto = d[6]
            at = 40
            while proto in (0, 43, 51, 60) and at + 8 <= size:
                step = 4 if proto == 51 else 8
                proto = d[at]
                at += 8 + step * d[at + 1]
            if proto != 44 or at + 8 > size:
                raise error("EngineError", "feed: no fragment header in this IPv6 datagram")
            p.frag_off = ((<uint32_t>d[at + 2] << 8) | d[at + 3]) & 0xFFF8
            p.frag_more = d[at + 3] & 1
            p.ip_id = ((<uint32_t>d[at + 4] << 24) | (<uint32_t>d[at + 5] << 16)
                       | (<uint32_t>d[at + 6] << 8) | d[at + 7])
            at += 8
        if at < 20 or total < at or total > size or self.out == NULL:
            raise error("EngineError", "feed: not a whole IPv4 or IPv6 datagram")
        if p.frag_more or p.frag_off:
            p.flags = PKT_FRAGMENT
        p.ip_hlen = at
        p.ip_len = total
        p.l4 = d + at
        p.l4_len = total - at
        whole = self.add(&p, &length)
        events = sorted(
            NAMES[i] for i in NAMES if p.events[<int>i >> 6] >> (<int>i & 63) & 1
        )
        return (None if whole == NULL else whole[:length]), events
