"""The device's error pins (hdl/nsd_pins.sv)."""
