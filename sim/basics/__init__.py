"""The small parts every stage uses (hdl/nsd_ram.sv, hdl/nsd_delay.sv)."""
