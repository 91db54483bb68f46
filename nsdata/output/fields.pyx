"""The parts of an EVE line that come from a record, each written at a pointer.

Field names and texts are those of Suricata 8's EVE; docs/eve.md lists them. The caller
(`nsdata.output.eve`) has reserved the room: the parts of one line are bounded.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from nsdata.output.jsontext cimport lit, put_address, put_hex, put_mac, put_time, put_uint
from nsdata.path.packet cimport (
    FLOW_CLOSED, FLOW_END_EVICTED, FLOW_END_REUSED, FLOW_END_SHUTDOWN, FLOW_END_TIMEOUT,
    FLOW_EST, FLOW_NEW, MAX_VLAN, POLICY_COUNT, REC_ALERT, REC_DROP, REC_FLOW,
    RECF_FLOW_BYPASS, RECF_FLOW_DROP, RECF_FLOW_PASS, RECF_PSEUDO, RECF_REBUILT,
    RECF_REJECT_DST, RECF_REJECT_SRC, RECF_TUNNEL, RECF_VERDICT_DROP, RECF_VERDICT_PASS,
    TCP_STATE_COUNT, TO_CLIENT, TO_SERVER, TUN_ERSPAN, TUN_GENEVE, TUN_GRE, TUN_IPV4,
    TUN_IPV6, TUN_TEREDO, TUN_VXLAN, WHY_BYPASS_RULE_BLOCK, WHY_FLOW_DROP,
    WHY_OVERSUBSCRIBED, WHY_POLICY, WHY_RULE_DROP, WHY_RULE_REJECT, Record,
)

cdef enum:
    PROTO_ICMP = 1
    PROTO_TCP = 6
    PROTO_UDP = 17
    PROTO_ICMPV6 = 58
    PROTO_SCTP = 132

# IANA protocol numbers 0-143 in the spelling of the ecosystem's logs; from 144 on the number.
PROTOCOL_NAMES = tuple(
    """HOPOPT ICMP IGMP GGP IP-in-IP ST TCP CBT EGP IGP BBN-RCC-MON NVP-II PUP ARGUS EMCON XNET
    CHAOS UDP MUX DCN-MEAS HMP PRM XNS-IDP TRUNK-1 TRUNK-2 LEAF-1 LEAF-2 RDP IRTP ISO-TP4 NETBLT
    MFE-NSP MERIT-INP DCCP 3PC IDPR XTP DDP IDPR-CMTP TP++ IL IPv6 SDRP IPv6-Route IPv6-Frag IDRP
    RSVP GRE DSR BNA ESP AH I-NLSP SwIPe NARP MOBILE TLSP SKIP IPv6-ICMP IPv6-NoNxt IPv6-Opts Any
    CFTP Any SAT-EXPAK KRYPTOLAN RVD IPPC Any SAT-MON VISA IPCU CPNX CPHB WSN PVP BR-SAT-MON SUN-ND
    WB-MON WB-EXPAK ISO-IP VMTP SECURE-VMTP VINES TTP NSFNET-IGP DGP TCF EIGRP OSPF Sprite-RPC LARP
    MTP AX.25 OS MICP SCC-SP ETHERIP ENCAP Any GMTP IFMP PNNI PIM ARIS SCPS QNX A/N IPComp SNP
    Compaq-Peer IPX-in-IP VRRP PGM Any L2TP DDX IATP STP SRP UTI SMP SM PTP IS-IS FIRE CRTP CRUDP
    SSCOPMCE IPLT SPS PIPE SCTP FC RSVP-E2E-IGNORE Mobility UDPLite MPLS-in-IP manet HIP Shim6 WESP
    ROHC Ethernet""".split()
) + tuple(str(n) for n in range(144, 256))

# drop.reason by Policy; 0 when the stage did not say which.
POLICY_REASONS = (
    "exception policy", "stream midstream", "stream error", "stream memcap",
    "stream reassembly", "stream urgent", "flow memcap", "defrag memcap", "defrag error",
    "decode error", "exception policy flow drop",
)
TCP_STATES = (
    "none", "syn_sent", "syn_recv", "established", "fin_wait1", "fin_wait2", "time_wait",
    "last_ack", "close_wait", "closing", "closed",
)

cdef struct Name:
    uint8_t len
    char text[31]

cdef Name protocol_name[256]
cdef Name policy_reason[POLICY_COUNT]
cdef Name tcp_state_name[TCP_STATE_COUNT]


cdef int fill_names(Name *names, Py_ssize_t n, texts) except -1:
    cdef Py_ssize_t i
    cdef bytes raw
    assert len(texts) == n
    for i in range(n):
        raw = texts[i].encode("ascii")
        assert len(raw) < <Py_ssize_t>sizeof(names[i].text)
        names[i].len = <uint8_t>len(raw)
        memcpy(names[i].text, <const char *>raw, len(raw))
    return 0

fill_names(protocol_name, 256, PROTOCOL_NAMES)
fill_names(policy_reason, POLICY_COUNT, POLICY_REASONS)
fill_names(tcp_state_name, TCP_STATE_COUNT, TCP_STATES)


cdef inline uint8_t *put_name(uint8_t *p, const Name *name) noexcept nogil:
    memcpy(p, name.text, name.len)
    return p + name.len


cdef inline bint has_ports(uint8_t proto) noexcept nogil:
    return proto == PROTO_TCP or proto == PROTO_UDP or proto == PROTO_SCTP


cdef inline uint8_t *put_flag(uint8_t *p, const char *name, uint8_t flag) noexcept nogil:
    p = lit(p, name)
    return lit(p, b"true") if flag else lit(p, b"false")


cdef uint8_t *put_tuple(uint8_t *p, int version, uint8_t proto, const uint8_t *src,
                        const uint8_t *dst, uint16_t sport, uint16_t dport) noexcept nogil:
    """"src_ip":…,"src_port":…,"dest_ip":…,"dest_port":… without a comma before it; ports
    for TCP, UDP and SCTP alone."""
    p = lit(p, b'"src_ip":"')
    p = put_address(p, src, version)
    if has_ports(proto):
        p = lit(p, b'","src_port":')
        p = put_uint(p, sport)
        p = lit(p, b',"dest_ip":"')
        p = put_address(p, dst, version)
        p = lit(p, b'","dest_port":')
        return put_uint(p, dport)
    p = lit(p, b'","dest_ip":"')
    p = put_address(p, dst, version)
    return lit(p, b'"')


cdef const char *packet_source(const Record *r) noexcept nogil:
    if r.flags & RECF_PSEUDO:
        return b"stream (flow timeout)"
    if r.flags & RECF_REBUILT:
        return b"defrag"
    if r.tunnel == TUN_GRE or r.tunnel == TUN_ERSPAN:
        return b"gre tunnel"
    if r.tunnel == TUN_IPV4 or r.tunnel == TUN_IPV6:
        # named after the carrying header, not after what it carries
        if r.flags & RECF_TUNNEL and r.outer_version == 6:
            return b"ipv6 tunnel"
        return b"ipv4 tunnel"
    if r.tunnel == TUN_VXLAN:
        return b"vxlan encapsulation"
    if r.tunnel == TUN_GENEVE:
        return b"geneve encapsulation"
    if r.tunnel == TUN_TEREDO:
        return b"teredo tunnel"
    return b"wire/pcap"


cdef const char *link_name(uint16_t linktype) noexcept nogil:
    """libpcap's name of a LINKTYPE_ (or of DLT_RAW: 12, 14)."""
    if linktype == 1:
        return b"EN10MB"
    if linktype == 12 or linktype == 14 or linktype == 101:
        return b"RAW"
    if linktype == 0:
        return b"NULL"
    if linktype == 108:
        return b"LOOP"
    if linktype == 9:
        return b"PPP"
    if linktype == 104:
        return b"C_HDLC"
    if linktype == 113:
        return b"LINUX_SLL"
    if linktype == 276:
        return b"LINUX_SLL2"
    if linktype == 228:
        return b"IPV4"
    if linktype == 229:
        return b"IPV6"
    return b"n/a"


