"""The block's window test in software: the same bits, on a frame or on any other bytes.

The golden model (nsdata/offload/model.pyx) asks it of whole frames, reassembly of the bytes
around the seams of a stream (docs/fpga.md, the contract on segments).
"""

import numpy as np

cdef enum:
    SLOT = 21               # bits of a slot; a word holds three, its top bit is 0

# Entry k, b: the CRC of byte b followed by k zero bytes (initial value 0, no inversion). The CRC
# of several bytes is the XOR of one entry each.
cdef uint32_t crc32c_tab[8][256]
cdef uint8_t fold_tab[256]


cdef void fill(uint32_t (*tab)[256], int depth, uint32_t polynomial) noexcept nogil:
    cdef uint32_t c
    cdef int b, k, _bit
    for b in range(256):
        c = b
        for _bit in range(8):
            c = (c >> 1) ^ (polynomial if c & 1 else 0)
        tab[0][b] = c
    for k in range(1, depth):
        for b in range(256):
            c = tab[k - 1][b]
            tab[k][b] = (c >> 8) ^ tab[0][c & 0xFF]


cdef void fill_tables() noexcept nogil:
    cdef int b
    fill(crc32_tab, 4, 0xEDB88320)
    fill(crc32c_tab, 8, 0x82F63B78)
    for b in range(256):
        fold_tab[b] = b + 32 if 65 <= b <= 90 else b


fill_tables()


cdef inline uint32_t first_four(const uint8_t *d) noexcept nogil:
    """The four bytes at `d`, case folded, the first one lowest."""
    return (fold_tab[d[0]] | <uint32_t>fold_tab[d[1]] << 8
            | <uint32_t>fold_tab[d[2]] << 16 | <uint32_t>fold_tab[d[3]] << 24)


cdef inline uint32_t bucket_for(uint32_t x, uint32_t seed, uint32_t mask) noexcept nogil:
    """The bucket of `first_four`."""
    cdef uint32_t y = x ^ ((x << 11 | x >> 21) & seed)
    return mask & (crc32_tab[3][y & 0xFF] ^ crc32_tab[2][y >> 8 & 0xFF]
                   ^ crc32_tab[1][y >> 16 & 0xFF] ^ crc32_tab[0][y >> 24])


cdef inline uint32_t fingerprint_at(const uint8_t *d, int length) noexcept nogil:
    cdef uint32_t c = 0
    cdef int i
    for i in range(length):
        c ^= crc32c_tab[length - 1 - i][fold_tab[d[i]]]
    return c & 0x7FFFF


cdef int hit_in(
    const Filter *f, const uint64_t *bucket, const uint8_t *d, uint64_t left
) noexcept nogil:
    """The length of the window of a bucket found at `d`, `left` bytes before the frame's end;
    0 for none."""
    cdef uint64_t word
    cdef uint32_t slot, kind
    cdef uint32_t known[4]      # fingerprints worked out so far, by class
    cdef uint32_t done = 0
    cdef int w
    for w in range(f.words):
        word = bucket[w]
        while word:
            slot = word & 0x1FFFFF
            word >>= SLOT
            kind = slot >> 19
            if not kind or 2 * kind + 2 > left:
                continue
            if not done >> kind & 1:
                known[kind] = fingerprint_at(d, 2 * kind + 2)
                done |= 1 << kind
            if known[kind] == (slot & 0x7FFFF):
                return 2 * kind + 2
    return 0


cdef bint filter_hit(const Filter *f, const uint8_t *d, uint64_t length) noexcept nogil:
    cdef uint64_t p
    cdef uint32_t x, b
    cdef const uint64_t *bucket
    if length < 4:
        return False
    x = first_four(d)
    for p in range(length - 3):
        b = bucket_for(x, f.seed, f.mask)
        if f.filled[b >> 6] >> (b & 63) & 1:
            bucket = f.table + <uint64_t>b * f.words
            if hit_in(f, bucket, d + p, length - p):
                return True
        if p + 4 < length:
            x = x >> 8 | <uint32_t>fold_tab[d[p + 4]] << 24
    return False


# --- the doors ----------------------------------------------------------------------------


def bucket_of(const uint8_t[::1] window not None, uint32_t seed, int buckets_log2) -> int:
    """The bucket in which a window is looked for: by its first four bytes, case folded."""
    if window.shape[0] < 4:
        raise ValueError(f"a window has 4, 6 or 8 bytes, not {window.shape[0]}")
    return bucket_for(
        first_four(&window[0]), seed, <uint32_t>((<uint64_t>1 << buckets_log2) - 1)
    )


