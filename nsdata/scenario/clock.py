"""The clocks of a scenario: virtual, and real."""

from __future__ import annotations

import time

EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01 00:00:00 UTC: where virtual time begins


class VirtualClock:
    """Time that goes where it is told, and never back."""

    def __init__(self) -> None:
        self.now_ns = EPOCH_NS

    def to(self, ns: int) -> int:
        """It is `ns` now, unless it was later already; what it is."""
        self.now_ns = max(self.now_ns, ns)
        return self.now_ns


class RealClock:
    """CLOCK_MONOTONIC."""

    @property
    def now_ns(self) -> int:
        """Now."""
        return time.monotonic_ns()

    def to(self, ns: int) -> int:
        """Sleep until it is `ns`; what it is."""
        wait = ns - time.monotonic_ns()
        if wait > 0:
            time.sleep(wait / 1e9)
        return time.monotonic_ns()
