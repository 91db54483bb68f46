// The life of the prefilter's table: empty, loaded by the host, checked, valid.
//
//   load_begin  the table is invalid from the next cycle on, and cleared; ends a check too
//   cmd_write   refused while the table is valid, being cleared or checked
//   commit      the configuration is latched (cfg_*, expect_sig in the next cycle), and a whole
//               pass of the scrubber over every copy and the latched configuration must give
//               expect_sig: then the table is valid and `generation` counts; else it stays
//               invalid, commit_failed and err_crc
//
// Commands go on to nsd_scrub a cycle later. Invalid is the safe side: then every frame is a hit.
// What is refused sets cmd_error until the next command is accepted.
module nsd_prefilter_load
    import nsd_pkg::*;
(
    input  logic                               clk,
    input  logic                               rst,

    // Host, strobes.
    input  logic                               load_begin,
    input  logic                               commit,
    input  logic [31:0]                        expect_sig,
    input  logic                               cmd_write,
    input  logic                               cmd_read,
    input  logic [31:0]                        cfg_seed,
    input  port_range_t [PORT_RANGES-1:0]      cfg_ranges,
    output logic                               busy,
    output logic                               cmd_error,
    output logic                               checking,
    output logic                               commit_failed,  // the last commit's outcome
    output logic [15:0]                        generation,     // commits that succeeded

    // What lookups use.
    output logic                               table_valid,
    output logic [31:0]                        seed,
    output port_range_t [PORT_RANGES-1:0]      ranges,

    // nsd_scrub
    output logic                               scrub_write,
    output logic                               scrub_read,
    output logic                               scrub_clear,
    output logic [31:0]                        scrub_expect,
    output logic                               scrub_check,
    output logic                               scrub_restart,
    input  logic                               scrub_busy,
    input  logic                               scrub_error,
    input  logic                               pass_done,
    input  logic                               pass_clean,
    input  logic                               pass_ok
);
    typedef enum logic [1:0] {OPEN, CLEAR, CHECK, VALID} state_t;
    state_t state_reg, state_next;

    logic                          refused_reg, refused_next;
    logic                          failed_reg, failed_next;
    logic [15:0]                   generation_reg, generation_next;
    logic [31:0]                   expect_reg;
    logic [31:0]                   seed_reg;
    port_range_t [PORT_RANGES-1:0] ranges_reg;
    logic                          latch, latch_reg;
    // Not latch_reg, which enables some hundred flip-flops. Inverted, or Yosys merges the two.
    logic                          calm_reg;
    logic                          write, read, clear;
    logic                          write_reg, read_reg, clear_reg;
    logic                          free;

    assign free = !scrub_busy && !write_reg && !read_reg && !clear_reg;
    assign busy = !free || state_reg == CLEAR || state_reg == CHECK;
    assign cmd_error = refused_reg || scrub_error;
    assign checking = state_reg == CHECK;
    assign commit_failed = failed_reg;
    assign generation = generation_reg;
    assign table_valid = state_reg == VALID;
    assign seed = seed_reg;
    assign ranges = ranges_reg;
    assign scrub_expect = expect_reg;
    // A table being loaded is nobody's yet: only from commit on is it held to a signature.
    assign scrub_check = state_reg == CHECK || state_reg == VALID;
    assign scrub_restart = latch_reg;
    assign scrub_write = write_reg;
    assign scrub_read = read_reg;
    assign scrub_clear = clear_reg;

    always_comb begin
        state_next = state_reg;
        refused_next = refused_reg;
        failed_next = failed_reg;
        generation_next = generation_reg;
        latch = 1'b0;
        clear = 1'b0;
        write = 1'b0;
        read = 1'b0;

        unique case (state_reg)
            OPEN: ;
            CLEAR:
                if (free) begin
                    clear = 1'b1;
                    state_next = OPEN;
                end
            CHECK:
                // A pass that a write disturbed says nothing: wait for the next one. One that
                // ended with the commit was another's.
                if (pass_done && pass_clean && calm_reg) begin
                    if (pass_ok) begin
                        state_next = VALID;
                        generation_next = generation_reg + 16'd1;
                    end else begin
                        state_next = OPEN;
                        failed_next = 1'b1;
                    end
                end
            VALID: ;
            default: state_next = OPEN;
        endcase

        if (load_begin) begin
            state_next = CLEAR;
            refused_next = cmd_write || cmd_read || commit;
        end else if (commit) begin
            refused_next = state_reg != OPEN || !free || cmd_write || cmd_read;
            if (state_reg == OPEN && free) begin
                latch = 1'b1;
                failed_next = 1'b0;
                state_next = CHECK;
            end
        end else if (cmd_write) begin
            refused_next = state_reg != OPEN || !free || cmd_read;
            write = state_reg == OPEN && free;
        end else if (cmd_read) begin
            refused_next = busy;
            read = !busy;
        end
    end

    always_ff @(posedge clk) begin
        state_reg <= state_next;
        refused_reg <= refused_next;
        failed_reg <= failed_next;
        generation_reg <= generation_next;
        write_reg <= write;
        read_reg <= read;
        clear_reg <= clear;
        latch_reg <= latch;
        calm_reg <= !latch;
        if (latch_reg) begin
            expect_reg <= expect_sig;
            seed_reg <= cfg_seed;
            ranges_reg <= cfg_ranges;
        end
        if (rst) begin
            state_reg <= OPEN;
            refused_reg <= 1'b0;
            write_reg <= 1'b0;
            read_reg <= 1'b0;
            clear_reg <= 1'b0;
            latch_reg <= 1'b0;
            calm_reg <= 1'b1;
            failed_reg <= 1'b0;
            generation_reg <= '0;
            // A port range in force before anything was loaded would be nobody's.
            ranges_reg <= '0;
        end
    end
endmodule
