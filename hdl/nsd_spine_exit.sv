// The spine's exit: takes beats that may leave, drops or permits frames, drives m_axis.
//
// cycle 0  the head beat is at hand and released: taken into the head register, its slot free
// cycle 1  head register: drop or permit is decided, the verdict chosen
// cycle 2  output register: m_axis
//
// Dropping is decided on a frame's first beat alone: the frame entered armed, its action is BLOCK,
// nothing is wrong with the beat, and `fault` is low in that cycle. A dropped frame's beats leave
// the head register one per cycle, whatever m_axis does; a fault later on changes nothing, so
// m_axis never sees a fragment. A frame begun on m_axis is finished on m_axis.
//
// Framing comes from the stored `last`, or from the delay line's when the stored one could not be
// corrected; the delay line's `first` begins a frame even if the last one never ended. A
// contradiction between the two is reported as err_framing.
//
// The verdict is FAULT from the first beat on that is loaded while `fault` is high, or that is
// uncorrectable, to the frame's end; and for all of a frame that was not armed or whose decision
// was late. It is latched with the beat, so nothing changes while m_axis waits.
//
// Watchdog: STALL_LIMIT cycles in which a beat could leave and none does. It ends an injected
// freeze and makes the prefetch start again.
module nsd_spine_exit
    import nsd_pkg::*;
