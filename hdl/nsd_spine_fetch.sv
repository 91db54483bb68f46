// Between the spine's store and its exit: reads ahead, corrects, keeps a few beats at hand.
//
// A look-aside copy of the store's next CACHE slots, never the only one: a slot is freed when
// the exit has taken the beat (head_ptr passes it), so everything here can be thrown away and
// read again. That is what `restart` does, and what heals any of the pointers below.
//
// cycle 0  rd_ptr addresses the RAM          cycle 1  RAM's first register
// cycle 2  RAM's output register; syndrome   cycle 3  syndrome register; correction
// cycle 4  corrected word; flags chosen
// cycle 5  the beat is in the cache (entry = low bits of its slot), offered if it is the head
//
// The two beats the exit has taken last may still be read here (pop_*): at most 13 are ahead, so
// three entries behind head_ptr are never written.
//
// Invariants: head_ptr <= arr_ptr <= rd_ptr <= stored_ptr, rd_ptr - arr_ptr = beats in flight,
// rd_ptr - head_ptr <= CACHE; cache entry s % CACHE holds slot s for head_ptr <= s < arr_ptr.
module nsd_spine_fetch
    import nsd_ecc_pkg::*;
#(
    // 64-bit lanes of a beat: 1 or 8.
    parameter int LANES = 1,
    // Slots of the store: a power of two, at least 2 * CACHE.
    parameter int DEPTH = 64,
    // Bits of a cache entry's number: 4, what the margins of reading ahead are made for.
    parameter int CACHE_W = 4,
    localparam int ADDR_W = $clog2(DEPTH),
    localparam int PTR_W = ADDR_W + 1,
    localparam int LANE_W = 75,  // {armed, user, last, keep[7:0], data[63:0]}
    localparam int CODE_W = LANE_W + ECC_CHECK_W
) (
    input  logic                          clk,
    input  logic                          rst,
    input  logic                          restart,     // forget what was read ahead

    input  logic [PTR_W-1:0]              stored_ptr,  // slots before it are in the RAM
    output logic [ADDR_W-1:0]             ram_addr,
    input  logic [LANES-1:0][CODE_W-1:0]  ram_data,    // two cycles after ram_addr

    input  logic [PTR_W-1:0]              head_ptr,    // the slot the exit wants next
    input  logic [PTR_W-1:0]              next_ptr,    // head_ptr + 1
    input  logic                          head_take,   // next_ptr is head_ptr from now on
    output logic                          head_valid,
    output logic                          head_user,
    output logic                          head_last,
    output logic                          head_armed,
    output logic                          head_ue,     // some lane could not be corrected
    input  logic [CACHE_W-1:0]            pop_entry,   // the beat in the exit's head register
    output logic [LANES-1:0][63:0]        pop_data,
    output logic [LANES-1:0][7:0]         pop_keep,

    output logic                          ahead_bad,   // the pointers contradict each other
    output logic                          err_ce,      // strobe
    output logic                          err_ue,      // strobe
    output logic [7:0]                    err_syndrome,
    output logic [3:0]                    err_lane,    // lowest lane with the worst error
    output logic [ADDR_W-1:0]             err_slot
);
    localparam int CACHE = 2 ** CACHE_W;
    localparam int PAYLOAD_W = 72 * LANES;

    if (CACHE_W != 4) $fatal(1, "nsd_spine_fetch: CACHE_W must be 4");

    // In halves: whole, Yosys takes it from the carry chain of a difference.
    function automatic logic differ(input logic [PTR_W-1:0] a, input logic [PTR_W-1:0] b);
        return a[3:0] != b[3:0] || a[PTR_W-1:4] != b[PTR_W-1:4];
    endfunction

    // a >= bound, a constant, as plain gates: a comparison would be a second carry chain.
    function automatic logic reaches(input logic [PTR_W-1:0] a, input logic [PTR_W-1:0] bound);
        logic yes;
        yes = 1'b1;
        for (int i = 0; i < PTR_W; i++) yes = bound[i] ? a[i] && yes : a[i] || yes;
        return yes;
    endfunction

    // --- reading ahead ----------------------------------------------------------------------
    logic [PTR_W-1:0] rd_reg, arr_reg, ahead, to_read;
    logic room_reg, issue;
    logic there_reg;         // arr_ptr != head_ptr
    logic [2:0] bad_reg;     // which pointers contradict each other
    logic [3:0] flight_reg;  // valid bits of RAM register and output, syndrome, corrected word

    assign ahead = rd_reg - head_ptr;
    assign to_read = stored_ptr - rd_reg;
    // room_reg lags by one issue: 13 ahead at most.
    assign issue = room_reg && differ(stored_ptr, rd_reg) && !restart;
    assign ram_addr = rd_reg[ADDR_W-1:0];
    assign head_valid = there_reg && !restart;

    always_ff @(posedge clk) begin
        room_reg <= !reaches(ahead, PTR_W'(CACHE - 4));
        bad_reg <= {reaches(ahead, PTR_W'(CACHE + 1)), reaches(to_read, PTR_W'(DEPTH + 1)),
                    differ(arr_reg + PTR_W'($countones(flight_reg)), rd_reg)};
        // Once: the restart it causes comes one cycle later, and bad_reg lags by one more.
        ahead_bad <= |bad_reg && !ahead_bad && !restart;
        flight_reg <= {flight_reg[2:0], issue};
        if (issue) rd_reg <= rd_reg + 1'b1;
        arr_reg <= arr_reg + PTR_W'(flight_reg[3]);
        // Compared one cycle ahead; what arrives makes it so, for less than CACHE are ahead.
        there_reg <= flight_reg[3] ||
                     (head_take ? differ(arr_reg, next_ptr) : differ(arr_reg, head_ptr));
        if (restart) begin
            rd_reg <= head_ptr;
            arr_reg <= head_ptr;
            flight_reg <= '0;
            there_reg <= 1'b0;
            bad_reg <= '0;
        end
        if (rst) begin
            rd_reg <= '0;
            arr_reg <= '0;
            flight_reg <= '0;
            there_reg <= 1'b0;
            room_reg <= 1'b0;
            bad_reg <= '0;
            ahead_bad <= 1'b0;
        end
    end

    // --- correcting -------------------------------------------------------------------------
    logic [LANES-1:0][7:0]        syndrome, syndrome_reg;
    logic [LANES-1:0][LANE_W-1:0] raw_reg, fixed;
    logic [LANES-1:0][7:0]        cause_reg;  // the syndrome of `fixed`
    logic [LANES-1:0]             ce, ue;
    for (genvar i = 0; i < LANES; i++) begin : g_lane
        nsd_ecc_dec #(.W(LANE_W)) u_dec (
            .data(ram_data[i][LANE_W-1:0]), .check(ram_data[i][CODE_W-1:LANE_W]),
            .syndrome(syndrome[i]),
            .fix_data('0), .fix_syndrome('0), .fixed(), .fix_ce(), .fix_ue()
        );
        nsd_ecc_fix #(.W(LANE_W)) u_fix (
            .clk, .data(raw_reg[i]), .syndrome(syndrome_reg[i]), .fixed(fixed[i]), .ue(ue[i])
        );
        assign ce[i] = cause_reg[i] != 0 && !ue[i];
        always_ff @(posedge clk) begin
            syndrome_reg[i] <= syndrome[i];
            raw_reg[i] <= ram_data[i][LANE_W-1:0];
            cause_reg[i] <= syndrome_reg[i];
        end
    end

    // The flags of the first lane that is whole: lane 0, or lane 1 when 0 is lost.
    localparam int SPARE = LANES > 1 ? 1 : 0;
    logic [2:0] flags;
    logic [LANES-1:0][71:0] payload;
    assign flags = ue[0] ? fixed[SPARE][LANE_W-1:72] : fixed[0][LANE_W-1:72];
    for (genvar i = 0; i < LANES; i++) begin : g_payload
        assign payload[i] = fixed[i][71:0];
    end

    // --- the cache --------------------------------------------------------------------------
    (* ram_style = "distributed" *) logic [PAYLOAD_W-1:0] cache_mem[CACHE];
    (* ram_style = "distributed" *) logic [3:0] flags_mem[CACHE];
    logic [LANES-1:0][71:0] pop_payload;
    always_ff @(posedge clk)
        if (flight_reg[3]) begin
            cache_mem[arr_reg[CACHE_W-1:0]] <= payload;
            flags_mem[arr_reg[CACHE_W-1:0]] <= {|ue, flags};
        end
    assign {head_ue, head_armed, head_user, head_last} = flags_mem[head_ptr[CACHE_W-1:0]];
    assign pop_payload = cache_mem[pop_entry];
    for (genvar i = 0; i < LANES; i++) begin : g_pop
        assign {pop_keep[i], pop_data[i]} = pop_payload[i];
    end

    // --- reporting --------------------------------------------------------------------------
    // A cycle later: where errors are gathered is far away.
    logic [LANES-1:0]      ce_reg, ue_reg;
    logic [LANES-1:0][7:0] told_reg;   // their syndromes
    logic [ADDR_W-1:0]     slot_reg;
    logic [7:0]            worst_syndrome;
    logic [3:0]            worst_lane;
    always_comb begin
        worst_syndrome = '0;
        worst_lane = '0;
        for (int i = LANES - 1; i >= 0; i--)
            if (ue_reg[i] || (ce_reg[i] && ue_reg == '0)) begin
                worst_syndrome = told_reg[i];
                worst_lane = 4'(i);
            end
    end
    always_ff @(posedge clk) begin
        ce_reg <= flight_reg[3] && !restart ? ce : '0;
        ue_reg <= flight_reg[3] && !restart ? ue : '0;
        told_reg <= cause_reg;
        slot_reg <= arr_reg[ADDR_W-1:0];
        err_ce <= |ce_reg;
        err_ue <= |ue_reg;
        err_syndrome <= worst_syndrome;
        err_lane <= worst_lane;
        err_slot <= slot_reg;
        if (rst) begin
            ce_reg <= '0;
            ue_reg <= '0;
            err_ce <= 1'b0;
            err_ue <= 1'b0;
        end
    end
endmodule
