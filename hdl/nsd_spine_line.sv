// The spine's delay line: says which beats are visible, which may leave, and with what verdict.
//
// A free-running shift register of LATENCY stages: nothing holds it, so nothing can stall it. Per
// beat it carries the slot pointer and four flags, no data. Because it carries the *pointer*, a
// flag lost in it costs one beat's mark, never the count: the next beat sets everything right.
//
// cycle 0     in_*: the tap cycle, one after the handshake on s_axis
// cycle LATENCY  the beat comes out and meets dec_*/fin_* of the same cycle; what is found out
//             is written to two small memories in the beat's slot (frame's first slot for the
//             action, the beat's own for the rest)
// cycle +1    rel_ptr stands behind the beat if its frame's decision beat has come out: the exit
//             may take it, and finds its verdict in the memories
//
// Invariants (modulo 2**PTR_W): stage k's pointer is in_slot of k cycles ago; vis_ptr (slot plus
// valid at the end of the line) trails the store's write pointer by LATENCY + 1 cycles; rel_ptr
// equals vis_ptr unless a frame is undecided, when it stands on that frame's first slot, at most
// DEC_BEATS - 1 behind. More than that means a decision beat got lost: `err_lost`, and the frame
// is let go as FAULT.
//
// Late: an armed frame's dec_valid or fin_valid missing in its cycle, one in another cycle while
// armed frames are inside, or an illegal value. The frame gets FAULT and no action.
module nsd_spine_line
    import nsd_pkg::*;
