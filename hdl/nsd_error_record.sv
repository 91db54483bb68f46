// What nsd_errors remembers of errors: sticky bits, counters, the first error, and the time.
// Nothing here decides anything but `irq`.
module nsd_error_record
    import nsd_pkg::*;
(
    input  logic                       clk,
    input  logic                       rst,
    input  logic [ERR_COUNT-1:0]       strobe,
    input  logic [ERR_COUNT-1:0][31:0] err_info,
    input  logic [ERR_COUNT-1:0]       own,       // of the strobes: those of nsd_errors itself
    input  logic [31:0]                own_info,
    input  logic [ERR_COUNT-1:0]       irq_mask,
    input  logic [ERR_COUNT-1:0]       status_clear,
    input  logic                       record_clear,
    input  logic                       counters_clear,
    output logic                       irq,
    output logic [ERR_COUNT-1:0]       status,
    output logic [ERR_COUNT-1:0][15:0] counters,
    output logic                       record_valid,
    output logic [3:0]                 record_class,
    output logic [31:0]                record_info,
    output logic [63:0]                record_cycle,
    output logic [63:0]                cycle
);
    localparam int GROUPS = 3;
    localparam int GROUP = ERR_COUNT / GROUPS;

    // --- sticky bits, counters, time --------------------------------------------------------
    logic [ERR_COUNT-1:0] status_reg, strobe_reg;
    logic                 irq_reg, carry_reg;
    logic [31:0]          low_reg, high_reg;

    assign status = status_reg;
    assign irq = irq_reg;
    assign cycle = {high_reg, low_reg};

    always_ff @(posedge clk) begin
        status_reg <= (status_reg & ~status_clear) | strobe;
        strobe_reg <= strobe;
        irq_reg <= |(status_reg & irq_mask);
        low_reg <= low_reg + 1;
        carry_reg <= low_reg == 32'hFFFF_FFFE;
        high_reg <= high_reg + 32'(carry_reg);
        if (rst) begin
            status_reg <= '0;
            strobe_reg <= '0;
            irq_reg <= 1'b0;
            low_reg <= '0;
            carry_reg <= 1'b0;
            high_reg <= '0;
        end
    end

    for (genvar i = 0; i < ERR_COUNT; i++) begin : g_count
        logic [15:0] count_reg;
        assign counters[i] = count_reg;
        always_ff @(posedge clk) begin
            if (counters_clear) count_reg <= 16'(strobe_reg[i]);
            else if (strobe_reg[i] && !(&count_reg)) count_reg <= count_reg + 1;
            if (rst) count_reg <= '0;
        end
    end

    // --- the first error: gated, then by groups, then of all, to keep each stage shallow ------
    logic [ERR_COUNT-1:0]       gate_reg;   // strobe, in the order of precedence
    logic [ERR_COUNT-1:0][31:0] info_gate_reg;
    logic [GROUPS-1:0]       any_reg;
    logic [GROUPS-1:0][3:0]  class_reg, class_next;
    logic [GROUPS-1:0][31:0] info_reg, info_next;
    logic [GROUPS-1:0]       any_next;
    logic [63:0]             stamp_reg;     // the cycle after the strobe that any_reg shows

    // Lowest class first, the one that is not fatal last.
    function automatic int ordered(input int place);
        return place == ERR_COUNT - 1 ? ERR_ECC_CE : place + 1;
    endfunction

    always_ff @(posedge clk) begin
        for (int place = 0; place < ERR_COUNT; place++) begin
            gate_reg[place] <= strobe[ordered(place)] && !rst;
            info_gate_reg[place] <= own[ordered(place)] ? own_info : err_info[ordered(place)];
        end
        stamp_reg <= cycle;
    end

    always_comb begin
        any_next = '0;
        class_next = '0;
        info_next = '0;
        for (int group = 0; group < GROUPS; group++)
            for (int i = GROUP - 1; i >= 0; i--)
                if (gate_reg[group * GROUP + i]) begin
                    any_next[group] = 1'b1;
                    class_next[group] = 4'(ordered(group * GROUP + i));
                    info_next[group] = info_gate_reg[group * GROUP + i];
                end
    end

    logic        found_reg, take, valid_reg;
    logic [3:0]  found_class, found_class_reg, record_class_reg;
    logic [31:0] found_info, found_info_reg;
    logic [63:0] found_stamp_reg;

    // A fatal error takes the place of one that was corrected.
    assign take = found_reg && (!valid_reg || record_clear
        || (record_class_reg == 4'(ERR_ECC_CE) && found_class_reg != 4'(ERR_ECC_CE)));
    assign record_valid = valid_reg;
    assign record_class = record_class_reg;

    always_comb begin
        found_class = class_reg[GROUPS-1];
        found_info = info_reg[GROUPS-1];
        for (int group = GROUPS - 2; group >= 0; group--)
            if (any_reg[group]) begin
                found_class = class_reg[group];
                found_info = info_reg[group];
            end
    end

    always_ff @(posedge clk) begin
        any_reg <= any_next;
        class_reg <= class_next;
        info_reg <= info_next;
        found_reg <= |any_reg;
        found_class_reg <= found_class;
        found_info_reg <= found_info;
        found_stamp_reg <= stamp_reg;
        if (take) begin
            record_class_reg <= found_class_reg;
            record_info <= found_info_reg;
            record_cycle <= found_stamp_reg;
        end
        valid_reg <= take || (valid_reg && !record_clear);
        if (rst) begin
            any_reg <= '0;
            found_reg <= 1'b0;
            valid_reg <= 1'b0;
            record_class_reg <= '0;
        end
    end
endmodule
