# The door for tests and for trying things out. Included by stream.pyx.

from nsdata.path.events import event_names

_EVENTS = {number: name for name, number in event_names().items()}
_FLAGS = (
    ("added", PKT_STREAM_ADDED), ("established", PKT_ESTABLISHED), ("eof", PKT_STREAM_EOF),
    ("gap", PKT_STREAM_GAP), ("retransmission", PKT_RETRANSMISSION),
    ("out_of_state", PKT_OUT_OF_STATE), ("refused", PKT_MIDSTREAM_REFUSED),
    ("no_payload", PKT_NO_PAYLOAD_INSPECT),
)


cdef class Conversation:
    """One TCP flow, fed segment by segment; tells what the stage made of each.

    Takes a StreamTracker (several conversations may share it) and the two ports.
    """

    cdef StreamTracker tracker
    cdef Flow flow

    def __cinit__(self, StreamTracker tracker=None, *, sport=40000, dport=80):
        self.tracker = StreamTracker() if tracker is None else tracker
        memset(&self.flow, 0, sizeof(Flow))
        self.flow.proto = 6
        self.flow.ip_version = 4
        self.flow.state = FLOW_NEW
        self.flow.src[3] = 1
        self.flow.dst[3] = 2
        self.flow.sport = sport
        self.flow.dport = dport

    def __dealloc__(self):
        if self.tracker is not None:
            self.tracker.free(&self.flow)

    def feed(
        self, int dir, flags, seq, ack=0, bytes payload=b"", *, ts=0, window=65535, wscale=None,
        tsval=None, tsecr=0, bytes options=b"", bad_checksum=False, inspect=True, more=True,
    ) -> dict:
        """Give it a segment: dir 0 is from the side that opened; flags as "SA", "PA", ...

        Returns state, flow_state, dir, events, flags (names), ports (of the flow) and due: a
        list of (offset of the first new byte, context bytes, new bytes).
        """
        cdef Packet p
        cdef Flow *f = &self.flow
        cdef bytes header
        memset(&p, 0, sizeof(Packet))
        header = bytes(20) + options
        p.proto = 6
        p.ip_version = 4
        p.l4 = header
        p.l4_len = len(header) + len(payload)
        p.l4_hlen = len(header)
        p.payload = payload
        p.payload_len = len(payload)
        for letter in flags:
            p.tcp_flags |= 1 << "FSRPAUEC".index(letter)
        p.seq = seq & 0xFFFFFFFF
        p.ack = ack & 0xFFFFFFFF
        p.window = window
        p.wscale = 0xFF if wscale is None else wscale
        p.has_tsopt = tsval is not None
        p.tsval = (tsval or 0) & 0xFFFFFFFF
        p.tsecr = tsecr & 0xFFFFFFFF
        p.ts_ns = p.now_ns = int(ts * 1_000_000_000)
        p.dir = dir
        p.sport, p.dport = (f.sport, f.dport) if dir == 0 else (f.dport, f.sport)
        p.wirelen = 54 + len(payload)
        if bad_checksum:
            p.flags |= PKT_BAD_L4_CSUM
        f.packets[dir] += 1
        f.last_ns = p.ts_ns
        self.tracker.packet(&p, f)
        due = []
        while p.stream_data != NULL:
            due.append(taken(&p))
            if not inspect:
                break
            self.tracker.inspected(&p, f)
            if not more or not self.tracker.more(&p, f):
                break
        return {
            "state": STATE_NAMES[f.tcp_state],
            "flow_state": ("free", "new", "established", "closed")[f.state],
            "established": bool(f.flags & FLOW_ESTABLISHED),
            "midstream": bool(f.flags & FLOW_MIDSTREAM),
            "dir": p.dir,
            "bytes": (f.stream_bytes[0], f.stream_bytes[1]),
            "ports": (f.sport, f.dport),
            "events": {
                _EVENTS[n].removeprefix("stream.")
                for n in range(EV_COUNT) if p.events[n >> 6] >> (n & 63) & 1
            },
            "flags": {name for name, bit in _FLAGS if p.flags & bit},
            "due": due,
        }

    def flush(self, int dir) -> list:
        """What was not inspected when the flow ends: (offset, context, new) per run."""
        cdef Packet p
        result = []
        while self.tracker.flush(&self.flow, dir, &p):
            result.append(taken(&p))
            self.tracker.inspected(&p, &self.flow)
        return result

    def set_policy(self, int dir, str name) -> None:
        """What the host that receives direction dir does with overlaps."""
        if self.flow.tcp != NULL:
            (<Session *>self.flow.tcp).side[dir].policy = POLICIES.index(name)

    def mark(self, int flags) -> None:
        """Set FlowFlag bits, as detect would."""
        self.flow.flags |= flags

    def close(self) -> None:
        """Give the session's memory back."""
        self.tracker.free(&self.flow)


cdef taken(const Packet *p):
    data = (<const char *>p.stream_data)[:p.stream_len]
    return (p.stream_off + p.stream_new, data[:p.stream_new], data[p.stream_new:])


def drive(StreamTracker tracker, int segments, int size, int rounds=1) -> None:
    """Feed `rounds` sessions of in-order segments with their acknowledgments: for measuring."""
    cdef Flow f
    cdef Packet p, a
    cdef int i, k
    cdef uint8_t *payload = <uint8_t *>malloc(size)
    if payload == NULL:
        raise MemoryError
    memset(payload, 0x41, size)
    with nogil:
        for k in range(rounds):
            memset(&f, 0, sizeof(Flow))
            f.proto = 6
            f.ip_version = 4
            for i in range(segments + 3):
                memset(&p, 0, sizeof(Packet))
                p.proto = 6
                p.wscale = 0xFF
                p.window = 65535
                p.ts_ns = p.now_ns = <uint64_t>i * 1000000
                if i == 0:
                    p.tcp_flags = SYN
                    p.seq = 999
                elif i == 1:
                    p.tcp_flags = SYN | ACK
                    p.dir = TO_CLIENT
                    p.seq = 4999
                    p.ack = 1000
                else:
                    p.tcp_flags = ACK
                    p.ack = 5000
                    p.seq = 1000 + <uint32_t>(i - 3) * <uint32_t>size if i > 2 else 1000
                    if i > 2:
                        p.payload = payload
                        p.payload_len = size
                tracker.packet(&p, &f)
                if p.stream_data != NULL:
                    tracker.inspected(&p, &f)
                if i > 2 and i & 1:
                    memset(&a, 0, sizeof(Packet))
                    a.proto = 6
                    a.wscale = 0xFF
                    a.window = 65535
                    a.dir = TO_CLIENT
                    a.tcp_flags = ACK
                    a.seq = 5000
                    a.ack = 1000 + <uint32_t>(i - 2) * <uint32_t>size
                    tracker.packet(&a, &f)
            tracker.free(&f)
    c_free(payload)
