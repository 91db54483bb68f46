// nsd_tap_check: a tapped copy with an odd number of bits wrong in a lane is an error one cycle
// later; a true copy is none.
module nsd_tap_check_formal #(
    parameter int DATA_W = 512,
    localparam int KEEP_W = DATA_W / 8,
    localparam int LANES = DATA_W / 64
) (
    input logic              clk,
    input logic              rst,
    input logic              tap_valid,
    input logic [DATA_W-1:0] data,       // what was accepted
    input logic [KEEP_W-1:0] keep,
    input logic [DATA_W-1:0] data_flip,  // what the tap register made of it
    input logic [KEEP_W-1:0] keep_flip,
    input logic              inject
);
    logic [LANES-1:0] tap_parity, odd;
    logic err;
    logic [31:0] err_info;
    always_comb
        for (int i = 0; i < LANES; i++) begin
            tap_parity[i] = ^data[64*i +: 64] ^ ^keep[8*i +: 8];
            odd[i] = ^data_flip[64*i +: 64] ^ ^keep_flip[8*i +: 8];
        end

    nsd_tap_check #(.DATA_W(DATA_W)) dut (
        .clk, .rst, .tap_valid, .tap_data(data ^ data_flip), .tap_keep(keep ^ keep_flip),
        .tap_parity, .inject, .err, .err_info);

    logic first_cycle_reg = 1'b1;
    logic odd_reg, true_reg, valid_reg, pending_reg;
    always_comb if (first_cycle_reg) assume (rst);

    always_ff @(posedge clk) begin
        first_cycle_reg <= 1'b0;
        valid_reg <= tap_valid && !rst;
        odd_reg <= |odd;
        true_reg <= !(|odd);
        // A mismatch asked for falls on the next beat.
        pending_reg <= !rst && (inject || (pending_reg && !tap_valid));
        if (tap_valid && pending_reg) begin
            odd_reg <= !(&odd);
            true_reg <= &odd;
        end
        if (!first_cycle_reg) begin
            assert (pending_reg == dut.inject_reg);
            if (valid_reg && odd_reg) p_wrong_copy_seen: assert (err);
            if (!valid_reg || true_reg) p_true_copy_passes: assert (!err);
        end
    end
endmodule
