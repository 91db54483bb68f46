# How sessions begin: the first packet, and the offers (SYN, SYN/ACK) kept while a handshake is
# open, because either host may answer an earlier one. Included by stream.pyx.


cdef inline void start_timestamp(Side *s, const Packet *p) noexcept nogil:
    s.last_ts = p.tsval
    s.last_sec = seconds(p)
    if p.tsval == 0:
        s.flags |= SIDE_ZERO_TS


cdef void forget_stream(Core *t, Side *s) noexcept nogil:
    drop_bytes(t, s)
    s.base = s.right = s.inspected = s.delivered = s.noted = s.dirty = 0


cdef void offer_of(const Packet *p, Offer *o) noexcept nogil:
    memset(o, 0, sizeof(Offer))
    o.seq = p.seq
    o.ack = p.ack
    o.window = p.window
    o.sec = seconds(p)
    o.has_wscale = p.wscale != 0xFF
    o.wscale = shift_of(p)
    o.has_ts = p.has_tsopt
    o.ts = p.tsval if p.has_tsopt else 0


cdef void drop_offers(Core *t, Session *ss) noexcept nogil:
    give(t, ss.offers, MAX_QUEUED * sizeof(Offer))
    ss.offers = NULL
    ss.n_offers = 0


cdef int keep_offer(Core *t, Session *ss, const Offer *o) noexcept nogil:
    cdef uint64_t room = 0
    if ss.offers == NULL:
        ss.offers = <Offer *>take(t, MAX_QUEUED * sizeof(Offer), &room)
        if ss.offers == NULL:
            return -1
    ss.offers[ss.n_offers] = o[0]
    ss.n_offers += 1
    return 0


cdef void keep_syn(Core *t, Session *ss, Packet *p) noexcept nogil:
    """A SYN sent again: go on with its options, but remember those before."""
    cdef Side *c = &ss.side[CLIENT]
    cdef Side *v = &ss.side[SERVER]
    cdef Offer now, before
    cdef int i
    cdef bint known = False
    offer_of(p, &now)
    memset(&before, 0, sizeof(Offer))
    before.seq = c.isn
    before.window = <uint16_t>v.window
    before.sec = c.last_sec
    before.has_wscale = (ss.flags & SS_SYN_WSCALE) != 0
    before.wscale = v.wscale
    before.has_ts = (c.flags & SIDE_TIMESTAMP) != 0
    before.ts = c.last_ts
    if now.window != before.window or now.has_wscale != before.has_wscale \
            or now.wscale != before.wscale or now.has_ts != before.has_ts or now.ts != before.ts:
        for i in range(ss.n_offers):
            if ss.offers[i].has_ts == before.has_ts and ss.offers[i].ts == before.ts:
                known = True
        if not known:
            if ss.n_offers >= MAX_QUEUED:
                event(p, EV_STREAM__3WHS_SYN_FLOOD)
            else:
                keep_offer(t, ss, &before)
    apply_syn(ss, &now)


cdef void apply_syn(Session *ss, const Offer *o) noexcept nogil:
    cdef Side *c = &ss.side[CLIENT]
    if o.has_ts:
        c.last_ts = o.ts
        c.last_sec = o.sec
        c.flags |= SIDE_TIMESTAMP
    if o.has_wscale:
        ss.flags |= SS_SYN_WSCALE
    else:
        ss.flags &= ~<uint32_t>SS_SYN_WSCALE
    ss.side[SERVER].wscale = o.wscale
    ss.side[SERVER].window = o.window


cdef bint echo_ok(const Side *c, const Packet *p) noexcept nogil:
    """Whether the answer to a SYN echoes the SYN's timestamp; a made-up one does not."""
    if not p.has_tsopt or p.tsecr == 0:
        return True
    if c.flags & SIDE_TIMESTAMP:
        return c.last_ts == 0 or p.tsecr == c.last_ts
    return c.last_ts != 0


cdef bint recall_syn(Session *ss, const Packet *p) noexcept nogil:
    """Go back to the SYN whose timestamp this SYN/ACK echoes."""
    cdef int i
    for i in range(ss.n_offers):
        if ss.offers[i].has_ts == p.has_tsopt and ss.offers[i].ts == p.tsecr:
            apply_syn(ss, &ss.offers[i])
            return True
    return False


