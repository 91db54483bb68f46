# The one C vocabulary of the packet path: structs and enums, no code.
# Every field says unit, byte order (host unless said) and owner (the stage that
# writes it). Stages see this file and foreign .pxd files only; `engine` runs them.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    MAX_LAYERS = 8            # IP layers (tunnels) decoded in one frame, outermost first
    MAX_VLAN = 3              # VLAN tags kept per frame, outermost first
    EVENT_WORDS = 4           # 256 event bits, numbered by events.pxd
    NO_FLOW = 0xFFFFFFFF      # Packet.flow when the packet has no flow
    NO_RULE = 0xFFFFFFFF

# What a packet is and what has been found out about it (Packet.flags).
cdef enum PacketFlag:
    PKT_FRAGMENT = 1 << 0         # decode: an IP fragment; L4 is not decoded
    PKT_REBUILT = 1 << 1          # engine: datagram put together by defrag
    PKT_TUNNELED = 1 << 2         # decode: layer > 0, carried inside another layer
    PKT_HAS_INNER = 1 << 3        # decode: carries another decoded layer
    PKT_BAD_IP_CSUM = 1 << 4      # decode: IPv4 header checksum wrong
    PKT_BAD_L4_CSUM = 1 << 5      # decode: TCP/UDP/ICMP/ICMPv6 checksum wrong
    PKT_INVALID = 1 << 6          # decode: malformed; header fields beyond the fault are zero
    PKT_TRUNCATED = 1 << 7        # decode: capture holds less than the IP header claims
    PKT_ICMP_ERROR = 1 << 8       # decode: ICMP error; icmp_inner_* describe the packet it quotes
    PKT_STREAM_ADDED = 1 << 9     # stream: payload was accepted into the reassembled stream
    PKT_ESTABLISHED = 1 << 10     # flow/stream: both sides seen (TCP: handshake complete)
    PKT_STREAM_EOF = 1 << 11      # stream: this direction will bring no more data
    PKT_PSEUDO = 1 << 12          # engine: made up at flow end to inspect what is left
    PKT_STREAM_GAP = 1 << 13      # stream: stream_data begins after a gap
    PKT_NO_PAYLOAD_INSPECT = 1 << 14  # stream: flow's payload is past inspection depth
    PKT_RETRANSMISSION = 1 << 15  # stream: payload wholly seen before
    PKT_OUT_OF_STATE = 1 << 16    # stream: not acceptable to the session (e.g. bad seq/ack)
    PKT_MIDSTREAM_REFUSED = 1 << 17   # stream: TCP without handshake and midstream pick-up is off
    PKT_CLEAR = 1 << 18           # engine: the hardware found no pattern of its image in the frame
    PKT_STREAM_CLEAR = 1 << 19    # stream: ... nor is one in stream_data
    PKT_SHUNTED = 1 << 20         # engine: the hardware's flow table says bypass

# How the carrying layer wraps this one (Packet.tunnel) and what EVE calls its source.
cdef enum Tunnel:
    TUN_NONE = 0
    TUN_GRE = 1
    TUN_IPV4 = 2          # IPv4-in-IP
    TUN_IPV6 = 3          # IPv6-in-IP (6in4, 6in6)
    TUN_VXLAN = 4
    TUN_GENEVE = 5
    TUN_ERSPAN = 6
    TUN_TEREDO = 7

cdef enum Direction:
    TO_SERVER = 0
    TO_CLIENT = 1

