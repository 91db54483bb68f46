"""The join of all answers (hdl/nsd_verdict.sv) against the rules."""
