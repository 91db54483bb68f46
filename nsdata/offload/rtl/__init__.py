"""The block's own RTL, compiled by Verilator and driven in this process.

`build` makes the shared library (once for each set of parameters and sources), `block` is the
Python object around it, harness.h says what the C interface is. `python -m nsdata.offload.rtl`
(`make rtl`) builds what the rtl transport needs.
"""