cdef int keep_synack(Core *t, Session *ss, Packet *p) noexcept nogil:
    """Another SYN/ACK with another ISN: the client's ACK will tell which one counts."""
    cdef Offer now
    cdef Offer *o
    cdef int i
    offer_of(p, &now)
    for i in range(ss.n_offers):
        o = &ss.offers[i]
        if o.seq == now.seq and o.ack == now.ack and o.window == now.window and o.ts == now.ts \
                and o.has_ts == now.has_ts and o.wscale == now.wscale:
            return 0
    if ss.n_offers >= MAX_SYNACK:
        return refuse(p, EV_STREAM__3WHS_SYNACK_FLOOD)
    return keep_offer(t, ss, &now)


cdef void take_synack(Core *t, Session *ss, Flow *f, const Offer *o) noexcept nogil:
    cdef Side *c = &ss.side[CLIENT]
    cdef Side *v = &ss.side[SERVER]
    set_state(ss, f, TCP_SYN_RECV)
    forget_stream(t, v)
    v.isn = o.seq
    v.next_seq = o.seq + 1
    c.window = o.window                   # never scaled in a SYN
    if o.has_ts and c.flags & SIDE_TIMESTAMP:
        ss.flags |= SS_TIMESTAMP
        v.last_ts = o.ts
        v.last_sec = o.sec
        if o.ts == 0:
            v.flags |= SIDE_ZERO_TS
    else:
        c.last_ts = v.last_ts = 0
        c.flags &= ~<uint8_t>SIDE_ZERO_TS
    c.last_ack = o.ack
    v.last_ack = o.seq + 1
    c.wscale = o.wscale if ss.flags & SS_SYN_WSCALE else 0
    if not (ss.flags & SS_SYN_WSCALE and o.has_wscale):
        v.wscale = 0
    v.next_win = v.last_ack + v.window
    c.next_win = c.last_ack + c.window
    ss.flags &= ~<uint32_t>SS_4WHS


cdef Session *open_session(Core *t, Packet *p, Flow *f) noexcept nogil:
    cdef uint64_t room = 0
    cdef Session *ss = <Session *>take(t, sizeof(Session), &room)
    if ss == NULL:
        t.session_memcap += 1
        return NULL
    memset(ss, 0, sizeof(Session))
    # a side's bytes are put together by the host that receives them
    ss.side[0].policy = f.os_policy[1] - 1 if f.os_policy[1] else t.policy
    ss.side[1].policy = f.os_policy[0] - 1 if f.os_policy[0] else t.policy
    f.tcp = ss
    t.sessions += 1
    t.active += 1
    if t.async_oneside:
        ss.flags |= SS_ASYNC
    return ss


cdef void swap_sides(Packet *p, Flow *f) noexcept nogil:
    """The first packet seen came from the server: turn the flow round."""
    cdef uint8_t address[16]
    cdef uint16_t port = f.sport
    cdef uint64_t n
    cdef uint32_t row = f.addr_row[0]
    cdef uint32_t once = f.flags
    cdef uint8_t flags = f.tcp_flags[0]
    memcpy(address, f.src, 16)
    memcpy(f.src, f.dst, 16)
    memcpy(f.dst, address, 16)
    f.sport = f.dport
    f.dport = port
    n = f.packets[0]
    f.packets[0] = f.packets[1]
    f.packets[1] = n
    n = f.bytes[0]
    f.bytes[0] = f.bytes[1]
    f.bytes[1] = n
    f.tcp_flags[0] = f.tcp_flags[1]
    f.tcp_flags[1] = flags
    f.addr_row[0] = f.addr_row[1]
    f.addr_row[1] = row
    f.flags &= ~<uint32_t>(FLOW_IPONLY_TS | FLOW_IPONLY_TC | FLOW_SEEN_TS | FLOW_SEEN_TC)
    if once & FLOW_IPONLY_TS:
        f.flags |= FLOW_IPONLY_TC
    if once & FLOW_IPONLY_TC:
        f.flags |= FLOW_IPONLY_TS
    if once & FLOW_SEEN_TS:
        f.flags |= FLOW_SEEN_TC
    if once & FLOW_SEEN_TC:
        f.flags |= FLOW_SEEN_TS
    p.dir ^= 1


