// Drives heartbeat_out, which holds an external bypass relay off its fail-open position. It
// toggles every 2**PERIOD_LOG2 cycles while the spine is sound, and stands still when the spine
// cannot vouch for the traffic, when the clock stops, and when the device has no configuration.
module nsd_relay #(
    // Half a period of heartbeat_out, as a power of two of cycles: 1 to 30.
    parameter int PERIOD_LOG2 = 16
) (
    input  logic clk,
    input  logic rst,
    input  logic sound,
    output logic heartbeat_out
);
    if (PERIOD_LOG2 < 1 || PERIOD_LOG2 > 30) $fatal(1, "nsd_relay: PERIOD_LOG2 must be 1 to 30");

    logic [PERIOD_LOG2:0] count_reg;

    assign heartbeat_out = count_reg[PERIOD_LOG2];

    always_ff @(posedge clk) begin
        if (sound) count_reg <= count_reg + 1'b1;
        if (rst) count_reg <= '0;
    end
endmodule
