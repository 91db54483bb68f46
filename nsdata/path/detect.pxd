# Which rules match a packet.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from nsdata.path.detect_content cimport Inspection
from nsdata.path.detect_costs cimport Cost, RuleCosts
from nsdata.path.detect_state cimport DetectState
from nsdata.path.hs cimport hs_database_t, hs_scratch_t
from nsdata.path.packet cimport Flow, Packet
from nsdata.path.pcre2 cimport pcre2_jit_stack
from nsdata.path.rulebase cimport Group, Match, Remainder, Rule, RuleBase

cdef enum:
    MAX_MATCHES = 256         # matching rules kept per packet; more are counted in overflowed

# What Hyperscan's callback needs: where a pattern's rules are, where to mark them.
cdef struct Marker:
    const uint32_t *rules_at  # of the group's first pattern
    const uint32_t *lists
    uint64_t *words
    uint64_t *summary
    uint64_t hits

cdef class Detector:
    cdef RuleBase base
    cdef DetectState state
    cdef Remainder remainder          # None: CLEAR says nothing of these rules
    cdef hs_database_t **rest         # its databases, or NULL
    cdef hs_scratch_t *scratch
    cdef pcre2_jit_stack *jit_stack
    cdef Inspection inspection
    cdef Marker marker
    cdef uint64_t *words              # candidate rules, one bit each
    cdef uint64_t *summary            # one bit per word of `words`
    cdef uint32_t n_summary
    cdef uint8_t *anchored            # per rule: payload ops with absolute offset or depth
    cdef RuleCosts costs
    cdef Cost *cost                   # its arrays
    cdef const uint64_t *enabled
    cdef uint32_t until_timed         # packets until the next that is timed
    cdef bint verified                # of the packet at hand, some rule was verified in full
    cdef const uint64_t *src_row      # address sets of the packet at hand
    cdef const uint64_t *dst_row
    cdef const uint64_t *sport_row    # port sets; NULL when the protocol has no ports
    cdef const uint64_t *dport_row
    cdef uint32_t proto_bit
    cdef Match matches[MAX_MATCHES]
    cdef uint32_t n_matches
    cdef bint has_pkthdr
    cdef readonly uint64_t scans
    cdef readonly uint64_t scanned_bytes
    cdef readonly uint64_t clear_scans    # ... for the remainder alone, in what is CLEAR
    cdef readonly uint64_t spared_bytes   # CLEAR and not scanned at all
    cdef readonly uint64_t evaluated      # candidate rules evaluated
    cdef readonly uint64_t overflowed     # matches beyond MAX_MATCHES
    cdef object set_remainder(self, Remainder remainder)
    cdef void run(self, Packet *p, Flow *f) noexcept nogil
    cdef void _rows(self, Packet *p, Flow *f) noexcept nogil
    cdef uint32_t _address_class(self, const uint8_t *address, uint8_t version) noexcept nogil
    cdef inline void _mark(self, uint32_t rule) noexcept nogil
    cdef void _mark_list(self, uint32_t at, uint32_t n) noexcept nogil
    cdef void _scan(self, const Group *g, const hs_database_t *db, const uint8_t *data,
                    uint32_t length) noexcept nogil
    cdef void _groups(self, int cls, Packet *p, const uint8_t *data, uint32_t length,
                      uint32_t clear) noexcept nogil
    cdef void _select(self, Packet *p, Flow *f) noexcept nogil
    cdef int _evaluate(self, uint32_t index, Packet *p, Flow *f) noexcept nogil
    cdef int _timed(self, uint32_t index, Packet *p, Flow *f) noexcept nogil
    cdef bint _header(self, const Rule *r, Packet *p, Flow *f) noexcept nogil
    cdef int _payload(self, const Rule *r, uint32_t index, uint32_t check, Packet *p) noexcept nogil
    cdef bint _buffer(self, uint8_t buffer, Packet *p) noexcept nogil
    cdef void _thresholds(self, Packet *p, Flow *f) noexcept nogil
