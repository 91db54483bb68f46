# The states of a session that is closing. Included by stream.pyx; see stream_states.pxi.


cdef inline bint in_window(Session *ss, Side *s, uint32_t end) noexcept nogil:
    return le(end, s.next_win) or ss.flags & (SS_MIDSTREAM | SS_ASYNC)


cdef int first_fin(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    """A FIN while the session is open (or opening)."""
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef uint32_t end = p.seq + p.payload_len
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__FIN_INVALID_ACK)
    if lt(p.seq, s.last_ack) or gt(end, s.next_win):
        return refuse(p, EV_STREAM__FIN_OUT_OF_WINDOW)
    if p.tcp_flags & SYN and p.dir == TO_SERVER:
        return refuse(p, EV_STREAM__FIN_SYN)
    s.flags |= SIDE_FIN
    if p.dir == TO_SERVER:
        set_state(ss, f, TCP_CLOSE_WAIT)
        s.next_seq = end
    else:
        set_state(ss, f, TCP_FIN_WAIT1)
        s.next_seq = end + 1
    take_window(r, p)
    take_timestamp(ss, p)
    missed(r, p.ack)
    if p.tcp_flags & ACK:
        take_ack(r, p.ack)
    segment(t, ss, p, f)
    return 0


cdef int second_fin(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    """A FIN in FIN_WAIT1: of the other side (the close completes) or the first one again."""
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef bint with_ack = (p.tcp_flags & ACK) != 0
    cdef bint again = False
    if old_timestamp(ss, p):
        return -1
    if retransmitted(s, p):
        again = True
    elif p.dir == TO_CLIENT and with_ack and p.seq == s.next_seq - 1 and p.ack == r.last_ack:
        again = True
        p.flags |= PKT_RETRANSMISSION
    elif lt(p.seq, s.next_seq - 1) or gt(p.seq, s.last_ack + s.window):
        return refuse(p, EV_STREAM__FIN1_FIN_WRONG_SEQ)
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__FIN1_INVALID_ACK)
    take_timestamp(ss, p)
    if not again:
        s.flags |= SIDE_FIN
        set_state(ss, f, TCP_TIME_WAIT if with_ack else TCP_CLOSING)
        take_window(r, p)
    if not (again and with_ack and p.dir == TO_CLIENT):
        missed(r, p.ack)
        if s.next_seq == p.seq:
            s.next_seq = p.seq + p.payload_len
        if with_ack:
            take_ack(r, p.ack)
    segment(t, ss, p, f)
    return 0


cdef int state_fin_wait1(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef uint32_t end = p.seq + p.payload_len
    cdef uint32_t expected
    cdef bint again
    if p.tcp_flags & FIN:
        return second_fin(t, ss, p, f)
    if p.tcp_flags & SYN:
        return refuse(p, EV_STREAM__SHUTDOWN_SYN_RESEND)
    if old_timestamp(ss, p):
        return -1
    again = retransmitted(s, p)
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__FIN1_INVALID_ACK)
    # the server's next_seq counts its FIN
    expected = s.next_seq if p.dir == TO_SERVER else s.next_seq - 1
    if not again and (p.dir == TO_CLIENT or p.ack == r.next_seq):
        if not in_window(ss, s, end):
            return refuse(p, EV_STREAM__FIN1_ACK_WRONG_SEQ)
        if p.seq == expected:
            set_state(ss, f, TCP_FIN_WAIT2)
        take_window(r, p)
    take_timestamp(ss, p)
    missed(r, p.ack)
    if p.seq == expected and p.payload_len:
        s.next_seq = end
    take_ack(r, p.ack)
    widen(r)
    segment(t, ss, p, f)
    return 0


cdef int state_fin_wait2(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef bint again
    if p.tcp_flags & SYN and not p.tcp_flags & FIN:
        return refuse(p, EV_STREAM__SHUTDOWN_SYN_RESEND)
    if old_timestamp(ss, p):
        return -1
    if p.tcp_flags & FIN:
        again = p.seq == s.next_seq - 1 and p.ack == r.last_ack
        if again:
            p.flags |= PKT_RETRANSMISSION
        elif retransmitted(s, p):
            again = True
        elif lt(p.seq, s.next_seq) or gt(p.seq, s.last_ack + s.window):
            return refuse(p, EV_STREAM__FIN2_FIN_WRONG_SEQ)
        if not ack_ok(ss, r, p):
            return refuse(p, EV_STREAM__FIN2_INVALID_ACK)
        if not again:
            s.flags |= SIDE_FIN
            set_state(ss, f, TCP_TIME_WAIT)
            if p.dir == TO_SERVER and s.next_seq == p.seq:
                s.next_seq += p.payload_len
            take_window(r, p)
        take_timestamp(ss, p)
        missed(r, p.ack)
        if p.tcp_flags & ACK:
            take_ack(r, p.ack)
        segment(t, ss, p, f)
        return 0
    again = retransmitted(s, p)
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__FIN2_INVALID_ACK)
    if not again:
        if not in_window(ss, s, p.seq + p.payload_len):
            return refuse(p, EV_STREAM__FIN2_ACK_WRONG_SEQ)
        take_window(r, p)
    take_timestamp(ss, p)
    if s.next_seq == p.seq:
        s.next_seq += p.payload_len
    take_ack(r, p.ack)
    widen(r)
    segment(t, ss, p, f)
    return 0


