# The key of a flow: built from a packet, hashed, compared. Included by flow.pyx.

cdef struct Key:
    uint8_t src[16]
    uint8_t dst[16]
    uint16_t sport
    uint16_t dport
    uint16_t icmp_id
    uint8_t proto
    uint8_t ip_version
    uint8_t layer
    uint16_t vlan[MAX_VLAN]


cdef int answer_of(uint8_t proto, uint8_t kind) noexcept nogil:
    """The ICMP type that answers `kind` (or that it answers); -1 when it stands alone."""
    if proto == IP_ICMP:
        if kind == 8:
            return 0
        if kind == 0:
            return 8
        if kind == 10:
            return 9
        if kind == 9:
            return 10
        if 13 <= kind <= 18:      # timestamp, information, address mask: odd asks, even answers
            return kind + 1 if kind & 1 else kind - 1
    elif kind == 128 or kind == 139:
        return kind + 1
    elif kind == 129 or kind == 140:
        return kind - 1
    return -1


cdef void key_of(const Packet *p, Key *k) noexcept nogil:
    cdef int i, answer
    memcpy(k.src, p.src, 16)
    memcpy(k.dst, p.dst, 16)
    k.proto = p.proto
    k.ip_version = p.ip_version
    k.layer = p.layer
    for i in range(MAX_VLAN):
        k.vlan[i] = p.vlan[i] if i < p.n_vlan else 0
    k.icmp_id = 0
    if p.proto == IP_ICMP or p.proto == IP_ICMP6:
        k.sport = (<uint16_t>p.icmp_type << 8) | p.icmp_code
        answer = answer_of(p.proto, p.icmp_type)
        if answer >= 0:
            k.dport = <uint16_t>((answer << 8) | p.icmp_code)
            k.icmp_id = p.icmp_id
        else:
            k.dport = k.sport
    else:
        k.sport = p.sport
        k.dport = p.dport


cdef inline uint64_t load(const void *at) noexcept nogil:
    cdef uint64_t v
    memcpy(&v, at, 8)
    return v


cdef uint32_t hash_of(const Key *k, uint64_t key0, uint64_t key1) noexcept nogil:
    # each endpoint is hashed under the key; the sum forgets which came first
    cdef uint64_t a, b, rest
    a = nsd_fold(load(&k.src[0]) ^ key0, load(&k.src[8]) ^ key1 ^ (<uint64_t>k.sport << 20))
    b = nsd_fold(load(&k.dst[0]) ^ key0, load(&k.dst[8]) ^ key1 ^ (<uint64_t>k.dport << 20))
    rest = (
        <uint64_t>k.proto | (<uint64_t>k.layer << 8) | (<uint64_t>k.vlan[0] << 16)
        | (<uint64_t>k.vlan[1] << 32) | (<uint64_t>k.vlan[2] << 48)
    )
    a = nsd_fold(
        nsd_fold(a, key1 | 1) + nsd_fold(b, key1 | 1) + k.icmp_id,
        rest ^ key0 ^ <uint64_t>0x9E3779B97F4A7C15,
    )
    return <uint32_t>(a ^ (a >> 32))


cdef bint same(const Flow *f, const Key *k, uint8_t *dir) noexcept nogil:
    if (
        f.proto != k.proto or f.ip_version != k.ip_version or f.layer != k.layer
        or f.icmp_id != k.icmp_id or memcmp(f.vlan, k.vlan, sizeof(k.vlan)) != 0
    ):
        return False
    if (
        f.sport == k.sport and f.dport == k.dport
        and memcmp(f.src, k.src, 16) == 0 and memcmp(f.dst, k.dst, 16) == 0
    ):
        dir[0] = TO_SERVER
        return True
    if (
        f.sport == k.dport and f.dport == k.sport
        and memcmp(f.src, k.dst, 16) == 0 and memcmp(f.dst, k.src, 16) == 0
    ):
        dir[0] = TO_CLIENT
        return True
    return False