# One IP layer of one frame. Filled by decode; flow, stream and engine add their parts.
cdef struct Packet:
    # capture (owner: engine)
    uint64_t ts_ns            # capture time, ns since the epoch
    uint64_t now_ns           # the engine's clock: as ts_ns, but never running back
    uint64_t frame_no         # 1-based number of the frame in the run (EVE pcap_cnt)
    const uint8_t *frame      # first byte of the link-layer frame; borrowed from the capture
    uint32_t caplen           # bytes present at `frame`
    uint32_t wirelen          # bytes the frame had on the wire
    uint16_t linktype         # LINKTYPE_*
    uint16_t ethertype        # of the innermost link header; 0 if none
    # the layer (owner: decode). Pointers go into `frame` or a defrag buffer; NULL if absent
    const uint8_t *eth        # Ethernet header, 14 bytes, or NULL
    const uint8_t *ip         # IP header
    const uint8_t *l4         # TCP/UDP/SCTP/ICMP header (or IP payload of other protocols)
    const uint8_t *payload    # bytes after the L4 header
    uint32_t ip_hlen          # bytes: IPv4 header with options; IPv6 header with extensions
    uint32_t ip_len           # bytes of the datagram present (≤ its total length)
    uint32_t l4_len           # bytes from l4 to the datagram's end
    uint32_t l4_hlen          # bytes of the L4 header
    uint32_t payload_len      # bytes at payload
    uint8_t src[16]           # network order; IPv4 in the first 4 bytes, rest zero
    uint8_t dst[16]
    uint16_t sport            # TCP/UDP/SCTP port; 0 otherwise
    uint16_t dport
    uint8_t ip_version        # 4, 6, or 0 when the frame holds no (sound) IP header
    uint8_t proto             # IP protocol after extension headers
    uint8_t ttl               # TTL or hop limit
    uint8_t tos               # DSCP/ECN byte
    uint32_t ip_id            # IPv4 identification, or IPv6 fragment identification
    uint32_t frag_off         # bytes
    uint8_t frag_more         # MF
    uint8_t frag_dont         # DF (IPv4)
    uint8_t frag_reserved     # RB (IPv4)
    uint8_t tcp_flags         # FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128
    uint32_t seq
    uint32_t ack
    uint16_t window           # as on the wire, unscaled
    uint16_t urgent
    uint16_t mss              # TCP option; 0 if absent
    uint8_t wscale            # TCP option; 0xff if absent
    uint8_t sack_ok
    uint8_t has_tsopt
    uint32_t tsval
    uint32_t tsecr
    uint8_t icmp_type
    uint8_t icmp_code
    uint16_t icmp_id
    uint16_t icmp_seq
    uint8_t icmp_inner_proto  # ICMP errors: the quoted packet (PKT_ICMP_ERROR)
    uint16_t icmp_inner_sport
    uint16_t icmp_inner_dport
    uint8_t icmp_inner_src[16]
    uint8_t icmp_inner_dst[16]
    uint16_t vlan[MAX_VLAN]   # VLAN identifiers (12 bit), outermost first
    uint8_t n_vlan
    uint8_t layer             # 0 = outermost
    uint8_t tunnel            # Tunnel: how the layer above wraps this one
    # engine: bytes before the IP header in the frame of a rebuilt datagram
    uint16_t link_len
    uint32_t flags            # PacketFlag
    uint64_t events[EVENT_WORDS]
    # flow (owner: flow)
    uint32_t flow             # index in the flow table, or NO_FLOW
    uint8_t dir               # Direction
    # reassembled bytes to inspect with this packet (owner: stream)
    const uint8_t *stream_data    # NULL when there is nothing to inspect now
    uint32_t stream_len       # bytes at stream_data
    uint32_t stream_new       # first byte of stream_data not inspected before
    uint64_t stream_off       # offset of stream_data in its direction's stream (0 = first byte)

