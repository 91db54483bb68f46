# Runs the stages over a batch; the one border to Python.
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.bypass cimport BypassRule
from nsdata.path.defrag cimport Defrag
from nsdata.path.detect cimport Detector
from nsdata.path.detect_state cimport DetectState
from nsdata.path.flow cimport FlowTable
from nsdata.path.packet cimport *
from nsdata.path.records cimport Records
from nsdata.path.rulebase cimport RuleBase
from nsdata.path.stream cimport StreamTracker
from nsdata.path.verdict cimport Decision, Verdicts

cdef enum:
    MAX_NESTING = 3           # datagrams rebuilt inside rebuilt datagrams
    MAX_BYPASS_RULES = 32

# What an exception policy does (numbers used by Engine's `policies`).
cdef enum PolicyAction:
    ACT_IGNORE = 0
    ACT_DROP_PACKET = 1
    ACT_DROP_FLOW = 2
    ACT_PASS_PACKET = 3
    ACT_PASS_FLOW = 4
    ACT_BYPASS = 5
    ACT_REJECT = 6

# The frame at hand: what its layers have come to so far.
cdef struct FrameState:
    uint8_t dropped
    uint8_t why               # Why of the drop
    uint8_t verdict
    uint8_t inspected         # some layer was inspected
    uint8_t skipped           # Why of a layer that was not, 0 if none
    uint8_t passed            # a pass rule took the frame: inner layers are not inspected

cdef class Engine:
    cdef RuleBase base
    cdef DetectState state
    cdef Detector detector
    cdef Verdicts verdicts
    cdef FlowTable flows
    cdef StreamTracker streams
    cdef Defrag defrag
    cdef readonly Records records
    cdef Packet *layers               # [MAX_NESTING][MAX_LAYERS]
    cdef Packet *pseudo
    cdef Decision decision
    cdef FrameState frame
    cdef BypassRule bypass[MAX_BYPASS_RULES]
    cdef uint64_t bypass_hits[MAX_BYPASS_RULES]
    cdef int n_bypass
    cdef bint inline_mode
    cdef bint checksums
    cdef bint drop_log_start
    cdef bint drop_invalid
    cdef bint fallback
    cdef uint8_t policies[16]         # PolicyAction by Policy
    cdef uint64_t grace_ns            # how long after a restore sessions may lack a handshake
    cdef uint64_t grace_until_ns
    # over-subscription in virtual time
    cdef uint64_t service_ns          # per packet; 0: no limit
    cdef uint64_t queue_ns            # service time of a full queue
    cdef uint64_t busy_until_ns
    cdef uint64_t expire_at_ns
    cdef uint64_t last_ns             # latest frame time
    # the ledger
    cdef uint64_t received
    cdef uint64_t received_bytes
    cdef uint64_t why_packets[WHY_COUNT]
    cdef uint64_t why_bytes[WHY_COUNT]
    cdef uint64_t verdict_count[8]
    # decode counters
    cdef uint64_t invalid
    cdef uint64_t protocols[256]
    cdef uint64_t versions[16]
    cdef uint64_t tunnels[16]
    cdef uint64_t event_count[256]
    cdef uint64_t policy_count[16][8]

    cdef void _frame(self, const uint8_t *data, uint32_t caplen, uint32_t wirelen, uint64_t ts_ns,
                     uint16_t linktype) noexcept nogil
    cdef bint _admit(self, uint64_t ts_ns) noexcept nogil
    cdef void _layers(self, Packet *p, int n, int nesting) noexcept nogil
    cdef void _layer(self, Packet *p, const Packet *outer) noexcept nogil
    cdef Flow *_flow(self, Packet *p) noexcept nogil
    cdef bint _policy(self, int which, Packet *p, Flow *f, const Packet *outer) noexcept nogil
    cdef void _inspect(self, Packet *p, Flow *f, const Packet *outer) noexcept nogil
    cdef void _alerts(self, Packet *p, Flow *f, const Packet *outer) noexcept nogil
    cdef void _drop(self, Packet *p, Flow *f, const Packet *outer, int why, int policy,
                    uint32_t rule) noexcept nogil
    cdef void _count_events(self, const Packet *p) noexcept nogil
    cdef void _finish(self, Flow *f) noexcept nogil
    cdef bint _expire(self, uint64_t now_ns) noexcept nogil
    cdef inline void _book(self, int why, int verdict, uint32_t wirelen) noexcept nogil
    cdef object _load(self, RuleBase base, uint32_t numbers, uint32_t alert_max)
