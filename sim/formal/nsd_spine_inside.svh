// Included by nsd_spine_formal: how the spine's registers hang together. These are what k-induction
// needs to prove the statements about the ports; each of them is itself proven on the way.
localparam int CREDITS = DEPTH - 2;
localparam int DEC_BEATS = (HDR_BYTES + KEEP_W - 1) / KEEP_W;
localparam int CODE_W = 75 + ECC_CHECK_W;

// --- shorter names ----------------------------------------------------------------------
logic [PTR_W-1:0] wr, stored, free, head, arr, rd, rel;
assign wr = dut.wr_ptr_reg;
assign stored = dut.stored_ptr_reg;
assign free = dut.free_ptr_reg;
assign head = dut.u_exit.head_reg;
assign arr = dut.u_fetch.arr_reg;
assign rd = dut.u_fetch.rd_reg;
assign rel = dut.u_line.rel_reg;
logic [3:0] flight;  // youngest at bit 0: RAM register, RAM output, syndrome, corrected word
assign flight = dut.u_fetch.flight_reg;
logic [LATENCY-1:0] line_valid, line_dec, line_last, line_armed;
logic [LATENCY-1:0][PTR_W-1:0] line_slot;
assign line_valid = dut.u_line.valid_reg;
assign line_dec = dut.u_line.dec_reg;
assign line_last = dut.u_line.last_reg;
assign line_armed = dut.u_line.armed_reg;
assign line_slot = dut.u_line.slot_reg;
logic [PTR_W-1:0] vis;  // the slot that becomes visible next
assign vis = line_slot[LATENCY-1];
logic [PTR_W-1:0] head_1, line_next;
assign head_1 = head + 1'b1;
assign line_next = vis + PTR_W'(line_valid[LATENCY-1]);
logic h_valid;
assign h_valid = dut.u_exit.h_valid_reg;
logic q_valid;  // a beat waits between the store and the head register
assign q_valid = dut.u_exit.q_valid_reg;
logic [1:0] in_exit;
assign in_exit = 2'(h_valid) + 2'(q_valid);

// The beat that left last was loaded, and its frame goes on.
logic last_open_reg, last_open;
assign last_open = leave ? fresh && !m_axis_tlast : last_open_reg;
always_ff @(posedge clk) last_open_reg <= last_open && !rst;

