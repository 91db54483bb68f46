"""What the block's detectors say of an error, as hdl/ records it in FIRST_INFO.

The words are those of the detecting modules (docs/offload.md, Errors). Which word of the frame
store was hit follows from the beats that came before.
"""

from nsdata.offload.registers import ErrorClass

FLOW_TABLE, PF_TABLE = 1, 2  # as error records number them
# Injections that wait for a beat; LATE waits for a decision, TABLE_CRC for the background check.
BEATS = frozenset(
    (ErrorClass.ECC_CE, ErrorClass.ECC_UE, ErrorClass.PARITY, ErrorClass.FIFO_OVF,
     ErrorClass.CREDIT_LEAK, ErrorClass.STALL, ErrorClass.AXI_FAULT)
)  # fmt: skip
PINS = (ErrorClass.SEU, ErrorClass.OVER_TEMP)
OWN = 1 << 31  # found by nsd_errors itself
# nsd_spine: the syndromes of data bit 0 and of the two lowest check bits; nsd_tap_check, lane 0;
# nsd_axis_check, a hole in the first beat.
INFO = {
    ErrorClass.ECC_CE: 0x07, ErrorClass.ECC_UE: 0x03, ErrorClass.PARITY: 1,
    ErrorClass.CREDIT_LEAK: 1 << 29, ErrorClass.LATE: 1 << 20, ErrorClass.STALL: 1 << 27,
    ErrorClass.HEARTBEAT: OWN, ErrorClass.TABLE_CRC: FLOW_TABLE << 29, ErrorClass.AXI_FAULT: 1,
}  # fmt: skip


def info_of(error: ErrorClass, beats: int, depth: int) -> int:
    """The word of an injected error; `beats` have come before into a store of `depth`."""
    slot = beats % depth << 12 if error in (ErrorClass.ECC_CE, ErrorClass.ECC_UE) else 0
    return INFO.get(error, 0) | slot


def too_long(max_frame: int, lanes: int) -> int:
    """nsd_axis_check's word for a frame that is too long: in which beat it became so."""
    return 1 << 4 | min(max_frame // lanes, 0xFFFF) << 16