cdef int state_closing(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef bint again
    if p.tcp_flags & SYN:
        return refuse(p, EV_STREAM__SHUTDOWN_SYN_RESEND)
    if not p.tcp_flags & ACK:
        return 0
    if old_timestamp(ss, p):
        return -1
    again = retransmitted(s, p)
    if p.seq != s.next_seq:
        return refuse(p, EV_STREAM__CLOSING_ACK_WRONG_SEQ)
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__CLOSING_INVALID_ACK)
    if not again:
        set_state(ss, f, TCP_TIME_WAIT)
        take_window(r, p)
    take_timestamp(ss, p)
    missed(r, p.ack)
    take_ack(r, p.ack)
    segment(t, ss, p, f)
    return 0


cdef int state_close_wait(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef uint32_t end = p.seq + p.payload_len
    cdef bint again
    if p.tcp_flags & SYN and not p.tcp_flags & FIN:
        return refuse(p, EV_STREAM__SHUTDOWN_SYN_RESEND)
    if old_timestamp(ss, p):
        return -1
    again = retransmitted(s, p)
    if p.tcp_flags & FIN:
        if not again and (lt(p.seq, s.next_seq) or gt(p.seq, s.last_ack + s.window)):
            return refuse(p, EV_STREAM__CLOSEWAIT_FIN_OUT_OF_WINDOW)
    elif p.payload_len and le(end, s.last_ack):
        return refuse(p, EV_STREAM__CLOSEWAIT_PKT_BEFORE_LAST_ACK)
    elif gt(p.seq, s.last_ack + s.window):
        return refuse(p, EV_STREAM__CLOSEWAIT_ACK_OUT_OF_WINDOW)
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__CLOSEWAIT_INVALID_ACK)
    if not again:
        take_window(r, p)
        if p.tcp_flags & FIN and p.dir == TO_CLIENT:
            s.flags |= SIDE_FIN
            set_state(ss, f, TCP_LAST_ACK)
    take_timestamp(ss, p)
    missed(r, p.ack)
    if not p.tcp_flags & FIN and p.seq == s.next_seq:
        s.next_seq += p.payload_len
    if p.tcp_flags & ACK:
        take_ack(r, p.ack)
    segment(t, ss, p, f)
    return 0


cdef int state_last_ack(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef bint again
    if p.tcp_flags & FIN:
        return 0
    if p.tcp_flags & SYN:
        return refuse(p, EV_STREAM__SHUTDOWN_SYN_RESEND)
    if old_timestamp(ss, p):
        return -1
    if p.dir == TO_CLIENT:
        return 0
    again = retransmitted(s, p)
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__LASTACK_INVALID_ACK)
    if not again:
        if lt(p.seq, s.next_seq):
            pass                          # older than the FIN
        elif p.seq != s.next_seq and p.seq != s.next_seq + 1:
            return refuse(p, EV_STREAM__LASTACK_ACK_WRONG_SEQ)
        else:
            set_state(ss, f, TCP_CLOSED)
        take_window(r, p)
    take_timestamp(ss, p)
    missed(r, p.ack)
    take_ack(r, p.ack)
    segment(t, ss, p, f)
    return 0


cdef int state_time_wait(Core *t, Session *ss, Packet *p, Flow *f) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef uint32_t low
    cdef bint again
    if p.tcp_flags & FIN:
        return 0
    if p.tcp_flags & SYN:
        return refuse(p, EV_STREAM__SHUTDOWN_SYN_RESEND)
    if old_timestamp(ss, p):
        return -1
    low = s.next_seq if p.dir == TO_SERVER else s.next_seq - 1
    again = retransmitted(s, p)
    if not again and p.seq != low and p.seq != low + 1:
        if p.dir == TO_CLIENT and p.payload_len and p.seq == s.last_ack:
            return 0
        return refuse(p, EV_STREAM__TIMEWAIT_ACK_WRONG_SEQ)
    if not ack_ok(ss, r, p):
        return refuse(p, EV_STREAM__TIMEWAIT_INVALID_ACK)
    if not again:
        set_state(ss, f, TCP_CLOSED)
        take_window(r, p)
    take_timestamp(ss, p)
    missed(r, p.ack)
    take_ack(r, p.ack)
    segment(t, ss, p, f)
    return 0


cdef int dispatch(Core *t, Session *ss, Packet *p, Flow *f, uint8_t state) noexcept nogil:
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    if state == TCP_ESTABLISHED:
        return state_established(t, ss, p, f)
    if state == TCP_SYN_SENT:
        return state_syn_sent(t, ss, p, f)
    if state == TCP_SYN_RECV:
        return state_syn_recv(t, ss, p, f)
    if state == TCP_CLOSED:
        if p.tcp_flags & RST or s.flags & SIDE_RST_RECV or not r.flags & SIDE_RST_RECV:
            return 0
        # the RST may have been injected by somebody else: see whether its sender goes on
        if dispatch(t, ss, p, f, ss.before) < 0:
            return -1
        if ss.state == TCP_CLOSED:
            set_state(ss, f, ss.before)
        return 0
    if p.tcp_flags & RST:
        if not reset_ok(ss, p):
            return -1
        reset(t, ss, p, f)
        return 0
    if not p.tcp_flags & (FIN | SYN | ACK):
        return 0
    if state == TCP_FIN_WAIT1:
        return state_fin_wait1(t, ss, p, f)
    if state == TCP_FIN_WAIT2:
        return state_fin_wait2(t, ss, p, f)
    if state == TCP_TIME_WAIT:
        return state_time_wait(t, ss, p, f)
    if state == TCP_LAST_ACK:
        return state_last_ack(t, ss, p, f)
    if state == TCP_CLOSE_WAIT:
        return state_close_wait(t, ss, p, f)
    if state == TCP_CLOSING:
        return state_closing(t, ss, p, f)
    return 0
