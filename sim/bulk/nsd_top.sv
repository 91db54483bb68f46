// A register slice with nsd_top's ports, to test the harness: scratch names what it does wrong.
//   1 lowers tvalid while stalled   2 changes tdata while stalled   3 flips a bit of some frames
//   4 leaves some frames out        5 sends some frames of one beat twice
// "Some": those whose first byte ends in the digit E. One register at 0x01C; SLVERR elsewhere.
module nsd_top #(
    parameter int DATA_W = 64,
    localparam int KEEP_W = DATA_W / 8
) (
    input  logic              clk,
    input  logic              rst,  // synchronous, active high

    input  logic [DATA_W-1:0] s_axis_tdata,
    input  logic [KEEP_W-1:0] s_axis_tkeep,
    input  logic              s_axis_tvalid,
    output logic              s_axis_tready,
    input  logic              s_axis_tlast,
    input  logic [0:0]        s_axis_tuser,

    output logic [DATA_W-1:0] m_axis_tdata,
    output logic [KEEP_W-1:0] m_axis_tkeep,
    output logic              m_axis_tvalid,
    input  logic              m_axis_tready,
    output logic              m_axis_tlast,
    output logic [3:0]        m_axis_tuser,

    input  logic [10:0]       s_axil_awaddr,
    input  logic [2:0]        s_axil_awprot,
    input  logic              s_axil_awvalid,
    output logic              s_axil_awready,
    input  logic [31:0]       s_axil_wdata,
    input  logic [3:0]        s_axil_wstrb,
    input  logic              s_axil_wvalid,
    output logic              s_axil_wready,
    output logic [1:0]        s_axil_bresp,
    output logic              s_axil_bvalid,
    input  logic              s_axil_bready,
    input  logic [10:0]       s_axil_araddr,
    input  logic [2:0]        s_axil_arprot,
    input  logic              s_axil_arvalid,
    output logic              s_axil_arready,
    output logic [31:0]       s_axil_rdata,
    output logic [1:0]        s_axil_rresp,
    output logic              s_axil_rvalid,
    input  logic              s_axil_rready,

    input  logic              seu_in,        // asynchronous: ECP5 SEDGA, UltraScale+ SEM
    input  logic              over_temp_in,  // asynchronous: ECP5 DTR, UltraScale+ SYSMON
    output logic              irq,
    output logic              heartbeat_out  // holds an external bypass relay off; see nsd_relay
);

    logic first_reg, dropping_reg, again_reg;
    logic [31:0] scratch_reg;

    wire some = first_reg && s_axis_tdata[3:0] == 4'hE;
    wire drop = scratch_reg == 4 && (some || dropping_reg);
    wire twice = scratch_reg == 5 && some && s_axis_tlast && !again_reg;
    logic ready, valid;
    logic [DATA_W-1:0] data;
    logic [2:0] stalled_reg;  // cycles the sink has been waited for

    assign m_axis_tvalid = valid && !(scratch_reg == 1 && stalled_reg == 3'd2);
    assign m_axis_tdata  = data ^ DATA_W'(scratch_reg == 2 && stalled_reg == 3'd2);

    assign s_axis_tready = drop || (ready && !twice);

    slice #(
        .DATA_W(DATA_W)
    ) slice (
        .clk, .rst,
        .s_axis_tdata(s_axis_tdata ^ DATA_W'(scratch_reg == 3 && some)),
        .s_axis_tkeep, .s_axis_tvalid(s_axis_tvalid && !drop), .s_axis_tready(ready),
        .s_axis_tlast, .s_axis_tuser,
        .m_axis_tdata(data), .m_axis_tkeep, .m_axis_tvalid(valid), .m_axis_tready, .m_axis_tlast, .m_axis_tuser
    );

    assign s_axil_awready = s_axil_awvalid && s_axil_wvalid && !s_axil_bvalid;
    assign s_axil_wready  = s_axil_awready;
    assign s_axil_arready = !s_axil_rvalid;
    assign irq            = seu_in || over_temp_in;
    assign heartbeat_out  = 1'b0;

    always_ff @(posedge clk) begin
        stalled_reg <= valid && !m_axis_tready ? stalled_reg + 3'd1 : 3'd0;
        if (s_axis_tvalid && ready) again_reg <= twice;
        if (s_axis_tvalid && s_axis_tready) begin
            first_reg    <= s_axis_tlast;
            dropping_reg <= drop && !s_axis_tlast;
        end
        if (s_axil_bready) s_axil_bvalid <= 1'b0;
        if (s_axil_rready) s_axil_rvalid <= 1'b0;
        if (s_axil_awready) begin
            scratch_reg   <= s_axil_wdata;
            s_axil_bvalid <= 1'b1;
            s_axil_bresp  <= s_axil_awaddr == 12'h01C ? 2'b00 : 2'b10;
        end
        if (s_axil_arvalid && s_axil_arready) begin
            s_axil_rdata  <= scratch_reg;
            s_axil_rvalid <= 1'b1;
            s_axil_rresp  <= s_axil_araddr == 12'h01C ? 2'b00 : 2'b10;
        end
        if (rst) begin
            first_reg     <= 1'b1;
            dropping_reg  <= 1'b0;
            again_reg     <= 1'b0;
            stalled_reg   <= 3'd0;
            scratch_reg   <= 32'd0;
            s_axil_bvalid <= 1'b0;
            s_axil_rvalid <= 1'b0;
        end
    end
endmodule
