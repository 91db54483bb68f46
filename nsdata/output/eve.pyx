"""EVE JSON from the packet path's records: alert, drop and flow events.

`EveFormatter` turns an array of `Record` (nsdata/path/packet.pxd) and its arena into whole
lines in one growing buffer, without Python objects and without the GIL. The events that
come once a second or less (stats, fallback, ledger) are formatted in
`nsdata.output.events`.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from nsdata.output.fields cimport (
    link_name, put_counts, put_drop, put_ether, put_flow_event, put_header, put_tunnel,
    put_tuple, put_verdict,
)
from nsdata.output.jsontext cimport (
    base64_size, lit, nsd_fill, put_base64, put_bytes, put_printable, put_time, put_uint,
)
from nsdata.path.packet cimport (
    REC_ALERT, REC_DROP, REC_FLOW, RECF_BLOCKED, RECF_STREAM, RECF_TUNNEL, TO_SERVER, Record,
)

import numpy as np

from nsdata.errors import EngineError, SettingError

cdef enum:
    FIXED_ROOM = 4096         # everything in a line but the variable parts; tested to suffice

nsd_fill()

KINDS = {"alert": REC_ALERT, "drop": REC_DROP, "flow": REC_FLOW}


cdef class EveFormatter:
    """Formats records as EVE JSON lines into its own buffer.

    types: which of "alert", "drop", "flow" to write; others are skipped.
    payload: add payload (base64), payload_printable and stream to alerts.
    packet: add packet (base64) and packet_info to alerts.
    ethernet: add ether to alerts and drops of frames with an Ethernet header.

    Raises SettingError for an unknown type.
    """

    def __cinit__(self, types=("alert", "drop", "flow"), *, payload=False, packet=False,
                  ethernet=True):
        for name in types:
            if name not in KINDS:
                raise SettingError(
                    f"EVE type {name!r} is not one of the record types "
                    f"{', '.join(KINDS)}: choose among those"
                )
            self.kinds |= <uint32_t>1 << <uint32_t>KINDS[name]
        self.payload = payload
        self.packet = packet
        self.ethernet = ethernet

    def __dealloc__(self):
        free(self.buffer)
        free(self.fragments)
        free(self.fragment_at)
        free(self.tail)

    def set_rules(self, fragments):
        """Take the static inside of "alert" for each rule index of the rule image
        (`nsdata.output.events.rule_fragment`). Records of the image before must have
        been formatted already."""
        cdef size_t n = len(fragments)
        cdef size_t total = sum(len(f) for f in fragments)
        cdef size_t at = 0
        cdef size_t i
        cdef bytes raw
        cdef uint8_t *text = <uint8_t *>malloc(total + 1)
        cdef size_t *start = <size_t *>malloc((n + 1) * sizeof(size_t))
        if text == NULL or start == NULL:
            free(text)
            free(start)
            raise MemoryError("no memory for the rules' EVE texts")
        try:
            for i in range(n):
                raw = fragments[i]
                start[i] = at
                memcpy(text + at, <const char *>raw, len(raw))
                at += len(raw)
        except BaseException:
            free(text)
            free(start)
            raise
        start[n] = at
        free(self.fragments)
        free(self.fragment_at)
        self.fragments = text
        self.fragment_at = start
        self.n_rules = n

    def set_tail(self, bytes tail=b""):
        """Bytes put before the closing brace of every line: empty, or members each with a
        comma before it, e.g. `,"pcap_filename":"a.pcap"` (events.pcap_tail)."""
        cdef uint8_t *copy = NULL
        if len(tail):
            copy = <uint8_t *>malloc(len(tail))
            if copy == NULL:
                raise MemoryError("no memory for the EVE tail")
            memcpy(copy, <const char *>tail, len(tail))
        free(self.tail)
        self.tail = copy
        self.tail_len = len(tail)

    def take(self):
        """The lines formatted since the last take, as bytes; the buffer is empty after."""
        cdef bytes lines = (<char *>self.buffer)[:self.used] if self.used else b""
        self.used = 0
        return lines

    @property
    def counts(self):
        """Lines formatted so far, by type."""
        return {name: self.written[<size_t>kind] for name, kind in KINDS.items()}

    def format_array(self, records, const uint8_t[::1] arena=b""):
        """Format a numpy array of `record_dtype()`; lines stay in the buffer.

        Raises EngineError when a record points outside the arena, MemoryError.
        """
        cdef const uint8_t[::1] raw
        cdef const uint8_t *bytes_at = &arena[0] if arena.shape[0] else NULL
        cdef int rc
        cdef size_t n = len(records)
        if records.dtype != record_dtype():
            raise EngineError(
                "the array's dtype is not record_dtype(): make it with "
                "np.zeros(n, record_dtype()); np.concatenate repacks it"
            )
        if not n:
            return
        raw = np.require(records, requirements=['C', 'A']).view(np.uint8)
        with nogil:
            rc = self.format(<const Record *>&raw[0], n, bytes_at, <size_t>arena.shape[0])
        if rc == EVE_NO_MEMORY:
            raise MemoryError("no memory for EVE lines")
        if rc == EVE_BAD_RANGE:
            raise EngineError("a record's payload or packet lies outside the arena")

    cdef int reserve(self, size_t n) noexcept nogil:
        cdef size_t room = self.room if self.room else 65536
        cdef uint8_t *grown
        if self.room - self.used >= n:
            return 0
        while room - self.used < n:
            room *= 2
        grown = <uint8_t *>realloc(self.buffer, room)
        if grown == NULL:
            return EVE_NO_MEMORY
        self.buffer = grown
        self.room = room
        return 0

    cdef uint8_t *put_rule(self, uint8_t *p, const Record *r) noexcept nogil:
        cdef size_t start, end
        p = lit(p, b',"alert":{"action":')
        if r.flags & RECF_BLOCKED or r.kind == REC_DROP:
            p = lit(p, b'"blocked"')
        else:
            p = lit(p, b'"allowed"')
        if r.rule < self.n_rules:
            start = self.fragment_at[r.rule]
            end = self.fragment_at[r.rule + 1]
            if end > start:
                p = lit(p, b",")
                p = put_bytes(p, self.fragments + start, end - start)
        return lit(p, b"}")

    cdef int one(self, const Record *r, const uint8_t *arena,
                 size_t arena_len) noexcept nogil:
        """One record, one line (or none, if its kind is not selected)."""
        cdef size_t payload_len = 0
        cdef size_t packet_len = 0
        cdef size_t need = FIXED_ROOM + self.tail_len
        cdef int rc = 0
        cdef uint8_t *p
        if r.kind > REC_FLOW or not self.kinds >> r.kind & 1:
            return 0
        if r.kind == REC_ALERT:
            if self.payload:
                payload_len = r.payload_len
                if <size_t>r.payload_off + payload_len > arena_len:
                    payload_len = 0
                    rc = EVE_BAD_RANGE
                need += base64_size(payload_len) + 2 * payload_len
            if self.packet:
                packet_len = r.packet_len
                if <size_t>r.packet_off + packet_len > arena_len:
                    packet_len = 0
                    rc = EVE_BAD_RANGE
                need += base64_size(packet_len)
        if r.rule < self.n_rules:
            need += self.fragment_at[r.rule + 1] - self.fragment_at[r.rule]
        if self.reserve(need) < 0:
            return EVE_NO_MEMORY
        p = put_header(self.buffer + self.used, r)
        if r.kind == REC_FLOW:
            p = put_flow_event(p, r)
        else:
            if self.ethernet and r.has_eth:
                p = put_ether(p, r)
            if r.kind == REC_DROP:
                p = put_drop(p, r)
            if r.kind == REC_ALERT or r.rule < self.n_rules:
                p = self.put_rule(p, r)
            if r.flags & RECF_TUNNEL and r.outer_version:
                p = put_tunnel(p, r)
            if r.flow_id:
                if r.dir == TO_SERVER:
                    p = lit(p, b',"direction":"to_server"')
                else:
                    p = lit(p, b',"direction":"to_client"')
                if r.kind == REC_ALERT:
                    p = put_counts(p, r)
                    if r.ip_version:
                        p = lit(p, b",")
                        p = put_tuple(p, r.ip_version, r.proto, r.flow_src, r.flow_dst,
                                      r.flow_sport, r.flow_dport)
                    p = lit(p, b"}")
            if r.kind == REC_ALERT and self.payload:
                p = lit(p, b',"payload":"')
                if payload_len:
                    p = put_base64(p, arena + r.payload_off, payload_len)
                p = lit(p, b'","payload_printable":"')
                if payload_len:
                    p = put_printable(p, arena + r.payload_off, payload_len)
                if r.flags & RECF_STREAM:
                    p = lit(p, b'","stream":1')
                else:
                    p = lit(p, b'","stream":0')
            if r.kind == REC_ALERT and self.packet:
                p = lit(p, b',"packet":"')
                if packet_len:
                    p = put_base64(p, arena + r.packet_off, packet_len)
                p = lit(p, b'","packet_info":{"linktype":')
                p = put_uint(p, r.linktype)
                p = lit(p, b',"linktype_name":"')
                p = lit(p, link_name(r.linktype))
                p = lit(p, b'"}')
            p = put_verdict(p, r)
        if self.tail_len:
            p = put_bytes(p, self.tail, self.tail_len)
        p = lit(p, b"}\n")
        self.used = <size_t>(p - self.buffer)
        self.written[r.kind] += 1
        return rc

    cdef int format(self, const Record *records, size_t n,
                    const uint8_t *arena, size_t arena_len) noexcept nogil:
        """Append one line per selected record. 0, EVE_NO_MEMORY (stopped there) or
        EVE_BAD_RANGE (went on, without the bytes of the records concerned)."""
        cdef size_t i
        cdef int rc, worst = 0
        for i in range(n):
            rc = self.one(&records[i], arena, arena_len)
            if rc == EVE_NO_MEMORY:
                return rc
            if rc < 0:
                worst = rc
        return worst


cdef object DTYPE = None


def record_dtype():
    """numpy dtype of struct Record, offsets and all, as the C compiler laid it out."""
    global DTYPE
    cdef Record empty
    cdef Record[::1] view
    if DTYPE is None:
        view = <Record[:1]>&empty
        DTYPE = np.asarray(view).dtype
        assert DTYPE.itemsize == sizeof(Record)
        assert DTYPE.fields["policy"][1] == <char *>&empty.policy - <char *>&empty
    return DTYPE


def format_records(records, arena=b"", rules=(), *, types=("alert", "drop", "flow"),
                   payload=True, packet=True, ethernet=True, tail=b""):
    """EVE lines of a numpy array of `record_dtype()`: for tests and for looking closely.

    rules: fragments by rule index. Returns bytes, one line per record.
    """
    formatter = EveFormatter(types, payload=payload, packet=packet, ethernet=ethernet)
    formatter.set_rules(list(rules))
    formatter.set_tail(tail)
    formatter.format_array(records, arena)
    return formatter.take()


def format_time(ts_ns):
    """EVE's timestamp of ns since the epoch: 2013-05-28T12:13:27.123456+0000."""
    cdef uint8_t text[32]
    cdef uint8_t *end = put_time(text, <uint64_t>ts_ns)
    return (<char *>text)[:end - text].decode("ascii")
