// One byte position of the prefilter: its copy of the table, looked up by the four bytes there
// and compared with the fingerprints of the 4, 6 and 8 bytes there.
//
//   cycle 0  x                          cycle 4, 5  (memory)
//         1  y, seeded                        6  word, fp, ok: compared
//         2  bucket; scrub_addr               7  parts of it, and of syndromes
//         3  address register                 8  hit, live, bad, ue, differs
//
// The word has a register besides the memory's own: memories stand in a few columns of a device,
// and what uses them all over it.
//
// Every cycle is a lookup or free (`lookup`, with cycle 2); in a free one scrub_addr is read, and
// what comes of it is the scrubber's: then `ok` must be zero.
module nsd_prefilter_lane
    import nsd_pkg::*;
#(
    // Address bits of the table, 4 to 16.
    parameter int BUCKETS_LOG2 = 10,
    // 64-bit words of a bucket, 1 to 4.
    parameter int WORDS = 1,
    localparam int SLOTS = 3,                    // of a word
    localparam int FP_W = 19,
    localparam int SLOT_W = FP_W + 2,
    localparam int CODE_W = 72 * WORDS
) (
    input  logic                    clk,
    input  logic [31:0]             seed,
    input  logic [31:0]             x,           // the four bytes, folded, first byte low
    input  logic                    lookup,
    input  logic [BUCKETS_LOG2-1:0] scrub_addr,
    input  logic [2:0][FP_W-1:0]    fp,          // of 4, 6, 8 bytes
    input  logic [2:0]              ok,          // these 4, 6, 8 bytes lie within the frame

    input  logic                    wr_en,
    input  logic [BUCKETS_LOG2-1:0] wr_addr,
    input  logic [CODE_W-1:0]       wr_data,

    output logic [CODE_W-1:0]       word,        // cycle 6
    input  logic [CODE_W-1:0]       other,       // the word of another copy
    output logic                    hit,         // a slot's window is here
    output logic                    live,        // ok[0]: the word was looked up for a frame
    output logic                    bad,         // it has an error: a syndrome is not zero
    output logic                    ue,          // … which can't be corrected
    output logic                    differs      // its data are not the other's
);
    if (BUCKETS_LOG2 < 4 || BUCKETS_LOG2 > 16)
        $fatal(1, "nsd_prefilter_lane: BUCKETS_LOG2 must be 4 to 16");
    if (WORDS < 1 || WORDS > 4) $fatal(1, "nsd_prefilter_lane: WORDS must be 1 to 4");

    // --- bucket ----------------------------------------------------------------------------
    // mask[j]: the bits of y that go into bit j of its CRC-32, which is linear.
    typedef logic [BUCKETS_LOG2-1:0][31:0] masks_t;
    function automatic masks_t masks_of();
        masks_t masks;
        logic [31:0] crc, unit;
        masks = '0;
        for (int i = 0; i < 32; i++) begin
            unit = 32'd1 << i;
            crc = 32'd0;
            for (int n = 0; n < 4; n++) crc = crc32_byte(crc, unit[8*n +: 8]);
            for (int j = 0; j < BUCKETS_LOG2; j++) masks[j][i] = crc[j];
        end
        return masks;
    endfunction
    localparam masks_t MASK = masks_of();

    logic [31:0]             y_reg;
    logic [BUCKETS_LOG2-1:0] bucket_reg, bucket_next;
    logic [BUCKETS_LOG2-1:0] addr_reg;
    logic [CODE_W-1:0]       ram_word;

    always_comb for (int j = 0; j < BUCKETS_LOG2; j++) bucket_next[j] = ^(y_reg & MASK[j]);

    always_ff @(posedge clk) begin
        y_reg <= x ^ ({x[20:0], x[31:21]} & seed);
        bucket_reg <= bucket_next;
        addr_reg <= lookup ? bucket_reg : scrub_addr;
    end

    nsd_ram #(.WIDTH(CODE_W), .DEPTH_LOG2(BUCKETS_LOG2)) ram (
        .clk, .wr_en, .wr_addr, .wr_data, .rd_addr(addr_reg), .rd_data(ram_word));

    always_ff @(posedge clk) word <= ram_word;

    // --- comparison ------------------------------------------------------------------------
    // Equality in parts of 7, 6 and 6 bits: two LUT levels each side of the register.
    typedef logic [2:0] parts_t;
    function automatic parts_t equal_parts(input logic [FP_W-1:0] a, input logic [FP_W-1:0] b);
        return {a[18:13] == b[18:13], a[12:7] == b[12:7], a[6:0] == b[6:0]};
    endfunction

    logic [WORDS*SLOTS-1:0][2:0][2:0] part_reg;
    logic [WORDS*SLOTS-1:0][2:0]      class_reg;
    logic                             live_reg;
    logic                             hit_next;

    always_comb begin
        hit_next = 1'b0;
        for (int s = 0; s < WORDS * SLOTS; s++)
            for (int c = 0; c < 3; c++)
                hit_next |= class_reg[s][c] && &part_reg[s][c];
    end

    always_ff @(posedge clk) begin
        for (int s = 0; s < WORDS * SLOTS; s++)
            for (int c = 0; c < 3; c++) begin
                part_reg[s][c] <= equal_parts(
                    word[72*(s/SLOTS) + SLOT_W*(s%SLOTS) +: FP_W], fp[c]);
                class_reg[s][c] <= ok[c]
                    && word[72*(s/SLOTS) + SLOT_W*(s%SLOTS) + FP_W +: 2] == 2'(c + 1);
            end
        live_reg <= ok[0];
        hit <= hit_next;
        live <= live_reg;
    end

    // --- errors ----------------------------------------------------------------------------
    // Hsiao's code: a single error's syndrome has an odd number of ones, a double one's an even.
    // It is linear, too: the register holds a part for each half of the data.
    logic [WORDS-1:0][7:0] check_low, check_high, low_reg, high_reg;
    logic [WORDS-1:0]      wrong, even;
    // Data equal to the other's, in parts of 8 bits.
    logic [8*WORDS-1:0]    unequal_reg;

    for (genvar w = 0; w < WORDS; w++) begin : gen_word
        nsd_ecc_enc #(.W(64)) enc_low (.data({32'd0, word[72*w +: 32]}), .check(check_low[w]));
        nsd_ecc_enc #(.W(64)) enc_high (.data({word[72*w+32 +: 32], 32'd0}), .check(check_high[w]));
        assign wrong[w] = low_reg[w] != high_reg[w];
        assign even[w] = ~^{low_reg[w], high_reg[w]};

        always_ff @(posedge clk) begin
            low_reg[w] <= check_low[w];
            high_reg[w] <= check_high[w] ^ word[72*w+64 +: 8];
            for (int i = 0; i < 8; i++)
                unequal_reg[8*w+i] <= word[72*w+8*i +: 8] != other[72*w+8*i +: 8];
        end
    end

    always_ff @(posedge clk) begin
        bad <= |wrong;
        ue <= |(wrong & even);
        differs <= |unequal_reg;
    end
endmodule
