# Layer 4: TCP, UDP, SCTP, ICMP, ICMPv6, ESP. Packet.l4/l4_len are set by decode_ip; a
# header that does not hold takes them back, so no reader meets half a header.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from nsdata.path.decode_base cimport Cursor, be16, be32, fault, l4_sum_ok, note
from nsdata.path.decode_base cimport add_words, sums_to_zero
from nsdata.path.events cimport (
    EV_ESP__PKT_TOO_SMALL, EV_ICMPV4__IPV4_TRUNC_PKT, EV_ICMPV4__IPV4_UNKNOWN_VER,
    EV_ICMPV4__PKT_TOO_SMALL, EV_ICMPV4__UNKNOWN_CODE, EV_ICMPV4__UNKNOWN_TYPE,
    EV_ICMPV6__EXPERIMENTATION_TYPE, EV_ICMPV6__IPV6_TRUNC_PKT,
    EV_ICMPV6__IPV6_UNKNOWN_VERSION, EV_ICMPV6__MLD_MESSAGE_WITH_INVALID_HL,
    EV_ICMPV6__PKT_TOO_SMALL, EV_ICMPV6__UNASSIGNED_TYPE, EV_ICMPV6__UNKNOWN_CODE,
    EV_ICMPV6__UNKNOWN_TYPE, EV_SCTP__PKT_TOO_SMALL, EV_TCP__HLEN_TOO_SMALL,
    EV_TCP__INVALID_OPTLEN, EV_TCP__OPT_DUPLICATE, EV_TCP__OPT_INVALID_LEN,
    EV_TCP__PKT_TOO_SMALL, EV_UDP__HLEN_INVALID, EV_UDP__HLEN_TOO_SMALL,
    EV_UDP__LEN_INVALID, EV_UDP__PKT_TOO_SMALL,
)
from nsdata.path.packet cimport PKT_BAD_L4_CSUM, PKT_ICMP_ERROR, Packet

cdef enum IpProtocol:
    IPP_HOPOPTS = 0
    IPP_ICMP = 1
    IPP_IPIP = 4
    IPP_TCP = 6
    IPP_UDP = 17
    IPP_IPV6 = 41
    IPP_ROUTING = 43
    IPP_FRAGMENT = 44
    IPP_GRE = 47
    IPP_ESP = 50
    IPP_AH = 51
    IPP_ICMPV6 = 58
    IPP_NONE = 59
    IPP_DSTOPTS = 60
    IPP_SCTP = 132
    IPP_MOBILITY = 135
    IPP_HIP = 139
    IPP_SHIM6 = 140


cdef inline void l4_fault(Packet *p, int event) noexcept nogil:
    fault(p, event)
    p.l4 = NULL
    p.l4_len = 0
    p.l4_hlen = 0
    p.payload = NULL
    p.payload_len = 0


cdef inline void set_payload(Packet *p, uint32_t header, uint32_t end) noexcept nogil:
    """Payload is [header, end) of the L4 bytes."""
    p.l4_hlen = header
    p.payload = p.l4 + header
    p.payload_len = end - header


cdef inline void tcp_options(Packet *p, const uint8_t *d, uint32_t left) noexcept nogil:
    """RFC 9293, 7323 (window scale, timestamps), 2018 (SACK)."""
    cdef uint8_t kind
    cdef uint32_t length
    cdef bint sack = False
    # By far the commonest: NOP, NOP, timestamps.
    if left == 12 and be32(d) == 0x0101080A:
        p.has_tsopt = 1
        p.tsval = be32(d + 4)
        p.tsecr = be32(d + 8)
        return
    while left:
        kind = d[0]
        if kind == 0:
            return
        if kind == 1:
            d += 1
            left -= 1
            continue
        if left < 2:
            return
        length = d[1]
        if length < 2 or length > left:
            note(p, EV_TCP__OPT_INVALID_LEN)
            return
        if kind == 2:
            if length != 4:
                note(p, EV_TCP__OPT_INVALID_LEN)
            elif p.mss:
                note(p, EV_TCP__OPT_DUPLICATE)
            else:
                p.mss = be16(d + 2)
        elif kind == 3:
            if length != 3:
                note(p, EV_TCP__OPT_INVALID_LEN)
            elif p.wscale != 0xFF:
                note(p, EV_TCP__OPT_DUPLICATE)
            else:
                p.wscale = d[2]
        elif kind == 4:
            if length != 2:
                note(p, EV_TCP__OPT_INVALID_LEN)
            elif p.sack_ok:
                note(p, EV_TCP__OPT_DUPLICATE)
            else:
                p.sack_ok = 1
        elif kind == 5:
            if length < 10 or length > 34 or (length - 2) % 8:
                note(p, EV_TCP__OPT_INVALID_LEN)
            elif sack:
                note(p, EV_TCP__OPT_DUPLICATE)
            else:
                sack = True
        elif kind == 8:
            if length != 10:
                note(p, EV_TCP__OPT_INVALID_LEN)
            elif p.has_tsopt:
                note(p, EV_TCP__OPT_DUPLICATE)
            else:
                p.has_tsopt = 1
                p.tsval = be32(d + 2)
                p.tsecr = be32(d + 6)
        elif kind == 34:                  # TCP Fast Open, RFC 7413: even, 4..16 byte cookie
            if length != 2 and (length < 6 or length > 18 or length & 1):
                note(p, EV_TCP__OPT_INVALID_LEN)
        d += length
        left -= length


