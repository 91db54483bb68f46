# cython: language_level=3
"""TCP: the session state table and in-order reassembly (RFC 9293, RFC 7323).

`packet` judges a segment as the receiving host would, moves the session's state and takes the
payload into the stream of the side that sent it; then it hands over (Packet.stream_*) what is
due for inspection in that direction. `inspected` follows when detect is done with it.

What is due. Watching (not inline), only bytes the peer acknowledged, because only those are
known to have arrived: in chunks of at least `toserver_chunk` / `toclient_chunk` bytes, or
whatever there is once the session is closing. Inline, every byte with the packet that makes it
contiguous, before it goes on. Some bytes of context come before the new ones, so that a pattern
across the border is found. `flush` gives what is left when the flow ends.

Where a later stage attaches: parsers of HTTP, DNS and TLS need just these bytes, contiguous and
acknowledged, per direction and without the chunks: `Side.right` and `Side.last_ack` say how far
they reach after `segment`, and such a parser keeps a mark of its own beside `Side.inspected`.

Parts, all compiled into this module: stream_session (structures, checks), stream_buffer
(memory, overlaps, holes), stream_clear (what needs no search), stream_handshake, stream_states,
stream_closing, stream_door (tests).
"""

from libc.stdint cimport int32_t, int64_t, uint16_t
from libc.stdlib cimport free as c_free, malloc
from libc.string cimport memcmp, memcpy, memmove, memset

from nsdata.path.events cimport *
from nsdata.path.packet cimport (
    FLOW_BYPASS, FLOW_CLOSED, FLOW_DROP, FLOW_EST, FLOW_ESTABLISHED, FLOW_IPONLY_TC,
    FLOW_IPONLY_TS, FLOW_MIDSTREAM, FLOW_NEW, FLOW_NO_PAYLOAD, FLOW_PASS, FLOW_SEEN_TC,
    FLOW_SEEN_TS, MAX_VLAN, NO_FLOW, PKT_BAD_L4_CSUM, PKT_CLEAR, PKT_ESTABLISHED,
    PKT_MIDSTREAM_REFUSED, PKT_STREAM_CLEAR,
    PKT_NO_PAYLOAD_INSPECT, PKT_OUT_OF_STATE, PKT_PSEUDO, PKT_RETRANSMISSION, PKT_STREAM_ADDED,
    PKT_STREAM_EOF, PKT_STREAM_GAP, TCP_CLOSED, TCP_CLOSE_WAIT, TCP_CLOSING, TCP_ESTABLISHED,
    TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_LAST_ACK, TCP_SYN_RECV, TCP_SYN_SENT,
    TCP_TIME_WAIT, TO_CLIENT, TO_SERVER,
)

from nsdata.path.prefilter cimport Prefilter, filter_hit

# EVE's tcp.state, by TcpState
STATE_NAMES = (
    "none", "syn_sent", "syn_recv", "established", "fin_wait1", "fin_wait2", "time_wait",
    "last_ack", "close_wait", "closing", "closed",
)

include "stream_session.pxi"
include "stream_clear.pxi"
include "stream_buffer.pxi"
include "stream_handshake.pxi"
include "stream_states.pxi"
include "stream_closing.pxi"


cdef enum Look:
    LOOK_ON = 0                   # the state table decides
    LOOK_DONE = 1                 # nothing in it concerns the session


cdef Look bare(Session *ss, Packet *p) noexcept nogil:
    """Segments without (much) payload that mean something beside the state table."""
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef uint32_t window = <uint32_t>p.window << r.wscale
    cdef bint probed, shut
    if p.payload_len <= 1 and p.ack == r.last_ack and p.seq == s.next_seq - 1:
        s.flags |= SIDE_KEEPALIVE
        return LOOK_DONE
    if r.flags & SIDE_KEEPALIVE and p.payload_len == 0 and p.window and window == r.window \
            and p.ack == r.last_ack and p.seq == s.next_seq:
        r.flags &= ~<uint8_t>SIDE_KEEPALIVE
        s.flags &= ~<uint8_t>SIDE_KEEPALIVE
        return LOOK_DONE
    s.flags &= ~<uint8_t>SIDE_KEEPALIVE
    probed = (r.flags & SIDE_ZWP) != 0
    if p.payload_len:
        return LOOK_ON
    if probed and ss.state >= TCP_ESTABLISHED and p.window == 0 and r.window == 0 \
            and p.seq == s.next_seq and p.ack == r.last_ack:
        r.flags &= ~<uint8_t>SIDE_ZWP
        return LOOK_DONE
    if ss.state < TCP_ESTABLISHED:
        return LOOK_ON
    shut = (
        (ss.state == TCP_TIME_WAIT or ss.state == TCP_CLOSE_WAIT or ss.state == TCP_LAST_ACK)
        and p.seq == s.next_seq + 1 and p.ack == r.next_seq + 1
    )
    # an ACK that later ones have overtaken
    if not shut and p.seq == s.next_seq and lt(p.ack, r.last_ack) and p.tcp_flags & ACK:
        return LOOK_DONE
    return LOOK_ON


