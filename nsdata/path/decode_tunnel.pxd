# What carries another packet: GRE and ERSPAN over IP, VXLAN, Geneve and Teredo over UDP.
# Each sets Cursor.tunnel and .next when something to decode follows.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.decode_base cimport (
    MAX_PORTS, NEXT_ETHERNET, NEXT_ETHERTYPE, NEXT_IPV4, NEXT_IPV6, NEXT_PPP,
    Cursor, be16, fault, note,
)
from nsdata.path.decode_l4 cimport l4_fault, set_payload
from nsdata.path.decode_link cimport (
    ET_ARP, ET_BRIDGE, ET_ERSPAN, ET_IPV4, ET_IPV6, ET_MPLS, ET_MPLS_MULTICAST, ET_NSH,
    ET_PPP, ET_QINQ, ET_VLAN,
)
from nsdata.path.events cimport (
    EV_ERSPAN__HEADER_TOO_SMALL, EV_ERSPAN__TOO_MANY_VLAN_LAYERS,
    EV_ERSPAN__UNSUPPORTED_VERSION, EV_GENEVE__UNKNOWN_PAYLOAD_TYPE,
    EV_GRE__PKT_TOO_SMALL, EV_GRE__VERSION0_FLAGS, EV_GRE__VERSION0_HDR_TOO_BIG,
    EV_GRE__VERSION0_MALFORMED_SRE_HDR, EV_GRE__VERSION0_RECUR, EV_GRE__VERSION1_CHKSUM,
    EV_GRE__VERSION1_FLAGS, EV_GRE__VERSION1_HDR_TOO_BIG, EV_GRE__VERSION1_NO_KEY,
    EV_GRE__VERSION1_RECUR, EV_GRE__VERSION1_ROUTE, EV_GRE__VERSION1_SSR,
    EV_GRE__VERSION1_WRONG_PROTOCOL, EV_GRE__WRONG_VERSION,
)
from nsdata.path.packet cimport (
    MAX_VLAN, TUN_ERSPAN, TUN_GENEVE, TUN_GRE, TUN_TEREDO, TUN_VXLAN, Packet,
)


cdef inline void enter(Cursor *c, uint8_t tunnel, uint8_t what, const uint8_t *d,
                       uint32_t length) noexcept nogil:
    c.tunnel = tunnel
    c.next = what
    c.data = d
    c.length = length


cdef inline void decode_gre(Packet *p, Cursor *c) noexcept nogil:
    """RFC 2784 and 2890 (version 0, RFC 1701's source routes too), RFC 2637 (PPTP)."""
    cdef const uint8_t *d = p.l4
    cdef uint32_t length = p.l4_len
    cdef uint32_t hlen = 4
    cdef uint32_t entry
    cdef uint8_t flags, version
    cdef uint16_t proto
    if length < 4:
        l4_fault(p, EV_GRE__PKT_TOO_SMALL)
        return
    flags = d[0]                          # C R K S s, 3 bits of recursion
    version = d[1] & 0x07
    proto = be16(d + 2)
    if version == 0:
        if flags & 0x07:
            fault(p, EV_GRE__VERSION0_RECUR)
            return
        if d[1] & 0xF8:
            fault(p, EV_GRE__VERSION0_FLAGS)
            return
        if flags & 0xC0:                  # checksum or routing: both fields are there
            hlen += 4
        if flags & 0x20:
            hlen += 4
        if flags & 0x10:
            hlen += 4
        if hlen > length:
            fault(p, EV_GRE__VERSION0_HDR_TOO_BIG)
            return
        while flags & 0x40:               # each entry takes 4 bytes or more: bounded
            if length - hlen < 4:
                fault(p, EV_GRE__VERSION0_MALFORMED_SRE_HDR)
                return
            entry = d[hlen + 3]
            if entry == 0 and be16(d + hlen) == 0:
                hlen += 4
                break
            hlen += 4
            if entry > length - hlen:
                fault(p, EV_GRE__VERSION0_MALFORMED_SRE_HDR)
                return
            hlen += entry
    elif version == 1:
        if flags & 0x80:
            fault(p, EV_GRE__VERSION1_CHKSUM)
            return
        if flags & 0x40:
            fault(p, EV_GRE__VERSION1_ROUTE)
            return
        if flags & 0x08:
            fault(p, EV_GRE__VERSION1_SSR)
            return
        if flags & 0x07:
            fault(p, EV_GRE__VERSION1_RECUR)
            return
        if d[1] & 0x78:
            fault(p, EV_GRE__VERSION1_FLAGS)
            return
        if proto != ET_PPP:
            fault(p, EV_GRE__VERSION1_WRONG_PROTOCOL)
            return
        if not flags & 0x20:
            fault(p, EV_GRE__VERSION1_NO_KEY)
            return
        hlen += 4
        if flags & 0x10:
            hlen += 4
        if d[1] & 0x80:
            hlen += 4
        if hlen > length:
            fault(p, EV_GRE__VERSION1_HDR_TOO_BIG)
            return
    else:
        fault(p, EV_GRE__WRONG_VERSION)
        return
    set_payload(p, hlen, length)
    if version == 1 and be16(d + 4) == 0:     # PPTP: an acknowledgement alone
        return
    d += hlen
    length -= hlen
    if proto == ET_IPV4:
        enter(c, TUN_GRE, NEXT_IPV4, d, length)
    elif proto == ET_IPV6:
        enter(c, TUN_GRE, NEXT_IPV6, d, length)
    elif proto == ET_BRIDGE:
        enter(c, TUN_GRE, NEXT_ETHERNET, d, length)
    elif proto == ET_PPP:
        enter(c, TUN_GRE, NEXT_PPP, d, length)
    elif proto in (ET_VLAN, ET_QINQ, ET_ARP, ET_MPLS, ET_MPLS_MULTICAST, ET_NSH):
        enter(c, TUN_GRE, NEXT_ETHERTYPE, d, length)
        c.ethertype = proto
    elif proto == ET_ERSPAN:
        # Type II has a sequence number in GRE and a header of its own, type I has neither.
        enter(c, TUN_ERSPAN, NEXT_ETHERTYPE if flags & 0x10 else NEXT_ETHERNET, d, length)
        c.ethertype = ET_ERSPAN


