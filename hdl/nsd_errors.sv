// The error unit: latches faults, decides when frames may be inspected, and keeps the records.
//
//   DISARMED -> ARMING     enabled, no fault, the host's heartbeat alive
//   ARMING -> ARMED        the spine drained for RESET_CYCLES, the inspection reset meanwhile
//   ARMED, ARMING -> DISARMED   no longer enabled (ARMING also: heartbeat dead)
//   any but RESETTING -> FAULT  a fault is latched
//   FAULT -> DISARMED      re-arm accepted: hold time over, no cause active, fatal status bits
//                          cleared, spine drained, no fatal error in this very cycle
//   any -> RESETTING -> DISARMED or FAULT   soft reset: drain, reset the inspection; a latched
//                          fault stays latched
//
// `arm` is high in ARMED alone and never with `fault`. Reset gives DISARMED: everything passes.
//
// What guards the guard: the fault latch has three copies, voted, the voted value written back
// each cycle. One copy that differs changes nothing, is repaired, and is reported as ECC_CE
// (corrected) with info[31] set and the copies in info[2:0]. Two upset copies give a fault, or
// leave the state FAULT behind, which holds `arm` low on its own. States are two bits apart: one
// flipped bit is no state, drops `arm` at once and is the fatal error PARITY, info[31] set and
// the bits in info[3:0]. HEARTBEAT is raised here alone (while ARMED only).
//
// Detectors hold err_info valid with their strobe. `fault` rises in the next cycle, which is also
// the one record_cycle names; records come four cycles after the strobe.
module nsd_errors
    import nsd_pkg::*;
