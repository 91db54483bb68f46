"""Times of events, to the millisecond, in UTC. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _text(at_ns: int, separator: str, zone: str) -> str:
    """Raises OverflowError when no calendar has it."""
    at = EPOCH + timedelta(milliseconds=at_ns // 10**6)
    return at.replace(tzinfo=None).isoformat(separator, "milliseconds") + zone


def precise(at_ns: int) -> str:
    """2026-11-23 03:40:00.123 UTC."""
    try:
        return _text(at_ns, " ", " UTC")
    except OverflowError:
        return f"{at_ns} ns"


def precise_iso(at_ns: int) -> str:
    """2026-11-23T03:40:00.123Z; "" when no calendar has it."""
    try:
        return _text(at_ns, "T", "Z")
    except OverflowError:
        return ""


FILTERS = {"precise": precise, "precise_iso": precise_iso}