cdef int response_type(uint8_t proto, uint8_t icmp_type) noexcept nogil:
    """Type of the ICMP answer to a request (RFC 792, 950, 4443); 255 if it has none."""
    if proto == PROTO_ICMPV6:
        if icmp_type == 128:
            return 129
        if icmp_type == 129:
            return 128
        return 255
    if icmp_type == 8:
        return 0
    if icmp_type == 0:
        return 8
    if 13 <= icmp_type <= 18:
        return icmp_type + 1 if icmp_type & 1 else icmp_type - 1
    if icmp_type == 10:
        return 9
    return 255


cdef uint8_t *put_header(uint8_t *p, const Record *r) noexcept nogil:
    """From { to pkt_src. A flow event has its flow's addresses and no packet."""
    cdef bint flow = r.kind == REC_FLOW
    cdef int i, n
    p = lit(p, b'{"timestamp":"')
    p = put_time(p, r.ts_ns)
    p = lit(p, b'"')
    if r.flow_id:
        p = lit(p, b',"flow_id":')
        p = put_uint(p, r.flow_id)
    if r.frame_no and not flow:
        p = lit(p, b',"pcap_cnt":')
        p = put_uint(p, r.frame_no)
    if flow:
        p = lit(p, b',"event_type":"flow"')
    elif r.kind == REC_ALERT:
        p = lit(p, b',"event_type":"alert"')
    else:
        p = lit(p, b',"event_type":"drop"')
    if r.n_vlan:
        n = min(<int>r.n_vlan, <int>MAX_VLAN)
        p = lit(p, b',"vlan":[')
        for i in range(n):
            if i:
                p = lit(p, b",")
            p = put_uint(p, r.vlan[i])
        p = lit(p, b"]")
    if r.ip_version:
        p = lit(p, b",")
        if flow:
            p = put_tuple(p, r.ip_version, r.proto, r.flow_src, r.flow_dst, r.flow_sport,
                          r.flow_dport)
        else:
            p = put_tuple(p, r.ip_version, r.proto, r.src, r.dst, r.sport, r.dport)
        p = lit(p, b',"proto":"')
        p = put_name(p, &protocol_name[r.proto])
        p = lit(p, b'","ip_v":')
        p = put_uint(p, 6 if r.ip_version == 6 else 4)
        if r.proto == PROTO_ICMP or r.proto == PROTO_ICMPV6:
            p = lit(p, b',"icmp_type":')
            p = put_uint(p, r.icmp_type)
            p = lit(p, b',"icmp_code":')
            p = put_uint(p, r.icmp_code)
            if flow and r.flow_packets[<int>TO_CLIENT]:
                p = lit(p, b',"response_icmp_type":')
                p = put_uint(p, response_type(r.proto, r.icmp_type))
                p = lit(p, b',"response_icmp_code":0')
    if not flow:
        p = lit(p, b',"pkt_src":"')
        p = lit(p, packet_source(r))
        p = lit(p, b'"')
    return p


