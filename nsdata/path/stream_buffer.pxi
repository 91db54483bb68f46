# Reassembly: memory, the ordered bytes of a side, overlaps and holes. Included by stream.pyx.
#
# A side's bytes without a hole lie in one buffer, [base, right). What came too early waits in
# segments of its own behind the hole. The segments that make up the buffer are remembered too
# (without data), because what an overlap means depends on where each one began. All copies of
# one byte agree at any time, so the order in which they are put together does not matter.

cdef enum:
    SMALLEST = 6                  # 64 bytes
    BUFFER_MIN = 2048
    SEGMENTS_MIN = 16
    SEGMENTS_MAX = 4096           # remembered per side, waiting ones included


cdef void *take(Core *t, uint64_t size, uint64_t *room) noexcept nogil:
    """A block of at least `size` bytes within the memory cap, or NULL."""
    cdef int k = SMALLEST
    cdef int i
    cdef uint64_t n
    cdef void *block
    while k < POOL_CLASSES and (<uint64_t>1 << k) < size:
        k += 1
    if k == POOL_CLASSES:
        return NULL
    n = <uint64_t>1 << k
    if t.memuse + n > t.memcap:
        return NULL
    block = t.spare[k]
    if block != NULL:
        t.spare[k] = (<void **>block)[0]
    else:
        i = POOL_CLASSES - 1
        while t.held + n > t.memcap and i >= SMALLEST:    # spare blocks of other sizes go first
            if t.spare[i] == NULL:
                i -= 1
                continue
            block = t.spare[i]
            t.spare[i] = (<void **>block)[0]
            c_free(block)
            t.held -= <uint64_t>1 << i
        block = malloc(n)
        if block == NULL:
            return NULL
        t.held += n
    t.memuse += n
    if t.memuse > t.memuse_peak:
        t.memuse_peak = t.memuse
    room[0] = n
    return block


cdef void give(Core *t, void *block, uint64_t room) noexcept nogil:
    cdef int k = SMALLEST
    if block == NULL:
        return
    while (<uint64_t>1 << k) < room:
        k += 1
    (<void **>block)[0] = t.spare[k]
    t.spare[k] = block
    t.memuse -= <uint64_t>1 << k


cdef inline int64_t offset_of(const Side *s, uint32_t seq) noexcept nogil:
    # counted from `right`, so that streams longer than 4 GiB keep their place
    return <int64_t>s.right + <int32_t>(seq - (s.isn + 1 + <uint32_t>s.right))


cdef inline uint64_t acked_to(const Side *s) noexcept nogil:
    cdef int64_t off = offset_of(s, s.last_ack)
    return <uint64_t>off if off > 0 else 0


cdef void drop_bytes(Core *t, Side *s) noexcept nogil:
    """Give every buffer of a side back; its place in the stream stays."""
    cdef uint32_t i
    for i in range(s.seg_first, s.seg_end):
        if s.segs[i].data != NULL:
            give(t, s.segs[i].data, s.segs[i].room)
    give(t, s.segs, <uint64_t>s.seg_room * sizeof(Segment))
    give(t, s.buf, s.room)
    s.segs = NULL
    s.buf = NULL
    s.room = s.seg_room = s.seg_first = s.seg_end = s.waiting = 0
    s.base = s.inspected = s.right


cdef uint64_t kept_from(const Core *t, const Side *s) noexcept nogil:
    """The first byte still of use: context before what is new, and inline what may be resent."""
    cdef uint64_t context = t.chunk[0] if t.inline_mode else t.overlap
    cdef uint64_t off = s.inspected - context if s.inspected > context else 0
    cdef uint64_t acked
    if t.inline_mode:
        acked = acked_to(s)
        if acked < off:
            off = acked
    return off if off > s.base else s.base


cdef inline void forget(Side *s, uint64_t keep) noexcept nogil:
    while s.seg_first < s.seg_end - s.waiting \
            and s.segs[s.seg_first].off + s.segs[s.seg_first].len <= keep:
        s.seg_first += 1


