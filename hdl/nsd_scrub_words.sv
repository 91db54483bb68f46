// The words of an entry, one a cycle, on their way through nsd_scrub: corrected, coded anew, and
// their CRC-32 (IEEE, from 0, no inversion, low byte first).
//
//   cycle 0  in          2  syndrome      4  parts of CRC and check bits    6  crc
//         1  registered  3  corrected     5  code, any, ce, ue
//
// Nothing waits for any of this, so no step takes more than three levels of logic. `begin_entry`
// comes with an entry's first word in cycle 1 (or before it) and forgets what was before.
module nsd_scrub_words
    import nsd_ecc_pkg::*;
(
    input  logic        clk,
    input  logic        rst,

    input  logic        in_valid,
    input  logic        in_plain,     // without check bits
    input  logic [71:0] in_code,      // check bits above the data
    input  logic        begin_entry,
    input  logic        misread,      // the CRC's view of bit 0 is wrong
    output logic        pending,      // a word is under way

    output logic        word_valid,   // cycle 3
    output logic [63:0] word,
    output logic        code_valid,   // cycle 4
    output logic [71:0] code,

    // Of the entry so far.
    output logic        any,          // a bit was set
    output logic        ce,           // a word was corrected
    output logic        ue,           // a word could not be
    output logic [31:0] crc
);
    localparam int PARTS = 8;
    localparam int PART_W = 64 / PARTS;

    // CRC-32 of eight more bytes is linear: CRC_MASKS[b] = the bits of (data ^ state) in bit b.
    typedef logic [31:0][63:0] masks_t;
    function automatic masks_t crc_masks();
        logic [31:0] col;
        col = 32'd1;
        for (int i = 63; i >= 0; i--) begin
            col = col[0] ? (col >> 1) ^ 32'hEDB8_8320 : col >> 1;
            for (int b = 0; b < 32; b++) crc_masks[b][i] = col[b];
        end
    endfunction
    localparam masks_t CRC_MASKS = crc_masks();

    // Which syndromes name one bit; the others but zero are uncorrectable.
    function automatic logic [255:0] single_bits();
        single_bits = '0;
        for (int i = 0; i < ECC_CHECK_W; i++) single_bits[1 << i] = 1'b1;
        for (int i = 0; i < 64; i++) single_bits[ecc_column(i)] = 1'b1;
    endfunction
    localparam logic [255:0] SINGLE = single_bits();

    logic        raw_valid_reg, syn_valid_reg, word_valid_reg, part_valid_reg, mix_valid_reg;
    logic        raw_plain_reg;
    logic [71:0] raw_reg;
    logic [63:0] syn_data_reg, word_reg, part_word_reg;
    logic [7:0]  syndrome_reg, word_syndrome_reg;
    logic [3:0]  single_reg;          // by the syndrome's two upper bits
    logic [2:0]  part_syndrome_reg;   // these; it isn't zero
    logic [7:0]  check_low_reg, check_high_reg;
    logic [PARTS-1:0][31:0] crc_part_reg;
    logic [PARTS-1:0]       any_part_reg;
    logic [31:0] mix_reg, crc_reg;
    logic        any_reg, ce_reg, ue_reg;

    logic [7:0]  syndrome, check_low, check_high;
    logic [63:0] fixed, seen;
    logic        unused_ce, unused_ue;
    logic [3:0]  single;
    logic        part_single;
    logic [PARTS-1:0][31:0] crc_part;
    logic [31:0] mix, crc_next;

    nsd_ecc_dec #(.W(64)) decode (
        .data(raw_reg[63:0]), .check(raw_reg[71:64]), .syndrome,
        .fix_data(syn_data_reg), .fix_syndrome(syndrome_reg),
        .fixed, .fix_ce(unused_ce), .fix_ue(unused_ue));
    // The code is linear, so the halves' check bits add up.
    nsd_ecc_enc #(.W(64)) encode_low (.data({32'd0, word_reg[31:0]}), .check(check_low));
    nsd_ecc_enc #(.W(64)) encode_high (.data({word_reg[63:32], 32'd0}), .check(check_high));

    assign seen = word_reg ^ {63'd0, misread};
    for (genvar i = 0; i < PARTS; i++) begin : g_part
        for (genvar b = 0; b < 32; b++) begin : g_bit
            assign crc_part[i][b] = ^(seen[PART_W*i +: PART_W] & CRC_MASKS[b][PART_W*i +: PART_W]);
        end
    end
    always_comb begin
        mix = '0;
        for (int i = 0; i < PARTS; i++) mix ^= crc_part_reg[i];
    end
    for (genvar b = 0; b < 32; b++) begin : g_crc
        assign crc_next[b] = ^(crc_reg & CRC_MASKS[b][31:0]) ^ mix_reg[b];
    end
    for (genvar i = 0; i < 4; i++) begin : g_single
        always_comb begin
            single[i] = 1'b0;
            for (int low = 0; low < 64; low++)
                if (SINGLE[64*i + low]) single[i] |= word_syndrome_reg[5:0] == 6'(low);
        end
    end
    assign part_single = single_reg[part_syndrome_reg[1:0]];

    assign pending = raw_valid_reg || syn_valid_reg || word_valid_reg || part_valid_reg
                     || mix_valid_reg;
    assign word_valid = word_valid_reg;
    assign word = word_reg;
    assign code_valid = part_valid_reg;
    assign code = {check_low_reg ^ check_high_reg, part_word_reg};
    assign any = any_reg;
    assign ce = ce_reg;
    assign ue = ue_reg;
    assign crc = crc_reg;

    always_ff @(posedge clk) begin
        raw_valid_reg <= in_valid;
        raw_plain_reg <= in_plain;
        raw_reg <= in_code;

        syn_valid_reg <= raw_valid_reg;
        syn_data_reg <= raw_reg[63:0];
        syndrome_reg <= raw_plain_reg ? 8'd0 : syndrome;

        word_valid_reg <= syn_valid_reg;
        word_reg <= fixed;
        word_syndrome_reg <= syndrome_reg;

        part_valid_reg <= word_valid_reg;
        part_word_reg <= word_reg;
        crc_part_reg <= crc_part;
        for (int i = 0; i < PARTS; i++) any_part_reg[i] <= |seen[PART_W*i +: PART_W];
        single_reg <= single;
        part_syndrome_reg <= {word_syndrome_reg != '0, word_syndrome_reg[7:6]};
        check_low_reg <= check_low;
        check_high_reg <= check_high;

        mix_valid_reg <= part_valid_reg;
        mix_reg <= mix;
        if (part_valid_reg) begin
            any_reg <= any_reg || any_part_reg != '0;
            ce_reg <= ce_reg || part_single;
            ue_reg <= ue_reg || (part_syndrome_reg[2] && !part_single);
        end
        if (mix_valid_reg) crc_reg <= crc_next;

        if (begin_entry) begin
            any_reg <= 1'b0;
            ce_reg <= 1'b0;
            ue_reg <= 1'b0;
            crc_reg <= '0;
        end
        if (rst) begin
            raw_valid_reg <= 1'b0;
            syn_valid_reg <= 1'b0;
            word_valid_reg <= 1'b0;
            part_valid_reg <= 1'b0;
            mix_valid_reg <= 1'b0;
        end
    end
endmodule
