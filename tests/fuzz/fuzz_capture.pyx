"""Fuzz the pcap and pcapng indexer: any bytes, cut into windows of any size.

Run:   tests/fuzz/run.sh 60 capture           (or make fuzz SECONDS=60: all targets)
Replay a finding:   tests/fuzz/one.sh capture build/fuzz/capture-crash-…

It runs under AddressSanitizer and UndefinedBehaviorSanitizer with coverage guidance by
libFuzzer; tests/fuzz/README.md says how that is built. Besides "no fault of memory or
arithmetic" it holds: every frame lies within the bytes given, the indexer always gets
further or says why not, and how the bytes are cut into windows changes nothing.
"""
# fuzz: needs capture.index

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort

from nsdata.capture.index cimport (
    FAULT_FIRST,
    INDEX_FULL,
    INDEX_MORE,
    INDEX_SECTION,
    MAX_SNAPLEN,
    Frames,
    Source,
    index_begin,
    index_frames,
    index_reset,
)

cdef enum:
    CAPACITY = 7          # small, so that calls resume in the middle

cdef Source source
cdef uint64_t[CAPACITY] offset
cdef uint32_t[CAPACITY] caplen
cdef uint32_t[CAPACITY] wirelen
cdef uint64_t[CAPACITY] ts_ns
cdef uint16_t[CAPACITY] linktype


cdef void check(bint held, const char *what) noexcept nogil:
    if not held:
        fprintf(stderr, "fuzz_capture: does not hold: %s\n", what)
        abort()


cdef uint64_t mix(uint64_t digest, uint64_t value) noexcept nogil:
    return (digest ^ value) * <uint64_t>0x9E3779B97F4A7C15 + (digest >> 29)


cdef uint64_t walk(const uint8_t *data, uint64_t size, uint64_t window) noexcept nogil:
    """Index all of `data`, showing the indexer `window` more bytes each time it asks."""
    cdef Frames out
    cdef uint64_t position = 0
    cdef uint64_t before
    cdef uint64_t shown = window if window < size else size
    cdef uint64_t digest = 1
    cdef uint32_t i
    cdef uint8_t touched = 0
    cdef int status
    index_reset(&source)
    out.offset = offset
    out.caplen = caplen
    out.wirelen = wirelen
    out.ts_ns = ts_ns
    out.linktype = linktype
    out.capacity = CAPACITY
    while True:
        status = index_begin(&source, data, shown, &position)
        if status != INDEX_MORE or shown == size:
            break
        shown = shown + window if size - shown > window else size
    if status != INDEX_FULL:
        return mix(digest, <uint64_t>status)
    while True:
        out.count = 0
        before = position
        status = index_frames(&source, data, shown, &position, &out)
        check(out.count <= CAPACITY, "count within the arrays")
        check(position >= before and position <= shown, "position within the bytes shown")
        for i in range(out.count):
            check(offset[i] <= shown and caplen[i] <= shown - offset[i], "frame within bytes")
            check(caplen[i] <= MAX_SNAPLEN, "frame within MAX_SNAPLEN")
            check(ts_ns[i] >> 63 == 0, "time within 63 bits")
            if caplen[i]:
                touched ^= data[offset[i]] ^ data[offset[i] + caplen[i] - 1]
            digest = mix(digest, offset[i])
            digest = mix(digest, caplen[i])
            digest = mix(digest, wirelen[i])
            digest = mix(digest, ts_ns[i])
            digest = mix(digest, linktype[i] ^ <uint64_t>touched << 32)
        if status == INDEX_MORE:
            check(source.need > shown - position, "need is more than there is")
            if shown == size:
                return mix(digest, position)
            shown = shown + window if size - shown > window else size
        elif status == INDEX_SECTION:
            check(source.n_interfaces > 0, "a section ends that had interfaces")
            source.n_interfaces = 0
        elif status == INDEX_FULL:
            check(out.count == CAPACITY, "full means full")
        else:
            check(status >= FAULT_FIRST, "a known status")
            check(source.fault_at == position and position < shown, "fault within the file")
            return mix(mix(digest, <uint64_t>status), position)


cdef int fuzz_one(const uint8_t *data, size_t size) noexcept nogil:
    cdef uint64_t whole
    if size == 0:
        return 0
    # The last byte chooses the window: seeds stay valid captures.
    whole = walk(data, size, size)
    check(walk(data, size, 1 + data[size - 1] % 64) == whole, "windows change nothing")
    return 0


def entry():
    return <uintptr_t>&fuzz_one
