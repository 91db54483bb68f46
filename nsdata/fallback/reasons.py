"""The two states, and the eight reasons for being in one: cause, severity, resolution.

The one place where their texts stand; documents, events and pages take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What the engine does with traffic."""

    NORMAL = "normal"  # inspecting
    FALLBACK = "fallback"  # permitting everything, inspecting nothing


class Severity(StrEnum):
    """How bad a reason is."""

    CRITICAL = "Critical"
    WARNING = "Warning"
    INFO = "Info"


class Reason(StrEnum):
    """Why the engine is in its state; the value is the name an operator reads.

    In order of rank, highest first: when several hold at once, the first is the reason
    and the others are listed with it (`rank`). Hardware that forwards wrongly outranks a
    process that is gone, that one outranks what is merely failing, and what is known
    outranks the unknown.
    """

    FPGA = "FPGA reported error"
    PROCESS = "process error"
    MEMORY = "memory error"
    HEARTBEAT = "heartbeat error"
    HEALTH = "low health score error"
    THRESHOLD = "threshold error"
    UNKNOWN = "unknown"
    NO_ERROR = "no error"

    @property
    def rank(self) -> int:
        """0 is the highest."""
        return list(Reason).index(self)

    @property
    def about(self) -> About:
        return ABOUT[self]


@dataclass(frozen=True, slots=True)
class About:
    """What is to be said about a reason."""

    cause: str
    severity: Severity
    resolution: str


_SUPPORT = "Contact support, or create a support report."

ABOUT: dict[Reason, About] = {
    Reason.FPGA: About("The FPGA has reported an error.", Severity.CRITICAL, _SUPPORT),
    Reason.PROCESS: About(
        "One or more critical processes have crashed and cannot be recovered.",
        Severity.CRITICAL,
        _SUPPORT,
    ),
    Reason.MEMORY: About(
        "One or more critical processes have passed the maximum memory threshold.",
        Severity.CRITICAL,
        _SUPPORT,
    ),
    Reason.HEARTBEAT: About("One or more processes are unresponsive.", Severity.CRITICAL, _SUPPORT),
    Reason.HEALTH: About(
        "The health score (disk, temperature, power supply and the like) has reached its low "
        "critical threshold.",
        Severity.CRITICAL,
        _SUPPORT,
    ),
    Reason.THRESHOLD: About(
        "More than 90 % of all packets received are dropped, from over-subscription or "
        "over-tuning.",
        Severity.CRITICAL,
        "Verify that the engine is no longer over-subscribed, then restore it to normal.",
    ),
    Reason.UNKNOWN: About("An unknown error.", Severity.WARNING, _SUPPORT),
    Reason.NO_ERROR: About(
        "Normal: inspecting. Fallback: put into fallback by hand.",
        Severity.INFO,
        "Normal: nothing to do. Fallback: restore to normal to resume inspection.",
    ),
}

NO_ERROR_IN: dict[State, About] = {
    State.NORMAL: About("Inspecting.", Severity.INFO, "Nothing to do."),
    State.FALLBACK: About(
        "Put into fallback by hand.", Severity.INFO, "Restore to normal to resume inspection."
    ),
}
"""*no error* in one state: the row of the table holds both."""


def about(reason: Reason, state: State) -> About:
    """What to tell of a reason while this is the state."""
    return NO_ERROR_IN[state] if reason is Reason.NO_ERROR else ABOUT[reason]


FAULT_REASONS = frozenset(Reason) - {Reason.NO_ERROR, Reason.THRESHOLD}
"""The six reasons that only something outside the packet path can report."""


def markdown_table() -> str:
    """The reasons as a Markdown table, in order of rank (docs/operations.md holds it)."""
    rows = ["| reason | cause | severity | what to do |", "| --- | --- | --- | --- |"]
    rows += [
        f"| {reason.value} | {about.cause} | {about.severity.value} | {about.resolution} |"
        for reason, about in ABOUT.items()
    ]
    return "\n".join(rows) + "\n"
