"""What happens to a frame."""

from enum import IntEnum


class Verdict(IntEnum):
    """The values of a verdict array (enum Verdict of packet.pxd)."""

    PASS = 0
    DROP = 1
    DROP_FLOW = 2
    REJECT = 3
    BYPASS_FLOW = 4
    LOST = 5


FORWARDED = (Verdict.PASS, Verdict.BYPASS_FLOW)
