// Reads a frame's headers from the spine's tap and gives its flow key. It has no ready: a beat
// may come in every cycle, also one that is a whole frame.
//
//   key_valid   PARSE_LATENCY cycles after tap_dec, with key_parse, key and key_lookup. `key` is
//               zero unless key_parse is PARSE_OK; ports are zero unless TCP or UDP.
//   len_valid   PARSE_LATENCY cycles after tap_last, with len_short: an IP header was sound but
//               says that the datagram ends behind the frame's last byte (truncated). Zero for a
//               frame whose parse failed before that end was known.
//   Outputs other than the two valid bits mean nothing while their valid bit is low.
//
// The rules, over the first n = min(frame length, HDR_BYTES) bytes, the first that applies wins:
//   RUNT       no whole EtherType (n < 14, or < 18, 22 behind one, two tags of 0x8100, 0x88A8,
//              0x9100)
//   TUNNEL     EtherType MPLS (0x8847, 0x8848), PPPoE (0x8863, 0x8864)
//   NOT_IP     EtherType neither IPv4 nor IPv6: also a third tag
//   MALFORMED  version, IHL < 5, header beyond n, total length shorter than the header
//   FRAGMENT   IPv4 more fragments or an offset; IPv6 next header 44
//   TUNNEL     protocol 4, 41, 47, 50, 51, 94, 97, 137
//   OTHER      protocol other than TCP, UDP, ICMP (1 in IPv4, 58 in IPv6)
//   MALFORMED  TCP, UDP: the ports lie beyond n, or the datagram ends before 20, 8 bytes of it
//   TUNNEL     UDP port 2152, 3544, 4789, 6081 (GTP-U, Teredo, VXLAN, Geneve)
//
// Frame length: whole beats, and in the last one as many bytes as tkeep has ones; tkeep is looked
// at in no other beat. Lengths saturate at 65535. Since no rule asks for a byte beyond 85, the
// length itself stands for n. Bytes a short frame does not have are left from an earlier frame in
// hdr_reg; every rule that reads a byte is below one that has compared the length. The headers
// stay there until the next frame's first beat, so that a frame's last beat, long after the
// decision beat, finds the same end again.
//
// Five stages: capture, with the three EtherTypes classified as they pass | pick the IP header |
// pick ports, add lengths, classify the protocol | compare lengths, look at the ports | gate.
module nsd_parse
    import nsd_pkg::*;
