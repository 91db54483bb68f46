"""The limits of the watch, and their defaults; docs/watch.md says where each comes from."""

from __future__ import annotations

from dataclasses import dataclass

from nsdata.errors import SettingError
from nsdata.units import duration_text

MS_NS = 1_000_000
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """Of one process. `max_rss_bytes`: None watches no memory."""

    heartbeat_ns: int = 500 * MS_NS
    start_grace_ns: int = 60 * SECOND_NS
    max_rss_bytes: int | None = None

    def __post_init__(self) -> None:
        _above_0("watch.heartbeat", self.heartbeat_ns)
        _above_0("watch.start-grace", self.start_grace_ns)
        if self.max_rss_bytes is not None and self.max_rss_bytes <= 0:
            raise SettingError(f"watch.max-memory {self.max_rss_bytes} must be above 0 bytes")


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """Of the watch as a whole; the names of settings are those of `watch.*`."""

    interval_ns: int = 20 * MS_NS  # two looks are no further apart
    stall_ns: int = 100 * MS_NS  # of a longer gap only so much counts as silence
    crashes: int = 3  # this many …
    crash_window_ns: int = 60 * SECOND_NS  # … within this time are a process error
    restart_delay_ns: int = 100 * MS_NS  # before the first restart; doubles with each failure
    restart_delay_max_ns: int = 30 * SECOND_NS
    stop_grace_ns: int = 10 * SECOND_NS  # a process asked to stop is killed after it
    kill_grace_ns: int = 2 * SECOND_NS  # a process killed has gone after it
    heartbeat_clear_ns: int = 10 * SECOND_NS  # it has beaten for so long again
    stable_ns: int = 30 * SECOND_NS  # it has run for so long since its last crash
    memory_clear_ns: int = 30 * SECOND_NS  # it was below …
    memory_clear_share: float = 0.8  # … this share of the maximum for so long
    unknown_clear_ns: int = 60 * SECOND_NS  # nothing unexpected for so long

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if name.endswith("_ns"):
                key = name.removesuffix("_ns").replace("_", "-")
                _above_0(f"watch.{key}", getattr(self, name))
        if self.interval_ns >= self.stall_ns:
            raise SettingError(
                f"watch.stall {duration_text(self.stall_ns)} must be longer than watch.interval "
                f"({duration_text(self.interval_ns)}): every look would be one too late"
            )
        if self.crashes < 1:
            raise SettingError(f"watch.crashes {self.crashes} must be at least 1")
        if self.restart_delay_max_ns < self.restart_delay_ns:
            raise SettingError(
                f"watch.restart-delay-max {duration_text(self.restart_delay_max_ns)} must not be "
                f"shorter than watch.restart-delay ({duration_text(self.restart_delay_ns)})"
            )
        if not 0 < self.memory_clear_share <= 1:
            raise SettingError(
                f"watch.memory-clear-share {self.memory_clear_share} is not a share above 0 and "
                "up to 1, such as 0.8"
            )

    def check(self, limits: ProcessLimits) -> None:
        """Raise SettingError when one pause of the watch alone could use up a limit."""
        if limits.heartbeat_ns < 2 * self.stall_ns:
            raise SettingError(
                f"watch.heartbeat {duration_text(limits.heartbeat_ns)} must be at least twice "
                f"watch.stall ({duration_text(self.stall_ns)}), or a pause of the supervisor "
                "would be blamed on the process"
            )


def _above_0(key: str, duration_ns: int) -> None:
    if duration_ns <= 0:
        raise SettingError(f"{key} {duration_text(duration_ns)} must be longer than 0")
