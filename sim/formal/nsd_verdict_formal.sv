// nsd_verdict joins the answers of one and the same frame: a frame is picked at will when it is
// tapped, its stages' answers are noted as they come, and what the spine is told LATENCY cycles
// later must follow from them alone, however frames are packed and however long they last.
module nsd_verdict_formal
    import nsd_pkg::*;
#(
    parameter int LATENCY = 18,
    // 0 leaves the induction invariants out: then only what the ports show can fail.
    parameter bit INVARIANTS = 1
) (
    input logic       clk,
    input logic       rst,
    // The tapped beats' marks, and what the stages find: free.
    input logic       tap_dec,
    input logic       tap_last,
    input parse_t     key_parse,
    input logic       len_short,
    input logic       ports_hit,
    input action_t    res_action,
    input logic       pf_hit,
    input logic [4:0] lost,   // an answer that does not come: key, ports, flow, length, prefilter
    input logic       track   // pick the frame that is decided in this cycle
);
    logic     dec_valid, fin_valid;
    action_t  dec_action;
    verdict_t fin_verdict;

    logic [LATENCY:0] dec_ago_reg;   // dec_ago_reg[n]: tap_dec, n + 1 cycles ago
    logic [LATENCY:0] last_ago_reg;
    logic             decided_reg;   // the frame in the tap has had its decision beat

    logic key_valid, ports_valid, res_valid, len_valid, pf_valid;
    assign key_valid = dec_ago_reg[PARSE_LATENCY-1] && !lost[0];
    assign ports_valid = dec_ago_reg[PARSE_LATENCY+PORTS_LATENCY-1] && !lost[1];
    assign res_valid = dec_ago_reg[PARSE_LATENCY+FLOW_LATENCY-1] && !lost[2];
    assign len_valid = last_ago_reg[PARSE_LATENCY-1] && !lost[3];
    assign pf_valid = last_ago_reg[PREFILTER_LATENCY-1] && !lost[4];

    nsd_verdict #(.LATENCY(LATENCY)) dut (.*);

    logic first_cycle_reg = 1'b1;
    always_ff @(posedge clk) first_cycle_reg <= 1'b0;
    always_comb if (first_cycle_reg) assume (rst);

    // One decision beat in each frame, not after its last beat.
    always_comb if (tap_dec) assume (!decided_reg);
    always_comb if (tap_last) assume (tap_dec || decided_reg);

    // The picked frame: cycles since its decision beat and its last beat (0: not yet).
    logic       live_reg;
    logic [4:0] dec_age_reg, last_age_reg;
    logic       key_reg, ports_reg, res_reg, len_reg, pf_reg;  // did the answer come
    logic       parsed_reg, short_reg, ports_hit_reg, pf_hit_reg;
    action_t    action_reg;
    localparam logic [4:0] DUE = 5'(LATENCY);
    localparam logic [4:0] PAST = 5'(LATENCY + 1);

    always_ff @(posedge clk) begin
        dec_ago_reg <= {dec_ago_reg[LATENCY-1:0], tap_dec};
        last_ago_reg <= {last_ago_reg[LATENCY-1:0], tap_last};
        decided_reg <= (decided_reg || tap_dec) && !tap_last;

        if (live_reg) begin
            if (dec_age_reg != PAST) dec_age_reg <= dec_age_reg + 1'b1;
            if (last_age_reg != 0) last_age_reg <= last_age_reg + 1'b1;
            else if (tap_last) last_age_reg <= 5'd1;
            if (last_age_reg == DUE) live_reg <= 1'b0;
        end else if (tap_dec && track) begin
            live_reg <= 1'b1;
            dec_age_reg <= 5'd1;
            last_age_reg <= tap_last ? 5'd1 : 5'd0;
        end
        if (dec_age_reg == 5'(PARSE_LATENCY)) begin
            key_reg <= key_valid;
            parsed_reg <= key_parse == PARSE_OK;
        end
        if (dec_age_reg == 5'(PARSE_LATENCY + PORTS_LATENCY)) begin
            ports_reg <= ports_valid;
            ports_hit_reg <= ports_hit;
        end
        if (dec_age_reg == 5'(PARSE_LATENCY + FLOW_LATENCY)) begin
            res_reg <= res_valid;
            action_reg <= res_action;
        end
        if (last_age_reg == 5'(PARSE_LATENCY)) begin
            len_reg <= len_valid;
            short_reg <= len_short;
        end
        if (last_age_reg == 5'(PREFILTER_LATENCY)) begin
            pf_reg <= pf_valid;
            pf_hit_reg <= pf_hit;
        end
        if (rst) begin
            dec_ago_reg <= '0;
            last_ago_reg <= '0;
            decided_reg <= 1'b0;
            live_reg <= 1'b0;
        end
    end

    logic answered;
    assign answered = key_reg && ports_reg && res_reg;

    always_ff @(posedge clk) if (!first_cycle_reg && live_reg) begin
        if (dec_age_reg == DUE) begin
            p_dec_when_answered: assert (dec_valid == answered);
            if (answered) p_dec_action: assert (dec_action == (parsed_reg ? action_reg : ACTION_NONE));
        end
        if (last_age_reg == DUE) begin
            p_fin_when_answered: assert (fin_valid == (len_reg && pf_reg));
            if (answered && fin_valid) begin
                if (!parsed_reg || short_reg)
                    p_unparsed_is_suspect: assert (fin_verdict == VERDICT_SUSPECT);
                else if (action_reg == ACTION_BYPASS)
                    p_bypass: assert (fin_verdict == VERDICT_BYPASS);
                else if (ports_hit_reg || pf_hit_reg)
                    p_hit_is_suspect: assert (fin_verdict == VERDICT_SUSPECT);
                else p_clear: assert (fin_verdict == VERDICT_CLEAR);
            end
        end
    end
    // Nothing is said of beats that are no decision and no end.
    always_ff @(posedge clk) if (!first_cycle_reg) begin
        p_no_dec_made: assert (!dec_valid || dec_ago_reg[LATENCY-1]);
        p_no_fin_made: assert (!fin_valid || last_ago_reg[LATENCY-1]);
    end

    if (INVARIANTS) begin : gen_invariants
        always_ff @(posedge clk) if (!first_cycle_reg && live_reg) begin
            assert (dec_age_reg != 0 && dec_age_reg <= PAST && last_age_reg <= DUE);
            assert (last_age_reg <= dec_age_reg);
            // While a frame lasts, no other can begin; its decision beat has been.
            if (last_age_reg == 0) assert (decided_reg);
            if (answered && dec_age_reg == PAST && last_age_reg < DUE) begin
                assert (dut.suspect_reg == !parsed_reg);
                assert (dut.ports_reg == ports_hit_reg);
                assert (dut.bypass_reg == (parsed_reg && action_reg == ACTION_BYPASS));
            end
        end
    end

    always_ff @(posedge clk) begin
        c_long_clear: cover (live_reg && answered && last_age_reg == DUE && dec_age_reg == PAST
                             && fin_verdict == VERDICT_CLEAR && fin_valid);
        c_short_bypass: cover (live_reg && last_age_reg == DUE && dec_age_reg == DUE
                               && fin_verdict == VERDICT_BYPASS && fin_valid && answered);
    end
endmodule