#(
    // Bits of a beat: 64 or 512.
    parameter int DATA_W = 64
) (
    input  logic                clk,
    input  logic                rst,
    input  logic                tap_valid,
    input  logic [DATA_W-1:0]   tap_data,
    input  logic [DATA_W/8-1:0] tap_keep,
    input  logic                tap_last,
    input  logic                tap_first,
    input  logic                tap_dec,
    output logic                key_valid,
    output flow_key_t           key,
    output logic                key_lookup,
    output parse_t              key_parse,
    output logic                len_valid,
    output logic                len_short
);
    if (DATA_W != 64 && DATA_W != 512) $fatal(1, "nsd_parse: DATA_W must be 64 or 512");
    if (PARSE_LATENCY != 5) $fatal(1, "nsd_parse: PARSE_LATENCY must be 5, its stages");

    localparam int LANES = DATA_W / 8;
    localparam int LANES_LOG2 = $clog2(LANES);
    localparam int GROUPS = LANES / 8;
    localparam int HDR_BEATS = (HDR_BYTES + LANES - 1) / LANES;
    localparam int L3 = 14;             // an untagged frame's IP header
    localparam int L3_BYTES = 64;       // an IPv4 header with all its options, and the ports
    localparam int TAGS_MAX = 2;
    localparam int HDR_END = L3 + 4 * TAGS_MAX + L3_BYTES;  // bytes L3 .. HDR_END-1 are kept
    localparam int BEATS_W = 17 - LANES_LOG2;               // counts beats up to 65536 bytes
    localparam logic [BEATS_W-1:0] BEATS_FULL = BEATS_W'(65536 / LANES);

    if (HDR_END > HDR_BYTES) $fatal(1, "nsd_parse: HDR_BYTES does not reach the ports");

    // What an EtherType says; none set: not IP.
    typedef struct packed {
        logic tag;
        logic tunnel;
        logic v4;
        logic v6;
    } ethertype_t;

    function automatic ethertype_t classify(input logic [15:0] ethertype);
        classify.tag = ethertype inside {16'h8100, 16'h88A8, 16'h9100};
        classify.tunnel = ethertype inside {16'h8847, 16'h8848, 16'h8863, 16'h8864};
        classify.v4 = ethertype == 16'h0800;
        classify.v6 = ethertype == 16'h86DD;
    endfunction

    function automatic logic [3:0] ones(input logic [7:0] bits);
        ones = '0;
        for (int i = 0; i < 8; i++) ones += 4'(bits[i]);
    endfunction

    // ---- Stage 1: capture -------------------------------------------------------------------
    logic [BEATS_W-1:0]         beats_reg;  // of this frame, taken so far; stays at BEATS_FULL
    logic [BEATS_W-1:0]         beats_before;
    logic [HDR_BEATS-1:1]       due_reg;  // one-hot: which beat of the headers comes next, if any
    logic [HDR_BEATS-1:0]       beat_en;
    logic [HDR_END-1:L3][7:0]   hdr_reg;
    ethertype_t [TAGS_MAX:0]    ethertype_reg;  // at 12, 16, 20
    logic [1:0]                 no_tag_reg;  // for the wide choice; inverted as s2_not_v6_reg is
    logic                       s1_dec_reg;
    logic                       s1_last_reg;
    logic [BEATS_W-1:0]         s1_beats_reg;
    logic [GROUPS-1:0][3:0]     s1_ones_reg;

    assign beats_before = tap_first ? '0 : beats_reg;
    // The enables are wide, so they are not decoded from a count.
    assign beat_en[0] = tap_valid && tap_first;
    for (genvar i = 1; i < HDR_BEATS; i++) begin : g_beat
        assign beat_en[i] = tap_valid && !tap_first && due_reg[i];
    end
    for (genvar b = L3; b < HDR_END; b++) begin : g_hdr
        always_ff @(posedge clk)
            if (beat_en[b/LANES]) hdr_reg[b] <= tap_data[8*(b%LANES)+:8];
    end
    for (genvar t = 0; t <= TAGS_MAX; t++) begin : g_ethertype
        localparam int AT = L3 - 2 + 4 * t;
        ethertype_t ethertype;
        assign ethertype = classify({tap_data[8*(AT%LANES)+:8], tap_data[8*(AT%LANES)+8+:8]});
        always_ff @(posedge clk) if (beat_en[AT/LANES]) ethertype_reg[t] <= ethertype;
        if (t < TAGS_MAX) begin : g_tag
            always_ff @(posedge clk) if (beat_en[AT/LANES]) no_tag_reg[t] <= !ethertype.tag;
        end
    end
    for (genvar g = 0; g < GROUPS; g++) begin : g_ones
        always_ff @(posedge clk) s1_ones_reg[g] <= tap_last ? ones(tap_keep[8*g+:8]) : 4'd8;
    end

    always_ff @(posedge clk) begin
        if (tap_valid) begin
            due_reg <= beat_en[HDR_BEATS-2:0];
            beats_reg <= beats_before == BEATS_FULL ? BEATS_FULL : beats_before + 1'b1;
        end
        s1_beats_reg <= beats_before;
        s1_dec_reg <= tap_valid && tap_dec;
        s1_last_reg <= tap_valid && tap_last;
        if (rst) begin
            due_reg <= '0;
            beats_reg <= '0;
            s1_dec_reg <= 1'b0;
            s1_last_reg <= 1'b0;
        end
    end

    // ---- Stage 2: pick the IP header --------------------------------------------------------
    logic [1:0]               tags_next;
    ethertype_t               ethertype_next;
    logic [6:0]               base_next;
    logic                     unused;  // a third tag is no IP and needs no bit of its own
    logic [L3_BYTES-1:0][7:0] l3_next;
    logic [6:0]               ones_low_next, ones_high_next;
    logic                     s2_dec_reg;
    logic                     s2_last_reg;
    logic [BEATS_W-1:0]       s2_beats_reg;
    logic [6:0]               s2_ones_low_reg, s2_ones_high_reg;
    logic [1:0]               s2_tags_reg;
    logic                     s2_mpls_pppoe_reg;
    logic                     s2_v4_reg;
    logic                     s2_v6_reg;
    // For the key's wide choice. Inverted, or Yosys merges the two.
    logic                     s2_not_v6_reg;
    logic [6:0]               s2_base_reg;  // what adds to the length field for the end
    logic [11:0]              s2_vlan_outer_reg, s2_vlan_inner_reg;
    logic [L3_BYTES-1:0][7:0] s2_l3_reg;
    logic [3:0]               s2_l4_word_reg;  // 32-bit words of the IP header

    always_comb begin
        if (!ethertype_reg[0].tag) begin
            tags_next = 2'd0;
            ethertype_next = ethertype_reg[0];
            base_next = ethertype_reg[0].v6 ? 7'd54 : 7'd14;
        end else if (!ethertype_reg[1].tag) begin
            tags_next = 2'd1;
            ethertype_next = ethertype_reg[1];
            base_next = ethertype_reg[1].v6 ? 7'd58 : 7'd18;
        end else begin
            tags_next = 2'd2;
            ethertype_next = ethertype_reg[2];
            base_next = ethertype_reg[2].v6 ? 7'd62 : 7'd22;
        end
        if (no_tag_reg[0]) l3_next = hdr_reg[L3+:L3_BYTES];
        else if (no_tag_reg[1]) l3_next = hdr_reg[L3+4+:L3_BYTES];
        else l3_next = hdr_reg[L3+8+:L3_BYTES];
        // 64 keep bits are too many to count in one cycle: in two halves here, together below.
        ones_low_next = '0;
        ones_high_next = '0;
        for (int g = 0; g < GROUPS; g++)
            if (g < (GROUPS + 1) / 2) ones_low_next += 7'(s1_ones_reg[g]);
            else ones_high_next += 7'(s1_ones_reg[g]);
    end

    assign unused = ethertype_next.tag;

    always_ff @(posedge clk) begin
        s2_beats_reg <= s1_beats_reg;
        s2_ones_low_reg <= ones_low_next;
        s2_ones_high_reg <= ones_high_next;
        s2_tags_reg <= tags_next;
        s2_mpls_pppoe_reg <= ethertype_next.tunnel;
        s2_v4_reg <= ethertype_next.v4;
        s2_v6_reg <= ethertype_next.v6;
        s2_not_v6_reg <= !ethertype_next.v6;
        s2_base_reg <= base_next;
        s2_vlan_outer_reg <= tags_next == 2'd0 ? '0 : {hdr_reg[L3][3:0], hdr_reg[L3+1]};
        s2_vlan_inner_reg <= tags_next != 2'd2 ? '0 : {hdr_reg[L3+4][3:0], hdr_reg[L3+5]};
        s2_l3_reg <= l3_next;
        s2_l4_word_reg <= ethertype_next.v6 ? 4'd10 : l3_next[0][3:0];
        s2_dec_reg <= s1_dec_reg;
        s2_last_reg <= s1_last_reg;
        if (rst) begin
            s2_dec_reg <= 1'b0;
            s2_last_reg <= 1'b0;
        end
    end

    // ---- Stage 3: pick the ports, add lengths, classify the protocol ------------------------
    logic [15:0][31:0] l3_words;  // byte 0 of a word in its low bits
    logic [3:0]        version;
    logic [3:0]        ihl;
    logic [15:0]       ip_length;
    logic [7:0]        proto;
    logic [16:0]       length_next;
    logic [16:0]       payload_next;  // negative: total length < header
    flow_key_t         key3_next;
    logic              s3_dec_reg;
    logic              s3_last_reg;
    logic [15:0]       s3_length_reg;  // of the frame, or of what has come with the decision beat
    logic              s3_long_reg;    // 128 bytes or more have come: all headers are in them
    logic [16:0]       s3_end_reg;     // where the IP header says the datagram ends
    logic [16:0]       s3_payload_reg;
    logic [6:0]        s3_l3_at_reg;
    logic [6:0]        s3_l4_at_reg;
    logic [6:0]        s3_ports_end_reg;
    logic              s3_mpls_pppoe_reg;
    logic              s3_ip_reg;
    logic              s3_bad_reg;  // version, IHL
    logic              s3_fragment_reg;
    logic [1:0]        s3_tunnel_reg;  // by its field in IPv4, in IPv6
    logic              s3_tcp_reg;
    logic              s3_udp_reg;
    logic              s3_icmp_reg;
    flow_key_t         s3_key_reg;

    // Both versions' protocol fields are classified, and the right answer picked: one level less.
    function automatic logic tunnel_proto(input logic [7:0] value);
        tunnel_proto = value inside {8'd4, 8'd41, 8'd47, 8'd50, 8'd51, 8'd94, 8'd97, 8'd137};
    endfunction

    assign l3_words = s2_l3_reg;
    assign {version, ihl} = s2_l3_reg[0];
    assign proto = s2_not_v6_reg ? s2_l3_reg[9] : s2_l3_reg[6];

    always_comb begin
        if (s2_v6_reg) ip_length = {s2_l3_reg[4], s2_l3_reg[5]};
        else ip_length = {s2_l3_reg[2], s2_l3_reg[3]};
        payload_next = {1'b0, ip_length} - (s2_v6_reg ? 17'd0 : {11'd0, ihl, 2'b00});
        length_next = {s2_beats_reg, {LANES_LOG2{1'b0}}} + 17'(s2_ones_low_reg)
            + 17'(s2_ones_high_reg);

        key3_next.v6 = s2_v6_reg;
        key3_next.tags = s2_tags_reg;
        key3_next.vlan_outer = s2_vlan_outer_reg;
        key3_next.vlan_inner = s2_vlan_inner_reg;
        key3_next.proto = proto;
        for (int i = 0; i < 16; i++) begin  // byte i of the number, the lowest last on the wire
            key3_next.src[8*i+:8] = s2_l3_reg[23-i];
            key3_next.dst[8*i+:8] = s2_l3_reg[39-i];
            if (s2_not_v6_reg) key3_next.src[8*i+:8] = i < 4 ? s2_l3_reg[15-i%4] : 8'd0;
            if (s2_not_v6_reg) key3_next.dst[8*i+:8] = i < 4 ? s2_l3_reg[19-i%4] : 8'd0;
        end
        {key3_next.sport[7:0], key3_next.sport[15:8]} = l3_words[s2_l4_word_reg][15:0];
        {key3_next.dport[7:0], key3_next.dport[15:8]} = l3_words[s2_l4_word_reg][31:16];
    end

    always_ff @(posedge clk) begin
        s3_length_reg <= length_next[16] ? 16'hFFFF : length_next[15:0];
        s3_long_reg <= s2_beats_reg[BEATS_W-1:7-LANES_LOG2] != '0;
        s3_end_reg <= {1'b0, ip_length} + 17'(s2_base_reg);
        s3_payload_reg <= payload_next;
        s3_l3_at_reg <= 7'(L3) + 7'({s2_tags_reg, 2'b00});
        s3_l4_at_reg <= 7'(L3) + 7'({s2_tags_reg, 2'b00}) + 7'({s2_l4_word_reg, 2'b00});
        s3_ports_end_reg <= 7'(L3 + 4) + 7'({s2_tags_reg, 2'b00}) + 7'({s2_l4_word_reg, 2'b00});
        s3_mpls_pppoe_reg <= s2_mpls_pppoe_reg;
        s3_ip_reg <= s2_v4_reg || s2_v6_reg;
        s3_bad_reg <= s2_v6_reg ? version != 4'd6 : version != 4'd4 || ihl < 4'd5;
        s3_fragment_reg <= s2_v6_reg ? s2_l3_reg[6] == 8'd44 : {s2_l3_reg[6][5:0], s2_l3_reg[7]} != '0;
        s3_tunnel_reg <= {tunnel_proto(s2_l3_reg[6]), tunnel_proto(s2_l3_reg[9])};
        s3_tcp_reg <= s2_v6_reg ? s2_l3_reg[6] == 8'd6 : s2_l3_reg[9] == 8'd6;
        s3_udp_reg <= s2_v6_reg ? s2_l3_reg[6] == 8'd17 : s2_l3_reg[9] == 8'd17;
        s3_icmp_reg <= s2_v6_reg ? s2_l3_reg[6] == 8'd58 : s2_l3_reg[9] == 8'd1;
        s3_key_reg <= key3_next;
        s3_dec_reg <= s2_dec_reg;
        s3_last_reg <= s2_last_reg;
        if (rst) begin
            s3_dec_reg <= 1'b0;
            s3_last_reg <= 1'b0;
        end
    end

    // ---- Stage 4: compare lengths, look at the ports ----------------------------------------
    logic        runt;
    logic        header_bad;
    logic        l4_bad;
    logic        ports_next;
    parse_t      parse_next;
    logic        s4_dec_reg;
    logic        s4_last_reg;
    logic [15:0] s4_length_reg;
    logic [16:0] s4_end_reg;
    logic        s4_end_known_reg;
    parse_t      s4_parse_reg;      // but for tunnels in UDP
    logic        s4_ports_reg;      // TCP or UDP
    logic        s4_udp_tunnel_reg;
    flow_key_t   s4_key_reg;

    function automatic logic tunnel_port(input logic [15:0] port);
        tunnel_port = port inside {16'd2152, 16'd3544, 16'd4789, 16'd6081};
    endfunction

    // Not long: at most 128 bytes.
    assign runt = !s3_long_reg && s3_length_reg[7:0] < 8'(s3_l3_at_reg);
    // With an IHL of 5 or more, a frame that has the whole header has its first 20 bytes.
    assign header_bad = s3_bad_reg || s3_payload_reg[16]
        || (!s3_long_reg && s3_length_reg[7:0] < 8'(s3_l4_at_reg));
    assign l4_bad = (!s3_long_reg && s3_length_reg[7:0] < 8'(s3_ports_end_reg))
        || s3_payload_reg < (s3_tcp_reg ? 17'd20 : 17'd8);
    assign ports_next = s3_tcp_reg || s3_udp_reg;

    always_comb begin
        if (runt) parse_next = PARSE_RUNT;
        else if (s3_mpls_pppoe_reg) parse_next = PARSE_TUNNEL;
        else if (!s3_ip_reg) parse_next = PARSE_NOT_IP;
        else if (header_bad) parse_next = PARSE_MALFORMED;
        else if (s3_fragment_reg) parse_next = PARSE_FRAGMENT;
        else if (s3_tunnel_reg[s3_key_reg.v6]) parse_next = PARSE_TUNNEL;
        else if (!ports_next && !s3_icmp_reg) parse_next = PARSE_OTHER;
        else if (ports_next && l4_bad) parse_next = PARSE_MALFORMED;
        else parse_next = PARSE_OK;
    end

    always_ff @(posedge clk) begin
        s4_length_reg <= s3_length_reg;
        s4_end_reg <= s3_end_reg;
        s4_end_known_reg <= s3_ip_reg && !runt && !header_bad;
        s4_parse_reg <= parse_next;
        s4_ports_reg <= ports_next;
        s4_udp_tunnel_reg <= s3_udp_reg
            && (tunnel_port(s3_key_reg.sport) || tunnel_port(s3_key_reg.dport));
        s4_key_reg <= s3_key_reg;
        if (!ports_next) begin
            s4_key_reg.sport <= '0;
            s4_key_reg.dport <= '0;
        end
        s4_dec_reg <= s3_dec_reg;
        s4_last_reg <= s3_last_reg;
        if (rst) begin
            s4_dec_reg <= 1'b0;
            s4_last_reg <= 1'b0;
        end
    end

    // ---- Stage 5: gate ----------------------------------------------------------------------
    logic      ok;
    logic      key_valid_reg;
    flow_key_t key_reg;
    logic      key_lookup_reg;
    parse_t    key_parse_reg;
    logic      len_valid_reg;
    logic      len_short_reg;

    assign ok = s4_parse_reg == PARSE_OK && !s4_udp_tunnel_reg;
    assign key_valid = key_valid_reg;
    assign key = key_reg;
    assign key_lookup = key_lookup_reg;
    assign key_parse = key_parse_reg;
    assign len_valid = len_valid_reg;
    assign len_short = len_short_reg;

    always_ff @(posedge clk) begin
        key_reg <= ok ? s4_key_reg : '0;
        key_lookup_reg <= ok && s4_ports_reg;
        key_parse_reg <= s4_parse_reg == PARSE_OK && s4_udp_tunnel_reg ? PARSE_TUNNEL
            : s4_parse_reg;
        len_short_reg <= s4_end_known_reg && s4_end_reg > {1'b0, s4_length_reg};
        key_valid_reg <= s4_dec_reg;
        len_valid_reg <= s4_last_reg;
        if (rst) begin
            key_valid_reg <= 1'b0;
            len_valid_reg <= 1'b0;
        end
    end
endmodule
