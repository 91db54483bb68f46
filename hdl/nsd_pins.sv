// Error pins of the device (ECP5 SEDGA and DTR, UltraScale+ SEM and SYSMON): asynchronous and
// active high. Each is synchronised, then reported once when it rises and as a cause while it
// stays: a re-arm must wait until the pin is low again.
module nsd_pins #(
    // Pins, at least 1.
    parameter int PINS = 2
) (
    input  logic            clk,
    input  logic            rst,
    input  logic [PINS-1:0] pin,     // asynchronous
    input  logic [PINS-1:0] inject,  // strobe: as if the pin were high for one cycle
    output logic [PINS-1:0] level,   // synchronised
    output logic [PINS-1:0] rise     // strobe
);
    if (PINS < 1) $fatal(1, "nsd_pins: PINS must be at least 1");

    (* async_reg = "true" *) logic [PINS-1:0] meta_reg;
    (* async_reg = "true" *) logic [PINS-1:0] sync_reg;
    logic [PINS-1:0] level_reg;

    assign level = level_reg;

    always_ff @(posedge clk) begin
        meta_reg <= pin;
        sync_reg <= meta_reg;
        level_reg <= sync_reg | inject;
        rise <= (sync_reg | inject) & ~level_reg;
        if (rst) begin
            level_reg <= '0;
            rise <= '0;
        end
    end
endmodule
