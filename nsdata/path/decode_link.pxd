# Link layers and everything between the link header and IP: Ethernet, tags, PPP, MPLS…
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from nsdata.path.decode_base cimport (
    NEXT_DONE, NEXT_ETHERNET, NEXT_ETHERTYPE, NEXT_IPV4, NEXT_IPV6, NEXT_PPP,
    Cursor, be16, be32, fault, note, skip,
)
from nsdata.path.events cimport (
    EV_ARP__INVALID_HARDWARE_SIZE, EV_ARP__INVALID_PKT, EV_ARP__INVALID_PROTOCOL_SIZE,
    EV_ARP__PKT_TOO_SMALL, EV_ARP__UNSUPPORTED_HARDWARE, EV_ARP__UNSUPPORTED_OPCODE,
    EV_ARP__UNSUPPORTED_PROTOCOL, EV_CHDLC__PKT_TOO_SMALL, EV_DCE__PKT_TOO_SMALL,
    EV_DECODER__TOO_MANY_LAYERS, EV_DECODER__UNKNOWN_LINKTYPE,
    EV_ETHERNET__PKT_TOO_SMALL, EV_ETHERNET__UNKNOWN_ETHERTYPE,
    EV_IEEE8021AH__HEADER_TOO_SMALL, EV_IPRAW__INVALID_IP_VERSION,
    EV_LTNULL__PKT_TOO_SMALL, EV_LTNULL__UNSUPPORTED_TYPE,
    EV_MPLS__BAD_LABEL_IMPLICIT_NULL, EV_MPLS__BAD_LABEL_RESERVED,
    EV_MPLS__BAD_LABEL_ROUTER_ALERT, EV_MPLS__HEADER_TOO_SMALL, EV_MPLS__PKT_TOO_SMALL,
    EV_MPLS__UNKNOWN_PAYLOAD_TYPE, EV_NSH__BAD_HEADER_LENGTH, EV_NSH__HEADER_TOO_SMALL,
    EV_NSH__RESERVED_TYPE, EV_NSH__UNKNOWN_PAYLOAD, EV_NSH__UNSUPPORTED_TYPE,
    EV_NSH__UNSUPPORTED_VERSION, EV_PPP__IP4_PKT_TOO_SMALL, EV_PPP__IP6_PKT_TOO_SMALL,
    EV_PPP__PKT_TOO_SMALL, EV_PPP__UNSUP_PROTO, EV_PPP__VJU_PKT_TOO_SMALL,
    EV_PPP__WRONG_TYPE, EV_PPPOE__MALFORMED_TAGS, EV_PPPOE__PKT_TOO_SMALL,
    EV_PPPOE__WRONG_CODE, EV_SLL2__PKT_TOO_SMALL, EV_SLL__PKT_TOO_SMALL,
    EV_VLAN__HEADER_TOO_SMALL, EV_VLAN__TOO_MANY_LAYERS, EV_VLAN__UNKNOWN_TYPE,
    EV_VNTAG__HEADER_TOO_SMALL, EV_VNTAG__UNKNOWN_TYPE,
)
from nsdata.path.packet cimport MAX_VLAN, Packet

cdef enum:
    MAX_LABELS = 32       # MPLS labels popped before giving up

cdef enum EtherType:
    ET_IPV4 = 0x0800
    ET_ARP = 0x0806
    ET_BRIDGE = 0x6558
    ET_VLAN = 0x8100
    ET_IPV6 = 0x86DD
    ET_MPLS = 0x8847
    ET_MPLS_MULTICAST = 0x8848
    ET_PPPOE_DISCOVERY = 0x8863
    ET_PPPOE_SESSION = 0x8864
    ET_PPP = 0x880B
    ET_QINQ = 0x88A8
    ET_ERSPAN = 0x88BE
    ET_8021AH = 0x88E7
    ET_DCE = 0x8903
    ET_VNTAG = 0x8926
    ET_NSH = 0x894F
    ET_QINQ_OLD = 0x9100

cdef enum LinkType:
    LT_NULL = 0
    LT_ETHERNET = 1
    LT_PPP = 9
    LT_RAW_BSD = 12
    LT_RAW_OPENBSD = 14
    LT_PPP_HDLC = 50
    LT_PPPOE = 51
    LT_RAW = 101
    LT_CHDLC = 104
    LT_LOOP = 108
    LT_SLL = 113
    LT_IPV4 = 228
    LT_IPV6 = 229
    LT_SLL2 = 276


