"""Virtual segments: which of them a frame is of, by its VLAN and its addresses.

A segment takes the frames whose outermost VLAN identifier is one of its own, where it names any,
and of whose addresses at least one lies in one of its networks, where it names any. The first
segment that takes a frame has it; what none takes is of the one after the last, `default`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

import numpy as np

from nsdata.errors import EngineError

from nsdata.path.packet cimport Packet

SEGMENTS_MOST = MAX_SEGMENTS

cdef extern from *:
    int __builtin_ctzll(unsigned long long) nogil


def _intervals(networks, bits) -> tuple:
    """(starts, masks) of the intervals in which the same networks lie. networks: (first address,
    prefix, segment)."""
    edges = {0: []}
    for first, prefix, segment in networks:
        end = first + (1 << (bits - prefix))
        edges.setdefault(first, []).append((segment, 1))
        if end < 1 << bits:
            edges.setdefault(end, []).append((segment, -1))
    inside = {}
    starts, masks = [], []
    for start in sorted(edges):
        for segment, step in edges[start]:
            inside[segment] = inside.get(segment, 0) + step
        starts.append(start)
        masks.append(sum(1 << segment for segment, count in inside.items() if count))
    return starts, np.array(masks, np.uint64)


cdef class Segments:
    """`segments`, in the order in which they take frames: (VLAN identifiers, networks) of each;
    networks: (version 4 or 6, address bytes, prefix bits). An empty tuple asks for nothing.

    Raises EngineError for more than SEGMENTS_MOST, a VLAN beyond 4095, and a network that is none.
    """

    def __init__(self, segments=()):
        by_version = {4: [], 6: []}
        if len(segments) > MAX_SEGMENTS:
            raise EngineError(f"at most {MAX_SEGMENTS} segments are possible, not {len(segments)}")
        memset(self.by_vlan, 0, sizeof(self.by_vlan))
        self.anywhere = 0
        self.named = len(segments)
        for number, (vlans, networks) in enumerate(segments):
            for vlan in vlans or range(UNTAGGED + 1):
                if not 0 <= vlan <= (UNTAGGED if not vlans else UNTAGGED - 1):
                    raise EngineError(f"segment {number}: there is no VLAN {vlan}")
                self.by_vlan[<int> vlan] |= <uint64_t> 1 << <int> number
            if not networks:
                self.anywhere |= <uint64_t> 1 << <int> number
            for version, address, prefix in networks:
                size = {4: 4, 6: 16}.get(version, -1)
                if len(address) != size or not 0 <= prefix <= 8 * size:
                    raise EngineError(f"segment {number}: no network: {address!r}/{prefix}")
                host = 8 * size - prefix
                first = int.from_bytes(address, "big") >> host << host
                by_version[version].append((first, prefix, number))
        starts, v4_masks = _intervals(by_version[4], 32)
        v4_starts = np.array(starts, np.uint32)
        starts, v6_masks = _intervals(by_version[6], 128)
        v6_starts = np.frombuffer(b"".join(s.to_bytes(16, "big") for s in starts), np.uint8)
        self.keep = [v4_starts, v4_masks, v6_starts, v6_masks]
        self.n_v4, self.n_v6 = len(v4_masks), len(v6_masks)
        self.v4_starts = <const uint32_t *> <size_t> v4_starts.ctypes.data
        self.v4_masks = <const uint64_t *> <size_t> v4_masks.ctypes.data
        self.v6_starts = <const uint8_t *> <size_t> v6_starts.ctypes.data
        self.v6_masks = <const uint64_t *> <size_t> v6_masks.ctypes.data

    cdef uint64_t _of_address(self, const uint8_t *address, int version) noexcept nogil:
        """The segments that have a network with this address."""
        cdef uint32_t low = 0
        cdef uint32_t high
        cdef uint32_t middle
        cdef uint32_t value
        if version == 4:
            value = (<uint32_t> address[0] << 24 | <uint32_t> address[1] << 16
                     | <uint32_t> address[2] << 8 | address[3])
            high = self.n_v4
            while high - low > 1:
                middle = (low + high) >> 1
                if self.v4_starts[middle] <= value:
                    low = middle
                else:
                    high = middle
            return self.v4_masks[low]
        high = self.n_v6
        while high - low > 1:
            middle = (low + high) >> 1
            if memcmp(self.v6_starts + <size_t> middle * 16, address, 16) <= 0:
                low = middle
            else:
                high = middle
        return self.v6_masks[low]

    cdef uint32_t of(self, const Packet *p) noexcept nogil:
        """The number of the segment that has this packet (the outermost of a frame)."""
        cdef uint64_t mask = self.anywhere
        if p.ip_version == 4 or p.ip_version == 6:
            mask |= self._of_address(p.src, p.ip_version) | self._of_address(p.dst, p.ip_version)
        mask &= self.by_vlan[p.vlan[0] & 0xFFF if p.n_vlan else UNTAGGED]
        return <uint32_t> __builtin_ctzll(mask) if mask else self.named
