# The one border to Python: batches, the ledger, what does not get inspected.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.bypass cimport BypassRule
from nsdata.path.inspector cimport FrameState, Inspector
from nsdata.path.packet cimport *
from nsdata.path.records cimport Records
from nsdata.path.rulebase cimport RuleBase

cdef enum:
    MAX_BYPASS_RULES = 32
    BASES = 4

cdef class Engine:
    cdef Inspector inspector
    cdef readonly Records records
    cdef BypassRule bypass[MAX_BYPASS_RULES]
    cdef uint64_t bypass_hits[MAX_BYPASS_RULES]
    cdef int n_bypass
    cdef bint checksums
    cdef bint fallback
    cdef bint busy                    # a thread is inside, the GIL released
    cdef uint64_t grace_ns            # how long after a restore sessions may lack a handshake
    # over-subscription in virtual time
    cdef uint64_t service_ns          # per packet; 0: no limit
    cdef uint64_t queue_ns            # service time of a full queue
    cdef uint64_t busy_until_ns
    cdef uint64_t expire_at_ns
    # the clock
    cdef uint64_t now_ns              # never runs back
    cdef uint64_t shifts[BASES]       # now of a frame = its time stamp + shift (mod 2^64)
    cdef int base                     # the shift in use
    cdef uint64_t clock_faults        # time stamps that were no continuation
    # the ledger
    cdef uint64_t received
    cdef uint64_t received_bytes
    cdef uint64_t why_packets[WHY_COUNT]
    cdef uint64_t why_bytes[WHY_COUNT]
    cdef uint64_t verified_packets    # rules were verified in full: what tier 4 gets
    cdef uint64_t verified_bytes
    cdef uint64_t verdict_count[VERDICT_COUNT]
    cdef uint64_t offload_count[OFFLOAD_COUNT]     # frames by what the hardware said

    cdef int _frame(self, const uint8_t *data, uint32_t caplen, uint32_t wirelen, uint64_t ts_ns,
                    uint16_t linktype, int judged) noexcept nogil
    cdef object _take(self)
    cdef uint64_t _clock(self, uint64_t ts_ns, int *base) noexcept nogil
    cdef void _tick(self, uint64_t ts_ns, uint64_t now, int base) noexcept nogil
    cdef void _grace(self) noexcept nogil
    cdef bint _admit(self, uint64_t ts_ns) noexcept nogil
    cdef int _book(self, int why, int verdict, uint32_t wirelen) noexcept nogil
