"""Packet checks: conditions on header fields, events and flow counters (CHK_* ops)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from nsdata.path.packet cimport *
from nsdata.path.rulebase cimport *


cdef bint _compare(int64_t x, const Op *op) noexcept nogil:
    if op.cmp == CMP_EQ:
        return x == op.a
    if op.cmp == CMP_NE:
        return x != op.a
    if op.cmp == CMP_LT:
        return x < op.a
    if op.cmp == CMP_GT:
        return x > op.a
    if op.cmp == CMP_LE:
        return x <= op.a
    if op.cmp == CMP_GE:
        return x >= op.a
    if op.cmp == CMP_BETWEEN:
        return op.a < x < op.b
    if op.cmp == CMP_WITHIN:
        return op.a <= x <= op.b
    return x < op.a or x > op.b


cdef bint _flags(uint8_t have, const Op *op) noexcept nogil:
    cdef uint8_t want = <uint8_t> op.a
    have &= <uint8_t> ~op.b
    if op.cmp == FLAGS_EXACT:
        return have == want
    if op.cmp == FLAGS_ALL:
        return have & want == want
    if op.cmp == FLAGS_ANY:
        return have & want != 0
    return have & want != want


cdef bint _has_icmp_id(const Packet *p) noexcept nogil:
    if p.proto == 1:
        return p.icmp_type in (0, 8, 13, 14, 15, 16, 17, 18)
    return p.icmp_type == 128 or p.icmp_type == 129


cdef bint _field(const Op *op, const Packet *p) noexcept nogil:
    cdef uint32_t field = op.data
    if field == FIELD_TTL:
        return _compare(p.ttl, op)
    if field == FIELD_TOS:
        return p.ip_version == 4 and _compare(p.tos, op)
    if field == FIELD_IP_ID:
        return p.ip_version == 4 and _compare(p.ip_id, op)
    if field == FIELD_IP_PROTO:
        return _compare(p.proto, op)
    if field == FIELD_DSIZE:
        return not p.flags & PKT_PSEUDO and _compare(p.payload_len, op)
    if field == FIELD_FRAGOFFSET:
        return _compare(p.frag_off >> 3, op)
    if field == FIELD_VLAN_LAYERS:
        return _compare(p.n_vlan, op)
    if p.flags & (PKT_PSEUDO | PKT_FRAGMENT) or p.l4 == NULL:
        return False
    if FIELD_SEQ <= field <= FIELD_MSS or field == FIELD_TCP_WSCALE:
        if p.proto != 6:
            return False
        if field == FIELD_SEQ:
            return _compare(p.seq, op)
        if field == FIELD_ACK:
            return _compare(p.ack, op)
        if field == FIELD_WINDOW:
            return _compare(p.window, op)
        if field == FIELD_MSS:
            return p.mss != 0 and _compare(p.mss, op)
        return p.wscale != 0xFF and _compare(p.wscale, op)
    if p.proto != 1 and p.proto != 58:
        return False
    if field == FIELD_ITYPE:
        return _compare(p.icmp_type, op)
    if field == FIELD_ICODE:
        return _compare(p.icmp_code, op)
    if not _has_icmp_id(p):
        return False
    if field == FIELD_ICMP_ID:
        return _compare(p.icmp_id, op)
    return _compare(p.icmp_seq, op)


cdef bint _csum(const Op *op, const Packet *p) noexcept nogil:
    cdef uint32_t which = op.data
    cdef bint bad
    cdef uint8_t proto
    if which == CSUM_IPV4:
        if p.ip_version != 4:
            return False
        bad = (p.flags & PKT_BAD_IP_CSUM) != 0
    else:
        if p.ip_version != (4 if which <= CSUM_ICMPV4 else 6) or p.flags & PKT_FRAGMENT:
            return False
        if which == CSUM_TCPV4 or which == CSUM_TCPV6:
            proto = 6
        elif which == CSUM_UDPV4 or which == CSUM_UDPV6:
            proto = 17
        elif which == CSUM_ICMPV4:
            proto = 1
        else:
            proto = 58
        if p.proto != proto or p.l4 == NULL or p.flags & PKT_PSEUDO:
            return False
        bad = (p.flags & PKT_BAD_L4_CSUM) != 0
    return bad != (op.a != 0)


cdef bint _vlan(const Op *op, const Packet *p) noexcept nogil:
    cdef int layer = <int> op.data
    cdef int k
    if p.n_vlan == 0:
        return False
    if layer == VLAN_ANY:
        for k in range(p.n_vlan):
            if _compare(p.vlan[k], op):
                return True
        return False
    if layer == VLAN_ALL:
        for k in range(p.n_vlan):
            if not _compare(p.vlan[k], op):
                return False
        return True
    if layer > VLAN_LAST - MAX_VLAN:
        layer = p.n_vlan - 1 - (VLAN_LAST - layer)
    if layer < 0 or layer >= p.n_vlan:
        return False
    return _compare(p.vlan[layer], op)


cdef bint _flow(const Op *op, const Packet *p, const Flow *f) noexcept nogil:
    cdef uint32_t field = op.data
    if f == NULL:
        return False
    if field == FLOWF_AGE:
        return _compare(<int64_t> ((f.last_ns - f.first_ns) // 1000000000), op)
    if field == FLOWF_PKTS_TS:
        return _compare(<int64_t> f.packets[0], op)
    if field == FLOWF_PKTS_TC:
        return _compare(<int64_t> f.packets[1], op)
    if field == FLOWF_BYTES_TS:
        return _compare(<int64_t> f.bytes[0], op)
    if field == FLOWF_BYTES_TC:
        return _compare(<int64_t> f.bytes[1], op)
    if field == FLOWF_PKTS_EITHER:
        return _compare(<int64_t> f.packets[0], op) or _compare(<int64_t> f.packets[1], op)
    return _compare(<int64_t> f.bytes[0], op) or _compare(<int64_t> f.bytes[1], op)


cdef bint _stream_size(const Op *op, const Packet *p, const Flow *f) noexcept nogil:
    cdef bint client
    cdef bint server
    if f == NULL or f.tcp == NULL:
        return False
    client = _compare(<int64_t> f.stream_bytes[0], op)
    server = _compare(<int64_t> f.stream_bytes[1], op)
    if op.data == SIDE_SERVER:
        return server
    if op.data == SIDE_CLIENT:
        return client
    if op.data == SIDE_BOTH:
        return client and server
    return client or server


cdef bint _ipopt(const Op *op, const Packet *p) noexcept nogil:
    cdef uint32_t at = 20
    cdef uint32_t length
    if p.ip_version != 4 or p.ip == NULL:
        return False
    while at < p.ip_hlen:
        if p.ip[at] == op.data:
            return True
        if p.ip[at] == 0:
            return False
        if p.ip[at] == 1:
            at += 1
            continue
        if at + 1 >= p.ip_hlen:
            return False
        length = p.ip[at + 1]
        if length < 2:
            return False
        at += length
    return False


cdef bint check_packet(const Op *op, const Packet *p, const Flow *f) noexcept nogil:
    """True when the condition holds for the packet (flow conditions: for its flow)."""
    cdef uint8_t bits
    cdef bint hit
    if op.kind == CHK_FIELD:
        return _field(op, p)
    if op.kind == CHK_TCP_FLAGS:
        return p.proto == 6 and p.l4 != NULL and not p.flags & (PKT_PSEUDO | PKT_FRAGMENT) \
            and _flags(p.tcp_flags, op)
    if op.kind == CHK_FRAGBITS:
        if p.ip_version != 4 or p.flags & PKT_PSEUDO:
            return False
        bits = p.frag_more | p.frag_dont << 1 | p.frag_reserved << 2
        return _flags(bits, op)
    if op.kind == CHK_SAMEIP:
        return p.ip_version != 0 and memcmp(p.src, p.dst, 16) == 0
    if op.kind == CHK_EVENT:
        hit = (p.events[(op.data >> 6) & 3] >> (op.data & 63)) & 1
        return hit != ((op.flags & OPF_NEGATED) != 0)
    if op.kind == CHK_CSUM:
        return _csum(op, p)
    if op.kind == CHK_VLAN_ID:
        return _vlan(op, p)
    if op.kind == CHK_FLOW:
        return _flow(op, p, f)
    if op.kind == CHK_STREAM_SIZE:
        return _stream_size(op, p, f)
    if op.kind == CHK_IPOPT:
        return _ipopt(op, p)
    return False
