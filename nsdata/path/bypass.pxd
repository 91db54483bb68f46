# Inspection bypass rules: matched before inspection on the outermost layer.
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint32_t

from nsdata.path.packet cimport Packet

# As nsdata.fallback.bypass_rules.RULE_DTYPE: 64 bytes, that module's docstring is the contract.
cdef struct BypassRule:
    uint8_t enabled
    uint8_t action            # 0 bypass, 1 block
    uint8_t ethertype_mode    # 0 any, 1 IP, 2 not IP, 3 equals ethertype
    uint8_t bidirectional
    uint16_t ethertype
    int16_t proto             # -1 any
    uint8_t src_version       # 0 any, 4, 6
    uint8_t src_prefix        # bits
    uint8_t dst_version
    uint8_t dst_prefix
    uint16_t sport_lo
    uint16_t sport_hi
    uint16_t dport_lo
    uint16_t dport_hi
    int32_t vlan              # -1 any
    uint8_t src[16]
    uint8_t dst[16]
    uint32_t id
    uint8_t ports             # 1: source port stated, 2: destination port stated
    uint8_t pad[3]

cdef int first_match(const BypassRule *rules, int n, const Packet *p) noexcept nogil
