"""Put frames into the records of a pcap or the blocks of a pcapng; C, without the GIL."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from nsdata.capture.fields cimport SECOND

cdef enum:
    PCAP_RECORD = 16
    BLOCK_ENHANCED = 6
    BLOCK_FIXED = 32          # bytes of an Enhanced Packet Block around its data

cdef uint64_t LAST_SECOND = 0xFFFFFFFF

# Why `pack` stopped.
DONE = 0          # every frame is in
ROOM = 1          # the next frame does not fit into `out`
LINK = 2          # the next frame's link type has no interface yet
OUTSIDE = 3       # the next frame lies outside `data`

cdef enum:
    STOP_DONE = 0
    STOP_ROOM = 1
    STOP_LINK = 2
    STOP_OUTSIDE = 3


cdef inline void put32(uint8_t *at, uint32_t value) noexcept nogil:
    memcpy(at, &value, 4)


def pack(
    bint blocks,
    const uint8_t[::1] data,
    const uint64_t[::1] offset,
    const uint32_t[::1] caplen,
    const uint32_t[::1] wirelen,
    const uint64_t[::1] ts_ns,
    const uint16_t[::1] linktype,
    const int64_t[::1] chosen,
    Py_ssize_t start,
    const int32_t[::1] interface_of,
    uint8_t[::1] out,
    uint64_t used,
):
    """Append the frames `chosen[start:]` to `out[used:]`: (reason, next start, used).

    Fields are in the host's byte order. `interface_of[linktype]` is the interface, or -1;
    in a pcap (`blocks` false) there is one, and its number is not written. An index that
    is no frame of the batch counts as OUTSIDE.
    """
    cdef Py_ssize_t i = start
    cdef Py_ssize_t count = chosen.shape[0]
    cdef Py_ssize_t frames = offset.shape[0]
    cdef uint64_t size = data.shape[0]
    cdef uint64_t room = out.shape[0]
    cdef uint64_t length, padded, seconds
    cdef int64_t k
    cdef uint8_t *at
    cdef int reason = STOP_DONE
    if start < 0 or used > room or interface_of.shape[0] != 65536 or caplen.shape[0] != frames \
            or wirelen.shape[0] != frames or ts_ns.shape[0] != frames \
            or linktype.shape[0] != frames:
        raise ValueError("the arrays of the batch differ in length")
    with nogil:
        while i < count:
            k = chosen[i]
            if k < 0 or k >= frames or offset[k] > size or caplen[k] > size - offset[k]:
                reason = STOP_OUTSIDE
                break
            if interface_of[linktype[k]] < 0:
                reason = STOP_LINK
                break
            padded = <uint64_t>caplen[k]
            if blocks:
                padded = (padded + 3) & ~<uint64_t>3
                length = BLOCK_FIXED + padded
            else:
                length = PCAP_RECORD + padded
            if length > room - used:
                reason = STOP_ROOM
                break
            at = &out[used]
            if blocks:
                put32(at, BLOCK_ENHANCED)
                put32(at + 4, <uint32_t>length)
                put32(at + 8, <uint32_t>interface_of[linktype[k]])
                put32(at + 12, <uint32_t>(ts_ns[k] >> 32))
                put32(at + 16, <uint32_t>ts_ns[k])
                put32(at + 20, caplen[k])
                put32(at + 24, wirelen[k])
                if padded:
                    memset(at + length - 8, 0, 4)     # padding; data overwrites its part
                put32(at + length - 4, <uint32_t>length)
                at += 28
            else:
                seconds = ts_ns[k] // SECOND
                if seconds > LAST_SECOND:         # pcap ends in 2106
                    put32(at, 0xFFFFFFFF)
                    put32(at + 4, 999999999)
                else:
                    put32(at, <uint32_t>seconds)
                    put32(at + 4, <uint32_t>(ts_ns[k] % SECOND))
                put32(at + 8, caplen[k])
                put32(at + 12, wirelen[k])
                at += 16
            if caplen[k]:
                memcpy(at, &data[offset[k]], caplen[k])
            used += length
            i += 1
    return reason, i, used


def whole(bint blocks, const uint8_t[::1] out, uint64_t written):
    """Where the last whole record or block within `out[:written]` ends (`out` from `pack`)."""
    cdef uint64_t at = 0
    cdef uint32_t length
    cdef uint64_t size = out.shape[0]
    cdef uint32_t fixed = 8 if blocks else PCAP_RECORD
    if written > size:
        written = size
    while written - at >= fixed:
        memcpy(&length, &out[at + (4 if blocks else 8)], 4)
        if not blocks:
            if length > written - at - PCAP_RECORD:
                break
            at += PCAP_RECORD + length
        else:
            if length < 12 or length > written - at:
                break
            at += length
    return at