cdef inline void decode_tcp(Packet *p, bint checksums) noexcept nogil:
    cdef const uint8_t *d = p.l4
    cdef uint32_t hlen
    if p.l4_len < 20:
        l4_fault(p, EV_TCP__PKT_TOO_SMALL)
        return
    hlen = (d[12] >> 4) * 4
    if hlen > p.l4_len:
        l4_fault(p, EV_TCP__HLEN_TOO_SMALL)
        return
    if hlen < 20:
        l4_fault(p, EV_TCP__INVALID_OPTLEN)
        return
    p.sport = be16(d)
    p.dport = be16(d + 2)
    p.seq = be32(d + 4)
    p.ack = be32(d + 8)
    p.tcp_flags = d[13]
    p.window = be16(d + 14)
    p.urgent = be16(d + 18)
    set_payload(p, hlen, p.l4_len)
    if hlen > 20:
        tcp_options(p, d + 20, hlen - 20)
    if checksums and not l4_sum_ok(p, IPP_TCP, d, p.l4_len):
        p.flags |= PKT_BAD_L4_CSUM


cdef inline bint decode_udp(Packet *p, bint checksums) noexcept nogil:
    """RFC 768; False when the header does not hold."""
    cdef const uint8_t *d = p.l4
    cdef uint32_t length
    if p.l4_len < 8:
        l4_fault(p, EV_UDP__HLEN_TOO_SMALL)
        return False
    length = be16(d + 4)
    if length > p.l4_len:
        l4_fault(p, EV_UDP__PKT_TOO_SMALL)
        return False
    if length < 8:
        l4_fault(p, EV_UDP__LEN_INVALID)
        return False
    if length != p.l4_len:
        note(p, EV_UDP__HLEN_INVALID)
    p.sport = be16(d)
    p.dport = be16(d + 2)
    set_payload(p, 8, length)
    if checksums:
        if d[6] == 0 and d[7] == 0:
            if p.ip_version == 6:         # RFC 8200 §8.1 asks for one
                p.flags |= PKT_BAD_L4_CSUM
        elif not l4_sum_ok(p, IPP_UDP, d, length):
            p.flags |= PKT_BAD_L4_CSUM
    return True


cdef inline void decode_sctp(Packet *p) noexcept nogil:
    """RFC 9260: the common header; chunks are payload."""
    if p.l4_len < 12:
        l4_fault(p, EV_SCTP__PKT_TOO_SMALL)
        return
    p.sport = be16(p.l4)
    p.dport = be16(p.l4 + 2)
    set_payload(p, 12, p.l4_len)


cdef inline void decode_esp(Packet *p) noexcept nogil:
    """RFC 4303: SPI and sequence number."""
    if p.l4_len < 8:
        l4_fault(p, EV_ESP__PKT_TOO_SMALL)
        return
    set_payload(p, 8, p.l4_len)


cdef inline void quoted_ports(Packet *p, uint8_t proto, const uint8_t *d,
                              uint32_t left) noexcept nogil:
    p.icmp_inner_proto = proto
    p.flags |= PKT_ICMP_ERROR
    if left >= 4 and proto in (IPP_TCP, IPP_UDP, IPP_SCTP):
        p.icmp_inner_sport = be16(d)
        p.icmp_inner_dport = be16(d + 2)


cdef inline void quoted_ipv4(Packet *p, const uint8_t *d, uint32_t left) noexcept nogil:
    """The datagram an ICMP error quotes: its header and the first bytes after it."""
    cdef uint32_t hlen
    if left < 20:
        fault(p, EV_ICMPV4__IPV4_TRUNC_PKT)
        return
    if d[0] >> 4 != 4:
        fault(p, EV_ICMPV4__IPV4_UNKNOWN_VER)
        return
    memcpy(p.icmp_inner_src, d + 12, 4)
    memcpy(p.icmp_inner_dst, d + 16, 4)
    hlen = (d[0] & 0x0F) * 4
    if hlen < 20 or hlen > left or be16(d + 6) & 0x1FFF:
        quoted_ports(p, d[9], d, 0)       # no ports in it
    else:
        quoted_ports(p, d[9], d + hlen, left - hlen)


