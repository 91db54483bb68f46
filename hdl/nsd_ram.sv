// One write port, one read port, block RAM with its output register: RAM_LATENCY = 2 cycles.
// A read of the address written in the same cycle gives either value; no caller relies on it.
module nsd_ram #(
    // Bits of a word, at least 1.
    parameter int WIDTH = 72,
    // Address bits, 1 to 16.
    parameter int DEPTH_LOG2 = 10
) (
    input  logic                  clk,
    input  logic                  wr_en,
    input  logic [DEPTH_LOG2-1:0] wr_addr,
    input  logic [WIDTH-1:0]      wr_data,
    input  logic [DEPTH_LOG2-1:0] rd_addr,
    output logic [WIDTH-1:0]      rd_data
);
    if (WIDTH < 1) $fatal(1, "nsd_ram: WIDTH must be at least 1");
    if (DEPTH_LOG2 < 1 || DEPTH_LOG2 > 16) $fatal(1, "nsd_ram: DEPTH_LOG2 must be 1 to 16");

    (* no_rw_check, ram_style = "block" *) logic [WIDTH-1:0] mem[2**DEPTH_LOG2];
    logic [WIDTH-1:0] read_reg;
    logic [WIDTH-1:0] data_reg;

    assign rd_data = data_reg;

    // Zero is a valid code word of every table: an empty table after configuration.
    initial for (int i = 0; i < 2 ** DEPTH_LOG2; i++) mem[i] = '0;

    always_ff @(posedge clk) begin
        if (wr_en) mem[wr_addr] <= wr_data;
        read_reg <= mem[rd_addr];
        data_reg <= read_reg;
    end
endmodule