cdef int first_packet(Core *t, Packet *p, Flow *f) noexcept nogil:
    """No session yet. A SYN opens one; anything else only where midstream pick-up is on."""
    cdef Session *ss
    cdef Side *s
    cdef Side *r
    cdef bint synack = p.tcp_flags & (SYN | ACK) == SYN | ACK
    if p.tcp_flags & RST:
        return refuse(p, EV_STREAM__RST_BUT_NO_SESSION)
    if p.tcp_flags & SYN and not synack and not p.tcp_flags & FIN:
        ss = open_session(t, p, f)
        if ss == NULL:
            return -1
        if p.dir == TO_CLIENT:            # on the tuple of a flow that had no session
            swap_sides(p, f)
        s = &ss.side[CLIENT]
        r = &ss.side[SERVER]
        set_state(ss, f, TCP_SYN_SENT)
        ss.seen = 1
        f.isn = s.isn = p.seq
        s.next_seq = p.seq + 1
        if p.has_tsopt:
            s.flags |= SIDE_TIMESTAMP
            start_timestamp(s, p)
        r.window = p.window
        if p.wscale != 0xFF:
            ss.flags |= SS_SYN_WSCALE
            r.wscale = shift_of(p)
        if p.payload_len and (has_option(p, 34, 0) or has_option(p, 254, 0xF989)):
            # TCP Fast Open, RFC 7413, and its form before that was one
            ss.flags |= SS_TFO
            s.next_seq += p.payload_len
            segment(t, ss, p, f)
        return 0
    if not p.tcp_flags & (FIN | ACK):
        return 0
    if not t.midstream and not (synack and t.async_oneside):
        t.midstream_refused += 1
        p.flags |= PKT_MIDSTREAM_REFUSED
        return refuse(p, EV_STREAM__FIN_BUT_NO_SESSION) if p.tcp_flags & FIN else 0
    if p.tcp_flags & FIN and p.payload_len == 0:
        return refuse(p, EV_STREAM__FIN_BUT_NO_SESSION)
    ss = open_session(t, p, f)
    if ss == NULL:
        return -1
    t.midstream_pickups += 1
    ss.flags |= SS_MIDSTREAM
    f.flags |= FLOW_MIDSTREAM
    # The server is the side that answered the SYN, or that speaks from a port only a server has
    if f.packets[p.dir ^ 1] == 0 and (
        (synack and p.dir == TO_SERVER)
        or (not synack and p.dir == TO_SERVER and p.sport < 1024 <= p.dport)
    ):
        swap_sides(p, f)
    ss.seen = <uint8_t>(1 << p.dir)
    s = &ss.side[p.dir]
    r = &ss.side[p.dir ^ 1]
    r.isn = p.ack - 1
    r.next_seq = r.last_ack = p.ack
    if synack:
        set_state(ss, f, TCP_SYN_RECV)
        ss.flags |= SS_MIDSTREAM_SYNACK
        s.isn = p.seq
        s.next_seq = p.seq + 1
        s.last_ack = p.seq
        s.window = p.window
        if p.wscale != 0xFF:              # offered only where the SYN offered it
            r.wscale = shift_of(p)
            s.wscale = WSCALE_MAX
        s.next_win = s.last_ack + s.window
        r.next_win = p.ack
    else:
        set_state(ss, f, TCP_FIN_WAIT1 if p.tcp_flags & FIN else TCP_ESTABLISHED)
        ss.flags |= SS_MIDSTREAM_EST
        s.wscale = r.wscale = WSCALE_MAX  # not known: suppose the largest
        s.isn = p.seq - 1
        s.next_seq = p.seq + p.payload_len + (1 if p.tcp_flags & FIN else 0)
        s.last_ack = p.seq
        take_window(s, p)
        s.next_win = s.last_ack + s.window
        r.next_win = p.ack
        if p.dir == TO_CLIENT:
            r.window = s.window
            r.next_win = p.ack + r.window
    f.isn = ss.side[CLIENT].isn
    if p.has_tsopt:
        ss.flags |= SS_TIMESTAMP
        start_timestamp(s, p)
        r.last_ts = p.tsecr
        if p.tsecr == 0:
            r.flags |= SIDE_ZERO_TS
    if not synack:
        segment(t, ss, p, f)
    return 0
