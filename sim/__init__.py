"""Simulation of the FPGA block: the cocotb runner, stream agents, tests per module."""
