// Does a frame go to or come from a port that short patterns watch? PORTS_LATENCY cycles from
// key_valid to ports_valid, one key per cycle.
//
// A range is hit when the frame's protocol has its bit set in it and, for TCP and UDP,
// low <= sport <= high or low <= dport <= high. ICMP (IPv4 protocol 1, IPv6 58) has no ports.
// A frame that did not parse (key_parse not PARSE_OK) hits nothing: it is suspect anyway.
// ports_hit means nothing while ports_valid is low. cfg_ranges may change at any time; a key
// in flight then sees the old or the new value of each of its fields.
//
// Four stages: the key, near the comparators | compare | decide each range | any range.
module nsd_ports
    import nsd_pkg::*;
(
    input  logic                           clk,
    input  logic                           rst,
    input  logic                           key_valid,
    input  flow_key_t                      key,
    input  parse_t                         key_parse,
    input  port_range_t [PORT_RANGES-1:0]  cfg_ranges,
    output logic                           ports_valid,
    output logic                           ports_hit
);
    if (PORTS_LATENCY != 4) $fatal(1, "nsd_ports: PORTS_LATENCY must be 4, its stages");

    // The key is wide and only these fields of it matter here.
    logic [7:0]  proto_reg;
    logic [15:0] sport_reg;
    logic [15:0] dport_reg;
    logic        ok_reg;
    logic        unused;
    assign unused = &{1'b0, key.v6, key.tags, key.vlan_outer, key.vlan_inner, key.src, key.dst};

    logic                   tcp_next, udp_next, icmp_next;
    logic                   s1_tcp_reg, s1_udp_reg, s1_icmp_reg;
    logic [PORT_RANGES-1:0] s1_sport_low_reg, s1_sport_high_reg;
    logic [PORT_RANGES-1:0] s1_dport_low_reg, s1_dport_high_reg;
    logic [PORT_RANGES-1:0] s2_hit_reg;
    logic                   ports_hit_reg;
    logic [PORTS_LATENCY-1:0] valid_reg;

    assign tcp_next = ok_reg && proto_reg == 8'd6;
    assign udp_next = ok_reg && proto_reg == 8'd17;
    assign icmp_next = ok_reg && (proto_reg == 8'd1 || proto_reg == 8'd58);
    assign ports_valid = valid_reg[PORTS_LATENCY-1];
    assign ports_hit = ports_hit_reg;

    for (genvar i = 0; i < PORT_RANGES; i++) begin : g_range
        always_ff @(posedge clk) begin
            s1_sport_low_reg[i] <= sport_reg >= cfg_ranges[i].low;
            s1_sport_high_reg[i] <= sport_reg <= cfg_ranges[i].high;
            s1_dport_low_reg[i] <= dport_reg >= cfg_ranges[i].low;
            s1_dport_high_reg[i] <= dport_reg <= cfg_ranges[i].high;
            s2_hit_reg[i] <= (s1_icmp_reg && cfg_ranges[i].icmp)
                || (((s1_tcp_reg && cfg_ranges[i].tcp) || (s1_udp_reg && cfg_ranges[i].udp))
                    && ((s1_sport_low_reg[i] && s1_sport_high_reg[i])
                        || (s1_dport_low_reg[i] && s1_dport_high_reg[i])));
        end
    end

    always_ff @(posedge clk) begin
        ok_reg <= key_parse == PARSE_OK;
        proto_reg <= key.proto;
        sport_reg <= key.sport;
        dport_reg <= key.dport;
        s1_tcp_reg <= tcp_next;
        s1_udp_reg <= udp_next;
        s1_icmp_reg <= icmp_next;
        ports_hit_reg <= |s2_hit_reg;
        valid_reg <= {valid_reg[PORTS_LATENCY-2:0], key_valid};
        if (rst) valid_reg <= '0;
    end
endmodule
