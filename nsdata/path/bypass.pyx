"""Inspection bypass rules in the packet path.

`nsdata.fallback.bypass_rules` holds the model, the loader and the array's layout; this is
its matcher, tested against the reference there.
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp

from nsdata.path.packet cimport PKT_FRAGMENT, Packet


cdef bint _inside(const uint8_t *address, uint8_t version, const uint8_t *net,
                  uint8_t net_version, uint8_t prefix) noexcept nogil:
    cdef uint8_t whole = prefix >> 3
    cdef uint8_t rest = prefix & 7
    if net_version == 0:
        return True
    if net_version != version:
        return False
    if memcmp(address, net, whole) != 0:
        return False
    return rest == 0 or (address[whole] ^ net[whole]) >> (8 - rest) == 0


cdef bint _tuple(const BypassRule *r, const Packet *p, const uint8_t *src, const uint8_t *dst,
                 uint16_t sport, uint16_t dport) noexcept nogil:
    if not _inside(src, p.ip_version, r.src, r.src_version, r.src_prefix):
        return False
    if not _inside(dst, p.ip_version, r.dst, r.dst_version, r.dst_prefix):
        return False
    if r.ports & 1 and not r.sport_lo <= sport <= r.sport_hi:
        return False
    return not r.ports & 2 or r.dport_lo <= dport <= r.dport_hi


cdef uint8_t _protocol(const Packet *p) noexcept nogil:
    """The IP protocol after extension headers, of IPv6 fragments too."""
    if p.proto == 44 and p.flags & PKT_FRAGMENT and p.l4 != NULL and p.l4 - p.ip >= 48:
        return (p.l4 - 8)[0]          # next header, first byte of the fragment header
    return p.proto


cdef bint _matches(const BypassRule *r, const Packet *p) noexcept nogil:
    cdef bint is_ip
    if not r.enabled:
        return False
    if r.ethertype_mode:
        is_ip = p.ethertype == 0x0800 or p.ethertype == 0x86DD or p.ip_version != 0
        if r.ethertype_mode == 1 and not is_ip:
            return False
        if r.ethertype_mode == 2 and is_ip:
            return False
        if r.ethertype_mode == 3 and p.ethertype != r.ethertype:
            return False
    if r.vlan >= 0 and (p.n_vlan == 0 or p.vlan[0] != r.vlan):
        return False
    if r.proto >= 0 and (p.ip_version == 0 or _protocol(p) != r.proto):
        return False
    if r.ports and (p.l4 == NULL or p.flags & PKT_FRAGMENT
                    or (p.proto != 6 and p.proto != 17)):
        return False
    if _tuple(r, p, p.src, p.dst, p.sport, p.dport):
        return True
    return r.bidirectional and _tuple(r, p, p.dst, p.src, p.dport, p.sport)


cdef int first_match(const BypassRule *rules, int n, const Packet *p) noexcept nogil:
    """Index of the first rule that matches, or -1."""
    cdef int i
    for i in range(n):
        if _matches(&rules[i], p):
            return i
    return -1
