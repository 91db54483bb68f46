# What every part of decode shares: the cursor that walks a frame, byte access, the
# checksum. All inline: one C function comes out of the decode_* parts.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from nsdata.path.packet cimport PKT_INVALID, Packet

cdef enum:
    MAX_STEPS = 16        # headers decoded in one frame (link, tag, IP, tunnel), all layers
    MAX_PORTS = 4         # UDP ports per tunnel protocol

# What the cursor's bytes are.
cdef enum Next:
    NEXT_DONE = 0
    NEXT_ETHERNET = 1
    NEXT_ETHERTYPE = 2    # a header named by Cursor.ethertype, other than IP
    NEXT_IPV4 = 3
    NEXT_IPV6 = 4
    NEXT_PPP = 5
    NEXT_LINK = 6         # the frame's own link header, by link type

# UDP ports on which tunnels are looked for; `mask` has bit (port & 63) set for each.
cdef struct TunnelPorts:
    uint64_t mask
    uint16_t vxlan[MAX_PORTS]
    uint16_t geneve[MAX_PORTS]
    uint16_t teredo[MAX_PORTS]

cdef struct Cursor:
    const uint8_t *data   # what is not yet decoded
    uint32_t length       # bytes at data
    uint16_t ethertype
    uint8_t next          # Next
    uint8_t tunnel        # Tunnel: begin a new layer before going on
    bint checksums
    const TunnelPorts *ports


cdef inline uint16_t be16(const uint8_t *d) noexcept nogil:
    return <uint16_t>((<uint32_t>d[0] << 8) | d[1])


cdef inline uint32_t be32(const uint8_t *d) noexcept nogil:
    return (<uint32_t>d[0] << 24) | (<uint32_t>d[1] << 16) | (<uint32_t>d[2] << 8) | d[3]


cdef inline void note(Packet *p, int event) noexcept nogil:
    """Set an event; the packet stays sound."""
    p.events[event >> 6] |= <uint64_t>1 << (event & 63)


cdef inline void fault(Packet *p, int event) noexcept nogil:
    """Set an event that makes the packet invalid."""
    p.events[event >> 6] |= <uint64_t>1 << (event & 63)
    p.flags |= PKT_INVALID


cdef inline void skip(Cursor *c, uint32_t count) noexcept nogil:
    c.data += count
    c.length -= count


cdef inline uint64_t add_words(const uint8_t *d, uint32_t length, uint64_t acc) noexcept nogil:
    """Add `length` bytes to a ones' complement sum kept unfolded in 64 bits (RFC 1071).

    Words are native-endian: the sum's byte order cancels out when it is compared with 0.
    `length` ≤ 2**20 keeps the accumulators from overflowing.
    """
    cdef uint64_t a = 0, b = 0, e = 0, f = 0
    cdef uint64_t w0, w1, w2, w3
    while length >= 32:
        memcpy(&w0, d, 8)
        memcpy(&w1, d + 8, 8)
        memcpy(&w2, d + 16, 8)
        memcpy(&w3, d + 24, 8)
        a += <uint32_t>w0 + (w0 >> 32)
        b += <uint32_t>w1 + (w1 >> 32)
        e += <uint32_t>w2 + (w2 >> 32)
        f += <uint32_t>w3 + (w3 >> 32)
        d += 32
        length -= 32
    while length >= 8:
        memcpy(&w0, d, 8)
        a += <uint32_t>w0 + (w0 >> 32)
        d += 8
        length -= 8
    if length:
        w0 = 0
        memcpy(&w0, d, length)
        b += <uint32_t>w0 + (w0 >> 32)
    return acc + a + b + e + f


cdef inline bint sums_to_zero(uint64_t acc) noexcept nogil:
    """Whether the folded sum is all ones, i.e. its complement (the checksum test) is 0."""
    acc = <uint32_t>acc + (acc >> 32)
    acc = <uint32_t>acc + (acc >> 32)
    acc = (acc & 0xFFFF) + (acc >> 16)
    acc = (acc & 0xFFFF) + (acc >> 16)
    return acc == 0xFFFF


cdef inline bint l4_sum_ok(const Packet *p, uint8_t proto, const uint8_t *d,
                           uint32_t length) noexcept nogil:
    """Whether the checksum of `length` L4 bytes at `d` holds, pseudo-header included."""
    cdef uint8_t pseudo[4]
    cdef uint64_t acc
    pseudo[0] = 0
    pseudo[1] = proto
    pseudo[2] = <uint8_t>(length >> 8)
    pseudo[3] = <uint8_t>length
    acc = add_words(pseudo, 4, 0)
    if p.ip_version == 4:
        acc = add_words(p.ip + 12, 8, acc)
    else:
        acc = add_words(p.ip + 8, 32, acc)
    return sums_to_zero(add_words(d, length, acc))
