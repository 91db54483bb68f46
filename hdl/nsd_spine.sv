// The path of every frame: stores each beat once, lets inspection watch, and passes it on with a
// verdict after a fixed time. Nothing that inspection does or omits can hold, lose, make, change
// or reorder a beat; the one thing it can cause is the drop of a whole frame (BLOCK).
//
// A beat's journey, in cycles from its handshake on s_axis (a beat that finds the exit free):
//    0            s_axis handshake; ECC and parity are made from the wires
//    1            tap_*; write register (beat and check bits)
//    2            in the store; may be read ahead from here on
//    7            corrected and at hand (nsd_spine_fetch)
//    1 + LATENCY  visible: dec_* and fin_* are due in this cycle (nsd_spine_line)
//    2 + LATENCY  released, if its frame's decision beat is visible; taken at the end of it
//    3 + LATENCY  head register: drop or permit (behind a beat that is held: a cycle or more later)
//    4 + LATENCY  m_axis_tvalid
// So from handshake to m_axis: LATENCY + 4 for a decision beat or one after it; a frame's first
// beat waits for its decision beat, which is DEC_BEATS - 1 beats later (10 at 64 b, 1 at 512 b):
// LATENCY + 4 + 10 at line rate. A visible, releasable beat stands on m_axis 3 cycles after the
// cycle in which it became visible, 2 after rel_ptr shows it, if m_axis is ready; one per cycle
// from then on. Frames that entered not armed wait just as long: the time never depends on state.
//
// Credits: a beat may enter while credit_reg >= 2, computed one cycle ahead (s_axis_tready is a
// register and knows nothing of s_axis_tvalid). CREDITS = DEPTH - 2: two slots stay free, so that
// the beats let in by a corrupted counter, before it is found out, overwrite nothing. Counted
// apart, credit_reg + (wr_ptr - free_ptr) == CREDITS in every cycle (modulo 2**PTR_W, signed); a
// difference is found after 2 cycles, closes s_axis_tready, and is added back: 3 cycles in all.
// A used count above DEPTH is impossible: then the exit starts again from rel_ptr, whichever pointer
// was hit, so that no value of any pointer stops traffic for good (what was stored may be lost).
// A credit returns 2 cycles after its beat was taken. One beat per cycle needs
// DEPTH >= DEC_BEATS + LATENCY + 12. A frame may be longer than the store, or never end.
//
// Fault and arm. `arm && !fault` is registered into `armed`: what a frame entering now gets, all
// of it, stored with each beat. A frame loaded (any beat) while `fault` is high, or not armed, is
// FAULT to its end. See nsd_spine_exit for dropping and framing.
//
// Errors, strobes one cycle long, registered; err_info is valid with any of them:
//   [7:0] syndrome, [11:8] lane, [19:12] slot   of err_ecc_ce, err_ecc_ue
//   [20] decision missing [21] decision illegal [22] decision not asked for
//   [23] verdict missing  [24] verdict illegal  [25] verdict not asked for    of err_late
//   [26] a decision beat was lost, [27] nothing left for STALL_LIMIT cycles   of err_stall
//   [28] stored and passed-on tlast differ (reported as err_ecc_ue)
//   [31:29] low bits of the credits missing (0: the read pointers disagree)   of err_credit_leak
// An ecc error is reported when a beat is read ahead, twice if it is read again.
//
// Injections wait for their moment: inj_ecc_* for the next beat (data bit 0 of lane 0, or its two
// lowest check bits), inj_fifo_ovf lowers the full level so that the next beat trips it,
// inj_credit_leak for the next credit, inj_late for the next decision due, inj_stall from now on
// until the watchdog trips.
//
// `sound` falls with fifo_ovf, stall and ecc_ue and rises with reset and when `armed` rises.
// `drained`: no beat of an armed frame inside, and none of an armed frame still to come; one
// cycle late. frame_in, frame_out: registered; frame_out when the last beat is loaded into the
// output register or dropped (one frame per cycle at most, either way).
module nsd_spine
    import nsd_pkg::*;
    import nsd_ecc_pkg::*;