cdef inline bint by_ethertype(Packet *p, Cursor *c, uint16_t ethertype) noexcept nogil:
    """Point the cursor at what `ethertype` names; False when that is not known."""
    p.ethertype = ethertype
    c.ethertype = ethertype
    if ethertype == ET_IPV4:
        c.next = NEXT_IPV4
    elif ethertype == ET_IPV6:
        c.next = NEXT_IPV6
    elif ethertype in (ET_ARP, ET_VLAN, ET_QINQ, ET_QINQ_OLD, ET_MPLS, ET_MPLS_MULTICAST,
                       ET_PPPOE_DISCOVERY, ET_PPPOE_SESSION, ET_8021AH, ET_DCE, ET_VNTAG,
                       ET_NSH):
        c.next = NEXT_ETHERTYPE
    else:
        return False
    return True


cdef inline void by_ip_nibble(Packet *p, Cursor *c) noexcept nogil:
    """IP without a link header: the version says which."""
    if c.length > 0 and c.data[0] >> 4 == 4:
        c.next = NEXT_IPV4
    elif c.length > 0 and c.data[0] >> 4 == 6:
        c.next = NEXT_IPV6
    else:
        fault(p, EV_IPRAW__INVALID_IP_VERSION)


cdef inline void decode_ethernet(Packet *p, Cursor *c) noexcept nogil:
    cdef uint16_t ethertype
    if c.length < 14:
        fault(p, EV_ETHERNET__PKT_TOO_SMALL)
        return
    p.eth = c.data
    ethertype = be16(c.data + 12)
    skip(c, 14)
    if not by_ethertype(p, c, ethertype):
        note(p, EV_ETHERNET__UNKNOWN_ETHERTYPE)


cdef inline void decode_vlan(Packet *p, Cursor *c) noexcept nogil:
    """IEEE 802.1Q and 802.1ad."""
    cdef uint16_t ethertype
    if c.length < 4:
        fault(p, EV_VLAN__HEADER_TOO_SMALL)
        return
    if p.n_vlan >= MAX_VLAN:
        note(p, EV_VLAN__TOO_MANY_LAYERS)
        return
    p.vlan[p.n_vlan] = be16(c.data) & 0x0FFF
    p.n_vlan += 1
    ethertype = be16(c.data + 2)
    skip(c, 4)
    if not by_ethertype(p, c, ethertype):
        fault(p, EV_VLAN__UNKNOWN_TYPE)


cdef inline void decode_arp(Packet *p, Cursor *c) noexcept nogil:
    """RFC 826, Ethernet and IPv4 alone; nothing is kept but what is wrong with it."""
    cdef uint16_t opcode
    if c.length < 8:
        fault(p, EV_ARP__PKT_TOO_SMALL)
    elif be16(c.data) != 1:
        fault(p, EV_ARP__UNSUPPORTED_HARDWARE)
    elif be16(c.data + 2) != ET_IPV4:
        fault(p, EV_ARP__UNSUPPORTED_PROTOCOL)
    elif c.length < 28:
        fault(p, EV_ARP__INVALID_PKT)
    elif c.data[4] != 6:
        fault(p, EV_ARP__INVALID_HARDWARE_SIZE)
    elif c.data[5] != 4:
        fault(p, EV_ARP__INVALID_PROTOCOL_SIZE)
    else:
        opcode = be16(c.data + 6)
        if opcode < 1 or opcode > 4:
            fault(p, EV_ARP__UNSUPPORTED_OPCODE)


cdef inline void decode_mpls(Packet *p, Cursor *c) noexcept nogil:
    """RFC 3032; what the stack carries is guessed from the label or the first nibble."""
    cdef uint32_t shim = 0
    cdef uint32_t label
    cdef int labels = 0
    while True:
        if c.length < 4:
            fault(p, EV_MPLS__HEADER_TOO_SMALL)
            return
        shim = be32(c.data)
        skip(c, 4)
        labels += 1
        if shim & 0x100:
            break
        if labels == MAX_LABELS:
            fault(p, EV_DECODER__TOO_MANY_LAYERS)
            return
    label = shim >> 12
    if label == 0:
        c.next = NEXT_IPV4
    elif label == 1:
        note(p, EV_MPLS__BAD_LABEL_ROUTER_ALERT)
    elif label == 2:
        c.next = NEXT_IPV6
    elif label == 3:
        note(p, EV_MPLS__BAD_LABEL_IMPLICIT_NULL)
    elif label < 15:
        note(p, EV_MPLS__BAD_LABEL_RESERVED)
    elif c.length < 4:
        fault(p, EV_MPLS__PKT_TOO_SMALL)
    elif c.data[0] >> 4 == 4:
        c.next = NEXT_IPV4
    elif c.data[0] >> 4 == 6:
        c.next = NEXT_IPV6
    elif c.data[0] >> 4 == 0:
        skip(c, 4)                    # pseudowire control word, RFC 4448
        c.next = NEXT_ETHERNET
    else:
        fault(p, EV_MPLS__UNKNOWN_PAYLOAD_TYPE)


