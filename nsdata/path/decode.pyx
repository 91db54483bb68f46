# cython: language_level=3
"""Decode frames: link layer, tags, IPv4/IPv6, tunnels, TCP/UDP/SCTP/ICMP.

A cursor walks the headers in a loop, so nothing recurses and MAX_STEPS headers and
MAX_LAYERS IP layers bound the work. Whatever does not hold becomes a decode event
(events.pxd) and ends the walk of that frame. `decode_bytes` shows one frame to a person.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from nsdata.path.decode_base cimport (
    MAX_PORTS, MAX_STEPS, NEXT_DONE, NEXT_ETHERNET, NEXT_ETHERTYPE, NEXT_IPV4, NEXT_IPV6,
    NEXT_LINK, NEXT_PPP, Cursor, TunnelPorts, fault,
)
from nsdata.path.decode_ip cimport decode_ipv4, decode_ipv6
from nsdata.path.decode_link cimport (
    ET_ERSPAN, LT_ETHERNET, decode_ethernet, decode_ethertype, decode_link, decode_ppp,
)
from nsdata.path.decode_tunnel cimport decode_erspan
from nsdata.path.events cimport EV_COUNT, EV_DECODER__TOO_MANY_LAYERS
from nsdata.path.packet cimport (
    EVENT_WORDS, MAX_LAYERS, MAX_VLAN, NO_FLOW, PKT_BAD_IP_CSUM, PKT_BAD_L4_CSUM,
    PKT_FRAGMENT, PKT_HAS_INNER, PKT_ICMP_ERROR, PKT_INVALID, PKT_REBUILT, PKT_TRUNCATED,
    PKT_TUNNELED, TUN_NONE, TUN_TEREDO, Packet,
)

from nsdata.path.events import event_names

cdef extern from *:
    void __builtin_prefetch(const void *address) noexcept nogil

cdef enum:
    PREFETCH_AHEAD = 8    # frames whose headers are fetched early in a batch

cdef TunnelPorts ports


cdef inline void begin(Packet *p) noexcept nogil:
    memset(p, 0, sizeof(Packet))
    p.wscale = 0xFF
    p.flow = NO_FLOW


cdef inline void inherit(Packet *p, const Packet *parent) noexcept nogil:
    """Begin a Packet with the link facts of `parent`."""
    cdef int i
    begin(p)
    p.ts_ns = parent.ts_ns
    p.frame_no = parent.frame_no
    p.frame = parent.frame
    p.caplen = parent.caplen
    p.wirelen = parent.wirelen
    p.linktype = parent.linktype
    p.ethertype = parent.ethertype
    p.eth = parent.eth
    p.n_vlan = parent.n_vlan
    for i in range(MAX_VLAN):
        p.vlan[i] = parent.vlan[i]


cdef inline bint quiet(const Packet *p) noexcept nogil:
    """Whether there is neither IP nor an event in it."""
    cdef int i
    cdef uint64_t events = 0
    for i in range(EVENT_WORDS):
        events |= p.events[i]
    return p.ip_version == 0 and events == 0


cdef int walk(Cursor *c, Packet *out, int room) noexcept nogil:
    """Decode from the cursor on; out[0] has begun. Returns the number of Packets."""
    cdef Packet *p = out
    cdef Packet *inner
    cdef int n = 1, steps = 0
    cdef uint8_t what
    while c.next != NEXT_DONE:
        if c.tunnel != TUN_NONE:
            if n >= room or p.layer + 1 >= MAX_LAYERS:
                fault(p, EV_DECODER__TOO_MANY_LAYERS)
                break
            inner = out + n
            inherit(inner, p)
            inner.layer = p.layer + 1
            inner.tunnel = c.tunnel
            inner.flags = PKT_TUNNELED | (p.flags & PKT_REBUILT)
            p.flags |= PKT_HAS_INNER
            p = inner
            n += 1
            c.tunnel = TUN_NONE
        if steps == MAX_STEPS:
            fault(p, EV_DECODER__TOO_MANY_LAYERS)
            break
        steps += 1
        what = c.next
        c.next = NEXT_DONE
        if what == NEXT_IPV4:
            decode_ipv4(p, c)
        elif what == NEXT_ETHERNET:
            decode_ethernet(p, c)
        elif what == NEXT_IPV6:
            decode_ipv6(p, c)
            if p.tunnel == TUN_TEREDO and p.flags & PKT_INVALID:
                # It was no Teredo, just UDP that looked like it.
                n -= 1
                out[n - 1].flags &= ~<uint32_t>PKT_HAS_INNER
                return n
        elif what == NEXT_ETHERTYPE:
            if c.ethertype == ET_ERSPAN:
                decode_erspan(p, c)
            else:
                decode_ethertype(p, c)
        elif what == NEXT_PPP:
            decode_ppp(p, c)
        else:
            decode_link(p, c)
    if n > 1 and quiet(p):                # e.g. ARP in a tunnel: no layer of its own
        n -= 1
        out[n - 1].flags &= ~<uint32_t>PKT_HAS_INNER
    return n


cdef int decode_frame(const uint8_t *data, uint32_t caplen, uint32_t wirelen,
                      uint16_t linktype, bint checksums, Packet *out,
                      int room) noexcept nogil:
    cdef Cursor c
    begin(out)
    out.frame = data
    out.caplen = caplen
    out.wirelen = wirelen
    out.linktype = linktype
    c.data = data
    c.length = caplen
    c.ethertype = 0
    c.next = NEXT_ETHERNET if linktype == LT_ETHERNET else NEXT_LINK
    c.tunnel = TUN_NONE
    c.checksums = checksums
    c.ports = &ports
    return walk(&c, out, room)


cdef int decode_datagram(const uint8_t *data, uint32_t length, const Packet *parent,
                         bint checksums, Packet *out, int room) noexcept nogil:
    cdef Cursor c
    inherit(out, parent)
    out.layer = parent.layer
    out.tunnel = parent.tunnel
    out.flags = PKT_REBUILT | (parent.flags & PKT_TUNNELED)
    c.data = data
    c.length = length
    c.ethertype = 0
    c.next = NEXT_IPV6 if parent.ip_version == 6 else NEXT_IPV4
    c.tunnel = TUN_NONE
    c.checksums = checksums
    c.ports = &ports
    return walk(&c, out, room)


# ---- doors for Python ----------------------------------------------------------------

NAMES = {number: name for name, number in event_names().items()}
FLAGS = {
    "fragment": PKT_FRAGMENT, "rebuilt": PKT_REBUILT, "tunneled": PKT_TUNNELED,
    "has_inner": PKT_HAS_INNER, "bad_ip_csum": PKT_BAD_IP_CSUM,
    "bad_l4_csum": PKT_BAD_L4_CSUM, "invalid": PKT_INVALID, "truncated": PKT_TRUNCATED,
    "icmp_error": PKT_ICMP_ERROR,
}
TUNNELS = ("", "gre", "ipv4", "ipv6", "vxlan", "geneve", "erspan", "teredo")


cdef object error(kind, message):
    """An exception of nsdata.errors, imported late: fuzz builds hold extensions alone."""
    from nsdata import errors

    return getattr(errors, kind)(message)


def set_tunnel_ports(*, vxlan=(4789,), geneve=(6081,), teredo=(3544,)):
    """Set the UDP ports on which tunnels are looked for, process-wide; () turns one off.

    At most 4 ports each, 1..65535; else SettingError. Not while packets are decoded.
    """
    cdef TunnelPorts new
    cdef int i
    memset(&new, 0, sizeof(new))
    for name, values in (("vxlan", vxlan), ("geneve", geneve), ("teredo", teredo)):
        if len(values) > MAX_PORTS or any(not 0 < v < 65536 for v in values):
            raise error(
                "SettingError",
                f"decoder.{name}.ports: {list(values)} will not do; "
                f"give at most {MAX_PORTS} ports from 1 to 65535"
            )
    for i, value in enumerate(vxlan):
        new.vxlan[i] = value
    for i, value in enumerate(geneve):
        new.geneve[i] = value
    for i, value in enumerate(teredo):
        new.teredo[i] = value
    for value in (*vxlan, *geneve, *teredo):
        new.mask |= <uint64_t>1 << <int>(value & 63)
    global ports
    ports = new


set_tunnel_ports()


def decode_bytes(bytes data not None, linktype=1, checksums=True):
    """Decode one frame and describe each IP layer, outermost first, as a dict.

    Offsets (`eth`, `ip`, `l4`, `payload`) count from the frame's first byte, None if
    absent; addresses are bytes (4 or 16); `events` are the rule language's names, sorted;
    `flags` are short names. `linktype` is a LINKTYPE_* number.
    """
    cdef Packet[MAX_LAYERS] out
    cdef const uint8_t *frame = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef uint32_t length
    cdef int n
    if PyBytes_GET_SIZE(data) > 0x7FFFFFFF:
        raise error("EngineError", "decode_bytes: a frame has at most 2147483647 bytes")
    length = <uint32_t>PyBytes_GET_SIZE(data)
    n = decode_frame(frame, length, length, linktype, checksums, out, MAX_LAYERS)
    return [describe(&out[i], frame) for i in range(n)]


cdef object offset_of(const uint8_t *at, const uint8_t *base):
    return None if at == NULL else <size_t>at - <size_t>base


cdef dict describe(const Packet *p, const uint8_t *base):
    """The decode-owned fields of a Packet; offsets from `base`."""
    width = 16 if p.ip_version == 6 else 4 if p.ip_version == 4 else 0
    return {
        "caplen": p.caplen, "wirelen": p.wirelen, "linktype": p.linktype,
        "ethertype": p.ethertype, "eth": offset_of(p.eth, base),
        "ip": offset_of(p.ip, base), "l4": offset_of(p.l4, base),
        "payload": offset_of(p.payload, base), "ip_hlen": p.ip_hlen, "ip_len": p.ip_len,
        "l4_len": p.l4_len, "l4_hlen": p.l4_hlen, "payload_len": p.payload_len,
        "src": p.src[:width], "dst": p.dst[:width], "sport": p.sport, "dport": p.dport,
        "ip_version": p.ip_version, "proto": p.proto, "ttl": p.ttl, "tos": p.tos,
        "ip_id": p.ip_id, "frag_off": p.frag_off, "frag_more": p.frag_more,
        "frag_dont": p.frag_dont, "frag_reserved": p.frag_reserved,
        "tcp_flags": p.tcp_flags, "seq": p.seq, "ack": p.ack, "window": p.window,
        "urgent": p.urgent, "mss": p.mss,
        "wscale": None if p.wscale == 0xFF else p.wscale, "sack_ok": bool(p.sack_ok),
        "ts": (p.tsval, p.tsecr) if p.has_tsopt else None,
        "icmp_type": p.icmp_type, "icmp_code": p.icmp_code, "icmp_id": p.icmp_id,
        "icmp_seq": p.icmp_seq, "icmp_inner_proto": p.icmp_inner_proto,
        "icmp_inner_sport": p.icmp_inner_sport, "icmp_inner_dport": p.icmp_inner_dport,
        "icmp_inner_src": p.icmp_inner_src[:width],
        "icmp_inner_dst": p.icmp_inner_dst[:width],
        "vlan": [p.vlan[i] for i in range(p.n_vlan)], "layer": p.layer,
        "tunnel": TUNNELS[p.tunnel],
        "flags": sorted(name for name, bit in FLAGS.items() if p.flags & bit),
        "events": sorted(
            NAMES[i] for i in range(EV_COUNT) if p.events[i >> 6] >> (i & 63) & 1
        ),
    }


def decode_batch(const uint8_t[::1] data not None, const uint64_t[::1] offset not None,
                 const uint32_t[::1] caplen not None, const uint32_t[::1] wirelen not None,
                 const uint16_t[::1] linktype not None, bint checksums=False):
    """Decode many frames of one buffer, for benchmarks; no Python object per frame.

    Frame i is data[offset[i]:offset[i] + caplen[i]]; all arrays have one length. Returns
    (packets, payload bytes, events), so that no work can be left out. EngineError when
    a frame lies outside the buffer or the arrays differ in length.
    """
    cdef Packet[MAX_LAYERS] out
    cdef Py_ssize_t i, count = offset.shape[0], ahead
    cdef int j, k, n
    cdef uint64_t packets = 0, payload = 0, events = 0, size = <uint64_t>data.shape[0]
    if not (caplen.shape[0] == wirelen.shape[0] == linktype.shape[0] == count):
        raise error("EngineError", "decode_batch: the arrays given differ in length")
    for i in range(count):
        if offset[i] > size or caplen[i] > size - offset[i]:
            raise error("EngineError",
                        f"decode_batch: frame {i} lies outside the {size} bytes given")
    if count == 0 or size == 0:
        return 0, 0, 0
    with nogil:
        for i in range(count):
            ahead = i + PREFETCH_AHEAD
            if ahead < count:
                __builtin_prefetch(&data[0] + offset[ahead])
            n = decode_frame(&data[0] + offset[i], caplen[i], wirelen[i], linktype[i],
                             checksums, out, MAX_LAYERS)
            packets += n
            for j in range(n):
                payload += out[j].payload_len
                for k in range(EVENT_WORDS):
                    events += out[j].events[k] != 0
    return packets, payload, events
