// Guards the inspection's own copy of the traffic: the spine takes one parity bit per 64-bit
// lane from s_axis before the tap register, and this recomputes it behind that register. What
// the stages inspect is then what travels, or it is the error `parity`.
module nsd_tap_check #(
    // Data bits of a beat: 64 or 512.
    parameter int DATA_W = 64,
    localparam int KEEP_W = DATA_W / 8,
    localparam int LANES = DATA_W / 64
) (
    input  logic              clk,
    input  logic              rst,
    input  logic              tap_valid,
    input  logic [DATA_W-1:0] tap_data,
    input  logic [KEEP_W-1:0] tap_keep,
    input  logic [LANES-1:0]  tap_parity,
    input  logic              inject,    // strobe: the next beat's parity is inverted here
    output logic              err,       // strobe
    output logic [31:0]       err_info   // the lanes that differ
);
    logic             inject_reg;
    logic [LANES-1:0] differs_reg;
    logic             valid_reg;
    logic [LANES-1:0] parity;

    always_comb
        for (int lane = 0; lane < LANES; lane++)
            parity[lane] = ^{tap_data[64*lane +: 64], tap_keep[8*lane +: 8]};

    assign err = valid_reg && |differs_reg;
    assign err_info = 32'(differs_reg);

    always_ff @(posedge clk) begin
        valid_reg <= tap_valid;
        differs_reg <= parity ^ tap_parity ^ {LANES{inject_reg}};
        inject_reg <= inject || (inject_reg && !tap_valid);
        if (rst) begin
            valid_reg <= 1'b0;
            inject_reg <= 1'b0;
        end
    end
endmodule