#(
    // Data bits of a beat: 64 or 512.
    parameter int DATA_W = 64,
    // Cycles from the tap to the verdict, 8 to 128.
    parameter int LATENCY = 18,
    // Beats the store holds: a power of two, 32 to 256, at least DEC_BEATS + LATENCY + 12.
    parameter int DEPTH = 64,
    // Cycles without progress that are a stall, 16 to 65535.
    parameter int STALL_LIMIT = 1024,
    localparam int KEEP_W = DATA_W / 8,
    localparam int LANES = DATA_W / 64,
    localparam int OCC_W = $clog2(DEPTH) + 1
) (
    input  logic              clk,
    input  logic              rst,

    input  logic [DATA_W-1:0] s_axis_tdata,
    input  logic [KEEP_W-1:0] s_axis_tkeep,
    input  logic              s_axis_tvalid,
    output logic              s_axis_tready,
    input  logic              s_axis_tlast,
    input  logic [0:0]        s_axis_tuser,  // the MAC's bad-frame mark

    output logic [DATA_W-1:0] m_axis_tdata,
    output logic [KEEP_W-1:0] m_axis_tkeep,
    output logic              m_axis_tvalid,
    input  logic              m_axis_tready,
    output logic              m_axis_tlast,
    output logic [3:0]        m_axis_tuser,  // {bad-frame mark, verdict_t}

    output logic              tap_valid,
    output logic [DATA_W-1:0] tap_data,
    output logic [KEEP_W-1:0] tap_keep,
    output logic              tap_last,
    output logic              tap_first,
    output logic              tap_dec,
    output logic [LANES-1:0]  tap_parity,

    input  logic              dec_valid,
    input  logic [1:0]        dec_action,
    input  logic              fin_valid,
    input  logic [2:0]        fin_verdict,

    input  logic              arm,
    input  logic              fault,
    output logic              armed,
    output logic              drained,

    output logic              err_ecc_ce,
    output logic              err_ecc_ue,
    output logic              err_fifo_ovf,
    output logic              err_credit_leak,
    output logic              err_late,
    output logic              err_stall,
    output logic [31:0]       err_info,
    input  logic              inj_ecc_ce,
    input  logic              inj_ecc_ue,
    input  logic              inj_fifo_ovf,
    input  logic              inj_credit_leak,
    input  logic              inj_late,
    input  logic              inj_stall,

    output logic              frame_in,
    output logic              frame_out,
    output verdict_t          frame_out_verdict,
    output logic [OCC_W-1:0]  occupancy,     // beats in the store, one cycle ago
    output logic              sound
);
    localparam int DEC_BEATS = (HDR_BYTES + KEEP_W - 1) / KEEP_W;
    localparam int ADDR_W = $clog2(DEPTH);
    localparam int PTR_W = ADDR_W + 1;
    localparam int LANE_W = 75;
    localparam int CODE_W = LANE_W + ECC_CHECK_W;
    localparam int CREDITS = DEPTH - 2;
    localparam int CACHE_W = 4;  // entries of the prefetch's cache, as a power of two

    if (DATA_W != 64 && DATA_W != 512) $fatal(1, "nsd_spine: DATA_W must be 64 or 512");
    if (LATENCY < 8 || LATENCY > 128) $fatal(1, "nsd_spine: LATENCY must be 8 to 128");
    if (DEPTH != 2 ** ADDR_W || DEPTH < 32 || DEPTH > 256)
        $fatal(1, "nsd_spine: DEPTH must be 32, 64, 128 or 256");
    if (DEPTH < DEC_BEATS + LATENCY + 12)
        $fatal(1, "nsd_spine: DEPTH %0d is too small for LATENCY %0d", DEPTH, LATENCY);
    if (STALL_LIMIT < 16 || STALL_LIMIT > 65535)
        $fatal(1, "nsd_spine: STALL_LIMIT must be 16 to 65535");

    // --- entry: framing, arming, tap --------------------------------------------------------
    localparam int BEAT_W = $clog2(DEC_BEATS + 1);
    logic accept, beat_armed, beat_dec;
    logic open_reg;                // mid-frame on s_axis
    logic arm_next;
    logic armed_reg;               // what a frame entering now gets
    logic disarmed_reg;            // its inverse, for who is far away: one register would stand
                                   // between them, and equal ones be merged by synthesis
    logic frame_armed_reg;         // what the frame in progress got
    logic tap_armed_reg;
    logic [BEAT_W-1:0] beat_reg;   // beats of the frame in progress, up to DEC_BEATS

    assign accept = s_axis_tvalid && s_axis_tready;
    assign beat_armed = open_reg ? frame_armed_reg : armed_reg;
    assign beat_dec = beat_reg == BEAT_W'(DEC_BEATS - 1) ||
                      (s_axis_tlast && beat_reg < BEAT_W'(DEC_BEATS - 1));
    assign arm_next = arm && !fault;
    assign armed = !disarmed_reg;

    always_ff @(posedge clk) begin
        armed_reg <= arm_next;
        disarmed_reg <= !arm_next;
        if (accept) begin
            open_reg <= !s_axis_tlast;
            frame_armed_reg <= beat_armed;
            if (s_axis_tlast) beat_reg <= '0;
            else if (beat_reg != BEAT_W'(DEC_BEATS)) beat_reg <= beat_reg + 1'b1;
        end
        tap_valid <= accept;
        tap_data <= s_axis_tdata;
        tap_keep <= s_axis_tkeep;
        tap_last <= s_axis_tlast;
        tap_first <= !open_reg;
        tap_dec <= beat_dec;
        tap_armed_reg <= beat_armed;
        for (int i = 0; i < LANES; i++)
            tap_parity[i] <= ^{s_axis_tkeep[8*i +: 8], s_axis_tdata[64*i +: 64]};
        frame_in <= accept && s_axis_tlast;
        if (rst) begin
            armed_reg <= 1'b0;
            disarmed_reg <= 1'b1;
            open_reg <= 1'b0;
            beat_reg <= '0;
            tap_valid <= 1'b0;
            frame_in <= 1'b0;
        end
    end

    // --- store ------------------------------------------------------------------------------
    logic inject_ce_reg, inject_ue_reg;
    logic [LANES-1:0][CODE_W-1:0] write_reg, ram_data;
    logic [PTR_W-1:0] wr_ptr_reg, stored_ptr_reg;
    logic [ADDR_W-1:0] ram_addr;

    for (genvar i = 0; i < LANES; i++) begin : g_lane
        logic [LANE_W-1:0] word;
        logic [ECC_CHECK_W-1:0] check;
        assign word = {beat_armed, s_axis_tuser, s_axis_tlast,
                       s_axis_tkeep[8*i +: 8], s_axis_tdata[64*i +: 64]};
        nsd_ecc_enc #(.W(LANE_W)) u_enc (.data(word), .check(check));
        always_ff @(posedge clk) begin
            write_reg[i] <= {check, word};
            if (i == 0) begin
                // Never both in one word: three wrong bits could look like one.
                if (inject_ce_reg && !inject_ue_reg) write_reg[i][0] <= ~word[0];
                if (inject_ue_reg) write_reg[i][LANE_W+:2] <= ~check[1:0];
            end
        end
        nsd_ram #(.WIDTH(CODE_W), .DEPTH_LOG2(ADDR_W)) u_ram (
            .clk, .wr_en(tap_valid), .wr_addr(stored_ptr_reg[ADDR_W-1:0]), .wr_data(write_reg[i]),
            .rd_addr(ram_addr), .rd_data(ram_data[i])
        );
    end

    always_ff @(posedge clk) begin
        wr_ptr_reg <= wr_ptr_reg + PTR_W'(accept);
        // One cycle behind: the slot that write_reg goes to, and the first not yet in the RAM.
        stored_ptr_reg <= wr_ptr_reg;
        inject_ce_reg <= inj_ecc_ce || (inject_ce_reg && !(accept && !inject_ue_reg));
        inject_ue_reg <= inj_ecc_ue || (inject_ue_reg && !accept);
        if (rst) begin
            wr_ptr_reg <= '0;
            stored_ptr_reg <= '0;
            inject_ce_reg <= 1'b0;
            inject_ue_reg <= 1'b0;
        end
    end

    // --- credits ----------------------------------------------------------------------------
    logic [PTR_W-1:0] credit_reg, credit_next, sum_reg, missing_reg;
    logic [PTR_W-1:0] used, used_reg, head_ptr, free_ptr_reg;
    logic head_take, return_reg, swallow_reg, ready_reg;
    logic resync_reg;
    logic leak_next, leak_reg, leak_late_reg, overflow_reg, lowered_reg, entered_reg;
    assign s_axis_tready = ready_reg;
    assign used = wr_ptr_reg - free_ptr_reg;
    assign occupancy = used_reg;
    // The sum lags, so it still shows an error in the two cycles after that was found.
    assign leak_next = sum_reg != PTR_W'(CREDITS) && !leak_reg && !leak_late_reg;

    nsd_spine_credit #(.PTR_W(PTR_W)) u_credit (
        .credit(credit_reg), .valid(s_axis_tvalid), .ready(ready_reg),
        .returned(return_reg && !swallow_reg), .repair(leak_reg), .missing(missing_reg),
        .next(credit_next));

    always_ff @(posedge clk) begin
        return_reg <= head_take;
        free_ptr_reg <= head_ptr;
        used_reg <= used;
        sum_reg <= credit_reg + used;
        missing_reg <= PTR_W'(CREDITS) - sum_reg;
        leak_reg <= leak_next;
        leak_late_reg <= leak_reg;
        credit_reg <= credit_next;
        swallow_reg <= inj_credit_leak || (swallow_reg && !return_reg);
        // A negative credit is none.
        ready_reg <= !credit_reg[PTR_W-1] && |credit_reg[PTR_W-2:1] && !leak_next && !leak_reg;
        // A beat entered and the store holds more than it has credits for.
        resync_reg <= used_reg > PTR_W'(DEPTH) && !resync_reg;
        entered_reg <= tap_valid;
        overflow_reg <= entered_reg && (lowered_reg || used_reg > PTR_W'(CREDITS));
        lowered_reg <= inj_fifo_ovf || (lowered_reg && !entered_reg);
        if (rst) begin
            return_reg <= 1'b0;
            free_ptr_reg <= '0;
            used_reg <= '0;
            sum_reg <= PTR_W'(CREDITS);
            leak_reg <= 1'b0;
            leak_late_reg <= 1'b0;
            credit_reg <= PTR_W'(CREDITS);
            swallow_reg <= 1'b0;
            ready_reg <= 1'b0;
            resync_reg <= 1'b0;
            entered_reg <= 1'b0;
            overflow_reg <= 1'b0;
            lowered_reg <= 1'b0;
        end
    end

    // --- delay line, prefetch, exit ---------------------------------------------------------
    logic [PTR_W-1:0] rel_ptr, vis_ptr, next_ptr;
    logic rel_stays;
    logic line_first, line_last, judging_reg;
    logic [1:0] line_action;
    verdict_t line_verdict;
    logic [5:0] late_kind;
    logic lost, late;

    nsd_spine_line #(.LATENCY(LATENCY), .DEPTH(DEPTH), .DEC_BEATS(DEC_BEATS)) u_line (
        .clk, .rst,
        .in_valid(tap_valid), .in_dec(tap_dec), .in_last(tap_last), .in_armed(tap_armed_reg),
        .in_slot(stored_ptr_reg),
        .dec_valid, .dec_action, .fin_valid, .fin_verdict, .judging(judging_reg), .inj_late,
        .rel_ptr, .rel_stays, .vis_ptr, .rd_slot(head_ptr[ADDR_W-1:0]),
        .rd_first(line_first), .rd_last(line_last), .rd_action(line_action),
        .rd_verdict(line_verdict),
        .err_late(late), .late_kind, .err_lost(lost)
    );

    logic head_valid, head_user, head_last, head_armed, head_ue;
    logic [CACHE_W-1:0] h_entry;
    logic [LANES-1:0][63:0] h_data;
    logic [LANES-1:0][7:0] h_keep;
    logic ahead_bad, stall, framing, ce, ue, restart_reg;
    logic [7:0] syndrome;
    logic [3:0] ecc_lane;
    logic [ADDR_W-1:0] ecc_slot;

    nsd_spine_fetch #(.LANES(LANES), .DEPTH(DEPTH), .CACHE_W(CACHE_W)) u_fetch (
        .clk, .rst, .restart(restart_reg), .stored_ptr(stored_ptr_reg), .ram_addr, .ram_data,
        .head_ptr, .next_ptr, .head_take, .head_valid, .head_user, .head_last, .head_armed,
        .head_ue,
        .pop_entry(h_entry), .pop_data(h_data), .pop_keep(h_keep), .ahead_bad, .err_ce(ce),
        .err_ue(ue), .err_syndrome(syndrome),
        .err_lane(ecc_lane), .err_slot(ecc_slot)
    );

    logic exit_armed, exit_busy;
    nsd_spine_exit #(
        .DATA_W(DATA_W), .PTR_W(PTR_W), .STALL_LIMIT(STALL_LIMIT), .CACHE_W(CACHE_W)
    ) u_exit (
        .clk, .rst, .rel_ptr, .rel_stays, .vis_ptr, .resync(resync_reg), .head_ptr, .next_ptr,
        .head_take, .head_valid, .head_user, .head_last, .head_armed, .head_ue,
        .h_entry, .h_data, .h_keep,
        .line_first, .line_last, .line_action, .line_verdict,
        .fault, .inj_stall,
        .m_axis_tdata, .m_axis_tkeep, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast, .m_axis_tuser,
        .armed_inside(exit_armed), .busy(exit_busy), .err_stall(stall), .err_framing(framing),
        .frame_out, .frame_out_verdict
    );

    // --- armed frames inside ----------------------------------------------------------------
    // The slot behind the last armed beat stored: until the exit stands on it, one is inside.
    logic [PTR_W-1:0] mark_reg;
    logic marked_reg, armed_inside;
    assign armed_inside = marked_reg || exit_armed || (open_reg && frame_armed_reg) ||
                          (tap_valid && tap_armed_reg);
    always_ff @(posedge clk) begin
        if (tap_valid && tap_armed_reg) begin
            mark_reg <= stored_ptr_reg + 1'b1;
            marked_reg <= 1'b1;
        end else if (head_ptr == mark_reg || (used_reg == '0 && !exit_busy)) marked_reg <= 1'b0;
        judging_reg <= armed_inside;
        if (rst) begin
            marked_reg <= 1'b0;
            judging_reg <= 1'b0;
        end
    end
    assign drained = !judging_reg;

    // --- errors -----------------------------------------------------------------------------
    logic was_armed_reg;
    always_ff @(posedge clk) begin
        restart_reg <= (stall || leak_reg || ahead_bad || resync_reg) && !restart_reg;
        err_ecc_ce <= ce;
        err_ecc_ue <= ue || framing;
        err_fifo_ovf <= overflow_reg;
        err_credit_leak <= leak_reg || ahead_bad;
        err_late <= late;
        err_stall <= stall || lost;
        err_info <= {
            leak_reg ? missing_reg[2:0] : 3'd0, framing, stall, lost, late ? late_kind : 6'd0,
            ce || ue ? {8'(ecc_slot), ecc_lane, syndrome} : 20'd0
        };
        was_armed_reg <= armed;
        if (overflow_reg || stall || lost || ue || framing) sound <= 1'b0;
        else if (armed && !was_armed_reg) sound <= 1'b1;
        if (rst) begin
            restart_reg <= 1'b0;
            err_ecc_ce <= 1'b0;
            err_ecc_ue <= 1'b0;
            err_fifo_ovf <= 1'b0;
            err_credit_leak <= 1'b0;
            err_late <= 1'b0;
            err_stall <= 1'b0;
            was_armed_reg <= 1'b0;
            sound <= 1'b1;
        end
    end
endmodule