cdef enum FlowFlag:
    FLOW_ESTABLISHED = 1 << 0     # seen in both directions (TCP: handshake complete)
    FLOW_DROP = 1 << 1            # verdict: drop every further packet
    FLOW_PASS = 1 << 2            # detect: a pass rule took the flow; not inspected further
    FLOW_BYPASS = 1 << 3          # detect: bypassed; not inspected and not reassembled further
    FLOW_IPONLY_TS = 1 << 4       # detect: address-only rules have run, to server
    FLOW_IPONLY_TC = 1 << 5       # detect: ... to client
    FLOW_REJECTED = 1 << 6
    FLOW_ALERTED = 1 << 7         # an alert fired on it
    FLOW_NO_PAYLOAD = 1 << 8      # stream: past depth
    FLOW_MIDSTREAM = 1 << 9       # stream: picked up without a handshake
    FLOW_DROP_LOGGED = 1 << 10
    FLOW_SEEN_TS = 1 << 11        # flow: a packet to server was seen (ICMP errors do not count)
    FLOW_SEEN_TC = 1 << 12        # flow: ... to client
    FLOW_DROP_LOGGED_TC = 1 << 13  # engine: as FLOW_DROP_LOGGED (to server), to client
    FLOW_OFFERED = 1 << 14        # inspector: offered to the hardware's flow table

cdef enum FlowState:
    FLOW_FREE = 0
    FLOW_NEW = 1              # one direction seen
    FLOW_EST = 2              # both directions seen / handshake complete
    FLOW_CLOSED = 3           # TCP closed by RST or by both FINs

# Flow.tcp_state and Record.tcp_state (RFC 9293, without LISTEN).
cdef enum TcpState:
    TCP_NONE = 0
    TCP_SYN_SENT = 1
    TCP_SYN_RECV = 2
    TCP_ESTABLISHED = 3
    TCP_FIN_WAIT1 = 4
    TCP_FIN_WAIT2 = 5
    TCP_TIME_WAIT = 6
    TCP_LAST_ACK = 7
    TCP_CLOSE_WAIT = 8
    TCP_CLOSING = 9
    TCP_CLOSED = 10
    TCP_STATE_COUNT = 11

cdef enum FlowEnd:
    FLOW_END_TIMEOUT = 0
    FLOW_END_SHUTDOWN = 1     # the run ended
    FLOW_END_EVICTED = 2      # the table was full
    FLOW_END_REUSED = 3       # a new SYN took the tuple over

# A bidirectional flow. Owner: flow, but for the fields said. src/sport is the side
# that sent the first packet (the client).
cdef struct Flow:
    uint8_t src[16]           # network order
    uint8_t dst[16]
    uint16_t sport            # ICMP: type and code folded, see flow.pyx
    uint16_t dport
    uint8_t proto
    uint8_t ip_version
    uint8_t layer             # tunnel depth is part of the key
    uint8_t state             # FlowState
    uint16_t vlan[MAX_VLAN]   # part of the key
    uint8_t tcp_state         # stream: TcpState
    uint8_t end               # FlowEnd, set when the flow ends
    uint32_t flags            # FlowFlag
    uint32_t hash
    uint32_t next             # hash chain / free list
    uint32_t older            # time-out list, least recently seen first
    uint32_t newer
    uint64_t id               # EVE flow_id
    uint64_t first_ns
    uint64_t last_ns
    uint64_t packets[2]       # by Direction
    uint64_t bytes[2]         # wire bytes
    uint8_t tcp_flags[2]      # union of flags seen
    uint32_t stream_bytes[2]  # stream: sequence space used by each direction's sender
    void *tcp                 # stream: its session, or NULL
    # verdict: the source rule that dropped the flow (FLOW_DROP), 1 + its number; 0: a policy
    uint32_t drop_rule
    uint32_t drop_generation  # rule image that number belongs to
    uint8_t drop_policy       # inspector: the Policy that dropped the flow, 0: a rule
    # detect's scratch
    uint32_t addr_generation  # rule image the rows below belong to; 0 = none
    uint32_t addr_row[2]      # address class of src, of dst
    void *bits                # flowbits / flowints of this flow, or NULL
    uint32_t alerts
    # flow's own
    uint64_t seen_ns          # the table's clock at its last packet; unlike last_ns never back
    # inspector: 1 + overlap policy (OsPolicy of stream) of the hosts src and dst; 0: none set
    uint8_t os_policy[2]
    uint32_t isn              # stream: the client's initial sequence number, valid with `tcp`
    uint32_t elder            # list of live flows in the order of their creation
    uint32_t younger
    uint16_t icmp_id          # part of the key: identifier of an ICMP query
    uint8_t timeout_class     # which time-out list holds it

