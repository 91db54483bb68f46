// Fingerprints of the 4, 6 and 8 bytes at each of LANES byte positions: the low FP_W bits of
// CRC-32C (raw: no initial or final inversion). Three cycles.
//
// A CRC without inversions is linear: each byte contributes by itself, depending on how many
// bytes follow it. So the windows of neighbouring positions share almost all of their terms: per
// half byte each linear function of its four bits (one LUT), from these per pair of bytes the
// contribution with 0, 2, 4 or 6 bytes behind it (one LUT a bit); then from two, three or four
// pairs a fingerprint (one LUT a bit). A register behind each, or mapping would share the sums
// and make them deeper.
module nsd_prefilter_fp
    import nsd_pkg::*;
#(
    // Byte positions, at least 1.
    parameter int LANES = 8,
    // Bits of a fingerprint, 1 to 32.
    parameter int FP_W = 19,
    localparam int WINDOW = LANES + 7
) (
    input  logic                            clk,
    input  logic [WINDOW-1:0][7:0]          window,  // byte 0 first, folded
    output logic [LANES-1:0][2:0][FP_W-1:0] fp       // [position][4, 6, 8 bytes]
);
    if (LANES < 1) $fatal(1, "nsd_prefilter_fp: LANES must be at least 1");
    if (FP_W < 1 || FP_W > 32) $fatal(1, "nsd_prefilter_fp: FP_W must be 1 to 32");

    // mask[n][j]: the bits of a byte, with n bytes of the window behind it, that go into bit j.
    typedef logic [7:0][FP_W-1:0][7:0] masks_t;
    function automatic masks_t masks_of();
        masks_t masks;
        logic [31:0] crc;
        masks = '0;
        for (int i = 0; i < 8; i++) begin
            crc = crc32c_byte(32'd0, 8'(1 << i));
            for (int n = 0; n < 8; n++) begin
                for (int j = 0; j < FP_W; j++) masks[n][j][i] = crc[j];
                crc = crc32c_byte(crc, 8'd0);
            end
        end
        return masks;
    endfunction
    localparam masks_t MASK = masks_of();

    // Every linear function of a half byte: part_reg[2i + half][f] = parity of its bits in f.
    logic [2*WINDOW-1:0][15:0] part_reg;
    always_ff @(posedge clk)
        for (int i = 0; i < 2 * WINDOW; i++)
            for (int f = 0; f < 16; f++)
                part_reg[i][f] <= ^(window[i/2][4*(i%2) +: 4] & 4'(f));

    // pair_reg[k][i]: bytes i and i + 1 with 2k bytes behind them.
    logic [3:0][WINDOW-2:0][FP_W-1:0] pair_reg;
    always_ff @(posedge clk)
        for (int k = 0; k < 4; k++)
            for (int i = 0; i < WINDOW - 1; i++)
                for (int j = 0; j < FP_W; j++)
                    pair_reg[k][i][j] <= part_reg[2*i][MASK[2*k+1][j][3:0]]
                                       ^ part_reg[2*i+1][MASK[2*k+1][j][7:4]]
                                       ^ part_reg[2*i+2][MASK[2*k][j][3:0]]
                                       ^ part_reg[2*i+3][MASK[2*k][j][7:4]];

    always_ff @(posedge clk)
        for (int p = 0; p < LANES; p++) begin
            fp[p][0] <= pair_reg[1][p] ^ pair_reg[0][p+2];
            fp[p][1] <= pair_reg[2][p] ^ pair_reg[1][p+2] ^ pair_reg[0][p+4];
            fp[p][2] <= pair_reg[3][p] ^ pair_reg[2][p+2] ^ pair_reg[1][p+4] ^ pair_reg[0][p+6];
        end
endmodule
