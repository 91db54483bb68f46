# A process's status page in shared memory. See status.pyx.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    STATUS_COUNTERS = 256

cdef struct StatusCopy:
    uint64_t at_ns            # CLOCK_MONOTONIC of the publication
    uint64_t counters[STATUS_COUNTERS]

# Two copies: one is written while the other stands, so that a process that dies in the middle
# leaves a whole one.
cdef struct StatusWords:
    uint64_t magic
    uint32_t version
    uint32_t pid
    uint64_t beat_ns          # CLOCK_MONOTONIC of the last sign of life; 0: none yet
    uint64_t beats
    uint64_t sequence         # copies[sequence & 1] stands
    uint64_t padding[3]
    StatusCopy copies[2]


cdef class StatusPage:
    cdef StatusWords *words
    cdef object memory        # keeps the mapping alive

    cdef void beat_at(self, uint64_t now_ns) noexcept nogil