// --- pointers and credits ---------------------------------------------------------------
// Differences get a name, for their width: in an expression they would be widened.
logic [PTR_W-1:0] ahead, backlog, in_ram, at_hand, at_hand_1, at_hand_2, at_hand_3, at_hand_4;
assign at_hand = arr - head;
assign at_hand_1 = at_hand + PTR_W'(flight[3]);
assign at_hand_2 = at_hand_1 + PTR_W'(flight[2]);
assign at_hand_3 = at_hand_2 + PTR_W'(flight[1]);
assign at_hand_4 = at_hand_3 + PTR_W'(flight[0]);
// The slots in flight: what arr_reg will be in so many cycles.
logic [PTR_W-1:0] arr_1, arr_2, arr_3, arr_4;
assign arr_1 = arr + PTR_W'(flight[3]);
assign arr_2 = arr_1 + PTR_W'(flight[2]);
assign arr_3 = arr_2 + PTR_W'(flight[1]);
assign arr_4 = arr_3 + PTR_W'(flight[0]);
assign in_ram = wr - head;
assign ahead = rd - head;
assign backlog = stored - rd;
always_comb if (begun_reg) begin
    i_write: assert (wr - stored == PTR_W'(tap_valid));
    i_free: assert (head - free == PTR_W'(dut.return_reg));
    i_credit: assert (dut.credit_reg + (wr - free) == PTR_W'(CREDITS));
    i_credit_range: assert (dut.credit_reg <= PTR_W'(CREDITS));
    i_ready: assert (!dut.ready_reg || dut.credit_reg != 0);
    i_sum: assert (dut.sum_reg == PTR_W'(CREDITS) && !dut.leak_reg && !dut.leak_late_reg);
    i_used: assert (dut.used_reg <= PTR_W'(CREDITS));
    i_calm: assert (!dut.overflow_reg && !dut.lowered_reg && !dut.swallow_reg
                    && !dut.inject_ce_reg && !dut.inject_ue_reg && !dut.restart_reg && !dut.resync_reg
                    && !dut.u_exit.early_reg);
    // Order of the pointers, seen from head.
    i_order: assert (ahead <= stored - head && arr - head <= ahead && rel - head <= vis - head
                     && vis - head <= stored - head && stored - head <= wr - head);
    i_flight: assert (rd == arr_4 && ahead == at_hand_4);
    i_ahead: assert (ahead <= 13 && (!dut.u_fetch.room_reg || ahead <= 12));
    i_ahead_good: assert (!dut.u_fetch.ahead_bad && dut.u_fetch.bad_reg == 0);
    // Reading ahead keeps up, or has plenty at hand.
    i_room: assert (dut.u_fetch.room_reg || ahead >= 11 || wr == head);
    i_backlog: assert (backlog <= 1 || ahead >= 10);
    i_fetched: assert (rd - head >= line_slot[1] - head || ahead >= 9);
    i_fetched_3: assert (at_hand_3 >= line_slot[2] - head || at_hand_3 >= 8);
    i_fetched_2: assert (at_hand_2 >= line_slot[3] - head || at_hand_2 >= 7);
    i_fetched_1: assert (at_hand_1 >= line_slot[4] - head || at_hand_1 >= 6);
    i_at_hand: assert (at_hand >= line_slot[5] - head || at_hand >= 5);
    i_inside: assert (inside_reg == COUNT_W'(in_ram) + COUNT_W'(in_exit) + COUNT_W'(leave));
    i_queue: assert (!q_valid || h_valid);
    i_open: assert (open_reg == dut.open_reg && (!open_reg || frame_armed_reg == dut.frame_armed_reg));
    i_armed: assert (armed == dut.armed_reg);
    if (mine && fresh) i_out_armed: assert (dut.u_exit.armed_out_reg == armed_reg);
    if (waits_reg) i_waits_armed: assert (m_axis_tvalid && dut.u_exit.armed_out_reg);
    i_watch: assert (!dut.u_exit.freeze_reg && !dut.u_exit.err_stall && dut.u_exit.count_reg <= 1
                     && (!dut.u_exit.waits_reg || (h_valid && dut.u_exit.count_reg == 0))
                     && (dut.u_exit.count_reg == 0 || h_valid || dut.u_exit.popped_reg));
    i_idle: assert (idle_reg == 0 || (idle_reg == 1 && (h_valid || leave)) || (idle_reg == 2 && leave));
    i_last: assert (!(last_gone_reg && last_fault_reg));
    i_exit: assert (dut.u_exit.drop_copies == {3{leave ? gone : last_gone_reg}});
    // Differences that are registered one cycle ahead.
    i_ahead_of_time: assert (dut.u_exit.next_reg == head_1 && dut.u_fetch.there_reg == (arr != head)
                             && dut.u_exit.released_reg == (rel != head)
                             && dut.u_line.vis_ptr_reg == line_next);
    if (last_open)
        i_plain: assert (dut.u_exit.plain_reg == (leave ? is_fault : last_fault_reg));
end

// --- the delay line: frames pass it in good order -----------------------------------------
always_comb if (begun_reg) begin
    i_marks: assert ((line_dec & ~line_valid) == 0 && (line_last & ~line_valid) == 0);
    i_line_entry: assert (stored == line_slot[0] + PTR_W'(line_valid[0]));
    i_not_lost: assert (!dut.u_line.lost_reg && !dut.u_line.swallow_reg);
    if (dut.u_line.hold_reg) begin
        i_hold: assert (dut.u_line.open_reg && vis != rel
                        && vis - rel <= PTR_W'(DEC_BEATS - 1));
    end else i_released: assert (rel == vis);
end
for (genvar k = 0; k < LATENCY - 1; k++) begin : gen_slots
    always_comb if (begun_reg)
        i_line_slots: assert (line_slot[k] == line_slot[k+1] + PTR_W'(line_valid[k+1]));
end
// Walk from the line's end to its entry: beats of the frame so far, up to DEC_BEATS.
localparam int BEAT_W = $clog2(DEC_BEATS + 1);
logic [LATENCY+1:0][BEAT_W-1:0] beats;
logic [LATENCY:0] walk_valid, walk_dec, walk_last;
assign walk_valid = {line_valid, tap_valid};
assign walk_dec = {line_dec, tap_dec};
assign walk_last = {line_last, tap_last};
assign beats[LATENCY+1] = !dut.u_line.open_reg ? '0
                          : dut.u_line.hold_reg ? BEAT_W'(vis - rel) : BEAT_W'(DEC_BEATS);
for (genvar k = 0; k <= LATENCY; k++) begin : gen_walk
    logic [BEAT_W-1:0] so_far;
    assign so_far = beats[k+1];
    assign beats[k] = !walk_valid[k] ? so_far : walk_last[k] ? '0
                      : so_far == BEAT_W'(DEC_BEATS) ? so_far : so_far + 1'b1;
    always_comb if (begun_reg && walk_valid[k])
        i_walk_dec: assert (walk_dec[k] == (so_far == BEAT_W'(DEC_BEATS - 1)
                            || (walk_last[k] && so_far < BEAT_W'(DEC_BEATS - 1))));
end
always_comb if (begun_reg) begin
    i_walk_end: assert (beats[0] == dut.beat_reg && (beats[0] != 0) == open_reg);
end

// --- where the picked beat is -------------------------------------------------------------
logic [COUNT_W-1:0] ahead_now;
logic in_head, in_queue, in_store, visible;
logic [PTR_W-1:0] off;  // slots from head
assign ahead_now = ahead_reg - COUNT_W'(leave);
assign in_head = live_reg && !mine && h_valid && ahead_now == 0;
assign in_queue = live_reg && !mine && q_valid && ahead_now == 1;
assign in_store = live_reg && !mine && !in_head && !in_queue;
assign off = slot_reg - head;
assign visible = age_reg > AGE_W'(LATENCY + 1);

logic [LANES-1:0][74:0] words;
logic [LANES-1:0][7:0] checks;
logic [LANES-1:0][71:0] payload;
for (genvar i = 0; i < LANES; i++) begin : gen_words
    assign words[i] = {armed_reg, user_reg, last_reg, keep_reg[8*i +: 8], data_reg[64*i +: 64]};
    assign payload[i] = words[i][71:0];
    nsd_ecc_enc #(.W(75)) enc (.data(words[i]), .check(checks[i]));
end
logic [PTR_W-1:0] dec_slot_reg;
always_ff @(posedge clk) if (dec_age_reg == 0) dec_slot_reg <= stored;

always_comb if (begun_reg && live_reg) begin
    i_live: assert (ahead_reg < inside_reg && age_reg != 0 && age_reg <= OLD
                    && dec_age_reg <= DEC_OLD && dec_age_reg < age_reg);
    if (mine) i_slot_mine: assert (slot_reg == head - 1'b1 - PTR_W'(in_exit));
    if (in_head) i_slot_head: assert (slot_reg == head - PTR_W'(in_exit));
    if (in_queue) i_slot_queue: assert (slot_reg == head - 1'b1);
    if (in_store) begin
        i_slot_store: assert (COUNT_W'(off) == ahead_now - COUNT_W'(in_exit));
        i_slot_range: assert (off < wr - head);
        i_not_visible: assert (visible == (off < vis - head));
        if (off >= rel - head && visible)
            i_waits: assert (dut.u_line.hold_reg);
    end else i_left_late: assert (age_reg >= AGE_W'(LATENCY + 3) && (!first_reg || dec_age_reg == DEC_OLD));
    i_fin: assert (!fin_ok_reg || (verdict_reg != 0 && verdict_reg <= 4));
    i_first_then_dec: assert (first_reg || dec_age_reg == 0);
    // In the line.
    if (age_reg == 1) i_in_tap: assert (tap_valid && stored == slot_reg && tap_last == last_reg
                                        && dut.tap_armed_reg == armed_reg);
    if (first_reg && dec_age_reg == 0) begin
        i_dec_to_come: assert (open_reg || (tap_valid && tap_last));
        i_undecided_beats: assert (stored - slot_reg < PTR_W'(DEC_BEATS)
                                   && beats[1] == BEAT_W'(stored - slot_reg));
        i_undecided_armed: assert ((!tap_valid || dut.tap_armed_reg == armed_reg)
                                   && (!open_reg || frame_armed_reg == armed_reg));
    end
    if (age_reg >= 1 && age_reg <= AGE_W'(LATENCY + 1) && vis == slot_reg)
        i_line_open: assert (dut.u_line.open_reg == !first_reg);
    if (first_reg && visible && dec_age_reg != DEC_OLD)
        i_undecided: assert (dut.u_line.hold_reg && rel == slot_reg);
    if (first_reg && dec_age_reg != 0)
        i_dec_slot: assert (dec_slot_reg - slot_reg < PTR_W'(DEC_BEATS));
end

for (genvar k = 0; k < LATENCY; k++) begin : gen_in_line
    always_comb if (begun_reg && live_reg) begin
        if (age_reg == AGE_W'(k + 2))
            i_in_line: assert (line_valid[k] && line_slot[k] == slot_reg
                               && line_last[k] == last_reg && line_armed[k] == armed_reg);
        if (dec_age_reg == AGE_W'(k + 1))
            i_dec_in_line: assert (line_valid[k] && line_slot[k] == dec_slot_reg && line_dec[k]
                                   && line_armed[k] == armed_reg);
        // None of the frame's beats before its decision beat decides or ends it.
        if (first_reg && dec_age_reg != DEC_OLD && line_valid[k]
                && line_slot[k] - slot_reg < (dec_age_reg == 0 ? stored : dec_slot_reg) - slot_reg)
            i_before_dec: assert (!line_dec[k] && !line_last[k] && line_armed[k] == armed_reg);
    end
end

// --- what it looks like there ---------------------------------------------------------------
logic [1:0] action_is;
assign action_is = decided ? action_reg : 2'd3;
logic [4:0] beat_is;
assign beat_is = dut.u_line.beat_mem[slot_reg[PTR_W-2:0]];
logic [LANES*72-1:0] cached;
assign cached = dut.u_fetch.cache_mem[slot_reg[3:0]];
logic [3:0] cached_flags;
assign cached_flags = dut.u_fetch.flags_mem[slot_reg[3:0]];
for (genvar i = 0; i < LANES; i++) begin : gen_content
    logic [CODE_W-1:0] code, stored_code, ram_read, ram_out;
    assign code = {checks[i], words[i]};
    assign stored_code = dut.g_lane[i].u_ram.mem[slot_reg[PTR_W-2:0]];
    assign ram_read = dut.g_lane[i].u_ram.read_reg;
    assign ram_out = dut.g_lane[i].u_ram.data_reg;
    always_comb if (begun_reg && in_store) begin
        if (age_reg == 1) i_written: assert (dut.write_reg[i] == code);
        else i_stored: assert (stored_code == code);
        if (slot_reg == arr && flight[3])
            i_corrected: assert (dut.u_fetch.fixed[i] == words[i] && !dut.u_fetch.ue[i]);
        if (slot_reg == arr_1 && flight[2])
            i_checked: assert (dut.u_fetch.raw_reg[i] == words[i]
                               && dut.u_fetch.syndrome_reg[i] == 0);
        if (slot_reg == arr_2 && flight[1])
            i_ram_out: assert (ram_out == code);
        if (slot_reg == arr_3 && flight[0])
            i_ram_read: assert (ram_read == code);
    end
end
always_comb if (begun_reg && in_store) begin
    if (off < arr - head)
        i_cached: assert (cached == payload
                          && cached_flags == {1'b0, armed_reg, user_reg, last_reg});
    if (first_reg && dec_age_reg == DEC_OLD)
        i_action: assert (dut.u_line.action_mem[slot_reg[PTR_W-2:0]] == action_is);
    if (visible) i_beat: assert (beat_is[4:3] == {first_reg, last_reg});
    if (visible && last_reg)
        i_verdict: assert (beat_is[2:0] == 0 || (fin_ok_reg && armed_reg
                          && beat_is[2:0] < 4 && beat_is[2:0] == verdict_reg));
    if (age_reg >= 2) i_used_now: assert (dut.used_reg != 0);
    if (armed_reg && age_reg >= 2)
        i_mark: assert (dut.marked_reg && dut.mark_reg - head > off
                        && dut.mark_reg - head <= stored - head);
end
// In the head register, or in the one before it: the flags; the payload is still in the cache.
for (genvar q = 0; q < 2; q++) begin : gen_exit
    logic here, user, last, armed_bit, ue, sure, bypass, plain;
    logic [3:0] entry;
    logic [2:0] verdict, first_copies, block_copies;
    if (q == 0) begin : gen_head
        assign here = in_head;
        assign {entry, user, last, armed_bit, ue, sure, bypass, plain, verdict} = {
            dut.u_exit.h_entry_reg, dut.u_exit.h_user_reg, dut.u_exit.h_last_reg,
            dut.u_exit.h_armed_reg, dut.u_exit.h_ue_reg, dut.u_exit.h_sure_reg,
            dut.u_exit.h_bypass_reg, dut.u_exit.h_plain_reg, dut.u_exit.h_verdict_reg};
        assign first_copies = dut.u_exit.first_copies;
        assign block_copies = dut.u_exit.block_copies;
    end else begin : gen_queue
        assign here = in_queue;
        assign {entry, user, last, armed_bit, ue, sure, bypass, plain, verdict} =
            dut.u_exit.q_flags_reg;
        for (genvar i = 0; i < 3; i++) begin : gen_copy
            assign first_copies[i] = dut.u_exit.g_copy[i].q_first_reg;
            assign block_copies[i] = dut.u_exit.g_copy[i].q_block_reg;
        end
    end
    always_comb if (begun_reg && here) begin
        i_taken: assert (entry == slot_reg[3:0] && cached == payload && user == user_reg
                         && last == last_reg && armed_bit == armed_reg && !ue
                         && first_copies == {3{first_reg}} && sure == (first_reg && armed_reg));
        if (first_reg)
            i_taken_action: assert (block_copies == {3{action_is == ACTION_BLOCK}}
                                    && plain == (!armed_reg || action_is == 2'd3)
                                    && bypass == (action_is == ACTION_BYPASS));
        if (last_reg)
            i_taken_verdict: assert (verdict == 0 || (verdict < 4 && fin_ok_reg && armed_reg
                                                      && verdict == verdict_reg));
    end
end

// --- its predecessor, and the latest beat of all ----------------------------------------------
// Of each only lane 0 and `last`: the one is the next `first`, the other the frame state at entry.
logic [74:0] latest_reg, pred_reg;
always_ff @(posedge clk) begin
    if (accept) latest_reg <= {beat_armed, s_axis_tuser, s_axis_tlast, s_axis_tkeep[7:0],
                               s_axis_tdata[63:0]};
    if (!live_reg && accept) pred_reg <= latest_reg;
end
for (genvar p = 0; p < 2; p++) begin : gen_pred
    logic holds, ends, here;    // is there such a beat; its `last`; it is in the store
    logic [74:0] word;
    logic [7:0] check;
    logic [PTR_W-1:0] slot;
    logic [CODE_W-1:0] code, code_mem, code_read, code_out;
    logic [3:0] entry;
    logic [4:0] beat;
    logic [PTR_W-1:0] from_head;
    assign holds = p == 0 || in_store || in_queue || in_head;
    assign slot = p == 0 ? wr - 1'b1 : slot_reg - 1'b1;
    assign ends = p == 0 ? !open_reg : first_reg;
    assign word = p == 0 ? latest_reg : pred_reg;
    assign from_head = slot - head;
    assign here = holds && from_head < wr - head;
    nsd_ecc_enc #(.W(75)) enc (.data(word), .check);
    assign code = {check, word};
    assign code_mem = dut.g_lane[0].u_ram.mem[slot[PTR_W-2:0]];
    assign code_read = dut.g_lane[0].u_ram.read_reg;
    assign code_out = dut.g_lane[0].u_ram.data_reg;
    assign entry = dut.u_fetch.flags_mem[slot[3:0]];
    assign beat = dut.u_line.beat_mem[slot[PTR_W-2:0]];
    always_comb if (begun_reg) begin
        if (here) begin
            i_word: assert (word[72] == ends);
            if (tap_valid && stored == slot) i_pred_written: assert (dut.write_reg[0] == code);
            else i_pred_stored: assert (code_mem == code);
            if (from_head < arr - head) i_pred_cached: assert (entry[0] == ends);
            if (slot == arr && flight[3])
                i_pred_corrected: assert (dut.u_fetch.fixed[0] == word
                                          && !dut.u_fetch.ue[0]);
            if (slot == arr_1 && flight[2])
                i_pred_checked: assert (dut.u_fetch.raw_reg[0] == word
                                        && dut.u_fetch.syndrome_reg[0] == 0);
            if (slot == arr_2 && flight[1]) i_pred_out: assert (code_out == code);
            if (slot == arr_3 && flight[0])
                i_pred_read: assert (code_read == code);
            if (from_head < vis - head) i_pred_beat: assert (beat[3] == ends);
        end else if (holds) begin
            if (p == 0 || in_store)
                i_pred_taken: assert (dut.u_exit.ended_copies == {3{ends}}
                                      && dut.u_exit.line_ended_reg == ends);
            if ((p == 0 || in_store) && q_valid)
                i_pred_queue: assert (dut.u_exit.q_flags_reg.last == ends);
            else if ((p == 0 || in_store || in_queue) && h_valid)
                i_pred_head: assert (dut.u_exit.h_last_reg == ends);
            else i_pred_left: assert (last_open == !ends || (leave ? gone : last_gone_reg));
        end
    end
    for (genvar k = 0; k < LATENCY; k++) begin : gen_line
        always_comb if (begun_reg && here && line_valid[k] && line_slot[k] == slot)
            i_pred_line: assert (line_last[k] == ends);
    end
end
