// The second half of nsd_ecc_dec with a register in it: where that takes three levels of LUT4,
// this takes two and one. `fixed` and `ue` belong to data and syndrome of a cycle before.
module nsd_ecc_fix
    import nsd_ecc_pkg::*;
#(
    // Data bits, 1 to 120.
    parameter int W = 64
) (
    input  logic                   clk,
    input  logic [W-1:0]           data,
    input  logic [ECC_CHECK_W-1:0] syndrome,  // of nsd_ecc_dec
    output logic [W-1:0]           fixed,     // the right word if one bit was wrong
    output logic                   ue         // more than one was: `fixed` is as it stood
);
    if (W < 1 || W > ECC_DATA_MAX) $fatal(1, "nsd_ecc_fix: W must be 1 to 120");

    // Which syndromes name one bit; the others but zero are uncorrectable.
    function automatic logic [255:0] make_single();
        make_single = '0;
        for (int j = 0; j < ECC_CHECK_W; j++) make_single[1<<j] = 1'b1;
        for (int i = 0; i < W; i++) make_single[ecc_column(i)] = 1'b1;
    endfunction
    localparam logic [255:0] SINGLE = make_single();

    logic [W-1:0] data_reg;
    logic [15:0] low_reg, high_reg;   // one-hot: the syndrome's halves
    logic [3:0]  other_reg, other;    // uncorrectable, if the upper two bits are these
    logic [1:0]  upper_reg;

    for (genvar i = 0; i < W; i++) begin : g_fix
        localparam logic [7:0] COLUMN = ecc_column(i);
        assign fixed[i] = data_reg[i] ^ (low_reg[COLUMN[3:0]] && high_reg[COLUMN[7:4]]);
    end
    for (genvar i = 0; i < 4; i++) begin : g_other
        always_comb begin
            other[i] = 1'b0;
            for (int low = 0; low < 64; low++)
                if (!SINGLE[64*i + low] && 64 * i + low != 0) other[i] |= syndrome[5:0] == 6'(low);
        end
    end
    assign ue = other_reg[upper_reg];

    always_ff @(posedge clk) begin
        data_reg <= data;
        for (int i = 0; i < 16; i++) begin
            low_reg[i] <= syndrome[3:0] == 4'(i);
            high_reg[i] <= syndrome[7:4] == 4'(i);
        end
        other_reg <= other;
        upper_reg <= syndrome[7:6];
    end
endmodule
