# The session state table: one function per state, each with the checks of RFC 9293, 3.10.7
# as an observer between the two hosts can make them. Included by stream.pyx.
#
# S is the side that sent p, R the one it goes to. 0: acceptable; -1: not, with an event.


cdef inline void segment(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    """An acceptable segment: note what its acknowledgment reveals, take its payload.

    A RST's payload is a message about the reset, not part of the stream (RFC 1122, 4.2.2.12).
    """
    cdef Side *s = &ss.side[p.dir]
    note_gap(t, ss, &ss.side[p.dir ^ 1], p)
    if p.payload_len and not p.tcp_flags & RST:
        if f.flags & (FLOW_BYPASS | FLOW_PASS | FLOW_DROP):
            drop_bytes(t, s)              # nobody will look at it
            return
        insert(t, s, p, p.seq + 1 if p.tcp_flags & SYN else p.seq)


cdef void reset(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    """An accepted RST: the session ends; what it acknowledges still counts."""
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    set_state(ss, f, TCP_CLOSED)
    ss.flags |= SS_CLOSED_BY_RST
    if p.tcp_flags & ACK and ack_ok(ss, r, p):
        take_ack(r, p.ack)
    take_ack(s, p.seq)
    take_timestamp(ss, p)
    segment(t, ss, p, f)


cdef int state_syn_sent(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *c = &ss.side[CLIENT]
    cdef Side *v = &ss.side[SERVER]
    cdef uint8_t flags = p.tcp_flags & (SYN | ACK)
    cdef Offer now
    if flags == SYN | ACK and p.dir == TO_CLIENT:
        if ss.flags & SS_TFO:
            if p.ack == c.next_seq:
                pass
            elif p.ack == c.isn + 1:
                event(p, EV_STREAM__3WHS_SYNACK_TFO_DATA_IGNORED)
                forget_stream(t, c)
                c.next_seq = c.isn + 1
                ss.flags &= ~<uint32_t>SS_TFO
            else:
                return refuse(p, EV_STREAM__3WHS_SYNACK_WITH_WRONG_ACK)
        elif p.ack != c.isn + 1:
            return refuse(p, EV_STREAM__3WHS_SYNACK_WITH_WRONG_ACK)
        if not echo_ok(c, p) and not recall_syn(ss, p):
            return refuse(p, EV_STREAM__PKT_INVALID_TIMESTAMP)
        drop_offers(t, ss)
        offer_of(p, &now)
        take_synack(t, ss, f, &now)
        if ss.flags & SS_TFO:
            set_state(ss, f, TCP_ESTABLISHED)
            v.next_seq += p.payload_len
            segment(t, ss, p, f)
        return 0
    if flags == SYN | ACK:
        # the third segment of a four-way handshake comes from the client
        if not ss.flags & SS_4WHS:
            return refuse(p, EV_STREAM__3WHS_SYNACK_IN_WRONG_DIRECTION)
        if p.ack != v.isn + 1:
            return refuse(p, EV_STREAM__4WHS_SYNACK_WITH_WRONG_ACK)
        if p.seq != c.isn:
            return refuse(p, EV_STREAM__4WHS_SYNACK_WITH_WRONG_SYN)
        set_state(ss, f, TCP_SYN_RECV)
        c.next_seq = c.isn + 1
        v.window = p.window
        if p.has_tsopt and v.flags & SIDE_TIMESTAMP:
            ss.flags |= SS_TIMESTAMP
            start_timestamp(c, p)
        else:
            c.last_ts = v.last_ts = 0
            v.flags &= ~<uint8_t>SIDE_ZERO_TS
        v.last_ack = p.ack
        c.last_ack = c.isn + 1
        v.wscale = shift_of(p) if ss.flags & SS_SYN_WSCALE else 0
        c.next_win = c.last_ack + c.window
        v.next_win = v.last_ack + v.window
        return 0
    if p.dir == TO_CLIENT and not echo_ok(c, p):
        return refuse(p, EV_STREAM__PKT_INVALID_TIMESTAMP)
    if p.tcp_flags & RST:
        if not reset_ok(ss, p):
            return -1
        if p.dir == TO_SERVER:
            if p.seq == c.isn and p.window == 0 and p.ack == c.isn + 1:
                v.flags |= SIDE_RST_RECV
                set_state(ss, f, TCP_CLOSED)
                drop_offers(t, ss)
        else:
            c.flags |= SIDE_RST_RECV
            set_state(ss, f, TCP_CLOSED)
            drop_offers(t, ss)
    elif p.tcp_flags & FIN:
        pass
    elif p.tcp_flags & SYN:
        if p.dir == TO_CLIENT:            # a SYN in answer to a SYN: four-way handshake
            ss.flags |= SS_4WHS
            v.isn = p.seq
            v.next_seq = p.seq + 1
            if p.has_tsopt:
                v.flags |= SIDE_TIMESTAMP
                start_timestamp(v, p)
            v.window = p.window
            if p.wscale != 0xFF:
                ss.flags |= SS_SYN_WSCALE
            else:
                ss.flags &= ~<uint32_t>SS_SYN_WSCALE
            v.wscale = shift_of(p)
        else:
            keep_syn(t, ss, p)            # sent again, perhaps with other options
    elif p.tcp_flags & ACK and t.async_oneside:
        if p.seq != c.next_seq:
            return refuse(p, EV_STREAM__3WHS_ASYNC_WRONG_SEQ)
        ss.flags |= SS_ASYNC
        set_state(ss, f, TCP_ESTABLISHED)
        drop_offers(t, ss)
        c.window = p.window
        c.last_ack = p.seq
        c.next_win = c.last_ack + c.window
        v.isn = p.ack - 1
        v.next_seq = v.last_ack = v.next_win = p.ack
        if ss.flags & SS_SYN_WSCALE:
            c.wscale = WSCALE_MAX
        if p.has_tsopt and c.flags & SIDE_TIMESTAMP:
            ss.flags |= SS_TIMESTAMP
            c.last_sec = seconds(p)
        else:
            c.last_ts = 0
            c.flags &= ~<uint8_t>SIDE_ZERO_TS
        c.next_seq = p.seq + p.payload_len
        segment(t, ss, p, f)
    return 0


cdef int state_syn_recv(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *c = &ss.side[CLIENT]
    cdef Side *v = &ss.side[SERVER]
    cdef uint8_t os
    cdef int i
    cdef bint lost = False
    if p.tcp_flags & RST:
        if not reset_ok(ss, p):
            return -1
        os = ss.side[p.dir ^ 1].policy
        if ss.flags & SS_EVASION and (
            os == OS_LINUX or os == OS_OLD_LINUX or os == OS_SOLARIS
        ):
            return 0                      # these hosts take it for a stray
        set_state(ss, f, TCP_CLOSED)
        ss.flags |= SS_CLOSED_BY_RST
        take_timestamp(ss, p)
        return 0
    if p.tcp_flags & FIN:
        if old_timestamp(ss, p):
            return -1
        return first_fin(t, ss, p, f)
    if p.tcp_flags & (SYN | ACK) == SYN | ACK:
        if p.dir == TO_SERVER:
            return refuse(p, EV_STREAM__3WHS_SYNACK_TOSERVER_ON_SYN_RECV)
        if p.ack != c.last_ack:
            return refuse(p, EV_STREAM__3WHS_SYNACK_RESEND_WITH_DIFFERENT_ACK)
        if p.seq != v.isn:
            return keep_synack(t, ss, p)
        return 0
    if p.tcp_flags & SYN:
        if p.dir == TO_CLIENT:
            return refuse(p, EV_STREAM__3WHS_SYN_TOCLIENT_ON_SYN_RECV)
        if p.seq != c.isn:
            return refuse(p, EV_STREAM__3WHS_SYN_RESEND_DIFF_SEQ_ON_SYN_RECV)
        return 0
    if not p.tcp_flags & ACK:
        return 0
    for i in range(ss.n_offers):          # which of several SYN/ACKs does it answer?
        if ss.offers[i].seq == p.ack - 1 and ss.offers[i].ack == p.seq:
            take_synack(t, ss, f, &ss.offers[i])
            break
    if old_timestamp(ss, p):
        return -1
    if ss.flags & SS_4WHS and p.dir == TO_CLIENT:
        if p.seq != v.next_seq:
            return refuse(p, EV_STREAM__4WHS_WRONG_SEQ)
        if not ack_ok(ss, c, p):
            return refuse(p, EV_STREAM__4WHS_INVALID_ACK)
        take_timestamp(ss, p)
        take_ack(c, p.ack)
        v.next_seq += p.payload_len
        take_window(c, p)
        c.next_win = c.last_ack + c.window
        set_state(ss, f, TCP_ESTABLISHED)
        segment(t, ss, p, f)
        return 0
    if p.dir == TO_CLIENT and not ss.flags & (SS_MIDSTREAM_SYNACK | SS_TFO):
        # the client's ACK was lost before it came here. Inline every packet is seen, so
        # there this is somebody else speaking for the server.
        if t.inline_mode:
            if p.payload_len and p.ack == c.last_ack and p.seq == v.next_seq:
                return refuse(p, EV_STREAM__3WHS_ACK_DATA_INJECT)
            return refuse(p, EV_STREAM__3WHS_ACK_IN_WRONG_DIR)
        lost = True
    if p.dir == TO_SERVER and p.seq == c.next_seq and p.ack == v.next_seq:
        take_timestamp(ss, p)
        take_ack(v, p.ack)
        c.next_seq += p.payload_len
        take_window(v, p)
        v.next_win = v.last_ack + v.window
        if ss.flags & SS_MIDSTREAM:
            take_window(c, p)
            c.next_win = c.last_ack + c.window
            if not ss.flags & SS_MIDSTREAM_SYNACK:
                c.wscale = v.wscale = WSCALE_MAX
        set_state(ss, f, TCP_ESTABLISHED)
        if p.payload_len:                 # the ACK before it was lost
            p.flags |= PKT_ESTABLISHED
        segment(t, ss, p, f)
        return 0
    if t.async_oneside and p.dir == TO_CLIENT and p.seq == v.next_seq:
        ss.flags |= SS_ASYNC
        v.next_seq += p.payload_len
        v.last_ack = p.seq
        take_window(c, p)
        c.last_ack = p.ack
        take_timestamp(ss, p)
        if ss.flags & SS_MIDSTREAM:
            v.window = p.window
            v.next_win = v.last_ack + v.window
            c.wscale = v.wscale = WSCALE_MAX
        set_state(ss, f, TCP_ESTABLISHED)
        segment(t, ss, p, f)
        return 0
    if p.dir == TO_SERVER and p.seq == c.next_seq:
        ss.flags |= SS_EVASION
        return refuse(p, EV_STREAM__3WHS_RIGHT_SEQ_WRONG_ACK_EVASION)
    if p.dir == TO_CLIENT:
        if (lost or ss.flags & (SS_TFO | SS_MIDSTREAM_SYNACK)) and p.seq == v.next_seq \
                and p.ack == c.last_ack:
            v.next_seq = p.seq + p.payload_len
            set_state(ss, f, TCP_ESTABLISHED)
            segment(t, ss, p, f)
            return 0
        if not t.inline_mode and gt(p.ack, c.last_ack) and not lt(p.seq, v.next_seq):
            # more from the server: what lies between was missed
            take_timestamp(ss, p)
            take_ack(c, p.ack)
            missed(c, p.ack)
            v.next_seq = p.seq + p.payload_len
            take_window(c, p)
            c.next_win = c.last_ack + c.window
            v.next_win = v.last_ack + v.window
            set_state(ss, f, TCP_ESTABLISHED)
            segment(t, ss, p, f)
            return 0
    elif gt(p.seq, c.next_seq) and le(p.seq, c.next_win) and p.ack == v.next_seq:
        take_timestamp(ss, p)
        c.next_seq = p.seq + p.payload_len
        take_ack(v, p.ack)
        take_window(v, p)
        v.next_win = v.last_ack + v.window
        if ss.flags & SS_MIDSTREAM:
            c.window = p.window
            c.wscale = v.wscale = WSCALE_MAX
        set_state(ss, f, TCP_ESTABLISHED)
        segment(t, ss, p, f)
        return 0
    return refuse(p, EV_STREAM__3WHS_WRONG_SEQ_WRONG_ACK)


cdef void established_segment(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    """A plain segment of an open session.

    One that fails the checks is not taken into the stream, but it is no error of the session:
    hosts answer such segments with an ACK, and a retransmission must get that answer.
    """
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef uint32_t end = p.seq + p.payload_len
    if not (r.flags & SIDE_ZWP and p.ack == r.next_seq + 1) and not ack_ok(ss, r, p):
        event(p, EV_STREAM__EST_INVALID_ACK)
        return
    if p.dir == TO_CLIENT and ss.flags & SS_MIDSTREAM_EST:
        take_window(s, p)
        s.next_win = s.last_ack + s.window
        ss.flags &= ~<uint32_t>SS_MIDSTREAM_EST
    if p.payload_len <= 1 and p.seq == s.next_seq - 1:
        pass                              # keep-alive
    elif lt(end, s.last_ack):
        if ss.flags & SS_ASYNC:
            take_ack(s, p.seq)
        elif p.dir == TO_SERVER and t.async_oneside and ss.flags & SS_MIDSTREAM \
                and (p.seq == s.next_seq or s.last_ack == s.isn + 1):
            take_ack(s, p.seq)            # the other side is not seen and cannot acknowledge
            ss.flags |= SS_ASYNC
        elif not (gt(s.last_ack, s.next_seq) and gt(end, s.next_seq)):
            event(p, EV_STREAM__EST_PKT_BEFORE_LAST_ACK)
            return
    if p.payload_len == 1 and p.seq == s.next_seq and s.window == 0:
        s.flags |= SIDE_ZWP               # probe of a zero window
        segment(t, ss, p, f)
        return
    if not lt(end, s.next_seq):
        s.next_seq = end
    if gt(end, s.next_win) and not ss.flags & (SS_MIDSTREAM | SS_ASYNC):
        event(p, EV_STREAM__EST_PACKET_OUT_OF_WINDOW)
        return
    take_window(r, p)
    if p.tcp_flags & ACK:
        take_ack(r, p.ack)
        if gt(r.last_ack, r.next_seq) and not ss.flags & SS_ASYNC:
            t.ack_unseen += 1
    take_timestamp(ss, p)
    widen(r)
    segment(t, ss, p, f)


cdef int state_established(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    if p.tcp_flags & (RST | FIN | SYN | ACK) == ACK:
        if old_timestamp(ss, p):
            return -1
        if p.dir == TO_CLIENT:
            ss.flags |= SS_CONFIRMED
        established_segment(t, ss, p, f)
        return 0
    if p.tcp_flags & RST:
        if not reset_ok(ss, p):
            return -1
        take_window(s, p)
        if p.tcp_flags & ACK:
            r.next_seq = p.ack
        s.next_seq = p.seq + p.payload_len + (1 if p.dir == TO_CLIENT else 0)
        reset(t, ss, p, f)
        return 0
    if p.tcp_flags & FIN:
        if old_timestamp(ss, p):
            return -1
        return first_fin(t, ss, p, f)
    if p.tcp_flags & (SYN | ACK) == SYN | ACK:
        if p.dir == TO_SERVER:
            return refuse(p, EV_STREAM__EST_SYNACK_TOSERVER)
        if p.ack != r.last_ack:
            return refuse(p, EV_STREAM__EST_SYNACK_RESEND_WITH_DIFFERENT_ACK)
        if p.seq != s.isn:
            return refuse(p, EV_STREAM__EST_SYNACK_RESEND_WITH_DIFF_SEQ)
        if ss.flags & SS_CONFIRMED:
            return refuse(p, EV_STREAM__EST_SYNACK_RESEND)
        return 0                          # the handshake's last segment did not reach the server
    if p.tcp_flags & SYN:
        if p.dir == TO_CLIENT:
            return refuse(p, EV_STREAM__EST_SYN_TOCLIENT)
        if p.seq != s.isn:
            return refuse(p, EV_STREAM__EST_SYN_RESEND_DIFF_SEQ)
        return refuse(p, EV_STREAM__EST_SYN_RESEND)
    return 0