#(
    // Cycles the inspection's reset lasts, 1 to 63; at least the longest delay without reset.
    parameter int RESET_CYCLES = 32
) (
    input  logic                       clk,
    input  logic                       rst,

    input  logic [ERR_COUNT-1:0]       err_strobe,
    input  logic [ERR_COUNT-1:0][31:0] err_info,
    input  logic [ERR_COUNT-1:0]       cause_now,     // level: the cause is still there

    input  logic                       ctl_enable,
    input  logic                       ctl_rearm,     // strobe
    input  logic                       ctl_soft_reset,  // strobe
    input  logic [31:0]                hold_cycles,
    input  logic [ERR_COUNT-1:0]       irq_mask,
    input  logic [ERR_COUNT-1:0]       status_clear,  // strobes
    input  logic                       record_clear,  // strobe
    input  logic                       counters_clear,  // strobe

    input  logic                       armed,         // of the spine: entering frames are armed
    input  logic                       drained,       // of the spine: it holds no armed frame

    input  logic                       hb_write,      // strobe: the host lives
    input  logic [31:0]                hb_limit,      // cycles from one beat to the error
    input  logic                       inj_heartbeat,  // strobe
    output logic [31:0]                hb_remaining,
    output logic                       hb_alive,

    output logic                       fault,
    output logic                       arm,
    output logic                       insp_rst,
    output logic                       irq,
    output logic [2:0]                 state,         // state_e of hdl/regs/nsd.rdl
    output logic [ERR_COUNT-1:0]       status,
    output logic [ERR_COUNT-1:0][15:0] counters,
    output logic                       record_valid,
    output logic [3:0]                 record_class,
    output logic [31:0]                record_info,
    output logic [63:0]                record_cycle,  // the cycle after the strobe
    output logic [63:0]                cycle,         // cycles since reset
    output logic                       rearm_refused,
    output logic [2:0]                 rearm_reason   // rearm_reason_e of hdl/regs/nsd.rdl
);
    if (RESET_CYCLES < 1 || RESET_CYCLES > 63) $fatal(1, "nsd_errors: RESET_CYCLES must be 1 to 63");

    // Cycles the spine must be seen drained before the inspection is reset, and cycles between
    // that reset and the first armed frame.
    localparam int SETTLE = 8;
    localparam int ALL_CYCLES = SETTLE + RESET_CYCLES + SETTLE;

    // Even parity: no two states are one bit apart.
    typedef enum logic [3:0] {
        DISARMED  = 4'b0011,
        ARMING    = 4'b0101,
        ARMED     = 4'b0110,
        FAULT     = 4'b1001,
        RESETTING = 4'b1010
    } state_t;

    localparam logic [2:0] REASON_NONE = 3'd0;
    localparam logic [2:0] REASON_NOT_IN_FAULT = 3'd1;
    localparam logic [2:0] REASON_HOLD = 3'd2;
    localparam logic [2:0] REASON_CAUSE = 3'd3;
    localparam logic [2:0] REASON_STATUS = 3'd4;
    localparam logic [2:0] REASON_NOT_DRAINED = 3'd5;

    // --- errors of this cycle: the detectors' and this module's own -------------------------
    logic [ERR_COUNT-1:0] own_reg, strobe;
    logic [31:0]          own_info_reg;
    logic                 fatal_reg, state_bad, latch_upset, heartbeat_lost;

    assign strobe = err_strobe | own_reg;

    // Registered, so that `fault` is one level of logic in front of the whole exit of the spine.
    always_ff @(posedge clk) fatal_reg <= |(strobe & ERR_FATAL) && !rst;
    // The same for `fault` alone: what drives much is slow.
    (* keep, dont_touch = "true" *) logic fatal_out_reg;
    (* keep *) always_ff @(posedge clk) fatal_out_reg <= |(strobe & ERR_FATAL) && !rst;

    // --- the fault latch, three times -------------------------------------------------------
    logic [2:0] copies;
    logic       latched, latch_next, rearm_ok;

    assign latched = (copies[0] && copies[1]) || (copies[1] && copies[2]) || (copies[0] && copies[2]);
    assign latch_upset = copies != 3'b000 && copies != 3'b111;
    assign latch_next = fatal_reg || (latched && !rearm_ok);
    assign fault = latched || fatal_out_reg;

    // What the states see of it is a copy of its own, to spare their path the vote: `arm` has the
    // vote, and an upset of this copy is gone in the next cycle; at worst it makes the state FAULT.
    (* keep, dont_touch = "true" *) logic seen_reg;
    logic seen;
    (* keep *) always_ff @(posedge clk) seen_reg <= latch_next && !rst;
    assign seen = seen_reg || fatal_reg;

    for (genvar i = 0; i < 3; i++) begin : g_latch
        // `keep` on the process is what stops Yosys from merging the copies, on the register
        // (with dont_touch) what stops others.
        (* keep, dont_touch = "true" *) logic copy_reg;
        assign copies[i] = copy_reg;
        (* keep *) always_ff @(posedge clk) begin
            copy_reg <= latch_next;
            if (rst) copy_reg <= 1'b0;
        end
    end

    // --- the host's heartbeat ---------------------------------------------------------------
    logic [31:0] remaining_reg;
    logic        alive_reg;

    assign hb_remaining = remaining_reg;
    assign hb_alive = alive_reg;

    always_ff @(posedge clk) begin
        if (hb_write) remaining_reg <= hb_limit;
        else if (remaining_reg != 0) remaining_reg <= remaining_reg - 1;
        if (inj_heartbeat) remaining_reg <= '0;
        alive_reg <= remaining_reg != 0;
        if (rst) begin
            remaining_reg <= '0;
            alive_reg <= 1'b0;
        end
    end

    // --- states -----------------------------------------------------------------------------
    (* fsm_encoding = "none" *) logic [3:0] state_reg;
    logic [3:0] state_next;
    logic [6:0] settle_reg, settle_next;
    logic       settling, settled, insp_rst_reg;

    assign settling = state_reg == ARMING || state_reg == RESETTING;
    assign settled = settle_reg == 7'(ALL_CYCLES);
    // The spine must stay drained all the while; nothing can arm it in these states.
    assign settle_next = !settling || !drained || armed ? '0 : settle_reg + 7'(!settled);
    assign state_bad = !(state_reg inside {DISARMED, ARMING, ARMED, FAULT, RESETTING});
    // Once: `fault` follows two cycles after, and the state three.
    assign heartbeat_lost = state_reg == ARMED && !alive_reg && !own_reg[ERR_HEARTBEAT] && !fault;
    assign arm = state_reg == ARMED && !fault;
    assign insp_rst = insp_rst_reg;

    always_comb begin
        unique case (state_reg)
            DISARMED: state = 3'd0;
            ARMING: state = 3'd1;
            ARMED: state = 3'd2;
            RESETTING: state = 3'd4;
            default: state = 3'd3;
        endcase
    end

    always_comb begin
        state_next = state_reg;
        unique case (state_reg)
            DISARMED:
                if (ctl_soft_reset) state_next = RESETTING;
                else if (seen) state_next = FAULT;
                else if (ctl_enable && alive_reg) state_next = ARMING;
            ARMING:
                if (ctl_soft_reset) state_next = RESETTING;
                else if (seen) state_next = FAULT;
                else if (!ctl_enable || !alive_reg) state_next = DISARMED;
                else if (settled) state_next = ARMED;
            ARMED:
                if (ctl_soft_reset) state_next = RESETTING;
                else if (seen) state_next = FAULT;
                else if (!ctl_enable) state_next = DISARMED;
            FAULT:
                if (ctl_soft_reset) state_next = RESETTING;
                else if (rearm_ok) state_next = DISARMED;
            RESETTING:
                if (settled) state_next = seen ? FAULT : DISARMED;
            default: state_next = FAULT;
        endcase
    end

    // --- re-arm -----------------------------------------------------------------------------
    logic [31:0] hold_reg;
    logic        hold_busy_reg, cause_reg, sticky_reg;
    logic [2:0]  reason;

    // Registered to spare the path: a cause or a bit that has just gone counts one cycle longer;
    // one that has just come does so by fatal_reg.
    always_ff @(posedge clk) begin
        if (fatal_reg) hold_reg <= hold_cycles;
        else if (hold_reg != 0) hold_reg <= hold_reg - 1;
        hold_busy_reg <= fatal_reg || hold_reg != 0;
        cause_reg <= |(cause_now & ERR_FATAL);
        sticky_reg <= fatal_reg || |(status & ERR_FATAL);
        if (rst) begin
            hold_reg <= '0;
            hold_busy_reg <= 1'b0;
            cause_reg <= 1'b0;
            sticky_reg <= 1'b0;
        end
    end

    always_comb begin
        if (state_reg != FAULT || ctl_soft_reset) reason = REASON_NOT_IN_FAULT;
        else if (hold_busy_reg) reason = REASON_HOLD;
        else if (cause_reg || |(cause_now & ERR_FATAL) || fatal_reg) reason = REASON_CAUSE;
        else if (sticky_reg) reason = REASON_STATUS;
        else if (!drained || armed) reason = REASON_NOT_DRAINED;
        else reason = REASON_NONE;
    end
    // The answer of the cycle before: what has come since is an error of its own, and wins.
    logic [2:0] reason_reg;
    logic       may_rearm_reg;
    assign rearm_ok = ctl_rearm && may_rearm_reg && state_reg == FAULT && !ctl_soft_reset;

    always_ff @(posedge clk) begin
        state_reg <= state_next;
        settle_reg <= settle_next;
        insp_rst_reg <= settling && drained && !armed && settle_reg >= 7'(SETTLE)
            && settle_reg < 7'(SETTLE + RESET_CYCLES);
        own_reg <= '0;
        own_reg[ERR_ECC_CE] <= latch_upset;
        own_reg[ERR_PARITY] <= state_bad;
        own_reg[ERR_HEARTBEAT] <= heartbeat_lost;
        own_info_reg <= state_bad ? {1'b1, 27'd0, state_reg} : {1'b1, 28'd0, copies};
        reason_reg <= reason;
        may_rearm_reg <= reason == REASON_NONE;
        if (ctl_rearm) begin
            rearm_refused <= !rearm_ok;
            rearm_reason <= rearm_ok ? REASON_NONE
                : may_rearm_reg ? REASON_NOT_IN_FAULT : reason_reg;
        end
        if (rst) begin
            state_reg <= DISARMED;
            settle_reg <= '0;
            insp_rst_reg <= 1'b0;
            own_reg <= '0;
            may_rearm_reg <= 1'b0;
            reason_reg <= REASON_NOT_IN_FAULT;
            rearm_refused <= 1'b0;
            rearm_reason <= REASON_NONE;
        end
    end

    // --- records ----------------------------------------------------------------------------
    nsd_error_record i_record (
        .clk(clk), .rst(rst), .strobe(strobe), .err_info(err_info), .own(own_reg),
        .own_info(own_info_reg), .irq_mask(irq_mask), .status_clear(status_clear),
        .record_clear(record_clear), .counters_clear(counters_clear), .irq(irq), .status(status),
        .counters(counters), .record_valid(record_valid), .record_class(record_class),
        .record_info(record_info), .record_cycle(record_cycle), .cycle(cycle)
    );
endmodule
