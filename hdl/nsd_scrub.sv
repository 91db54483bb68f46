// Owns a table's memory on behalf of the host, and checks it in the background.
//
// One sequence at a time: a host command, or the check of one entry. A command waits for the
// check under way, so a correction can never overwrite what the host wrote after the entry was
// read. The memory is touched, read or written, only in cycles in which `idle` is high, through
// the read port the lookups use: what is checked is what is looked up, a lookup never collides
// with a write, and its outcome never depends on the host. Without idle cycles nothing here
// moves (`busy` stays, no pass ends); that is no error, and a line with inter-frame gaps always
// has them. A check takes WORDS + 17 cycles, a clear one for each entry.
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

    // What the address (four bytes, before the words), the initial and the final inversion add to
    // the CRC of an entry: [POS_W] always, [b] when bit b of the address is set.
    typedef logic [POS_W:0][31:0] address_cols_t;
    function automatic address_cols_t address_cols();
        logic [31:0] crc;
        for (int b = 0; b <= POS_W; b++) begin
            crc = b == POS_W ? 32'hFFFF_FFFF : 32'd1 << b;
            for (int i = 0; i < 4 + 8 * WORDS; i++) crc = crc32_byte(crc, 8'd0);
            address_cols[b] = b == POS_W ? ~crc : crc;
        end
    endfunction
    localparam address_cols_t ADDRESS_COLS = address_cols();

    // One bit a state: the enables of the wide registers below are one LUT from it.
    typedef enum int {
        ST_ZERO,    // before a clear: the word to write becomes zero
        ST_CLEAR,   // write it to one address for each idle cycle
        ST_NEXT,    // decide what comes
        ST_SERVE,   // begin a command
        ST_CHECK,   // begin the check of one entry
        ST_READ,    // wait for an idle cycle
        ST_WAIT,    // wait for the memory
        ST_INDEX,   // instead, which entry of extra_data
        ST_PART,    // one of each eight of them
        ST_EXTRA,   // of these, the one
        ST_STREAM,  // send the entry's words, one a cycle, through correction and CRC
        ST_DRAIN,   // until the last has come through
        ST_FOLD,    // keep the contribution, decide what follows
        ST_WRITE,   // wait for an idle cycle
        ST_APPLY,   // bring the signatures up to date
        ST_PARTS,   // compare them at the end of a pass, in parts
        ST_MATCH,
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
    logic              send_reg;       // ST_STREAM of these
    logic [WORD_W-1:0] left_reg;       // words still to send, less one
    logic [CODE_W-1:0] code_reg;       // what was read, shifting
    logic [READ_LATENCY-1:0] read_line_reg;  // [i]: rd_en was high i + 1 cycles ago
    logic              loaded;
    logic              clear_end, pass_last, last_reg, drained, write_op, begin_reg;
    logic [STATUS_LATENCY:0]   status_reg;
    logic [STATUS_LATENCY+1:0] status_line;  // [i]: rd_data came i cycles ago
    logic              status_due, status_now;
    logic              spoilt_reg;     // a word could not be read
    logic              other_ce_reg, other_ue_reg, differs_reg;
    logic              heal_reg;       // write the entry back, corrected

    // The pass.
    logic [POS_W-1:0] next_reg;      // the next address to check; those below it are passed
    logic             extra_next;    // it is in extra_data
    logic [31:0]      sig_reg, acc_reg, delta_reg;
    logic             clean_reg, unread_reg, parted_reg, match_reg, restart_reg, passed_reg;
    logic [3:0]       same_reg;      // parts of acc_reg and expect_sig
    logic             acc_en_reg, sig_en_reg;  // what the sequence changes counts there
    logic             inj_want_reg, inj_used_reg, inj_now_reg;

    // The words' way; see nsd_scrub_words.
    logic              pending, word_valid, code_valid;
    logic [63:0]       word;
    logic [71:0]       word_code;
    logic              any, ce, ue;
    logic [31:0]       crc, address_crc_reg, contribution;
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
    // ENTRIES is a power of two.
    assign extra_next = EXTRA > 0 && next_reg[POS_W-1:DEPTH_LOG2] != '0;

    assign rd_en = state_reg[ST_READ] && idle;
    assign rd_addr = addr_reg[DEPTH_LOG2-1:0];
    assign wr_en = (state_reg[ST_WRITE] || (state_reg[ST_CLEAR] && !addr_reg[DEPTH_LOG2])) && idle;
    assign wr_addr = addr_reg[DEPTH_LOG2-1:0];
    assign wr_data = wr_reg;

    assign loaded = read_line_reg[READ_LATENCY-1];
    assign status_line = {status_reg, loaded};
    assign status_now = status_line[STATUS_LATENCY];

    assign clear_end = state_reg[ST_CLEAR] && addr_reg[DEPTH_LOG2];
    assign drained = !pending && !status_due;
    assign write_op = op_reg == OP_WRITE;
    assign pass_last = op_reg == OP_CHECK && last_reg;

    always_comb begin
        state_next = '0;
        state_next[ST_ZERO] = state_reg[ST_NEXT] && want_clear_reg;
        state_next[ST_CLEAR] = state_reg[ST_ZERO] || (state_reg[ST_CLEAR] && !clear_end);
        state_next[ST_NEXT] = clear_end
                              || (state_reg[ST_NEXT] && !want_clear_reg && restart_reg)
                              || (state_reg[ST_APPLY] && !pass_last)
                              || state_reg[ST_PASS] || state_reg == '0;  // lost by an upset
        state_next[ST_SERVE] = serve_command;
        state_next[ST_CHECK] = start_check;
        state_next[ST_READ] = state_reg[ST_SERVE] || (state_reg[ST_CHECK] && !extra_next)
                              || (state_reg[ST_READ] && !idle);
        state_next[ST_WAIT] = rd_en || (state_reg[ST_WAIT] && !loaded);
        state_next[ST_INDEX] = state_reg[ST_CHECK] && extra_next;
        state_next[ST_PART] = state_reg[ST_INDEX];
        state_next[ST_EXTRA] = state_reg[ST_PART];
        state_next[ST_STREAM] = loaded || state_reg[ST_EXTRA]
                                || (state_reg[ST_STREAM] && left_reg != '0)
                                || (state_reg[ST_FOLD] && write_op && !new_reg);
        state_next[ST_DRAIN] = (state_reg[ST_STREAM] && left_reg == '0)
                               || (state_reg[ST_DRAIN] && !drained);
        state_next[ST_FOLD] = state_reg[ST_DRAIN] && drained;
        state_next[ST_WRITE] = (state_reg[ST_FOLD] && (write_op ? new_reg : heal_reg))
                               || (state_reg[ST_WRITE] && !idle);
        state_next[ST_APPLY] = (state_reg[ST_FOLD] && !write_op && !heal_reg)
                               || (state_reg[ST_WRITE] && idle);
        state_next[ST_PARTS] = state_reg[ST_APPLY] && pass_last;
        state_next[ST_MATCH] = state_reg[ST_PARTS];
        state_next[ST_PASS] = state_reg[ST_MATCH];
    end

    // ---- extra_data: a wide choice, so it is made in steps
    logic [CODE_W-1:0] extra_code;
    if (EXTRA > 0) begin : g_extra
        localparam int PARTS = (EXTRA + 7) / 8;
        logic [5:0] index_reg;
        logic [PARTS-1:0][DATA_W-1:0] entry_reg;
        logic [DATA_W-1:0] entry;
        logic [8*PARTS-1:0][DATA_W-1:0] entries;
        assign entries = (8 * PARTS * DATA_W)'(extra_data);
        assign entry = entry_reg[index_reg[5:3]];
        for (genvar i = 0; i < WORDS; i++) begin : g_word
            assign extra_code[72*i +: 72] = {8'd0, entry[64*i +: 64]};
        end
        always_ff @(posedge clk) begin
            // Its enable keeps it from being merged with a copy of the table's address.
            if (state_reg[ST_INDEX]) index_reg <= 6'(addr_reg - POS_W'(ENTRIES));
            for (int i = 0; i < PARTS; i++) entry_reg[i] <= entries[8*i + 32'(index_reg[2:0])];
        end
    end else begin : g_no_extra
        logic unused;
        assign unused = ^extra_data;
        assign extra_code = '0;
    end

    // ---- words
    logic [71:0] in_code;
    logic        in_plain;  // from the host or from extra_data
    assign in_code = send_reg ? {8'd0, wdata_reg[63:0]} : code_reg[71:0];
    assign in_plain = send_reg || (EXTRA > 0 && addr_reg[POS_W-1:DEPTH_LOG2] != '0);

    nsd_scrub_words words (
        .clk, .rst, .in_valid(state_reg[ST_STREAM]), .in_plain, .in_code, .begin_entry(begin_reg),
        .misread(inj_now_reg), .pending, .word_valid, .word, .code_valid, .code(word_code),
        .any, .ce, .ue, .crc);

    for (genvar b = 0; b < 32; b++) begin : g_address
        logic [POS_W-1:0] mask;
        for (genvar i = 0; i < POS_W; i++) begin : g_mask
            assign mask[i] = ADDRESS_COLS[i][b];
        end
        always_ff @(posedge clk)
            address_crc_reg[b] <= ADDRESS_COLS[POS_W][b] ^ ^(addr_reg & mask);
    end
    assign contribution = any ? crc ^ address_crc_reg : 32'd0;

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
        if (!busy_reg) want_addr_reg <= cmd_addr;
        if (send_reg) wdata_reg <= wdata_reg >> 64;
        else if (!busy_reg) wdata_reg <= cmd_wdata;
        if (any_cmd)
            error_reg <= busy_reg || (cmd_clear && (cmd_write || cmd_read))
                         || (cmd_write && cmd_read);

        // What comes next.
        if (state_reg[ST_NEXT]) begin
            new_reg <= 1'b0;
            other_ce_reg <= 1'b0;
            other_ue_reg <= 1'b0;
            differs_reg <= 1'b0;
            left_reg <= WORD_W'(WORDS - 1);
        end
        if (state_reg[ST_SERVE]) begin
            op_reg <= want_write_reg ? OP_WRITE : OP_READ;
            addr_reg <= POS_W'(want_addr_reg);
            turn_reg <= 1'b1;
        end
        if (state_reg[ST_CHECK]) begin
            op_reg <= OP_CHECK;
            addr_reg <= next_reg;
            turn_reg <= 1'b0;
            inj_now_reg <= inj_want_reg && !inj_used_reg;
            inj_used_reg <= inj_want_reg;
        end
        // Wanted cycles later only.
        passed_reg <= POS_W'(want_addr_reg) < next_reg;
        last_reg <= addr_reg == POS_W'(ENTRIES + EXTRA - 1);
        sig_en_reg <= op_reg == OP_WRITE;
        acc_en_reg <= op_reg == OP_CHECK || (op_reg == OP_WRITE && passed_reg);
        if (inj_crc) inj_want_reg <= 1'b1;

        // Clear.
        if (state_reg[ST_ZERO]) begin
            addr_reg <= '0;
            sig_reg <= '0;
        end
        if (state_reg[ST_CLEAR] && idle) addr_reg <= addr_reg + 1'b1;
        if (clear_end) begin
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
        // Streamed from the next cycle on, so it need not stand still.
        if (loaded) code_reg <= rd_data;
        else if (EXTRA > 0 && state_reg[ST_EXTRA]) code_reg <= extra_code;
        else code_reg <= code_reg >> 72;
        status_reg <= status_line[STATUS_LATENCY:0];
        status_due <= (status_due || state_reg[ST_READ]) && !status_now;
        if (status_now) begin
            other_ce_reg <= rd_ce_any;
            other_ue_reg <= rd_ue_any;
            differs_reg <= rd_differs;
        end

        // The words.
        if (state_reg[ST_STREAM]) left_reg <= left_reg - 1'b1;
        send_reg <= (state_reg[ST_FOLD] && write_op && !new_reg) || (send_reg && left_reg != '0);
        begin_reg <= state_reg[ST_STREAM] && left_reg == WORD_W'(WORDS - 1);
        if (state_reg[ST_ZERO]) wr_reg <= '0;
        else if (code_valid) wr_reg <= CODE_W'({word_code, wr_reg} >> 72);
        if (word_valid && op_reg == OP_READ) rdata_reg <= DATA_W'({word, rdata_reg} >> 64);

        // Written back only when every word of every copy could be read: else a guess would
        // become a valid code word.
        heal_reg <= op_reg == OP_CHECK && (ce || other_ce_reg) && !ue && !other_ue_reg;
        spoilt_reg <= ue || other_ue_reg;

        // Fold.
        err_ce <= 1'b0;
        err_ue <= 1'b0;
        if (state_reg[ST_FOLD]) begin
            delta_reg <= new_reg ? delta_reg ^ contribution : contribution;
            inj_now_reg <= 1'b0;
            left_reg <= WORD_W'(WORDS - 1);
            new_reg <= op_reg == OP_WRITE;
            err_ce <= heal_reg;
            err_ue <= !new_reg && spoilt_reg;
            err_addr <= addr_reg[DEPTH_LOG2-1:0];
        end
        if (state_reg[ST_APPLY]) begin
            if (sig_en_reg) sig_reg <= sig_reg ^ delta_reg;
            if (acc_en_reg) acc_reg <= acc_reg ^ delta_reg;
            if (op_reg == OP_WRITE) clean_reg <= 1'b0;
            if (op_reg == OP_CHECK) begin
                next_reg <= next_reg + 1'b1;
                // Copies that differ are mended by writing the entry back, or it is an error.
                unread_reg <= unread_reg || spoilt_reg;
                parted_reg <= parted_reg || (differs_reg && !heal_reg && !spoilt_reg);
            end else begin
                busy_reg <= 1'b0;
                want_write_reg <= 1'b0;
                want_read_reg <= 1'b0;
            end
        end

        // The end of a pass.
        pass_done <= 1'b0;
        err_crc <= 1'b0;
        for (int i = 0; i < 4; i++) same_reg[i] <= acc_reg[8*i +: 8] == expect_sig[8*i +: 8];
        match_reg <= &same_reg;
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
            send_reg <= 1'b0;
            want_clear_reg <= 1'b0;
            want_write_reg <= 1'b0;
            want_read_reg <= 1'b0;
            busy_reg <= 1'b1;
            error_reg <= 1'b0;
            turn_reg <= 1'b0;
            restart_reg <= 1'b1;
            status_reg <= '0;
            status_due <= 1'b0;
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
