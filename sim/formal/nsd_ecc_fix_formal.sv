// nsd_ecc_fix says of any word and any syndrome what nsd_ecc_dec says, one cycle later.
module nsd_ecc_fix_formal
    import nsd_ecc_pkg::*;
#(
    parameter int W = 64
) (
    input logic                   clk,
    input logic [W-1:0]           data,
    input logic [ECC_CHECK_W-1:0] syndrome
);
    logic [W-1:0] fixed, fixed_dec, fixed_reg;
    logic ue, ue_dec, ue_reg;
    nsd_ecc_fix #(.W(W)) dut (.clk, .data, .syndrome, .fixed, .ue);
    nsd_ecc_dec #(.W(W)) dec (
        .data('0), .check('0), .syndrome(), .fix_data(data), .fix_syndrome(syndrome),
        .fixed(fixed_dec), .fix_ce(), .fix_ue(ue_dec));

    logic begun_reg = 1'b0;
    always_ff @(posedge clk) begin
        begun_reg <= 1'b1;
        fixed_reg <= fixed_dec;
        ue_reg <= ue_dec;
        if (begun_reg) begin
            p_same_word: assert (fixed == fixed_reg);
            p_same_verdict: assert (ue == ue_reg);
        end
    end
endmodule
