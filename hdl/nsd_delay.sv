// A shift register: q is d of CYCLES cycles ago. Reset clears it, so it may carry valid bits.
module nsd_delay #(
    // Bits, at least 1.
    parameter int WIDTH = 1,
    // Cycles, 0 (a wire) or more.
    parameter int CYCLES = 1
) (
    input  logic             clk,
    input  logic             rst,
    input  logic [WIDTH-1:0] d,
    output logic [WIDTH-1:0] q
);
    if (WIDTH < 1) $fatal(1, "nsd_delay: WIDTH must be at least 1");
    if (CYCLES < 0) $fatal(1, "nsd_delay: CYCLES must not be negative");

    if (CYCLES == 0) begin : gen_wire
        assign q = d;
    end else begin : gen_shift
        logic [CYCLES-1:0][WIDTH-1:0] stage_reg;

        assign q = stage_reg[CYCLES-1];

        always_ff @(posedge clk) begin
            stage_reg[0] <= d;
            for (int i = 1; i < CYCLES; i++) stage_reg[i] <= stage_reg[i-1];
            if (rst) stage_reg <= '0;
        end
    end
endmodule
