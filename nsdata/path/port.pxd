# The wire's end of an appliance: frames to the workers and out again. See port.pyx.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.packet cimport MAX_LAYERS, WHY_COUNT, Packet
from nsdata.path.port_segments cimport MAX_SEGMENTS, Segments
from nsdata.path.ring cimport Ring, Shape

cdef enum:
    MAX_WORKERS = 64
    WHOLE = 65536             # every flow is inspected
    PENDING_FRAME = 255       # a worker has it

# What the port does with frames.
cdef enum Mode:
    MODE_INSPECT = 0
    MODE_FALLBACK = 1

# What became of the frames of a segment that were not inspected.
cdef struct Exposed:
    uint64_t permitted_packets
    uint64_t permitted_bytes
    uint64_t blocked_packets
    uint64_t blocked_bytes


# The port's side of one worker's ring, in memory that no worker can falsify.
cdef struct Line:
    Shape ring                # ring.head NULL: this worker has failed
    uint64_t published        # slots handed over
    uint64_t settled          # slots whose frames are in the ledger
    uint32_t filling          # frames of the slot being filled
    uint32_t used             # bytes of it
    uint32_t *frames          # of each slot
    uint64_t *wire_bytes


cdef class Port:
    cdef list rings           # Ring or None: keeps the memory alive
    cdef Line lines[MAX_WORKERS]
    cdef readonly int workers
    cdef public uint64_t now_ns  # of its host's clock; 0: CLOCK_MONOTONIC
    cdef uint64_t seed
    cdef Packet layers[MAX_LAYERS]
    cdef uint64_t received
    cdef uint64_t received_bytes
    cdef uint64_t held        # frames in slots
    cdef uint64_t held_bytes
    cdef uint64_t why_packets[WHY_COUNT]
    cdef uint64_t why_bytes[WHY_COUNT]
    cdef Segments segments
    cdef uint64_t blocked     # a bit for each segment whose uninspected frames are blocked
    cdef Exposed exposed[MAX_SEGMENTS + 1]

    cdef uint32_t _hash(self) noexcept nogil
    cdef int _frame(self, const uint8_t *data, uint32_t caplen, uint32_t wirelen, uint64_t ts_ns,
                    uint16_t linktype, int mode, uint32_t share, bint best_effort,
                    uint64_t passing) noexcept nogil
    cdef uint64_t _now(self) noexcept nogil
    cdef bint _blocks(self) noexcept nogil
    cdef int _uninspected(self, int why, uint32_t wirelen) noexcept nogil
    cdef object _permit(self, Ring ring, Line *line)
    cdef void _publish(self, Line *line) noexcept nogil
    cdef void _book(self, int why, uint64_t packets, uint64_t nbytes) noexcept nogil
    cdef object _known(self, int worker)
    cdef tuple _settle(self, Ring ring, Line *line)
