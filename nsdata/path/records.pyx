"""What the path tells the output.

The engine writes Records into a ring that is drained once per call; it stops taking frames
while fewer than RECORD_RESERVE records or ARENA_RESERVE bytes are free, so nothing that one
frame can cause is ever lost.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

import numpy as np

from nsdata.path.packet cimport *

cdef enum:
    LINKTYPE_RAW = 12         # what EVE calls a datagram taken out of its frame


cdef class Records:
    """The ring. `keep_payload` and `keep_packet` say whether alerts carry
    bytes, `max_payload` how many of the payload."""

    def __cinit__(self, bint keep_payload=True, bint keep_packet=True,
                  uint32_t max_payload=4096):
        cdef size_t address
        # owned by numpy, so that a view outlives the ring
        self._items = np.zeros(RECORDS * sizeof(Record), np.uint8)
        self._arena = np.zeros(ARENA, np.uint8)
        address = self._items.ctypes.data
        self.items = <Record *> address
        address = self._arena.ctypes.data
        self.arena = <uint8_t *> address
        self.keep_payload = keep_payload
        self.keep_packet = keep_packet
        self.max_payload = min(max_payload, <uint32_t> 65536)
        self.clear()

    cdef void clear(self) noexcept nogil:
        self.n = 0
        self.used = 0
        self.last_frame = NULL

    cdef bint room(self) noexcept nogil:
        return self.n + RECORD_RESERVE <= RECORDS and self.used + ARENA_RESERVE <= ARENA

    def view(self) -> tuple:
        """(records, arena) as memoryviews of bytes, valid until the next `process` call."""
        return (memoryview(self._items[:self.n * sizeof(Record)]),
                memoryview(self._arena[:self.used]))

    cdef bint _store(self, const uint8_t *data, uint32_t length, uint32_t *at) noexcept nogil:
        if data == NULL or length == 0:
            return False
        if self.used + length > ARENA:
            self.clipped += 1
            return False
        at[0] = <uint32_t> self.used
        memcpy(self.arena + self.used, data, length)
        self.used += length
        return True

    cdef Record *packet(self, uint8_t kind, const Packet *p, const Flow *f,
                        const Packet *outer) noexcept nogil:
        """A record that speaks of packet p (in flow f, carried by outer); NULL: ring full."""
        cdef Record *r
        cdef int k
        if self.n >= RECORDS:
            self.overflowed += 1
            return NULL
        r = &self.items[self.n]
        self.n += 1
        memset(r, 0, sizeof(Record))
        r.kind = kind
        r.rule = NO_RULE
        r.ip_version = p.ip_version
        r.proto = p.proto
        r.ts_ns = p.ts_ns
        r.frame_no = p.frame_no
        r.sport = p.sport
        r.dport = p.dport
        memcpy(r.src, p.src, 16)
        memcpy(r.dst, p.dst, 16)
        r.tunnel = p.tunnel
        r.icmp_type = p.icmp_type
        r.icmp_code = p.icmp_code
        r.dir = p.dir
        r.n_vlan = p.n_vlan
        for k in range(MAX_VLAN):
            r.vlan[k] = p.vlan[k]
        r.linktype = p.linktype
        if p.ip_version and (p.layer or (p.flags & PKT_REBUILT and p.link_len == 0)
                             ) and p.linktype != 228 and p.linktype != 229:
            r.linktype = LINKTYPE_RAW
        if p.eth != NULL:
            memcpy(r.eth, p.eth, 12)
            r.has_eth = 1
        r.ttl = p.ttl
        r.tos = p.tos
        r.tcp_flags = p.tcp_flags
        r.window = p.window
        r.seq = p.seq
        r.ack = p.ack
        r.ip_id = p.ip_id
        r.ip_len = p.ip_len
        if p.flags & PKT_PSEUDO:
            r.flags |= RECF_PSEUDO
        if p.flags & PKT_REBUILT:
            r.flags |= RECF_REBUILT
        if p.flags & PKT_ESTABLISHED:
            r.flags |= RECF_ESTABLISHED
        if outer != NULL:
            r.flags |= RECF_TUNNEL
            memcpy(r.outer_src, outer.src, 16)
            memcpy(r.outer_dst, outer.dst, 16)
            r.outer_sport = outer.sport
            r.outer_dport = outer.dport
            r.outer_proto = outer.proto
            r.outer_version = outer.ip_version
            r.outer_depth = p.layer
        if f != NULL:
            self._of_flow(r, f)
        return r

    cdef void _of_flow(self, Record *r, const Flow *f) noexcept nogil:
        r.flow_id = f.id
        r.flow_first_ns = f.first_ns
        r.flow_last_ns = f.last_ns
        r.flow_packets[0] = f.packets[0]
        r.flow_packets[1] = f.packets[1]
        r.flow_bytes[0] = f.bytes[0]
        r.flow_bytes[1] = f.bytes[1]
        memcpy(r.flow_src, f.src, 16)
        memcpy(r.flow_dst, f.dst, 16)
        r.flow_sport = f.sport
        r.flow_dport = f.dport
        r.flow_alerts = f.alerts
        r.flow_state = f.state
        r.flow_end = f.end
        r.tcp_state = f.tcp_state
        if f.flags & FLOW_DROP:
            r.flags |= RECF_FLOW_DROP
        if f.flags & FLOW_PASS:
            r.flags |= RECF_FLOW_PASS
        if f.flags & FLOW_BYPASS:
            r.flags |= RECF_FLOW_BYPASS

    cdef void payload(self, Record *r, const uint8_t *data, uint32_t length) noexcept nogil:
        """Keep the first `max_payload` bytes of what matched."""
        if self.keep_payload and length:
            if length > self.max_payload:
                length = self.max_payload
            if self._store(data, length, &r.payload_off):
                r.payload_len = length

    cdef void frame(self, Record *r, const Packet *p) noexcept nogil:
        """Keep the frame; alerts of one layer of it share the copy."""
        cdef uint32_t at = 0
        if not self.keep_packet or p.frame == NULL or p.flags & PKT_PSEUDO:
            return
        if (p.layer or p.flags & PKT_REBUILT) and p.ip != NULL:
            # not a frame of its own: the IP datagram, behind the link header if it had one
            if self.last_frame == p.ip:
                r.packet_off = self.last_off
                r.packet_len = self.last_len
                return
            if p.link_len and not self._store(p.frame, p.link_len, &r.packet_off):
                return
            if self._store(p.ip, p.ip_len, &at):
                r.packet_len = p.link_len + p.ip_len
                if p.link_len == 0:
                    r.packet_off = at
                self.last_frame = p.ip
                self.last_off = r.packet_off
                self.last_len = r.packet_len
            return
        if self.last_frame != p.frame:
            if not self._store(p.frame, p.caplen, &self.last_off):
                return
            self.last_frame = p.frame
            self.last_len = p.caplen
        r.packet_off = self.last_off
        r.packet_len = self.last_len

    cdef void flow_end(self, const Flow *f) noexcept nogil:
        """The record of a flow that ended."""
        cdef Record *r
        cdef int k
        if self.n >= RECORDS:
            self.overflowed += 1
            return
        r = &self.items[self.n]
        self.n += 1
        memset(r, 0, sizeof(Record))
        r.kind = REC_FLOW
        r.rule = NO_RULE
        r.ts_ns = f.last_ns
        r.ip_version = f.ip_version
        r.proto = f.proto
        r.sport = f.sport
        r.dport = f.dport
        memcpy(r.src, f.src, 16)
        memcpy(r.dst, f.dst, 16)
        for k in range(MAX_VLAN):
            r.vlan[k] = f.vlan[k]
            if f.vlan[k]:
                r.n_vlan = <uint8_t> (k + 1)
        if f.proto == 1 or f.proto == 58:     # FlowTable folds type and code into the ports
            r.icmp_type = <uint8_t> (f.sport >> 8)
            r.icmp_code = <uint8_t> (f.sport & 255)
            r.sport = 0
            r.dport = 0
        r.tcp_flags = f.tcp_flags[0]
        r.tcp_flags_tc = f.tcp_flags[1]
        self._of_flow(r, f)
