# A TCP session: its two sides, and the checks every state shares. Included by stream.pyx.

cdef enum:
    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    ACK = 0x10

    CLIENT = 0                    # index of a side: what it sends goes TO_SERVER
    SERVER = 1
    WSCALE_MAX = 14               # RFC 7323
    PAWS_SECONDS = 2073600        # 24 days: RFC 7323's limit of a timestamp's life
    MAX_SYNACK = 5                # SYN/ACKs remembered while the handshake is open
    MAX_QUEUED = 10               # SYNs

cdef enum SessionFlag:
    SS_TIMESTAMP = 1 << 0         # both sides use timestamps
    SS_SYN_WSCALE = 1 << 1        # the first SYN offered window scaling
    SS_4WHS = 1 << 2              # SYN answered by SYN: four-way handshake
    SS_MIDSTREAM = 1 << 3
    SS_MIDSTREAM_SYNACK = 1 << 4
    SS_MIDSTREAM_EST = 1 << 5     # the server's window is not known yet
    SS_ASYNC = 1 << 6             # one side alone is seen
    SS_EVASION = 1 << 7           # right seq, wrong ack on the handshake's last segment
    SS_TFO = 1 << 8
    SS_CONFIRMED = 1 << 9         # the server acted on the handshake's last segment
    SS_CLOSED_BY_RST = 1 << 10

cdef enum SideFlag:
    SIDE_TIMESTAMP = 1 << 0       # its SYN carried a timestamp
    SIDE_ZERO_TS = 1 << 1         # ... of zero
    SIDE_KEEPALIVE = 1 << 2       # it sent a keep-alive not answered yet
    SIDE_RST_RECV = 1 << 3        # the peer sent a RST that may be injected
    SIDE_ZWP = 1 << 4             # it probed a zero window
    SIDE_DEPTH = 1 << 5           # past the depth: no more bytes are taken
    SIDE_AFTER_GAP = 1 << 6       # `inspected` lies right behind a hole
    SIDE_FIN = 1 << 7             # its FIN was accepted

cdef enum OsPolicy:
    OS_BSD = 0
    OS_FIRST = 1
    OS_LAST = 2
    OS_LINUX = 3
    OS_OLD_LINUX = 4
    OS_WINDOWS = 5
    OS_SOLARIS = 6
    OS_HPUX10 = 7
    OS_HPUX11 = 8
    OS_IRIX = 9
    OS_MACOS = 10
    OS_VISTA = 11
    OS_WINDOWS2K3 = 12

POLICIES = (
    "bsd", "first", "last", "linux", "old-linux", "windows", "solaris", "hpux10", "hpux11", "irix",
    "macos", "vista", "windows2k3",
)

# A run of bytes as it arrived. `data` NULL: the bytes are in the side's buffer.
cdef struct Segment:
    uint64_t off                  # of its first byte in the stream
    uint32_t len
    uint32_t room                 # bytes allocated at data
    uint8_t *data

# What one side sent. Windows follow RFC 9293 with the names of its section 3.3.1 in mind:
# `window` is what the peer offers to this side.
cdef struct Side:
    uint32_t isn
    uint32_t next_seq             # after the last byte seen
    uint32_t last_ack             # what the peer acknowledged
    uint32_t next_win             # right edge of the window
    uint32_t window               # bytes, scaled
    uint32_t last_ts              # its last timestamp value
    uint32_t last_sec             # when that came, seconds
    uint8_t wscale                # shift for `window`
    uint8_t flags                 # SideFlag
    uint8_t policy                # OsPolicy of the host that receives
    # stream offsets: 0 is the byte after the ISN
    uint64_t base                 # of buf[0]
    uint64_t right                # end of the bytes without a hole
    uint64_t inspected
    uint64_t delivered            # end of what was last handed to detect
    uint64_t noted                # the hole reported last: its offset + 1
    uint8_t *buf
    uint32_t room                 # bytes allocated at buf
    uint32_t seg_first            # index of the first live segment
    uint32_t seg_end              # index after the last
    uint32_t seg_room             # segments allocated
    uint32_t waiting              # how many of them wait behind a hole; they are the last ones
    uint32_t epoch                # of Core, in which `dirty` was written
    Segment *segs
    uint64_t dirty                # end of the last byte not known clear: see stream_clear.pxi

