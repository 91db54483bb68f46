# The rule image: plain arrays and Hyperscan databases that detect runs without Python.
# Owner: rulebase (built once per load, read-only after). nsdata/rules/compile.py fills the
# arrays; the numpy dtypes it uses come from rulebase.dtypes(), taken from these structs.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from nsdata.path.hs cimport hs_database_t, hs_scratch_t
from nsdata.path.pcre2 cimport pcre2_code, pcre2_match_context, pcre2_match_data

cpdef enum Action:
    ACTION_ALERT = 0
    ACTION_DROP = 1
    ACTION_PASS = 2
    ACTION_REJECT = 3         # answer the sender (= rejectsrc)
    ACTION_REJECT_DST = 4
    ACTION_REJECT_BOTH = 5

# Decides what an action applies to (packet, flow, flow if a stream matched).
cpdef enum RuleType:
    RULE_PACKET = 0           # action on the packet alone
    # addresses and protocol alone: runs once per flow and direction; action on the flow
    RULE_IPONLY = 1
    # as IPONLY but cannot run in the address-only engine; action on the flow
    RULE_LIKE_IPONLY = 2
    RULE_EVENT = 3            # decode-event: action on the packet
    RULE_PACKET_STREAM = 4    # needs packet and stream: action on the flow if the stream matched
    RULE_STREAM = 5           # as above
    # later: RULE_APP (action on the flow)

cpdef enum RuleFlag:
    RF_NOALERT = 1 << 0           # match silently (noalert; a pass rule without `alert`)
    RF_BYPASS = 1 << 1            # keyword bypass: flow is bypassed after the match
    RF_TO_SERVER = 1 << 2         # flow:to_server / from_client
    RF_TO_CLIENT = 1 << 3
    RF_ESTABLISHED = 1 << 4
    RF_NOT_ESTABLISHED = 1 << 5
    RF_STATELESS = 1 << 6         # flow:stateless (no constraint)
    RF_ONLY_STREAM = 1 << 7       # flow:only_stream
    RF_NO_STREAM = 1 << 8         # flow:no_stream
    RF_ONLY_FRAG = 1 << 9
    RF_NO_FRAG = 1 << 10
    RF_REQUIRE_PACKET = 1 << 11   # payload ops look at the packet's payload
    RF_REQUIRE_STREAM = 1 << 12   # payload ops look at reassembled stream (TCP)
    RF_NEEDS_FLOW = 1 << 13       # has a flow keyword, flowbits or other flow state
    RF_PKTHDR = 1 << 14           # protocol pkthdr: also packets without a sound IP header
    RF_IPV4 = 1 << 15             # IPv4 only (ipv4, icmpv4)
    RF_IPV6 = 1 << 16             # IPv6 only
    RF_PAYLOAD = 1 << 17          # has a payload buffer (BUF_PAYLOAD) check

# Protocols a rule header names, as a mask (Rule.protos); `ip` is all of them.
cpdef enum ProtoBit:
    PB_TCP = 1 << 0
    PB_UDP = 1 << 1
    PB_ICMP = 1 << 2              # IPv4 ICMP
    PB_ICMPV6 = 1 << 3
    PB_SCTP = 1 << 4
    PB_OTHER = 1 << 5             # any other IP protocol
    PB_ANY = 63

cdef struct Rule:
    uint32_t sid
    uint32_t gid
    uint32_t rev
    uint32_t number           # index of the source rule in the RuleSet (two Rules share it for <>)
    uint8_t action            # Action
    uint8_t type              # RuleType
    uint8_t priority          # 1..255, 1 is highest
    uint8_t n_vars            # byte_extract/byte_math variables used, ≤ MAX_VARS
    uint32_t flags            # RuleFlag
    uint32_t protos           # ProtoBit mask
    uint16_t src_set          # address set, 0 = any
    uint16_t dst_set
    uint16_t sport_set        # port set, 0 = any
    uint16_t dport_set
    uint16_t n_checks         # packet checks: ops[check_at : check_at + n_checks]
    uint16_t n_posts          # post-match ops: ops[post_at : …]
    uint16_t n_buffers        # buffer checks: buffers[buffer_at : …]
    uint16_t spare
    uint32_t check_at
    uint32_t post_at
    uint32_t buffer_at
    uint32_t threshold        # 1 + index in thresholds, 0 = none

