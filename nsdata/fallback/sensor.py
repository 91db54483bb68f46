"""Sensors of a box: what one measures, its thresholds, and the level its readings give it.

    reading ──► rank by thresholds ──► held by hysteresis ──► level, and what it counts as

A value that *reaches* a threshold is at its level; `Bad` says which side is the bad one. A level
is taken once the value has been at it for `after_ns` (most sensors: at once), and left when the
value is back by `clear_margin`, or has not been at it for `clear_after_ns`, whichever is first.

A reading that cannot be used (missing, unreadable, stale, not a number) makes the sensor
*unknown*. Unknown is not green: it counts as yellow, and a sensor that was red goes on counting
as red, so that pulling a cable never improves a box's health.

Times are nanoseconds of one monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nsdata.errors import SettingError
from nsdata.units import duration_text

SECOND_NS = 1_000_000_000
DEFAULT_CLEAR_AFTER_NS = 300 * SECOND_NS
MAX_NAME = 100

_GREEN, _YELLOW, _RED = range(3)  # ranks: what levels count as, and are compared by


class Level(StrEnum):
    """The state of a sensor, of a resource, or of the box."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    UNKNOWN = "unknown"


LEVEL_OF_RANK = (Level.GREEN, Level.YELLOW, Level.RED)


class Resource(StrEnum):
    """What a sensor belongs to."""

    FILE_SYSTEM = "file-system"
    CPU = "cpu"
    MEMORY = "memory"
    TEMPERATURE = "temperature"
    FAN = "fan"
    PSU = "psu"
    HARD_DISK = "hard-disk"
    OTHER = "other"  # what a site adds, and the reading of sensors itself

    @property
    def action(self) -> str:
        """What an operator should do when it is not green."""
        return _ACTIONS[self]


_ACTIONS = {
    Resource.FILE_SYSTEM: "Free space on the file system of the output, or move the output; if it "
    "is read-only or refuses writes, look at the kernel log and the disk, then remount it.",
    Resource.CPU: "Find what uses the CPU; lower the load, or disable the rules that cost most.",
    Resource.MEMORY: "Find what uses the memory; lower the memory caps, or add memory.",
    Resource.TEMPERATURE: "Check air flow, fans and room temperature; shut the box down if it "
    "goes on rising.",
    Resource.FAN: "Replace the failed fan; watch the temperatures until then.",
    Resource.PSU: "Check the power cable and its feed, then replace the power supply.",
    Resource.HARD_DISK: "Save what is on the disk and replace it.",
    Resource.OTHER: "See what the sensor says, and whoever set it up.",
}
REPAIR = "Repair the sensor: it gives no usable reading, so its state is not known."


class Bad(StrEnum):
    """Which values are the bad ones."""

    HIGH = "high"  # temperature, use
    LOW = "low"  # fan speed, free bytes, 1 for a power supply that works and 0 for none


@dataclass(frozen=True, slots=True)
class Sensor:
    """One sensor: `major`, `critical` and `clear_margin` are in its `unit`.

    `clear_after_ns` None: a level is left by the margin alone. `action` stands in for the
    resource's own advice. Raises SettingError, naming the sensor, for what makes no sense.
    """

    name: str
    resource: Resource
    unit: str
    bad: Bad
    major: float
    critical: float
    clear_margin: float = 0.0
    clear_after_ns: int | None = DEFAULT_CLEAR_AFTER_NS
    after_ns: int = 0
    action: str = ""

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > MAX_NAME or not self.name.isprintable():
            raise SettingError(
                f"sensor name {self.name!r:.120}: 1 to {MAX_NAME} printable characters are legal"
            )
        for what in ("major", "critical", "clear_margin"):
            value = getattr(self, what)
            if not is_finite(value):
                raise SettingError(f"sensor {self.name}: {what} = {value!r}: legal: a number")
        if self.clear_margin < 0:
            raise SettingError(
                f"sensor {self.name}: clear_margin = {self.clear_margin:g}: legal: 0 or more"
            )
        wrong = self.major > self.critical if self.bad is Bad.HIGH else self.major < self.critical
        if wrong:
            order = "at or below" if self.bad is Bad.HIGH else "at or above"
            raise SettingError(
                f"sensor {self.name}: major = {self.major:g}, critical = {self.critical:g}: where "
                f"{self.bad} is bad, major is legal {order} critical"
            )
        for what in ("clear_after_ns", "after_ns"):
            time = getattr(self, what)
            if time is not None and time < 0:
                raise SettingError(f"sensor {self.name}: {what} = {time}: legal: 0 or more")

    def rank(self, value: float, margin: float = 0.0) -> int:
        """0 green, 1 yellow, 2 red; with a margin, what is not yet back by it still counts."""
        if self.bad is Bad.HIGH:
            if margin:
                return (value > self.major - margin) + (value > self.critical - margin)
            return (value >= self.major) + (value >= self.critical)
        if margin:
            return (value < self.major + margin) + (value < self.critical + margin)
        return (value <= self.major) + (value <= self.critical)