cdef inline void by_ppp_protocol(Packet *p, Cursor *c, uint16_t proto) noexcept nogil:
    if proto == 0x0021:
        if c.length < 20:
            fault(p, EV_PPP__IP4_PKT_TOO_SMALL)
        else:
            c.next = NEXT_IPV4
    elif proto == 0x0057:
        if c.length < 40:
            fault(p, EV_PPP__IP6_PKT_TOO_SMALL)
        else:
            c.next = NEXT_IPV6
    elif proto == 0x002F:             # VJ uncompressed: an IPv4 datagram
        if c.length < 20:
            fault(p, EV_PPP__VJU_PKT_TOO_SMALL)
        elif c.data[0] >> 4 == 4:
            c.next = NEXT_IPV4
    elif proto in (0x002D, 0x002B, 0x0023, 0x0025, 0x0027, 0x0029, 0x0031, 0x0033, 0x0035,
                   0x0201, 0x0231, 0x004D, 0x0281, 0x0283, 0x8021, 0x8023, 0x8025, 0x8027,
                   0x8029, 0x802B, 0x8033, 0x8035, 0x8057, 0x8281, 0xC021, 0xC023, 0xC025,
                   0xC223):
        note(p, EV_PPP__UNSUP_PROTO)
    else:
        fault(p, EV_PPP__WRONG_TYPE)


cdef inline void decode_ppp(Packet *p, Cursor *c) noexcept nogil:
    """RFC 1661 and 1662, with address/control and protocol field compression."""
    cdef uint16_t proto
    if c.length >= 2 and c.data[0] == 0xFF and c.data[1] == 0x03:
        skip(c, 2)
    if c.length >= 1 and c.data[0] & 1:
        proto = c.data[0]
        skip(c, 1)
    elif c.length >= 2:
        proto = be16(c.data)
        skip(c, 2)
    else:
        fault(p, EV_PPP__PKT_TOO_SMALL)
        return
    by_ppp_protocol(p, c, proto)


cdef inline void decode_pppoe(Packet *p, Cursor *c, bint session) noexcept nogil:
    """RFC 2516."""
    cdef uint32_t length, tag
    cdef uint16_t proto
    if c.length < (8 if session else 6):
        fault(p, EV_PPPOE__PKT_TOO_SMALL)
        return
    length = be16(c.data + 4)
    if session:
        proto = be16(c.data + 6)
        skip(c, 8)
        if length > 0:
            by_ppp_protocol(p, c, proto)
        return
    # PADI, PADO, PADR, PADS, PADT
    if c.data[1] not in (0x09, 0x07, 0x19, 0x65, 0xA7):
        fault(p, EV_PPPOE__WRONG_CODE)
        return
    skip(c, 6)
    if length > c.length:
        fault(p, EV_PPPOE__MALFORMED_TAGS)
        return
    while length >= 4:
        tag = 4 + <uint32_t>be16(c.data + 2)
        if tag > length:
            fault(p, EV_PPPOE__MALFORMED_TAGS)
            return
        skip(c, tag)
        length -= tag


cdef inline void decode_nsh(Packet *p, Cursor *c) noexcept nogil:
    """Network service header, RFC 8300."""
    cdef uint32_t length
    cdef uint8_t md, proto
    if c.length < 8:
        fault(p, EV_NSH__HEADER_TOO_SMALL)
        return
    if c.data[0] >> 6 != 0:
        note(p, EV_NSH__UNSUPPORTED_VERSION)
        return
    length = (c.data[1] & 0x3F) * 4
    if length < 8 or length >= c.length:
        fault(p, EV_NSH__BAD_HEADER_LENGTH)
        return
    md = c.data[2] & 0x0F
    proto = c.data[3]
    if md == 0 or md == 0x0F:
        note(p, EV_NSH__RESERVED_TYPE)
        return
    if md == 1:
        if length != 24:
            fault(p, EV_NSH__BAD_HEADER_LENGTH)
            return
    elif md != 2:
        note(p, EV_NSH__UNSUPPORTED_TYPE)
        return
    skip(c, length)
    if proto == 1:
        c.next = NEXT_IPV4
    elif proto == 2:
        c.next = NEXT_IPV6
    elif proto == 3:
        c.next = NEXT_ETHERNET
    elif proto == 5:
        c.next = NEXT_ETHERTYPE
        c.ethertype = ET_MPLS
    else:
        note(p, EV_NSH__UNKNOWN_PAYLOAD)