cdef bint make_room(Core *t, Side *s, uint64_t n) noexcept nogil:
    """Make place for n more bytes at `right`: slide out what is done with, or grow."""
    cdef uint64_t keep, want, room = 0
    cdef uint64_t live = s.right - s.base
    cdef uint8_t *bigger
    if live + n <= s.room:
        return True
    keep = kept_from(t, s)
    live = s.right - keep
    if live + n <= s.room and live <= s.room >> 1:
        memmove(s.buf, s.buf + (keep - s.base), live)
    else:
        # doubling keeps the sliding rare; near the memory cap just what is needed will do
        want = 2 * <uint64_t>s.room if s.room else BUFFER_MIN
        bigger = <uint8_t *>take(t, want if want > live + n else live + n, &room)
        if bigger == NULL:
            bigger = <uint8_t *>take(t, live + n, &room)
        if bigger == NULL:
            return False
        if s.buf != NULL:
            memcpy(bigger, s.buf + (keep - s.base), live)
            give(t, s.buf, s.room)
        s.buf = bigger
        s.room = <uint32_t>room
    s.base = keep
    forget(s, keep)
    return True


cdef bint segment_room(Core *t, Side *s) noexcept nogil:
    """Make place for one more segment: compact, grow, or join old neighbours."""
    cdef uint32_t n, i, k
    cdef uint64_t room = 0
    cdef Segment *bigger
    if s.seg_end < s.seg_room:
        return True
    forget(s, kept_from(t, s))
    n = s.seg_end - s.seg_first
    if s.segs != NULL and n <= s.seg_room >> 1:
        memmove(s.segs, s.segs + s.seg_first, n * sizeof(Segment))
    elif s.seg_room < SEGMENTS_MAX:
        bigger = <Segment *>take(
            t, (2 * s.seg_room if s.seg_room else SEGMENTS_MIN) * sizeof(Segment), &room
        )
        if bigger == NULL:
            return False
        if s.segs != NULL:
            memcpy(bigger, s.segs + s.seg_first, n * sizeof(Segment))
            give(t, s.segs, <uint64_t>s.seg_room * sizeof(Segment))
        s.segs = bigger
        s.seg_room = <uint32_t>(room // sizeof(Segment))
    else:                                 # pairs of what is in the buffer become one
        k = s.seg_first
        i = s.seg_first
        while i < s.seg_end:
            s.segs[k] = s.segs[i]
            i += 1
            if s.segs[k].data == NULL and i < s.seg_end and s.segs[i].data == NULL:
                if s.segs[i].off + s.segs[i].len > s.segs[k].off + s.segs[k].len:
                    s.segs[k].len = <uint32_t>(
                        s.segs[i].off + s.segs[i].len - s.segs[k].off
                    )
                i += 1
            k += 1
        s.seg_end = k
        if s.seg_first:
            memmove(s.segs, s.segs + s.seg_first, (k - s.seg_first) * sizeof(Segment))
        n = k - s.seg_first
    s.seg_first = 0
    s.seg_end = n
    return n < s.seg_room


cdef void put_segment(Side *s, uint32_t at, uint64_t off, uint32_t n, uint8_t *data,
                      uint32_t room) noexcept nogil:
    if at < s.seg_end:
        memmove(s.segs + at + 1, s.segs + at, (s.seg_end - at) * sizeof(Segment))
    s.seg_end += 1
    s.segs[at].off = off
    s.segs[at].len = n
    s.segs[at].room = room
    s.segs[at].data = data


cdef void join(Core *t, Side *s) noexcept nogil:
    """Move segments that wait no longer into the buffer."""
    cdef Segment *g
    cdef uint64_t end, n
    while s.waiting:
        g = &s.segs[s.seg_end - s.waiting]
        if g.off > s.right:
            return
        end = g.off + g.len
        if end > s.right:
            n = end - s.right
            if not make_room(t, s, n):
                t.segment_memcap += 1     # stays behind; the hole will be skipped
                return
            g = &s.segs[s.seg_end - s.waiting]
            memcpy(s.buf + (s.right - s.base), g.data + (s.right - g.off), n)
            s.right = end
        give(t, g.data, g.room)
        g.data = NULL
        g.room = 0
        s.waiting -= 1


cdef bint jump(Core *t, Side *s) noexcept nogil:
    """Skip the hole at `right`: go on with the first segment behind it."""
    if s.waiting == 0:
        return False
    s.seg_first = s.seg_end - s.waiting
    s.base = s.right = s.inspected = s.segs[s.seg_first].off
    s.flags |= SIDE_AFTER_GAP
    join(t, s)
    s.dirty = s.right
    return s.right > s.inspected


cdef bint new_wins(uint8_t os, int64_t new_off, int64_t new_end, int64_t old_off,
                   int64_t old_end) noexcept nogil:
    """Whose bytes a host of that policy keeps where a new segment overlaps an old one."""
    if os == OS_LAST:
        return True
    if os == OS_FIRST or os == OS_VISTA:
        return False
    if new_off == old_off:
        if new_end < old_end:
            return False
        if os == OS_OLD_LINUX or os == OS_SOLARIS or os == OS_HPUX11:
            return True
        return os == OS_LINUX and new_end > old_end
    if new_off < old_off:
        if os == OS_SOLARIS or os == OS_HPUX11:
            return new_end >= old_end
        return True
    return (os == OS_SOLARIS or os == OS_HPUX11) and new_end > old_end


cdef bint settle(Core *t, Side *s, Segment *g, int64_t off, int64_t end,
                 uint8_t *bytes) noexcept nogil:
    """Settle the overlap of the new bytes [off, end) with segment g; True: they differed."""
    cdef int64_t lo = off if off > <int64_t>g.off else <int64_t>g.off
    cdef int64_t hi = end if end < <int64_t>(g.off + g.len) else <int64_t>(g.off + g.len)
    cdef const uint8_t *old
    if g.data == NULL and lo < <int64_t>s.base:
        lo = s.base
    if lo >= hi:
        return False
    old = g.data + (lo - <int64_t>g.off) if g.data != NULL else s.buf + (lo - <int64_t>s.base)
    if memcmp(bytes + (lo - off), old, hi - lo) == 0:
        return False
    if t.inline_mode or not new_wins(s.policy, off, end, g.off, <int64_t>(g.off + g.len)):
        memcpy(bytes + (lo - off), old, hi - lo)
    return True


cdef void write_back(Side *s, const uint8_t *bytes, int64_t off, int64_t end,
                     int64_t right) noexcept nogil:
    """Put settled bytes everywhere a copy of them is kept (the buffer up to `right`)."""
    cdef int64_t a = off if off > <int64_t>s.base else <int64_t>s.base
    cdef int64_t b = end if end < right else right
    cdef uint32_t i
    cdef Segment *g
    if a < b:
        memcpy(s.buf + (a - <int64_t>s.base), bytes + (a - off), b - a)
    for i in range(s.seg_end - s.waiting, s.seg_end):
        g = &s.segs[i]
        a = off if off > <int64_t>g.off else <int64_t>g.off
        b = end if end < <int64_t>(g.off + g.len) else <int64_t>(g.off + g.len)
        if a < b:
            memcpy(g.data + (a - <int64_t>g.off), bytes + (a - off), b - a)


cdef int insert_slow(Core *t, Side *s, Packet *p, int64_t off, uint32_t n) noexcept nogil:
    """Take bytes that overlap, come early, or fill a hole. 0 taken, -1 not."""
    cdef const uint8_t *bytes = p.payload
    cdef int64_t end = off + n
    cdef int64_t from_, lo
    cdef uint32_t at, i
    cdef bint overlaps = False, differ = False, known = False
    cdef uint64_t room = 0
    cdef uint8_t *data
    cdef Segment *g
    if not segment_room(t, s):
        t.segment_memcap += 1
        event(p, EV_STREAM__REASSEMBLY_NO_SEGMENT)
        return -1
    # its place: by offset, then by length
    at = s.seg_end
    while at > s.seg_first:
        g = &s.segs[at - 1]
        if <int64_t>g.off < off or (<int64_t>g.off == off and g.len <= n):
            known = <int64_t>g.off == off and g.len == n
            break
        at -= 1
    for i in range(s.seg_first, s.seg_end):
        g = &s.segs[i]
        if <int64_t>g.off >= end:
            break
        if <int64_t>(g.off + g.len) > off:
            overlaps = True
            break
    if overlaps:
        t.overlaps += 1
        memcpy(t.scratch, p.payload, n)
        bytes = t.scratch
        i = at
        while i > s.seg_first:
            i -= 1
            differ |= settle(t, s, &s.segs[i], off, end, t.scratch)
        for i in range(at, s.seg_end):
            if <int64_t>s.segs[i].off >= end:
                break
            differ |= settle(t, s, &s.segs[i], off, end, t.scratch)
        if differ:
            t.overlaps_different += 1
            event(p, EV_STREAM__REASSEMBLY_OVERLAP_DIFFERENT_DATA)
    if known or end <= <int64_t>s.right:
        p.flags |= PKT_RETRANSMISSION
    elif off > <int64_t>s.right:
        if s.waiting >= t.max_segments:
            t.segment_limit += 1
            event(p, EV_STREAM__REASSEMBLY_INSERT_LIMIT)
            return -1
    if off > <int64_t>s.right:
        if not known:
            data = <uint8_t *>take(t, n, &room)
            if data == NULL:
                t.segment_memcap += 1
                event(p, EV_STREAM__REASSEMBLY_INSERT_MEMCAP)
                return -1
            memcpy(data, bytes, n)
            put_segment(s, at, off, n, data, <uint32_t>room)
            s.waiting += 1
    elif end > <int64_t>s.right:
        from_ = <int64_t>s.right
        if not make_room(t, s, end - from_):
            t.segment_memcap += 1
            event(p, EV_STREAM__REASSEMBLY_INSERT_MEMCAP)
            return -1
        if at < s.seg_first:              # make_room let go of old ones
            at = s.seg_first
        memcpy(s.buf + (from_ - <int64_t>s.base), bytes + (from_ - off), end - from_)
        if at > s.seg_end - s.waiting:
            at = s.seg_end - s.waiting
        lo = off if off > 0 else 0
        put_segment(s, at, lo, <uint32_t>(end - lo), NULL, 0)
        if differ:
            write_back(s, bytes, off, end, from_)
        s.right = end
        join(t, s)
        return 0
    elif not known and s.buf != NULL and off >= <int64_t>s.base:
        put_segment(s, at, off, n, NULL, 0)
    if differ:
        write_back(s, bytes, off, end, s.right)
    return 0


cdef int insert(Core *t, Side *s, Packet *p, uint32_t seq) noexcept nogil:
    """Take p's payload, at seq, into the stream of the side that sent it. 0 taken, -1 not."""
    cdef int64_t off = offset_of(s, seq)
    cdef uint32_t n = p.payload_len if p.payload_len < 65536 else 65535
    cdef uint64_t seam = s.right
    cdef uint64_t overlaps = t.overlaps
    cdef bint ordered = off == <int64_t>seam and s.waiting == 0
    cdef int taken = 0
    if s.flags & SIDE_DEPTH:
        p.flags |= PKT_NO_PAYLOAD_INSPECT
        return 0
    if off + n <= <int64_t>s.base:
        event(p, EV_STREAM__REASSEMBLY_SEGMENT_BEFORE_BASE_SEQ)
        p.flags |= PKT_RETRANSMISSION
        return -1
    if t.depth and off + n > <int64_t>t.depth:
        t.depth_reached += 1
        event(p, EV_STREAM__REASSEMBLY_DEPTH_REACHED)
        s.flags |= SIDE_DEPTH
        if off >= <int64_t>t.depth:
            p.flags |= PKT_NO_PAYLOAD_INSPECT
            return 0
        n = <uint32_t>(<int64_t>t.depth - off)
    t.segments += 1
    p.flags |= PKT_STREAM_ADDED
    new_epoch(t, s)
    if ordered and s.seg_end < s.seg_room and s.right - s.base + n <= s.room:
        # in order, nothing in the way: the common case
        memcpy(s.buf + (s.right - s.base), p.payload, n)
        s.segs[s.seg_end].off = s.right
        s.segs[s.seg_end].len = n
        s.segs[s.seg_end].room = 0
        s.segs[s.seg_end].data = NULL
        s.seg_end += 1
        s.right += n
    else:
        taken = insert_slow(t, s, p, off, n)
        if taken != 0:
            p.flags &= ~<uint32_t>PKT_STREAM_ADDED
    if ordered and taken == 0 and p.flags & PKT_CLEAR and t.filter != NULL \
            and s.right == seam + n and t.overlaps == overlaps:
        clear_behind(t, s, seam)
    else:
        s.dirty = s.right
    return taken


cdef void note_gap(Core *t, Session *ss, Side *s, Packet *p) noexcept nogil:
    """The peer acknowledged bytes that never came by, and there are bytes behind them."""
    cdef uint64_t acked
    if s.waiting == 0:
        return
    acked = acked_to(s)
    if ss.state >= TCP_FIN_WAIT1 and acked:
        acked -= 1
    if acked > s.right and s.noted != s.right + 1:
        if gt(s.last_ack, s.next_seq) and s.segs[s.seg_end - s.waiting].off >= acked:
            return
        s.noted = s.right + 1
        t.gaps += 1
        event(p, EV_STREAM__REASSEMBLY_SEQ_GAP)


cdef bint hand_over(Core *t, Side *s, Packet *p, uint64_t end) noexcept nogil:
    """Set p's stream_* to the bytes not inspected up to `end`, with context before them."""
    cdef uint64_t context = t.chunk[p.dir] if t.inline_mode else t.overlap
    cdef uint64_t start
    if end <= s.inspected:
        return False
    start = s.inspected - context if s.inspected > context else 0
    if start < s.base:
        start = s.base
    p.stream_data = s.buf + (start - s.base)
    p.stream_len = <uint32_t>(end - start)
    p.stream_new = <uint32_t>(s.inspected - start)
    p.stream_off = start
    if s.flags & SIDE_AFTER_GAP:
        p.flags |= PKT_STREAM_GAP
    else:
        p.flags &= ~<uint32_t>PKT_STREAM_GAP
    if is_clear(t, s, start):
        p.flags |= PKT_STREAM_CLEAR
    else:
        p.flags &= ~<uint32_t>PKT_STREAM_CLEAR
    s.delivered = end
    t.chunks += 1
    t.chunk_bytes += end - s.inspected
    return True


cdef bint due(Core *t, Session *ss, Side *s, Packet *p) noexcept nogil:
    """Hand over what is due of p's own direction; False: nothing is."""
    cdef uint64_t acked = acked_to(s)
    cdef uint64_t end = s.right
    if not t.inline_mode:
        if acked < s.inspected:
            return False
        if acked - s.inspected < t.chunk[p.dir] and ss.state <= TCP_TIME_WAIT \
                and not s.flags & SIDE_DEPTH:
            return False
        if acked < end:
            end = acked
    if hand_over(t, s, p, end):
        return True
    # behind a hole that the peer has no need to see filled
    if s.waiting and s.inspected == s.right and s.segs[s.seg_end - s.waiting].off < acked \
            and jump(t, s):
        end = s.right if t.inline_mode or acked > s.right else acked
        return hand_over(t, s, p, end)
    return False
