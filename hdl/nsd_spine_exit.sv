// The spine's exit: takes beats that may leave, drops or permits frames, drives m_axis.
//
// cycle 0  the head beat is at hand and released: taken into the head register, its slot free
//          (the payload stays in the prefetch's cache, which keeps it until the beat has left)
// cycle 1  head register: drop or permit is decided, the verdict chosen
//          (a beat taken while that is held waits in a second register: so nothing about taking
//          depends on m_axis, `fault` or the drop, which come late)
// cycle 2  output register: m_axis
//
// Dropping is decided on a frame's first beat alone: the frame entered armed, its action is BLOCK,
// nothing is wrong with the beat, and `fault` is low in that cycle. A dropped frame's beats leave
// the head register one per cycle, whatever m_axis does; a fault later on changes nothing, so
// m_axis never sees a fragment. A frame begun on m_axis is finished on m_axis.
//
// Framing comes from the stored `last`, or from the delay line's when the stored one could not be
// corrected: the beat after it begins a frame. So does one that the delay line calls a first and
// the one before it a last. A contradiction between the two is reported as err_framing.
//
// What says that the last frame has ended, that the beat begins one, that it is to be dropped and
// that the beat before it was, is kept three times and voted: no single upset of it begins or ends
// a drop inside a frame. Each beat writes it anew.
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
    // Low bits of a slot that name its entry in the prefetch's cache.
    parameter int CACHE_W = 4,
    localparam int KEEP_W = DATA_W / 8
) (
    input  logic              clk,
    input  logic              rst,

    input  logic [PTR_W-1:0]  rel_ptr,     // beats before it may leave
    input  logic              rel_stays,   // it is the same in the next cycle, else vis_ptr
    input  logic [PTR_W-1:0]  vis_ptr,
    input  logic              resync,      // the pointers contradict each other: start from rel_ptr
    output logic [PTR_W-1:0]  head_ptr,    // the slot wanted next; all before are free
    output logic [PTR_W-1:0]  next_ptr,    // the slot after it
    output logic              head_take,   // it is taken in this cycle
    input  logic              head_valid,
    input  logic              head_user,
    input  logic              head_last,
    input  logic              head_armed,
    input  logic              head_ue,
    input  logic              line_first,  // what the delay line says of the same slot
    input  logic              line_last,
    input  logic [1:0]        line_action,
    input  verdict_t          line_verdict,
    output logic [CACHE_W-1:0] h_entry,    // where the payload of the head register is
    input  logic [DATA_W-1:0] h_data,
    input  logic [KEEP_W-1:0] h_keep,

    input  logic              fault,
    input  logic              inj_stall,

    output logic [DATA_W-1:0] m_axis_tdata,
    output logic [KEEP_W-1:0] m_axis_tkeep,
    output logic              m_axis_tvalid,
    input  logic              m_axis_tready,
    output logic              m_axis_tlast,
    output logic [3:0]        m_axis_tuser,

    output logic              armed_inside,  // an armed beat in one of the three registers
    output logic              busy,          // any beat there
    output logic              err_stall,     // strobe
    output logic              err_framing,   // strobe
    output logic              frame_out,     // strobe: a frame's last beat loaded or dropped
    output verdict_t          frame_out_verdict
);
    localparam int COUNT_W = $clog2(STALL_LIMIT + 1);

    function automatic logic vote(input logic [2:0] copies);
        return (copies[0] && copies[1]) || (copies[1] && copies[2]) || (copies[0] && copies[2]);
    endfunction

    // In halves: whole, Yosys takes it from the carry chain of a difference.
    function automatic logic differ(input logic [PTR_W-1:0] a, input logic [PTR_W-1:0] b);
        return a[3:0] != b[3:0] || a[PTR_W-1:4] != b[PTR_W-1:4];
    endfunction

    // --- head register ----------------------------------------------------------------------
    logic [PTR_W-1:0]  head_reg, released;
    logic [PTR_W-1:0]  next_reg;      // head_reg + 1
    logic              released_reg;  // rel_ptr != head_reg
    logic              early_reg;     // the exit is past rel_ptr: only an upset can bring that
    logic              take, pop;
    logic              room;          // the head register is free, or will be
    logic              q_valid_reg;   // a beat waits behind it
    logic              h_valid_reg;
    logic [CACHE_W-1:0] h_entry_reg;
    logic              h_user_reg, h_last_reg, h_armed_reg;
    logic              h_first;       // it opens a frame
    logic              h_sure_reg;    // the line says so, too; armed, and nothing is wrong with it
    logic              h_block;       // it opens a frame to be dropped
    logic              h_bypass_reg;
    logic              h_plain_reg;   // if it opens a frame, that frame is FAULT
    logic              h_ue_reg;
    verdict_t          h_verdict_reg;
    logic              may_leave;
    logic              ended, line_ended_reg;  // the beat taken last closed its frame: stored, line
    logic              last_next, first_next, block_next;

    assign head_ptr = head_reg;
    assign next_ptr = next_reg;
    assign head_take = take;
    assign released = rel_ptr - head_reg;
    assign may_leave = released_reg && !early_reg;
    assign take = head_valid && may_leave && !q_valid_reg;
    assign last_next = head_ue ? line_last : head_last;
    assign first_next = ended || (line_first && line_ended_reg);
    assign block_next = line_action == ACTION_BLOCK;
    assign h_entry = h_entry_reg;

    typedef struct packed {
        logic [CACHE_W-1:0] entry;
        logic               user, last, armed, ue, sure, bypass, plain;
        verdict_t           verdict;
    } flags_t;
    flags_t head_flags, q_flags_reg;
    assign head_flags = {
        head_reg[CACHE_W-1:0], head_user, last_next, head_armed, head_ue,
        line_first && head_armed && !head_ue, line_action == ACTION_BYPASS,
        !line_first || !head_armed || line_action == 2'd3, line_verdict
    };

    always_ff @(posedge clk) begin
        early_reg <= released[PTR_W-1] && |released[PTR_W-2:0];
        err_framing <= take && !head_ue && head_last != line_last;
        // Compared one cycle ahead, the comparison being the longest path otherwise.
        released_reg <= take ? rel_stays && differ(rel_ptr, next_reg) ||
                               !rel_stays && differ(vis_ptr, next_reg)
                             : rel_stays && differ(rel_ptr, head_reg) ||
                               !rel_stays && differ(vis_ptr, head_reg);
        if (take) begin
            head_reg <= next_reg;
            next_reg <= next_reg + 1'b1;
            line_ended_reg <= line_last;
        end
        // Whether there is anything in them say h_valid_reg and q_valid_reg.
        if (!q_valid_reg) q_flags_reg <= head_flags;
        if (room)
            {h_entry_reg, h_user_reg, h_last_reg, h_armed_reg, h_ue_reg, h_sure_reg, h_bypass_reg,
             h_plain_reg, h_verdict_reg} <= q_valid_reg ? q_flags_reg : head_flags;
        h_valid_reg <= !room || q_valid_reg || take;
        q_valid_reg <= !room && (q_valid_reg || take);
        if (resync) begin
            head_reg <= rel_ptr;
            next_reg <= rel_ptr + 1'b1;
        end
        if (rst) begin
            head_reg <= '0;
            next_reg <= PTR_W'(1);
            released_reg <= 1'b0;
            line_ended_reg <= 1'b1;
            h_valid_reg <= 1'b0;
            q_valid_reg <= 1'b0;
            err_framing <= 1'b0;
            early_reg <= 1'b0;
        end
    end

    // --- drop or permit ---------------------------------------------------------------------
    logic dropping, plain_reg, bypass_reg;  // of the frame in progress
    logic drop, load, plain, bypass, out_ready, freeze_reg;
    assign drop = h_first ? h_block && !fault : dropping;
    assign out_ready = !m_axis_tvalid || m_axis_tready;
    assign room = !h_valid_reg || (!freeze_reg && (out_ready || drop));
    assign pop = h_valid_reg && room;
    assign load = pop && !drop;
    assign plain = fault || h_ue_reg || (h_first ? h_plain_reg : plain_reg);
    assign bypass = h_first ? h_bypass_reg : bypass_reg;

    logic [2:0] ended_copies, first_copies, block_copies, drop_copies;
    assign ended = vote(ended_copies);
    assign h_first = vote(first_copies);
    assign h_block = vote(block_copies) && h_sure_reg;
    assign dropping = vote(drop_copies);
    for (genvar i = 0; i < 3; i++) begin : g_copy
        // `keep` on the process stops Yosys from merging the copies, the rest stops others.
        (* keep, dont_touch = "true" *) logic ended_reg, q_first_reg, first_reg;
        (* keep, dont_touch = "true" *) logic q_block_reg, block_reg, drop_reg;
        assign ended_copies[i] = ended_reg;
        assign first_copies[i] = first_reg;
        assign block_copies[i] = block_reg;
        assign drop_copies[i] = drop_reg;
        (* keep *) always_ff @(posedge clk) begin
            if (take) ended_reg <= last_next;
            if (!q_valid_reg) begin
                q_first_reg <= first_next;
                q_block_reg <= block_next;
            end
            if (room) begin
                first_reg <= q_valid_reg ? q_first_reg : first_next;
                block_reg <= q_valid_reg ? q_block_reg : block_next;
            end
            if (pop) drop_reg <= drop;
            if (rst) begin
                ended_reg <= 1'b1;
                drop_reg <= 1'b0;
            end
        end
    end

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
            plain_reg <= plain;
            bypass_reg <= bypass;
        end
        // The payload moves whenever the output is free, so `drop` and `fault` stay out of the
        // enable of the wide registers.
        if (out_ready) begin
            m_axis_tdata <= h_data;
            m_axis_tkeep <= h_keep;
            m_axis_tlast <= h_last_reg;
            m_axis_tuser <= {h_user_reg, verdict};
            armed_out_reg <= h_armed_reg;
            m_axis_tvalid <= load;
        end
        frame_out <= pop && h_last_reg;
        frame_out_verdict <= drop ? VERDICT_BLOCK : verdict;
        if (rst) begin
            m_axis_tvalid <= 1'b0;
            frame_out <= 1'b0;
        end
    end
    assign armed_inside = (q_valid_reg && q_flags_reg.armed) || (h_valid_reg && h_armed_reg) ||
                          (m_axis_tvalid && armed_out_reg);
    assign busy = h_valid_reg || m_axis_tvalid;  // a beat behind the head register is never alone

    // --- watchdog ---------------------------------------------------------------------------
    logic [COUNT_W-1:0] count_reg;
    logic waits_reg, popped_reg, trip_reg;
    assign err_stall = trip_reg;
    always_ff @(posedge clk) begin
        popped_reg <= pop || !(h_valid_reg || may_leave);
        waits_reg <= h_valid_reg ? freeze_reg && (out_ready || drop) : may_leave;
        if (popped_reg || trip_reg) count_reg <= '0;
        else if (waits_reg) count_reg <= count_reg + 1'b1;
        trip_reg <= count_reg >= COUNT_W'(STALL_LIMIT) && !trip_reg;
        freeze_reg <= inj_stall || (freeze_reg && !trip_reg);
        if (rst) begin
            popped_reg <= 1'b0;
            waits_reg <= 1'b0;
            count_reg <= '0;
            trip_reg <= 1'b0;
            freeze_reg <= 1'b0;
        end
    end
endmodule
