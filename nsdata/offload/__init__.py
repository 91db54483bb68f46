"""The FPGA block as the software sees it: its golden model, and the tables it is loaded with."""
