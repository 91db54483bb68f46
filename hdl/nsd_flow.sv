// The flow bypass table: for each key its action, FLOW_LATENCY cycles later, one a cycle.
//
//   cycle  0  key            5  raw entries with their syndromes
//          1  partial hashes 6  syndromes decoded    7  corrected entries
//          2  set; RAM reads 8  key compared in groups of eight bits
//          4  both ways      9  hit of each way      10  action: the result
//
// Two ways of 2^SETS_LOG2 sets. The set is the low bits of CRC-32 (IEEE, from 0, no inversion)
// over the key's 41 bytes, byte 0 = key[7:0]. An entry hits when it is valid, of the current
// generation, readable and its whole key equal; if both ways hit, way 0 counts. A corrected
// single error hits like any other; an uncorrectable one misses and is err_ue. A miss is
// ACTION_NONE, the safe answer: the frame is inspected.
//
// The host writes, reads and clears through nsd_scrub; address = {set, way}, entry =
// flow_entry_t with the generation it belongs to. `flush` counts the generation up, so nothing
// hits from the next cycle on; when it wraps to 0 the table is cleared, or entries of 256
// flushes ago would live again. While it is cleared (2^(SETS_LOG2+1) cycles and a few, also
// after reset) table_ready is low and every lookup misses without reading: a clear cannot be
// starved. Host access and scrubbing wait for cycles without a lookup.
module nsd_flow
    import nsd_pkg::*;
