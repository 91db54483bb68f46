# EVE JSON lines from the path's records. The pipeline calls `format` once per batch.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.packet cimport Record

cdef enum:
    EVE_NO_MEMORY = -1        # the line was not written; those before it are in the buffer
    EVE_BAD_RANGE = -2        # a record points outside the arena; its bytes were left out


cdef class EveFormatter:
    cdef uint8_t *buffer
    cdef size_t used          # bytes of whole lines in buffer
    cdef size_t room
    cdef uint8_t *fragments   # static insides of "alert", one after the other
    cdef size_t *fragment_at  # n_rules + 1 offsets into fragments
    cdef size_t n_rules
    cdef uint8_t *tail        # ,"pcap_filename":"..." or NULL
    cdef size_t tail_len
    cdef uint32_t kinds       # bit per RecordKind
    cdef bint payload
    cdef bint packet
    cdef bint ethernet
    cdef uint64_t written[3]  # lines by RecordKind

    cdef int format(self, const Record *records, size_t n,
                    const uint8_t *arena, size_t arena_len) noexcept nogil
    cdef int one(self, const Record *r, const uint8_t *arena,
                 size_t arena_len) noexcept nogil
    cdef int reserve(self, size_t n) noexcept nogil
    cdef uint8_t *put_rule(self, uint8_t *p, const Record *r) noexcept nogil
