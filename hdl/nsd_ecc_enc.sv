// Check bits of a word (see nsd_ecc_pkg for the code). Combinational: three to four LUT4 levels.
module nsd_ecc_enc
    import nsd_ecc_pkg::*;
#(
    // Data bits, 1 to 120.
    parameter int W = 64
) (
    input  logic [W-1:0]           data,
    output logic [ECC_CHECK_W-1:0] check
);
    if (W < 1 || W > ECC_DATA_MAX) $fatal(1, "nsd_ecc_enc: W must be 1 to 120");

    // MASKS[j] = the data bits that check bit j covers.
    typedef logic [ECC_CHECK_W-1:0][W-1:0] masks_t;
    function automatic masks_t make_masks();
        masks_t masks;
        logic [7:0] column;
        masks = '0;
        for (int i = 0; i < W; i++) begin
            column = ecc_column(i);
            for (int j = 0; j < ECC_CHECK_W; j++) masks[j][i] = column[j];
        end
        return masks;
    endfunction
    localparam masks_t MASKS = make_masks();

    for (genvar j = 0; j < ECC_CHECK_W; j++) begin : g_check
        assign check[j] = ^(data & MASKS[j]);
    end
endmodule