cdef inline void quoted_ipv6(Packet *p, const uint8_t *d, uint32_t left) noexcept nogil:
    cdef uint8_t proto
    cdef uint32_t length
    cdef int headers = 0
    if left < 40:
        fault(p, EV_ICMPV6__IPV6_TRUNC_PKT)
        return
    if d[0] >> 4 != 6:
        fault(p, EV_ICMPV6__IPV6_UNKNOWN_VERSION)
        return
    memcpy(p.icmp_inner_src, d + 8, 16)
    memcpy(p.icmp_inner_dst, d + 24, 16)
    proto = d[6]
    d += 40
    left -= 40
    while (headers < 8 and left >= 8
           and proto in (IPP_HOPOPTS, IPP_ROUTING, IPP_DSTOPTS, IPP_FRAGMENT)):
        if proto == IPP_FRAGMENT:
            if be16(d + 2) & 0xFFF8:
                left = 8                  # not the first: no ports follow
            length = 8
        else:
            length = 8 + <uint32_t>d[1] * 8
        proto = d[0]
        if length > left:
            length = left
        d += length
        left -= length
        headers += 1
    quoted_ports(p, proto, d, left)


cdef inline void decode_icmp(Packet *p, bint checksums) noexcept nogil:
    """RFC 792 and the IANA registry of its types."""
    cdef const uint8_t *d = p.l4
    cdef uint8_t kind, code
    cdef uint8_t most = 0                 # the highest code assigned
    if p.l4_len < 8:
        l4_fault(p, EV_ICMPV4__PKT_TOO_SMALL)
        return
    kind = d[0]
    code = d[1]
    p.icmp_type = kind
    p.icmp_code = code
    set_payload(p, 8, p.l4_len)
    if kind in (0, 8, 13, 14, 15, 16, 17, 18):
        p.icmp_id = be16(d + 4)
        p.icmp_seq = be16(d + 6)
    elif kind == 3:
        most = 15
    elif kind == 5:
        most = 3
    elif kind == 9:
        most = 16
    elif kind == 11:
        most = 1
    elif kind == 12:
        most = 2
    elif kind != 4 and kind != 10:
        note(p, EV_ICMPV4__UNKNOWN_TYPE)
        most = 255
    if code > most:
        note(p, EV_ICMPV4__UNKNOWN_CODE)
    elif kind in (3, 4, 5, 11, 12) and p.l4_len > 8:
        quoted_ipv4(p, d + 8, p.l4_len - 8)
    if checksums and not sums_to_zero(add_words(d, p.l4_len, 0)):
        p.flags |= PKT_BAD_L4_CSUM


cdef inline void decode_icmpv6(Packet *p, bint checksums) noexcept nogil:
    """RFC 4443 and the IANA registry of its types."""
    cdef const uint8_t *d = p.l4
    cdef uint8_t kind, code
    cdef bint known_code = True
    if p.l4_len < 8:
        l4_fault(p, EV_ICMPV6__PKT_TOO_SMALL)
        return
    kind = d[0]
    code = d[1]
    p.icmp_type = kind
    p.icmp_code = code
    # Errors and echo have an 8 byte header, of the others the body begins after 4.
    set_payload(p, 8 if kind in (1, 2, 3, 4, 128, 129) else 4, p.l4_len)
    if kind == 1:
        known_code = code <= 6
    elif kind == 3:
        known_code = code <= 1
    elif kind == 4:
        known_code = code <= 2
    elif kind in (128, 129):
        known_code = code == 0
        p.icmp_id = be16(d + 4)
        p.icmp_seq = be16(d + 6)
    elif kind in (130, 131, 132):
        known_code = code == 0
        if p.ttl != 1:
            note(p, EV_ICMPV6__MLD_MESSAGE_WITH_INVALID_HL)
    elif kind == 138:
        known_code = code <= 2 or code == 255
    elif kind in (139, 140):
        known_code = code <= 2
    elif kind == 155:
        known_code = code <= 3 or 128 <= code <= 132
    elif (kind == 2 or 133 <= kind <= 137 or 141 <= kind <= 149 or kind == 154
          or 156 <= kind <= 159):
        known_code = code == 0
    elif 150 <= kind <= 153:
        known_code = True
    elif kind in (100, 101, 200, 201):
        note(p, EV_ICMPV6__EXPERIMENTATION_TYPE)
    elif kind == 0 or kind == 127:
        note(p, EV_ICMPV6__UNKNOWN_TYPE)
    else:
        note(p, EV_ICMPV6__UNASSIGNED_TYPE)
    if not known_code:
        note(p, EV_ICMPV6__UNKNOWN_CODE)
    elif 1 <= kind <= 4:
        quoted_ipv6(p, d + 8, p.l4_len - 8)
    if checksums and not l4_sum_ok(p, IPP_ICMPV6, d, p.l4_len):
        p.flags |= PKT_BAD_L4_CSUM
