"""Runs the stages over a batch: the one border between Python and the packet path.

`Engine.process` takes arrays that describe a batch of frames and runs without the GIL:
decode → bypass rules → queue → flow → stream → detect → verdict. It gives every frame one
verdict and one line in the ledger, and stops early where its host has to act: at the time
or frame it was told, or when the ring of records has to be drained.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from nsdata.errors import EngineError
from nsdata.path.events import event_names

from nsdata.path.bypass cimport first_match
from nsdata.path.decode cimport decode_datagram, decode_frame
from nsdata.path.packet cimport *
from nsdata.path.rulebase cimport *

cdef extern from *:
    void __builtin_prefetch(const void *) nogil

cdef enum:
    PREFETCH = 8                      # frames ahead
    EXPIRE_EVERY_NS = 100000000       # packet time between two looks at the time-outs

cdef uint64_t NEVER = 0xFFFFFFFFFFFFFFFFULL


cdef class Engine:
    """The packet path with its state. Not thread-safe.

    base: the rule image. numbers: count of source rules (`Rule.number`).
    inline: drops take effect. checksums: validate them. alert_max: alerts per packet.
    policies: PolicyAction by Policy number. capacity_pps, queue: the modelled inspection
    capacity (0: none) and its queue in packets. bypass: array of bypass rules
    (nsdata.fallback.bypass_rules). flow, stream, defrag, records: keyword arguments of
    FlowTable, StreamTracker, Defrag and Records. Raises EngineError on misuse.
    """

    def __cinit__(self):
        self.layers = <Packet *> calloc(MAX_NESTING * MAX_LAYERS, sizeof(Packet))
        self.pseudo = <Packet *> calloc(1, sizeof(Packet))
        if self.layers == NULL or self.pseudo == NULL:
            raise MemoryError

    def __init__(self, RuleBase base, uint32_t numbers, *, bint inline=False,
                 bint checksums=True, uint32_t alert_max=15, bint drop_log_start=False,
                 bint drop_invalid=True, policies=None, double capacity_pps=0,
                 uint32_t queue=4096, bypass=None, flow=None, stream=None, defrag=None,
                 records=None, uint64_t seed=0, double grace_s=600):
        self.inline_mode = inline
        self.checksums = checksums
        self.drop_log_start = drop_log_start
        self.drop_invalid = drop_invalid
        self.flows = FlowTable(seed=seed, **(flow or {}))
        self.streams = StreamTracker(**(stream or {}))
        self.defrag = Defrag(seed=seed, **(defrag or {}))
        self.records = Records(**(records or {}))
        self.state = DetectState(seed=seed)
        self._load(base, numbers, alert_max)
        memset(self.policies, ACT_IGNORE, sizeof(self.policies))
        for which, action in (policies or {}).items():
            if not 0 <= which < 16 or not 0 <= action <= ACT_REJECT:
                raise EngineError(f"no such exception policy: {which} = {action}")
            self.policies[which] = action
        self.grace_ns = <uint64_t> (grace_s * 1e9)
        if capacity_pps < 0 or capacity_pps > 1e9:
            raise EngineError(f"capacity must be 0 to 1e9 packets/s, not {capacity_pps}")
        if capacity_pps:
            self.service_ns = max(1, <uint64_t> (1e9 / capacity_pps + 0.5))
            self.queue_ns = self.service_ns * max(1, queue)
        if bypass is not None:
            self.set_bypass(bypass)

    def __dealloc__(self):
        free(self.layers)
        free(self.pseudo)

    cdef object _load(self, RuleBase base, uint32_t numbers, uint32_t alert_max):
        detector = Detector(base, self.state)
        verdicts = Verdicts(base, numbers, self.inline_mode, alert_max)
        self.base = base
        self.detector = detector
        self.verdicts = verdicts

    def swap_rules(self, RuleBase base, uint32_t numbers) -> None:
        """Inspect with another image from the next frame on. Flows, streams, flowbits and
        thresholds live on; drain the records of the old image first (EngineError)."""
        if self.records.n:
            raise EngineError("drain the records of the old rules before loading new ones")
        self._load(base, numbers, self.verdicts.alert_max)

    def set_bypass(self, rules) -> None:
        """Replace the inspection bypass rules at once (array of 64-byte records, ≤ 32)."""
        cdef const uint8_t[::1] raw
        array = np.ascontiguousarray(rules)
        if array.dtype.itemsize != sizeof(BypassRule) or array.shape[0] > MAX_BYPASS_RULES:
            raise EngineError(f"at most {MAX_BYPASS_RULES} bypass rules of "
                              f"{sizeof(BypassRule)} bytes each")
        memset(self.bypass_hits, 0, sizeof(self.bypass_hits))
        self.n_bypass = array.shape[0]
        if self.n_bypass:
            raw = array.view(np.uint8)
            memcpy(self.bypass, &raw[0], <size_t> self.n_bypass * sizeof(BypassRule))

    # --- the border ------------------------------------------------------------------

    def process(self, const uint8_t[::1] data, const uint64_t[::1] offset,
                const uint32_t[::1] caplen, const uint32_t[::1] wirelen,
                const uint64_t[::1] ts_ns, const uint16_t[::1] linktype,
                uint8_t[::1] verdict, Py_ssize_t start=0, uint64_t stop_ns=NEVER,
                uint64_t stop_frame=0) -> int:
        """Run frames `start`… of a batch; returns the index of the first frame not taken.

        data: bytes; the other arrays have one element per frame: offset and captured bytes
        in `data`, bytes on the wire, capture time in ns, LINKTYPE_*. verdict[i] is written
        (Verdict) for every frame taken. Stops before a frame whose time is not below
        `stop_ns`, before frame number `stop_frame` (1-based over the run; 0: none), or when
        the records have to be drained; the host then acts and calls again.
        Raises EngineError when the arrays do not fit together.
        """
        cdef Py_ssize_t n = offset.shape[0]
        cdef Py_ssize_t i
        cdef uint64_t size = data.shape[0]
        if not (caplen.shape[0] == wirelen.shape[0] == ts_ns.shape[0] == linktype.shape[0] == n
                and verdict.shape[0] >= n and 0 <= start <= n):
            raise EngineError("the arrays of a batch must have one element per frame")
        if n == 0:
            return 0
        with nogil:
            i = start
            while i < n:
                if ts_ns[i] >= stop_ns or self.received + 1 == stop_frame:
                    break
                if offset[i] > size or caplen[i] > size - offset[i]:
                    break
                if not self.records.room():
                    break
                if not self.fallback and ts_ns[i] >= self.expire_at_ns:
                    if not self._expire(ts_ns[i]):
                        break
                if i + PREFETCH < n and offset[i + PREFETCH] < size:
                    __builtin_prefetch(&data[0] + offset[i + PREFETCH])
                self._frame(&data[0] + offset[i] if size else NULL, caplen[i], wirelen[i],
                            ts_ns[i], linktype[i])
                verdict[i] = self.frame.verdict
                i += 1
        if i < n and (offset[i] > size or caplen[i] > size - offset[i]):
            raise EngineError(f"frame {i} of the batch lies outside its data")
        return i

    def drain(self) -> None:
        """The host has taken the records; the ring is free again."""
        self.records.clear()

    def set_fallback(self, bint on) -> bool:
        """Enter or leave fallback from the next frame on; True when it is done.

        Entering ends every flow (what their streams still hold is inspected), since the
        engine will not see how they go on: while False is returned, drain and call again.
        After leaving, sessions without a handshake are no reason to drop for `grace_s`.
        """
        if on == self.fallback:
            return True
        if on:
            if not self.end_flows():
                return False
            self.fallback = True
        else:
            self.fallback = False
            self.grace_until_ns = self.last_ns + self.grace_ns
            self.busy_until_ns = 0
        return True

    def end_flows(self) -> bool:
        """End all flows in the order they began (shutdown); False: drain and call again."""
        cdef Flow *f
        cdef bint done = True
        with nogil:
            while True:
                if not self.records.room():
                    done = False
                    break
                f = self.flows.any()
                if f == NULL:
                    break
                f.end = FLOW_END_SHUTDOWN
                self._finish(f)
        return done

    @property
    def in_fallback(self) -> bool:
        return self.fallback

    def counts(self) -> tuple:
        """(received packets, received bytes, packets by Why, bytes by Why)."""
        cdef int k
        return (self.received, self.received_bytes,
                [self.why_packets[k] for k in range(WHY_COUNT)],
                [self.why_bytes[k] for k in range(WHY_COUNT)])

    def rule_counts(self) -> dict:
        """uint64 arrays by source rule: matched, alerted, dropped."""
        return self.verdicts.per_rule()

    def bypass_counts(self) -> list:
        """Hits of each bypass rule."""
        cdef int k
        return [self.bypass_hits[k] for k in range(self.n_bypass)]

    def stats(self) -> dict:
        """Counters of every stage."""
        cdef int k
        names = {bit: name for name, bit in event_names().items()}
        return {
            "verdicts": [self.verdict_count[k] for k in range(6)],
            "decode": {
                "invalid": self.invalid,
                "protocols": {k: self.protocols[k] for k in range(256) if self.protocols[k]},
                "versions": {k: self.versions[k] for k in range(16) if self.versions[k]},
                "tunnels": {k: self.tunnels[k] for k in range(16) if self.tunnels[k]},
                "events": {names[k]: self.event_count[k] for k in range(256)
                           if self.event_count[k]},
            },
            "policies": [[self.policy_count[i][k] for k in range(7)] for i in range(16)],
            "flow": self.flows.stats(),
            "stream": self.streams.stats(),
            "defrag": self.defrag.stats(),
            "detect": dict(self.detector.stats(), **self.state.stats(),
                           alerts=self.verdicts.alerts,
                           alerts_suppressed=self.verdicts.suppressed,
                           alerts_discarded=self.verdicts.discarded),
            "records": {"clipped": self.records.clipped, "overflowed": self.records.overflowed},
        }

    # --- one frame -------------------------------------------------------------------

    cdef bint _admit(self, uint64_t ts_ns) noexcept nogil:
        """Whether the modelled inspection queue takes a packet that arrives now."""
        if self.busy_until_ns < ts_ns:
            self.busy_until_ns = ts_ns
        if self.busy_until_ns - ts_ns >= self.queue_ns:
            return False
        self.busy_until_ns += self.service_ns
        return True

    cdef void _frame(self, const uint8_t *data, uint32_t caplen, uint32_t wirelen, uint64_t ts_ns,
                     uint16_t linktype) noexcept nogil:
        cdef FrameState *s = &self.frame
        cdef Packet *p = self.layers
        cdef int n
        cdef int k
        cdef int why
        self.received += 1
        self.received_bytes += wirelen
        if ts_ns > self.last_ns:
            self.last_ns = ts_ns
        memset(s, 0, sizeof(FrameState))
        if self.fallback:
            self._book(WHY_FALLBACK, VERDICT_PASS, wirelen)
            return
        n = decode_frame(data, caplen, wirelen, linktype, self.checksums, p, MAX_LAYERS)
        if self.n_bypass:
            k = first_match(self.bypass, self.n_bypass, p)
            if k >= 0:
                self.bypass_hits[k] += 1
                if self.bypass[k].action:
                    s.verdict = VERDICT_DROP
                    why = WHY_BYPASS_RULE_BLOCK
                else:
                    why = WHY_BYPASS_RULE
                self._book(why, s.verdict, wirelen)
                return
        if self.service_ns and not self._admit(ts_ns):
            s.verdict = VERDICT_LOST
            self._book(WHY_OVERSUBSCRIBED, VERDICT_LOST, wirelen)
            return
        for k in range(n):
            p[k].ts_ns = ts_ns
            p[k].frame_no = self.received
        self._layers(p, n, 0)
        if s.dropped:
            why = s.why
        elif s.inspected or s.skipped == 0:
            why = WHY_INSPECTED
        else:
            why = s.skipped
        self._book(why, s.verdict, wirelen)

    cdef inline void _book(self, int why, int verdict, uint32_t wirelen) noexcept nogil:
        """One line in the ledger."""
        self.why_packets[why] += 1
        self.why_bytes[why] += wirelen
        self.verdict_count[verdict] += 1

    cdef void _layers(self, Packet *p, int n, int nesting) noexcept nogil:
        """The layers of a frame or of a rebuilt datagram, outermost first."""
        cdef const uint8_t *datagram
        cdef uint32_t length = 0
        cdef Packet *inner
        cdef int k
        cdef int m
        for k in range(n):
            datagram = NULL
            if p[k].flags & PKT_FRAGMENT and not p[k].flags & PKT_INVALID:
                datagram = self.defrag.add(&p[k], &length)
            self._count_events(&p[k])
            self._layer(&p[k], self.layers if p[k].layer else NULL)
            if self.frame.dropped or self.frame.passed:
                return
            if datagram != NULL and nesting + 1 < MAX_NESTING:
                inner = self.layers + (nesting + 1) * MAX_LAYERS
                m = decode_datagram(datagram, length, &p[k], self.checksums, inner, MAX_LAYERS)
                if p[k].layer == 0 and p[k].ip != NULL:
                    inner.link_len = <uint16_t> (p[k].ip - p[k].frame)
                self._layers(inner, m, nesting + 1)
                if self.frame.dropped or self.frame.passed:
                    return

    cdef void _count_events(self, const Packet *p) noexcept nogil:
        cdef uint64_t bits
        cdef int w
        cdef int bit
        self.versions[p.ip_version & 15] += 1
        if p.ip_version:
            self.protocols[p.proto] += 1
        self.tunnels[p.tunnel & 15] += 1
        if p.flags & PKT_INVALID:
            self.invalid += 1
        for w in range(EVENT_WORDS):
            bits = p.events[w]
            bit = 0
            while bits:
                if bits & 1:
                    self.event_count[w * 64 + bit] += 1
                bits >>= 1
                bit += 1

    cdef Flow *_flow(self, Packet *p) noexcept nogil:
        """The packet's flow; makes room or ends a finished flow where it must."""
        cdef Flow *f
        cdef Flow *old
        cdef int tries
        p.flow = NO_FLOW
        if not self.flows.wants(p):
            return NULL
        for tries in range(3):
            f = self.flows.lookup(p)
            if f == NULL:
                old = self.flows.oldest()
                if old == NULL:
                    return NULL
                old.end = FLOW_END_EVICTED
                self._finish(old)
            elif self.flows.reuse(p, f):
                self._finish(f)
            else:
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
        if p.ip_version == 0:
            if not self.detector.has_pkthdr:
                s.skipped = WHY_NOT_IP
                return
        if f == NULL:
            self._inspect(p, NULL, outer)
            return
        if f.flags & FLOW_DROP and self.inline_mode:
            s.verdict = VERDICT_DROP
            self._drop(p, f, outer, WHY_FLOW_DROP, 0, NO_RULE)
            return
        if f.flags & FLOW_BYPASS:
            s.skipped = WHY_FLOW_BYPASS
            return
        if f.flags & FLOW_PASS:
            s.skipped = WHY_FLOW_PASS
            return
        if p.proto == 6 and f.proto == 6:
            picked_up = f.flags & FLOW_MIDSTREAM == 0
            self.streams.packet(p, f)
            picked_up = picked_up and f.flags & FLOW_MIDSTREAM
            if (p.flags & PKT_MIDSTREAM_REFUSED or picked_up) \
                    and p.ts_ns >= self.grace_until_ns:
                if self._policy(POLICY_MIDSTREAM, p, f, outer):
                    return
            elif p.flags & PKT_OUT_OF_STATE and self.drop_invalid and self.inline_mode \
                    and p.ts_ns >= self.grace_until_ns:
                s.verdict = VERDICT_DROP
                self._drop(p, f, outer, WHY_POLICY, POLICY_STREAM_ERROR, NO_RULE)
                return
        self._inspect(p, f, outer)
        if p.stream_data != NULL and f.tcp != NULL:
            self.streams.inspected(p, f)

    cdef void _inspect(self, Packet *p, Flow *f, const Packet *outer) noexcept nogil:
        cdef FrameState *s = &self.frame
        cdef Decision *d = &self.decision
        s.inspected = 1
        self.detector.run(p, f)
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
        cdef Record *shared = NULL
        cdef uint32_t i
        for i in range(d.n_alerts):
            r = self.records.packet(REC_ALERT, p, f, outer)
            if r == NULL:
                return
            r.rule = d.alert_rule[i]
            if d.alert_blocked[i]:
                r.flags |= RECF_BLOCKED
            if d.drop and self.inline_mode:
                r.flags |= RECF_VERDICT_DROP
            elif d.passed:
                r.flags |= RECF_VERDICT_PASS
            if d.reject & 1:
                r.flags |= RECF_REJECT_SRC
            if d.reject & 2:
                r.flags |= RECF_REJECT_DST
            if d.alert_stream[i]:
                r.flags |= RECF_STREAM
                self.records.payload(r, p.stream_data, p.stream_len)
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
        if p.proto == 17 and p.l4 != NULL:
            r.udp_len = <uint16_t> (p.l4[4] << 8 | p.l4[5])

    # --- the end of a flow -----------------------------------------------------------

    cdef void _finish(self, Flow *f) noexcept nogil:
        """Inspect what its streams still hold, report the flow, and let it go."""
        cdef FrameState saved = self.frame
        cdef int dir
        cdef int turns
        if f.tcp != NULL and not f.flags & (FLOW_DROP | FLOW_PASS | FLOW_BYPASS):
            for dir in range(2):
                for turns in range(64):
                    if not self.streams.flush(f, dir, self.pseudo):
                        break
                    self._count_events(self.pseudo)
                    self.detector.run(self.pseudo, f)
                    if self.detector.n_matches:
                        self.verdicts.decide(self.detector.matches, self.detector.n_matches,
                                             self.pseudo, f, &self.decision)
                        self._alerts(self.pseudo, f, NULL)
                    self.streams.inspected(self.pseudo, f)
        self.records.flow_end(f)
        self.streams.free(f)
        self.state.release(f)
        self.flows.release(f)
        self.frame = saved

    cdef bint _expire(self, uint64_t now_ns) noexcept nogil:
        """End the flows whose time-out passed; False: the records have to be drained."""
        cdef Flow *f
        self.defrag.expire(now_ns)
        while True:
            if not self.records.room():
                return False
            f = self.flows.timed_out(now_ns)
            if f == NULL:
                break
            self._finish(f)
        self.expire_at_ns = now_ns + EXPIRE_EVERY_NS
        return True
