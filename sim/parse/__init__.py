"""The parser (hdl/nsd_parse.sv) against the golden model."""