cdef uint8_t *put_ether(uint8_t *p, const Record *r) noexcept nogil:
    p = lit(p, b',"ether":{"src_mac":"')
    p = put_mac(p, &r.eth[6])
    p = lit(p, b'","dest_mac":"')
    p = put_mac(p, &r.eth[0])
    return lit(p, b'"}')


cdef uint8_t *put_tunnel(uint8_t *p, const Record *r) noexcept nogil:
    """The carrying packet."""
    p = lit(p, b',"tunnel":{')
    p = put_tuple(p, r.outer_version, r.outer_proto, r.outer_src, r.outer_dst, r.outer_sport,
                  r.outer_dport)
    p = lit(p, b',"proto":"')
    p = put_name(p, &protocol_name[r.outer_proto])
    p = lit(p, b'","depth":')
    p = put_uint(p, r.outer_depth)
    if r.frame_no:
        p = lit(p, b',"pcap_cnt":')
        p = put_uint(p, r.frame_no)
    return lit(p, b',"pkt_src":"wire/pcap"}')


cdef uint8_t *put_counts(uint8_t *p, const Record *r) noexcept nogil:
    p = lit(p, b',"flow":{"pkts_toserver":')
    p = put_uint(p, r.flow_packets[<int>TO_SERVER])
    p = lit(p, b',"pkts_toclient":')
    p = put_uint(p, r.flow_packets[<int>TO_CLIENT])
    p = lit(p, b',"bytes_toserver":')
    p = put_uint(p, r.flow_bytes[<int>TO_SERVER])
    p = lit(p, b',"bytes_toclient":')
    p = put_uint(p, r.flow_bytes[<int>TO_CLIENT])
    p = lit(p, b',"start":"')
    p = put_time(p, r.flow_first_ns)
    return lit(p, b'"')


