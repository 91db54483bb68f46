"""Rates from counters: what happened between two reports of an appliance. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from nsdata.appliance.protocol import Report

SECOND_NS = 10**9
FATES = ("inspected", "bypassed", "blocked", "lost")


@dataclass(frozen=True, slots=True)
class Counters:
    """What a report counts, since `started_ns`."""

    started_ns: int
    at_ns: int
    packets: int
    bytes: int
    fates: tuple[int, ...]  # packets, as FATES

    @classmethod
    def of(cls, report: Report) -> Counters:
        """The counters of a report."""
        return cls(
            report.started_ns,
            report.at_ns,
            *report.received(),
            tuple(report.fate(name) for name in FATES),
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Between two reports. Packets of the interval by fate; what ran backwards counts as 0."""

    packets_per_second: float
    bits_per_second: float
    fates: tuple[int, ...]


NONE = Rates(0.0, 0.0, (0,) * len(FATES))


def between(before: Counters | None, after: Counters) -> Rates:
    """The rates; none when the appliance was started in between, or time stood still."""
    if before is None or before.started_ns != after.started_ns:
        return NONE
    lasted = after.at_ns - before.at_ns
    if lasted <= 0:
        return NONE
    fates = tuple(max(0, b - a) for a, b in zip(before.fates, after.fates, strict=True))
    return Rates(
        max(0, after.packets - before.packets) * SECOND_NS / lasted,
        8 * max(0, after.bytes - before.bytes) * SECOND_NS / lasted,
        fates,
    )
