// The vocabulary every module of the block shares: verdicts, actions, errors, the flow key.
package nsd_pkg;

    // The verdict of a frame, m_axis_tuser[2:0], valid with tlast. All zeros means "permitted,
    // and the block vouches for nothing": that is what reset, a fault and a disarmed block give.
    typedef enum logic [2:0] {
        VERDICT_FAULT   = 3'd0,  // permitted without inspection: not armed, or a fault
        VERDICT_CLEAR   = 3'd1,  // parsed, no fast pattern in it: software may skip its search
        VERDICT_SUSPECT = 3'd2,  // a fast pattern may be in it, or it could not be parsed
        VERDICT_BYPASS  = 3'd3,  // its flow is bypassed
        VERDICT_BLOCK   = 3'd4   // its flow is blocked: dropped, never seen on m_axis
    } verdict_t;

    // What the flow table says of a frame, known before its first beat leaves.
    typedef enum logic [1:0] {
        ACTION_NONE   = 2'd0,
        ACTION_BYPASS = 2'd1,
        ACTION_BLOCK  = 2'd2
    } action_t;

    // Error classes: the bit of each in every error register.
    localparam int ERR_COUNT = 12;
    localparam int ERR_ECC_CE = 0;  // corrected single-bit error (counted, never fatal)
    localparam int ERR_ECC_UE = 1;  // uncorrectable double-bit error
    localparam int ERR_PARITY = 2;  // the inspection's copy of a beat differs from the beat
    localparam int ERR_FIFO_OVF = 3;  // a beat was written to a full store
    localparam int ERR_CREDIT_LEAK = 4;  // credits and beats in store do not add up
    localparam int ERR_LATE = 5;  // a verdict was missing when its frame was due
    localparam int ERR_STALL = 6;  // a beat waits although the sink is ready
    localparam int ERR_HEARTBEAT = 7;  // the host stopped writing its heartbeat
    localparam int ERR_TABLE_CRC = 8;  // a table does not hold what was loaded
    localparam int ERR_SEU = 9;  // the device reports a configuration upset
    localparam int ERR_OVER_TEMP = 10;  // the device reports over-temperature
    localparam int ERR_AXI_FAULT = 11;  // s_axis breaks AXI4-Stream
    localparam logic [ERR_COUNT-1:0] ERR_FATAL = 12'b1111_1111_1110;

    // Bytes of a frame's start that the parser reads: two VLAN tags (22), an IPv4 header with
    // all its options (60), the ports (4), rounded up to a 64-bit beat.
    localparam int HDR_BYTES = 88;

    // How the parser understood a frame. Everything but PARSE_OK is SUSPECT.
    typedef enum logic [2:0] {
        PARSE_OK        = 3'd0,
        PARSE_RUNT      = 3'd1,  // shorter than an Ethernet header
        PARSE_NOT_IP    = 3'd2,  // EtherType that is neither IP nor a tunnel, or a third tag
        PARSE_MALFORMED = 3'd3,  // header lengths contradict each other or the frame
        PARSE_FRAGMENT  = 3'd4,
        PARSE_TUNNEL    = 3'd5,  // another header inside: GRE, IP in IP, VXLAN, MPLS, PPPoE, ESP …
        PARSE_OTHER     = 3'd6   // an IP protocol or extension header the parser does not read
    } parse_t;

    // One direction of a flow. IPv4 addresses stand in the low 32 bits, the rest is zero;
    // numbers are the values the header shows (network order read as one number).
    typedef struct packed {
        logic         v6;
        logic [1:0]   tags;        // how many VLAN tags: 0, 1, 2
        logic [11:0]  vlan_outer;  // VID of the first tag, 0 without
        logic [11:0]  vlan_inner;  // VID of the second tag, 0 without
        logic [7:0]   proto;
        logic [127:0] src;
        logic [127:0] dst;
        logic [15:0]  sport;       // 0 unless TCP or UDP
        logic [15:0]  dport;
    } flow_key_t;  // 323 bits
    localparam int KEY_W = $bits(flow_key_t);

    // One way of a flow table set, as the host writes it: twelve 32-bit words, low word first.
    typedef struct packed {
        logic [49:0] reserved;
        logic        valid;
        action_t     action;
        logic [7:0]  generation;
        flow_key_t   key;
    } flow_entry_t;  // 384 bits

    // Fixed latencies in cycles, each counted from the tap cycle (or the stage's input) to the
    // cycle in which the result is valid. nsd_verdict lines them up to the spine's LATENCY.
    localparam int PARSE_LATENCY = 5;       // tap_dec -> key_valid; tap_last -> len_valid
    localparam int FLOW_LATENCY = 12;       // key_valid -> res_valid
    localparam int PORTS_LATENCY = 4;       // key_valid -> ports_valid
    localparam int PREFILTER_LATENCY = 13;  // tap_last -> pf_valid
    localparam int RAM_LATENCY = 2;         // nsd_ram: rd_addr -> rd_data

    // Short patterns: frames to or from these ports are always SUSPECT.
    localparam int PORT_RANGES = 16;
    typedef struct packed {
        logic        icmp;   // ICMP and ICMPv6 (ports are not looked at)
        logic        udp;
        logic        tcp;
        logic [15:0] high;   // inclusive
        logic [15:0] low;
    } port_range_t;  // 35 bits; no protocol bit set = unused

    // CRC-32 (IEEE 802.3, reflected) of one more byte; no initial or final inversion here.
    function automatic logic [31:0] crc32_byte(input logic [31:0] crc, input logic [7:0] data);
        logic [31:0] c;
        c = crc ^ {24'd0, data};
        for (int i = 0; i < 8; i++) c = c[0] ? (c >> 1) ^ 32'hEDB8_8320 : c >> 1;
        return c;
    endfunction

    // CRC-32C (Castagnoli, reflected), the same way.
    function automatic logic [31:0] crc32c_byte(input logic [31:0] crc, input logic [7:0] data);
        logic [31:0] c;
        c = crc ^ {24'd0, data};
        for (int i = 0; i < 8; i++) c = c[0] ? (c >> 1) ^ 32'h82F6_3B78 : c >> 1;
        return c;
    endfunction

endpackage
