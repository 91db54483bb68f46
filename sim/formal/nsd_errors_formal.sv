// nsd_errors with every input free, and upsets: in each cycle one copy of the fault latch and one
// bit of the state may be flipped (run.py patches the two in; a copy is written anew in every
// cycle, so a flip on its output is a flip of the register).
module nsd_errors_formal
    import nsd_pkg::*;
#(
    parameter int RESET_CYCLES = 32,
    parameter bit INVARIANTS = 1
) (
    input logic                       clk,
    input logic                       rst,
    input logic [ERR_COUNT-1:0]       err_strobe,
    input logic [ERR_COUNT-1:0]       cause_now,
    input logic                       ctl_enable,
    input logic                       ctl_rearm,
    input logic                       ctl_soft_reset,
    input logic [31:0]                hold_cycles,
    input logic [ERR_COUNT-1:0]       status_clear,
    input logic                       armed,
    input logic                       drained,
    input logic                       hb_write,
    input logic [31:0]                hb_limit,
    input logic                       inj_heartbeat,
    input logic [ERR_COUNT-1:0][31:0] err_info,
    input logic [ERR_COUNT-1:0]       irq_mask,
    input logic                       record_clear,
    input logic                       counters_clear,
    input logic [2:0]                 latch_flip,
    input logic [3:0]                 state_flip
);
    logic fault, arm, insp_rst, irq, hb_alive, record_valid, rearm_refused;
    logic [2:0] state, rearm_reason;
    logic [31:0] hb_remaining, record_info;
    logic [3:0] record_class;
    logic [63:0] record_cycle, cycle;
    logic [ERR_COUNT-1:0] status;
    logic [ERR_COUNT-1:0][15:0] counters;

    nsd_errors #(.RESET_CYCLES(RESET_CYCLES)) dut (.*);

    logic begun_reg = 1'b0;
    always_ff @(posedge clk) begun_reg <= 1'b1;
    always_comb if (!begun_reg) assume (rst);
    always_comb assume ($onehot0(latch_flip) && $onehot0(state_flip));

    localparam logic [2:0] STATE_ARMED = 3'd2;
    localparam int QUIET = 16 + RESET_CYCLES;  // drained cycles before frames are armed

    logic fatal, fatal_reg;  // the detectors' and the module's own; one cycle ago
    assign fatal = |((err_strobe | dut.own_reg) & ERR_FATAL);

    logic was_rst_reg, was_fault_reg, was_arm_reg, was_enable_reg, accepted_reg;
    logic [1:0] was_bad_reg;
    logic held_reg;                   // a fatal error came and no re-arm was accepted since
    logic [32:0] since_reg;           // cycles since the fault of the latest one, saturating
    logic [31:0] hold_reg;            // the hold time that was set then
    logic [6:0] quiet_reg, was_quiet_reg;  // cycles the spine has been drained, saturating
    logic [2:0] dead_reg;             // cycles armed with the heartbeat run down, saturating
    logic [31:0] was_remaining_reg;
    logic was_write_reg;

    // All that must be true for a re-arm to count, in the words of the contract. It is the cycle
    // before the strobe that counts; an error that comes later is a fault of its own.
    logic ready, ready_reg, allowed;
    assign ready = !fatal_reg && since_reg > {1'b0, hold_reg}
                   && (cause_now & ERR_FATAL) == '0 && (status & ERR_FATAL) == '0
                   && drained && !armed && state == 3'd3;
    assign allowed = ctl_rearm && ready_reg && state == 3'd3;

    always_ff @(posedge clk) begin
        was_rst_reg <= rst;
        was_fault_reg <= fault;
        was_arm_reg <= arm;
        was_enable_reg <= ctl_enable;
        was_bad_reg <= {was_bad_reg[0], dut.state_bad};
        accepted_reg <= allowed;
        ready_reg <= ready;
        fatal_reg <= fatal;
        held_reg <= fatal_reg || (held_reg && !(allowed && dut.rearm_ok));
        since_reg <= fatal_reg ? 33'd1 : since_reg + 33'(!(&since_reg));
        if (fatal_reg) hold_reg <= hold_cycles;
        quiet_reg <= !drained || armed ? '0 : quiet_reg + 7'(!(&quiet_reg));
        dead_reg <= !(arm && hb_remaining == 0) ? '0 : dead_reg + 3'(!(&dead_reg));
        was_remaining_reg <= hb_remaining;
        was_write_reg <= hb_write;
        was_quiet_reg <= quiet_reg;
        if (rst) begin
            held_reg <= 1'b0;
            fatal_reg <= 1'b0;
            ready_reg <= 1'b0;
            was_bad_reg <= '0;
            since_reg <= '1;
            hold_reg <= '0;
            quiet_reg <= '0;
            dead_reg <= '0;
        end
    end

    always_ff @(posedge clk) if (begun_reg) begin
        // A fatal error is a fault in the next cycle, and stays one until a re-arm that may count.
        if (fatal_reg) p_next_cycle: assert (fault);
        if (was_fault_reg && !fault && !was_rst_reg) p_only_rearm: assert (accepted_reg);
        if (held_reg) p_until_rearm: assert (fault);
        // Nothing is armed during a fault, after reset, or against the host's will.
        if (fault) p_no_arm_in_fault: assert (!arm);
        if (was_rst_reg) p_reset_is_bypass: assert (!arm && !insp_rst && !fault && status == 0);
        if (was_arm_reg && !was_enable_reg) p_disable: assert (!arm);
        // Frames are armed anew only after the spine has been seen empty of armed frames.
        if (arm && !was_arm_reg) p_arm_when_quiet: assert (was_quiet_reg >= 7'(QUIET));
        if (insp_rst) p_reset_when_quiet: assert (quiet_reg != 0);
        // A dead host: at most three cycles armed after its time ran out.
        p_dead_host: assert (dead_reg <= 3'd3);
        if (!was_rst_reg && !was_write_reg)
            p_time_runs: assert (hb_remaining == 0 || hb_remaining < was_remaining_reg);
        // A state that is none is not armed, and a fault two cycles later.
        if (dut.state_bad) p_bad_state_off: assert (!arm);
        if (was_bad_reg[1]) p_bad_state_fault: assert (fault);
        c_armed: cover (arm);
        c_rearmed: cover (!was_rst_reg && was_fault_reg && !fault);
    end

    if (INVARIANTS) begin : gen_invariants
        always_ff @(posedge clk) if (begun_reg) begin
            // The copies, as written: they agree.
            assert (dut.g_latch[0].copy_reg == held_reg);
            assert (dut.g_latch[1].copy_reg == held_reg);
            assert (dut.g_latch[2].copy_reg == held_reg);
            assert (dut.settle_reg <= quiet_reg && dut.settle_reg <= 7'(QUIET));
            assert (since_reg != 0);
            assert (dut.hold_reg == (since_reg > {1'b0, hold_reg} ? 32'd0
                                     : hold_reg - since_reg[31:0] + 32'd1));
            assert (dut.hold_busy_reg || since_reg > {1'b0, hold_reg});
            assert (dut.sticky_reg || (status & ERR_FATAL) == 0 || fatal_reg);
            assert (fatal_reg == dut.fatal_reg);
            assert (!dut.may_rearm_reg || ready_reg);
            assert (dead_reg == 0 || !dut.alive_reg);
            assert (dead_reg < 2 || dut.own_reg[ERR_HEARTBEAT] || fatal_reg || dut.latched);
            assert (dead_reg < 3 || fatal_reg || dut.latched);
            assert (!was_bad_reg[0] || dut.own_reg[ERR_PARITY]);
            assert (!was_bad_reg[1] || fatal_reg);
        end
    end
endmodule