cdef uint8_t *put_verdict(uint8_t *p, const Record *r) noexcept nogil:
    """What became of the whole packet, which need not be what this rule asked for."""
    cdef uint32_t reject = r.flags & (RECF_REJECT_SRC | RECF_REJECT_DST)
    p = lit(p, b',"verdict":{"action":"')
    if r.flags & RECF_VERDICT_DROP or (r.kind == REC_DROP and not reject):
        p = lit(p, b'drop"')
    elif r.flags & RECF_VERDICT_PASS and not reject:
        p = lit(p, b'pass"')
    else:
        p = lit(p, b'alert"')
    if reject:
        # the side that is told: rejecting the source answers the client
        if reject == (RECF_REJECT_SRC | RECF_REJECT_DST):
            p = lit(p, b',"reject-target":"both","reject":[')
        elif reject == RECF_REJECT_SRC:
            p = lit(p, b',"reject-target":"to_client","reject":[')
        else:
            p = lit(p, b',"reject-target":"to_server","reject":[')
        if r.proto == PROTO_TCP:
            p = lit(p, b'"tcp-reset"')
        elif r.proto == PROTO_UDP or r.proto == PROTO_ICMP or r.proto == PROTO_ICMPV6:
            p = lit(p, b'"icmp-prohib"')
        p = lit(p, b"]")
    return lit(p, b"}")


cdef uint8_t *put_drop(uint8_t *p, const Record *r) noexcept nogil:
    """The headers of the dropped packet, and why it was dropped."""
    p = lit(p, b',"drop":{')
    if r.ip_version == 4:
        p = lit(p, b'"len":')
        p = put_uint(p, r.ip_len)
        p = lit(p, b',"tos":')
        p = put_uint(p, r.tos)
        p = lit(p, b',"ttl":')
        p = put_uint(p, r.ttl)
        p = lit(p, b',"ipid":')
        p = put_uint(p, r.ip_id)
        p = lit(p, b",")
    elif r.ip_version:
        # IPv6 counts its payload length without the fixed header
        p = lit(p, b'"len":')
        p = put_uint(p, r.ip_len - 40 if r.ip_len >= 40 else 0)
        p = lit(p, b',"tc":')
        p = put_uint(p, r.tos)
        p = lit(p, b',"hoplimit":')
        p = put_uint(p, r.ttl)
        p = lit(p, b",")
    if r.ip_version and r.proto == PROTO_TCP:
        p = lit(p, b'"tcpseq":')
        p = put_uint(p, r.seq)
        p = lit(p, b',"tcpack":')
        p = put_uint(p, r.ack)
        p = lit(p, b',"tcpwin":')
        p = put_uint(p, r.window)
        p = put_flag(p, b',"syn":', r.tcp_flags & 2)
        p = put_flag(p, b',"ack":', r.tcp_flags & 16)
        p = put_flag(p, b',"psh":', r.tcp_flags & 8)
        p = put_flag(p, b',"rst":', r.tcp_flags & 4)
        p = put_flag(p, b',"urg":', r.tcp_flags & 32)
        p = put_flag(p, b',"fin":', r.tcp_flags & 1)
        p = lit(p, b',"tcpres":0,"tcpurgp":')
        p = put_uint(p, r.urgent)
        p = lit(p, b",")
    elif r.ip_version and r.proto == PROTO_UDP:
        p = lit(p, b'"udplen":')
        p = put_uint(p, r.udp_len)
        p = lit(p, b",")
    elif r.ip_version and (r.proto == PROTO_ICMP or r.proto == PROTO_ICMPV6):
        p = lit(p, b'"icmp_id":')
        p = put_uint(p, r.icmp_id)
        p = lit(p, b',"icmp_seq":')
        p = put_uint(p, r.icmp_seq)
        p = lit(p, b",")
    p = lit(p, b'"reason":"')
    if r.why == WHY_RULE_DROP or r.why == WHY_RULE_REJECT:
        p = lit(p, b"rules")
    elif r.why == WHY_FLOW_DROP:
        p = lit(p, b"flow drop")
    elif r.why == WHY_POLICY:
        p = put_name(p, &policy_reason[r.policy if r.policy < POLICY_COUNT else 0])
    elif r.why == WHY_BYPASS_RULE_BLOCK:
        p = lit(p, b"bypass rule")
    elif r.why == WHY_OVERSUBSCRIBED:
        p = lit(p, b"over-subscription")
    else:
        p = lit(p, b"unknown")
    return lit(p, b'"}')


