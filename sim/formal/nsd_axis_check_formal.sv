// nsd_axis_check: each breach of AXI4-Stream is told three cycles later, and nothing else is.
module nsd_axis_check_formal #(
    parameter int DATA_W = 64,
    parameter int MAX_FRAME = 64,
    localparam int KEEP_W = DATA_W / 8
) (
    input logic              clk,
    input logic              rst,
    input logic [DATA_W-1:0] s_axis_tdata,
    input logic [KEEP_W-1:0] s_axis_tkeep,
    input logic              s_axis_tvalid,
    input logic              s_axis_tready,
    input logic              s_axis_tlast,
    input logic [0:0]        s_axis_tuser
);
    logic err;
    logic [31:0] err_info;
    nsd_axis_check #(.DATA_W(DATA_W), .MAX_FRAME(MAX_FRAME)) dut (.*, .inj(1'b0));

    logic begun_reg = 1'b0;
    always_comb if (!begun_reg) assume (rst);

    // The rules, in the words of the standard: one beat and the one before it.
    logic accept, waits_reg, contiguous;
    logic [DATA_W+KEEP_W+1:0] beat, beat_reg, changed;
    logic [17:0] bytes_reg, bytes;  // of the frame in progress, saturating
    logic told_reg;                 // its excess has been told
    assign accept = s_axis_tvalid && s_axis_tready;
    assign beat = {s_axis_tuser, s_axis_tlast, s_axis_tkeep, s_axis_tdata};
    assign changed = beat ^ beat_reg;
    assign contiguous = (s_axis_tkeep & (s_axis_tkeep + 1'b1)) == '0 && s_axis_tkeep[0];
    assign bytes = bytes_reg + 18'($countones(s_axis_tkeep));

    logic hole, fell, moved, one_bit, long_now;
    assign hole = accept && (s_axis_tlast ? !contiguous : !(&s_axis_tkeep));
    assign fell = waits_reg && !s_axis_tvalid;
    assign moved = waits_reg && s_axis_tvalid && changed != '0;
    assign one_bit = waits_reg && s_axis_tvalid && $onehot(changed);
    assign long_now = accept && !told_reg && bytes > 18'(MAX_FRAME);

    logic [2:0] must_reg, may_reg;  // of one, two and three cycles ago
    logic clean_reg;                // no hole in the frame in progress: its bytes are its length
    always_ff @(posedge clk) begin
        begun_reg <= 1'b1;
        waits_reg <= s_axis_tvalid && !s_axis_tready;
        beat_reg <= beat;
        if (accept) begin
            bytes_reg <= s_axis_tlast ? '0 : bytes[17] ? bytes_reg : bytes;
            told_reg <= !s_axis_tlast && (told_reg || long_now);
            clean_reg <= s_axis_tlast || (clean_reg && !hole);
        end
        must_reg <= {must_reg[1:0], hole || fell || one_bit || (long_now && clean_reg)};
        may_reg <= {may_reg[1:0], hole || fell || moved || long_now || !clean_reg};
        if (rst) begin
            waits_reg <= 1'b0;
            bytes_reg <= '0;
            told_reg <= 1'b0;
            clean_reg <= 1'b1;
            must_reg <= '0;
            may_reg <= '0;
        end
        if (begun_reg) begin
            if (must_reg[2]) p_breach_told: assert (err);
            if (err) p_no_false_alarm: assert (may_reg[2]);
        end
    end
endmodule
