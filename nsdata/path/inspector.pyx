"""One frame's packets through the stages: defrag → flow → stream → detect → verdict.

`Inspector.run` takes the layers decode found in a frame, outermost first, and leaves in
`frame` what came of it. It owns the stages' state; Engine owns the ledger and decides
which frames get here.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from nsdata.errors import EngineError
from nsdata.path.stream import POLICIES

from nsdata.path.decode cimport decode_datagram
from nsdata.path.events cimport (
    EV_STREAM__REASSEMBLY_INSERT_LIMIT, EV_STREAM__REASSEMBLY_INSERT_MEMCAP,
    EV_STREAM__REASSEMBLY_OVERLAP_DIFFERENT_DATA,
)
from nsdata.path.packet cimport *
from nsdata.path.rulebase cimport *


cdef inline bint _has(const Packet *p, int event) noexcept nogil:
    return (p.events[event >> 6] >> (event & 63)) & 1


cdef class Inspector:
    """The stages and their state. Arguments as Engine's."""

    def __cinit__(self):
        self.layers = <Packet *> calloc(MAX_NESTING * MAX_LAYERS, sizeof(Packet))
        self.pseudo = <Packet *> calloc(1, sizeof(Packet))
        if self.layers == NULL or self.pseudo == NULL:
            raise MemoryError

    def __init__(self, RuleBase base, uint32_t numbers, *, bint inline, bint checksums,
                 uint32_t alert_max, bint drop_log_start, bint drop_invalid, policies, hosts,
                 flow, stream, defrag, records, uint64_t seed):
        self.inline_mode = inline
        self.checksums = checksums
        self.drop_log_start = drop_log_start
        self.drop_invalid = drop_invalid
        self.flows = FlowTable(seed=seed, **(flow or {}))
        self.streams = StreamTracker(**(stream or {}))
        self.defrag = Defrag(seed=seed, **(defrag or {}))
        self.condemned = CondemnedDatagrams(seed)
        self.counters = Counters()
        self.shunts = Shunts()
        self.records = Records(**(records or {}))
        self.state = DetectState(seed=seed)
        self.load(base, numbers, alert_max)
        memset(self.policies, ACT_IGNORE, sizeof(self.policies))
        for which, action in (policies or {}).items():
            if not 0 <= which < 16 or not 0 <= action <= ACT_REJECT:
                raise EngineError(f"no such exception policy: {which} = {action}")
            self.policies[which] = action
        self._set_hosts(hosts or ())

    cdef void _set_hosts(self, hosts):
        ordered = sorted(hosts, key=lambda item: -item[1])
        if len(ordered) > MAX_HOSTS:
            raise EngineError(f"at most {MAX_HOSTS} networks may have a host-os-policy")
        for address, prefix, name in ordered:
            if name not in POLICIES or len(address) not in (4, 16):
                raise EngineError(f"no such host policy: {address!r}/{prefix} {name}")
            self.hosts[self.n_hosts].version = 4 if len(address) == 4 else 6
            self.hosts[self.n_hosts].prefix = prefix
            self.hosts[self.n_hosts].policy = 1 + POLICIES.index(name)
            for k, byte in enumerate(address):
                self.hosts[self.n_hosts].net[k] = byte
            self.n_hosts += 1

    cdef uint8_t _host_policy(self, const uint8_t *address, uint8_t version) noexcept nogil:
        """1 + overlap policy of a host, 0 when none is set for it."""
        cdef const HostPolicy *h
        cdef int k
        cdef int whole
        cdef int rest
        for k in range(self.n_hosts):
            h = &self.hosts[k]
            if h.version != version:
                continue
            whole = h.prefix >> 3
            rest = h.prefix & 7
            if memcmp(address, h.net, whole) == 0 \
                    and (rest == 0 or (address[whole] ^ h.net[whole]) >> (8 - rest) == 0):
                return h.policy
        return 0

    def __dealloc__(self):
        free(self.layers)
        free(self.pseudo)

    cdef object load(self, RuleBase base, uint32_t numbers, uint32_t alert_max):
        """Inspect with this image from the next frame on; all or nothing."""
        detector = Detector(base, self.state)
        verdicts = Verdicts(base, numbers, self.inline_mode, alert_max)
        if self.verdicts is not None:       # totals go on
            (<Verdicts> verdicts).alerts = self.verdicts.alerts
            (<Verdicts> verdicts).suppressed = self.verdicts.suppressed
            (<Verdicts> verdicts).discarded = self.verdicts.discarded
        self.base = base
        self.streams.set_filter(None)       # what was CLEAR was so by the image of other rules
        self.detector = detector
        self.verdicts = verdicts

    cdef object costs(self):
        """By source rule: see RuleCosts.read."""
        return self.detector.costs.read(self.base.rules, self.verdicts.n_numbers)

    cdef object switch_rule(self, uint32_t number, bint on):
        """Every rule of the image that comes of source rule `number`."""
        cdef uint32_t i
        cdef bint found = False
        for i in range(self.base.n_rules):
            if self.base.rules[i].number == number:
                self.detector.costs.switch(i, on)
                found = True
        if not found:
            raise EngineError(f"the image has no rule of number {number}")

    cdef bint end_flows(self) noexcept nogil:
        """End all flows in the order they began; False: the records have to be drained."""
        cdef Flow *f
        while True:
            if not self.records.room():
                return False
            f = self.flows.any()
            if f == NULL:
                return True
            self.finish(f)

    def stats(self) -> dict:
        """Counters of every stage."""
        cdef int k
        return {
            "decode": self.counters.stats(),
            "policy_drops": [self.policy_drops[i] for i in range(16)],
            "policy_flow_drops": [self.policy_flow_drops[i] for i in range(16)],
            "policies": [[self.policy_count[i][k] for k in range(7)] for i in range(16)],
            "flow": self.flows.stats(),
            "stream": self.streams.stats(),
            "defrag": self.defrag.stats(),
            "detect": dict(self.detector.stats(), **self.state.stats(),
                           alerts=self.verdicts.alerts,
                           alerts_suppressed=self.verdicts.suppressed,
                           alerts_suspended=self.suspended_alerts,
                           alerts_discarded=self.verdicts.discarded),
            "records": {"clipped": self.records.clipped, "overflowed": self.records.overflowed},
        }

    cdef void run(self, Packet *p, int n) noexcept nogil:
        """Inspect the layers of a frame; what came of it is in `frame`."""
        memset(&self.frame, 0, sizeof(FrameState))
        self.records.last_frame = NULL
        self._run(p, n, 0)

    cdef void _run(self, Packet *p, int n, int nesting) noexcept nogil:
        """The layers of a frame or of a rebuilt datagram, outermost first."""
        cdef const uint8_t *datagram
        cdef uint32_t length = 0
        cdef bint settled
        cdef bint differs             # the fragment contradicts an earlier one
        # the datagram itself where it was rebuilt: its fragments had no ports
        cdef const Packet *outermost = p if p.layer == 0 else self.layers
        cdef Packet *inner
        cdef int k
        cdef int m
        for k in range(n):
            datagram = NULL
            settled = False
            differs = False
            if p[k].flags & PKT_FRAGMENT and not p[k].flags & PKT_INVALID:
                if self.inline_mode and self.condemned.has(&p[k]):
                    self.counters.packet(&p[k], &p[k - 1] if k else NULL)
                    self.frame.verdict = VERDICT_DROP
                    self._drop(&p[k], NULL, NULL, WHY_FLOW_DROP, 0, NO_RULE)
                    return
                datagram = self._rebuild(&p[k], &length, &settled)
                differs = self.defrag.differs
            self.counters.packet(&p[k], &p[k - 1] if k else NULL)
            if not settled:
                self._layer(&p[k], outermost if p[k].layer else NULL)
                if self.shunts.on and k == 0 and nesting == 0 and p.flow != NO_FLOW:
                    self.shunts.consider(p, self.flows.at(p.flow))
            if datagram != NULL and not self.frame.dropped and not self.frame.passed:
                if nesting + 1 < MAX_NESTING:
                    inner = self.layers + (nesting + 1) * MAX_LAYERS
                    m = decode_datagram(datagram, length, &p[k], self.checksums, inner,
                                        MAX_LAYERS)
                    if p[k].layer == 0 and p[k].ip != NULL:
                        inner.link_len = <uint16_t> (p[k].ip - p[k].frame)
                    self._run(inner, m, nesting + 1)
                else:
                    differs = True    # fragments in fragments in fragments: not inspected
            if self.inline_mode and p[k].flags & PKT_FRAGMENT:
                if differs and self.drop_invalid and not self.frame.dropped:
                    # the receiver may keep other bytes than those inspected (RFC 5722)
                    self.frame.verdict = VERDICT_DROP
                    self._drop(&p[k], NULL, NULL, WHY_POLICY, POLICY_DEFRAG_ERROR, NO_RULE)
                if self.frame.dropped:
                    self.condemned.add(&p[k])
            if self.frame.dropped or self.frame.passed:
                return

    cdef const uint8_t *_rebuild(self, Packet *p, uint32_t *length, bint *settled) noexcept nogil:
        """Hand a fragment to defrag; the datagram when it is whole. `settled`: a policy has
        decided on the fragment."""
        cdef uint64_t memcap = self.defrag.counts.dropped_memcap
        cdef uint64_t trackers = self.defrag.counts.dropped_trackers
        cdef const uint8_t *datagram = self.defrag.add(p, length)
        if self.defrag.counts.dropped_memcap != memcap \
                or self.defrag.counts.dropped_trackers != trackers:
            settled[0] = self._policy(POLICY_DEFRAG_MEMCAP, p, NULL, NULL)
        return datagram

    cdef Flow *_flow(self, Packet *p) noexcept nogil:
        """The packet's flow; makes room or ends a finished flow where it must."""
        cdef Flow *f
        cdef Flow *old
        cdef int _
        p.flow = NO_FLOW
        if not self.flows.wants(p):
            return NULL
        for _ in range(3):
            f = self.flows.lookup(p)
            if f == NULL:
                old = self.flows.oldest()
                if old == NULL:
                    return NULL
                self.finish(old)
            elif self.flows.reuse(p, f):
                self.finish(f)
            else:
                if self.n_hosts and f.packets[0] + f.packets[1] == 1:
                    f.os_policy[0] = self._host_policy(f.src, f.ip_version)
                    f.os_policy[1] = self._host_policy(f.dst, f.ip_version)
                return f
        return NULL

    cdef bint _policy(self, int which, Packet *p, Flow *f, const Packet *outer) noexcept nogil:
        """Apply an exception policy; True when the packet needs no inspection any more."""
        cdef int action = self.policies[which]
        self.policy_count[which][action] += 1
        if action == ACT_IGNORE:
            return False
        if action == ACT_DROP_PACKET or action == ACT_DROP_FLOW or action == ACT_REJECT:
            if not self.inline_mode:
                return False
            if action != ACT_DROP_PACKET and f != NULL:
                f.flags |= FLOW_DROP
                f.drop_policy = <uint8_t> which
            self.frame.verdict = VERDICT_DROP
            if action == ACT_DROP_FLOW:
                self.frame.verdict = VERDICT_DROP_FLOW
            elif action == ACT_REJECT:
                self.frame.verdict = VERDICT_REJECT
            self._drop(p, f, outer, WHY_POLICY, which, NO_RULE)
            return True
        if f != NULL and action == ACT_PASS_FLOW:
            f.flags |= FLOW_PASS
        elif f != NULL and action == ACT_BYPASS:
            f.flags |= FLOW_BYPASS
            self.frame.verdict = VERDICT_BYPASS_FLOW
        self.frame.skipped = WHY_FLOW_BYPASS if action == ACT_BYPASS else WHY_FLOW_PASS
        return True

    cdef void _layer(self, Packet *p, const Packet *outer) noexcept nogil:
        cdef FrameState *s = &self.frame
        cdef Flow *f = self._flow(p)
        cdef bint picked_up
        cdef uint64_t refused
        if p.ip_version == 0:
            if not self.detector.has_pkthdr:
                s.skipped = WHY_NOT_IP
                return
        if f == NULL:
            if self.flows.wants(p) and self._policy(POLICY_FLOW_MEMCAP, p, NULL, outer):
                return
            self._inspect(p, NULL, outer)
            return
        if f.flags & FLOW_DROP and self.inline_mode:
            s.verdict = VERDICT_DROP
            self.verdicts.dropped_by_flow(f)
            self.policy_flow_drops[f.drop_policy & 15] += 1
            self._drop(p, f, outer, WHY_FLOW_DROP, 0, NO_RULE)
            return
        if f.flags & FLOW_BYPASS:
            s.skipped = WHY_FLOW_BYPASS
            return
        if f.flags & FLOW_PASS:
            s.skipped = WHY_FLOW_PASS
            return
        if p.flags & PKT_SHUNTED and not self.shunts.stale:
            s.skipped = WHY_OFFLOAD_BYPASS
            return
        if p.proto == 6 and f.proto == 6:
            picked_up = f.flags & FLOW_MIDSTREAM == 0
            refused = self.streams.core.session_memcap
            self.streams.packet(p, f)
            if self.streams.core.session_memcap != refused:
                if self._policy(POLICY_STREAM_MEMCAP, p, f, outer):
                    return
            elif _has(p, EV_STREAM__REASSEMBLY_INSERT_MEMCAP) \
                    or _has(p, EV_STREAM__REASSEMBLY_INSERT_LIMIT):
                if self._policy(POLICY_STREAM_REASSEMBLY, p, f, outer):
                    return
            picked_up = picked_up and f.flags & FLOW_MIDSTREAM
            if (p.flags & PKT_MIDSTREAM_REFUSED or picked_up) \
                    and p.now_ns >= self.grace_until_ns:
                if self._policy(POLICY_MIDSTREAM, p, f, outer):
                    return
            elif p.flags & PKT_OUT_OF_STATE and self.drop_invalid and self.inline_mode \
                    and p.now_ns >= self.grace_until_ns:
                s.verdict = VERDICT_DROP
                self._drop(p, f, outer, WHY_POLICY, POLICY_STREAM_ERROR, NO_RULE)
                return
        self._inspect(p, f, outer)
        if p.stream_data != NULL and f.tcp != NULL:
            self.streams.inspected(p, f)
        if self.inline_mode and self.drop_invalid and not s.dropped \
                and _has(p, EV_STREAM__REASSEMBLY_OVERLAP_DIFFERENT_DATA):
            # the receiver may keep these bytes, and others were inspected
            s.verdict = VERDICT_DROP
            self._drop(p, f, outer, WHY_POLICY, POLICY_STREAM_ERROR, NO_RULE)

    cdef void _inspect(self, Packet *p, Flow *f, const Packet *outer) noexcept nogil:
        cdef FrameState *s = &self.frame
        cdef Decision *d = &self.decision
        s.inspected = 1
        self.detector.run(p, f)
        if self.detector.verified:
            s.verified = 1
        if self.detector.n_matches == 0:
            return
        self.verdicts.decide(self.detector.matches, self.detector.n_matches, p, f, d)
        if d.n_alerts:
            self._alerts(p, f, outer)
        if d.drop and self.inline_mode:
            if d.reject:
                s.verdict = VERDICT_REJECT
            else:
                s.verdict = VERDICT_DROP_FLOW if d.drop_flow else VERDICT_DROP
            self._drop(p, f, outer, WHY_RULE_REJECT if d.reject else WHY_RULE_DROP, 0,
                       d.drop_rule)
        elif d.passed:
            s.passed = 1
        elif d.bypass_flow and f != NULL:
            s.verdict = VERDICT_BYPASS_FLOW

    cdef void _alerts(self, Packet *p, Flow *f, const Packet *outer) noexcept nogil:
        cdef Decision *d = &self.decision
        cdef Record *r
        cdef Record *shared = NULL        # whose copy of the payload the next may use
        cdef Record *shared_stream = NULL
        cdef uint32_t i
        if self.suspended:
            self.suspended_alerts += d.n_alerts
            return
        for i in range(d.n_alerts):
            r = self.records.packet(REC_ALERT, p, f, outer)
            if r == NULL:
                return
            r.rule = d.alert_rule[i]
            if d.alert_blocked[i]:
                r.flags |= RECF_BLOCKED
            if d.drop and self.inline_mode and not p.flags & PKT_PSEUDO:
                r.flags |= RECF_VERDICT_DROP
            elif d.passed:
                r.flags |= RECF_VERDICT_PASS
            if d.reject & 1:
                r.flags |= RECF_REJECT_SRC
            if d.reject & 2:
                r.flags |= RECF_REJECT_DST
            if d.alert_stream[i]:
                r.flags |= RECF_STREAM
                if shared_stream != NULL:
                    r.payload_off = shared_stream.payload_off
                    r.payload_len = shared_stream.payload_len
                else:
                    self.records.payload(r, p.stream_data, p.stream_len)
                    shared_stream = r
            elif shared != NULL:
                r.payload_off = shared.payload_off
                r.payload_len = shared.payload_len
            else:
                self.records.payload(r, p.payload, p.payload_len)
                shared = r
            self.records.frame(r, p)

    cdef void _drop(self, Packet *p, Flow *f, const Packet *outer, int why, int policy,
                    uint32_t rule) noexcept nogil:
        """The frame is blocked; say so once."""
        cdef FrameState *s = &self.frame
        cdef Record *r
        cdef uint32_t logged
        s.dropped = 1
        s.why = <uint8_t> why
        if why == WHY_POLICY:
            self.policy_drops[policy & 15] += 1
        if f != NULL and self.drop_log_start:
            logged = FLOW_DROP_LOGGED_TC if p.dir == TO_CLIENT else FLOW_DROP_LOGGED
            if f.flags & logged:
                return
            f.flags |= logged
        r = self.records.packet(REC_DROP, p, f, outer)
        if r == NULL:
            return
        r.why = <uint8_t> why
        r.policy = <uint8_t> policy
        r.rule = rule
        r.flags |= RECF_VERDICT_DROP
        if rule != NO_RULE:
            r.flags |= RECF_BLOCKED
            if self.decision.reject & 1:
                r.flags |= RECF_REJECT_SRC
            if self.decision.reject & 2:
                r.flags |= RECF_REJECT_DST
        r.urgent = p.urgent
        r.icmp_id = p.icmp_id
        r.icmp_seq = p.icmp_seq
        if p.proto == 17 and p.l4 != NULL and p.l4_len >= 8 and not p.flags & PKT_FRAGMENT:
            r.udp_len = <uint16_t> (p.l4[4] << 8 | p.l4[5])

    cdef void blocked_by_bypass(self, Packet *p) noexcept nogil:
        """An inspection bypass rule blocks the frame: say so."""
        cdef Record *r = self.records.packet(REC_DROP, p, NULL, NULL)
        if r != NULL:
            r.why = WHY_BYPASS_RULE_BLOCK
            r.flags |= RECF_VERDICT_DROP

    # --- the end of a flow -----------------------------------------------------------

    cdef void finish(self, Flow *f) noexcept nogil:
        """Inspect what its streams still hold, report the flow, and let it go."""
        cdef FrameState saved = self.frame
        cdef int dir
        cdef int _
        if f.tcp != NULL and not f.flags & (FLOW_DROP | FLOW_PASS | FLOW_BYPASS):
            for dir in range(2):
                for _ in range(64):
                    if not self.streams.flush(f, dir, self.pseudo):
                        break
                    self.counters.events(self.pseudo)
                    self.detector.run(self.pseudo, f)
                    if self.detector.n_matches:
                        self.verdicts.decide(self.detector.matches, self.detector.n_matches,
                                             self.pseudo, f, &self.decision)
                        self._alerts(self.pseudo, f, NULL)
                    self.streams.inspected(self.pseudo, f)
        self.counters.flow_end(f)
        self.records.flow_end(f)
        if f.flags & FLOW_OFFERED:
            self.shunts.ended(f)
        self.streams.free(f)
        self.state.release(f)
        self.flows.release(f)
        self.frame = saved

    cdef bint expire(self, uint64_t now_ns) noexcept nogil:
        """End the flows whose time-out passed; False: the records have to be drained."""
        cdef Flow *f
        self.defrag.expire(now_ns)
        while True:
            if not self.records.room():
                return False
            f = self.flows.timed_out(now_ns)
            if f == NULL:
                break
            self.finish(f)
        return True
