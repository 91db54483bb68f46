"""A cocotb test bench of nsd_top that a driver in another process works with."""
