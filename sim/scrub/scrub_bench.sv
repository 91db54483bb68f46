// nsd_scrub with one copy of a memory. The host's signature can stand for the expected one, as
// in the flow table; LATE = 1 puts a register before the memory, as in the prefilter.
module scrub_bench
    import nsd_pkg::*;
#(
    parameter int WORDS = 2,
    parameter int DEPTH_LOG2 = 4,
    parameter int EXTRA = 0,
    parameter int LATE = 0,             // 0 or 1: cycles the memory's inputs are registered for
    parameter int STATUS_LATENCY = 0,
    localparam int DATA_W = 64 * WORDS,
    localparam int CODE_W = 72 * WORDS,
    localparam int EXTRA_W = EXTRA > 0 ? EXTRA * DATA_W : DATA_W
) (
    input  logic                  clk,
    input  logic                  rst,
    input  logic                  cmd_write,
    input  logic                  cmd_read,
    input  logic                  cmd_clear,
    input  logic [DEPTH_LOG2-1:0] cmd_addr,
    input  logic [DATA_W-1:0]     cmd_wdata,
    output logic [DATA_W-1:0]     cmd_rdata,
    output logic                  busy,
    output logic                  cmd_error,
    output logic [31:0]           sig,
    input  logic                  idle,
    output logic                  rd_en,
    output logic                  wr_en,
    output logic [DEPTH_LOG2-1:0] rd_addr,
    output logic [DEPTH_LOG2-1:0] wr_addr,
    input  logic                  rd_ce_any,
    input  logic                  rd_ue_any,
    input  logic                  rd_differs,
    input  logic [EXTRA_W-1:0]    extra_data,
    input  logic [31:0]           expect_sig,
    input  logic                  expect_own,
    input  logic                  check_enable,
    input  logic                  restart,
    output logic                  pass_done,
    output logic [31:0]           pass_sig,
    output logic                  pass_clean,
    output logic                  pass_ok,
    output logic                  err_crc,
    output logic                  err_ce,
    output logic                  err_ue,
    output logic [DEPTH_LOG2-1:0] err_addr,
    input  logic                  inj_crc
);
    logic [CODE_W-1:0]     rd_data, wr_data, ram_wr_data;
    logic [DEPTH_LOG2-1:0] ram_rd_addr, ram_wr_addr;
    logic                  ram_wr_en;

    if (LATE == 1) begin : g_late
        always_ff @(posedge clk) begin
            ram_rd_addr <= rd_addr;
            ram_wr_addr <= wr_addr;
            ram_wr_data <= wr_data;
            ram_wr_en <= wr_en;
        end
    end else begin : g_now
        assign ram_rd_addr = rd_addr;
        assign ram_wr_addr = wr_addr;
        assign ram_wr_data = wr_data;
        assign ram_wr_en = wr_en;
    end

    nsd_ram #(.WIDTH(CODE_W), .DEPTH_LOG2(DEPTH_LOG2)) ram (
        .clk, .wr_en(ram_wr_en), .wr_addr(ram_wr_addr), .wr_data(ram_wr_data),
        .rd_addr(ram_rd_addr), .rd_data);

    nsd_scrub #(
        .WORDS(WORDS), .DEPTH_LOG2(DEPTH_LOG2), .EXTRA(EXTRA),
        .READ_LATENCY(RAM_LATENCY + LATE), .STATUS_LATENCY(STATUS_LATENCY)
    ) scrub (
        .clk, .rst, .cmd_write, .cmd_read, .cmd_clear, .cmd_addr, .cmd_wdata, .cmd_rdata, .busy,
        .cmd_error, .sig, .idle, .rd_en, .rd_addr, .rd_data, .rd_ce_any, .rd_ue_any, .rd_differs,
        .wr_en, .wr_addr, .wr_data, .extra_data, .expect_sig(expect_own ? sig : expect_sig),
        .check_enable, .restart, .pass_done, .pass_sig, .pass_clean, .pass_ok, .err_crc, .err_ce,
        .err_ue, .err_addr, .inj_crc);
endmodule