cdef uint8_t *put_flow_event(uint8_t *p, const Record *r) noexcept nogil:
    """The rest of a flow event: flow and tcp."""
    cdef uint64_t first = r.flow_first_ns // 1000000000
    cdef uint64_t last = r.flow_last_ns // 1000000000
    cdef uint8_t flags
    p = put_counts(p, r)
    p = lit(p, b',"end":"')
    p = put_time(p, r.flow_last_ns)
    p = lit(p, b'","age":')
    p = put_uint(p, last - first if last > first else 0)
    if r.flags & RECF_FLOW_BYPASS:
        p = lit(p, b',"bypass":"local","state":"bypassed"')
    elif r.flow_state == FLOW_NEW:
        p = lit(p, b',"state":"new"')
    elif r.flow_state == FLOW_EST:
        p = lit(p, b',"state":"established"')
    elif r.flow_state == FLOW_CLOSED:
        p = lit(p, b',"state":"closed"')
    else:
        p = lit(p, b',"state":"unknown"')
    if r.flow_end == FLOW_END_TIMEOUT:
        p = lit(p, b',"reason":"timeout"')
    elif r.flow_end == FLOW_END_SHUTDOWN:
        p = lit(p, b',"reason":"shutdown"')
    elif r.flow_end == FLOW_END_EVICTED:
        p = lit(p, b',"reason":"forced"')
    elif r.flow_end == FLOW_END_REUSED:
        p = lit(p, b',"reason":"tcp_reuse"')
    else:
        p = lit(p, b',"reason":"unknown"')
    p = put_flag(p, b',"alerted":', r.flow_alerts != 0)
    if r.flags & RECF_FLOW_DROP:
        p = lit(p, b',"action":"drop"')
    elif r.flags & RECF_FLOW_PASS:
        p = lit(p, b',"action":"pass"')
    p = lit(p, b"}")
    if r.proto == PROTO_TCP:
        flags = r.tcp_flags | r.tcp_flags_tc
        p = lit(p, b',"tcp":{"tcp_flags":"')
        p = put_hex(p, flags)
        p = lit(p, b'","tcp_flags_ts":"')
        p = put_hex(p, r.tcp_flags)
        p = lit(p, b'","tcp_flags_tc":"')
        p = put_hex(p, r.tcp_flags_tc)
        p = lit(p, b'"')
        if flags & 2:
            p = lit(p, b',"syn":true')
        if flags & 1:
            p = lit(p, b',"fin":true')
        if flags & 4:
            p = lit(p, b',"rst":true')
        if flags & 8:
            p = lit(p, b',"psh":true')
        if flags & 16:
            p = lit(p, b',"ack":true')
        if flags & 32:
            p = lit(p, b',"urg":true')
        if flags & 64:
            p = lit(p, b',"ecn":true')
        if flags & 128:
            p = lit(p, b',"cwr":true')
        if r.tcp_state < TCP_STATE_COUNT:
            p = lit(p, b',"state":"')
            p = put_name(p, &tcp_state_name[r.tcp_state])
            p = lit(p, b'"')
        p = lit(p, b"}")
    return p
