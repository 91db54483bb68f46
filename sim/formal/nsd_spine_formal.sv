// nsd_spine with everything that inspection and control say left free: verdicts, fault, arm,
// reset, traffic and the sink's ready.
//
// One beat at a time is picked at will when it is accepted, and followed until it leaves: it is
// loaded into the output register (`fresh` on m_axis) or dropped (`gone`, one cycle later). All
// statements about it hold for every beat, because any could have been picked. Statements about
// frames are made of two: of a frame's first beat, and of any other beat and its predecessor.
//
// What the ports show is in this file; what only the induction needs is in nsd_spine_inside.
module nsd_spine_formal
    import nsd_pkg::*;
    import nsd_ecc_pkg::*;
#(
    parameter int DATA_W = 64,
    parameter int LATENCY = 18,
    parameter int DEPTH = 64,
    parameter bit INVARIANTS = 1,
    localparam int KEEP_W = DATA_W / 8,
    localparam int LANES = DATA_W / 64,
    localparam int PTR_W = $clog2(DEPTH) + 1,
    localparam int COUNT_W = PTR_W + 1,
    localparam int AGE_W = $clog2(LATENCY + 8)
) (
    input logic              clk,
    input logic              rst,
    input logic [DATA_W-1:0] s_axis_tdata,
    input logic [KEEP_W-1:0] s_axis_tkeep,
    input logic              s_axis_tvalid,
    input logic              s_axis_tlast,
    input logic [0:0]        s_axis_tuser,
    input logic              m_axis_tready,
    input logic              dec_valid,
    input logic [1:0]        dec_action,
    input logic              fin_valid,
    input logic [2:0]        fin_verdict,
    input logic              arm,
    input logic              fault,
    input logic              track         // pick the beat accepted in this cycle
);
    logic              s_axis_tready, m_axis_tvalid, m_axis_tlast;
    logic [DATA_W-1:0] m_axis_tdata, tap_data;
    logic [KEEP_W-1:0] m_axis_tkeep, tap_keep;
    logic [3:0]        m_axis_tuser;
    logic              tap_valid, tap_last, tap_first, tap_dec;
    logic [LANES-1:0]  tap_parity;
    logic              armed, drained, sound, frame_in, frame_out;
    logic              err_ecc_ce, err_ecc_ue, err_fifo_ovf, err_credit_leak, err_late, err_stall;
    logic [31:0]       err_info;
    verdict_t          frame_out_verdict;
    logic [PTR_W-1:0]  occupancy;

    nsd_spine #(.DATA_W(DATA_W), .LATENCY(LATENCY), .DEPTH(DEPTH)) dut (
        .*, .inj_ecc_ce(1'b0), .inj_ecc_ue(1'b0), .inj_fifo_ovf(1'b0), .inj_credit_leak(1'b0),
        .inj_late(1'b0), .inj_stall(1'b0));

    logic begun_reg = 1'b0;  // a reset has been
    always_ff @(posedge clk) begun_reg <= 1'b1;
    always_comb if (!begun_reg) assume (rst);

    // --- one cycle ago ----------------------------------------------------------------------
    logic was_rst_reg, was_valid_reg, was_ready_reg, was_fault_reg, was_arm_reg, gone_reg;
    logic was_last_reg;
    logic [DATA_W-1:0] was_data_reg;
    logic [KEEP_W-1:0] was_keep_reg;
    logic [3:0] was_user_reg;
    always_ff @(posedge clk) begin
        was_rst_reg <= rst;
        was_valid_reg <= m_axis_tvalid && !rst;
        was_ready_reg <= m_axis_tready;
        was_fault_reg <= fault;
        was_arm_reg <= arm;
        was_data_reg <= m_axis_tdata;
        was_keep_reg <= m_axis_tkeep;
        was_last_reg <= m_axis_tlast;
        was_user_reg <= m_axis_tuser;
        gone_reg <= dut.u_exit.pop && dut.u_exit.drop && !rst;
    end

    // --- what goes in and out ---------------------------------------------------------------
    logic accept, fresh, gone, leave, is_fault;
    assign accept = s_axis_tvalid && s_axis_tready;
    assign fresh = m_axis_tvalid && (!was_valid_reg || was_ready_reg);
    assign gone = gone_reg;
    assign leave = fresh || gone;
    assign is_fault = m_axis_tuser[2:0] == VERDICT_FAULT;

    logic [COUNT_W-1:0] inside_reg;  // accepted and not yet left
    logic open_reg, frame_armed_reg; // of the frame being accepted
    logic last_gone_reg, last_fault_reg;  // how the latest beat left
    logic beat_armed;
    assign beat_armed = open_reg ? frame_armed_reg : armed;

    // --- the picked beat --------------------------------------------------------------------
    logic live_reg, mine;
    logic [COUNT_W-1:0] ahead_reg;   // beats inside that must leave before it
    logic [DATA_W-1:0]  data_reg;
    logic [KEEP_W-1:0]  keep_reg;
    logic               last_reg, user_reg, first_reg, armed_reg;
    logic [AGE_W-1:0]   age_reg;     // cycles since its handshake, saturating
    logic [AGE_W-1:0]   dec_age_reg; // cycles since the tap of its frame's decision, 0: not yet
    logic               dec_ok_reg, fin_ok_reg;
    logic               waits_reg;   // it is armed, at the exit, and was not taken at once
    logic [1:0]         action_reg;
    logic [2:0]         verdict_reg;
    localparam logic [AGE_W-1:0] OLD = AGE_W'(LATENCY + 7);
    localparam logic [AGE_W-1:0] DEC_OLD = AGE_W'(LATENCY + 1);
    assign mine = live_reg && leave && ahead_reg == 0;

    always_ff @(posedge clk) begin
        inside_reg <= inside_reg + COUNT_W'(accept) - COUNT_W'(leave);
        if (accept) begin
            open_reg <= !s_axis_tlast;
            frame_armed_reg <= beat_armed;
        end
        if (leave) begin
            last_gone_reg <= gone;
            last_fault_reg <= fresh && is_fault;
        end
        waits_reg <= m_axis_tvalid && !m_axis_tready && (waits_reg || (mine && fresh && armed_reg));
        if (live_reg) begin
            if (leave) ahead_reg <= ahead_reg - 1'b1;
            if (mine) live_reg <= 1'b0;
            if (age_reg != OLD) age_reg <= age_reg + 1'b1;
            // Only a first beat waits for its frame's decision.
            if (dec_age_reg != 0 && dec_age_reg != DEC_OLD) dec_age_reg <= dec_age_reg + 1'b1;
            else if (dec_age_reg == 0 && first_reg && tap_valid && tap_dec) dec_age_reg <= 1;
            if (dec_age_reg == AGE_W'(LATENCY)) begin
                dec_ok_reg <= dec_valid && dec_action != 2'd3;
                action_reg <= dec_action;
            end
            if (age_reg == AGE_W'(LATENCY + 1)) begin
                fin_ok_reg <= fin_valid && fin_verdict != 0 && fin_verdict <= 3'd4;
                verdict_reg <= fin_verdict;
            end
        end else if (accept && track) begin
            live_reg <= 1'b1;
            ahead_reg <= inside_reg - COUNT_W'(leave);
            data_reg <= s_axis_tdata;
            keep_reg <= s_axis_tkeep;
            last_reg <= s_axis_tlast;
            user_reg <= s_axis_tuser;
            first_reg <= !open_reg;
            armed_reg <= beat_armed;
            age_reg <= 1;
            dec_age_reg <= 0;
            dec_ok_reg <= 1'b0;
            fin_ok_reg <= 1'b0;
        end
        if (rst) begin
            inside_reg <= '0;
            open_reg <= 1'b0;
            last_gone_reg <= 1'b0;
            last_fault_reg <= 1'b0;
            live_reg <= 1'b0;
            waits_reg <= 1'b0;
        end
    end

    // --- statements -------------------------------------------------------------------------
    logic decided;  // the decision about the picked first beat's frame is known and legal
    assign decided = dec_ok_reg && armed_reg;

    always_comb if (begun_reg) begin
        // Nothing lost, made, reordered or changed.
        p_nothing_made: assert (!leave || inside_reg != 0);
        p_one_way_out: assert (!(fresh && gone));
        if (mine && fresh) begin
            p_data_kept: assert (m_axis_tdata == data_reg);
            p_keep_kept: assert (m_axis_tkeep == keep_reg);
            p_last_kept: assert (m_axis_tlast == last_reg);
            p_user_kept: assert (m_axis_tuser[3] == user_reg);
        end
        // AXI: what waits does not change, not even its verdict.
        if (was_valid_reg && !was_ready_reg && !was_rst_reg) begin
            p_stable_valid: assert (m_axis_tvalid);
            p_stable_payload: assert (m_axis_tdata == was_data_reg && m_axis_tkeep == was_keep_reg
                                      && m_axis_tlast == was_last_reg);
            p_stable_tuser: assert (m_axis_tuser == was_user_reg);
        end
        // A whole frame leaves the way its first beat does, and a verdict FAULT stays.
        if (mine && !first_reg) begin
            p_no_fragment: assert (gone == last_gone_reg);
            if (last_fault_reg) p_fault_stays: assert (is_fault);
        end
        // A drop is decided at the start, by a BLOCK in its own cycle, armed and without fault.
        if (mine && first_reg) begin
            if (gone) begin
                p_drop_armed: assert (armed_reg);
                p_drop_asked: assert (decided && action_reg == ACTION_BLOCK);
                p_drop_no_fault: assert (!was_fault_reg);
            end else begin
                if (!armed_reg) p_unarmed_is_fault: assert (is_fault);
                if (!decided) p_undecided_is_fault: assert (is_fault);
                if (decided && action_reg == ACTION_BLOCK)
                    p_block_obeyed: assert (was_fault_reg);
            end
        end
        // A beat loaded during a fault says so.
        if (fresh && was_fault_reg) p_fault_is_fault: assert (is_fault);
        if (mine && fresh) p_block_never_seen: assert (m_axis_tuser[2:0] < 3'd4);
        if (mine && fresh && !is_fault) begin
            // A verdict that vouches for something was said of this very beat.
            if (last_reg) p_verdict_said: assert (fin_ok_reg && armed_reg &&
                                                  m_axis_tuser[2:0] == verdict_reg);
            else p_open_verdict: assert (m_axis_tuser[2:0] == VERDICT_SUSPECT ||
                                         m_axis_tuser[2:0] == VERDICT_BYPASS);
            if (first_reg && !last_reg)
                p_open_bypass: assert ((m_axis_tuser[2:0] == VERDICT_BYPASS) ==
                                       (action_reg == ACTION_BYPASS));
        end
        // Armed is what arm said, and not during a fault.
        if (!was_rst_reg) p_armed: assert (armed == (was_arm_reg && !was_fault_reg));
        else p_reset_not_armed: assert (!armed && !m_axis_tvalid && !s_axis_tready && drained);
        // Drained is without any beat of an armed frame, the one that waits at the exit included.
        if (live_reg && armed_reg && age_reg > 2) p_not_drained: assert (!drained);
        if (waits_reg) p_waits_not_drained: assert (!drained);
        // No false alarm, whatever is said and done. (err_late is inspection's fault.)
        p_quiet: assert (!(err_fifo_ovf || err_credit_leak || err_stall));
        p_no_overflow: assert (inside_reg <= COUNT_W'(DEPTH + 1));
    end

    // The picked beat's slot, told by the pointer at its handshake.
    logic [PTR_W-1:0] slot_reg;
    logic passed_release;
    always_ff @(posedge clk) if (!live_reg && accept) slot_reg <= dut.wr_ptr_reg;
    logic [PTR_W-1:0] behind;
    assign behind = dut.rel_ptr - slot_reg;
    assign passed_release = behind != '0 && behind <= PTR_W'(DEPTH);

    // Progress: the time until a beat may leave is a matter of the traffic alone.
    logic [1:0] idle_reg;   // cycles in which the sink was ready, a beat was due and none came
    logic due;
    assign due = dut.u_exit.released != '0 || dut.u_exit.h_valid_reg;  // a beat may leave
    always_ff @(posedge clk) begin
        if (leave || !due || (m_axis_tvalid && !m_axis_tready) || rst) idle_reg <= '0;
        else if (idle_reg != 2'd3) idle_reg <= idle_reg + 1'b1;
    end
    always_comb if (begun_reg) begin
        p_progress: assert (idle_reg < 2'd3);
        // Its frame's decision beat visible, a first beat is released, answered or not.
        if (live_reg && !mine && first_reg && dec_age_reg == DEC_OLD)
            p_released: assert (passed_release);
    end
    if (INVARIANTS) begin : gen_inside
        `include "nsd_spine_inside.svh"
    end

    always_comb if (begun_reg) begin
        c_drop: cover (mine && gone && !first_reg && last_reg);
        c_clear: cover (mine && fresh && m_axis_tuser[2:0] == VERDICT_CLEAR);
        c_fault_in_frame: cover (mine && fresh && !first_reg && is_fault && !last_fault_reg);
    end
endmodule