cdef bint shrinks_window(Session *ss, Packet *p) noexcept nogil:
    """A window update nobody can expect: it acknowledges unseen bytes, from unseen bytes on,
    and shrinks the window by more than those bytes explain. Taken, it would make the segments
    that do come look out of window."""
    cdef Side *s = &ss.side[p.dir]
    cdef Side *r = &ss.side[p.dir ^ 1]
    cdef uint32_t window = <uint32_t>p.window << r.wscale
    cdef uint32_t less, more
    if window >= r.window or ss.state < TCP_ESTABLISHED or ss.state == TCP_CLOSED:
        return False
    less = r.window - window
    if less <= p.payload_len or not gt(p.ack, r.next_seq) or not gt(p.seq, s.next_seq):
        return False
    more = p.ack - r.last_ack
    if window > 1024:
        more += 32
    if less <= more:
        return False
    event(p, EV_STREAM__PKT_BAD_WINDOW_UPDATE)
    return True


cdef int spurious(Core *t, Session *ss, Packet *p) noexcept nogil:
    """0: no; 1: payload the peer acknowledged before; 2: ... and it is done with here, too."""
    cdef Side *s = &ss.side[p.dir]
    cdef uint32_t end = p.seq + p.payload_len
    cdef uint64_t done
    if gt(end, s.last_ack) or ss.state < TCP_ESTABLISHED:
        return 0
    event(p, EV_STREAM__PKT_SPURIOUS_RETRANSMISSION)
    p.flags |= PKT_RETRANSMISSION
    if s.flags & SIDE_DEPTH:
        return 1
    done = kept_from(t, s) if t.inline_mode else s.inspected
    return 2 if offset_of(s, end) <= <int64_t>done else 1


