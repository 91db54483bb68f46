"""Fuzz decode and defrag: a few frames of any bytes and any link type, one after another.

Run:   tests/fuzz/run.sh 60 decode           (or make fuzz SECONDS=60: all targets)
Replay a finding:   tests/fuzz/one.sh decode build/fuzz/decode-crash-…

An input is a row of frames: a control byte (bits 0-3 link type, 4 checksums, 5-6 defrag
policy for the whole row, taken from its first frame, 7 a minute passes), two bytes of
length (little endian), the frame. Each frame is decoded in a buffer of its exact size,
fragments go through a small defrag whose limits are soon met, and rebuilt datagrams are
decoded in turn. Held besides "no fault": every pointer and length lies within its buffer,
layers are numbered, an invalid L4 header leaves no pointer to it.
"""
# fuzz: needs path.decode path.defrag path.events

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcpy

from nsdata.path.decode cimport decode_datagram, decode_frame
from nsdata.path.defrag cimport Defrag
from nsdata.path.packet cimport (
    MAX_LAYERS, MAX_VLAN, PKT_FRAGMENT, PKT_HAS_INNER, PKT_REBUILT,
    PKT_TUNNELED, Packet,
)

cdef enum:
    MAX_REBUILDS = 4      # a rebuilt datagram may be a fragment again

cdef uint16_t[16] LINKTYPES = [
    1, 101, 113, 276, 0, 108, 9, 104, 228, 229, 12, 50, 51, 147, 1, 101,
]
cdef list reassemblers = [
    Defrag(max_trackers=8, memcap=65536, max_fragments=64, policy=policy)
    for policy in ("bsd", "linux", "windows", "last")
]


cdef void check(bint held, const char *what) noexcept nogil:
    if not held:
        fprintf(stderr, "fuzz_decode: does not hold: %s\n", what)
        abort()


cdef void within(const uint8_t *at, uint32_t length, const uint8_t *base, uint32_t size,
                 const char *what) noexcept nogil:
    if at == NULL:
        check(length == 0, what)
        return
    check(at >= base and at <= base + size, what)
    check(length <= size - <uint32_t>(at - base), what)


cdef void sound(const Packet *out, int n, const uint8_t *base,
                uint32_t size) noexcept nogil:
    cdef const Packet *p
    cdef int i
    check(1 <= n <= MAX_LAYERS, "1 to MAX_LAYERS packets")
    for i in range(n):
        p = out + i
        check(p.layer == out.layer + i, "layers are numbered")
        check(((p.flags & PKT_HAS_INNER) != 0) == (i + 1 < n), "has inner")
        check(i == 0 or (p.flags & PKT_TUNNELED and p.tunnel), "inner is tunneled")
        check(p.n_vlan <= MAX_VLAN, "VLAN tags")
        check(p.ip_version == 0 or p.ip_version == 4 or p.ip_version == 6, "version")
        check((p.ip != NULL) == (p.ip_version != 0), "ip")
        within(p.ip, p.ip_len, base, size, "IP datagram in the frame")
        check(p.ip_hlen <= p.ip_len, "header in the datagram")
        within(p.l4, p.l4_len, base, size, "L4 in the frame")
        within(p.payload, p.payload_len, base, size, "payload in the frame")
        if p.l4 != NULL:
            check(p.l4 == p.ip + p.ip_hlen, "L4 follows IP")
            check(p.l4_len == p.ip_len - p.ip_hlen, "L4 ends with IP")
        if p.payload != NULL:
            check(p.payload == p.l4 + p.l4_hlen, "payload follows L4")
            check(p.l4_hlen + p.payload_len <= p.l4_len, "payload in L4")
        if not p.flags & PKT_REBUILT:
            within(p.eth, 14 if p.eth != NULL else 0, base, size, "Ethernet in the frame")


cdef void put_together(Packet *out, int n, Defrag defrag, int left, bint sums) noexcept:
    cdef Packet[MAX_LAYERS] inner
    cdef const uint8_t *whole
    cdef uint8_t *copy
    cdef uint32_t length = 0
    cdef int i, m
    for i in range(n):
        if not out[i].flags & PKT_FRAGMENT:
            continue
        whole = defrag.add(&out[i], &length)
        if whole == NULL or left == 0:
            continue
        check(20 <= length <= 65575, "rebuilt length")
        copy = <uint8_t *>malloc(length)
        memcpy(copy, whole, length)
        m = decode_datagram(copy, length, &out[i], sums, inner, MAX_LAYERS)
        sound(inner, m, copy, length)
        check(inner[0].ip_version == out[i].ip_version, "rebuilt is IP")
        check(inner[0].ip_len == length, "rebuilt is whole")
        put_together(inner, m, defrag, left - 1, sums)
        free(copy)


cdef int one(const uint8_t *data, size_t size) noexcept:
    cdef Packet[MAX_LAYERS] out
    cdef Defrag defrag
    cdef uint64_t now = 1
    cdef uint8_t control
    cdef uint8_t *frame
    cdef uint32_t length
    cdef int n, i
    cdef bint sums
    if size < 3:
        return 0
    defrag = <Defrag>reassemblers[(data[0] >> 5) & 3]
    while size >= 3:
        control = data[0]
        length = data[1] | (<uint32_t>data[2] << 8)
        data += 3
        size -= 3
        if length > size:
            length = <uint32_t>size
        frame = <uint8_t *>malloc(length if length else 1)
        if length:
            memcpy(frame, data, length)
        if control & 0x80:
            now += <uint64_t>61 * 1000000000
            defrag.expire(now)
        sums = control & 0x10
        n = decode_frame(frame, length, length, LINKTYPES[control & 15], sums, out, MAX_LAYERS)
        sound(out, n, frame, length)
        for i in range(n):
            out[i].ts_ns = now
        put_together(out, n, defrag, MAX_REBUILDS, sums)
        free(frame)
        data += length
        size -= length
    # The next input starts with nothing left of this one.
    defrag.expire(now + <uint64_t>61 * 1000000000)
    check(defrag.live == 0 and defrag.live_pages == 0, "everything given back")
    return 0


def entry():
    """Address of the C entry point, for driver.c."""
    return <uintptr_t>&one
