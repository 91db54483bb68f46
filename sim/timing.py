"""Cycles that hdl/nsd_spine.sv promises, for those who judge what leaves the block."""

LATENCY = 18  # of nsd_top, from a beat's tap to its verdict

# From the recorded cycle of an error until what is handed over is FAULT: the output register and
# the beat that waits behind it were loaded before.
GRACE = 2

# A frame is dropped no sooner than this many cycles after its first beat came, and no sooner than
# all but so many beats of the frame before it have left.
DROP_AFTER = LATENCY + 3
DROP_BEHIND = 4