# Where a frame ended up: exactly one per frame (the ledger).
cdef enum Fate:
    FATE_INSPECTED = 0
    FATE_BYPASSED = 1
    FATE_BLOCKED = 2
    FATE_LOST = 3
    FATE_COUNT = 4

# Why (ledger reasons; one per frame). Names in nsdata/fallback/ledger.py.
cdef enum Why:
    WHY_INSPECTED = 0         # inspected and permitted
    WHY_FALLBACK = 1          # bypassed: the engine is in fallback
    WHY_BYPASS_RULE = 2       # bypassed: an inspection bypass rule
    WHY_FLOW_BYPASS = 3       # bypassed: its flow was bypassed by a rule
    WHY_FLOW_PASS = 4         # bypassed: its flow was passed by a rule
    WHY_NOT_IP = 5            # bypassed: nothing to inspect in it and no rule could match
    WHY_RULE_DROP = 6         # blocked: a drop rule on this packet
    WHY_RULE_REJECT = 7       # blocked: a reject rule
    WHY_FLOW_DROP = 8         # blocked: its flow was dropped
    WHY_BYPASS_RULE_BLOCK = 9  # blocked: an inspection bypass rule with action block
    WHY_POLICY = 10           # blocked: exception policy (midstream, stream error, memcap)
    WHY_OVERSUBSCRIBED = 11   # lost: the inspection queue was full
    WHY_OFFLOAD_BYPASS = 12   # bypassed: the hardware's flow table says so
    WHY_OFFLOAD_FAULT = 13    # bypassed: the hardware had a fault and permitted it
    WHY_OFFLOAD_BLOCK = 14    # blocked: dropped by the hardware, its flow is in the table
    WHY_WORKER = 15           # bypassed: the worker that had it has failed
    WHY_SHARE = 16            # bypassed: outside the share that is inspected after a restore
    WHY_BEST_EFFORT = 17      # bypassed: it would have waited too long
    WHY_FALLBACK_BLOCK = 18   # blocked: in fallback, and its segment does not permit then
    WHY_PORT = 19             # lost: the port held it when it ended
    WHY_COUNT = 20

# What the hardware says of a frame (verdict_t of hdl/nsd_pkg.sv, nsdata/offload/entry.py).
cdef enum OffloadVerdict:
    OFFLOAD_FAULT = 0         # permitted uninspected
    OFFLOAD_CLEAR = 1         # no pattern of its image is in the frame
    OFFLOAD_SUSPECT = 2       # inspect in full
    OFFLOAD_BYPASS = 3        # its flow is to be bypassed
    OFFLOAD_BLOCK = 4         # dropped already
    OFFLOAD_COUNT = 5

# What the frame's forwarding decision is (one byte per frame, the numpy verdict array).
cdef enum Verdict:
    VERDICT_PASS = 0          # forward
    VERDICT_DROP = 1          # drop this packet
    VERDICT_DROP_FLOW = 2     # drop this packet and the rest of its flow
    VERDICT_REJECT = 3        # drop and answer with RST / ICMP unreachable
    VERDICT_BYPASS_FLOW = 4   # forward; do not inspect the rest of the flow
    VERDICT_LOST = 5          # never reached inspection
    VERDICT_COUNT = 6

