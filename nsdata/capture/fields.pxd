# Reading the fields of hostile bytes: any alignment, either byte order, any timestamp.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    static const uint64_t NSD_SECOND = 1000000000u;
    static const uint64_t NSD_LAST_SECOND = 9223372036u;
    static const uint64_t NSD_LAST_NS = INT64_MAX;
    """
    uint64_t SECOND "NSD_SECOND"              # ns
    uint64_t LAST_SECOND "NSD_LAST_SECOND"    # of the signed 64-bit ns scale (year 2262)
    uint64_t LAST_NS "NSD_LAST_NS"
    uint16_t __builtin_bswap16(uint16_t value) nogil
    uint32_t __builtin_bswap32(uint32_t value) nogil
    uint64_t __builtin_bswap64(uint64_t value) nogil


cdef inline uint64_t ten_to(uint32_t power) noexcept nogil:
    """10 to a power of at most 19."""
    cdef uint64_t value = 1
    while power:
        value *= 10
        power -= 1
    return value


cdef inline uint16_t read16(const uint8_t *at, bint swapped) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return __builtin_bswap16(value) if swapped else value


cdef inline uint32_t read32(const uint8_t *at, bint swapped) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return __builtin_bswap32(value) if swapped else value


cdef inline uint64_t read64(const uint8_t *at, bint swapped) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return __builtin_bswap64(value) if swapped else value


cdef inline uint64_t ticks_to_ns(
        uint64_t ticks, uint8_t tsresol, int64_t tsoffset) noexcept nogil:
    """ns since the epoch of a pcapng timestamp; held between 0 and 2^63 - 1 when outside."""
    cdef uint64_t seconds, rest, back
    cdef uint32_t power = tsresol & 0x7F
    if tsresol & 0x80:
        seconds = ticks >> power if power < 64 else 0
        rest = ticks & ((<uint64_t>1 << power) - 1) if power < 64 else ticks
        if power > 34:                    # rest · 10^9 must stay below 2^64
            rest = rest >> (power - 34) if power - 34 < 64 else 0
            power = 34
        rest = (rest * SECOND) >> power
    elif power <= 9:
        seconds = ticks // ten_to(power)
        rest = (ticks % ten_to(power)) * ten_to(9 - power)
    else:
        rest = ticks // ten_to(power - 9) if power - 9 < 20 else 0
        seconds = rest // SECOND
        rest = rest % SECOND
    if tsoffset < 0:
        back = <uint64_t>0 - <uint64_t>tsoffset
        if back > seconds:
            return 0
        seconds -= back
    elif seconds >= LAST_SECOND or <uint64_t>tsoffset >= LAST_SECOND - seconds:
        return LAST_NS
    else:
        seconds += <uint64_t>tsoffset
    if seconds >= LAST_SECOND:
        return LAST_NS
    return seconds * SECOND + rest