cdef inline void decode_ethertype(Packet *p, Cursor *c) noexcept nogil:
    """The header Cursor.ethertype names, if it is none of IP's."""
    cdef uint16_t ethertype = c.ethertype
    if ethertype in (ET_VLAN, ET_QINQ, ET_QINQ_OLD):
        decode_vlan(p, c)
    elif ethertype == ET_ARP:
        decode_arp(p, c)
    elif ethertype in (ET_MPLS, ET_MPLS_MULTICAST):
        decode_mpls(p, c)
    elif ethertype in (ET_PPPOE_SESSION, ET_PPPOE_DISCOVERY):
        decode_pppoe(p, c, ethertype == ET_PPPOE_SESSION)
    elif ethertype == ET_8021AH:      # IEEE 802.1ah: I-TAG, both addresses, type
        if c.length < 18:
            fault(p, EV_IEEE8021AH__HEADER_TOO_SMALL)
            return
        ethertype = be16(c.data + 16)
        skip(c, 18)
        by_ethertype(p, c, ethertype)
    elif ethertype == ET_VNTAG:       # IEEE 802.1BR precursor: tag, type
        if c.length < 6:
            fault(p, EV_VNTAG__HEADER_TOO_SMALL)
            return
        ethertype = be16(c.data + 4)
        skip(c, 6)
        if not by_ethertype(p, c, ethertype):
            fault(p, EV_VNTAG__UNKNOWN_TYPE)
    elif ethertype == ET_DCE:         # FabricPath: a tag, then a whole Ethernet header
        if c.length < 16:
            fault(p, EV_DCE__PKT_TOO_SMALL)
            return
        skip(c, 2)
        c.next = NEXT_ETHERNET
    elif ethertype == ET_NSH:
        decode_nsh(p, c)


cdef inline void decode_null(Packet *p, Cursor *c, bint big_endian) noexcept nogil:
    """BSD loopback: the address family in the byte order of the capturing host."""
    cdef uint32_t family
    if c.length < 4:
        fault(p, EV_LTNULL__PKT_TOO_SMALL)
        return
    family = be32(c.data)
    if not big_endian and family >> 24:
        family = ((family >> 24) | ((family >> 8) & 0xFF00) | ((family & 0xFF00) << 8)
                  | ((family & 0xFF) << 24))
    skip(c, 4)
    if family == 2:
        c.next = NEXT_IPV4
    elif family in (10, 24, 28, 30):  # Linux, NetBSD, FreeBSD, Darwin
        c.next = NEXT_IPV6
    else:
        fault(p, EV_LTNULL__UNSUPPORTED_TYPE)


cdef inline void decode_link(Packet *p, Cursor *c) noexcept nogil:
    """The outermost header, by LINKTYPE_*, other than Ethernet."""
    cdef uint16_t linktype = p.linktype
    cdef uint16_t ethertype
    if linktype in (LT_RAW, LT_RAW_BSD, LT_RAW_OPENBSD, LT_IPV4, LT_IPV6):
        by_ip_nibble(p, c)
    elif linktype == LT_SLL:
        if c.length < 16:
            fault(p, EV_SLL__PKT_TOO_SMALL)
            return
        ethertype = be16(c.data + 14)
        skip(c, 16)
        by_ethertype(p, c, ethertype)
    elif linktype == LT_SLL2:
        if c.length < 20:
            fault(p, EV_SLL2__PKT_TOO_SMALL)
            return
        ethertype = be16(c.data)
        skip(c, 20)
        by_ethertype(p, c, ethertype)
    elif linktype == LT_NULL or linktype == LT_LOOP:
        decode_null(p, c, linktype == LT_LOOP)
    elif linktype == LT_PPP or linktype == LT_PPP_HDLC:
        decode_ppp(p, c)
    elif linktype == LT_CHDLC:
        if c.length < 4:
            fault(p, EV_CHDLC__PKT_TOO_SMALL)
            return
        ethertype = be16(c.data + 2)
        skip(c, 4)
        by_ethertype(p, c, ethertype)
    elif linktype == LT_PPPOE:
        decode_pppoe(p, c, True)
    else:
        fault(p, EV_DECODER__UNKNOWN_LINKTYPE)
