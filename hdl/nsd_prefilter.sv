// Finds the windows of a table, 4, 6 or 8 bytes long, at every byte position of every frame, and
// takes a beat a cycle whatever the frames' lengths.
//
// At each position p: x = bytes p .. p+3, first byte low, A-Z folded to a-z;
// y = x ^ (rotl(x, 11) & seed); bucket = low bits of CRC-32 over y. The bucket's words hold three
// slots {class, fingerprint} each, at bits 0, 21 and 42, class 1, 2, 3 for 4, 6, 8 bytes and 0
// for an empty one. A slot hits when its fingerprint is that of its number of folded bytes from p
// on, and the last of them is in the frame. pf_hit tells for a frame whether anything hit.
//
// A beat is looked at together with the first seven bytes of the next one: when that arrives,
// however late, or when the beat is its frame's last. Each position has a copy of the table; all
// are written together. A word with an error, a table that isn't valid: a hit, the safe side.
// That the copies agree and hold what was loaded is the scrubber's business, in cycles in which
// nothing is looked up; see nsd_scrub and, for the host's side, nsd_prefilter_load.
//
//   cycle, after tap_last               5  address registers
//   1  held, folded                     8  words of the table; fingerprints
//   2  window                           9  parts of comparisons, syndromes
//   3  seeded                          10  hit of each position
//   4  bucket, or a free cycle         11  of eight positions;  12  of the beat
//                                      13  pf_valid, pf_hit
//
// Ports beyond the contract's: `pipe_rst` forgets frames under way and leaves the table alone.
// A byte is in the frame when its tkeep bit is set on the last beat; on other beats every byte is
// (tkeep with holes is the error axi_fault elsewhere, and its frame's verdict FAULT).
module nsd_prefilter
    import nsd_pkg::*;
