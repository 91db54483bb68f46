"""The two clocks of a replay: packet time, and packet time paced by the wall clock.

Both are sans-IO: the caller reads the wall clock and sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nsdata.errors import SettingError


@dataclass(slots=True)
class VirtualClock:
    """Time as the capture tells it: never runs back.

    Captures hold frames whose time stamps go back a little (several interfaces, several
    queues). `now_ns` stays at the latest time seen then; `went_back` counts such frames
    and `worst_ns` is the largest step back.
    """

    now_ns: int = 0
    started: bool = False
    start_ns: int = 0
    went_back: int = 0
    worst_ns: int = 0

    def advance(self, ts_ns: int) -> int:
        """Take the time stamp of the next frame; give the time it is now."""
        if not self.started:
            self.started = True
            self.start_ns = self.now_ns = ts_ns
        elif ts_ns < self.now_ns:
            self.went_back += 1
            self.worst_ns = max(self.worst_ns, self.now_ns - ts_ns)
        else:
            self.now_ns = ts_ns
        return self.now_ns

    @property
    def elapsed_ns(self) -> int:
        return self.now_ns - self.start_ns


@dataclass(slots=True)
class RealClock:
    """Paces packet time by the wall clock: `speed` 1.0 as recorded, 10.0 ten times faster.

    `wait_ns` says how long the host has to sleep before the frame is due; it never
    catches up by more than it is late, because due times are counted from the start and
    not from the frame before. `late_ns` is how far behind the last frame was.
    """

    speed: float = 1.0
    late_ns: int = 0
    worst_late_ns: int = 0
    _packet: VirtualClock = field(default_factory=VirtualClock)
    _wall_start_ns: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.speed < float("inf"):
            raise SettingError(f"speed {self.speed} makes no sense: a factor above 0, such as 1x")

    def wait_ns(self, wall_now_ns: int, ts_ns: int) -> int:
        """Nanoseconds to sleep until the frame stamped `ts_ns` is due; 0 when it is.

        `wall_now_ns` is a monotonic clock; the first call starts both clocks.
        """
        if not self._packet.started:
            self._wall_start_ns = wall_now_ns
        self._packet.advance(ts_ns)
        due = self._wall_start_ns + round(self._packet.elapsed_ns / self.speed)
        self.late_ns = max(0, wall_now_ns - due)
        self.worst_late_ns = max(self.worst_late_ns, self.late_ns)
        return max(0, due - wall_now_ns)

    @property
    def now_ns(self) -> int:
        """Packet time now."""
        return self._packet.now_ns


def clock_for(speed: str) -> VirtualClock | RealClock:
    """The clock for `--speed`: `max` is virtual, `1x`, `10x` or `2.5x` are paced.

    Raises SettingError for anything else.
    """
    if speed == "max":
        return VirtualClock()
    try:
        return RealClock(float(speed.removesuffix("x")))
    except ValueError:
        raise SettingError(f"--speed {speed}: legal are max, 1x, 10x or another factor") from None