# Why an exception policy blocked (Record.policy, with WHY_POLICY).
cdef enum Policy:
    POLICY_NONE = 0
    POLICY_MIDSTREAM = 1      # TCP without its handshake while midstream pick-up is off
    POLICY_STREAM_ERROR = 2
    POLICY_STREAM_MEMCAP = 3
    POLICY_STREAM_REASSEMBLY = 4
    POLICY_STREAM_URGENT = 5
    POLICY_FLOW_MEMCAP = 6
    POLICY_DEFRAG_MEMCAP = 7
    POLICY_DEFRAG_ERROR = 8
    POLICY_DECODE_ERROR = 9
    POLICY_FLOW = 10          # its flow was dropped by a policy before
    POLICY_COUNT = 11

cdef enum RecordKind:
    REC_ALERT = 0
    REC_DROP = 1
    REC_FLOW = 2

cdef enum RecordFlag:
    RECF_BLOCKED = 1 << 0         # alert.action "blocked"
    RECF_TUNNEL = 1 << 1          # outer_* are valid
    RECF_STREAM = 1 << 2          # payload is reassembled stream
    RECF_PSEUDO = 1 << 3          # pkt_src "stream (flow timeout)"
    RECF_REBUILT = 1 << 4         # pkt_src "defrag"
    RECF_VERDICT_DROP = 1 << 5    # verdict.action "drop" for the whole packet
    RECF_VERDICT_PASS = 1 << 6    # verdict.action "pass"
    RECF_REJECT_SRC = 1 << 7
    RECF_REJECT_DST = 1 << 8
    RECF_ESTABLISHED = 1 << 9
    RECF_FLOW_DROP = 1 << 10      # flow.action "drop"
    RECF_FLOW_PASS = 1 << 11
    RECF_FLOW_BYPASS = 1 << 12

# What the path has to tell the output, written once per event into the engine's
# preallocated ring and drained per batch. Bytes live in the ring's arena.
cdef struct Record:
    uint8_t kind              # RecordKind
    uint8_t why               # Why (drops)
    uint8_t ip_version
    uint8_t proto
    uint32_t flags            # RecordFlag
    uint64_t ts_ns
    uint64_t frame_no
    uint64_t flow_id          # 0: no flow
    uint32_t rule             # index in the rule image, or NO_RULE
    uint16_t sport
    uint16_t dport
    uint8_t src[16]
    uint8_t dst[16]
    uint8_t outer_src[16]     # the outermost layer
    uint8_t outer_dst[16]
    uint16_t outer_sport
    uint16_t outer_dport
    uint8_t outer_proto
    uint8_t outer_version
    uint8_t outer_depth
    uint8_t tunnel            # Tunnel
    uint8_t icmp_type
    uint8_t icmp_code
    uint8_t dir               # Direction
    uint8_t n_vlan
    uint16_t vlan[MAX_VLAN]
    uint16_t linktype
    uint8_t eth[12]           # destination and source MAC; zero if none
    uint8_t has_eth
    uint8_t ttl
    uint8_t tos
    uint8_t tcp_flags         # REC_FLOW: to server
    uint8_t tcp_flags_tc      # REC_FLOW: to client
    uint8_t tcp_state         # REC_FLOW
    uint8_t flow_state        # FlowState
    uint8_t flow_end          # FlowEnd
    uint16_t window
    uint32_t seq
    uint32_t ack
    uint32_t ip_id
    uint32_t ip_len
    uint32_t payload_off      # arena offset
    uint32_t payload_len
    uint32_t packet_off       # arena offset of the frame
    uint32_t packet_len
    uint64_t flow_first_ns
    uint64_t flow_last_ns
    uint64_t flow_packets[2]
    uint64_t flow_bytes[2]
    uint8_t flow_src[16]
    uint8_t flow_dst[16]
    uint16_t flow_sport
    uint16_t flow_dport
    uint32_t flow_alerts
    uint16_t urgent           # TCP urgent pointer (drops)
    uint16_t udp_len          # length field of the UDP header (drops)
    uint16_t icmp_id          # ICMP/ICMPv6 echo (drops)
    uint16_t icmp_seq
    uint8_t policy            # Policy, when why is WHY_POLICY
