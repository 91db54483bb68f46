# The C core of model.pyx: parser, flow table and port ranges, one frame at a time. The prefilter
# is nsdata/path/prefilter, which the packet path uses on the seams of streams as well.

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    HDR = 88                # bytes the parser sees: HDR_BYTES
    KEY = 41                # bytes of a key
    GENERATION = 323        # bits of a flow entry
    FLOW_ACTION = 331
    VALID = 333
    FLOW_WORDS = 6
    MAX_RANGES = 16

cdef enum:
    P_OK = 0
    P_RUNT = 1
    P_NOT_IP = 2
    P_MALFORMED = 3
    P_FRAGMENT = 4
    P_TUNNEL = 5
    P_OTHER = 6

cdef enum:
    V_CLEAR = 1
    V_SUSPECT = 2
    V_BYPASS = 3
    V_BLOCK = 4

cdef enum:
    A_NONE = 0
    A_BYPASS = 1
    A_BLOCK = 2

cdef struct Headers:
    uint8_t parse
    bint lookup
    bint len_short
    uint8_t key[KEY]        # little-endian, zero unless parse is OK

cdef struct Ranges:
    int count
    uint64_t word[MAX_RANGES]

cdef struct Flows:
    uint32_t sets
    uint8_t generation
    const uint64_t *entry

# --- the parser -------------------------------------------------------------------------


cdef inline uint32_t be16(const uint8_t *at) noexcept nogil:
    return <uint32_t>at[0] << 8 | at[1]


cdef inline bint is_tpid(uint32_t ethertype) noexcept nogil:
    return ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100


cdef inline bint is_tunnel_port(uint32_t port) noexcept nogil:
    return port == 2152 or port == 3544 or port == 4789 or port == 6081


cdef inline bint is_tunnel_protocol(uint8_t proto) noexcept nogil:
    return proto in (4, 41, 47, 50, 51, 94, 97, 137)


cdef inline uint8_t failed(Headers *h, uint8_t parse) noexcept nogil:
    memset(h.key, 0, KEY)
    h.parse = parse
    return parse


cdef uint8_t parse_headers(const uint8_t *d, uint64_t length, Headers *h) noexcept nogil:
    """Fill `h`; everything is read from the first HDR bytes."""
    cdef uint32_t n = HDR if length > HDR else <uint32_t>length
    cdef uint32_t seen = 65535 if length > 65535 else <uint32_t>length
    cdef uint32_t at = 12, tags = 0, outer = 0, inner = 0, kind, l3, l4, end, header, top
    cdef uint32_t sport = 0, dport = 0
    cdef uint8_t proto
    cdef bint v6, fragment
    cdef int i
    memset(h, 0, sizeof(Headers))
    if n < 14:
        return failed(h, P_RUNT)
    kind = be16(d + 12)
    while is_tpid(kind):
        if tags == 2:
            return failed(h, P_NOT_IP)
        if n < at + 6:
            return failed(h, P_RUNT)
        if tags == 0:
            outer = be16(d + at + 2) & 0xFFF
        else:
            inner = be16(d + at + 2) & 0xFFF
        tags += 1
        at += 4
        kind = be16(d + at)
    l3 = at + 2
    if kind == 0x8847 or kind == 0x8848 or kind == 0x8863 or kind == 0x8864:
        return failed(h, P_TUNNEL)
    if kind == 0x0800:
        v6 = False
        if n < l3 + 20 or d[l3] >> 4 != 4:
            return failed(h, P_MALFORMED)
        header = <uint32_t>(d[l3] & 15) * 4
        if header < 20 or n < l3 + header or be16(d + l3 + 2) < header:
            return failed(h, P_MALFORMED)
        end = l3 + be16(d + l3 + 2)
        fragment = be16(d + l3 + 6) & 0x3FFF
        proto = d[l3 + 9]
        for i in range(4):
            h.key[20 + i] = d[l3 + 15 - i]
            h.key[4 + i] = d[l3 + 19 - i]
    elif kind == 0x86DD:
        v6 = True
        if n < l3 + 40 or d[l3] >> 4 != 6:
            return failed(h, P_MALFORMED)
        header = 40
        end = l3 + 40 + be16(d + l3 + 4)
        proto = d[l3 + 6]
        fragment = proto == 44
        for i in range(16):
            h.key[20 + i] = d[l3 + 23 - i]
            h.key[4 + i] = d[l3 + 39 - i]
    else:
        return failed(h, P_NOT_IP)
    l4 = l3 + header
    h.len_short = end > seen
    if fragment:
        return failed(h, P_FRAGMENT)
    if is_tunnel_protocol(proto):
        return failed(h, P_TUNNEL)
    if proto == 6 or proto == 17:
        if n < l4 + 4 or end < l4 + (20 if proto == 6 else 8):
            return failed(h, P_MALFORMED)
        sport = be16(d + l4)
        dport = be16(d + l4 + 2)
        if proto == 17 and (is_tunnel_port(sport) or is_tunnel_port(dport)):
            return failed(h, P_TUNNEL)
        h.lookup = True
    elif proto != (58 if v6 else 1):
        return failed(h, P_OTHER)
    h.key[0] = dport & 0xFF
    h.key[1] = dport >> 8
    h.key[2] = sport & 0xFF
    h.key[3] = sport >> 8
    h.key[36] = proto
    top = inner | outer << 12 | tags << 24 | <uint32_t>v6 << 26
    memcpy(h.key + 37, &top, 4)
    h.parse = P_OK
    return P_OK


# --- flow table, ports -----------------------------------------------------------------


cdef uint32_t set_of(const uint8_t *key, uint32_t sets) noexcept nogil:
    cdef uint32_t c = 0
    cdef int i
    for i in range(KEY):
        c = (c >> 8) ^ crc32_tab[0][(c ^ key[i]) & 0xFF]
    return c & (sets - 1)


cdef uint8_t find_flow(const Flows *flows, const uint8_t *key) noexcept nogil:
    """The action of the first way that holds the key in the current generation."""
    cdef const uint64_t *entry
    cdef uint64_t top
    cdef uint32_t number = set_of(key, flows.sets)
    cdef int way
    for way in range(2):
        entry = flows.entry + (<uint64_t>number * 2 + way) * FLOW_WORDS
        top = entry[5]                  # bits 320..383
        if not top >> (VALID - 320) & 1:
            continue
        if (top >> (GENERATION - 320) & 0xFF) != flows.generation:
            continue
        if memcmp(entry, key, 40) or (top & 7) != key[40]:
            continue
        return top >> (FLOW_ACTION - 320) & 3
    return A_NONE


cdef bint in_ranges(const Ranges *ranges, const uint8_t *key) noexcept nogil:
    cdef uint32_t dport = key[0] | <uint32_t>key[1] << 8
    cdef uint32_t sport = key[2] | <uint32_t>key[3] << 8
    cdef uint32_t low, high
    cdef uint64_t word
    cdef uint8_t proto = key[36]
    cdef int i
    for i in range(ranges.count):
        word = ranges.word[i]
        low = word & 0xFFFF
        high = word >> 16 & 0xFFFF
        if (proto == 1 or proto == 58) and word >> 34 & 1:
            return True
        if (proto == 6 and word >> 32 & 1) or (proto == 17 and word >> 33 & 1):
            if low <= sport <= high or low <= dport <= high:
                return True
    return False
