// Watches s_axis for breaches of AXI4-Stream that the block would otherwise inherit. It changes
// nothing: what was given travels on as it was given.
//
//   info[0]  tkeep has a hole before the last beat (not all ones)
//   info[1]  tkeep of the last beat is zero or not contiguous from byte 0
//   info[2]  tvalid fell before tready
//   info[3]  the payload changed before tready
//   info[4]  the frame is longer than MAX_FRAME bytes (reported once for each frame)
//   info[31:16]  beats of the frame before the one found fault with (saturates)
//
// tkeep and length are judged when a beat is accepted, stability in every cycle; err comes
// three cycles after. Payload stability is checked on a 32-bit fold of the beat: a change is seen
// unless an even number of bits change in the same fold position, which one wire cannot do.
module nsd_axis_check #(
    // Data bits of a beat: 64 or 512.
    parameter int DATA_W = 64,
    // Longest legal frame, bytes: DATA_W/8 to 65535.
    parameter int MAX_FRAME = 16384,
    localparam int KEEP_W = DATA_W / 8
) (
    input  logic              clk,
    input  logic              rst,
    input  logic [DATA_W-1:0] s_axis_tdata,
    input  logic [KEEP_W-1:0] s_axis_tkeep,
    input  logic              s_axis_tvalid,
    input  logic              s_axis_tready,
    input  logic              s_axis_tlast,
    input  logic [0:0]        s_axis_tuser,
    input  logic              inj,       // strobe: the next accepted beat is seen with a hole
    output logic              err,       // strobe
    output logic [31:0]       err_info
);
    if (DATA_W != 64 && DATA_W != 512) $fatal(1, "nsd_axis_check: DATA_W must be 64 or 512");
    if (MAX_FRAME < KEEP_W || MAX_FRAME > 65535)
        $fatal(1, "nsd_axis_check: MAX_FRAME must be DATA_W/8 to 65535");

    localparam int LIMIT = MAX_FRAME / KEEP_W;  // full beats that fit
    localparam int REST = MAX_FRAME % KEEP_W;   // bytes that fit in the beat after them

    // --- stage 1: the beat as seen, folded ----------------------------------------------------
    logic [KEEP_W-1:0] keep_seen, keep_reg;
    logic [31:0]       fold, fold_reg, fold_before_reg;
    logic              accept, accept_reg, valid_reg, last_reg, waiting_reg, inj_reg;

    assign accept = s_axis_tvalid && s_axis_tready;

    always_comb begin
        keep_seen = s_axis_tkeep;
        if (inj || inj_reg) keep_seen[0] = 1'b0;
        fold = '0;
        for (int i = 0; i < DATA_W; i++) fold[i % 32] = fold[i % 32] ^ s_axis_tdata[i];
        for (int i = 0; i < KEEP_W; i++) fold[(i + 7) % 32] = fold[(i + 7) % 32] ^ s_axis_tkeep[i];
        fold[0] = fold[0] ^ s_axis_tlast;
        fold[1] = fold[1] ^ s_axis_tuser[0];
    end

    // --- stage 2: the rules -------------------------------------------------------------------
    logic [15:0] beats_reg;
    logic        long_now, long_reg, hole, bad_last, fell, too_long;
    logic        hole_reg, bad_last_reg, fell_reg, held_reg, too_long_reg, changed;
    logic [15:0] told_beats_reg;
    logic [3:0]  differs_reg;  // one bit for each byte of the fold

    // Contiguous from bit 0: adding one carries out of all the ones.
    assign hole = accept_reg && !last_reg && !(&keep_reg);
    assign bad_last = accept_reg && last_reg
        && (!keep_reg[0] || |(keep_reg & (keep_reg + KEEP_W'(1))));
    assign fell = waiting_reg && !valid_reg;
    // The beats before this one fill the limit, and this one does not fit into the rest. One
    // before the last counts whole, holes included.
    assign long_now = 32'(beats_reg) > LIMIT
        || (32'(beats_reg) == LIMIT && (!last_reg || |(keep_reg >> REST)));
    assign too_long = accept_reg && long_now && !long_reg;

    assign changed = held_reg && |differs_reg;

    always_ff @(posedge clk) begin
        accept_reg <= accept;
        valid_reg <= s_axis_tvalid;
        last_reg <= s_axis_tlast;
        keep_reg <= keep_seen;
        fold_reg <= fold;
        inj_reg <= (inj || inj_reg) && !accept;
        waiting_reg <= valid_reg && !accept_reg;
        fold_before_reg <= fold_reg;
        if (accept_reg) begin
            beats_reg <= last_reg ? '0 : beats_reg + 16'(!(&beats_reg));
            long_reg <= !last_reg && (long_reg || long_now);
        end
        // Stage 3: what was found, in one word.
        hole_reg <= hole;
        bad_last_reg <= bad_last;
        fell_reg <= fell;
        too_long_reg <= too_long;
        held_reg <= waiting_reg && valid_reg;
        for (int i = 0; i < 4; i++)
            differs_reg[i] <= fold_reg[8*i +: 8] != fold_before_reg[8*i +: 8];
        told_beats_reg <= beats_reg;
        err <= hole_reg || bad_last_reg || fell_reg || changed || too_long_reg;
        err_info <= {told_beats_reg, 11'd0, too_long_reg, changed, fell_reg, bad_last_reg, hole_reg};
        if (rst) begin
            accept_reg <= 1'b0;
            valid_reg <= 1'b0;
            waiting_reg <= 1'b0;
            inj_reg <= 1'b0;
            beats_reg <= '0;
            long_reg <= 1'b0;
            hole_reg <= 1'b0;
            bad_last_reg <= 1'b0;
            fell_reg <= 1'b0;
            too_long_reg <= 1'b0;
            held_reg <= 1'b0;
            err <= 1'b0;
        end
    end
endmodule
