"""Which rules match a packet.

`run` marks candidates (rules whose fast pattern Hyperscan found in the payload or the
stream, rules without one, rules keyed by an event, address-only rules once per flow and
direction), then evaluates them in the image's order: header, packet checks, buffers,
post-match. Marking is a bit per rule, so candidates need no sorting and none runs twice.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memset

from nsdata.path.detect_checks cimport check_packet
from nsdata.path.detect_content cimport inspect
from nsdata.path.detect_costs cimport *
from nsdata.path.hs cimport *
from nsdata.path.packet cimport *
from nsdata.path.pcre2 cimport *
from nsdata.path.rulebase cimport *
from nsdata.path.shared cimport monotonic_ns

cdef extern from *:
    int __builtin_ctzll(unsigned long long) nogil

cdef enum:
    STEP_LIMIT = 10000        # buffer-op steps per rule and buffer
    PCRE_MATCH_LIMIT = 3500
    NO_GROUP = 0xFFFF


cdef int _on_match(unsigned int id, unsigned long long start, unsigned long long end,
                   unsigned int flags, void *context) noexcept nogil:
    cdef Marker *m = <Marker *> context
    cdef uint32_t at = m.rules_at[id]
    cdef uint32_t stop = m.rules_at[id + 1]
    cdef uint32_t rule
    m.hits += 1
    while at < stop:
        rule = m.lists[at]
        m.words[rule >> 6] |= <uint64_t> 1 << (rule & 63)
        m.summary[rule >> 12] |= <uint64_t> 1 << ((rule >> 6) & 63)
        at += 1
    return 0


cdef class Detector:
    """Runs one rule image. Not thread-safe: one per engine."""

    def __cinit__(self, RuleBase base, DetectState state):
        cdef uint32_t words = (base.n_rules + 63) >> 6
        self.base = base
        self.state = state
        self.n_summary = (words + 63) >> 6
        self.words = <uint64_t *> calloc(max(1, words), 8)
        self.summary = <uint64_t *> calloc(max(1, self.n_summary), 8)
        self.anchored = <uint8_t *> calloc(max(1, base.n_rules), 1)
        self.costs = RuleCosts(base.n_rules)
        self.cost = self.costs.items
        self.enabled = self.costs.enabled
        if self.words == NULL or self.summary == NULL or self.anchored == NULL:
            raise MemoryError
        if base.scratch != NULL and hs_clone_scratch(base.scratch, &self.scratch) != HS_SUCCESS:
            raise MemoryError("Hyperscan scratch")
        self.inspection.match_data = pcre2_match_data_create(16, NULL)
        self.inspection.match_context = pcre2_match_context_create(NULL)
        self.jit_stack = pcre2_jit_stack_create(32 * 1024, 512 * 1024, NULL)
        if self.inspection.match_data == NULL or self.inspection.match_context == NULL \
                or self.jit_stack == NULL:
            raise MemoryError("PCRE2")
        pcre2_jit_stack_assign(self.inspection.match_context, NULL, self.jit_stack)
        pcre2_set_match_limit(self.inspection.match_context, PCRE_MATCH_LIMIT)
        self.inspection.pool = base.pool
        self.inspection.pcres = base.pcres
        self.inspection.step_limit = STEP_LIMIT
        self.marker.lists = base.lists
        self.marker.words = self.words
        self.marker.summary = self.summary
        state.size_for(base.n_flowbits, base.n_flowints)

    def __init__(self, RuleBase base, DetectState state):
        cdef uint32_t i
        cdef uint32_t k
        cdef uint32_t j
        cdef const BufferCheck *b
        cdef const Op *op
        for i in range(base.n_rules):
            if base.rules[i].flags & RF_PKTHDR:
                self.has_pkthdr = True
            for k in range(base.rules[i].n_buffers):
                b = &base.buffers[base.rules[i].buffer_at + k]
                if b.buffer != BUF_PAYLOAD:
                    continue
                for j in range(b.n_ops):
                    op = &base.ops[b.op_at + j]
                    if op.kind == OP_CONTENT and op.flags & (OPF_OFFSET | OPF_DEPTH) \
                            and not op.flags & (OPF_DISTANCE | OPF_WITHIN):
                        self.anchored[i] = 1
                    elif op.kind == OP_BSIZE or (OP_BYTE_TEST <= op.kind <= OP_ISDATAAT
                                                 and not op.flags & OPF_RELATIVE):
                        self.anchored[i] = 1

    def __dealloc__(self):
        if self.scratch != NULL:
            hs_free_scratch(self.scratch)
        if self.inspection.match_data != NULL:
            pcre2_match_data_free(self.inspection.match_data)
        if self.inspection.match_context != NULL:
            pcre2_match_context_free(self.inspection.match_context)
        if self.jit_stack != NULL:
            pcre2_jit_stack_free(self.jit_stack)
        free(self.words)
        free(self.summary)
        free(self.anchored)

    def stats(self) -> dict:
        """Counters of candidate selection and of the limits that were reached."""
        return {"scans": self.scans, "scanned_bytes": self.scanned_bytes,
                "clear_scans": self.clear_scans, "spared_bytes": self.spared_bytes,
                "pattern_hits": self.marker.hits, "rules_evaluated": self.evaluated,
                "match_overflow": self.overflowed,
                "inspection_limit_reached": self.inspection.limited}

    # --- addresses and ports -------------------------------------------------------

    cdef uint32_t _address_class(self, const uint8_t *address, uint8_t version) noexcept nogil:
        cdef uint32_t low = 0
        cdef uint32_t high
        cdef uint32_t middle
        cdef uint32_t value
        if version == 4:
            value = (<uint32_t> address[0] << 24 | <uint32_t> address[1] << 16
                     | <uint32_t> address[2] << 8 | address[3])
            high = self.base.n_v4
            while high - low > 1:
                middle = (low + high) >> 1
                if self.base.v4_starts[middle] <= value:
                    low = middle
                else:
                    high = middle
            return self.base.v4_class[low]
        high = self.base.n_v6
        while high - low > 1:
            middle = (low + high) >> 1
            if memcmp(self.base.v6_starts + <size_t> middle * 16, address, 16) <= 0:
                low = middle
            else:
                high = middle
        return self.base.v6_class[low]

    cdef void _rows(self, Packet *p, Flow *f) noexcept nogil:
        """Bit rows of the address and port sets the packet is in."""
        cdef uint32_t src
        cdef uint32_t dst
        if f != NULL and not p.flags & PKT_ICMP_ERROR:
            if f.addr_generation != self.base.generation:
                f.addr_row[0] = self._address_class(f.src, f.ip_version)
                f.addr_row[1] = self._address_class(f.dst, f.ip_version)
                f.addr_generation = self.base.generation
            src = f.addr_row[1 if p.dir == TO_CLIENT else 0]
            dst = f.addr_row[0 if p.dir == TO_CLIENT else 1]
        else:
            src = self._address_class(p.src, p.ip_version)
            dst = self._address_class(p.dst, p.ip_version)
        self.src_row = self.base.addr_bits + <size_t> src * self.base.addr_words
        self.dst_row = self.base.addr_bits + <size_t> dst * self.base.addr_words
        if self.proto_bit & (PB_TCP | PB_UDP | PB_SCTP) and not p.flags & PKT_FRAGMENT:
            src = self.base.port_class[p.sport]
            dst = self.base.port_class[p.dport]
            self.sport_row = self.base.port_bits + <size_t> src * self.base.port_words
            self.dport_row = self.base.port_bits + <size_t> dst * self.base.port_words
        else:
            self.sport_row = NULL
            self.dport_row = NULL

    # --- candidates -----------------------------------------------------------------

    cdef inline void _mark(self, uint32_t rule) noexcept nogil:
        self.words[rule >> 6] |= <uint64_t> 1 << (rule & 63)
        self.summary[rule >> 12] |= <uint64_t> 1 << ((rule >> 6) & 63)

    cdef void _mark_list(self, uint32_t at, uint32_t n) noexcept nogil:
        cdef uint32_t i
        for i in range(n):
            self._mark(self.base.lists[at + i])

    cdef object set_remainder(self, Remainder remainder):
        """What to search for in packets and streams that are CLEAR; None: everything."""
        cdef hs_scratch_t *scratch = NULL
        if remainder is not None:
            if remainder.base is not self.base:
                raise ValueError("the remainder is of another rule image")
            if self.base.scratch != NULL:
                if hs_clone_scratch(self.base.scratch, &scratch) != HS_SUCCESS:
                    raise MemoryError("Hyperscan scratch")
                if self.scratch != NULL:
                    hs_free_scratch(self.scratch)
                self.scratch = scratch
        self.remainder = remainder
        self.rest = NULL if remainder is None else remainder.dbs

    cdef void _scan(self, const Group *g, const hs_database_t *db, const uint8_t *data,
                    uint32_t length) noexcept nogil:
        self.scans += 1
        self.scanned_bytes += length
        self.marker.rules_at = self.base.pattern_rules_at + g.pattern_at
        hs_scan(db, <const char *> data, length, 0, self.scratch, _on_match, &self.marker)

    cdef void _groups(self, int cls, Packet *p, const uint8_t *data, uint32_t length,
                      uint32_t clear) noexcept nogil:
        """Mark the candidates of a class: patterns found in `data`, and the rules without.

        `clear`: no pattern that the hardware's image covers is in `data`.
        """
        cdef uint32_t classes = self.base.n_port_classes
        cdef int dir = p.dir & 1          # to server where there is no flow
        cdef const uint16_t *of = (self.base.group_of
                                   + <size_t> (cls * 2 + dir) * GROUP_KINDS * classes)
        cdef uint16_t number
        cdef const Group *g
        cdef const hs_database_t *db
        cdef int kind
        for kind in range(GROUP_KINDS):
            if kind == GROUP_ANY:
                number = of[self.base.port_class[p.dport]] if self.dport_row != NULL else of[0]
            elif self.dport_row == NULL:
                break
            elif kind == GROUP_DPORT:
                number = of[classes + self.base.port_class[p.dport]]
            else:
                number = of[2 * classes + self.base.port_class[p.sport]]
            if number == NO_GROUP:
                continue
            g = &self.base.groups[number]
            db = g.db
            if clear and self.rest != NULL:
                db = self.rest[number]
                if db != NULL:
                    self.clear_scans += 1
                elif g.db != NULL:
                    self.spared_bytes += length
            if length and db != NULL:
                self._scan(g, db, data, length)
            if g.n_always:
                self._mark_list(g.always_at, g.n_always)

    cdef void _select(self, Packet *p, Flow *f) noexcept nogil:
        cdef uint64_t events
        cdef uint32_t event
        cdef uint32_t flag
        cdef int w
        for w in range(EVENT_WORDS):
            events = p.events[w] & self.base.event_mask[w]
            while events:
                event = <uint32_t> w * 64 + <uint32_t> __builtin_ctzll(events)
                events &= events - 1
                self._mark_list(self.base.event_at[event], self.base.event_at[event + 1]
                                - self.base.event_at[event])
        if p.ip_version == 0 or p.flags & PKT_TRUNCATED:
            return      # too broken for anything but event rules
        if self.base.n_iponly and not p.flags & PKT_PSEUDO:
            flag = FLOW_IPONLY_TC if p.dir == TO_CLIENT else FLOW_IPONLY_TS
            if f == NULL or not f.flags & flag:
                if f != NULL:
                    f.flags |= flag
                for event in range(self.base.n_iponly):
                    self._mark(self.base.iponly[event])
        if self.proto_bit == PB_TCP:
            if not p.flags & PKT_PSEUDO:
                self._groups(CLASS_TCP_PACKET, p, p.payload, p.payload_len, p.flags & PKT_CLEAR)
                if not p.flags & PKT_STREAM_ADDED and p.payload_len:
                    self._groups(CLASS_TCP_STREAM, p, p.payload, p.payload_len,
                                 p.flags & PKT_CLEAR)
            if p.stream_data != NULL and p.stream_len:
                self._groups(CLASS_TCP_STREAM, p, p.stream_data, p.stream_len,
                             p.flags & PKT_STREAM_CLEAR)
        elif self.proto_bit == PB_UDP:
            self._groups(CLASS_UDP, p, p.payload, p.payload_len, p.flags & PKT_CLEAR)
        else:
            self._groups(CLASS_OTHER, p, p.payload, p.payload_len, p.flags & PKT_CLEAR)

    # --- evaluation -----------------------------------------------------------------

    cdef bint _header(self, const Rule *r, Packet *p, Flow *f) noexcept nogil:
        cdef uint32_t flags = r.flags
        if p.ip_version == 0:
            return (flags & RF_PKTHDR) != 0
        if not r.protos & self.proto_bit:
            return False
        if flags & (RF_IPV4 | RF_IPV6):
            if flags & RF_IPV4 and p.ip_version != 4:
                return False
            if flags & RF_IPV6 and p.ip_version != 6:
                return False
        if flags & (RF_TO_SERVER | RF_TO_CLIENT):
            if f == NULL:
                return False
            if flags & RF_TO_SERVER and p.dir != TO_SERVER:
                return False
            if flags & RF_TO_CLIENT and p.dir != TO_CLIENT:
                return False
        if flags & (RF_ESTABLISHED | RF_NOT_ESTABLISHED | RF_NEEDS_FLOW):
            if f == NULL:
                return False
            if flags & RF_ESTABLISHED and not p.flags & PKT_ESTABLISHED:
                return False
            if flags & RF_NOT_ESTABLISHED and p.flags & PKT_ESTABLISHED:
                return False
        if flags & (RF_ONLY_FRAG | RF_NO_FRAG):
            if flags & RF_ONLY_FRAG and not p.flags & PKT_REBUILT:
                return False
            if flags & RF_NO_FRAG and p.flags & PKT_REBUILT:
                return False
        if r.src_set and not (self.src_row[r.src_set >> 6] >> (r.src_set & 63)) & 1:
            return False
        if r.dst_set and not (self.dst_row[r.dst_set >> 6] >> (r.dst_set & 63)) & 1:
            return False
        if r.sport_set | r.dport_set:
            if self.sport_row == NULL:
                return False
            if r.sport_set and not (self.sport_row[r.sport_set >> 6] >> (r.sport_set & 63)) & 1:
                return False
            if r.dport_set and not (self.dport_row[r.dport_set >> 6] >> (r.dport_set & 63)) & 1:
                return False
        return True

    cdef bint _buffer(self, uint8_t buffer, Packet *p) noexcept nogil:
        """Point the inspection at a header buffer; False when the packet has none."""
        cdef Inspection *i = &self.inspection
        if buffer == BUF_IPV4_HDR or buffer == BUF_IPV6_HDR:
            if p.ip == NULL or p.ip_version != (4 if buffer == BUF_IPV4_HDR else 6):
                return False
            i.buffer = p.ip
            i.length = p.ip_hlen
            return True
        if p.l4 == NULL or p.flags & (PKT_FRAGMENT | PKT_PSEUDO):
            return False
        if buffer == BUF_TCP_HDR:
            if p.proto != 6:
                return False
        elif buffer == BUF_UDP_HDR:
            if p.proto != 17:
                return False
        elif buffer == BUF_ICMPV4_HDR:
            if p.proto != 1:
                return False
        elif p.proto != 58:
            return False
        i.buffer = p.l4
        i.length = p.l4_hlen
        return True

    cdef int _payload(self, const Rule *r, uint32_t index, uint32_t check,
                      Packet *p) noexcept nogil:
        """0 no match, 1 matched in the packet, 2 matched in the stream."""
        cdef Inspection *i = &self.inspection
        cdef const BufferCheck *b = &self.base.buffers[check]
        cdef const Op *ops = &self.base.ops[b.op_at]
        if r.flags & RF_REQUIRE_STREAM and p.stream_data != NULL and p.stream_len:
            if not self.anchored[index] or p.stream_new == 0:
                i.buffer = p.stream_data
                i.length = p.stream_len
                if inspect(i, ops, b.n_ops):
                    if p.stream_new == 0 or i.match_end > p.stream_new:
                        return 2
            if p.stream_new and p.stream_new < p.stream_len:
                # a match that lies in bytes seen before is no match; look at the new alone
                i.buffer = p.stream_data + p.stream_new
                i.length = p.stream_len - p.stream_new
                if inspect(i, ops, b.n_ops):
                    return 2
        if p.flags & PKT_PSEUDO or p.payload_len == 0 or r.flags & RF_ONLY_STREAM:
            return 0
        if self.proto_bit == PB_TCP and not r.flags & RF_REQUIRE_PACKET \
                and p.flags & PKT_STREAM_ADDED:
            return 0
        i.buffer = p.payload
        i.length = p.payload_len
        return 1 if inspect(i, ops, b.n_ops) else 0

    cdef int _evaluate(self, uint32_t index, Packet *p, Flow *f) noexcept nogil:
        """0 no match, 1 match, 2 match with the stream."""
        cdef const Rule *r = &self.base.rules[index]
        cdef const Op *op
        cdef const BufferCheck *b
        cdef uint32_t k
        cdef int how = 1
        cdef int found
        self.evaluated += 1
        self.cost[index].checked += 1
        if not self._header(r, p, f):
            return 0
        for k in range(r.n_checks):
            op = &self.base.ops[r.check_at + k]
            if CHK_FLOWBITS_ISSET <= op.kind <= CHK_XBITS:
                if not self.state.check(op, self.base.lists, p, f):
                    return 0
            elif not check_packet(op, p, f):
                return 0
        self.cost[index].verified += 1
        self.verified = True
        if r.n_vars:
            memset(self.inspection.vars, 0, sizeof(self.inspection.vars))
        for k in range(r.n_buffers):
            b = &self.base.buffers[r.buffer_at + k]
            if b.buffer == BUF_PAYLOAD:
                found = self._payload(r, index, r.buffer_at + k, p)
                if found == 0:
                    return 0
                if found == 2:
                    how = 2
            else:
                if not self._buffer(b.buffer, p):
                    return 0
                if not inspect(&self.inspection, &self.base.ops[b.op_at], b.n_ops):
                    return 0
        for k in range(r.n_posts):
            self.state.apply(&self.base.ops[r.post_at + k], self.base.lists, p, f)
        return how

    cdef int _timed(self, uint32_t index, Packet *p, Flow *f) noexcept nogil:
        """As `_evaluate`, by the clock."""
        cdef uint64_t since = monotonic_ns()
        cdef int how = self._evaluate(index, p, f)
        cdef uint64_t took = monotonic_ns() - since
        self.cost[index].timed_ns += took if took < TIMED_MOST_NS else TIMED_MOST_NS
        return how

    cdef void run(self, Packet *p, Flow *f) noexcept nogil:
        """Fill `matches` with the rules that match, in evaluation order."""
        cdef uint64_t groups
        cdef uint64_t bits
        cdef uint32_t s
        cdef uint32_t w
        cdef uint32_t index
        cdef int how
        cdef bint timed = self.until_timed == 0
        self.until_timed = (TIMED_EVERY if timed else self.until_timed) - 1
        self.verified = False
        self.n_matches = 0
        if p.ip_version == 0:
            self.proto_bit = 0
        elif p.proto == 6:
            self.proto_bit = PB_TCP
        elif p.proto == 17:
            self.proto_bit = PB_UDP
        elif p.proto == 1:
            self.proto_bit = PB_ICMP
        elif p.proto == 58:
            self.proto_bit = PB_ICMPV6
        elif p.proto == 132:
            self.proto_bit = PB_SCTP
        else:
            self.proto_bit = PB_OTHER
        if p.ip_version:
            self._rows(p, f)
        self._select(p, f)
        for s in range(self.n_summary):
            groups = self.summary[s]
            if groups == 0:
                continue
            self.summary[s] = 0
            while groups:
                w = s * 64 + <uint32_t> __builtin_ctzll(groups)
                groups &= groups - 1
                bits = self.words[w] & self.enabled[w]
                self.words[w] = 0
                while bits:
                    index = w * 64 + <uint32_t> __builtin_ctzll(bits)
                    bits &= bits - 1
                    how = self._timed(index, p, f) if timed else self._evaluate(index, p, f)
                    if how:
                        if self.n_matches < MAX_MATCHES:
                            self.matches[self.n_matches].rule = index
                            self.matches[self.n_matches].stream = how == 2
                            self.n_matches += 1
                        else:
                            self.overflowed += 1
        if self.n_matches:
            self._thresholds(p, f)

    cdef void _thresholds(self, Packet *p, Flow *f) noexcept nogil:
        """Ask the thresholds in order; what a pass rule cuts off is not counted."""
        cdef const Rule *r
        cdef Match *m
        cdef uint32_t i
        for i in range(self.n_matches):
            m = &self.matches[i]
            r = &self.base.rules[m.rule]
            m.threshold = 1
            if r.threshold:
                m.threshold = <uint8_t> self.state.threshold(
                    &self.base.thresholds[r.threshold - 1], r.sid, r.gid, p, f)
            if r.action == ACTION_PASS and m.threshold:
                self.n_matches = i + 1
                return
