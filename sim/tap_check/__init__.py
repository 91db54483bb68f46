"""The guard of the inspection's copy (hdl/nsd_tap_check.sv)."""
