# The window test of the block's prefilter, as bit-exact C: see prefilter.pyx.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

# CRC-32: entry k, b is the CRC of byte b followed by k zero bytes.
cdef uint32_t crc32_tab[4][256]

cdef struct Filter:
    uint32_t seed
    uint32_t mask           # of the bucket number
    int words
    const uint64_t *table
    const uint64_t *filled  # a bit for every bucket that holds something

cdef class Prefilter:
    cdef Filter filter
    cdef object _filled
    cdef readonly object table
    cdef readonly int buckets_log2

cdef bint filter_hit(const Filter *f, const uint8_t *d, uint64_t length) noexcept nogil
cdef Py_ssize_t check_batch(const uint8_t[::1] data, const uint64_t[::1] offset,
                            const uint32_t[::1] length) except -1
