# From matching rules to what happens to the packet and its flow.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.packet cimport Flow, Packet
from nsdata.path.rulebase cimport Match, RuleBase

cdef enum:
    MAX_ALERTS = 256

cdef struct Decision:
    uint8_t drop              # the packet is dropped (inline) or would have been
    uint8_t drop_flow         # ... and the rest of its flow
    uint8_t passed            # a pass rule took it
    uint8_t pass_flow
    uint8_t bypass_flow
    uint8_t reject            # 1 answer the sender, 2 the receiver, 3 both
    uint32_t drop_rule        # the rule that dropped, or NO_RULE
    uint32_t flow_rule        # the rule that dropped the flow, or NO_RULE
    uint32_t n_alerts
    uint32_t alert_rule[MAX_ALERTS]
    uint8_t alert_stream[MAX_ALERTS]
    uint8_t alert_blocked[MAX_ALERTS]

cdef class Verdicts:
    cdef RuleBase base
    cdef bint inline_mode
    cdef uint32_t alert_max
    cdef uint64_t *matched            # per source rule (Rule.number)
    cdef uint64_t *alerted
    cdef uint64_t *dropped            # packets
    cdef uint32_t n_numbers
    cdef readonly uint64_t alerts
    cdef readonly uint64_t suppressed     # by thresholds and noalert
    cdef readonly uint64_t discarded      # beyond packet-alert-max
    cdef void dropped_by_flow(self, const Flow *f) noexcept nogil
    cdef void decide(self, const Match *matches, uint32_t n, const Packet *p, Flow *f,
                     Decision *d) noexcept nogil
