# Which segment a frame is of. See port_segments.pyx.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.packet cimport Packet

cdef enum:
    MAX_SEGMENTS = 32         # named ones
    UNTAGGED = 4096           # index of the frames without VLAN


cdef class Segments:
    cdef readonly uint32_t named
    cdef uint64_t by_vlan[4097]       # a bit for each segment that takes frames of this VLAN
    cdef uint64_t anywhere            # ... that takes frames of any address, or of none
    # addresses: where each interval begins, sorted, the first at the lowest; segments of each
    cdef uint32_t n_v4
    cdef uint32_t n_v6
    cdef const uint32_t *v4_starts    # host order
    cdef const uint64_t *v4_masks
    cdef const uint8_t *v6_starts     # 16 bytes each, network order
    cdef const uint64_t *v6_masks
    cdef list keep                    # the arrays that own them

    cdef uint64_t _of_address(self, const uint8_t *address, int version) noexcept nogil
    cdef uint32_t of(self, const Packet *p) noexcept nogil