cdef class StreamTracker:
    """Tracks TCP sessions and reassembles their streams.

    inline: the engine sits in the path (see the module). toserver_chunk, toclient_chunk,
    overlap: bytes, see the module. depth: bytes reassembled per direction, 0 without limit.
    memcap: bytes for all sessions; above it segments are not stored and counted.
    max_segments: out-of-order segments kept per direction (at most 2048).
    midstream: pick sessions up without their handshake. async_oneside: one direction alone may
    be seen. ignore_bad_checksum: leave segments with PKT_BAD_L4_CSUM alone. policy: what the
    receiving hosts do with overlaps, one of POLICIES; inline the first copy always stays.
    Raises ValueError on a value out of range.
    """

    def __cinit__(
        self, *, inline=False, toserver_chunk=2560, toclient_chunk=2560, overlap=256,
        depth=1 << 20, memcap=64 << 20, midstream=False, async_oneside=False,
        ignore_bad_checksum=True, policy="bsd", max_segments=1024,
    ):
        memset(&self.core, 0, sizeof(Core))
        if policy not in POLICIES:
            raise ValueError(f"unknown overlap policy {policy!r}; one of {', '.join(POLICIES)}")
        if not (0 < toserver_chunk < 1 << 24 and 0 < toclient_chunk < 1 << 24):
            raise ValueError("stream chunk sizes must be between 1 and 16 MiB")
        if not 0 <= overlap < 1 << 24 or not 0 <= depth < 1 << 40 or not 0 <= memcap < 1 << 48:
            raise ValueError("stream overlap, depth or memcap out of range")
        if not 1 <= max_segments <= 2048:
            raise ValueError("max_segments must be between 1 and 2048")
        self.core.inline_mode = inline
        self.core.chunk[0] = toserver_chunk
        self.core.chunk[1] = toclient_chunk
        self.core.overlap = overlap
        self.core.depth = depth
        self.core.memcap = memcap
        self.core.midstream = midstream
        self.core.async_oneside = async_oneside
        self.core.ignore_bad_checksum = ignore_bad_checksum
        self.core.policy = POLICIES.index(policy)
        self.core.max_segments = max_segments
        self.core.scratch = <uint8_t *>malloc(65536)
        if self.core.scratch == NULL:
            raise MemoryError

    def __dealloc__(self):
        cdef int i
        cdef void *block
        for i in range(POOL_CLASSES):
            while self.core.spare[i] != NULL:
                block = self.core.spare[i]
                self.core.spare[i] = (<void **>block)[0]
                c_free(block)
        c_free(self.core.scratch)

    cdef object set_filter(self, Prefilter prefilter):
        """Packets with PKT_CLEAR were searched with this table (None: there are none). What
        streams hold by now counts as not searched."""
        self.prefilter = prefilter
        self.core.filter = NULL if prefilter is None else &prefilter.filter
        self.core.epoch += 1

    cdef void packet(self, Packet *p, Flow *f) noexcept nogil:
        """Judge a TCP segment of flow f; sets p.flags, p.events, p.stream_*, and f's state."""
        cdef Core *t = &self.core
        cdef Session *ss
        cdef Side *s
        cdef int ok = 0, again
        p.stream_data = NULL
        p.stream_len = p.stream_new = 0
        p.stream_off = 0
        if p.proto != 6 or f.proto != 6:
            return
        if p.flags & PKT_BAD_L4_CSUM and t.ignore_bad_checksum:
            t.bad_checksum += 1
            return
        ss = <Session *>f.tcp
        if f.tcp_state >= TCP_ESTABLISHED:
            p.flags |= PKT_ESTABLISHED
        if p.ack and not p.tcp_flags & ACK:
            event(p, EV_STREAM__PKT_BROKEN_ACK)
        if ss == NULL:
            if first_packet(t, p, f) < 0:
                t.out_of_state += 1
                p.flags |= PKT_OUT_OF_STATE
            ss = <Session *>f.tcp
            if ss == NULL:
                return
        else:
            ss.seen |= <uint8_t>(1 << p.dir)
            if ss.flags & SS_ASYNC and ss.seen == 3:
                ss.flags &= ~<uint32_t>SS_ASYNC
            again = LOOK_ON
            if not p.tcp_flags & (SYN | FIN | RST):
                if p.payload_len <= 1:
                    again = bare(ss, p)
                elif ss.side[p.dir].flags & SIDE_KEEPALIVE:
                    ss.side[p.dir].flags &= ~<uint8_t>SIDE_KEEPALIVE
                if again == LOOK_ON and shrinks_window(ss, p):
                    again = LOOK_DONE
            if again == LOOK_ON and p.payload_len and spurious(t, ss, p) == 2:
                again = LOOK_DONE
            if again == LOOK_ON:
                ok = dispatch(t, ss, p, f, ss.state)
                ss.side[p.dir ^ 1].flags &= ~<uint8_t>SIDE_ZWP
            if ok < 0:
                t.out_of_state += 1
                p.flags |= PKT_OUT_OF_STATE
            elif ss.side[p.dir ^ 1].flags & SIDE_RST_RECV and not p.tcp_flags & RST:
                # whoever sent that RST goes on as if it had not: it came from somebody else
                ss.side[p.dir ^ 1].flags &= ~<uint8_t>SIDE_RST_RECV
                ss.flags &= ~<uint32_t>SS_CLOSED_BY_RST
                event(p, EV_STREAM__SUSPECTED_RST_INJECT)
        f.stream_bytes[0] = ss.side[0].next_seq - ss.side[0].isn
        f.stream_bytes[1] = ss.side[1].next_seq - ss.side[1].isn
        s = &ss.side[p.dir]
        if s.flags & SIDE_FIN or ss.state == TCP_CLOSED:
            p.flags |= PKT_STREAM_EOF
        if s.flags & SIDE_DEPTH and ss.side[p.dir ^ 1].flags & SIDE_DEPTH:
            f.flags |= FLOW_NO_PAYLOAD
        if s.right > s.inspected or s.waiting:
            due(t, ss, s, p)

    cdef void inspected(self, Packet *p, Flow *f) noexcept nogil:
        """Detect is done with p.stream_data; it is no longer valid."""
        cdef Session *ss = <Session *>f.tcp
        cdef Side *s
        if ss == NULL or p.stream_data == NULL:
            return
        s = &ss.side[p.dir]
        if s.delivered > s.inspected:
            s.inspected = s.delivered if s.delivered < s.right else s.right
            s.flags &= ~<uint8_t>SIDE_AFTER_GAP
        p.stream_data = NULL
        p.stream_len = p.stream_new = 0
        if s.inspected == s.right and s.waiting == 0 and (
            s.flags & SIDE_DEPTH or ss.state == TCP_CLOSED
        ):
            drop_bytes(&self.core, s)

    cdef bint more(self, Packet *p, Flow *f) noexcept nogil:
        """After `inspected`: whether more is due now, behind a hole; then p.stream_* are set."""
        cdef Session *ss = <Session *>f.tcp
        cdef Side *s
        if ss == NULL:
            return False
        s = &ss.side[p.dir]
        if s.right <= s.inspected and s.waiting == 0:
            return False
        return due(&self.core, ss, s, p)

    cdef bint flush(self, Flow *f, int dir, Packet *pseudo) noexcept nogil:
        """Fill pseudo with the next run of bytes not inspected; False when there is none.

        Call until False: every hole starts another run. Holes skipped here are no gaps: the
        bytes may just not have been sent yet. What was handed over before counts as inspected.
        """
        cdef Session *ss = <Session *>f.tcp
        cdef Side *s
        cdef int i
        if ss == NULL or f.flags & (FLOW_BYPASS | FLOW_PASS | FLOW_DROP):
            return False
        s = &ss.side[dir & 1]
        if s.delivered > s.inspected and s.delivered <= s.right:
            s.inspected = s.delivered
            s.flags &= ~<uint8_t>SIDE_AFTER_GAP
        if s.inspected >= s.right and not jump(&self.core, s):
            return False
        memset(pseudo, 0, sizeof(Packet))
        pseudo.ts_ns = f.last_ns
        pseudo.now_ns = f.seen_ns
        pseudo.ip_version = f.ip_version
        pseudo.proto = f.proto
        pseudo.layer = f.layer
        pseudo.wscale = 0xFF
        pseudo.flags = PKT_PSEUDO | PKT_ESTABLISHED | PKT_STREAM_EOF
        pseudo.dir = <uint8_t>(dir & 1)
        pseudo.flow = NO_FLOW
        for i in range(MAX_VLAN):
            pseudo.vlan[i] = f.vlan[i]
            if f.vlan[i]:
                pseudo.n_vlan = <uint8_t>(i + 1)
        if dir & 1 == TO_SERVER:
            memcpy(pseudo.src, f.src, 16)
            memcpy(pseudo.dst, f.dst, 16)
            pseudo.sport = f.sport
            pseudo.dport = f.dport
        else:
            memcpy(pseudo.src, f.dst, 16)
            memcpy(pseudo.dst, f.src, 16)
            pseudo.sport = f.dport
            pseudo.dport = f.sport
        return hand_over(&self.core, s, pseudo, s.right)

    cdef void free(self, Flow *f) noexcept nogil:
        """Give everything f's session holds back."""
        cdef Session *ss = <Session *>f.tcp
        if ss == NULL:
            return
        f.tcp = NULL
        drop_bytes(&self.core, &ss.side[0])
        drop_bytes(&self.core, &ss.side[1])
        drop_offers(&self.core, ss)
        give(&self.core, ss, sizeof(Session))
        self.core.active -= 1

    def stats(self) -> dict:
        """Counters in Suricata's names where it has one; sizes in bytes."""
        cdef Core *t = &self.core
        return {
            "sessions": t.sessions,
            "active": t.active,
            "midstream_pickups": t.midstream_pickups,
            "midstream_refused": t.midstream_refused,
            "ssn_memcap_drop": t.session_memcap,
            "segments": t.segments,
            "segment_memcap_drop": t.segment_memcap,
            "segment_limit_drop": t.segment_limit,
            "reassembly_gap": t.gaps,
            "overlap": t.overlaps,
            "overlap_diff_data": t.overlaps_different,
            "stream_depth_reached": t.depth_reached,
            "invalid_checksum": t.bad_checksum,
            "out_of_state": t.out_of_state,
            "ack_unseen_data": t.ack_unseen,
            "chunks": t.chunks,
            "inspected": t.chunk_bytes,
            "memuse": t.memuse,
            "memuse_peak": t.memuse_peak,
            "memory_held": t.held,
            "seams": t.seams,
            "seam_hits": t.seam_hits,
        }


include "stream_door.pxi"