#(
    // Cycles a beat is invisible after its tap cycle, at least 8 (the exit's prefetch takes 5).
    parameter int LATENCY = 18,
    // Slots of the store: a power of two.
    parameter int DEPTH = 64,
    // Beats up to and with the latest decision beat, 2 or more.
    parameter int DEC_BEATS = 11,
    localparam int ADDR_W = $clog2(DEPTH),
    localparam int PTR_W = ADDR_W + 1
) (
    input  logic             clk,
    input  logic             rst,

    // A beat in its tap cycle. in_slot is the write pointer one cycle ago, valid or not.
    input  logic             in_valid,
    input  logic             in_dec,
    input  logic             in_last,
    input  logic             in_armed,
    input  logic [PTR_W-1:0] in_slot,

    // What inspection says; free of any assumption.
    input  logic             dec_valid,
    input  logic [1:0]       dec_action,
    input  logic             fin_valid,
    input  logic [2:0]       fin_verdict,
    input  logic             judging,     // an armed frame is inside: unasked verdicts are errors
    input  logic             inj_late,

    // To the exit. The read side is combinational.
    output logic [PTR_W-1:0] rel_ptr,     // beats before it may leave
    output logic             rel_stays,   // it is the same in the next cycle, else vis_ptr
    output logic [PTR_W-1:0] vis_ptr,     // beats before it are visible in the next cycle
    input  logic [ADDR_W-1:0] rd_slot,
    output logic             rd_first,    // the beat opens a frame
    output logic             rd_last,     // the beat closes it: the line's own view
    output logic [1:0]       rd_action,   // valid with rd_first; ACTION_FAULT = no inspection
    output verdict_t         rd_verdict,  // valid with rd_last

    output logic             err_late,    // strobe
    output logic [5:0]       late_kind,   // {fin, dec} x {not asked, illegal, missing}
    output logic             err_lost     // strobe
);
    // In the memory the fourth action means "permit, nothing was inspected".
    localparam logic [1:0] ACTION_FAULT = 2'd3;

    // a >= bound, a constant, as plain gates: a comparison would be a second carry chain.
    function automatic logic reaches(input logic [PTR_W-1:0] a, input logic [PTR_W-1:0] bound);
        logic yes;
        yes = 1'b1;
        for (int i = 0; i < PTR_W; i++) yes = bound[i] ? a[i] && yes : a[i] || yes;
        return yes;
    endfunction

    // --- the line ---------------------------------------------------------------------------
    logic [LATENCY-1:0] valid_reg, dec_reg, last_reg, armed_reg;
    logic [LATENCY-1:0][PTR_W-1:0] slot_reg;

    logic             vis_valid, vis_dec, vis_last, vis_armed;
    logic [PTR_W-1:0] vis_slot, vis_ptr_reg;
    assign vis_valid = valid_reg[LATENCY-1];
    assign vis_dec = dec_reg[LATENCY-1];
    assign vis_last = last_reg[LATENCY-1];
    assign vis_armed = armed_reg[LATENCY-1];
    assign vis_slot = slot_reg[LATENCY-1];
    assign vis_ptr = vis_ptr_reg;

    always_ff @(posedge clk) begin
        valid_reg <= {valid_reg[LATENCY-2:0], in_valid};
        // Marks of beats alone, so that no logic stands between the line's end and its use.
        dec_reg <= {dec_reg[LATENCY-2:0], in_valid && in_dec};
        last_reg <= {last_reg[LATENCY-2:0], in_valid && in_last};
        armed_reg <= {armed_reg[LATENCY-2:0], in_armed};
        slot_reg <= {slot_reg[LATENCY-2:0], in_slot};
        vis_ptr_reg <= slot_reg[LATENCY-2] + PTR_W'(valid_reg[LATENCY-2]);  // vis_slot + vis_valid
        if (rst) begin
            vis_ptr_reg <= '0;
            valid_reg <= '0;
            dec_reg <= '0;
            last_reg <= '0;
            slot_reg <= '0;
        end
    end

    // --- which beats may leave --------------------------------------------------------------
    logic open_reg, hold_reg;  // mid-frame; mid-frame and undecided
    logic hold_before, hold_next, lost_next, lost_reg;
    logic [PTR_W-1:0] rel_reg, waiting;
    assign rel_ptr = rel_reg;
    assign rel_stays = hold_next;

    // Registered, so one cycle late: a beat more is waiting by then, and the margin allows it.
    assign waiting = vis_slot - rel_reg;
    assign lost_next = hold_reg && reaches(waiting, PTR_W'(DEC_BEATS));
    assign hold_before = open_reg ? hold_reg : vis_valid;
    assign hold_next = hold_before && !vis_dec && !vis_last && !lost_reg;

    always_ff @(posedge clk) begin
        if (vis_valid) open_reg <= !vis_last;
        hold_reg <= hold_next;
        lost_reg <= lost_next && !lost_reg;
        if (!hold_next) rel_reg <= vis_ptr;
        if (rst) begin
            open_reg <= 1'b0;
            hold_reg <= 1'b0;
            lost_reg <= 1'b0;
            rel_reg <= '0;
        end
    end
    assign err_lost = lost_reg;

    // --- the verdict of a frame -------------------------------------------------------------
    logic swallow_reg;  // injected: the next dec_valid that is due does not count
    logic dec_seen, dec_due, fin_due;
    logic dec_legal, fin_legal, dec_good, fin_good;
    logic [5:0] kind_next;
    logic bad_reg, bad_now;  // this frame's decision was late

    assign dec_due = vis_dec && vis_armed;
    assign fin_due = vis_last && vis_armed;
    assign dec_seen = dec_valid && !(swallow_reg && dec_due);
    assign dec_legal = dec_action == ACTION_NONE || dec_action == ACTION_BYPASS ||
                       dec_action == ACTION_BLOCK;
    assign fin_legal = fin_verdict == VERDICT_CLEAR || fin_verdict == VERDICT_SUSPECT ||
                       fin_verdict == VERDICT_BYPASS || fin_verdict == VERDICT_BLOCK;
    assign dec_good = dec_due && dec_seen && dec_legal;
    assign fin_good = fin_due && fin_valid && fin_legal;
    assign kind_next = {
        fin_valid && !vis_last && judging, fin_due && fin_valid && !fin_legal, fin_due && !fin_valid,
        dec_valid && !vis_dec && judging, dec_due && dec_seen && !dec_legal, dec_due && !dec_seen
    };
    assign bad_now = vis_dec ? !dec_good : bad_reg;

    always_ff @(posedge clk) begin
        bad_reg <= (bad_now || lost_reg) && !vis_last;
        swallow_reg <= inj_late || (swallow_reg && !(dec_due && dec_valid));
        err_late <= |kind_next;
        late_kind <= kind_next;
        if (rst) begin
            bad_reg <= 1'b0;
            swallow_reg <= 1'b0;
            err_late <= 1'b0;
        end
    end

    // --- the memories -----------------------------------------------------------------------
    (* ram_style = "distributed" *) logic [1:0] action_mem[DEPTH];
    (* ram_style = "distributed" *) logic [4:0] beat_mem[DEPTH];
    logic action_write;
    assign action_write = hold_before && !hold_next;

    logic [2:0] verdict_raw;
    always_ff @(posedge clk) begin
        // rel_reg is the first slot of the undecided frame.
        if (action_write) action_mem[rel_reg[ADDR_W-1:0]] <= dec_good ? dec_action : ACTION_FAULT;
        if (vis_valid)
            beat_mem[vis_slot[ADDR_W-1:0]] <= {
                // A BLOCK that is not carried out is no verdict for the sink.
                !open_reg, vis_last,
                fin_good && !bad_now && fin_verdict != VERDICT_BLOCK ? fin_verdict : VERDICT_FAULT
            };
    end
    assign rd_action = action_mem[rd_slot];
    assign {rd_first, rd_last, verdict_raw} = beat_mem[rd_slot];
    assign rd_verdict = verdict_t'(verdict_raw);
endmodule
