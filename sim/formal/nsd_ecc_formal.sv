// nsd_ecc_enc and nsd_ecc_dec: any word, any 0, 1 or 2 of its stored bits flipped. There is no
// state: one step of the search covers every case.
//
// That the syndrome depends on the flipped bits alone is assumed here and shown by the netlist: what
// drives it is a network of XOR gates (linearity.py). Solvers are bad at finding that out.
module nsd_ecc_formal
    import nsd_ecc_pkg::*;
#(
    parameter int W = 75,
    localparam int STORED = W + ECC_CHECK_W
) (
    input logic [W-1:0] word,
    input logic [6:0]   first, second,   // which bits flip
    input logic [1:0]   flips            // how many: 0 to 2
);
    logic [ECC_CHECK_W-1:0] check, syndrome;
    logic [W-1:0] fixed;
    logic fix_ce, fix_ue;
    logic [STORED-1:0] flip, stored;

    always_comb begin
        assume (flips != 2'd3);
        assume (first < 7'(STORED) && second < 7'(STORED) && first != second);
    end
    for (genvar i = 0; i < STORED; i++) begin : gen_flip
        assign flip[i] = (flips != 0 && first == 7'(i)) || (flips == 2 && second == 7'(i));
    end
    assign stored = {check, word} ^ flip;

    nsd_ecc_enc #(.W(W)) enc (.data(word), .check);
    nsd_ecc_dec #(.W(W)) dec (
        .data(stored[W-1:0]), .check(stored[STORED-1:W]), .syndrome,
        .fix_data(stored[W-1:0]), .fix_syndrome(syndrome), .fixed, .fix_ce, .fix_ue);

    logic [ECC_CHECK_W-1:0] flip_check;
    nsd_ecc_enc #(.W(W)) enc_flip (.data(flip[W-1:0]), .check(flip_check));
    always_comb if (flips != 0) assume (syndrome == (flip_check ^ flip[STORED-1:W]));

    always_comb begin
        case (flips)
            2'd0: begin
                p_right_is_clean: assert (!fix_ce && !fix_ue);
                p_right_is_kept: assert (fixed == word);
            end
            2'd1: begin
                p_single_reported: assert (fix_ce && !fix_ue);
                p_single_corrected: assert (fixed == word);
            end
            default: begin
                p_double_detected: assert (fix_ue && !fix_ce);
                p_double_untouched: assert (fixed == stored[W-1:0]);
            end
        endcase
    end
    // The injection of ecc_ue leans on this: an erased memory holds valid words.
    always_comb if (word == 0) p_zero_is_valid: assert (check == 0);
endmodule
