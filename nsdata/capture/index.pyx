"""Find the frames in the bytes of a pcap or pcapng capture.

Everything that reads hostile bytes is here, in C without Python objects: `index_begin`
recognises the file header, `index_frames` notes where frames are until its arrays are full,
the bytes run out or something is wrong. Both work on any window of the file, so that mapped
files and decompressed ones share them. `Indexer` is the door to Python.

Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, and what libpcap and capinfos
accept beyond them.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cimport cython

from nsdata.capture.fields cimport (
    LAST_NS,
    SECOND,
    __builtin_bswap32,
    read16,
    read32,
    read64,
    ten_to,
    ticks_to_ns,
)

import numpy as np

cdef enum:
    PCAP_HEADER = 24
    PCAP_USEC = 0xA1B2C3D4
    PCAP_NSEC = 0xA1B23C4D
    PCAP_MODIFIED = 0xA1B2CD34    # Kuznetzov's: µs, record headers of 24 bytes
    PCAPNG_ORDER = 0x1A2B3C4D
    BLOCK_SECTION = 0x0A0D0D0A    # reads the same in both byte orders
    BLOCK_INTERFACE = 1
    BLOCK_PACKET = 2              # obsolete
    BLOCK_SIMPLE = 3
    BLOCK_ENHANCED = 6
    OPTION_END = 0
    OPTION_NAME = 2
    OPTION_TSRESOL = 9
    OPTION_TSOFFSET = 14
    TSRESOL_DEFAULT = 6


cdef inline int fault(
        Source *source, int status, uint64_t at, uint64_t a, uint64_t b) noexcept nogil:
    source.fault_at = at
    source.fault_a = a
    source.fault_b = b
    return status


cdef void index_reset(Source *source) noexcept nogil:
    # The table of interfaces is large, and its entries are cleared when taken.
    memset(source, 0, <size_t>(<char *>&source.interfaces[0] - <char *>source))


cdef int index_begin(
        Source *source, const uint8_t *data, uint64_t size, uint64_t *position) noexcept nogil:
    """Recognise the capture at the start of `data`; INDEX_FULL when `index_frames` may go on."""
    cdef uint32_t magic, link
    cdef Interface *interface = &source.interfaces[0]
    position[0] = 0
    source.need = PCAP_HEADER
    if size < 4:
        return INDEX_MORE
    magic = read32(data, False)
    if magic == BLOCK_SECTION:
        source.need = 28
        if size < 12:
            return INDEX_MORE
        magic = read32(data + 8, False)
        if magic != PCAPNG_ORDER and __builtin_bswap32(magic) != PCAPNG_ORDER:
            return fault(source, FAULT_BYTE_ORDER, 0, magic, 0)
        source.swapped = magic != PCAPNG_ORDER
        if size < 28:
            return INDEX_MORE
        source.format = FORMAT_PCAPNG
        return INDEX_FULL
    source.swapped = __builtin_bswap32(magic) in (PCAP_USEC, PCAP_NSEC, PCAP_MODIFIED)
    if source.swapped:
        magic = __builtin_bswap32(magic)
    if magic not in (PCAP_USEC, PCAP_NSEC, PCAP_MODIFIED):
        return fault(source, FAULT_MAGIC, 0, magic, 0)
    if size < PCAP_HEADER:
        return INDEX_MORE
    source.major = read16(data + 4, source.swapped)
    source.minor = read16(data + 6, source.swapped)
    if source.major != 2:
        return fault(source, FAULT_VERSION, 0, source.major, source.minor)
    source.format = FORMAT_PCAP
    source.nano = magic == PCAP_NSEC
    source.header = 24 if magic == PCAP_MODIFIED else 16
    # Before 2.3 the original length came first; 2.3 was written both ways (as libpcap).
    source.length_order = 1 if source.minor < 3 else 2 if source.minor == 3 else 0
    link = read32(data + 20, source.swapped)
    memset(interface, 0, sizeof(Interface))
    interface.linktype = link & 0xFFFF        # the upper bits are the FCS length
    interface.snaplen = read32(data + 16, source.swapped)
    interface.tsresol = 9 if source.nano else 6
    source.n_interfaces = 1
    position[0] = PCAP_HEADER
    return INDEX_FULL


@cython.inline
cdef inline int index_pcap(
        Source *source, const uint8_t *data, uint64_t size, uint64_t *position,
        Frames *out, bint swapped) noexcept nogil:
    cdef uint64_t at = position[0]
    cdef uint64_t left
    cdef uint64_t scale = 1 if source.nano else 1000
    cdef uint64_t header = source.header
    cdef uint32_t caplen, wirelen
    cdef uint32_t n = out.count
    cdef uint32_t capacity = out.capacity
    cdef uint8_t order = source.length_order
    cdef uint16_t linktype = source.interfaces[0].linktype
    cdef const uint8_t *record
    cdef int status = INDEX_FULL
    while n < capacity:
        left = size - at
        if left < header:
            source.need = header
            status = INDEX_MORE
            break
        record = data + at
        caplen = read32(record + 8, swapped)
        wirelen = read32(record + 12, swapped)
        if order != 0 and (order == 1 or caplen > wirelen):
            caplen, wirelen = wirelen, caplen
        if caplen > MAX_SNAPLEN:
            status = fault(source, FAULT_CAPLEN, at, caplen, MAX_SNAPLEN)
            break
        if left - header < caplen:
            source.need = header + caplen
            status = INDEX_MORE
            break
        out.offset[n] = at + header
        out.caplen[n] = caplen
        out.wirelen[n] = wirelen
        # At most (2^32 - 1) · 10^9 + (2^32 - 1) · 1000 < 2^63.
        out.ts_ns[n] = (
            read32(record, swapped) * SECOND + read32(record + 4, swapped) * scale)
        out.linktype[n] = linktype
        n += 1
        at += header + caplen
    out.count = n
    position[0] = at
    return status


cdef int read_interface(
        Source *source, const uint8_t *block, uint32_t length, uint64_t at) noexcept nogil:
    """Note the interface that a whole Interface Description Block describes."""
    cdef Interface *interface
    cdef uint32_t here, code, size, keep
    cdef uint32_t end = length - 4
    cdef bint swapped = source.swapped
    if length < 20:
        return fault(source, FAULT_LENGTH, at, BLOCK_INTERFACE, length)
    if source.n_interfaces >= MAX_INTERFACES:
        return fault(source, FAULT_INTERFACES, at, MAX_INTERFACES, 0)
    interface = &source.interfaces[source.n_interfaces]
    memset(interface, 0, sizeof(Interface))
    interface.linktype = read16(block + 8, swapped)
    interface.snaplen = read32(block + 12, swapped)
    interface.tsresol = TSRESOL_DEFAULT
    here = 16
    while end - here >= 4:
        code = read16(block + here, swapped)
        size = read16(block + here + 2, swapped)
        here += 4
        if code == OPTION_END:
            break
        if size > end - here:
            return fault(source, FAULT_OPTION, at, code, size)
        if code == OPTION_TSRESOL:
            if size != 1:
                return fault(source, FAULT_OPTION, at, code, size)
            interface.tsresol = block[here]
        elif code == OPTION_TSOFFSET:
            if size != 8:
                return fault(source, FAULT_OPTION, at, code, size)
            interface.tsoffset = <int64_t>read64(block + here, swapped)
        elif code == OPTION_NAME:
            keep = size if size < NAME_BYTES else NAME_BYTES - 1
            memcpy(interface.name, block + here, keep)
            interface.name[keep] = 0
        size = (size + 3) & ~<uint32_t>3
        if size > end - here:             # cannot be: blocks and options are multiples of 4
            break
        here += size
    if interface.tsresol <= 9 and interface.tsoffset == 0:
        interface.factor = ten_to(9 - interface.tsresol)
        interface.limit = LAST_NS // interface.factor
    source.n_interfaces += 1
    return INDEX_FULL


@cython.inline
cdef inline int index_pcapng(
        Source *source, const uint8_t *data, uint64_t size, uint64_t *position,
        Frames *out, bint swapped) noexcept nogil:
    """Index one run of blocks in one byte order; INDEX_SECTION on meeting a new section."""
    cdef uint64_t at = position[0]
    cdef uint64_t left, ticks
    cdef uint32_t kind, length, trailer, number, caplen, body, wirelen
    cdef uint32_t n = out.count
    cdef uint32_t capacity = out.capacity
    cdef const uint8_t *block
    cdef Interface *interface
    cdef int status = INDEX_FULL
    while n < capacity:
        left = size - at
        if left < 12:
            source.need = 12
            status = INDEX_MORE
            break
        block = data + at
        kind = read32(block, swapped)
        if kind == BLOCK_SECTION:
            status = INDEX_SECTION
            break
        length = read32(block + 4, swapped)
        if length < 12 or length & 3 or length > MAX_BLOCK:
            status = fault(source, FAULT_LENGTH, at, kind, length)
            break
        if left < length:
            source.need = length
            status = INDEX_MORE
            break
        trailer = read32(block + length - 4, swapped)
        if trailer != length:
            status = fault(source, FAULT_TRAILER, at, length, trailer)
            break
        if kind == BLOCK_ENHANCED or kind == BLOCK_PACKET:
            if length < 32:
                status = fault(source, FAULT_LENGTH, at, kind, length)
                break
            number = read32(block + 8, swapped) if kind == BLOCK_ENHANCED \
                else read16(block + 8, swapped)
            caplen = read32(block + 20, swapped)
            wirelen = read32(block + 24, swapped)
            body = length - 32
            if number >= source.n_interfaces:
                status = fault(source, FAULT_INTERFACE, at, number, source.n_interfaces)
                break
            interface = &source.interfaces[number]
            if caplen > body or caplen > MAX_SNAPLEN:
                status = fault(source, FAULT_CAPLEN, at, caplen,
                               body if body < MAX_SNAPLEN else MAX_SNAPLEN)
                break
            ticks = (<uint64_t>read32(block + 12, swapped) << 32) | read32(block + 16, swapped)
            if interface.factor != 0 and ticks <= interface.limit:
                source.last_ts = ticks * interface.factor
            else:
                source.last_ts = ticks_to_ns(ticks, interface.tsresol, interface.tsoffset)
            out.offset[n] = at + 28
        elif kind == BLOCK_SIMPLE:
            if length < 16:
                status = fault(source, FAULT_LENGTH, at, kind, length)
                break
            if source.n_interfaces == 0:
                status = fault(source, FAULT_INTERFACE, at, 0, 0)
                break
            interface = &source.interfaces[0]
            wirelen = read32(block + 8, swapped)
            body = length - 16
            # The captured length is not stored: it is what snaplen left of the original one.
            caplen = wirelen
            if interface.snaplen != 0 and caplen > interface.snaplen:
                caplen = interface.snaplen
            if caplen > body or caplen > MAX_SNAPLEN:
                status = fault(source, FAULT_CAPLEN, at, caplen,
                               body if body < MAX_SNAPLEN else MAX_SNAPLEN)
                break
            out.offset[n] = at + 12
        else:
            if kind == BLOCK_INTERFACE:
                status = read_interface(source, block, length, at)
                if status != INDEX_FULL:
                    break
            else:
                source.skipped += 1
            at += length
            continue
        out.caplen[n] = caplen
        out.wirelen[n] = wirelen
        out.ts_ns[n] = source.last_ts
        out.linktype[n] = interface.linktype
        n += 1
        at += length
    out.count = n
    position[0] = at
    return status


cdef int enter_section(
        Source *source, const uint8_t *data, uint64_t size, uint64_t *position) noexcept nogil:
    """Read the Section Header Block at `position`: sets the byte order, forgets interfaces."""
    cdef uint64_t at = position[0]
    cdef uint64_t left = size - at
    cdef const uint8_t *block = data + at
    cdef uint32_t order, length, trailer
    source.need = 28
    if left < 28:
        return INDEX_MORE
    order = read32(block + 8, False)
    if order != PCAPNG_ORDER and __builtin_bswap32(order) != PCAPNG_ORDER:
        return fault(source, FAULT_BYTE_ORDER, at, order, 0)
    source.swapped = order != PCAPNG_ORDER
    length = read32(block + 4, source.swapped)
    if length < 28 or length & 3 or length > MAX_BLOCK:
        return fault(source, FAULT_LENGTH, at, BLOCK_SECTION, length)
    if left < length:
        source.need = length
        return INDEX_MORE
    trailer = read32(block + length - 4, source.swapped)
    if trailer != length:
        return fault(source, FAULT_TRAILER, at, length, trailer)
    source.major = read16(block + 12, source.swapped)
    source.minor = read16(block + 14, source.swapped)
    if source.major != 1:
        return fault(source, FAULT_VERSION, at, source.major, source.minor)
    # The section's own length is not used: blocks say their length, and writers get it wrong.
    source.n_interfaces = 0
    position[0] = at + length
    return INDEX_FULL


cdef int index_frames(
        Source *source, const uint8_t *data, uint64_t size, uint64_t *position,
        Frames *out) noexcept nogil:
    """Note frames from `position` on and move it behind the last whole one.

    Returns a Status. INDEX_MORE with `position` at `size` is a clean end. INDEX_SECTION is
    returned before a section is entered that follows interfaces: they are still to be seen
    in `source`; `n_interfaces = 0` goes on. `out.count` is not reset here.
    """
    cdef int status
    if source.format == FORMAT_PCAP:
        if source.swapped:
            return index_pcap(source, data, size, position, out, True)
        return index_pcap(source, data, size, position, out, False)
    while True:
        if source.swapped:
            status = index_pcapng(source, data, size, position, out, True)
        else:
            status = index_pcapng(source, data, size, position, out, False)
        if status != INDEX_SECTION or source.n_interfaces != 0:
            return status
        status = enter_section(source, data, size, position)
        if status != INDEX_FULL:
            return status


# Status for Python: three ways to go on, and what every fault is called.
FULL = <int>INDEX_FULL
MORE = <int>INDEX_MORE
SECTION = <int>INDEX_SECTION
FAULTS = {
    <int>FAULT_MAGIC: "magic",
    <int>FAULT_VERSION: "version",
    <int>FAULT_CAPLEN: "caplen",
    <int>FAULT_LENGTH: "length",
    <int>FAULT_TRAILER: "trailer",
    <int>FAULT_BYTE_ORDER: "byte order",
    <int>FAULT_INTERFACE: "interface",
    <int>FAULT_INTERFACES: "interfaces",
    <int>FAULT_OPTION: "option",
}


def read_only(array):
    """A view of a numpy array that cannot be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


