// Owns a table's memory on behalf of the host, and checks it in the background.
//
// One sequence at a time: a host command, or the check of one entry. A command waits for the
// check under way, so a correction can never overwrite what the host wrote after the entry was
// read. The memory is touched, read or written, only in cycles in which `idle` is high, through
// the read port the lookups use: what is checked is what is looked up, a lookup never collides
// with a write, and its outcome never depends on the host. Without idle cycles nothing here
// moves (`busy` stays, no pass ends); that is no error, and a line with inter-frame gaps always
// has them. A check takes WORDS + 13 cycles, a clear one for each entry.
//
//   command          sequence
//   cmd_write        read the old entry, write the new one, sig ^= both contributions
//   cmd_read         read the entry, corrected, into cmd_rdata (held until the next cmd_read)
//   cmd_clear        write zero everywhere, sig = 0; done by itself after reset
//
// A command given while `busy`, or below another one of the same cycle (clear, write, read), is
// refused: cmd_error, until a command is accepted.
//
// The signature is the XOR of the entries' contributions: 0 for an entry of zeros, else CRC-32
// (IEEE, as zlib.crc32) over the address, 32 bits little-endian, and the 64-bit words, low
// first. `sig` is kept from what was written, `pass_sig` is made from what the memory and
// extra_data hold; extra_data counts at the addresses behind the table's. A pass that writes
// interrupted is mended where they touched what was passed, so it never errs by them. An XOR of
// CRCs is linear: it cannot see two whole entries exchanged, nor the same bits changed in two.
//
// What is found: one wrong bit of a word is corrected and written back (err_ce); two are err_ue,
// and the entry is left alone, for a rewrite would hide them; what SECDED cannot see shows as
// err_crc at the end of the pass, or of the next one when the host rewrote that entry meanwhile.
// After err_ue and err_crc the remedy is cmd_clear and to load the table again.
module nsd_scrub
    import nsd_pkg::*;