def is_finite(value: Any) -> bool:
    """Whether it is a number that can be compared: no NaN, no infinity, no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any float
        return False


@dataclass(frozen=True, slots=True)
class Reading:
    """What one sensor said at `at_ns`, or why it said nothing (`problem`).

    `sensor` may be None only with a problem: what names the sensor was then unreadable too.
    `note` is for the operator: what the value comes from.
    """

    name: str
    resource: Resource
    at_ns: int
    value: float | None = None
    sensor: Sensor | None = None
    problem: str = ""
    note: str = ""

    @classmethod
    def of(cls, sensor: Sensor, value: float, at_ns: int, note: str = "") -> Reading:
        """A value."""
        return cls(sensor.name, sensor.resource, at_ns, value, sensor, note=note)

    @classmethod
    def failed(cls, sensor: Sensor, problem: str, at_ns: int) -> Reading:
        """No value, and why."""
        return cls(sensor.name, sensor.resource, at_ns, None, sensor, problem)

    @classmethod
    def unnamed(cls, name: str, resource: Resource, problem: str, at_ns: int) -> Reading:
        """No value, and not even thresholds."""
        return cls(name, resource, at_ns, None, None, problem)

    def fault(self, now_ns: int, stale_after_ns: int) -> str:
        """Why it cannot be used at `now_ns`, or nothing."""
        if self.problem:
            return self.problem
        if self.sensor is None:
            return "no thresholds"
        if not is_finite(self.value):
            return f"not a finite number: {self.value!r:.40}"
        if self.at_ns > now_ns:
            return f"time-stamped {duration_text(self.at_ns - now_ns)} ahead"
        if now_ns - self.at_ns > stale_after_ns:
            return f"stale: read {(now_ns - self.at_ns) / SECOND_NS:.1f} s ago"
        return ""


class Track:
    """One sensor over time: its level, and the hysteresis behind it.

    What it counts as is the lower of two ranks, each of which only a worse value raises:

    - `_margin`: the rank that is left when the value is back by the margin,
    - the worst rank reached within the last `clear_after_ns`.

    So readings that are everywhere as bad or worse never make it count for less.
    """

    def __init__(self, name: str, resource: Resource, now_ns: int) -> None:
        self.name = name
        self.resource = resource
        self.sensor: Sensor | None = None
        self.value: float | None = None  # the last that could be used
        self.value_at_ns: int | None = None
        self.problem = ""
        self.note = ""
        self.level = Level.GREEN
        self.since_ns = now_ns
        self.counts_as = _GREEN
        self._margin = _GREEN
        self._at_since: dict[int, int] = {}  # rank -> since when the value is at it or worse
        self._reached: dict[int, int] = {}  # rank -> when it was last reached

    def take(self, reading: Reading, now_ns: int, stale_after_ns: int) -> None:
        """Judge one reading."""
        self.resource = reading.resource
        if reading.sensor is not None:
            self.sensor = reading.sensor
        if problem := reading.fault(now_ns, stale_after_ns):
            self.lose(problem, now_ns)
            return
        sensor, value = reading.sensor, reading.value
        assert sensor is not None and value is not None
        self.value, self.value_at_ns = value, reading.at_ns
        self.problem, self.note = "", reading.note
        at = sensor.rank(value)
        lasting = _GREEN
        for rank in (_YELLOW, _RED):
            if at < rank:
                self._at_since.pop(rank, None)
            elif now_ns - self._at_since.setdefault(rank, now_ns) >= sensor.after_ns:
                lasting = rank
            if lasting >= rank or (at >= rank and self.counts_as >= rank):
                self._reached[rank] = now_ns
        back = sensor.rank(value, sensor.clear_margin)
        self._margin = max(lasting, min(self._margin, back))
        self._settle(max(lasting, min(self._margin, self._recent(now_ns, sensor))), now_ns)

    def lose(self, problem: str, now_ns: int) -> None:
        """Nothing usable came: unknown."""
        self.problem = problem
        self._at_since.setdefault(_YELLOW, now_ns)
        held = max(self.counts_as, _YELLOW)
        for rank in range(_YELLOW, held + 1):
            self._reached[rank] = now_ns
        self._margin = max(self._margin, held)
        self._settle(held, now_ns)

    def _recent(self, now_ns: int, sensor: Sensor) -> int:
        """The worst rank reached within the last `clear_after_ns`."""
        if sensor.clear_after_ns is None:
            return _RED
        return max(
            (r for r, at in self._reached.items() if now_ns - at < sensor.clear_after_ns),
            default=_GREEN,
        )

    def _settle(self, counts_as: int, now_ns: int) -> None:
        level = Level.UNKNOWN if self.problem else LEVEL_OF_RANK[counts_as]
        if level is not self.level:
            self.level, self.since_ns = level, now_ns
        self.counts_as = counts_as

    @property
    def near(self) -> bool:
        """Whether the value is within the margin of a level it does not count as yet."""
        if self.sensor is None or self.value is None or self.problem:
            return False
        return self.sensor.rank(self.value, self.sensor.clear_margin) > self.counts_as

    def as_dict(self, points: int) -> dict[str, Any]:
        """JSON-ready: level, value, thresholds, since when, and the points it cost."""
        sensor = self.sensor
        out: dict[str, Any] = {
            "sensor": self.name,
            "resource": self.resource.value,
            "level": self.level.value,
            "counts_as": LEVEL_OF_RANK[self.counts_as].value,
            "points": points,
            "since_ns": self.since_ns,
            "value": self.value,
            "value_at_ns": self.value_at_ns,
        }
        if sensor is not None:
            out["unit"] = sensor.unit
            out["bad"] = sensor.bad.value
            out["major"] = sensor.major
            out["critical"] = sensor.critical
        if self.note:
            out["note"] = self.note
        if self.problem:
            out["problem"] = self.problem
            out["action"] = REPAIR
        elif self.level is not Level.GREEN:
            out["action"] = (sensor.action if sensor else "") or self.resource.action
        return out