# A SYN or SYN/ACK set aside: the handshake may go on with it.
cdef struct Offer:
    uint32_t seq
    uint32_t ack
    uint32_t ts
    uint32_t sec
    uint16_t window
    uint8_t has_ts
    uint8_t has_wscale
    uint8_t wscale

cdef struct Session:
    Side side[2]                  # by Direction of what they send: client, server
    uint32_t flags                # SessionFlag
    uint8_t state                 # TcpState
    uint8_t before                # the state left last
    uint8_t seen                  # bit per side
    uint8_t n_offers
    Offer *offers                 # MAX_QUEUED, or NULL


cdef inline bint lt(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b) < 0


cdef inline bint le(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b) <= 0


cdef inline bint gt(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b) > 0


cdef inline void event(Packet *p, int number) noexcept nogil:
    p.events[number >> 6] |= <uint64_t>1 << (number & 63)


cdef inline int refuse(Packet *p, int number) noexcept nogil:
    event(p, number)
    return -1


cdef inline uint32_t seconds(const Packet *p) noexcept nogil:
    return <uint32_t>(p.now_ns // 1000000000)


cdef inline uint8_t shift_of(const Packet *p) noexcept nogil:
    if p.wscale == 0xFF:
        return 0
    return p.wscale if p.wscale < WSCALE_MAX else WSCALE_MAX


cdef inline void take_ack(Side *side, uint32_t ack) noexcept nogil:
    if gt(ack, side.last_ack):
        side.last_ack = ack


cdef inline void take_window(Side *side, const Packet *p) noexcept nogil:
    side.window = <uint32_t>p.window << side.wscale


cdef inline void widen(Side *side) noexcept nogil:
    if gt(side.last_ack + side.window, side.next_win):
        side.next_win = side.last_ack + side.window


cdef inline void missed(Side *side, uint32_t ack) noexcept nogil:
    # the peer has bytes that never came by here
    if lt(side.next_seq, ack):
        side.next_seq = ack


cdef bint has_option(const Packet *p, uint8_t kind, uint16_t magic) noexcept nogil:
    """Look for a TCP option in the header; for the few packets where a rare one matters.

    magic: the identifier an experimental option (RFC 6994) must begin with; 0 for others.
    """
    cdef uint32_t i = 20
    cdef uint8_t k, n
    if p.l4 == NULL or p.l4_hlen > p.l4_len:
        return False
    while i < p.l4_hlen:
        k = p.l4[i]
        if k == 0:
            return False
        if k == 1:
            i += 1
            continue
        if i + 1 >= p.l4_hlen:
            return False
        n = p.l4[i + 1]
        if k == kind and (magic == 0 or (
            n >= 4 and i + 3 < p.l4_hlen
            and (<uint16_t>p.l4[i + 2] << 8 | p.l4[i + 3]) == magic
        )):
            return True
        if n < 2:
            return False
        i += n
    return False


cdef void set_state(Session *ss, Flow *f, uint8_t state) noexcept nogil:
    if state == ss.state:
        return
    ss.before = ss.state
    ss.state = state
    f.tcp_state = state
    if state == TCP_LAST_ACK or state == TCP_TIME_WAIT or state == TCP_CLOSED:
        f.state = FLOW_CLOSED
    elif state >= TCP_ESTABLISHED:
        f.state = FLOW_EST
    if TCP_ESTABLISHED <= state < TCP_CLOSED:
        f.flags |= FLOW_ESTABLISHED


cdef bint timestamp_ok(Session *ss, Packet *p, bint commit) noexcept nogil:
    """PAWS (RFC 7323, 5): an old timestamp makes a segment unacceptable; event if so.

    What a host does with zero and off-by-one values depends on its policy. With `commit` the
    sender's timestamp moves on; that comes after the check and finds nothing new wrong.
    """
    cdef Side *s = &ss.side[p.dir]
    cdef uint8_t os = ss.side[p.dir ^ 1].policy
    cdef uint32_t now = seconds(p)
    cdef uint32_t last = s.last_ts
    cdef uint32_t last_sec = s.last_sec
    cdef bint check = True
    cdef bint next = s.next_seq == p.seq
    cdef int32_t delta
    if not p.has_tsopt:
        if commit and os == OS_SOLARIS:   # stops using them
            ss.flags &= ~<uint32_t>SS_TIMESTAMP
        return True
    if s.flags & SIDE_ZERO_TS:
        if os == OS_LINUX or os == OS_WINDOWS2K3:
            check = False
            if commit:
                ss.flags &= ~<uint32_t>SS_TIMESTAMP
        elif os == OS_OLD_LINUX or os == OS_WINDOWS or os == OS_VISTA:
            if next:
                check = False
                if commit:
                    s.last_ts = p.tsval
            if commit:
                s.flags &= ~<uint8_t>SIDE_ZERO_TS
    if os == OS_HPUX11 and not next:
        check = False
    if p.tsval == 0 and not commit and not (
        os == OS_OLD_LINUX or os == OS_WINDOWS or os == OS_WINDOWS2K3 or os == OS_VISTA
        or os == OS_SOLARIS
    ):
        event(p, EV_STREAM__PKT_INVALID_TIMESTAMP)
        return False
    if not check:
        return True
    delta = <int32_t>(p.tsval - last + (1 if os == OS_LINUX else 0))
    if last_sec == 0 and ss.flags & SS_MIDSTREAM:
        last_sec = now
        if commit:
            s.last_sec = now
    if delta < 0 or (last != 0 and <uint64_t>now > <uint64_t>last_sec + PAWS_SECONDS):
        if commit:                        # accepted: what was remembered is too old to judge by
            s.last_ts = p.tsval
            s.last_sec = now
        elif not (next and <uint64_t>now > <uint64_t>last_sec + PAWS_SECONDS):
            event(p, EV_STREAM__PKT_INVALID_TIMESTAMP)
            return False
    elif commit:
        if next:
            s.last_ts = p.tsval
        s.last_sec = now
    return True


cdef inline bint old_timestamp(Session *ss, Packet *p) noexcept nogil:
    return ss.flags & SS_TIMESTAMP and not timestamp_ok(ss, p, False)


cdef inline void take_timestamp(Session *ss, Packet *p) noexcept nogil:
    if ss.flags & SS_TIMESTAMP:
        timestamp_ok(ss, p, True)


cdef bint ack_ok(Session *ss, Side *r, Packet *p) noexcept nogil:
    """Whether the acknowledgment lies within what `r` may have sent; event if not."""
    if not p.tcp_flags & ACK or p.ack == r.last_ack:
        return True
    if gt(p.ack, r.last_ack):
        if le(p.ack, r.next_win) or ss.flags & SS_ASYNC:
            return True
        if ss.state == TCP_SYN_SENT and p.dir == TO_CLIENT and p.tcp_flags & RST \
                and p.ack == r.isn + 1:
            return True                   # a port that is closed answers a SYN
    elif r.window == 0 or not lt(p.ack, r.last_ack - r.window):
        return True
    event(p, EV_STREAM__PKT_INVALID_ACK)
    return False


cdef bint reset_ok(Session *ss, Packet *p) noexcept nogil:
    """Whether the receiver would act on this RST (RFC 9293, 3.10.7; per host policy)."""
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    if old_timestamp(ss, p):
        return False
    if p.tcp_flags & ACK and p.ack and not ack_ok(ss, r, p):
        event(p, EV_STREAM__RST_INVALID_ACK)
        return False
    if has_option(p, 19, 0) or has_option(p, 29, 0):
        # signed (RFC 2385, RFC 5925) with a key not known here: watch whether it is heeded
        r.flags |= SIDE_RST_RECV
    if ss.flags & SS_ASYNC or r.policy == OS_HPUX11:
        return not lt(p.seq, s.next_seq)
    if r.policy == OS_LINUX or r.policy == OS_OLD_LINUX or r.policy == OS_SOLARIS:
        return not lt(p.seq + p.payload_len, s.last_ack) and lt(p.seq, s.next_seq + s.window)
    return p.seq == s.next_seq


cdef bint retransmitted(Side *s, Packet *p) noexcept nogil:
    """Whether the payload begins with, or lies within, what was seen or acknowledged."""
    cdef uint32_t end = p.seq + p.payload_len
    if p.payload_len == 0:
        return False
    if lt(p.seq, s.last_ack) or le(end, s.last_ack) or le(end, s.next_seq):
        event(p, EV_STREAM__PKT_RETRANSMISSION)
        p.flags |= PKT_RETRANSMISSION
        return True
    return False
