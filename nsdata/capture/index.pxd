# Finding the frames in the bytes of a capture: pure C, no Python, no I/O.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MAX_SNAPLEN = 262144          # bytes of one frame; more is taken for corruption (as libpcap)
    MAX_BLOCK = 16 * 1024 * 1024  # bytes of one pcapng block
    MAX_INTERFACES = 4096         # interfaces of one pcapng section
    NAME_BYTES = 48               # of an interface's name that are kept, zero included

cdef enum Format:
    FORMAT_NONE = 0
    FORMAT_PCAP = 1
    FORMAT_PCAPNG = 2

# What stopped the indexer. From FAULT_FIRST on: the file is corrupt at `fault_at`.
cdef enum Status:
    INDEX_FULL = 0        # the frame arrays are full; call again
    INDEX_MORE = 1        # `need` bytes are wanted from the position on
    INDEX_SECTION = 2     # a new pcapng section begins; call again to enter it
    FAULT_FIRST = 16
    FAULT_MAGIC = 16      # not a capture
    FAULT_VERSION = 17    # fault_a.fault_b is the version
    FAULT_CAPLEN = 18     # frame of fault_a bytes, fault_b allowed
    FAULT_LENGTH = 19     # pcapng block of type fault_a says it has fault_b bytes
    FAULT_TRAILER = 20    # block says fault_a bytes in front, fault_b behind
    FAULT_BYTE_ORDER = 21     # pcapng byte-order magic is fault_a
    FAULT_INTERFACE = 22  # frame of interface fault_a, fault_b are described
    FAULT_INTERFACES = 23     # more than fault_a interfaces
    FAULT_OPTION = 24     # option of code fault_a has length fault_b

# One pcapng interface (for pcap: the only one).
cdef struct Interface:
    uint16_t linktype         # LINKTYPE_*
    uint8_t tsresol           # as in the file: bit 7 set: 2^-n s, else 10^-n s
    uint32_t snaplen          # bytes; 0: no limit
    int64_t tsoffset          # seconds to add to every timestamp
    uint64_t factor           # ns per tick when that is whole and tsoffset is 0, else 0
    uint64_t limit            # largest tick count that `factor` may be applied to
    char name[NAME_BYTES]     # if_name, zero-terminated; "" if absent

# State of the indexer between calls: `index_reset`, `index_begin`, then `index_frames`.
cdef struct Source:
    int format                # Format
    bint swapped              # fields are in the other byte order than the host's
    uint8_t nano              # pcap: timestamps are in ns
    uint8_t length_order      # pcap: 0 captured first, 1 original first, 2 smaller is captured
    uint32_t header           # pcap: bytes of a record header, 16 or 24
    uint16_t major
    uint16_t minor
    uint64_t last_ts          # ns, of the frame found last; given to frames without a time
    uint64_t need             # see INDEX_MORE
    uint64_t fault_at         # index into the buffer of the record or block at fault
    uint64_t fault_a
    uint64_t fault_b
    uint64_t skipped          # pcapng blocks passed over
    uint32_t n_interfaces
    Interface interfaces[MAX_INTERFACES]

# Where frames are noted: arrays of `capacity`, `count` filled.
cdef struct Frames:
    uint64_t *offset          # index of the first byte in the buffer
    uint32_t *caplen          # bytes present
    uint32_t *wirelen         # bytes on the wire
    uint64_t *ts_ns           # since the epoch
    uint16_t *linktype        # LINKTYPE_*
    uint32_t count
    uint32_t capacity

cdef void index_reset(Source *source) noexcept nogil
cdef int index_begin(
    Source *source, const uint8_t *data, uint64_t size, uint64_t *position) noexcept nogil
cdef int index_frames(
    Source *source, const uint8_t *data, uint64_t size, uint64_t *position,
    Frames *out) noexcept nogil