cpdef enum:
    MAX_VARS = 16
    MAX_PATTERN = 255         # bytes of a fast pattern given to Hyperscan (longer: its first 255)

# The bytes a list of buffer ops looks at. Sticky buffers and the payload.
cpdef enum Buffer:
    BUF_PAYLOAD = 0           # packet payload and/or stream, by RF_REQUIRE_*
    BUF_IPV4_HDR = 1          # IPv4 header with options
    BUF_IPV6_HDR = 2          # IPv6 header with extension headers
    BUF_TCP_HDR = 3           # TCP header with options
    BUF_UDP_HDR = 4
    BUF_ICMPV4_HDR = 5
    BUF_ICMPV6_HDR = 6
    BUF_COUNT = 7
    # later: HTTP, DNS, TLS buffers

cdef struct BufferCheck:
    uint8_t buffer            # Buffer
    uint8_t spare
    uint16_t n_ops
    uint32_t op_at            # ops[op_at : op_at + n_ops], in rule order

cpdef enum OpKind:
    # --- buffer ops (matched left to right with backtracking; `cursor` = end of the last match)
    OP_CONTENT = 1            # pool[data : data + length]; offset/depth/distance/within by flags
    OP_PCRE = 2               # data = index in pcres; flag RELATIVE (/R), NEGATED
    OP_BYTE_TEST = 3          # nbytes at offset, `cmp`, value a
    OP_BYTE_JUMP = 4          # nbytes at offset, × b (multiplier, 1 if none), + a (post_offset)
    OP_BYTE_EXTRACT = 5       # nbytes at offset, × b, into vars[result]; align: c
    OP_BYTE_MATH = 6          # nbytes at offset, `cmp` = MathOp, rvalue a, into vars[result]
    OP_ISDATAAT = 7           # position a; RELATIVE, NEGATED
    OP_BSIZE = 8              # buffer length `cmp` a[, b]
    # --- packet checks
    CHK_FIELD = 32            # data = Field, `cmp` a[, b]
    CHK_TCP_FLAGS = 33        # a = flags, b = bits to ignore, cmp = FlagsCompare
    CHK_FRAGBITS = 34         # a = bits (MF 1, DF 2, RB 4), cmp = FlagsCompare
    CHK_SAMEIP = 35
    CHK_EVENT = 36            # data = event bit
    CHK_CSUM = 37             # data = Csum, a = 1 valid / 0 invalid
    CHK_VLAN_ID = 38          # data = layer: 0..2, VLAN_ANY, VLAN_ALL, VLAN_LAST.. ; `cmp` a[, b]
    CHK_FLOWBITS_ISSET = 39   # any of lists[data : data + length] is set
    CHK_FLOWBITS_ISNOTSET = 40    # any of lists[...] is not set
    CHK_FLOWINT = 41          # data = variable, `cmp` a (or VAR_A: a is a variable)
    CHK_FLOWINT_ISSET = 42    # data = variable; NEGATED = isnotset
    CHK_XBITS = 43            # data = bit, length = Track; NEGATED = isnotset
    CHK_FLOW = 44             # data = FlowField, `cmp` a[, b]
    CHK_STREAM_SIZE = 45      # data = StreamSide, `cmp` a (EQ NE LT GT LE GE)
    CHK_IPOPT = 46            # IPv4 option number data is present
    # --- post-match
    POST_FLOWBITS_SET = 64    # every bit of lists[data : data + length]
    POST_FLOWBITS_UNSET = 65
    POST_FLOWBITS_TOGGLE = 66
    POST_FLOWINT = 67         # data = variable, cmp: FlowIntOp; a (or VAR_A: a is a variable)
    POST_XBITS_SET = 68       # data = bit, length = Track, a = expire in s
    POST_XBITS_UNSET = 69
    POST_XBITS_TOGGLE = 70

