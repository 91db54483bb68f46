"""The share of flows that is inspected: a threshold on 16 bits of the flow hash.

A flow is inside when its 16 bits are below the threshold, 0 (none) to 65536 (all). What is
inside stays inside as the threshold grows, and both directions of a flow are on one side, as
its hash is one. The bits are the upper half of the 32-bit flow hash: which worker a flow goes
to is taken from the lower, so every worker gets its part of the share.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from nsdata.errors import SettingError
from nsdata.fallback.ledger import Count, LedgerSnapshot, Why
from nsdata.units import duration_text, parse_duration

ALL = 1 << 16
MAX_STEPS = 16
OUTSIDE = Why.SHARE  # what frames outside the share are counted as
NOT_OF_IT = (OUTSIDE, Why.FALLBACK, Why.FALLBACK_BLOCK)
_STEP = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*%\s*:\s*(.+)$")


def inside(flow_hash: int, threshold: int) -> bool:
    """Whether the flow with this 32-bit hash belongs to the share."""
    return ((flow_hash >> 16) & 0xFFFF) < threshold


def threshold_of(percent: Fraction) -> int:
    """The threshold of a share in percent, rounded up: some traffic is always inside."""
    return -(-percent.numerator * ALL // (100 * percent.denominator))


@dataclass(frozen=True, slots=True)
class Step:
    """A step of re-entry: so many percent of the flows for so long."""

    percent: Fraction
    duration_ns: int

    @property
    def threshold(self) -> int:
        return threshold_of(self.percent)

    @property
    def text(self) -> str:
        """As `parse_steps` takes it."""
        return f"{float(self.percent):g}%:{duration_text(self.duration_ns)}"

    @classmethod
    def parse(cls, text: str) -> Step:
        """A step from `1%:60s`; SettingError says what is legal."""
        found = _STEP.match(text.strip())
        legal = "legal: a share and its time, such as 1%:60s"
        if not found or len(found[1]) > 12:
            raise SettingError(f"step {text!r}; {legal}")
        try:
            duration_ns = parse_duration(found[2])
        except ValueError as fault:
            raise SettingError(f"step {text!r}; {fault}") from None
        percent = Fraction(found[1])
        if not 0 < percent <= 100 or duration_ns <= 0:
            raise SettingError(f"step {text!r}: above 0% up to 100%, for longer than 0; {legal}")
        return cls(percent, duration_ns)


def check_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps, if each takes in more than the one before and the last takes in all."""
    shares = [step.percent for step in steps]
    grows = all(a < b for a, b in pairwise(shares))
    if not steps or shares[-1] != 100 or not grows or len(steps) > MAX_STEPS:
        told = ", ".join(step.text for step in steps)
        raise SettingError(
            f"steps [{told}] must grow and end with 100%, at most {MAX_STEPS} of them; legal: "
            "1%:60s, 10%:60s, 100%:60s"
        )
    return steps


def of_share(ledger: LedgerSnapshot) -> LedgerSnapshot:
    """The ledger of the frames inside alone: those outside, and those in fallback (before, or
    until a host obeyed), taken from what was received."""
    received, fates, whys = ledger.received, list(ledger.by_fate), list(ledger.by_why)
    for why in NOT_OF_IT:
        received = received - whys[why]
        fates[why.fate] = fates[why.fate] - whys[why]
        whys[why] = Count()
    return LedgerSnapshot(received, tuple(fates), tuple(whys))
