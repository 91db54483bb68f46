# IPv4 with options, IPv6 with extension headers, and what they carry.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from nsdata.path.decode_base cimport (
    NEXT_IPV4, NEXT_IPV6, Cursor, add_words, be16, be32, fault, note, sums_to_zero,
)
from nsdata.path.decode_l4 cimport (
    IPP_AH, IPP_DSTOPTS, IPP_ESP, IPP_FRAGMENT, IPP_GRE, IPP_HIP, IPP_HOPOPTS, IPP_ICMP,
    IPP_ICMPV6, IPP_IPIP, IPP_IPV6, IPP_MOBILITY, IPP_NONE, IPP_ROUTING, IPP_SCTP,
    IPP_SHIM6, IPP_TCP, IPP_UDP,
    decode_esp, decode_icmp, decode_icmpv6, decode_sctp, decode_tcp, decode_udp, set_payload,
)
from nsdata.path.decode_tunnel cimport decode_gre, enter, udp_tunnels
from nsdata.path.events cimport (
    EV_DECODER__TOO_MANY_LAYERS, EV_IPV4__HLEN_TOO_SMALL, EV_IPV4__ICMPV6,
    EV_IPV4__IPLEN_SMALLER_THAN_HLEN, EV_IPV4__OPT_DUPLICATE, EV_IPV4__OPT_EOL_REQUIRED,
    EV_IPV4__OPT_INVALID, EV_IPV4__OPT_INVALID_LEN, EV_IPV4__OPT_MALFORMED,
    EV_IPV4__OPT_PAD_REQUIRED, EV_IPV4__PKT_TOO_SMALL, EV_IPV4__TRUNC_PKT,
    EV_IPV4__WRONG_IP_VERSION, EV_IPV6__DATA_AFTER_NONE_HEADER,
    EV_IPV6__DSTOPTS_ONLY_PADDING, EV_IPV6__DSTOPTS_UNKNOWN_OPT,
    EV_IPV6__EXTHDR_AH_RES_NOT_NULL, EV_IPV6__EXTHDR_DUPL_AH, EV_IPV6__EXTHDR_DUPL_DH,
    EV_IPV6__EXTHDR_DUPL_FH, EV_IPV6__EXTHDR_DUPL_HH, EV_IPV6__EXTHDR_DUPL_RH,
    EV_IPV6__EXTHDR_INVALID_OPTLEN, EV_IPV6__EXTHDR_USELESS_FH,
    EV_IPV6__FH_NON_ZERO_RESERVED_FIELD, EV_IPV6__FRAG_INVALID_LENGTH,
    EV_IPV6__HOPOPTS_ONLY_PADDING, EV_IPV6__HOPOPTS_UNKNOWN_OPT, EV_IPV6__ICMPV4,
    EV_IPV6__IPV4_IN_IPV6_TOO_SMALL, EV_IPV6__IPV4_IN_IPV6_WRONG_VERSION,
    EV_IPV6__IPV6_IN_IPV6_TOO_SMALL, EV_IPV6__IPV6_IN_IPV6_WRONG_VERSION,
    EV_IPV6__PKT_TOO_SMALL, EV_IPV6__RH_TYPE_0, EV_IPV6__TRUNC_EXTHDR, EV_IPV6__TRUNC_PKT,
    EV_IPV6__UNKNOWN_NEXT_HEADER, EV_IPV6__WRONG_IP_VERSION, EV_IPV6__ZERO_LEN_PADN,
)
from nsdata.path.packet cimport (
    PKT_BAD_IP_CSUM, PKT_FRAGMENT, PKT_TRUNCATED, TUN_IPV4, TUN_IPV6, Packet,
)

cdef enum:
    MAX_EXTENSIONS = 256  # IPv6 extension headers walked in one datagram


cdef inline void ip_in_ip(Packet *p, Cursor *c, uint8_t version) noexcept nogil:
    if p.ip_version == 6:
        if version == 4:
            if p.l4_len < 20:
                fault(p, EV_IPV6__IPV4_IN_IPV6_TOO_SMALL)
                return
            if p.l4[0] >> 4 != 4:
                fault(p, EV_IPV6__IPV4_IN_IPV6_WRONG_VERSION)
                return
        else:
            if p.l4_len < 40:
                fault(p, EV_IPV6__IPV6_IN_IPV6_TOO_SMALL)
                return
            if p.l4[0] >> 4 != 6:
                fault(p, EV_IPV6__IPV6_IN_IPV6_WRONG_VERSION)
                return
    if version == 4:
        enter(c, TUN_IPV4, NEXT_IPV4, p.l4, p.l4_len)
    else:
        enter(c, TUN_IPV6, NEXT_IPV6, p.l4, p.l4_len)