cpdef enum OpFlag:
    OPF_NEGATED = 1 << 0
    OPF_NOCASE = 1 << 1       # content: pool bytes are lower case
    OPF_OFFSET = 1 << 2
    OPF_DEPTH = 1 << 3
    OPF_DISTANCE = 1 << 4
    OPF_WITHIN = 1 << 5
    OPF_ENDSWITH = 1 << 6     # match must end at the buffer's end
    OPF_RELATIVE = 1 << 7     # pcre /R, byte_* relative, isdataat relative
    OPF_NEXT_RELATIVE = 1 << 8    # the next op is relative to this one (else no backtracking)
    OPF_VAR_OFFSET = 1 << 9   # op.offset is a variable number
    OPF_VAR_DEPTH = 1 << 10
    OPF_VAR_DISTANCE = 1 << 11
    OPF_VAR_WITHIN = 1 << 12
    # op.a is a variable number (byte_test value, rvalue, isdataat, bsize…)
    OPF_VAR_A = 1 << 13
    OPF_VAR_NBYTES = 1 << 14  # op.nbytes is a variable number
    OPF_LITTLE = 1 << 15      # byte_*: little endian (else big)
    OPF_STRING = 1 << 16      # byte_*: text; base in op.c (8, 10, 16)
    # byte_jump/extract align to 4 (extract: op.c when not STRING… see `align`)
    OPF_ALIGN = 1 << 17
    OPF_FROM_BEGINNING = 1 << 18
    OPF_FROM_END = 1 << 19
    OPF_BITMASK = 1 << 20     # op.mask; result shifted right by its trailing zeros
    OPF_FAST_PATTERN = 1 << 21    # informative
    OPF_FAST_PATTERN_ONLY = 1 << 22   # Hyperscan's hit is enough: op need not be checked again
    OPF_CMP_NEGATED = 1 << 23  # byte_test: !operator
    OPF_STARTSWITH = 1 << 24  # informative (offset 0, depth = length are set too)

cpdef enum Compare:
    CMP_EQ = 0
    CMP_NE = 1
    CMP_LT = 2
    CMP_GT = 3
    CMP_LE = 4
    CMP_GE = 5
    CMP_BETWEEN = 6           # a < x < b
    CMP_WITHIN = 7            # a ≤ x ≤ b
    CMP_AND = 8               # byte_test &
    CMP_OR = 9                # byte_test ^ (xor is non-zero)
    CMP_NOT_WITHIN = 10       # x < a or x > b

cpdef enum FlagsCompare:
    FLAGS_EXACT = 0           # (have & ~ignored) == a
    FLAGS_ALL = 1             # '+' all of a
    FLAGS_ANY = 2             # '*' any of a
    FLAGS_NOT = 3             # '!' none… as the rule language: not exactly/all of a

cpdef enum MathOp:
    MATH_ADD = 0
    MATH_SUB = 1
    MATH_MUL = 2
    MATH_DIV = 3              # by zero: no match
    MATH_SHL = 4
    MATH_SHR = 5

cpdef enum FlowIntOp:
    FLOWINT_SET = 0
    FLOWINT_ADD = 1
    FLOWINT_SUB = 2

cpdef enum Field:
    FIELD_TTL = 0
    FIELD_TOS = 1
    FIELD_IP_ID = 2
    FIELD_IP_PROTO = 3
    FIELD_DSIZE = 4           # packet payload bytes (not on pseudo packets)
    FIELD_SEQ = 5
    FIELD_ACK = 6
    FIELD_WINDOW = 7
    FIELD_MSS = 8             # absent: no match
    FIELD_ITYPE = 9           # ICMP and ICMPv6
    FIELD_ICODE = 10
    FIELD_ICMP_ID = 11        # echo and other messages with an identifier only
    FIELD_ICMP_SEQ = 12
    FIELD_FRAGOFFSET = 13     # in 8-byte units, as on the wire
    FIELD_VLAN_LAYERS = 14
    FIELD_TCP_WSCALE = 15

