// Statistics: 64-bit counters that never stop, and a snapshot of all of them in one cycle.
//
// Each counter is two 32-bit halves; the carry between them is registered, so the high half of a
// snapshot is taken one cycle after the low half: together they are the number of the snapshot's
// cycle. `snapshot` in cycle t counts what was strobed before t; the outputs hold it from t + 3.
module nsd_stats
    import nsd_pkg::*;
(
    input  logic        clk,
    input  logic        rst,
    input  logic        snapshot,           // strobe
    input  logic        frame_in,           // strobe: a frame's last beat was accepted
    input  logic        frame_out,          // strobe: a frame has left, or was dropped (BLOCK)
    input  verdict_t    frame_out_verdict,
    input  logic        beat_in,            // a beat was accepted
    input  logic        backpressure,       // a beat waits for the sink
    input  logic [63:0] cycle,              // counted elsewhere; goes into the snapshot
    output logic [63:0] snap_cycle,
    output logic [63:0] snap_frames_in,
    output logic [63:0] snap_clear,
    output logic [63:0] snap_suspect,
    output logic [63:0] snap_bypass,
    output logic [63:0] snap_block,
    output logic [63:0] snap_fault,
    output logic [63:0] snap_beats_in,
    output logic [63:0] snap_backpressure
);
    localparam int COUNTERS = 8;
    logic [COUNTERS-1:0]       event_next, event_reg;
    logic [COUNTERS-1:0][63:0] snap;
    logic                      snap_low_reg, snap_high_reg;

    // A verdict that does not exist is permitted without inspection: FAULT.
    always_comb begin
        event_next = '0;
        event_next[0] = frame_in;
        event_next[6] = beat_in;
        event_next[7] = backpressure;
        if (frame_out)
            unique case (frame_out_verdict)
                VERDICT_CLEAR: event_next[1] = 1'b1;
                VERDICT_SUSPECT: event_next[2] = 1'b1;
                VERDICT_BYPASS: event_next[3] = 1'b1;
                VERDICT_BLOCK: event_next[4] = 1'b1;
                default: event_next[5] = 1'b1;
            endcase
    end

    assign snap_frames_in = snap[0];
    assign snap_clear = snap[1];
    assign snap_suspect = snap[2];
    assign snap_bypass = snap[3];
    assign snap_block = snap[4];
    assign snap_fault = snap[5];
    assign snap_beats_in = snap[6];
    assign snap_backpressure = snap[7];

    // An event of the cycle before t is in event_reg in t and in low_reg in t + 1, when
    // snap_low_reg takes it; an event of t comes one later.
    for (genvar i = 0; i < COUNTERS; i++) begin : g_counter
        logic [31:0] low_reg, high_reg, snap_low, snap_high;
        logic        carry_reg;

        assign snap[i] = {snap_high, snap_low};

        always_ff @(posedge clk) begin
            low_reg <= low_reg + 32'(event_reg[i]);
            carry_reg <= event_reg[i] && &low_reg;
            high_reg <= high_reg + 32'(carry_reg);
            if (snap_low_reg) snap_low <= low_reg;
            if (snap_high_reg) snap_high <= high_reg;
            if (rst) begin
                low_reg <= '0;
                carry_reg <= 1'b0;
                high_reg <= '0;
                snap_low <= '0;
                snap_high <= '0;
            end
        end
    end

    always_ff @(posedge clk) begin
        event_reg <= event_next;
        snap_low_reg <= snapshot;
        snap_high_reg <= snap_low_reg;
        if (snapshot) snap_cycle <= cycle;
        if (rst) begin
            event_reg <= '0;
            snap_low_reg <= 1'b0;
            snap_high_reg <= 1'b0;
            snap_cycle <= '0;
        end
    end
endmodule