cdef inline bint carried(Packet *p, Cursor *c, uint8_t proto, bint checksums) noexcept nogil:
    """Decode what IP carries (p.l4, p.l4_len); False when `proto` is not known."""
    set_payload(p, 0, p.l4_len)
    if proto == IPP_TCP:
        decode_tcp(p, checksums)
    elif proto == IPP_UDP:
        if decode_udp(p, checksums):
            udp_tunnels(p, c)
    elif proto == IPP_SCTP:
        decode_sctp(p)
    elif proto == IPP_ESP:
        decode_esp(p)
    elif proto == IPP_GRE:
        decode_gre(p, c)
    elif proto == IPP_IPIP:
        ip_in_ip(p, c, 4)
    elif proto == IPP_IPV6:
        ip_in_ip(p, c, 6)
    elif proto == IPP_ICMP:
        if p.ip_version == 4:
            decode_icmp(p, checksums)
        else:
            note(p, EV_IPV6__ICMPV4)
    elif proto == IPP_ICMPV6:
        if p.ip_version == 6:
            decode_icmpv6(p, checksums)
        else:
            fault(p, EV_IPV4__ICMPV6)
    else:
        return False
    return True


cdef inline bint route_option_ok(Packet *p, const uint8_t *d, uint32_t length) noexcept nogil:
    """RFC 791 record route, loose and strict source route: the pointer is 1-based."""
    if length < 3:
        fault(p, EV_IPV4__OPT_INVALID_LEN)
        return False
    if d[2] < 4 or d[2] % 4 or d[2] > length + 1:
        fault(p, EV_IPV4__OPT_MALFORMED)
        return False
    return True


cdef inline bint time_option_ok(Packet *p, const uint8_t *d, uint32_t length) noexcept nogil:
    """RFC 791 internet timestamp."""
    cdef uint32_t each
    if length < 4:
        fault(p, EV_IPV4__OPT_INVALID_LEN)
        return False
    each = 8 if d[3] & 0x0F in (1, 3) else 4
    if d[2] < 5 or (d[2] - 5) % each or d[2] > length + 1:
        fault(p, EV_IPV4__OPT_MALFORMED)
        return False
    return True


cdef inline bint cipso_option_ok(Packet *p, const uint8_t *d, uint32_t length) noexcept nogil:
    """FIPS 188: a domain of interpretation, then tags of a type and a length."""
    cdef uint32_t left, tag
    if length < 10:
        fault(p, EV_IPV4__OPT_INVALID_LEN)
        return False
    d += 6
    left = length - 6
    while left:
        if left < 2:
            fault(p, EV_IPV4__OPT_MALFORMED)
            return False
        tag = d[1]
        if d[0] not in (1, 2, 5, 6, 7) or tag < 4 or tag > left or (d[0] != 7 and d[2]):
            fault(p, EV_IPV4__OPT_MALFORMED)
            return False
        d += tag
        left -= tag
    return True


cdef inline void ipv4_options(Packet *p, const uint8_t *d, uint32_t left) noexcept nogil:
    """RFC 791 options; a bad one ends the walk."""
    cdef uint8_t kind
    cdef uint32_t length, seen = 0, bit
    if left % 8:
        note(p, EV_IPV4__OPT_PAD_REQUIRED)
    while left:
        kind = d[0]
        if kind == 0:
            return
        if kind == 1:
            d += 1
            left -= 1
            continue
        if left < 2:
            note(p, EV_IPV4__OPT_EOL_REQUIRED)
            return
        length = d[1]
        if length < 2 or length > left:
            fault(p, EV_IPV4__OPT_INVALID_LEN)
            return
        bit = 0
        if kind == 7:
            bit = 1
        elif kind == 25:                  # quick start
            bit = 2
        elif kind == 68:                  # timestamp
            bit = 4
        elif kind == 130:                 # security
            bit = 8
        elif kind == 131:                 # loose source route
            bit = 16
        elif kind == 134:                 # CIPSO
            bit = 32
        elif kind == 136:                 # stream identifier
            bit = 64
        elif kind == 137:                 # strict source route
            bit = 128
        elif kind == 148:                 # router alert
            bit = 256
        if bit == 0:
            note(p, EV_IPV4__OPT_INVALID)
        elif seen & bit:
            note(p, EV_IPV4__OPT_DUPLICATE)
        else:
            seen |= bit
            if bit & (1 | 16 | 128):
                if not route_option_ok(p, d, length):
                    return
            elif bit == 4:
                if not time_option_ok(p, d, length):
                    return
            elif bit == 32:
                if not cipso_option_ok(p, d, length):
                    return
            elif ((bit == 2 and length < 8) or (bit == 8 and length != 11)
                  or (bit & (64 | 256) and length != 4)):
                fault(p, EV_IPV4__OPT_INVALID_LEN)
                return
        d += length
        left -= length


