"""One watched process: its phase, what was seen of it, and that as evidence."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nsdata.fallback.watch_policy import SECOND_NS, ProcessLimits

TREND_READINGS = 16  # newest readings of memory kept as evidence
NEAR_TENTHS = {"heartbeat": 8, "memory": 9}  # from so many tenths of a limit on: a near miss


class Phase(StrEnum):
    """Where a process is."""

    WAITING = "waiting"  # it is gone; started again at `since_ns`
    STARTING = "starting"  # not ready yet: it loads its rules
    RUNNING = "running"  # ready: has to beat
    KILLED = "killed"  # told to be killed; its exit is awaited
    STOPPING = "stopping"  # the host stops it on purpose; its exit is awaited


@dataclass(slots=True)
class Process:
    """What is known of a process; `since_ns` is where the deadline of its phase counts from."""

    name: str
    limits: ProcessLimits
    phase: Phase = Phase.WAITING
    attempt: int = 0
    pid: int | None = None
    since_ns: int = 0
    ready_ns: int = 0  # ready, last time
    up_since_ns: int = 0  # ready for the first time in this attempt
    killed_ns: int = 0
    down_since_ns: int | None = None  # gone, and not ready since
    failures: int = 0  # in a row: crashes, hangs, failed starts
    crashes: deque[dict[str, Any]] = field(default_factory=deque)
    why: str = ""  # why it was killed, or is to be started
    leaving: bool = False  # stopped on purpose
    again: str = ""  # why it is started again after that, or nothing
    beats: int = 0
    beat_ns: int | None = None
    ran_back: bool = False
    silences: deque[int] = field(default_factory=lambda: deque(maxlen=TREND_READINGS))
    near_silences: int = 0
    longest_ns: int = 0
    readings: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=TREND_READINGS))
    near_readings: int = 0
    highest_bytes: int = 0  # that was not past the maximum
    low_since_ns: int | None = None

    def begin(self, attempt: int, at_ns: int) -> None:
        """A new attempt: what was seen of the one before is forgotten, its failures are not."""
        self.phase, self.attempt, self.pid, self.since_ns = Phase.STARTING, attempt, None, at_ns
        self.ready_ns = self.up_since_ns = self.killed_ns = 0
        self.why, self.leaving, self.again = "", False, ""
        self.beats, self.beat_ns, self.ran_back = 0, None, False
        self.near_silences = self.longest_ns = self.near_readings = self.highest_bytes = 0
        self.low_since_ns = None
        self.silences.clear()
        self.readings.clear()

    def get_ready(self, now_ns: int) -> None:
        """From here on it has to beat."""
        self.phase, self.since_ns, self.ready_ns = Phase.RUNNING, now_ns, now_ns
        self.up_since_ns = self.up_since_ns or now_ns
        self.down_since_ns = None

    def take_beat(self, at_ns: int, count: int, silence_ns: int) -> dict[str, Any] | None:
        """A look at its status page; evidence, once, of a number that ran back."""
        if count < self.beats:
            first, self.ran_back = not self.ran_back, True
            return {"count": count, "highest_count": self.beats} if first else None
        if count == self.beats:
            return None
        self.beats = count
        self.beat_ns = at_ns if self.beat_ns is None else max(self.beat_ns, at_ns)
        if self.phase is Phase.RUNNING and at_ns > self.since_ns:
            self.silences.append(silence_ns)
            self.longest_ns = max(self.longest_ns, silence_ns)
            near = 10 * silence_ns >= NEAR_TENTHS["heartbeat"] * self.limits.heartbeat_ns
            self.near_silences += near
            self.since_ns = at_ns
        return None

    def take_memory(
        self, now_ns: int, rss_bytes: int, clear_share: float, clear_ns: int, held: bool
    ) -> tuple[bool, bool]:
        """A reading: (past the maximum, long enough below the share that clears)."""
        self.readings.append((now_ns, rss_bytes))
        maximum = self.limits.max_rss_bytes
        if maximum is None:
            return False, held
        if rss_bytes > maximum:
            return True, False
        self.near_readings += 10 * rss_bytes >= NEAR_TENTHS["memory"] * maximum
        self.highest_bytes = max(self.highest_bytes, rss_bytes)
        if rss_bytes >= clear_share * maximum:
            self.low_since_ns = None
        elif self.low_since_ns is None:
            self.low_since_ns = now_ns
        low = self.low_since_ns is not None and now_ns - self.low_since_ns >= clear_ns
        return False, held and low

    def crash(self, now_ns: int, how: Mapping[str, Any], within_ns: int, keep: int) -> None:
        """Count a crash; only those of the last `within_ns` are kept, the newest `keep`."""
        self.crashes.append({"at_ns": now_ns, "attempt": self.attempt, **how})
        while self.crashes[0]["at_ns"] <= now_ns - within_ns or len(self.crashes) > keep:
            self.crashes.popleft()

    # evidence, JSON-ready

    def told(self) -> dict[str, Any]:
        """Who it is."""
        return {"process": self.name, "attempt": self.attempt, "pid": self.pid}

    def heartbeat_evidence(self, at_ns: int, excused_ns: int) -> dict[str, Any]:
        """Its silence, the limit, and how near it came before."""
        starting = self.phase is Phase.STARTING
        return {
            **self.told(),
            "phase": self.phase.value,
            "limit_ns": self.limits.start_grace_ns if starting else self.limits.heartbeat_ns,
            "silent_since_ns": self.since_ns,
            "silence_ns": at_ns - self.since_ns - excused_ns,
            "excused_ns": excused_ns,
            "last_beat_ns": self.beat_ns,
            "beats": self.beats,
            "last_silences_ns": list(self.silences),
            "near_misses": {"count": self.near_silences, "longest_ns": self.longest_ns},
        }

    def memory_evidence(self, rss_bytes: int | None) -> dict[str, Any]:
        """Its memory, the maximum, the trend, and how near it came before."""
        growth = 0
        if len(self.readings) > 1:
            (first_ns, first), (last_ns, last) = self.readings[0], self.readings[-1]
            growth = (last - first) * SECOND_NS // max(1, last_ns - first_ns)
        return {
            **self.told(),
            "rss_bytes": rss_bytes,
            "maximum_bytes": self.limits.max_rss_bytes,
            "trend": [{"at_ns": at, "rss_bytes": rss} for at, rss in self.readings],
            "growth_bytes_per_second": growth,
            "near_misses": {"count": self.near_readings, "highest_bytes": self.highest_bytes},
        }

    def status(self) -> dict[str, Any]:
        """For the operator."""
        return {
            "phase": self.phase.value,
            "attempt": self.attempt,
            "pid": self.pid,
            "beats": self.beats,
            "last_beat_ns": self.beat_ns,
            "longest_silence_ns": self.longest_ns,
            "rss_bytes": self.readings[-1][1] if self.readings else None,
            "failures_in_a_row": self.failures,
        }
