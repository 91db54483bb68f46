"""From matching rules to what happens to the packet and its flow.

Rules come in evaluation order (actions first: pass, drop, reject, alert by default). The
first pass ends it; a drop or reject drops the packet, and the flow too where the rule type
says so (address-only rules, rules that matched the stream). At most `alert_max` alerts are
kept per packet; further matches still act.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

import numpy as np

from nsdata.errors import EngineError

from nsdata.path.packet cimport *
from nsdata.path.rulebase cimport *


cdef bint _on_flow(uint8_t kind, uint8_t stream) noexcept nogil:
    if kind == RULE_IPONLY or kind == RULE_LIKE_IPONLY:
        return True
    return stream != 0 and (kind == RULE_STREAM or kind == RULE_PACKET_STREAM)


cdef class Verdicts:
    """Decides, and counts per rule. `numbers` is the count of source rules, `inline_mode`
    whether drops take effect, `alert_max` the alerts kept per packet (1..256)."""

    def __cinit__(self, RuleBase base, uint32_t numbers, bint inline_mode, uint32_t alert_max=15):
        cdef uint32_t i
        for i in range(base.n_rules):
            if base.rules[i].number >= numbers:
                raise EngineError(f"the image has rule number {base.rules[i].number}, but only "
                                  f"{numbers} source rules were announced")
        self.base = base
        self.inline_mode = inline_mode
        self.alert_max = min(max(1, alert_max), <uint32_t> MAX_ALERTS)
        self.n_numbers = max(1, numbers)
        self.matched = <uint64_t *> calloc(self.n_numbers, 8)
        self.alerted = <uint64_t *> calloc(self.n_numbers, 8)
        self.dropped = <uint64_t *> calloc(self.n_numbers, 8)
        if self.matched == NULL or self.alerted == NULL or self.dropped == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.matched)
        free(self.alerted)
        free(self.dropped)

    def per_rule(self) -> dict:
        """uint64 arrays by source rule: `matched`, `alerted`, `dropped` packets
        (those of flows the rule dropped are its own)."""
        cdef uint64_t[::1] m = <uint64_t[:self.n_numbers]> self.matched
        cdef uint64_t[::1] a = <uint64_t[:self.n_numbers]> self.alerted
        cdef uint64_t[::1] d = <uint64_t[:self.n_numbers]> self.dropped
        return {"matched": np.array(m), "alerted": np.array(a), "dropped": np.array(d)}

    def drops(self) -> dict:
        """Packets dropped, by source rule; those that dropped none are left out."""
        cdef uint32_t i
        return {i: self.dropped[i] for i in range(self.n_numbers) if self.dropped[i]}

    cdef void dropped_by_flow(self, const Flow *f) noexcept nogil:
        """A packet was dropped because a rule had dropped its flow: the rule's doing."""
        if f.drop_rule and f.drop_generation == self.base.generation:
            self.dropped[f.drop_rule - 1] += 1

    cdef void decide(self, const Match *matches, uint32_t n, const Packet *p, Flow *f,
                     Decision *d) noexcept nogil:
        """Fill `d`; set FLOW_DROP, FLOW_PASS and FLOW_BYPASS on the flow."""
        cdef const Rule *r
        cdef const Match *m
        cdef uint32_t i
        cdef uint8_t blocked
        # at a flow's end nothing is left to drop
        cdef bint acts = self.inline_mode and not p.flags & PKT_PSEUDO
        d.flow_rule = NO_RULE
        d.drop = 0
        d.drop_flow = 0
        d.passed = 0
        d.pass_flow = 0
        d.bypass_flow = 0
        d.reject = 0
        d.drop_rule = NO_RULE
        d.n_alerts = 0
        for i in range(n):
            m = &matches[i]
            r = &self.base.rules[m.rule]
            self.matched[r.number] += 1
            blocked = 0
            if m.threshold:
                if r.action == ACTION_PASS:
                    if not d.drop:
                        d.passed = 1
                        if _on_flow(r.type, m.stream):
                            d.pass_flow = 1
                elif r.action != ACTION_ALERT:
                    blocked = acts or (r.action != ACTION_DROP and not p.flags & PKT_PSEUDO)
                    if r.action == ACTION_REJECT or r.action == ACTION_REJECT_BOTH:
                        d.reject |= 1
                    if r.action == ACTION_REJECT_DST or r.action == ACTION_REJECT_BOTH:
                        d.reject |= 2
                    if not d.drop:
                        d.drop = 1
                        d.drop_rule = m.rule
                        if acts:
                            self.dropped[r.number] += 1
                    if _on_flow(r.type, m.stream) and not d.drop_flow:
                        d.drop_flow = 1
                        d.flow_rule = m.rule
                if r.flags & RF_BYPASS:
                    d.bypass_flow = 1
            if m.threshold != 1 or r.flags & RF_NOALERT:
                self.suppressed += 1
            elif d.n_alerts >= self.alert_max:
                self.discarded += 1
            else:
                d.alert_rule[d.n_alerts] = m.rule
                d.alert_stream[d.n_alerts] = m.stream
                d.alert_blocked[d.n_alerts] = blocked
                d.n_alerts += 1
                self.alerts += 1
                self.alerted[r.number] += 1
            if d.passed:
                break
        if f != NULL:
            if d.n_alerts:
                f.flags |= FLOW_ALERTED
                f.alerts += d.n_alerts
            if d.drop_flow and acts:
                f.flags |= FLOW_DROP
                f.drop_rule = 1 + self.base.rules[d.flow_rule].number
                f.drop_generation = self.base.generation
                if d.reject:
                    f.flags |= FLOW_REJECTED
            elif d.pass_flow:
                f.flags |= FLOW_PASS
            if d.bypass_flow and not f.flags & FLOW_DROP:
                f.flags |= FLOW_BYPASS