#(
    // Data bits of a beat: 64 or 512.
    parameter int DATA_W = 64,
    // Address bits of the table, 4 to 16.
    parameter int BUCKETS_LOG2 = 10,
    // 64-bit words of a bucket, 1 to 4.
    parameter int WORDS = 1,
    localparam int LANES = DATA_W / 8,
    localparam int GROUPS = LANES / 8,
    localparam int CODE_W = 72 * WORDS
) (
    input  logic                          clk,
    input  logic                          rst,
    input  logic                          pipe_rst,

    input  logic                          tap_valid,
    input  logic [DATA_W-1:0]             tap_data,
    input  logic [LANES-1:0]              tap_keep,
    input  logic                          tap_last,

    output logic                          pf_valid,
    output logic                          pf_hit,

    // Host: strobes, with what belongs to them in the same cycle.
    input  logic                          load_begin,
    input  logic                          commit,
    input  logic [31:0]                   expect_sig,
    input  logic                          cmd_write,
    input  logic                          cmd_read,
    input  logic [BUCKETS_LOG2-1:0]       cmd_addr,
    input  logic [64*WORDS-1:0]           cmd_wdata,
    output logic [64*WORDS-1:0]           cmd_rdata,
    output logic                          busy,
    output logic                          cmd_error,
    output logic [31:0]                   sig,             // of the table, without configuration
    output logic                          table_valid,
    output logic                          checking,
    output logic                          commit_failed,
    output logic [15:0]                   generation,
    output logic                          pass_done,
    output logic [31:0]                   pass_sig,

    // Configuration, latched at commit; the ranges in force are nsd_ports'.
    input  logic [31:0]                   cfg_seed,
    input  port_range_t [PORT_RANGES-1:0] cfg_ranges,
    output port_range_t [PORT_RANGES-1:0] cfg_ranges_active,

    // Errors: strobes. err_info: {lookup, 15'd0, bucket}; the bucket is the scrubber's, and
    // says nothing of a lookup's.
    output logic                          err_crc,
    output logic                          err_ce,
    output logic                          err_ue,
    output logic [31:0]                   err_info,
    input  logic                          inj_crc
);
    localparam int WINDOW = LANES + 7;
    localparam int FP_W = 19;
    localparam int EXTRA = 1 + PORT_RANGES;
    // The pipeline of the header comment, in cycles of its own: from window (2) to beat (12).
    localparam int DEPTH = 10;

    if (DATA_W != 64 && DATA_W != 512) $fatal(1, "nsd_prefilter: DATA_W must be 64 or 512");
    if (PREFILTER_LATENCY != 13) $fatal(1, "nsd_prefilter: PREFILTER_LATENCY must be 13");

    function automatic logic [7:0] fold(input logic [7:0] c);
        return c >= 8'h41 && c <= 8'h5A ? c | 8'h20 : c;
    endfunction

    // --- window: a beat and the first bytes of the next ------------------------------------
    logic [LANES-1:0][7:0]  tap_bytes;
    logic [LANES-1:0]       tap_in;       // bytes of the beat that are the frame's
    logic                   held_valid_reg;
    logic                   held_last_reg;
    logic [LANES-1:0][7:0]  held_reg;
    logic [LANES-1:0]       held_in_reg;
    logic                   emit;

    logic [WINDOW-1:0][7:0] window_reg;
    logic [WINDOW-1:0]      in_reg;       // zero without a beat

    always_comb for (int i = 0; i < LANES; i++) tap_bytes[i] = fold(tap_data[8*i +: 8]);
    assign tap_in = tap_keep | {LANES{!tap_last}};
    assign emit = held_valid_reg && (held_last_reg || tap_valid);

    // What becomes of the beat: {last, valid}, in step with the window.
    logic [DEPTH:0] valid_reg, last_reg;

    always_ff @(posedge clk) begin
        if (tap_valid) begin
            held_reg <= tap_bytes;
            held_in_reg <= tap_in;
            held_last_reg <= tap_last;
        end
        held_valid_reg <= tap_valid || (held_valid_reg && !held_last_reg);
        window_reg <= {tap_bytes[6:0], held_reg};
        in_reg <= {tap_in[6:0] & {7{!held_last_reg}}, held_in_reg} & {WINDOW{emit}};
        valid_reg <= {valid_reg[DEPTH-1:0], emit};
        last_reg <= {last_reg[DEPTH-1:0], held_last_reg};
        if (rst || pipe_rst) begin
            held_valid_reg <= 1'b0;
            valid_reg <= '0;
        end
    end

    // Fingerprints are wanted when the table's word is there: the window waits, not they.
    localparam int WAIT = 4;
    logic [WAIT-2:0][WINDOW-1:0][7:0] window_wait_reg;  // cycles 3 to 5
    logic [WAIT+1:0][WINDOW-1:0]      in_wait_reg;      // cycles 3 to 8
    logic [LANES-1:0][2:0][FP_W-1:0]  fp;

    always_ff @(posedge clk) begin
        window_wait_reg <= {window_wait_reg[WAIT-3:0], window_reg};
        in_wait_reg <= {in_wait_reg[WAIT:0], in_reg};
    end

    nsd_prefilter_fp #(.LANES(LANES), .FP_W(FP_W)) fingerprints (
        .clk, .window(window_wait_reg[WAIT-2]), .fp);

    // --- one copy of the table for each position -------------------------------------------
    logic                             unused_rd_en;  // what is read in a free cycle is ignored
    logic [BUCKETS_LOG2-1:0]          rd_addr;
    logic                             wr_en;
    logic [BUCKETS_LOG2-1:0]          wr_addr;
    logic [CODE_W-1:0]                wr_data;
    logic [31:0]                      seed;
    logic [LANES-1:0][CODE_W-1:0]     word;
    logic [LANES-1:0]                 hit, live, bad, ue, differs;
    logic [GROUPS-1:0]                group_hit, group_ue;
    logic [GROUPS-1:0]                group_ce_any, group_ue_any, group_differs;

    for (genvar g = 0; g < GROUPS; g++) begin : gen_group
        // Each eight copies have their own write and scrub-address registers: short wires.
        (* keep *) logic                    wr_en_reg;
        (* keep *) logic [BUCKETS_LOG2-1:0] wr_addr_reg;
        (* keep *) logic [CODE_W-1:0]       wr_data_reg;

        always_ff @(posedge clk) begin
            wr_en_reg <= wr_en;
            wr_addr_reg <= wr_addr;
            wr_data_reg <= wr_data;
            if (rst) wr_en_reg <= 1'b0;
        end

        for (genvar i = 8 * g; i < 8 * g + 8; i++) begin : gen_lane
            // valid_reg[2], once a lane.
            (* keep *) logic lookup_reg;
            always_ff @(posedge clk) lookup_reg <= valid_reg[1] && !(rst || pipe_rst);

            nsd_prefilter_lane #(.BUCKETS_LOG2(BUCKETS_LOG2), .WORDS(WORDS)) lane (
                .clk,
                .seed,
                .x({window_reg[i+3], window_reg[i+2], window_reg[i+1], window_reg[i]}),
                .lookup(lookup_reg),
                .scrub_addr(rd_addr),
                .fp(fp[i]),
                .ok({in_wait_reg[WAIT+1][i+7], in_wait_reg[WAIT+1][i+5],
                     in_wait_reg[WAIT+1][i+3]}),
                .wr_en(wr_en_reg),
                .wr_addr(wr_addr_reg),
                .wr_data(wr_data_reg),
                .word(word[i]),
                // A ring: all are equal when each is equal to its neighbour.
                .other(word[(i + LANES - 1) % LANES]),
                .hit(hit[i]),
                .live(live[i]),
                .bad(bad[i]),
                .ue(ue[i]),
                .differs(differs[i])
            );
        end

        // Copies with an error the code sees are corrected first; until then they tell nothing.
        logic [7:0] lane_differs;
        always_comb
            for (int i = 0; i < 8; i++)
                lane_differs[i] = differs[8*g+i] && !bad[8*g+i]
                    && !bad[(8*g + i + LANES - 1) % LANES];

        always_ff @(posedge clk) begin
            group_hit[g] <= |(hit[8*g +: 8] | (bad[8*g +: 8] & live[8*g +: 8]));
            group_ue[g] <= |(ue[8*g +: 8] & live[8*g +: 8]);
            group_ce_any[g] <= |(bad[8*g +: 8] & ~ue[8*g +: 8]);
            group_ue_any[g] <= |ue[8*g +: 8];
            group_differs[g] <= |lane_differs;
        end
    end

    // --- the beat, the frame ---------------------------------------------------------------
    logic beat_hit_reg, beat_ue_reg;
    logic rd_ce_any_reg, rd_ue_any_reg, rd_differs_reg;
    logic frame_hit_reg;                 // in an earlier beat of the frame
    logic open_reg;                      // some beat of a frame has been here, not its last
    logic frame_hit;
    logic lookup_ue_reg;
    // table_valid, near: a cycle late is soon enough, what is judged here was read cycles before.
    logic trust_reg;

    assign frame_hit = frame_hit_reg || beat_hit_reg || !trust_reg;

    always_ff @(posedge clk) begin
        beat_hit_reg <= |group_hit;
        beat_ue_reg <= |group_ue;
        rd_ce_any_reg <= |group_ce_any;
        rd_ue_any_reg <= |group_ue_any;
        rd_differs_reg <= |group_differs;

        trust_reg <= table_valid;
        pf_valid <= valid_reg[DEPTH] && last_reg[DEPTH];
        pf_hit <= frame_hit;
        // A table that is loaded between two beats of a frame has not seen the first of them.
        if (valid_reg[DEPTH]) begin
            frame_hit_reg <= frame_hit && !last_reg[DEPTH];
            open_reg <= !last_reg[DEPTH];
        end else if (open_reg && !trust_reg) frame_hit_reg <= 1'b1;
        lookup_ue_reg <= valid_reg[DEPTH] && beat_ue_reg && trust_reg;
        if (rst || pipe_rst) begin
            trust_reg <= 1'b0;
            pf_valid <= 1'b0;
            frame_hit_reg <= 1'b0;
            open_reg <= 1'b0;
            lookup_ue_reg <= 1'b0;
        end
    end

    // --- loading and scrubbing -------------------------------------------------------------
    logic                         scrub_write, scrub_read, scrub_clear, scrub_check;
    logic                         scrub_restart, scrub_busy, scrub_error;
    logic                         pass_clean, pass_ok;
    logic [31:0]                  scrub_expect;
    logic                         scrub_ue;
    logic [BUCKETS_LOG2-1:0]      scrub_addr;
    logic [EXTRA*64*WORDS-1:0]    extra_data;
    logic                         idle;

    // nsd_prefilter_load's commands come a cycle after the host's.
    logic [BUCKETS_LOG2-1:0]      cmd_addr_reg;
    logic [64*WORDS-1:0]          cmd_wdata_reg;
    always_ff @(posedge clk) begin
        cmd_addr_reg <= cmd_addr;
        cmd_wdata_reg <= cmd_wdata;
    end

    // The cycle before the address registers: nothing is looked up with the next edge.
    assign idle = !valid_reg[2];
    assign err_ue = scrub_ue || lookup_ue_reg;
    assign err_info = {lookup_ue_reg, 15'd0, 16'(scrub_addr)};

    always_comb begin
        extra_data = '0;
        extra_data[31:0] = seed;
        for (int i = 0; i < PORT_RANGES; i++)
            extra_data[64*WORDS*(i+1) +: $bits(port_range_t)] = cfg_ranges_active[i];
    end

    nsd_prefilter_load load (
        .clk, .rst,
        .load_begin, .commit, .expect_sig, .cmd_write, .cmd_read, .cfg_seed, .cfg_ranges,
        .busy, .cmd_error, .checking, .commit_failed, .generation,
        .table_valid, .seed, .ranges(cfg_ranges_active),
        .scrub_write, .scrub_read, .scrub_clear, .scrub_expect, .scrub_check, .scrub_restart,
        .scrub_busy, .scrub_error, .pass_done, .pass_clean, .pass_ok
    );

    nsd_scrub #(
        .WORDS(WORDS),
        .DEPTH_LOG2(BUCKETS_LOG2),
        .EXTRA(EXTRA),
        .READ_LATENCY(2 + RAM_LATENCY),  // the lanes' address and word registers
        .STATUS_LATENCY(4)
    ) scrub (
        .clk, .rst,
        .cmd_write(scrub_write), .cmd_read(scrub_read), .cmd_clear(scrub_clear),
        .cmd_addr(cmd_addr_reg), .cmd_wdata(cmd_wdata_reg), .cmd_rdata,
        .busy(scrub_busy), .cmd_error(scrub_error), .sig,
        .idle, .rd_en(unused_rd_en), .rd_addr, .rd_data(word[0]),
        .rd_ce_any(rd_ce_any_reg), .rd_ue_any(rd_ue_any_reg), .rd_differs(rd_differs_reg),
        .wr_en, .wr_addr, .wr_data,
        .extra_data, .expect_sig(scrub_expect), .check_enable(scrub_check),
        .restart(scrub_restart), .pass_done, .pass_sig, .pass_clean, .pass_ok,
        .err_crc, .err_ce, .err_ue(scrub_ue), .err_addr(scrub_addr), .inj_crc
    );
endmodule