cdef inline void decode_ipv4(Packet *p, Cursor *c) noexcept nogil:
    """RFC 791. A sound header of which not all was captured is kept, flagged truncated."""
    cdef const uint8_t *d = c.data
    cdef uint32_t hlen, total
    cdef uint16_t frag
    if c.length < 20:
        fault(p, EV_IPV4__PKT_TOO_SMALL)
        return
    if d[0] >> 4 != 4:
        fault(p, EV_IPV4__WRONG_IP_VERSION)
        return
    hlen = (d[0] & 0x0F) * 4
    if hlen < 20:
        fault(p, EV_IPV4__HLEN_TOO_SMALL)
        return
    total = be16(d + 2)
    if total < hlen:
        fault(p, EV_IPV4__IPLEN_SMALLER_THAN_HLEN)
        return
    p.ip_version = 4
    p.ip = d
    memcpy(p.src, d + 12, 4)
    memcpy(p.dst, d + 16, 4)
    p.proto = d[9]
    p.ttl = d[8]
    p.tos = d[1]
    p.ip_id = be16(d + 4)
    frag = be16(d + 6)
    p.frag_reserved = (frag >> 15) & 1
    p.frag_dont = (frag >> 14) & 1
    p.frag_more = (frag >> 13) & 1
    p.frag_off = (frag & 0x1FFF) * 8
    if total > c.length:
        fault(p, EV_IPV4__TRUNC_PKT)
        p.flags |= PKT_TRUNCATED
        p.ip_len = c.length
        p.ip_hlen = hlen if hlen < c.length else c.length
        return
    p.ip_len = total
    p.ip_hlen = hlen
    p.l4 = d + hlen
    p.l4_len = total - hlen
    if hlen > 20:
        ipv4_options(p, d + 20, hlen - 20)
    if c.checksums and not sums_to_zero(add_words(d, hlen, 0)):
        p.flags |= PKT_BAD_IP_CSUM
    if frag & 0x3FFF:
        p.flags |= PKT_FRAGMENT
        return
    carried(p, c, p.proto, c.checksums)


cdef inline void ipv6_options(Packet *p, const uint8_t *d, uint32_t left,
                              bint hop_by_hop) noexcept nogil:
    """Hop-by-hop and destination options, RFC 8200 §4.2."""
    cdef uint8_t kind
    cdef uint32_t length
    cdef bint padding = False, other = False
    while left:
        kind = d[0]
        if kind == 0:                     # Pad1
            padding = True
            d += 1
            left -= 1
            continue
        if left < 2 or 2 + <uint32_t>d[1] > left:
            fault(p, EV_IPV6__EXTHDR_INVALID_OPTLEN)
            break
        length = d[1]
        if kind == 1:                     # PadN
            padding = True
            if length == 0:
                note(p, EV_IPV6__ZERO_LEN_PADN)
        elif kind == 5 or kind == 0xC2 or kind == 0xC9:
            # router alert, jumbo payload, home address
            if length < (2 if kind == 5 else 4 if kind == 0xC2 else 16):
                fault(p, EV_IPV6__EXTHDR_INVALID_OPTLEN)
                break
            other = True
        else:
            note(p, EV_IPV6__HOPOPTS_UNKNOWN_OPT if hop_by_hop
                 else EV_IPV6__DSTOPTS_UNKNOWN_OPT)
            other = True
        d += 2 + length
        left -= 2 + length
    if padding and not other:
        note(p, EV_IPV6__HOPOPTS_ONLY_PADDING if hop_by_hop
             else EV_IPV6__DSTOPTS_ONLY_PADDING)