#(
    // Sets, as a power of two: 1 to 15.
    parameter int SETS_LOG2 = 9,
    localparam int WORDS = 6,
    localparam int ADDR_W = SETS_LOG2 + 1,
    localparam int ENTRY_W = 64 * WORDS,
    localparam int CODE_W = 72 * WORDS
) (
    input  logic               clk,
    input  logic               rst,        // clears the table too
    input  logic               pipe_rst,   // forgets the keys under way, leaves the table

    input  logic               key_valid,
    input  flow_key_t          key,
    input  logic               key_lookup, // else the result is ACTION_NONE
    output logic               res_valid,
    output action_t            res_action,

    // Host: strobes; see nsd_scrub.
    input  logic               cmd_write,
    input  logic               cmd_read,
    input  logic [ADDR_W-1:0]  cmd_addr,
    input  logic [ENTRY_W-1:0] cmd_wdata,
    output logic [ENTRY_W-1:0] cmd_rdata,
    input  logic               clear,
    input  logic               flush,      // never refused
    output logic               busy,
    output logic               cmd_error,
    output logic [31:0]        sig,
    output logic [7:0]         generation,
    output logic               table_ready,

    input  logic               check_enable,
    input  logic               inj_crc,
    output logic               pass_done,
    output logic [31:0]        pass_sig,
    // Strobes. err_info: [31] a lookup met it (with err_ue), [ADDR_W-1:0] the entry, way 0 when
    // a lookup met it in both; with err_crc: pass_sig.
    output logic               err_crc,
    output logic               err_ce,
    output logic               err_ue,
    output logic [31:0]        err_info
);
    if (SETS_LOG2 < 1 || SETS_LOG2 > 15) $fatal(1, "nsd_flow: SETS_LOG2 must be 1 to 15");
    if (FLOW_LATENCY != 12) $fatal(1, "nsd_flow: takes 12 cycles, FLOW_LATENCY says otherwise");

    localparam int HASH_BITS = 328;   // 41 bytes
    localparam int CHUNK = 24;        // bits hashed in one go: two levels of LUT4
    localparam int CHUNKS = (HASH_BITS + CHUNK - 1) / CHUNK;
    localparam int GROUPS = (KEY_W + 7) / 8;
    localparam int PAD_W = 8 * GROUPS;

    // ---- hash: linear, so each bit of the key adds its column or nothing
    typedef logic [HASH_BITS-1:0][31:0] cols_t;
    function automatic cols_t hash_cols();
        logic [31:0] col;
        col = 32'd1;
        for (int i = HASH_BITS - 1; i >= 0; i--) begin
            col = col[0] ? (col >> 1) ^ 32'hEDB8_8320 : col >> 1;
            hash_cols[i] = col;
        end
    endfunction
    localparam cols_t HASH_COLS = hash_cols();
    typedef logic [SETS_LOG2-1:0][CHUNKS*CHUNK-1:0] masks_t;
    function automatic masks_t hash_masks();
        hash_masks = '0;
        for (int b = 0; b < SETS_LOG2; b++)
            for (int i = 0; i < KEY_W; i++) hash_masks[b][i] = HASH_COLS[i][b];
    endfunction
    localparam masks_t HASH_MASKS = hash_masks();

    logic [KEY_W-1:0]                  key_reg[1:9];  // what travels with it: below
    logic [CHUNKS*CHUNK-1:0]           key_bits;
    logic [CHUNKS-1:0][SETS_LOG2-1:0]  part_reg;
    logic [SETS_LOG2-1:0]              set_next;
    logic [SETS_LOG2-1:0]              set_reg[3:11];  // [i]: of the key of cycle i

    assign key_bits = (CHUNKS * CHUNK)'(key_reg[1]);
    always_comb begin
        set_next = '0;
        for (int c = 0; c < CHUNKS; c++) set_next ^= part_reg[c];
    end

    // ---- what travels with a key
    logic [12:1]      valid_reg;
    logic [2:1]       lookup_reg;
    logic [10:3]      look_reg;   // it reads the table

    // ---- memory: a lookup or, in the cycles between, the scrubber
    logic                 idle, wr_en;
    logic [ADDR_W-1:0]    scrub_addr, wr_addr;
    logic [CODE_W-1:0]    wr_data;
    logic [CODE_W-1:0]    way_data[2];
    logic [SETS_LOG2-1:0] rd_set;
    logic [RAM_LATENCY:0] way_reg;  // the way the scrubber read
    logic [CODE_W-1:0]    scrub_data;
    logic                 unused_rd_en;

    assign idle = !look_reg[3];
    assign rd_set = look_reg[3] ? set_reg[3] : scrub_addr[ADDR_W-1:1];

    for (genvar w = 0; w < 2; w++) begin : g_way
        nsd_ram #(.WIDTH(CODE_W), .DEPTH_LOG2(SETS_LOG2)) ram (
            .clk, .wr_en(wr_en && wr_addr[0] == 1'(w)), .wr_addr(wr_addr[ADDR_W-1:1]), .wr_data,
            .rd_addr(rd_set), .rd_data(way_data[w]));
    end
    // A register between the memories and the decoders, which stand apart on the device.
    logic [CODE_W-1:0]    word_reg[2];
    always_ff @(posedge clk) word_reg <= way_data;
    assign scrub_data = way_reg[RAM_LATENCY] ? word_reg[1] : word_reg[0];

    // ---- entry of each way: syndromes, correction, comparison
    flow_entry_t                raw_reg[2], fixed_reg[2];
    logic [WORDS-1:0]           unread_reg[2];  // each word of it
    logic [1:0]                 unread10_reg;
    logic [GROUPS-1:0]          same_reg[2];
    logic [1:0]                 current_reg;  // valid and of this generation
    action_t                    action10_reg[2], action11_reg[2];
    logic [1:0]                 hit_reg;
    logic [7:0]                 generation_reg;
    logic                       ready;

    for (genvar w = 0; w < 2; w++) begin : g_entry
        logic [WORDS-1:0] word_ue;
        flow_entry_t      fixed;
        logic [PAD_W-1:0] stored, wanted;
        assign stored = PAD_W'(fixed_reg[w].key);
        assign wanted = PAD_W'(key_reg[9]);
        for (genvar i = 0; i < WORDS; i++) begin : g_word
            logic [7:0]  expected, syndrome_reg;
            nsd_ecc_enc #(.W(64)) encode (
                .data(word_reg[w][72*i +: 64]), .check(expected));
            nsd_ecc_fix fix (
                .clk, .data(raw_reg[w][64*i +: 64]), .syndrome(syndrome_reg),
                .fixed(fixed[64*i +: 64]), .ue(word_ue[i]));
            always_ff @(posedge clk) begin
                raw_reg[w][64*i +: 64] <= word_reg[w][72*i +: 64];
                syndrome_reg <= expected ^ word_reg[w][72*i+64 +: 8];
            end
        end
        always_ff @(posedge clk) begin
            fixed_reg[w] <= fixed;
            unread_reg[w] <= word_ue;
            unread10_reg[w] <= |unread_reg[w];
            for (int g = 0; g < GROUPS; g++)
                same_reg[w][g] <= stored[8*g +: 8] == wanted[8*g +: 8];
            current_reg[w] <= fixed_reg[w].valid && fixed_reg[w].generation == generation_reg;
            action10_reg[w] <= fixed_reg[w].action;
            hit_reg[w] <= &same_reg[w] && current_reg[w] && !unread10_reg[w] && look_reg[10]
                          && ready;
            action11_reg[w] <= action10_reg[w];
        end
    end

    // ---- host, flush and clear
    logic clear_want_reg;   // as soon as the host's command is done
    logic clearing_reg;
    logic error_reg, any_cmd;
    logic scrub_clear, scrub_busy, scrub_ue, scrub_ce, scrub_crc;
    logic [ADDR_W-1:0] scrub_err_addr;
    logic [31:0]       scrub_sig;
    logic              unused_error, unused_clean, unused_ok;

    assign ready = !clear_want_reg && !clearing_reg;
    assign scrub_clear = clear_want_reg && !scrub_busy;
    assign table_ready = ready;
    assign any_cmd = cmd_write || cmd_read || clear;
    assign busy = scrub_busy || clear_want_reg;
    assign cmd_error = error_reg;
    assign generation = generation_reg;
    assign sig = scrub_sig;

    nsd_scrub #(
        .WORDS(WORDS), .DEPTH_LOG2(ADDR_W), .READ_LATENCY(1 + RAM_LATENCY)
    ) scrub (
        .clk, .rst,
        // It refuses what comes while it is busy itself.
        .cmd_write(cmd_write && !clear && !clear_want_reg),
        .cmd_read(cmd_read && !clear && !clear_want_reg), .cmd_clear(clear_want_reg), .cmd_addr, .cmd_wdata,
        .cmd_rdata, .busy(scrub_busy), .cmd_error(unused_error), .sig(scrub_sig),
        .idle, .rd_en(unused_rd_en), .rd_addr(scrub_addr), .rd_data(scrub_data),
        .rd_ce_any(1'b0), .rd_ue_any(1'b0), .rd_differs(1'b0),
        .wr_en, .wr_addr, .wr_data,
        .extra_data('0), .expect_sig(scrub_sig), .check_enable, .restart(1'b0),
        .pass_done, .pass_sig, .pass_clean(unused_clean), .pass_ok(unused_ok),
        .err_crc(scrub_crc), .err_ce(scrub_ce), .err_ue(scrub_ue), .err_addr(scrub_err_addr),
        .inj_crc);

    always_ff @(posedge clk) begin
        if (any_cmd)
            error_reg <= busy || (clear && (cmd_write || cmd_read)) || (cmd_write && cmd_read);
        generation_reg <= generation_reg + 8'(flush);
        clear_want_reg <= (clear && !busy) || (flush && generation_reg == 8'hFF)
                          || (clear_want_reg && !scrub_clear);
        clearing_reg <= scrub_clear || (clearing_reg && scrub_busy);
        if (rst) begin
            error_reg <= 1'b0;
            generation_reg <= '0;
            clear_want_reg <= 1'b0;
            clearing_reg <= 1'b1;  // nsd_scrub begins with it
        end
    end

    // ---- keys and results
    action_t     action_next, action12_reg;
    logic [1:0]  unread11_reg;
    logic        crc_reg, ce_reg, ue_reg;
    logic [31:0] info_reg;

    assign res_valid = valid_reg[12];
    assign res_action = action12_reg;
    assign err_crc = crc_reg;
    assign err_ce = ce_reg;
    assign err_ue = ue_reg;
    assign err_info = info_reg;

    always_comb begin
        action_next = ACTION_NONE;
        if (hit_reg[1]) action_next = action11_reg[1];
        if (hit_reg[0]) action_next = action11_reg[0];
        // An action nobody defined is none.
        if (action_next != ACTION_BYPASS && action_next != ACTION_BLOCK)
            action_next = ACTION_NONE;
    end

    always_ff @(posedge clk) begin
        for (int c = 0; c < CHUNKS; c++)
            for (int b = 0; b < SETS_LOG2; b++)
                part_reg[c][b] <= ^(key_bits[CHUNK*c +: CHUNK] & HASH_MASKS[b][CHUNK*c +: CHUNK]);
        key_reg[1] <= key;
        for (int i = 2; i <= 9; i++) key_reg[i] <= key_reg[i-1];
        set_reg[3] <= set_next;
        for (int i = 4; i <= 11; i++) set_reg[i] <= set_reg[i-1];
        lookup_reg <= {lookup_reg[1], key_lookup};
        valid_reg <= {valid_reg[11:1], key_valid};
        look_reg <= {look_reg[9:3], valid_reg[2] && lookup_reg[2] && ready};
        way_reg <= {way_reg[RAM_LATENCY-1:0], scrub_addr[0]};

        unread11_reg <= unread10_reg & {2{look_reg[10]}};
        action12_reg <= action_next;

        crc_reg <= scrub_crc;
        ce_reg <= scrub_ce;
        ue_reg <= scrub_ue || unread11_reg != '0;
        if (unread11_reg != '0) info_reg <= {1'b1, 31'({set_reg[11], !unread11_reg[0]})};
        else if (scrub_crc) info_reg <= pass_sig;
        else info_reg <= 32'(scrub_err_addr);

        if (rst || pipe_rst) begin
            valid_reg <= '0;
            look_reg <= '0;
        end
        if (rst) begin
            crc_reg <= 1'b0;
            ce_reg <= 1'b0;
            ue_reg <= 1'b0;
        end
    end
endmodule