cpdef enum Csum:
    CSUM_IPV4 = 0
    CSUM_TCPV4 = 1
    CSUM_UDPV4 = 2
    CSUM_ICMPV4 = 3
    CSUM_TCPV6 = 4
    CSUM_UDPV6 = 5
    CSUM_ICMPV6 = 6

cpdef enum VlanLayer:
    VLAN_LAST = 252           # -1; -2 is 251, -3 is 250
    VLAN_ANY = 254
    VLAN_ALL = 255

cpdef enum FlowField:
    FLOWF_AGE = 0             # s
    FLOWF_PKTS_TS = 1
    FLOWF_PKTS_TC = 2
    FLOWF_BYTES_TS = 3
    FLOWF_BYTES_TC = 4
    FLOWF_PKTS_EITHER = 5
    FLOWF_BYTES_EITHER = 6

cpdef enum StreamSide:
    SIDE_SERVER = 0           # bytes the server sent
    SIDE_CLIENT = 1
    SIDE_BOTH = 2             # both sides each
    SIDE_EITHER = 3

cpdef enum Track:
    TRACK_SRC = 0
    TRACK_DST = 1
    TRACK_BOTH = 2            # address pair
    TRACK_RULE = 3
    TRACK_FLOW = 4

cdef struct Op:
    uint8_t kind              # OpKind
    uint8_t cmp               # Compare / FlagsCompare / MathOp
    uint16_t nbytes
    uint32_t flags            # OpFlag
    int32_t offset
    int32_t depth             # content: as in the rule (from offset), not absolute
    int32_t distance
    int32_t within
    uint32_t data
    uint32_t length
    int64_t a
    int64_t b
    int64_t c                 # byte_*: base for STRING; byte_extract: align (0, 2, 4)
    uint64_t mask
    uint32_t result           # variable number written
    uint32_t spare

cpdef enum ThresholdKind:
    THRESHOLD_LIMIT = 0
    THRESHOLD_THRESHOLD = 1
    THRESHOLD_BOTH = 2
    THRESHOLD_BACKOFF = 3
    THRESHOLD_DETECTION_FILTER = 4

cdef struct Threshold:
    uint8_t kind              # ThresholdKind
    uint8_t track             # Track
    uint16_t spare
    uint32_t count
    uint32_t seconds
    uint32_t multiplier       # backoff

# A rule that matched a packet. Owner: detect; verdict reads.
cdef struct Match:
    uint32_t rule             # index in RuleBase.rules
    uint8_t stream            # 1: the payload matched in the reassembled stream
    uint8_t threshold         # 0 neither alert nor action, 1 alert, 2 action alone

# --- candidate selection -------------------------------------------------------------
# What a packet (or its stream bytes) can be a candidate for. Rules of one class share
# groups; a group is one Hyperscan database over fast patterns plus the rules that have
# none. A rule sits in exactly one group kind per class and direction:
#   dport_set != any            -> every port class in its dport_set, kind GROUP_DPORT
#   else sport_set != any       -> every port class in its sport_set, kind GROUP_SPORT
#   else                        -> GROUP_ANY
# in direction to_server unless RF_TO_CLIENT, and to_client unless RF_TO_SERVER (both when
# it names neither). Port classes with the same rules share one group number.
# Where they are few, the rules of GROUP_ANY are also in each GROUP_DPORT group, and GROUP_ANY
# has no group for its port class: one scan for both.
# ICMP, SCTP-without-ports, other protocols: GROUP_ANY of port class 0 alone is looked at.
# Rules keyed elsewhere are in no group: RULE_IPONLY (iponly list) and rules whose
# candidate is an event (a CHK_EVENT check and no fast pattern: event lists).
# A rule with protocol `ip` sits in several classes.
cpdef enum GroupClass:
    CLASS_TCP_PACKET = 0      # TCP, rules with RF_REQUIRE_PACKET or without payload checks
    CLASS_TCP_STREAM = 1      # TCP, rules with RF_REQUIRE_STREAM (both if both)
    CLASS_UDP = 2
    CLASS_OTHER = 3           # ICMP, ICMPv6, SCTP and every other IP protocol
    CLASS_COUNT = 4

