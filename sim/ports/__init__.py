"""The short patterns' port ranges (hdl/nsd_ports.sv) against the golden model."""
