// The register block behind AXI4-Lite: hdl/regs/nsd.rdl, generated as nsd_regs, and its bus.
//
// One transaction at a time; every signal to and from the registers' decoder is registered here,
// because the decoder of so many registers leaves no time for arbitration in the same cycle
// (PeakRDL's own AXI4-Lite front end does both: 127 MHz on ECP5, speed 8). Reads and writes take
// turns when both wait. Nothing the bus does can stop the datapath, and every request is
// answered: OKAY, or SLVERR for an address or an access the map does not have.
//
// err_status is kept by nsd_errors: the register follows it, and a written 1 becomes a strobe of
// err_status_clear (write 1 to clear). hwif_in.err_status is not used.
module nsd_csr
    import nsd_pkg::*;
(
    input  logic        clk,
    input  logic        rst,
    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [11:0] s_axil_awaddr,
    input  logic [2:0]  s_axil_awprot,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    input  logic [31:0] s_axil_wdata,
    input  logic [3:0]  s_axil_wstrb,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    output logic [1:0]  s_axil_bresp,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    input  logic [11:0] s_axil_araddr,
    input  logic [2:0]  s_axil_arprot,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready,
    output logic [31:0] s_axil_rdata,
    output logic [1:0]  s_axil_rresp,

    input  logic [ERR_COUNT-1:0] err_status,
    output logic [ERR_COUNT-1:0] err_status_clear,

    input  nsd_regs_pkg::nsd_regs__in_t  hwif_in,
    output nsd_regs_pkg::nsd_regs__out_t hwif_out
);
    typedef enum logic [1:0] { IDLE, ASK, ANSWER } state_t;
    localparam logic [1:0] OKAY = 2'b00;
    localparam logic [1:0] SLVERR = 2'b10;

    state_t      state_reg, state_next;
    logic        read_reg, read_next;      // the transaction under way, then the last one
    logic        req_reg, req_next;        // asks the registers
    logic        taken_reg, taken_next;    // the ready of the channels of this transaction
    logic        rvalid_reg, bvalid_reg, rvalid_next, bvalid_next;
    logic [1:0]  resp_reg;
    logic [11:2] addr_reg;  // the word; write strobes say which bytes
    logic [31:0] wdata_reg, rdata_reg;
    logic [3:0]  wstrb_reg;

    logic want_read, want_write, start, stall, ack, err, answered;
    logic stall_wr, stall_rd, rd_ack, rd_err, wr_ack, wr_err;
    logic [31:0] rd_data;

    logic [31:0] biten;
    nsd_regs_pkg::nsd_regs__in_t hwif;
    logic [ERR_COUNT-1:0] status_written, clear_reg;

    assign want_write = s_axil_awvalid && s_axil_wvalid;
    assign want_read = s_axil_arvalid;
    assign start = state_reg == IDLE && (want_read || want_write);
    assign stall = read_reg ? stall_rd : stall_wr;
    assign ack = read_reg ? rd_ack : wr_ack;
    assign err = read_reg ? rd_err : wr_err;
    assign answered = rvalid_reg ? s_axil_rready : s_axil_bready;

    assign s_axil_arready = taken_reg && read_reg;
    assign s_axil_awready = taken_reg && !read_reg;
    assign s_axil_wready = taken_reg && !read_reg;
    assign s_axil_rvalid = rvalid_reg;
    assign s_axil_bvalid = bvalid_reg;
    assign s_axil_rresp = resp_reg;
    assign s_axil_bresp = resp_reg;
    assign s_axil_rdata = rdata_reg;
    assign biten = {{8{wstrb_reg[3]}}, {8{wstrb_reg[2]}}, {8{wstrb_reg[1]}}, {8{wstrb_reg[0]}}};

    always_comb begin
        state_next = state_reg;
        read_next = read_reg;
        req_next = 1'b0;
        taken_next = 1'b0;
        rvalid_next = rvalid_reg;
        bvalid_next = bvalid_reg;
        unique case (state_reg)
            IDLE: if (start) begin
                // The payload is taken now and acknowledged next cycle: AXI keeps it until then.
                read_next = want_read && !(want_write && read_reg);
                taken_next = 1'b1;
                req_next = 1'b1;
                state_next = ASK;
            end
            ASK: begin
                req_next = req_reg && stall;
                if (ack) begin
                    rvalid_next = read_reg;
                    bvalid_next = !read_reg;
                    state_next = ANSWER;
                end
            end
            ANSWER: if (answered) begin
                rvalid_next = 1'b0;
                bvalid_next = 1'b0;
                state_next = IDLE;
            end
            default: state_next = IDLE;
        endcase
    end

    always_ff @(posedge clk) begin
        state_reg <= state_next;
        read_reg <= read_next;
        req_reg <= req_next;
        taken_reg <= taken_next;
        rvalid_reg <= rvalid_next;
        bvalid_reg <= bvalid_next;
        if (start) begin
            addr_reg <= read_next ? s_axil_araddr[11:2] : s_axil_awaddr[11:2];
            wdata_reg <= s_axil_wdata;
            wstrb_reg <= s_axil_wstrb;
        end
        if (state_reg == ASK) begin
            resp_reg <= err ? SLVERR : OKAY;
            rdata_reg <= rd_data;
        end
        if (rst) begin
            state_reg <= IDLE;
            read_reg <= 1'b0;
            req_reg <= 1'b0;
            taken_reg <= 1'b0;
            rvalid_reg <= 1'b0;
            bvalid_reg <= 1'b0;
        end
    end

    assign err_status_clear = clear_reg;

    always_comb begin
        hwif = hwif_in;
        hwif.err_status.ecc_ce.next = err_status[ERR_ECC_CE];
        hwif.err_status.ecc_ue.next = err_status[ERR_ECC_UE];
        hwif.err_status.parity.next = err_status[ERR_PARITY];
        hwif.err_status.fifo_ovf.next = err_status[ERR_FIFO_OVF];
        hwif.err_status.credit_leak.next = err_status[ERR_CREDIT_LEAK];
        hwif.err_status.late.next = err_status[ERR_LATE];
        hwif.err_status.stall.next = err_status[ERR_STALL];
        hwif.err_status.heartbeat.next = err_status[ERR_HEARTBEAT];
        hwif.err_status.table_crc.next = err_status[ERR_TABLE_CRC];
        hwif.err_status.seu.next = err_status[ERR_SEU];
        hwif.err_status.over_temp.next = err_status[ERR_OVER_TEMP];
        hwif.err_status.axi_fault.next = err_status[ERR_AXI_FAULT];
    end

    // Only bytes that were enabled count as written.
    always_comb begin
        status_written[ERR_ECC_CE] = hwif_out.err_status.ecc_ce.swmod;
        status_written[ERR_ECC_UE] = hwif_out.err_status.ecc_ue.swmod;
        status_written[ERR_PARITY] = hwif_out.err_status.parity.swmod;
        status_written[ERR_FIFO_OVF] = hwif_out.err_status.fifo_ovf.swmod;
        status_written[ERR_CREDIT_LEAK] = hwif_out.err_status.credit_leak.swmod;
        status_written[ERR_LATE] = hwif_out.err_status.late.swmod;
        status_written[ERR_STALL] = hwif_out.err_status.stall.swmod;
        status_written[ERR_HEARTBEAT] = hwif_out.err_status.heartbeat.swmod;
        status_written[ERR_TABLE_CRC] = hwif_out.err_status.table_crc.swmod;
        status_written[ERR_SEU] = hwif_out.err_status.seu.swmod;
        status_written[ERR_OVER_TEMP] = hwif_out.err_status.over_temp.swmod;
        status_written[ERR_AXI_FAULT] = hwif_out.err_status.axi_fault.swmod;
    end

    always_ff @(posedge clk) begin
        clear_reg <= rst ? '0 : status_written & wdata_reg[ERR_COUNT-1:0];
    end

    nsd_regs i_regs (
        .clk(clk),
        .rst(rst),
        .s_cpuif_req(req_reg),
        .s_cpuif_req_is_wr(!read_reg),
        .s_cpuif_addr({addr_reg, 2'b00}),
        .s_cpuif_wr_data(wdata_reg),
        .s_cpuif_wr_biten(biten),
        .s_cpuif_req_stall_wr(stall_wr),
        .s_cpuif_req_stall_rd(stall_rd),
        .s_cpuif_rd_ack(rd_ack),
        .s_cpuif_rd_err(rd_err),
        .s_cpuif_rd_data(rd_data),
        .s_cpuif_wr_ack(wr_ack),
        .s_cpuif_wr_err(wr_err),
        .hwif_in(hwif),
        .hwif_out(hwif_out)
    );

    // Protection bits say nothing here: one kind of master, one kind of register.
    logic unused;
    assign unused = ^{s_axil_awprot, s_axil_arprot, s_axil_awaddr[1:0], s_axil_araddr[1:0]};
endmodule
