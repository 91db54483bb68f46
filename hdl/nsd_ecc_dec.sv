// Corrects one wrong bit of a word and finds two (see nsd_ecc_pkg for the code).
//
// Two combinational halves, so that the user may put a register between them:
//   1. data, check           -> syndrome                     (three to four LUT4 levels)
//   2. fix_data, fix_syndrome -> fixed, fix_ce, fix_ue       (three LUT4 levels)
// In one step: fix_data = data, fix_syndrome = syndrome. In two: register both `data` and
// `syndrome`, and let the registers drive the second half.
//   fix_ce: one bit was wrong (in the data or in the check bits); `fixed` is the right word.
//   fix_ue: more than one bit was wrong; `fixed` is `fix_data` as it stands.
module nsd_ecc_dec
    import nsd_ecc_pkg::*;
#(
    // Data bits, 1 to 120.
    parameter int W = 64
) (
    input  logic [W-1:0]           data,
    input  logic [ECC_CHECK_W-1:0] check,
    output logic [ECC_CHECK_W-1:0] syndrome,

    input  logic [W-1:0]           fix_data,
    input  logic [ECC_CHECK_W-1:0] fix_syndrome,
    output logic [W-1:0]           fixed,
    output logic                   fix_ce,
    output logic                   fix_ue
);
    if (W < 1 || W > ECC_DATA_MAX) $fatal(1, "nsd_ecc_dec: W must be 1 to 120");

    logic [ECC_CHECK_W-1:0] expected;
    nsd_ecc_enc #(.W(W)) u_enc (.data(data), .check(expected));
    assign syndrome = expected ^ check;

    // Which syndromes name one bit. An odd one outside the shortened code is uncorrectable too.
    function automatic logic [255:0] make_single();
        logic [255:0] single;
        single = '0;
        for (int j = 0; j < ECC_CHECK_W; j++) single[1<<j] = 1'b1;
        for (int i = 0; i < W; i++) single[ecc_column(i)] = 1'b1;
        return single;
    endfunction
    localparam logic [255:0] SINGLE = make_single();

    for (genvar i = 0; i < W; i++) begin : g_fix
        localparam logic [7:0] COLUMN = ecc_column(i);
        assign fixed[i] = fix_data[i] ^ (fix_syndrome == COLUMN);
    end
    // Not SINGLE[fix_syndrome]: yosys makes that a ROM and moves the user's register behind it.
    // Four functions of six bits (two LUT4 levels each), one of them chosen by the upper two.
    logic [3:0] is_single, is_other;
    always_comb begin
        is_single = '0;
        is_other = '0;
        for (int value = 0; value < 256; value++)
            if (fix_syndrome[5:0] == 6'(value % 64)) begin
                is_single[value/64] |= SINGLE[value];
                is_other[value/64] |= !SINGLE[value] && value != 0;
            end
    end
    assign fix_ce = is_single[fix_syndrome[7:6]];
    assign fix_ue = is_other[fix_syndrome[7:6]];
endmodule
