// A full-throughput register slice: the device under which the agents of sim/ are tested.
// BREAK lets it lower tvalid before tready (1) or change tdata while stalled (2).
module slice #(
    parameter int DATA_W = 64,
    parameter int BREAK  = 0
) (
    input  logic                clk,
    input  logic                rst,
    input  logic [DATA_W-1:0]   s_axis_tdata,
    input  logic [DATA_W/8-1:0] s_axis_tkeep,
    input  logic                s_axis_tvalid,
    output logic                s_axis_tready,
    input  logic                s_axis_tlast,
    input  logic [0:0]          s_axis_tuser,
    output logic [DATA_W-1:0]   m_axis_tdata,
    output logic [DATA_W/8-1:0] m_axis_tkeep,
    output logic                m_axis_tvalid,
    input  logic                m_axis_tready,
    output logic                m_axis_tlast,
    output logic [3:0]          m_axis_tuser
);
    localparam int BEAT_W = DATA_W + DATA_W / 8 + 2;

    logic [BEAT_W-1:0] out_reg, skid_reg;
    logic out_valid, skid_valid;
    logic [2:0] stalled;

    assign s_axis_tready = !skid_valid;
    assign m_axis_tvalid = out_valid && !(BREAK == 1 && stalled == 3'd2);
    assign m_axis_tdata  = out_reg[DATA_W-1:0] ^ DATA_W'(BREAK == 2 && stalled == 3'd2);
    assign m_axis_tkeep  = out_reg[DATA_W+:DATA_W/8];
    assign m_axis_tlast  = out_reg[BEAT_W-2];
    assign m_axis_tuser  = {out_reg[BEAT_W-1], 3'b000};

    wire [BEAT_W-1:0] s_beat = {s_axis_tuser, s_axis_tlast, s_axis_tkeep, s_axis_tdata};

    always_ff @(posedge clk) begin
        stalled <= out_valid && !m_axis_tready ? stalled + 3'd1 : 3'd0;
        if (m_axis_tready || !out_valid) begin
            out_reg    <= skid_valid ? skid_reg : s_beat;
            out_valid  <= skid_valid || (s_axis_tvalid && s_axis_tready);
            skid_valid <= 1'b0;
        end else if (s_axis_tvalid && s_axis_tready) begin
            skid_reg   <= s_beat;
            skid_valid <= 1'b1;
        end
        if (rst) begin
            out_valid  <= 1'b0;
            skid_valid <= 1'b0;
            stalled    <= 3'd0;
        end
    end
endmodule
