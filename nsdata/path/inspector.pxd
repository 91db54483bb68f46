# One frame's packets through the stages.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.counters cimport Counters
from nsdata.path.defrag cimport Defrag
from nsdata.path.defrag_condemned cimport CondemnedDatagrams
from nsdata.path.detect cimport Detector
from nsdata.path.detect_state cimport DetectState
from nsdata.path.flow cimport FlowTable
from nsdata.path.packet cimport *
from nsdata.path.records cimport Records
from nsdata.path.rulebase cimport RuleBase
from nsdata.path.shunt cimport Shunts
from nsdata.path.stream cimport StreamTracker
from nsdata.path.verdict cimport Decision, Verdicts

cdef enum:
    MAX_HOSTS = 64
    MAX_NESTING = 3           # datagrams rebuilt inside rebuilt datagrams

# Hosts whose overlap policy is known: a prefix and what they do (host-os-policy).
cdef struct HostPolicy:
    uint8_t version           # 4 or 6
    uint8_t prefix            # bits
    uint8_t policy            # 1 + OsPolicy
    uint8_t net[16]           # network order

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
    uint8_t verified          # rules were verified in full against some layer of it

cdef class Inspector:
    cdef RuleBase base
    cdef DetectState state
    cdef Detector detector
    cdef Verdicts verdicts
    cdef FlowTable flows
    cdef StreamTracker streams
    cdef Defrag defrag
    cdef Records records
    cdef readonly Shunts shunts
    cdef Packet *layers               # [MAX_NESTING][MAX_LAYERS]; decode fills the first row
    cdef Packet *pseudo
    cdef CondemnedDatagrams condemned
    cdef Counters counters
    cdef Decision decision
    cdef FrameState frame
    cdef bint inline_mode
    cdef bint checksums
    cdef bint drop_log_start
    cdef bint drop_invalid
    cdef uint8_t policies[16]         # PolicyAction by Policy
    cdef HostPolicy hosts[MAX_HOSTS]  # longest prefix first
    cdef int n_hosts
    cdef uint64_t grace_until_ns      # until then sessions may lack a handshake
    cdef bint suspended               # alerts are not written, and counted
    # counters
    cdef uint64_t suspended_alerts
    cdef uint64_t policy_count[16][8]     # by Policy and PolicyAction
    cdef uint64_t policy_drops[16]        # frames blocked, by Policy
    cdef uint64_t policy_flow_drops[16]   # ... because it had dropped their flow

    cdef object load(self, RuleBase base, uint32_t numbers, uint32_t alert_max)
    cdef object costs(self)
    cdef object switch_rule(self, uint32_t number, bint on)
    cdef void _set_hosts(self, hosts)
    cdef uint8_t _host_policy(self, const uint8_t *address, uint8_t version) noexcept nogil
    cdef void run(self, Packet *p, int n) noexcept nogil
    cdef bint expire(self, uint64_t now_ns) noexcept nogil
    cdef bint end_flows(self) noexcept nogil
    cdef void blocked_by_bypass(self, Packet *p) noexcept nogil
    cdef void finish(self, Flow *f) noexcept nogil
    cdef void _run(self, Packet *p, int n, int nesting) noexcept nogil
    cdef const uint8_t *_rebuild(self, Packet *p, uint32_t *length, bint *settled) noexcept nogil
    cdef void _layer(self, Packet *p, const Packet *outer) noexcept nogil
    cdef Flow *_flow(self, Packet *p) noexcept nogil
    cdef bint _policy(self, int which, Packet *p, Flow *f, const Packet *outer) noexcept nogil
    cdef void _inspect(self, Packet *p, Flow *f, const Packet *outer) noexcept nogil
    cdef void _alerts(self, Packet *p, Flow *f, const Packet *outer) noexcept nogil
    cdef void _drop(self, Packet *p, Flow *f, const Packet *outer, int why, int policy,
                    uint32_t rule) noexcept nogil
