// Joins what the stages say of a frame and hands it to the spine in the exact cycle it is due.
//
// With tap_dec in cycle d and tap_last in cycle l of one frame, the stages answer at
//   key_valid d+PARSE, ports_valid d+PARSE+PORTS, res_valid d+PARSE+FLOW,
//   len_valid l+PARSE, pf_valid l+PREFILTER,
// and the spine wants dec_valid at d+LATENCY and fin_valid at l+LATENCY. An answer that does not
// come leaves a hole in that cycle, which the spine reports as `late`; nothing here waits.
module nsd_verdict
    import nsd_pkg::*;
#(
    // The spine's LATENCY: more than each stage's own, checked below.
    parameter int LATENCY = 18
) (
    input  logic     clk,
    input  logic     rst,

    input  logic     key_valid,
    input  parse_t   key_parse,
    input  logic     len_valid,
    input  logic     len_short,
    input  logic     ports_valid,
    input  logic     ports_hit,
    input  logic     res_valid,
    input  action_t  res_action,
    input  logic     pf_valid,
    input  logic     pf_hit,

    output logic     dec_valid,
    output action_t  dec_action,
    output logic     fin_valid,
    output verdict_t fin_verdict
);
    // Everything meets one cycle before it is due; the last cycle is the output register.
    localparam int MEET = LATENCY - 1;
    localparam int KEY_WAIT = MEET - PARSE_LATENCY;
    localparam int PORTS_WAIT = MEET - PARSE_LATENCY - PORTS_LATENCY;
    localparam int FLOW_WAIT = MEET - PARSE_LATENCY - FLOW_LATENCY;
    localparam int LEN_WAIT = MEET - PARSE_LATENCY;
    localparam int PREFILTER_WAIT = MEET - PREFILTER_LATENCY;

    if (PORTS_WAIT < 0 || FLOW_WAIT < 0 || PREFILTER_WAIT < 0)
        $fatal(1, "nsd_verdict: LATENCY %0d is shorter than a stage's own", LATENCY);

    // Packed outcomes, each with its valid bit, as they meet.
    logic key_there, key_suspect;
    logic ports_there, ports_suspect;
    logic res_there;
    logic [1:0] res_code;
    logic len_there, len_suspect;
    logic pf_there, pf_suspect;

    nsd_delay #(.WIDTH(2), .CYCLES(KEY_WAIT)) key_delay (
        .clk, .rst, .d({key_valid, key_parse != PARSE_OK}), .q({key_there, key_suspect}));
    nsd_delay #(.WIDTH(2), .CYCLES(PORTS_WAIT)) ports_delay (
        .clk, .rst, .d({ports_valid, ports_hit}), .q({ports_there, ports_suspect}));
    nsd_delay #(.WIDTH(3), .CYCLES(FLOW_WAIT)) res_delay (
        .clk, .rst, .d({res_valid, res_action}), .q({res_there, res_code}));
    nsd_delay #(.WIDTH(2), .CYCLES(LEN_WAIT)) len_delay (
        .clk, .rst, .d({len_valid, len_short}), .q({len_there, len_suspect}));
    nsd_delay #(.WIDTH(2), .CYCLES(PREFILTER_WAIT)) pf_delay (
        .clk, .rst, .d({pf_valid, pf_hit}), .q({pf_there, pf_suspect}));

    // The decision, and what of it the frame's end needs: a long frame's end comes much later.
    logic    dec_next;
    action_t action_next;
    logic    suspect_reg, suspect_now;  // the parser could not vouch for the frame
    logic    ports_reg, ports_now;
    logic    bypass_reg, bypass_now;

    assign dec_next = key_there && ports_there && res_there;
    assign action_next = key_suspect ? ACTION_NONE : action_t'(res_code);
    // A frame whose decision beat is its last meets its own decision in this very cycle.
    assign suspect_now = dec_next ? key_suspect : suspect_reg;
    assign ports_now = dec_next ? ports_suspect : ports_reg;
    assign bypass_now = dec_next ? action_next == ACTION_BYPASS : bypass_reg;

    verdict_t verdict_next;
    always_comb begin
        if (suspect_now || len_suspect) verdict_next = VERDICT_SUSPECT;
        else if (bypass_now) verdict_next = VERDICT_BYPASS;
        else if (ports_now || pf_suspect) verdict_next = VERDICT_SUSPECT;
        else verdict_next = VERDICT_CLEAR;
    end

    always_ff @(posedge clk) begin
        suspect_reg <= suspect_now;
        ports_reg <= ports_now;
        bypass_reg <= bypass_now;

        dec_valid <= dec_next;
        dec_action <= action_next;
        fin_valid <= len_there && pf_there;
        fin_verdict <= verdict_next;
        if (rst) begin
            dec_valid <= 1'b0;
            fin_valid <= 1'b0;
            suspect_reg <= 1'b1;
        end
    end
endmodule