#(
    // 64-bit words of an entry, 1 to 16. Each is stored with 8 check bits above it.
    parameter int WORDS = 6,
    // Address bits of the table, 1 to 16.
    parameter int DEPTH_LOG2 = 10,
    // Entries outside the memory (configuration) that a pass checks too, 0 to 64.
    parameter int EXTRA = 0,
    // Cycles from rd_en to rd_data, 1 to 8: more than RAM_LATENCY when the table registers the
    // address. A write may then be delayed as long, for reads and writes never change places.
    parameter int READ_LATENCY = RAM_LATENCY,
    // Cycles from rd_data to rd_ce_any, rd_ue_any and rd_differs, 0 to 8.
    parameter int STATUS_LATENCY = 0,
    localparam int DATA_W = 64 * WORDS,
    localparam int CODE_W = 72 * WORDS,
    localparam int EXTRA_W = EXTRA > 0 ? EXTRA * DATA_W : DATA_W
) (
    input  logic                  clk,
    input  logic                  rst,

    // Host: strobes, with address and data of the same cycle.
    input  logic                  cmd_write,
    input  logic                  cmd_read,
    input  logic                  cmd_clear,
    input  logic [DEPTH_LOG2-1:0] cmd_addr,
    input  logic [DATA_W-1:0]     cmd_wdata,
    output logic [DATA_W-1:0]     cmd_rdata,
    output logic                  busy,
    output logic                  cmd_error,
    output logic [31:0]           sig,          // of the table alone, without extra_data

    // Memory: rd_en and wr_en are high only while idle is.
    input  logic                  idle,
    output logic                  rd_en,
    output logic [DEPTH_LOG2-1:0] rd_addr,
    input  logic [CODE_W-1:0]     rd_data,      // word i: check bits [72i+64 +: 8], data below
    input  logic                  rd_ce_any,    // of the other copies: one has a corrected error
    input  logic                  rd_ue_any,    // … has an uncorrectable one
    input  logic                  rd_differs,   // … is not equal to rd_data, bit by bit
    output logic                  wr_en,
    output logic [DEPTH_LOG2-1:0] wr_addr,
    output logic [CODE_W-1:0]     wr_data,

    // Pass.
    input  logic [EXTRA_W-1:0]    extra_data,
    input  logic [31:0]           expect_sig,   // sig of a table without extra_data
    input  logic                  check_enable, // err_crc may be raised
    input  logic                  restart,      // strobe: begin a new pass
    output logic                  pass_done,    // strobe; the next three are valid with it
    output logic [31:0]           pass_sig,
    output logic                  pass_clean,   // no write of the host during the pass
    output logic                  pass_ok,      // pass_sig was expect_sig, all copies agree, no
                                                // word was uncorrectable

    // Errors: strobes; err_addr is valid with err_ce and err_ue.
    output logic                  err_crc,
    output logic                  err_ce,
    output logic                  err_ue,
    output logic [DEPTH_LOG2-1:0] err_addr,
    input  logic                  inj_crc       // strobe: one entry is misread in a whole pass
);
    if (WORDS < 1 || WORDS > 16) $fatal(1, "nsd_scrub: WORDS must be 1 to 16");
    if (DEPTH_LOG2 < 1 || DEPTH_LOG2 > 16) $fatal(1, "nsd_scrub: DEPTH_LOG2 must be 1 to 16");
    if (EXTRA < 0 || EXTRA > 64) $fatal(1, "nsd_scrub: EXTRA must be 0 to 64");
    if (READ_LATENCY < 1 || READ_LATENCY > 8)
        $fatal(1, "nsd_scrub: READ_LATENCY must be 1 to 8");
    if (STATUS_LATENCY < 0 || STATUS_LATENCY > 8)
        $fatal(1, "nsd_scrub: STATUS_LATENCY must be 0 to 8");


    localparam int ENTRIES = 2 ** DEPTH_LOG2;
    localparam int POS_W = $clog2(ENTRIES + EXTRA + 1);
    localparam int WORD_W = 5;

    // CRC-32 of eight more bytes is linear: bit i of (data ^ state) adds crc_cols()[i].
    function automatic logic [63:0][31:0] crc_cols();
        logic [31:0] col;
        col = 32'd1;
        for (int i = 63; i >= 0; i--) begin
            col = col[0] ? (col >> 1) ^ 32'hEDB8_8320 : col >> 1;
            crc_cols[i] = col;
        end
    endfunction
    localparam logic [63:0][31:0] CRC_COLS = crc_cols();

    function automatic logic [31:0] crc_word(input logic [31:0] crc, input logic [63:0] data);
        logic [63:0] mixed, mask;
        mixed = data ^ {32'd0, crc};
        for (int b = 0; b < 32; b++) begin
            for (int i = 0; i < 64; i++) mask[i] = CRC_COLS[i][b];
            crc_word[b] = ^(mixed & mask);
        end
    endfunction

    // The state after the address alone: four bytes, so the upper half of eight.
    function automatic logic [31:0] crc_address(input logic [POS_W-1:0] address);
        return crc_word(32'd0, {~32'(address), 32'd0});
    endfunction

    // One bit a state: the enables of the wide registers below are one LUT from it.
    typedef enum int {
        ST_ZERO,    // before a clear: the word to write becomes zero
        ST_CLEAR,   // write it to one address for each idle cycle
        ST_NEXT,    // decide what comes
        ST_READ,    // wait for an idle cycle
        ST_WAIT,    // wait for the memory
        ST_EXTRA,   // take an entry from extra_data instead
        ST_STREAM,  // send the entry's words, one a cycle, through correction and CRC
        ST_DRAIN,   // until the last has come through
        ST_FOLD,    // keep the contribution, decide what follows
        ST_WRITE,   // wait for an idle cycle
        ST_APPLY,   // bring the signatures up to date
        ST_MATCH,   // compare them at the end of a pass
        ST_PASS,
        STATES
    } state_t;
    typedef logic [STATES-1:0] states_t;
    typedef enum logic [1:0] {OP_CHECK, OP_READ, OP_WRITE} op_t;

    states_t state_reg, state_next;
    op_t     op_reg;

    // The command that waits.
    logic                  want_write_reg, want_read_reg, want_clear_reg;
    logic [DEPTH_LOG2-1:0] want_addr_reg;
    logic [DATA_W-1:0]     wdata_reg;
    logic                  busy_reg, error_reg;
    logic                  any_cmd, accept, serve_command, start_check;

    // The sequence under way.
    logic [POS_W-1:0]  addr_reg;       // where: behind ENTRIES it is extra_data
    logic              turn_reg;       // a check comes before the next command
    logic              new_reg;        // the words sent are wdata_reg, not what was read
    logic [WORD_W-1:0] left_reg;       // words still to send, less one
    logic [CODE_W-1:0] code_reg;       // what was read, shifting
    logic [READ_LATENCY-1:0] read_line_reg;  // [i]: rd_en was high i + 1 cycles ago
    logic              loaded;
    logic              clear_last, pass_last, last_reg, drained, write_op, begin_reg;
    logic [STATUS_LATENCY:0]   status_reg;
    logic [STATUS_LATENCY+1:0] status_line;  // [i]: rd_data came i cycles ago
    logic              status_due, status_now;
    logic              ce_reg, ue_reg, other_ce_reg, other_ue_reg, differs_reg;
    logic              heal;

    // The pass.
    logic [POS_W-1:0] next_reg;      // the next address to check; those below it are passed
    logic             extra_next;    // it is in extra_data
    logic [31:0]      sig_reg, acc_reg, delta_reg;
    logic             clean_reg, unread_reg, parted_reg, match_reg, restart_reg, passed_reg;
    logic             inj_want_reg, inj_used_reg, inj_now_reg;

    // The words' pipeline: raw, with syndrome, corrected.
    logic        raw_valid_reg, syn_valid_reg, word_valid_reg;
    logic        raw_plain_reg;      // no check bits: from the host or from extra_data
    logic [71:0] raw_reg;
    logic [63:0] syn_data_reg;
    logic [7:0]  syndrome_reg;
    logic [63:0] word_reg;
    logic        word_ce_reg, word_ue_reg;
    logic [31:0] crc_reg, contribution;
    logic        any_reg;
    logic [7:0]  word_check;
    logic [CODE_W-1:0] wr_reg;
    logic [DATA_W-1:0] rdata_reg;

    // ---- commands
    assign any_cmd = cmd_write || cmd_read || cmd_clear;
    assign accept = any_cmd && !busy_reg;
    assign busy = busy_reg;
    assign cmd_error = error_reg;
    assign cmd_rdata = rdata_reg;
    assign sig = sig_reg;

    // ---- what comes next
    assign serve_command = state_reg[ST_NEXT] && (want_write_reg || want_read_reg)
                           && !turn_reg && !restart_reg;
    assign start_check = state_reg[ST_NEXT] && !want_clear_reg && !serve_command
                         && !restart_reg;
    assign extra_next = EXTRA > 0 && next_reg >= POS_W'(ENTRIES);
    // Written back only when every word of every copy could be read: else a guess would become
    // a valid code word.
    assign heal = op_reg == OP_CHECK && (ce_reg || other_ce_reg) && !ue_reg && !other_ue_reg;

    assign rd_en = state_reg[ST_READ] && idle;
    assign rd_addr = addr_reg[DEPTH_LOG2-1:0];
    assign wr_en = (state_reg[ST_WRITE] || state_reg[ST_CLEAR]) && idle;
    assign wr_addr = addr_reg[DEPTH_LOG2-1:0];
    assign wr_data = wr_reg;

    assign loaded = read_line_reg[READ_LATENCY-1];
    assign status_line = {status_reg, loaded};
    assign status_now = status_line[STATUS_LATENCY];

    assign clear_last = state_reg[ST_CLEAR] && idle && addr_reg == POS_W'(ENTRIES - 1);
    assign drained = !raw_valid_reg && !syn_valid_reg && !word_valid_reg && !status_due;
    assign write_op = op_reg == OP_WRITE;
    assign pass_last = op_reg == OP_CHECK && last_reg;

    always_comb begin
        state_next = '0;
        state_next[ST_ZERO] = state_reg[ST_NEXT] && want_clear_reg;
        state_next[ST_CLEAR] = state_reg[ST_ZERO] || (state_reg[ST_CLEAR] && !clear_last);
        state_next[ST_NEXT] = clear_last
                              || (state_reg[ST_NEXT] && !want_clear_reg && restart_reg)
                              || (state_reg[ST_APPLY] && !pass_last)
                              || state_reg[ST_PASS] || state_reg == '0;  // lost by an upset
        state_next[ST_READ] = serve_command || (start_check && !extra_next)
                              || (state_reg[ST_READ] && !idle);
        state_next[ST_WAIT] = rd_en || (state_reg[ST_WAIT] && !loaded);
        state_next[ST_EXTRA] = start_check && extra_next;
        state_next[ST_STREAM] = loaded || state_reg[ST_EXTRA]
                                || (state_reg[ST_STREAM] && left_reg != '0)
                                || (state_reg[ST_FOLD] && write_op && !new_reg);
        state_next[ST_DRAIN] = (state_reg[ST_STREAM] && left_reg == '0)
                               || (state_reg[ST_DRAIN] && !drained);
        state_next[ST_FOLD] = state_reg[ST_DRAIN] && drained;
        state_next[ST_WRITE] = (state_reg[ST_FOLD] && (write_op ? new_reg : heal))
                               || (state_reg[ST_WRITE] && !idle);
        state_next[ST_APPLY] = (state_reg[ST_FOLD] && !write_op && !heal)
                               || (state_reg[ST_WRITE] && idle);
        state_next[ST_MATCH] = state_reg[ST_APPLY] && pass_last;
        state_next[ST_PASS] = state_reg[ST_MATCH];
    end

    // ---- extra_data
    logic [CODE_W-1:0] extra_code;
    if (EXTRA > 0) begin : g_extra
        logic [POS_W-1:0] index;
        logic [DATA_W-1:0] entry;
        assign index = addr_reg - POS_W'(ENTRIES);
        always_comb begin
            entry = '0;
            for (int i = 0; i < EXTRA; i++)
                if (index == POS_W'(i)) entry |= extra_data[DATA_W*i +: DATA_W];
            for (int i = 0; i < WORDS; i++) extra_code[72*i +: 72] = {8'd0, entry[64*i +: 64]};
        end
    end else begin : g_no_extra
        logic unused;
        assign unused = ^extra_data;
        assign extra_code = '0;
    end

    // ---- words: one cycle for the syndrome, one for the correction, one for the CRC
    logic [7:0]  syndrome;
    logic [63:0] fixed;
    logic        fixed_ce, fixed_ue;

    nsd_ecc_dec #(.W(64)) decode (
        .data(raw_reg[63:0]), .check(raw_reg[71:64]), .syndrome,
        .fix_data(syn_data_reg), .fix_syndrome(syndrome_reg),
        .fixed, .fix_ce(fixed_ce), .fix_ue(fixed_ue));
    nsd_ecc_enc #(.W(64)) encode (.data(word_reg), .check(word_check));

    assign contribution = any_reg ? ~crc_reg : 32'd0;

    always_ff @(posedge clk) begin
        state_reg <= state_next;

        // Commands.
        if (accept) begin
            want_clear_reg <= cmd_clear;
            want_write_reg <= cmd_write && !cmd_clear;
            want_read_reg <= cmd_read && !cmd_write && !cmd_clear;
            busy_reg <= 1'b1;
        end
        // Whatever stands there when a command is accepted stays.
        if (!busy_reg) begin
            want_addr_reg <= cmd_addr;
            wdata_reg <= cmd_wdata;
        end
        if (any_cmd)
            error_reg <= busy_reg || (cmd_clear && (cmd_write || cmd_read))
                         || (cmd_write && cmd_read);

        // What comes next.
        if (state_reg[ST_NEXT]) begin
            new_reg <= 1'b0;
            ce_reg <= 1'b0;
            ue_reg <= 1'b0;
            other_ce_reg <= 1'b0;
            other_ue_reg <= 1'b0;
            differs_reg <= 1'b0;
            any_reg <= 1'b0;
            left_reg <= WORD_W'(WORDS - 1);
        end
        if (serve_command) begin
            op_reg <= want_write_reg ? OP_WRITE : OP_READ;
            addr_reg <= POS_W'(want_addr_reg);
            passed_reg <= POS_W'(want_addr_reg) < next_reg;
            turn_reg <= 1'b1;
        end
        if (start_check) begin
            op_reg <= OP_CHECK;
            addr_reg <= next_reg;
            turn_reg <= 1'b0;
            last_reg <= next_reg == POS_W'(ENTRIES + EXTRA - 1);
            inj_now_reg <= inj_want_reg && !inj_used_reg;
            inj_used_reg <= inj_want_reg;
        end
        if (inj_crc) inj_want_reg <= 1'b1;

        // Clear.
        if (state_reg[ST_ZERO]) begin
            addr_reg <= '0;
            sig_reg <= '0;
        end
        if (state_reg[ST_CLEAR] && idle) addr_reg <= addr_reg + 1'b1;
        if (clear_last) begin
            want_clear_reg <= 1'b0;
            busy_reg <= 1'b0;
        end
        restart_reg <= restart || state_reg[ST_ZERO] || (restart_reg && !state_reg[ST_NEXT]);
        if (state_reg[ST_NEXT] && restart_reg) begin
            next_reg <= '0;
            acc_reg <= '0;
            clean_reg <= 1'b1;
            unread_reg <= 1'b0;
            parted_reg <= 1'b0;
            inj_used_reg <= 1'b0;
        end

        // Read, with the state of the other copies.
        read_line_reg <= READ_LATENCY'({read_line_reg, rd_en});
        if (loaded) code_reg <= rd_data;
        else if (state_reg[ST_EXTRA]) code_reg <= extra_code;
        else if (state_reg[ST_STREAM] && !new_reg) code_reg <= code_reg >> 72;
        status_reg <= status_line[STATUS_LATENCY:0];
        status_due <= (status_due || state_reg[ST_READ]) && !status_now;
        if (status_now) begin
            other_ce_reg <= rd_ce_any;
            other_ue_reg <= rd_ue_any;
            differs_reg <= rd_differs;
        end

        // The words.
        if (state_reg[ST_STREAM]) left_reg <= left_reg - 1'b1;
        if (busy_reg && state_reg[ST_STREAM] && new_reg) wdata_reg <= wdata_reg >> 64;
        raw_valid_reg <= state_reg[ST_STREAM];
        raw_plain_reg <= new_reg || (EXTRA > 0 && addr_reg >= POS_W'(ENTRIES));
        raw_reg <= new_reg ? {8'd0, wdata_reg[63:0]} : code_reg[71:0];
        syn_valid_reg <= raw_valid_reg;
        syn_data_reg <= raw_reg[63:0];
        syndrome_reg <= raw_plain_reg ? 8'd0 : syndrome;
        word_valid_reg <= syn_valid_reg;
        word_reg <= fixed;
        word_ce_reg <= syn_valid_reg && fixed_ce;
        word_ue_reg <= syn_valid_reg && fixed_ue;

        begin_reg <= state_reg[ST_STREAM] && left_reg == WORD_W'(WORDS - 1);
        if (begin_reg) begin
            crc_reg <= crc_address(addr_reg);
            any_reg <= 1'b0;
        end
        if (word_valid_reg) begin
            crc_reg <= crc_word(crc_reg, word_reg ^ {63'd0, inj_now_reg});
            any_reg <= any_reg || |(word_reg ^ {63'd0, inj_now_reg});
            ce_reg <= ce_reg || word_ce_reg;
            ue_reg <= ue_reg || word_ue_reg;
        end
        if (state_reg[ST_ZERO]) wr_reg <= '0;
        else if (word_valid_reg) wr_reg <= CODE_W'({word_check, word_reg, wr_reg} >> 72);
        if (word_valid_reg && op_reg == OP_READ)
            rdata_reg <= DATA_W'({word_reg, rdata_reg} >> 64);

        // Fold.
        err_ce <= 1'b0;
        err_ue <= 1'b0;
        if (state_reg[ST_FOLD]) begin
            delta_reg <= new_reg ? delta_reg ^ contribution : contribution;
            inj_now_reg <= 1'b0;
            left_reg <= WORD_W'(WORDS - 1);
            new_reg <= op_reg == OP_WRITE;
            err_ce <= heal;
            err_ue <= !new_reg && (ue_reg || other_ue_reg);
            err_addr <= addr_reg[DEPTH_LOG2-1:0];
        end
        if (state_reg[ST_APPLY]) begin
            if (op_reg == OP_WRITE) sig_reg <= sig_reg ^ delta_reg;
            if (op_reg == OP_CHECK || (op_reg == OP_WRITE && passed_reg))
                acc_reg <= acc_reg ^ delta_reg;
            if (op_reg == OP_WRITE) clean_reg <= 1'b0;
            if (op_reg == OP_CHECK) begin
                next_reg <= next_reg + 1'b1;
                // Copies that differ are mended by writing the entry back, or it is an error.
                unread_reg <= unread_reg || ue_reg || other_ue_reg;
                parted_reg <= parted_reg || (differs_reg && !heal && !ue_reg && !other_ue_reg);
            end else begin
                busy_reg <= 1'b0;
                want_write_reg <= 1'b0;
                want_read_reg <= 1'b0;
            end
        end

        // The end of a pass.
        pass_done <= 1'b0;
        err_crc <= 1'b0;
        match_reg <= acc_reg == expect_sig;
        if (state_reg[ST_PASS]) begin
            pass_done <= !restart_reg && !restart;
            pass_ok <= match_reg && !parted_reg && !unread_reg;
            pass_clean <= clean_reg;
            pass_sig <= acc_reg;
            err_crc <= check_enable && !restart_reg && !restart && !(match_reg && !parted_reg);
            restart_reg <= 1'b1;
            if (inj_used_reg && !restart_reg && !restart) inj_want_reg <= inj_crc;
        end

        if (rst) begin
            state_reg <= states_t'(1) << ST_ZERO;
            read_line_reg <= '0;
            begin_reg <= 1'b0;
            want_clear_reg <= 1'b0;
            want_write_reg <= 1'b0;
            want_read_reg <= 1'b0;
            busy_reg <= 1'b1;
            error_reg <= 1'b0;
            turn_reg <= 1'b0;
            restart_reg <= 1'b1;
            status_reg <= '0;
            status_due <= 1'b0;
            raw_valid_reg <= 1'b0;
            syn_valid_reg <= 1'b0;
            word_valid_reg <= 1'b0;
            inj_want_reg <= 1'b0;
            inj_now_reg <= 1'b0;
            sig_reg <= '0;
            pass_done <= 1'b0;
            err_crc <= 1'b0;
            err_ce <= 1'b0;
            err_ue <= 1'b0;
        end
    end
endmodule