cdef inline void decode_erspan(Packet *p, Cursor *c) noexcept nogil:
    """ERSPAN type II; its VLAN becomes the outermost one of the mirrored frame."""
    cdef uint16_t vlan
    if c.length < 8:
        fault(p, EV_ERSPAN__HEADER_TOO_SMALL)
        return
    if c.data[0] >> 4 != 1:
        note(p, EV_ERSPAN__UNSUPPORTED_VERSION)
        return
    vlan = be16(c.data) & 0x0FFF
    if vlan:
        if p.n_vlan >= MAX_VLAN:
            note(p, EV_ERSPAN__TOO_MANY_VLAN_LAYERS)
            return
        p.vlan[p.n_vlan] = vlan
        p.n_vlan += 1
    c.data += 8
    c.length -= 8
    c.next = NEXT_ETHERNET


cdef inline bint is_port(const uint16_t *ports, uint16_t sport, uint16_t dport) noexcept nogil:
    cdef int i
    for i in range(MAX_PORTS):
        if ports[i] and (ports[i] == sport or ports[i] == dport):
            return True
    return False


cdef inline bint try_vxlan(Packet *p, Cursor *c) noexcept nogil:
    """RFC 7348; needs the VNI flag, a zero reserved byte and room for Ethernet."""
    cdef const uint8_t *d = p.payload
    if p.payload_len < 22 or not d[0] & 0x08 or d[7]:
        return False
    enter(c, TUN_VXLAN, NEXT_ETHERNET, d + 8, p.payload_len - 8)
    return True


cdef inline bint try_geneve(Packet *p, Cursor *c) noexcept nogil:
    """RFC 8926: version 0, reserved bits zero, options that fill their length."""
    cdef const uint8_t *d = p.payload
    cdef uint32_t options, at
    cdef uint16_t proto
    if p.payload_len < 8 or d[0] >> 6 or d[1] & 0x3F or d[7]:
        return False
    options = (d[0] & 0x3F) * 4
    if 8 + options > p.payload_len:
        return False
    at = 0
    while at < options:
        at += 4 + (d[8 + at + 3] & 0x1F) * 4
    if at != options:
        return False
    proto = be16(d + 2)
    d += 8 + options
    if proto == ET_IPV4:
        enter(c, TUN_GENEVE, NEXT_IPV4, d, p.payload_len - 8 - options)
    elif proto == ET_IPV6:
        enter(c, TUN_GENEVE, NEXT_IPV6, d, p.payload_len - 8 - options)
    elif proto == ET_BRIDGE:
        enter(c, TUN_GENEVE, NEXT_ETHERNET, d, p.payload_len - 8 - options)
    elif proto != ET_ARP:
        fault(p, EV_GENEVE__UNKNOWN_PAYLOAD_TYPE)
    return True


cdef inline bint try_teredo(Packet *p, Cursor *c) noexcept nogil:
    """RFC 4380: only when an IPv6 header follows that fills the payload exactly."""
    cdef const uint8_t *d = p.payload
    cdef uint32_t left = p.payload_len
    while left >= 48 and d[0] == 0 and d[1] == 0:     # origin indication
        d += 8
        left -= 8
    if left < 40 or d[0] >> 4 != 6 or 40 + <uint32_t>be16(d + 4) != left:
        return False
    enter(c, TUN_TEREDO, NEXT_IPV6, d, left)
    return True


cdef inline void udp_tunnels(Packet *p, Cursor *c) noexcept nogil:
    """Look into UDP on the ports known for tunnels."""
    cdef uint64_t both = (<uint64_t>1 << (p.sport & 63)) | (<uint64_t>1 << (p.dport & 63))
    if not both & c.ports.mask:
        return
    if is_port(c.ports.teredo, p.sport, p.dport) and try_teredo(p, c):
        return
    if is_port(c.ports.geneve, p.sport, p.dport) and try_geneve(p, c):
        return
    if is_port(c.ports.vxlan, p.sport, p.dport):
        try_vxlan(p, c)
