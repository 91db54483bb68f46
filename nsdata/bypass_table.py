"""Inspection bypass rules as a numpy structured array, the form the C engine matches with.

The layout is told in `nsdata.fallback.bypass_rules`, which itself stays free of numpy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nsdata.fallback.bypass_rules import RULE_BYTES, BypassRules

RULE_DTYPE = np.dtype(
    {
        "names": [
            "enabled", "action", "ethertype_mode", "bidirectional", "ethertype", "proto",
            "src_version", "src_prefix", "dst_version", "dst_prefix",
            "sport_lo", "sport_hi", "dport_lo", "dport_hi", "vlan", "src", "dst", "id", "ports",
        ],
        "formats": [
            "u1", "u1", "u1", "u1", "<u2", "<i2", "u1", "u1", "u1", "u1",
            "<u2", "<u2", "<u2", "<u2", "<i4", "(16,)u1", "(16,)u1", "<u4", "u1",
        ],
        "offsets": [0, 1, 2, 3, 4, 6, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 40, 56, 60],
        "itemsize": RULE_BYTES,
    }
)  # fmt: skip


def to_array(rules: BypassRules) -> npt.NDArray[np.void]:
    """The rules in order: shape (len(rules),), dtype RULE_DTYPE, read only."""
    return np.frombuffer(rules.to_bytes(), dtype=RULE_DTYPE)


class BypassTable(BypassRules):
    """Rules that know their array; what `load_bypass_rules` gives."""

    __slots__ = ()

    def to_array(self) -> npt.NDArray[np.void]:
        """As the function of this name."""
        return to_array(self)
