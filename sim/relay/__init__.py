"""The bypass relay's heartbeat (hdl/nsd_relay.sv)."""