def fingerprint(const uint8_t[::1] window not None) -> int:
    """The 19 bits that stand for a window of 4, 6 or 8 bytes, case folded."""
    if window.shape[0] not in (4, 6, 8):
        raise ValueError(f"a window has 4, 6 or 8 bytes, not {window.shape[0]}")
    return fingerprint_at(&window[0], <int>window.shape[0])


def buckets_of(const uint8_t[:, ::1] starts not None, uint32_t seed, int buckets_log2):
    """`bucket_of` for rows of four bytes: uint32 [rows]."""
    cdef Py_ssize_t i
    cdef uint32_t mask = <uint32_t>((<uint64_t>1 << buckets_log2) - 1)
    result = np.empty(starts.shape[0], dtype=np.uint32)
    cdef uint32_t[::1] out = result
    if starts.shape[1] < 4:
        raise ValueError("rows of four bytes are wanted")
    with nogil:
        for i in range(starts.shape[0]):
            out[i] = bucket_for(first_four(&starts[i, 0]), seed, mask)
    return result


cdef Py_ssize_t check_batch(
    const uint8_t[::1] data, const uint64_t[::1] offset, const uint32_t[::1] length
) except -1:
    cdef Py_ssize_t i
    cdef uint64_t size = data.shape[0]
    if offset.shape[0] != length.shape[0]:
        raise ValueError("as many offsets as lengths are wanted")
    for i in range(offset.shape[0]):
        if offset[i] > size or length[i] > size - offset[i]:
            raise ValueError(f"frame {i} lies outside the data")
    return offset.shape[0]


cdef class Prefilter:
    """The prefilter with a table in it: uint64 [2**buckets_log2 * words], word 0 of a bucket
    first. `hit` and `hits` may be used on any bytes, also on those around a seam."""

    def __init__(self, table, uint32_t seed, int buckets_log2, int words) -> None:
        array = np.ascontiguousarray(table, dtype=np.uint64).reshape(-1)
        if not 4 <= buckets_log2 <= 24 or words < 1 or array.size != words << buckets_log2:
            raise ValueError(
                f"a table of {array.size} words is no 2**{buckets_log2} buckets of {words}"
            )
        self.table = array.copy()
        self.buckets_log2 = buckets_log2
        cdef uint64_t[::1] view = self.table
        filled = self.table.reshape(-1, words).any(axis=1)
        bits = np.zeros(max(filled.size, 64), dtype=np.uint8)
        bits[:filled.size] = filled
        self._filled = np.packbits(bits, bitorder="little").view(np.uint64)
        cdef uint64_t[::1] filled_view = self._filled
        self.filter.filled = &filled_view[0]
        self.filter.seed = seed
        self.filter.mask = (<uint32_t>1 << buckets_log2) - 1
        self.filter.words = words
        self.filter.table = &view[0]

    def hit(self, const uint8_t[::1] frame not None) -> bool:
        """Whether a window of the table occurs in the bytes."""
        return bool(frame.shape[0] and filter_hit(&self.filter, &frame[0], frame.shape[0]))

    def places(self, const uint8_t[::1] frame not None) -> list:
        """(position, window length) of every position at which something is found."""
        cdef Py_ssize_t p
        cdef int length
        cdef const uint64_t *bucket
        found = []
        for p in range(frame.shape[0] - 3):
            bucket = self.filter.table + <uint64_t>self.filter.words * bucket_for(
                first_four(&frame[p]), self.filter.seed, self.filter.mask
            )
            length = hit_in(&self.filter, bucket, &frame[p], frame.shape[0] - p)
            if length:
                found.append((p, length))
        return found

    def hits(
        self,
        const uint8_t[::1] data not None,
        const uint64_t[::1] offset not None,
        const uint32_t[::1] length not None,
    ):
        """`hit` of every frame of a batch: uint8 [frames]."""
        cdef Py_ssize_t i
        cdef Py_ssize_t count = check_batch(data, offset, length)
        result = np.zeros(count, dtype=np.uint8)
        cdef uint8_t[::1] out = result
        with nogil:
            for i in range(count):
                if length[i]:
                    out[i] = filter_hit(&self.filter, &data[0] + offset[i], length[i])
        return result
