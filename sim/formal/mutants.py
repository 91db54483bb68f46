"""Broken copies of the RTL, and the proof that must reject each of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from proofs import Proof


@dataclass(frozen=True)
class Mutant:
    """A broken copy of the RTL: `old`, there exactly once in `file`, becomes `new`."""

    name: str
    proof: str
    says: str
    file: str
    old: str
    new: str
    kills: str = ""  # the property that must be the one to fail
    depth: int = 20  # steps of the search for a counterexample
    params: dict[str, int] = field(default_factory=dict)  # over the proof's own
    weight: int = 1

    def as_search(self, proof: Proof) -> Proof:
        """The proof as a search from reset, without its invariants: no property fails but one
        that the ports show."""
        params = {**proof.params, **self.params}
        if "INVARIANTS" in params:
            params["INVARIANTS"] = 0
        if proof.mode == "netlist":
            return proof
        return replace(proof, mode="bmc", depth=self.depth, params=params)


MUTANTS = [
    Mutant(
        "ecc_fix_half",
        "ecc_fix_75",
        "half of the syndrome names the bit",
        "nsd_ecc_fix.sv",
        "(low_reg[COLUMN[3:0]] && high_reg[COLUMN[7:4]])",
        "(low_reg[COLUMN[3:0]])",
        kills="p_same_word",
        depth=4,
    ),
    Mutant(
        "ecc_not_linear",
        "ecc_linear",
        "a check bit is an AND of the word's parity and a bit",
        "nsd_ecc_enc.sv",
        "^(data & MASKS[j]);",
        "^(data & MASKS[j]) && data[j];",
        kills="$_AND_",
    ),
    Mutant(
        "ecc_even_columns",
        "ecc_75",
        "columns of even weight: two flips look like one",
        "nsd_ecc_pkg.sv",
        "weight += 2",
        "weight += 1",
        kills="p_double_detected",
        depth=1,
    ),
    Mutant(
        "ecc_not_corrected",
        "ecc_64",
        "a wrong bit is reported and left",
        "nsd_ecc_dec.sv",
        "fix_data[i] ^ (fix_syndrome == COLUMN)",
        "fix_data[i]",
        kills="p_single_corrected",
        depth=1,
    ),
    *(
        Mutant(
            name,
            "spine_64",
            says,
            file,
            old,
            new,
            kills=kills,
            depth=depth,
            weight=60,
            params={"LATENCY": 8, "DEPTH": 32, **params},
        )
        for name, says, file, old, new, kills, depth, params in (
            (
                "spine_data",
                "two bits of a beat become one",
                "nsd_spine_fetch.sv",
                "assign payload[i] = fixed[i][71:0];",
                "assign payload[i] = {fixed[i][71:1], fixed[i][1]};",
                "p_data_kept",
                20,
                {},
            ),
            (
                "spine_not_stored",
                "a frame's last beat is not stored",
                "nsd_spine.sv",
                ".wr_en(tap_valid)",
                ".wr_en(tap_valid && !tap_last)",
                "_kept",
                20,
                {},
            ),
            (
                "spine_credit",
                "a credit comes back twice",
                "nsd_spine.sv",
                ".returned(return_reg && !swallow_reg)",
                ".returned(return_reg || head_take)",
                "p_quiet",
                24,
                {},
            ),
            (
                "spine_tuser",
                "a fault changes the verdict of a beat that waits",
                "nsd_spine_exit.sv",
                "frame_out <= pop && h_last_reg;",
                "frame_out <= pop && h_last_reg; if (fault) m_axis_tuser[2:0] <= 3'd0;",
                "p_stable_tuser",
                22,
                {},
            ),
            (
                "spine_fragment",
                "a fault ends a drop inside the frame",
                "nsd_spine_exit.sv",
                "assign drop = h_first ? h_block && !fault : dropping;",
                "assign drop = h_first ? h_block && !fault : dropping && !fault;",
                "p_no_fragment",
                22,
                {},
            ),
            (
                "spine_drop_in_fault",
                "a frame is dropped during a fault",
                "nsd_spine_exit.sv",
                "assign drop = h_first ? h_block && !fault : dropping;",
                "assign drop = h_first ? h_block : dropping;",
                "p_drop_no_fault",
                22,
                {},
            ),
            (
                "spine_unasked",
                "a decision that did not come counts",
                "nsd_spine_line.sv",
                "assign dec_good = dec_due && dec_seen && dec_legal;",
                "assign dec_good = dec_due && dec_legal;",
                "p_drop_asked",
                22,
                {},
            ),
            (
                "spine_fault_unseen",
                "a fault does not show in the verdict",
                "nsd_spine_exit.sv",
                "assign plain = fault || h_ue_reg",
                "assign plain = h_ue_reg",
                "p_fault_is_fault",
                22,
                {},
            ),
            (
                "spine_fault_forgotten",
                "a fault is forgotten inside the frame",
                "nsd_spine_exit.sv",
                "plain_reg <= plain;",
                "plain_reg <= plain && !fault;",
                "p_fault_stays",
                22,
                {},
            ),
            (
                "spine_waits",
                "a frame waits for its decision",
                "nsd_spine_line.sv",
                "assign hold_next = hold_before && !vis_dec &&",
                "assign hold_next = hold_before && !(vis_dec && dec_valid) &&",
                "p_released",
                22,
                {"DATA_W": 512},
            ),
            (
                "spine_armed_midway",
                "arming changes inside a frame",
                "nsd_spine.sv",
                "assign beat_armed = open_reg ? frame_armed_reg : armed_reg;",
                "assign beat_armed = armed_reg;",
                "p_block_obeyed",
                22,
                {},
            ),
            (
                "spine_armed_in_fault",
                "frames enter armed during a fault",
                "nsd_spine.sv",
                "assign arm_next = arm && !fault;",
                "assign arm_next = arm;",
                "p_armed",
                8,
                {},
            ),
            (
                "spine_drained_early",
                "an armed beat that waits at the exit is overlooked",
                "nsd_spine_exit.sv",
                "(m_axis_tvalid && armed_out_reg);",
                "1'b0;",
                "p_waits_not_drained",
                22,
                {},
            ),
            (
                "spine_last_waits",
                "the last beat stored is not read ahead",
                "nsd_spine_fetch.sv",
                "differ(stored_ptr, rd_reg)",
                "to_read > 1",
                "p_progress",
                24,
                {},
            ),
        )
    ),
    Mutant(
        "axis_check_hole",
        "axis_check",
        "a hole before the last beat is not seen",
        "nsd_axis_check.sv",
        "assign hole = accept_reg && !last_reg &&",
        "assign hole = 1'b0 &&",
        kills="p_breach_told",
        depth=8,
    ),
    Mutant(
        "axis_check_long",
        "axis_check",
        "frames may be a beat longer",
        "nsd_axis_check.sv",
        "32'(beats_reg) == LIMIT &&",
        "1'b0 &&",
        kills="p_breach_told",
        depth=14,
    ),
    *(
        Mutant(name, "isolation", says, "nsd_top.sv", old, new, kills=kills, weight=10)
        for name, says, old, new, kills in (
            (
                "isolation_injection",
                "a table's error injects into the spine",
                ".inj_ecc_ue(inject[ERR_ECC_UE])",
                ".inj_ecc_ue(inject[ERR_ECC_UE] || dec_action[1])",
                "inj_ecc_ue hangs on",
            ),
            (
                "isolation_ready",
                "an invalid table holds the exit",
                ".m_axis_tvalid, .m_axis_tready, .m_axis_tlast, .m_axis_tuser,",
                ".m_axis_tvalid, .m_axis_tready(m_axis_tready && !dec_action[1]), .m_axis_tlast, "
                ".m_axis_tuser,",
                "m_axis_tready of nsd_top",
            ),
            (
                "isolation_fault",
                "the spine does not see the fault latch",
                ".arm, .fault, .armed",
                ".arm, .fault(tap_err), .armed",
                "do not share fault",
            ),
        )
    ),
    *(
        Mutant(
            name,
            "errors",
            says,
            "nsd_errors.sv",
            old,
            new,
            kills=kills,
            depth=32,
            params={"RESET_CYCLES": 1},
        )
        for name, says, old, new, kills in (
            (
                "errors_late_fault",
                "fault comes a cycle later",
                "assign fault = latched || fatal_out_reg;",
                "assign fault = latched;",
                "p_next_cycle",
            ),
            (
                "errors_no_vote",
                "one copy of the latch decides",
                "assign latched = (copies[0] && copies[1]) ||",
                "assign latched = copies[0]; logic other; assign other =",
                "p_reset_is_bypass",
            ),
            (
                "errors_record_clears",
                "clearing the record ends the fault",
                "(latched && !rearm_ok);",
                "(latched && !rearm_ok && !record_clear);",
                "p_only_rearm",
            ),
            (
                "errors_no_hold",
                "a re-arm need not wait",
                "else if (hold_busy_reg)",
                "else if (1'b0)",
                "p_only_rearm",
            ),
            (
                "errors_no_cause",
                "a re-arm ignores a cause that is still there",
                "cause_reg || |(cause_now & ERR_FATAL) || fatal_reg",
                "fatal_reg",
                "p_only_rearm",
            ),
            (
                "errors_no_status",
                "a re-arm ignores the sticky bits",
                "else if (sticky_reg)",
                "else if (1'b0)",
                "p_only_rearm",
            ),
            (
                "errors_not_drained",
                "a re-arm ignores armed frames inside",
                "else if (!drained || armed) reason",
                "else if (1'b0) reason",
                "p_only_rearm",
            ),
            (
                "errors_arm_in_fault",
                "frames are armed during a fault",
                "state_reg == ARMED && !fault",
                "state_reg == ARMED",
                "p_no_arm_in_fault",
            ),
            (
                "errors_not_settled",
                "frames are armed with old ones inside",
                "else if (settled) state_next = ARMED;",
                "else state_next = ARMED;",
                "p_arm_when_quiet",
            ),
            (
                "errors_reset_armed",
                "reset arms",
                "state_reg <= DISARMED;",
                "state_reg <= ARMED;",
                "p_reset_is_bypass",
            ),
            (
                "errors_immortal_host",
                "the host's heartbeat does not run down",
                "remaining_reg <= remaining_reg - 1;",
                "remaining_reg <= remaining_reg;",
                "p_time_runs",
            ),
            (
                "errors_dead_host",
                "a dead host is no error",
                "own_reg[ERR_HEARTBEAT] <= heartbeat_lost;",
                "own_reg[ERR_HEARTBEAT] <= 1'b0;",
                "p_dead_host",
            ),
            (
                "errors_bad_state",
                "a state that is none is no error",
                "own_reg[ERR_PARITY] <= state_bad;",
                "own_reg[ERR_PARITY] <= 1'b0;",
                "p_bad_state_fault",
            ),
        )
    ),
    Mutant(
        "verdict_stale_parse",
        "verdict",
        "a one-beat frame gets its predecessor's parse",
        "nsd_verdict.sv",
        "assign suspect_now = dec_next ? key_suspect : suspect_reg;",
        "assign suspect_now = suspect_reg;",
        kills="p_bypass",
        depth=26,
    ),
    Mutant(
        "verdict_ignores_prefilter",
        "verdict",
        "a prefilter hit is forgotten",
        "nsd_verdict.sv",
        "else if (ports_now || pf_suspect)",
        "else if (ports_now)",
        kills="p_hit_is_suspect",
        depth=26,
    ),
    Mutant(
        "verdict_early",
        "verdict",
        "the flow answer is taken one cycle early",
        "nsd_verdict.sv",
        ".CYCLES(KEY_WAIT)",
        ".CYCLES(KEY_WAIT - 1)",
        kills="p_dec_when_answered",
        depth=26,
    ),
    Mutant(
        "tap_check_lane",
        "tap_check",
        "lane 0 is not compared",
        "nsd_tap_check.sv",
        "|differs_reg;",
        "|differs_reg[LANES-1:1];",
        kills="p_wrong_copy_seen",
        depth=6,
    ),
]