cdef class Indexer:
    """An indexer with its arrays; one per open capture. See `index.pyi` for the contract."""

    cdef Source source
    cdef Frames frames
    cdef object owned                 # the writable arrays behind the read-only views
    cdef readonly object offset, caplen, wirelen, ts_ns, linktype
    cdef readonly uint64_t position
    cdef readonly uint32_t count
    cdef readonly uint32_t capacity

    def __cinit__(self, uint32_t capacity):
        if capacity == 0:
            raise ValueError("capacity must be at least 1")
        index_reset(&self.source)
        self.capacity = capacity
        cdef uint64_t[::1] offset = np.zeros(capacity, np.uint64)
        cdef uint32_t[::1] caplen = np.zeros(capacity, np.uint32)
        cdef uint32_t[::1] wirelen = np.zeros(capacity, np.uint32)
        cdef uint64_t[::1] ts_ns = np.zeros(capacity, np.uint64)
        cdef uint16_t[::1] linktype = np.zeros(capacity, np.uint16)
        self.frames.offset = &offset[0]
        self.frames.caplen = &caplen[0]
        self.frames.wirelen = &wirelen[0]
        self.frames.ts_ns = &ts_ns[0]
        self.frames.linktype = &linktype[0]
        self.frames.capacity = capacity
        self.owned = (offset, caplen, wirelen, ts_ns, linktype)
        self.offset, self.caplen, self.wirelen, self.ts_ns, self.linktype = (
            read_only(array.base) for array in self.owned)

    def begin(self, const uint8_t[::1] data, uint64_t size):
        cdef int status
        if size > <uint64_t>data.shape[0]:
            raise ValueError("size is past the end of data")
        index_reset(&self.source)
        with nogil:
            status = index_begin(
                &self.source, &data[0] if size else NULL, size, &self.position)
        return status

    def run(self, const uint8_t[::1] data, uint64_t position, uint64_t size, uint32_t count):
        cdef int status
        if size > <uint64_t>data.shape[0] or position > size or count > self.capacity \
                or self.source.format == FORMAT_NONE:
            raise ValueError("window is outside data, or the indexer has not begun")
        if size == 0:
            self.source.need = 1
            return <int>INDEX_MORE
        self.frames.count = count
        self.position = position
        with nogil:
            status = index_frames(&self.source, &data[0], size, &self.position,
                                  &self.frames)
        self.count = self.frames.count
        return status

    def leave_section(self):
        self.source.n_interfaces = 0

    @property
    def state(self):
        cdef Source *s = &self.source
        return {
            "format": (None, "pcap", "pcapng")[s.format],
            "swapped": bool(s.swapped),
            "version": (s.major, s.minor),
            "record_header": s.header,
            "need": s.need,
            "fault_at": s.fault_at,
            "fault_a": s.fault_a,
            "fault_b": s.fault_b,
            "skipped_blocks": s.skipped,
        }

    @property
    def interfaces(self):
        cdef uint32_t i
        cdef Interface *f
        found = []
        for i in range(self.source.n_interfaces):
            f = &self.source.interfaces[i]
            name = (<bytes>f.name).decode("utf-8", "replace")
            found.append((f.linktype, f.snaplen, f.tsresol, f.tsoffset, name))
        return found


def timestamp_ns(uint64_t ticks, uint8_t tsresol, int64_t tsoffset=0):
    """ns since the epoch of a pcapng timestamp, held between 0 and 2^63 - 1."""
    return ticks_to_ns(ticks, tsresol, tsoffset)