cpdef enum GroupKind:
    GROUP_ANY = 0
    GROUP_DPORT = 1
    GROUP_SPORT = 2
    GROUP_KINDS = 3

cdef struct Group:
    hs_database_t *db         # NULL when no rule of the group has a fast pattern
    uint32_t pattern_at       # first of the group's entries in pattern_rules_at
    uint32_t n_patterns
    uint32_t always_at        # lists[always_at : always_at + n_always]: rules without pattern
    uint32_t n_always

cdef class RuleBase:
    # arrays below are owned by numpy arrays kept alive in `keep`
    cdef object keep
    cdef readonly uint32_t generation     # differs for every image, never 0
    cdef readonly uint32_t n_rules
    cdef Rule *rules                      # in evaluation order
    cdef Op *ops
    cdef BufferCheck *buffers
    cdef Threshold *thresholds
    cdef const uint8_t *pool
    cdef const uint32_t *lists
    cdef uint32_t n_thresholds
    cdef readonly uint32_t n_flowbits     # flowbit numbers are 0..n_flowbits-1
    cdef readonly uint32_t n_flowints
    cdef readonly uint32_t n_xbits
    # groups
    cdef Group *groups
    cdef uint32_t n_groups
    # per pattern of every group: begin in lists; end = next entry's begin
    cdef const uint32_t *pattern_rules_at
    # [CLASS_COUNT][2][GROUP_KINDS][n_port_classes], 0xffff none
    cdef const uint16_t *group_of
    cdef uint32_t n_port_classes
    cdef const uint16_t *port_class       # [65536]
    cdef const uint64_t *port_bits        # [n_port_classes][port_words], bit = port set number
    cdef uint32_t port_words
    # addresses: interval starts, sorted; class of each interval; bit rows per class
    cdef const uint32_t *v4_starts        # host order; first is 0
    cdef const uint32_t *v4_class
    cdef uint32_t n_v4
    cdef const uint8_t *v6_starts         # [n_v6][16] network order; first is ::
    cdef const uint32_t *v6_class
    cdef uint32_t n_v6
    cdef const uint64_t *addr_bits        # [n_addr_classes][addr_words], bit = address set number
    cdef uint32_t addr_words
    # other candidates
    cdef const uint32_t *iponly           # rule indices, ascending
    cdef uint32_t n_iponly
    # [EV_COUNT + 1] begin in lists of the rules keyed by that event
    cdef const uint32_t *event_at
    cdef uint64_t event_mask[4]           # events some rule is keyed by
    # foreign
    cdef pcre2_code **pcres
    cdef uint32_t n_pcres
    cdef hs_scratch_t *scratch            # prototype; detect clones it
    cdef list specs                       # of the groups, as the compiler gave them
    cdef object _own(self, array, dtype)
    cdef size_t _address(self, array) except? 0
    cdef int _build_groups(self, image, list lists, size_t used) except -1
    cdef hs_database_t *_compile(self, patterns, numbers) except NULL
    cdef int _build_ports(self, image) except -1
    cdef int _build_addresses(self, image) except -1
    cdef int _build_pcres(self, pcres) except -1

# What is searched for in frames that the hardware found CLEAR: per group of the base, the
# patterns with a rule that the hardware's image does not cover. Their numbers are those they
# have in the group, so that what is found marks the same rules.
cdef class Remainder:
    cdef readonly RuleBase base
    cdef hs_database_t **dbs              # [base.n_groups]; NULL where nothing is left
    cdef readonly uint32_t patterns       # of all groups
    cdef readonly uint32_t groups         # ... that have some