cdef inline void ipv6_extensions(Packet *p, Cursor *c, uint8_t following, const uint8_t *d,
                                 uint32_t left) noexcept nogil:
    """Walk extension headers from `following` at `d` to what they carry, RFC 8200 §4."""
    cdef uint32_t length
    cdef int count, destinations = 0
    cdef bint hop = False, routing = False, auth = False, fragment = False
    cdef bint checksums = c.checksums
    for count in range(MAX_EXTENSIONS):
        p.proto = following
        p.l4 = d
        p.l4_len = left
        p.ip_hlen = <uint32_t>(d - p.ip)
        if following == IPP_NONE:
            if left:
                note(p, EV_IPV6__DATA_AFTER_NONE_HEADER)
            set_payload(p, 0, left)
            return
        if following not in (IPP_HOPOPTS, IPP_ROUTING, IPP_FRAGMENT, IPP_AH, IPP_DSTOPTS,
                             IPP_MOBILITY, IPP_HIP, IPP_SHIM6):
            if count and left < 2:
                break
            if not carried(p, c, following, checksums):
                note(p, EV_IPV6__UNKNOWN_NEXT_HEADER)
            return
        if left < 8:
            break
        if following == IPP_FRAGMENT:
            if d[1]:
                note(p, EV_IPV6__FH_NON_ZERO_RESERVED_FIELD)
            if fragment:
                note(p, EV_IPV6__EXTHDR_DUPL_FH)
            else:
                fragment = True
                p.frag_off = be16(d + 2) & 0xFFF8
                p.frag_more = d[3] & 1
                p.ip_id = be32(d + 4)
                if p.frag_off == 0 and not p.frag_more:
                    note(p, EV_IPV6__EXTHDR_USELESS_FH)
                else:
                    # What follows is decoded when the datagram is whole again.
                    if p.frag_more and (left - 8) % 8:
                        note(p, EV_IPV6__FRAG_INVALID_LENGTH)
                    p.flags |= PKT_FRAGMENT
                    p.l4 = d + 8
                    p.l4_len = left - 8
                    p.ip_hlen += 8
                    return
            length = 8
        elif following == IPP_AH:
            # Counted in 4 bytes, less 2; RFC 4302's fixed part is 12 bytes.
            length = 12 + (<uint32_t>d[1] - 1) * 4 if d[1] else 12
            if length > left:
                break
            if be16(d + 2):
                note(p, EV_IPV6__EXTHDR_AH_RES_NOT_NULL)
            if auth:
                note(p, EV_IPV6__EXTHDR_DUPL_AH)
            auth = True
        else:
            length = 8 + <uint32_t>d[1] * 8
            if length > left:
                break
            if following == IPP_HOPOPTS:
                if hop:
                    note(p, EV_IPV6__EXTHDR_DUPL_HH)
                else:
                    ipv6_options(p, d + 2, length - 2, True)
                hop = True
            elif following == IPP_DSTOPTS:
                if destinations == 2:     # one before routing, one before the upper layer
                    note(p, EV_IPV6__EXTHDR_DUPL_DH)
                else:
                    ipv6_options(p, d + 2, length - 2, False)
                    destinations += 1
            elif following == IPP_ROUTING:
                if routing:
                    note(p, EV_IPV6__EXTHDR_DUPL_RH)
                elif d[2] == 0:
                    note(p, EV_IPV6__RH_TYPE_0)
                routing = True
                if d[3]:
                    # Segments are left: the pseudo-header's destination is not the header's.
                    checksums = False
        following = d[0]
        d += length
        left -= length
    else:
        fault(p, EV_DECODER__TOO_MANY_LAYERS)
        p.l4 = NULL
        p.l4_len = 0
        return
    fault(p, EV_IPV6__TRUNC_EXTHDR)
    p.l4 = NULL
    p.l4_len = 0


cdef inline void decode_ipv6(Packet *p, Cursor *c) noexcept nogil:
    """RFC 8200. Jumbograms (RFC 2675) are not decoded."""
    cdef const uint8_t *d = c.data
    cdef uint32_t total
    if c.length < 40:
        fault(p, EV_IPV6__PKT_TOO_SMALL)
        return
    if d[0] >> 4 != 6:
        fault(p, EV_IPV6__WRONG_IP_VERSION)
        return
    p.ip_version = 6
    p.ip = d
    memcpy(p.src, d + 8, 16)
    memcpy(p.dst, d + 24, 16)
    p.proto = d[6]
    p.ttl = d[7]
    p.tos = <uint8_t>(((d[0] & 0x0F) << 4) | (d[1] >> 4))
    p.ip_hlen = 40
    total = 40 + <uint32_t>be16(d + 4)
    if total > c.length:
        fault(p, EV_IPV6__TRUNC_PKT)
        p.flags |= PKT_TRUNCATED
        p.ip_len = c.length
        return
    p.ip_len = total
    ipv6_extensions(p, c, d[6], d + 40, total - 40)