#(
    // Data bits of a beat: 64 or 512.
    parameter int DATA_W = 64,
    // Bits of a slot pointer, wrap bit included.
    parameter int PTR_W = 7,
    // Cycles without progress that are a stall, 16 to 65535.
    parameter int STALL_LIMIT = 1024,
    localparam int KEEP_W = DATA_W / 8
) (
    input  logic              clk,
    input  logic              rst,

    input  logic [PTR_W-1:0]  rel_ptr,     // beats before it may leave
    input  logic              resync,      // the pointers contradict each other: start from rel_ptr
    output logic [PTR_W-1:0]  head_ptr,    // the slot wanted next; all before are free
    output logic              head_take,   // it is taken in this cycle
    input  logic              head_valid,
    input  logic [DATA_W-1:0] head_data,
    input  logic [KEEP_W-1:0] head_keep,
    input  logic              head_user,
    input  logic              head_last,
    input  logic              head_armed,
    input  logic              head_ue,
    input  logic              line_first,  // what the delay line says of the same slot
    input  logic              line_last,
    input  logic [1:0]        line_action,
    input  verdict_t          line_verdict,

    input  logic              fault,
    input  logic              inj_stall,

    output logic [DATA_W-1:0] m_axis_tdata,
    output logic [KEEP_W-1:0] m_axis_tkeep,
    output logic              m_axis_tvalid,
    input  logic              m_axis_tready,
    output logic              m_axis_tlast,
    output logic [3:0]        m_axis_tuser,

    output logic              armed_inside,  // an armed beat in the head or output register
    output logic              busy,          // any beat there
    output logic              err_stall,     // strobe
    output logic              err_framing,   // strobe
    output logic              frame_out,     // strobe: a frame's last beat loaded or dropped
    output verdict_t          frame_out_verdict
);
    localparam int COUNT_W = $clog2(STALL_LIMIT + 1);

    // --- head register ----------------------------------------------------------------------
    logic [PTR_W-1:0]  head_reg, released;
    logic              early_reg;     // the exit is past rel_ptr: only an upset can bring that
    logic              take, pop;
    logic              h_valid_reg;
    logic [DATA_W-1:0] h_data_reg;
    logic [KEEP_W-1:0] h_keep_reg;
    logic              h_user_reg, h_last_reg, h_armed_reg, h_first_reg;
    logic              h_block_reg;   // would be dropped if it opens a frame
    logic              h_bypass_reg;
    logic              h_plain_reg;   // if it opens a frame, that frame is FAULT
    logic              h_ue_reg;
    verdict_t          h_verdict_reg;
    logic              may_leave;

    assign head_ptr = head_reg;
    assign head_take = take;
    assign released = rel_ptr - head_reg;
    // Unequal, not less: a subtraction here would be the longest path of the spine.
    assign may_leave = rel_ptr != head_reg && !early_reg;
    assign take = head_valid && may_leave && (!h_valid_reg || pop);

    always_ff @(posedge clk) begin
        early_reg <= released > PTR_W'(2 ** (PTR_W - 1));
        err_framing <= take && !head_ue && head_last != line_last;
        if (take) begin
            head_reg <= head_reg + 1'b1;
            h_data_reg <= head_data;
            h_keep_reg <= head_keep;
            h_user_reg <= head_user;
            h_last_reg <= head_ue ? line_last : head_last;
            h_armed_reg <= head_armed;
            h_first_reg <= line_first;
            h_ue_reg <= head_ue;
            h_block_reg <= line_first && head_armed && !head_ue && line_action == ACTION_BLOCK;
            h_bypass_reg <= line_action == ACTION_BYPASS;
            h_plain_reg <= !line_first || !head_armed || line_action == 2'd3;
            h_verdict_reg <= line_verdict;
        end
        h_valid_reg <= take || (h_valid_reg && !pop);
        if (resync) head_reg <= rel_ptr;
        if (rst) begin
            head_reg <= '0;
            h_valid_reg <= 1'b0;
            err_framing <= 1'b0;
            early_reg <= 1'b0;
        end
    end

    // --- drop or permit ---------------------------------------------------------------------
    logic open_reg, drop_reg, plain_reg, bypass_reg;  // of the frame in progress
    logic start, drop, load, plain, bypass, out_ready, freeze_reg;
    assign start = h_first_reg || !open_reg;
    assign drop = start ? h_block_reg && !fault : drop_reg;
    assign out_ready = !m_axis_tvalid || m_axis_tready;
    assign pop = h_valid_reg && !freeze_reg && (out_ready || drop);
    assign load = pop && !drop;
    assign plain = fault || h_ue_reg || (start ? h_plain_reg : plain_reg);
    assign bypass = start ? h_bypass_reg : bypass_reg;

    verdict_t verdict;
    always_comb begin
        if (plain) verdict = VERDICT_FAULT;
        else if (h_last_reg) verdict = h_verdict_reg;
        else if (bypass) verdict = VERDICT_BYPASS;
        else verdict = VERDICT_SUSPECT;
    end

    logic armed_out_reg;
    always_ff @(posedge clk) begin
        if (pop) begin
            open_reg <= !h_last_reg;
            drop_reg <= drop;
            plain_reg <= plain;
            bypass_reg <= bypass;
        end
        // The payload moves whenever the output is free, so `drop` and `fault` stay out of the
        // enable of the wide registers.
        if (out_ready) begin
            m_axis_tdata <= h_data_reg;
            m_axis_tkeep <= h_keep_reg;
            m_axis_tlast <= h_last_reg;
            m_axis_tuser <= {h_user_reg, verdict};
            armed_out_reg <= h_armed_reg;
            m_axis_tvalid <= load;
        end
        frame_out <= pop && h_last_reg;
        frame_out_verdict <= drop ? VERDICT_BLOCK : verdict;
        if (rst) begin
            open_reg <= 1'b0;
            drop_reg <= 1'b0;
            m_axis_tvalid <= 1'b0;
            frame_out <= 1'b0;
        end
    end
    assign armed_inside = (h_valid_reg && h_armed_reg) || (m_axis_tvalid && armed_out_reg);
    assign busy = h_valid_reg || m_axis_tvalid;

    // --- watchdog ---------------------------------------------------------------------------
    logic [COUNT_W-1:0] count_reg;
    logic waits_reg, popped_reg, trip;
    assign trip = count_reg >= COUNT_W'(STALL_LIMIT);
    always_ff @(posedge clk) begin
        popped_reg <= pop || !(h_valid_reg || may_leave);
        waits_reg <= (h_valid_reg || may_leave) && (out_ready || drop) && !pop;
        if (popped_reg || trip) count_reg <= '0;
        else if (waits_reg) count_reg <= count_reg + 1'b1;
        err_stall <= trip;
        freeze_reg <= inj_stall || (freeze_reg && !trip);
        if (rst) begin
            popped_reg <= 1'b0;
            waits_reg <= 1'b0;
            count_reg <= '0;
            err_stall <= 1'b0;
            freeze_reg <= 1'b0;
        end
    end
endmodule
