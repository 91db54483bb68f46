# IP fragments put together again. No allocation after construction: trackers and pages
# come from two pools whose sizes are the limits.
from libc.string cimport memcmp
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.packet cimport MAX_VLAN, Packet

cdef enum:
    PAGE = 2048           # fragment data bytes per page
    UNITS = PAGE // 8     # fragment offsets count in units of 8 bytes
    PAGES = 32            # pages of the longest datagram (65,535 bytes)
    INLINE_HEADER = 64    # header bytes kept in the tracker; longer ones take a page
    NO_INDEX = 0xFFFFFFFF

# Which of two fragments keeps the bytes both hold (Novak 2005, as in host-os-policy).
cdef enum Policy:
    POLICY_FIRST = 0      # what came first
    POLICY_LAST = 1       # what came last
    POLICY_BSD = 2        # what came first, unless the new one begins before it
    POLICY_BSD_RIGHT = 3  # what came last, unless it begins before
    POLICY_LINUX = 4      # as BSD, but a new one that begins at the same place wins
    POLICY_WINDOWS = 5    # what came first, unless the new one encloses it on both sides
    POLICY_SOLARIS = 6    # as Windows, and also when both end at the same place

# The fragment a unit's bytes belong to; end 0: no bytes yet.
cdef struct Owner:
    uint16_t first        # unit its data began at
    uint16_t end          # byte its data ended before

cdef struct Page:
    uint8_t data[PAGE]
    Owner owner[UNITS]

# One datagram in the making.
cdef struct Tracker:
    uint8_t src[16]
    uint8_t dst[16]
    uint32_t id
    uint32_t hash
    uint16_t vlan[MAX_VLAN]
    uint8_t version
    uint8_t proto
    uint8_t layer
    uint8_t n_vlan
    uint8_t policy
    uint8_t next_header   # IPv6: what follows the fragment header
    uint16_t fragments
    uint32_t next         # hash chain, or the free list
    uint32_t older        # by last use
    uint32_t newer
    uint64_t seen_ns      # time of the latest fragment
    uint32_t total        # data bytes, known from the last fragment; 0 before
    uint32_t reach        # highest end of data so far
    uint32_t units        # units that have bytes
    uint32_t header_len   # 0: the first fragment is missing
    uint32_t header_page  # or NO_INDEX
    uint8_t header[INLINE_HEADER]
    uint32_t page[PAGES]

cdef struct DefragStats:
    uint64_t fragments        # given to add()
    uint64_t rebuilt
    uint64_t fragments_v4     # ... of IPv4
    uint64_t rebuilt_v4
    uint64_t timed_out        # trackers
    uint64_t overlap          # fragments that overlapped another
    uint64_t too_large        # fragments reaching past 65,535 bytes
    uint64_t ignored          # fragments not taken in, whatever the reason
    uint64_t bad_length       # ... IPv6, not the last and not a multiple of 8 bytes
    uint64_t dropped_memcap   # trackers given up early: out of pages
    uint64_t dropped_trackers     # ... out of trackers
    uint64_t max_fragments    # fragments over the limit of one datagram


cdef inline bint newcomer_wins(uint8_t policy, uint32_t first, uint32_t end,
                               const Owner *old) noexcept nogil:
    """Whether a fragment of units `first`.. up to byte `end` takes a unit from `old`."""
    if policy == POLICY_BSD:
        return first < old.first
    if policy == POLICY_FIRST:
        return False
    if policy == POLICY_LAST:
        return True
    if policy == POLICY_LINUX:
        return first <= old.first
    if policy == POLICY_BSD_RIGHT:
        return first >= old.first
    if policy == POLICY_WINDOWS:
        return first < old.first and end > old.end
    return first < old.first and end >= old.end  # Solaris


# Whether a fragment brings other bytes for a unit (at offset `at`) than its owner did.
cdef inline bint differ(const uint8_t *old, const uint8_t *new, uint32_t count,
                        const Owner *owner, uint32_t at) noexcept nogil:
    if owner.end <= at:
        return False
    return memcmp(old, new, min(count, <uint32_t> owner.end - at)) != 0


cdef class Defrag:
    cdef bint differs             # the last fragment contradicted what was there
    cdef Tracker *trackers
    cdef Page *pages
    cdef uint32_t *table
    cdef uint8_t *out             # OUTS buffers, used in turn
    cdef uint32_t turn
    cdef uint32_t n_trackers, n_pages, mask
    cdef uint32_t fresh_tracker, fresh_page   # never used from here on
    cdef uint32_t free_tracker, free_page     # free lists
    cdef uint32_t oldest, newest
    cdef uint32_t live, live_pages
    cdef uint32_t fragment_limit
    cdef uint8_t policy
    cdef uint64_t timeout_ns, seed
    cdef DefragStats counts

    # Take in a fragment (PKT_FRAGMENT). Returns the rebuilt datagram when `p` completes
    # it, valid until the third call from now, else NULL. Sets frag events on `p`.
    cdef const uint8_t *add(self, Packet *p, uint32_t *length) noexcept nogil

    # Give up datagrams without a fragment for the time-out.
    cdef void expire(self, uint64_t now_ns) noexcept nogil

    cdef uint32_t find(self, const Packet *p, uint32_t hash) noexcept nogil
    cdef uint32_t begin(self, const Packet *p, uint32_t hash) noexcept nogil
    cdef void unlink(self, uint32_t index) noexcept nogil
    cdef void make_newest(self, uint32_t index) noexcept nogil
    cdef void free_one(self, uint32_t page) noexcept nogil
    cdef void drop(self, uint32_t index) noexcept nogil
    cdef uint32_t take_page(self, uint32_t keep) noexcept nogil
    cdef bint store(self, uint32_t index, const uint8_t *data, uint32_t start, uint32_t end,
                    bint *overlap) noexcept nogil
    cdef bint keep_header(self, uint32_t index, const Packet *p) noexcept nogil
    cdef const uint8_t *rebuild(self, uint32_t index, uint32_t *length) noexcept nogil
