// The block: frames from the MAC on s_axis, the same frames with their verdict on m_axis,
// registers on s_axil. docs/fpga.md follows one frame through it.
//
// m_axis_tuser: [2:0] verdict_t, counts on the beat with tlast; [3] the MAC's mark, as given.
module nsd_top
    import nsd_pkg::*;
#(
    // Data bits of a beat: 64 (10 Gb/s at 156.25 MHz) or 512 (100 Gb/s at 250 MHz).
    parameter int DATA_W = 64,
    // Flow table: sets of two ways, as a power of two: 1 to 15.
    parameter int SETS_LOG2 = 9,
    // Prefilter: buckets, as a power of two: 4 to 16.
    parameter int BUCKETS_LOG2 = 10,
    // Prefilter: 64-bit words of a bucket, three slots each: 1 or 2.
    parameter int PF_WORDS = 1,
    // Cycles from a beat's tap until it may leave: at least the stages' own (nsd_verdict checks).
    parameter int LATENCY = 18,
    // Beats the spine can hold.
    parameter int DEPTH = 64,
    // Cycles without progress, the sink being ready, that are a stall.
    parameter int STALL_LIMIT = 1024,
    // Longest legal frame, bytes.
    parameter int MAX_FRAME = 16384,
    // Half a period of heartbeat_out, as a power of two of cycles.
    parameter int RELAY_LOG2 = 16,
    // The clock, kHz, as software is told; 0 = not stated.
    parameter int CLOCK_KHZ = 156250,
    localparam int KEEP_W = DATA_W / 8,
    localparam int LANES = DATA_W / 64
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

    input  logic [11:0]       s_axil_awaddr,
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
    input  logic [11:0]       s_axil_araddr,
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
    localparam int FLOW_ADDR_W = SETS_LOG2 + 1;

    nsd_regs_pkg::nsd_regs__in_t  hwif_in;
    nsd_regs_pkg::nsd_regs__out_t hwif_out;

    // --- state and control -----------------------------------------------------------------
    logic arm, fault, armed, drained, insp_rst;
    logic [ERR_COUNT-1:0]       err_strobe, err_status, err_status_clear, cause_now, inject;
    logic [ERR_COUNT-1:0][31:0] err_info;

    // --- the path of a frame ---------------------------------------------------------------
    logic [31:0]       axis_info;
    logic              tap_valid, tap_last, tap_first, tap_dec;
    logic [DATA_W-1:0] tap_data;
    logic [KEEP_W-1:0] tap_keep;
    logic [LANES-1:0]  tap_parity;
    logic              dec_valid, fin_valid;
    action_t           dec_action;
    verdict_t          fin_verdict;
    logic              frame_in, frame_out, sound;
    verdict_t          frame_out_verdict;
    logic              spine_ce, spine_ue, tap_err;
    logic [31:0]       spine_info, tap_info;

    nsd_spine #(
        .DATA_W(DATA_W), .LATENCY(LATENCY), .DEPTH(DEPTH), .STALL_LIMIT(STALL_LIMIT)
    ) spine (
        .clk, .rst,
        .s_axis_tdata, .s_axis_tkeep, .s_axis_tvalid, .s_axis_tready, .s_axis_tlast, .s_axis_tuser,
        .m_axis_tdata, .m_axis_tkeep, .m_axis_tvalid, .m_axis_tready, .m_axis_tlast, .m_axis_tuser,
        .tap_valid, .tap_data, .tap_keep, .tap_last, .tap_first, .tap_dec, .tap_parity,
        .dec_valid, .dec_action(dec_action), .fin_valid, .fin_verdict(fin_verdict),
        .arm, .fault, .armed, .drained,
        .err_ecc_ce(spine_ce), .err_ecc_ue(spine_ue),
        .err_fifo_ovf(err_strobe[ERR_FIFO_OVF]), .err_credit_leak(err_strobe[ERR_CREDIT_LEAK]),
        .err_late(err_strobe[ERR_LATE]), .err_stall(err_strobe[ERR_STALL]), .err_info(spine_info),
        .inj_ecc_ce(inject[ERR_ECC_CE]), .inj_ecc_ue(inject[ERR_ECC_UE]),
        .inj_fifo_ovf(inject[ERR_FIFO_OVF]), .inj_credit_leak(inject[ERR_CREDIT_LEAK]),
        .inj_late(inject[ERR_LATE]), .inj_stall(inject[ERR_STALL]),
        .frame_in, .frame_out, .frame_out_verdict, .occupancy(), .sound
    );

    nsd_axis_check #(.DATA_W(DATA_W), .MAX_FRAME(MAX_FRAME)) axis_check (
        .clk, .rst, .s_axis_tdata, .s_axis_tkeep, .s_axis_tvalid, .s_axis_tready, .s_axis_tlast,
        .s_axis_tuser,
        .inj(inject[ERR_AXI_FAULT]), .err(err_strobe[ERR_AXI_FAULT]),
        .err_info(axis_info)
    );

    nsd_tap_check #(.DATA_W(DATA_W)) tap_check (
        .clk, .rst, .tap_valid, .tap_data, .tap_keep, .tap_parity, .inject(inject[ERR_PARITY]),
        .err(tap_err), .err_info(tap_info)
    );

    // --- inspection: watches the tap, answers in fixed time, can hold nothing back ----------
    logic      key_valid, key_lookup, len_valid, len_short;
    flow_key_t key;
    parse_t    key_parse;
    logic      ports_valid, ports_hit, res_valid, pf_valid, pf_hit;
    action_t   res_action;
    port_range_t [PORT_RANGES-1:0] ranges, ranges_active;

    // Reset for all that watches, a cycle after its causes: it goes to hundreds of flip-flops. No
    // frame is inspected that soon after either.
    logic watch_rst_reg;
    always_ff @(posedge clk) watch_rst_reg <= rst || insp_rst;

    nsd_parse #(.DATA_W(DATA_W)) parse (
        .clk, .rst(watch_rst_reg),
        .tap_valid, .tap_data, .tap_keep, .tap_last, .tap_first, .tap_dec,
        .key_valid, .key, .key_lookup, .key_parse, .len_valid, .len_short
    );

    nsd_ports ports (
        .clk, .rst(watch_rst_reg), .key_valid, .key, .key_parse, .cfg_ranges(ranges_active),
        .ports_valid, .ports_hit
    );

    nsd_verdict #(.LATENCY(LATENCY)) verdict (
        .clk, .rst(watch_rst_reg), .key_valid, .key_parse, .len_valid, .len_short,
        .ports_valid, .ports_hit, .res_valid, .res_action, .pf_valid, .pf_hit,
        .dec_valid, .dec_action, .fin_valid, .fin_verdict
    );

    // --- tables ----------------------------------------------------------------------------
    logic         flow_busy, flow_error, flow_ready, flow_pass;
    logic         flow_crc, flow_ce, flow_ue;
    logic [7:0]   flow_generation;
    logic [31:0]  flow_sig, flow_info;
    logic [383:0] flow_wdata, flow_rdata;

    nsd_flow #(.SETS_LOG2(SETS_LOG2)) flow (
        .clk, .rst, .pipe_rst(watch_rst_reg), .key_valid, .key, .key_lookup, .res_valid, .res_action,
        .cmd_write(hwif_out.flow_cmd.write.value), .cmd_read(hwif_out.flow_cmd.read.value),
        .cmd_addr(hwif_out.flow_addr.index.value[FLOW_ADDR_W-1:0]),
        .cmd_wdata(flow_wdata), .cmd_rdata(flow_rdata),
        .clear(hwif_out.flow_cmd.clear.value), .flush(hwif_out.flow_cmd.flush.value),
        .busy(flow_busy), .cmd_error(flow_error), .sig(flow_sig), .generation(flow_generation),
        .table_ready(flow_ready), .check_enable(1'b1), .inj_crc(inject[ERR_TABLE_CRC]),
        .pass_done(flow_pass), .pass_sig(),
        .err_crc(flow_crc), .err_ce(flow_ce), .err_ue(flow_ue), .err_info(flow_info)
    );

    logic                   pf_busy, pf_error, pf_table_valid, pf_checking, pf_failed, pf_pass;
    logic                   pf_crc, pf_ce, pf_ue;
    logic [15:0]            pf_generation;
    logic [31:0]            pf_sig, pf_info;
    logic [127:0]           pf_wdata, pf_rdata;
    logic [64*PF_WORDS-1:0] pf_bucket;

    assign pf_rdata = 128'(pf_bucket);

    nsd_prefilter #(.DATA_W(DATA_W), .BUCKETS_LOG2(BUCKETS_LOG2), .WORDS(PF_WORDS)) prefilter (
        .clk, .rst, .pipe_rst(watch_rst_reg), .tap_valid, .tap_data, .tap_keep, .tap_last,
        .pf_valid, .pf_hit,
        .load_begin(hwif_out.pf_cmd.load_begin.value), .commit(hwif_out.pf_cmd.commit.value),
        .expect_sig(hwif_out.pf_expect.signature.value),
        .cmd_write(hwif_out.pf_cmd.write.value), .cmd_read(hwif_out.pf_cmd.read.value),
        .cmd_addr(hwif_out.pf_addr.bucket.value[BUCKETS_LOG2-1:0]),
        .cmd_wdata(pf_wdata[64*PF_WORDS-1:0]), .cmd_rdata(pf_bucket),
        .busy(pf_busy), .cmd_error(pf_error), .sig(pf_sig), .table_valid(pf_table_valid),
        .checking(pf_checking), .commit_failed(pf_failed), .generation(pf_generation),
        .pass_done(pf_pass), .pass_sig(),
        .cfg_seed(hwif_out.pf_seed.value.value), .cfg_ranges(ranges),
        .cfg_ranges_active(ranges_active),
        .err_crc(pf_crc), .err_ce(pf_ce), .err_ue(pf_ue), .err_info(pf_info), .inj_crc(1'b0)
    );

    // --- errors ----------------------------------------------------------------------------
    logic [1:0] pin_level, pin_rise;

    assign inject = {
        hwif_out.err_inject.axi_fault.value, hwif_out.err_inject.over_temp.value,
        hwif_out.err_inject.seu.value, hwif_out.err_inject.table_crc.value,
        hwif_out.err_inject.heartbeat.value, hwif_out.err_inject.stall.value,
        hwif_out.err_inject.late.value, hwif_out.err_inject.credit_leak.value,
        hwif_out.err_inject.fifo_ovf.value, hwif_out.err_inject.parity.value,
        hwif_out.err_inject.ecc_ue.value, hwif_out.err_inject.ecc_ce.value
    };

    assign err_strobe[ERR_ECC_CE] = spine_ce || flow_ce || pf_ce;
    assign err_strobe[ERR_ECC_UE] = spine_ue || flow_ue || pf_ue;
    assign err_strobe[ERR_PARITY] = tap_err;
    assign err_strobe[ERR_HEARTBEAT] = 1'b0;  // nsd_errors raises it itself
    assign err_strobe[ERR_TABLE_CRC] = flow_crc || pf_crc;
    assign err_strobe[ERR_SEU] = pin_rise[0];
    assign err_strobe[ERR_OVER_TEMP] = pin_rise[1];

    // What can be found in several places says where in [30:29]: 0 the spine, 1 the flow table,
    // 2 the prefilter; [28] a lookup met it, not the background check; [16:0] the entry. [31] is
    // nsd_errors' own. A lookup in the prefilter does not say which bucket. Spine errors other than these keep the layout of nsd_spine.
    logic [31:0] flow_where, pf_where;
    assign flow_where = {3'b001, flow_info[31], 11'd0, 17'(flow_info[FLOW_ADDR_W-1:0])};
    assign pf_where = {3'b010, pf_info[31], 12'd0, pf_info[15:0]};

    always_comb begin
        err_info[ERR_ECC_CE] = spine_ce ? {3'b000, spine_info[28:0]} : flow_ce ? flow_where : pf_where;
        err_info[ERR_ECC_UE] = spine_ue ? {3'b000, spine_info[28:0]} : flow_ue ? flow_where : pf_where;
        err_info[ERR_PARITY] = tap_info;
        err_info[ERR_FIFO_OVF] = spine_info;
        err_info[ERR_CREDIT_LEAK] = spine_info;
        err_info[ERR_LATE] = spine_info;
        err_info[ERR_STALL] = spine_info;
        err_info[ERR_HEARTBEAT] = '0;
        err_info[ERR_TABLE_CRC] = flow_crc ? {3'b001, 29'd0} : {3'b010, 29'd0};
        err_info[ERR_SEU] = '0;
        err_info[ERR_OVER_TEMP] = '0;
        err_info[ERR_AXI_FAULT] = axis_info;
        cause_now = '0;
        cause_now[ERR_SEU] = pin_level[0];
        cause_now[ERR_OVER_TEMP] = pin_level[1];
    end

    nsd_pins #(.PINS(2)) pins (
        .clk, .rst, .pin({over_temp_in, seu_in}),
        .inject({inject[ERR_OVER_TEMP], inject[ERR_SEU]}), .level(pin_level), .rise(pin_rise)
    );

    logic               hb_alive, record_valid, rearm_refused;
    logic [31:0]        hb_remaining, record_info;
    logic [2:0]         state, rearm_reason;
    logic [3:0]         record_class;
    logic [63:0]        record_cycle, cycle;
    logic [ERR_COUNT-1:0][15:0] counters;

    nsd_errors errors (
        .clk, .rst, .err_strobe, .err_info, .cause_now,
        .ctl_enable(hwif_out.ctrl.enable.value), .ctl_rearm(hwif_out.ctrl.rearm.value),
        .ctl_soft_reset(hwif_out.ctrl.soft_reset.value),
        .hold_cycles(hwif_out.hold_cycles.cycles.value),
        .irq_mask(hwif_out.err_irq_mask.mask.value), .status_clear(err_status_clear),
        .record_clear(hwif_out.err_clear.record.value),
        .counters_clear(hwif_out.err_clear.counters.value), .armed, .drained,
        .hb_write(hwif_out.heartbeat.remaining.swmod),
        .hb_limit(hwif_out.heartbeat_limit.cycles.value), .inj_heartbeat(inject[ERR_HEARTBEAT]),
        .hb_remaining, .hb_alive, .fault, .arm, .insp_rst, .irq, .state, .status(err_status),
        .counters, .record_valid, .record_class, .record_info, .record_cycle, .cycle,
        .rearm_refused, .rearm_reason
    );

    nsd_relay #(.PERIOD_LOG2(RELAY_LOG2)) relay (.clk, .rst, .sound, .heartbeat_out);

    // --- statistics ------------------------------------------------------------------------
    logic beat_in_reg, backpressure_reg;
    logic [63:0] snap_cycle, snap_frames_in, snap_clear, snap_suspect, snap_bypass;
    logic [63:0] snap_block, snap_fault, snap_beats_in, snap_backpressure;

    always_ff @(posedge clk) begin
        beat_in_reg <= s_axis_tvalid && s_axis_tready;
        backpressure_reg <= m_axis_tvalid && !m_axis_tready;
        if (rst) begin
            beat_in_reg <= 1'b0;
            backpressure_reg <= 1'b0;
        end
    end

    nsd_stats stats (
        .clk, .rst, .snapshot(hwif_out.stat_cmd.snapshot.value), .frame_in, .frame_out,
        .frame_out_verdict, .beat_in(beat_in_reg), .backpressure(backpressure_reg), .cycle,
        .snap_cycle, .snap_frames_in, .snap_clear, .snap_suspect, .snap_bypass, .snap_block,
        .snap_fault, .snap_beats_in, .snap_backpressure
    );

    // --- registers -------------------------------------------------------------------------
    // Where the last table error was, the age of the checks, and the fault as software sees it:
    // registered, for none of it is in a hurry.
    logic [31:0] flow_addr_reg, pf_addr_reg;
    logic        tick_reg, fault_reg;

    always_ff @(posedge clk) begin
        if (flow_ce || flow_ue) flow_addr_reg <= 32'(flow_info[FLOW_ADDR_W-1:0]);
        if (pf_ce || (pf_ue && !pf_info[31])) pf_addr_reg <= 32'(pf_info[15:0]);
        tick_reg <= &cycle[9:0];
        fault_reg <= fault;
        if (rst) begin
            flow_addr_reg <= '0;
            pf_addr_reg <= '0;
        end
    end

    nsd_csr csr (
        .clk, .rst,
        .s_axil_awvalid, .s_axil_awready, .s_axil_awaddr, .s_axil_awprot,
        .s_axil_wvalid, .s_axil_wready, .s_axil_wdata, .s_axil_wstrb,
        .s_axil_bvalid, .s_axil_bready, .s_axil_bresp,
        .s_axil_arvalid, .s_axil_arready, .s_axil_araddr, .s_axil_arprot,
        .s_axil_rvalid, .s_axil_rready, .s_axil_rdata, .s_axil_rresp,
        .err_status, .err_status_clear, .hwif_in, .hwif_out
    );

    always_comb begin
        hwif_in.build_datapath.data_w.next = 16'(DATA_W);
        hwif_in.build_datapath.depth.next = 16'(DEPTH);
        hwif_in.build_tables.sets_log2.next = 8'(SETS_LOG2);
        hwif_in.build_tables.ways.next = 4'd2;
        hwif_in.build_tables.buckets_log2.next = 8'(BUCKETS_LOG2);
        hwif_in.build_tables.pf_words.next = 4'(PF_WORDS);
        hwif_in.build_tables.port_ranges.next = 8'(PORT_RANGES);
        hwif_in.build_timing.latency.next = 16'(LATENCY);
        hwif_in.build_timing.max_frame.next = 16'(MAX_FRAME);
        hwif_in.clock_khz.khz.next = 32'(CLOCK_KHZ);

        hwif_in.status.state.next = state;
        hwif_in.status.armed.next = armed;
        hwif_in.status.fault.next = fault_reg;
        hwif_in.status.drained.next = drained;
        hwif_in.status.heartbeat_alive.next = hb_alive;
        hwif_in.status.irq.next = irq;
        hwif_in.status.flow_ready.next = flow_ready;
        hwif_in.status.flow_busy.next = flow_busy;
        hwif_in.status.pf_valid.next = pf_table_valid;
        hwif_in.status.pf_busy.next = pf_busy || pf_checking;
        hwif_in.status.rearm_refused.next = rearm_refused;
        hwif_in.status.rearm_reason.next = rearm_reason;
        hwif_in.heartbeat.remaining.next = hb_remaining;

        hwif_in.first_error.valid.next = record_valid;
        hwif_in.first_error.error_class.next = record_class;
        hwif_in.first_info.info.next = record_info;
        hwif_in.first_cycle.lo.value.next = record_cycle[31:0];
        hwif_in.first_cycle.hi.value.next = record_cycle[63:32];
        for (int i = 0; i < ERR_COUNT; i++) hwif_in.err_count[i].count.next = counters[i];

        hwif_in.flow_status.busy.next = flow_busy;
        hwif_in.flow_status.error.next = flow_error;
        hwif_in.flow_status.ready.next = flow_ready;
        hwif_in.flow_status.generation.next = flow_generation;
        hwif_in.flow_signature.value.next = flow_sig;
        hwif_in.flow_capacity.entries.next = 32'd1 << FLOW_ADDR_W;
        for (int i = 0; i < 12; i++) begin
            hwif_in.flow_rdata[i].word.next = flow_rdata[32*i +: 32];
            flow_wdata[32*i +: 32] = hwif_out.flow_wdata[i].word.value;
        end

        hwif_in.pf_status.busy.next = pf_busy || pf_checking;
        hwif_in.pf_status.error.next = pf_error;
        hwif_in.pf_status.valid.next = pf_table_valid;
        hwif_in.pf_status.commit_failed.next = pf_failed;
        hwif_in.pf_status.generation.next = pf_generation;
        hwif_in.pf_signature.value.next = pf_sig;
        for (int i = 0; i < 4; i++) begin
            hwif_in.pf_rdata[i].word.next = pf_rdata[32*i +: 32];
            pf_wdata[32*i +: 32] = hwif_out.pf_wdata[i].word.value;
        end
        for (int i = 0; i < PORT_RANGES; i++) begin
            ranges[i].low = hwif_out.pf_range[i].ports.low.value;
            ranges[i].high = hwif_out.pf_range[i].ports.high.value;
            ranges[i].tcp = hwif_out.pf_range[i].protocols.tcp.value;
            ranges[i].udp = hwif_out.pf_range[i].protocols.udp.value;
            ranges[i].icmp = hwif_out.pf_range[i].protocols.icmp.value;
        end

        hwif_in.scrub[0].passes.count.incr = flow_pass;
        hwif_in.scrub[0].age.count.hwclr = flow_pass;
        hwif_in.scrub[0].age.count.incr = tick_reg;
        hwif_in.scrub[0].corrected.count.incr = flow_ce;
        hwif_in.scrub[0].uncorrectable.count.incr = flow_ue;
        hwif_in.scrub[0].mismatches.count.incr = flow_crc;
        hwif_in.scrub[0].err_addr.addr.next = flow_addr_reg;
        hwif_in.scrub[1].passes.count.incr = pf_pass;
        hwif_in.scrub[1].age.count.hwclr = pf_pass;
        hwif_in.scrub[1].age.count.incr = tick_reg;
        hwif_in.scrub[1].corrected.count.incr = pf_ce;
        hwif_in.scrub[1].uncorrectable.count.incr = pf_ue;
        hwif_in.scrub[1].mismatches.count.incr = pf_crc;
        hwif_in.scrub[1].err_addr.addr.next = pf_addr_reg;

        hwif_in.stat_cycle.lo.value.next = snap_cycle[31:0];
        hwif_in.stat_cycle.hi.value.next = snap_cycle[63:32];
        hwif_in.stat_frames_in.lo.value.next = snap_frames_in[31:0];
        hwif_in.stat_frames_in.hi.value.next = snap_frames_in[63:32];
        hwif_in.stat_clear.lo.value.next = snap_clear[31:0];
        hwif_in.stat_clear.hi.value.next = snap_clear[63:32];
        hwif_in.stat_suspect.lo.value.next = snap_suspect[31:0];
        hwif_in.stat_suspect.hi.value.next = snap_suspect[63:32];
        hwif_in.stat_bypass.lo.value.next = snap_bypass[31:0];
        hwif_in.stat_bypass.hi.value.next = snap_bypass[63:32];
        hwif_in.stat_block.lo.value.next = snap_block[31:0];
        hwif_in.stat_block.hi.value.next = snap_block[63:32];
        hwif_in.stat_fault.lo.value.next = snap_fault[31:0];
        hwif_in.stat_fault.hi.value.next = snap_fault[63:32];
        hwif_in.stat_beats_in.lo.value.next = snap_beats_in[31:0];
        hwif_in.stat_beats_in.hi.value.next = snap_beats_in[63:32];
        hwif_in.stat_backpressure.lo.value.next = snap_backpressure[31:0];
        hwif_in.stat_backpressure.hi.value.next = snap_backpressure[63:32];
    end
endmodule
