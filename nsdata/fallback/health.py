"""The health score: sensor readings → levels → 0 … 100 → whether *low health score error* holds.

    score = max(0, 100 − Σ points of the resources)

    points of a resource = the sum over its sensors that count as red of
                           70  file-system, memory, temperature
                           35  cpu, fan, psu, hard-disk, other
                           and at least 20 if any of its sensors is yellow or unknown

A box whose disk refuses writes leaves no evidence, one without memory loses what it has in hand,
one that overheats is about to switch itself off: each alone reaches the low critical score (30).
A fan or a power supply may fail, it is there twice; two of them failing reach it, and so do four
resources that are yellow. Many sensors of one resource that are yellow have one cause and cost
once. A worse reading never raises the score (docs/health.md has the argument, a test the proof).

Unknown costs as yellow. At 0, a cut cable would look like health; at red, one broken sensor would
switch inspection off. A resource without any sensor costs nothing (a virtual box has no fans),
unless it is `required`.

The error begins when the score was at or below `low_critical` in `low_evaluations` evaluations in
a row, and ends when it was at or above `clear` in `clear_evaluations` in a row.

Pure: readings and the time come in; times are nanoseconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nsdata.errors import EngineError, SettingError
from nsdata.fallback.sensor import (
    LEVEL_OF_RANK,
    REPAIR,
    SECOND_NS,
    Level,
    Reading,
    Resource,
    Track,
)

FULL_SCORE = 100
MAJOR_POINTS = 20  # of a resource with a yellow sensor
UNKNOWN_POINTS = 20  # of a resource with an unknown one; not below MAJOR_POINTS
ALONE_POINTS = 70  # red, and inspection cannot be trusted: reaches the low critical score
PAIR_POINTS = 35  # red, but there is another, or it will last: two of these reach it
CRITICAL_POINTS: Mapping[Resource, int] = {
    Resource.FILE_SYSTEM: ALONE_POINTS,
    Resource.MEMORY: ALONE_POINTS,
    Resource.TEMPERATURE: ALONE_POINTS,
    Resource.CPU: PAIR_POINTS,
    Resource.FAN: PAIR_POINTS,
    Resource.PSU: PAIR_POINTS,
    Resource.HARD_DISK: PAIR_POINTS,
    Resource.OTHER: PAIR_POINTS,
}
NEAR_POINTS = 10  # a score this close above the low critical one is a near miss
TOP_SENSORS = 10  # in the evidence; the report has all


@dataclass(frozen=True, slots=True)
class Policy:
    """When a score is too low; `required` resources cost as unknown while nothing reads them.

    Raises SettingError for what makes no sense.
    """

    low_critical: int = 30
    clear: int = 60
    low_evaluations: int = 2
    clear_evaluations: int = 3
    stale_after_ns: int = 15 * SECOND_NS
    required: frozenset[Resource] = frozenset({Resource.FILE_SYSTEM, Resource.CPU, Resource.MEMORY})

    def __post_init__(self) -> None:
        if not 0 <= self.low_critical < self.clear <= FULL_SCORE:
            raise SettingError(
                f"low-critical = {self.low_critical}, clear = {self.clear}: legal: "
                f"0 <= low-critical < clear <= {FULL_SCORE}"
            )
        for what in ("low_evaluations", "clear_evaluations", "stale_after_ns"):
            if getattr(self, what) < 1:
                raise SettingError(
                    f"{what.replace('_', '-')} = {getattr(self, what)}: legal: 1 or more"
                )


@dataclass(frozen=True, slots=True)
class ResourceHealth:
    """One resource at one evaluation. UNKNOWN with `sensors` 0: nothing reads it."""

    resource: Resource
    level: Level
    points: int
    sensors: int
    since_ns: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `action` when there is something to do."""
        out: dict[str, Any] = {
            "resource": self.resource.value,
            "level": self.level.value,
            "points": self.points,
            "sensors": self.sensors,
            "since_ns": self.since_ns,
        }
        if self.points:
            if self.level is not Level.UNKNOWN:
                out["action"] = self.resource.action
            else:
                out["action"] = REPAIR if self.sensors else "Find out why no sensor reads it."
        return out


@dataclass(frozen=True, slots=True)
class Report:
    """One evaluation.

    `holds`: *low health score error* holds, since `holds_since_ns`; `entered` and `cleared` are
    true in the one evaluation that changed it. `resources` are in the order of Resource,
    `sensors` (JSON-ready) by points, most first, then by name.
    """

    now_ns: int
    score: int
    level: Level
    holds: bool
    holds_since_ns: int | None
    entered: bool
    cleared: bool
    resources: tuple[ResourceHealth, ...]
    sensors: tuple[dict[str, Any], ...]
    near_sensors: tuple[str, ...]
    evaluations: Mapping[str, int]
    near_misses: Mapping[str, Any]
    policy: Policy = field(repr=False)

    def evidence(self) -> dict[str, Any]:
        """Why the score is what it is: JSON-ready, for a transition and for the event."""
        return {
            "score": self.score,
            "level": self.level.value,
            "thresholds": {"low_critical": self.policy.low_critical, "clear": self.policy.clear},
            "evaluations": dict(self.evaluations),
            "holds": self.holds,
            "holds_since_ns": self.holds_since_ns,
            "resources": [one.as_dict() for one in self.resources],
            "sensors": [s for s in self.sensors if s["level"] != Level.GREEN.value][:TOP_SENSORS],
            "near_sensors": list(self.near_sensors[:TOP_SENSORS]),
            "near_misses": dict(self.near_misses),
        }

    def as_dict(self) -> dict[str, Any]:
        """The evidence with every sensor, green ones too: for a status page."""
        return {**self.evidence(), "at_ns": self.now_ns, "sensors": list(self.sensors)}


class Health:
    """Judges readings, one set at a time. A sensor once seen is expected from then on."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.holds = False
        self._tracks: dict[str, Track] = {}
        self._last_ns: int | None = None
        self._holds_since_ns: int | None = None
        self._low_in_a_row = 0
        self._clear_in_a_row = 0
        self._resource_since: dict[Resource, tuple[Level, int]] = {}
        self._near_count = 0
        self._near_score = FULL_SCORE
        self._near_at_ns: int | None = None

    def forget(self, name: str) -> bool:
        """Expect the sensor no more (it was taken out on purpose); False if it was not known."""
        return self._tracks.pop(name, None) is not None

    def keep(self, names: Collection[str]) -> None:
        """Expect no other sensors any more."""
        for name in [known for known in self._tracks if known not in names]:
            self.forget(name)

    def evaluate(self, readings: Iterable[Reading], now_ns: int) -> Report:
        """Judge what was read; `readings` are all there is at `now_ns`.

        A sensor that is not among them, or is there twice, is unknown. Raises EngineError when
        time runs backwards.
        """
        if self._last_ns is not None and now_ns < self._last_ns:
            raise EngineError(f"time ran backwards in the health score: {self._last_ns} → {now_ns}")
        self._last_ns = now_ns
        self._take(list(readings), now_ns)
        tracks = sorted(self._tracks.values(), key=lambda t: t.name)
        points, unread = score_points(tracks, self.policy.required)
        score = max(0, FULL_SCORE - sum(points.values()) - sum(unread.values()))
        entered, cleared = self._judge(score, now_ns)
        self._note_near_miss(score, now_ns)
        ordered = sorted(tracks, key=lambda t: (-points[t.name], -t.counts_as, t.name))
        return Report(
            now_ns=now_ns,
            score=score,
            level=self._level(score),
            holds=self.holds,
            holds_since_ns=self._holds_since_ns,
            entered=entered,
            cleared=cleared,
            resources=self._resources(tracks, points, unread, now_ns),
            sensors=tuple(t.as_dict(points[t.name]) for t in ordered),
            near_sensors=tuple(t.name for t in tracks if t.near),
            evaluations={
                "low": self._low_in_a_row,
                "low_needed": self.policy.low_evaluations,
                "clear": self._clear_in_a_row,
                "clear_needed": self.policy.clear_evaluations,
            },
            near_misses={
                "count": self._near_count,
                "lowest_score": self._near_score,
                "at_ns": self._near_at_ns,
                "margin": self._near_score - self.policy.low_critical,
            },
            policy=self.policy,
        )

    def _take(self, readings: list[Reading], now_ns: int) -> None:
        times = Counter(reading.name for reading in readings)
        for reading in readings:
            track = self._tracks.get(reading.name)
            if track is None:
                track = Track(reading.name, reading.resource, now_ns)
                self._tracks[reading.name] = track
            if times[reading.name] > 1:
                track.lose(f"{times[reading.name]} sensors have this name", now_ns)
            else:
                track.take(reading, now_ns, self.policy.stale_after_ns)
        for name, track in self._tracks.items():
            if name not in times:
                track.lose("no reading: the sensor is gone", now_ns)

    def _judge(self, score: int, now_ns: int) -> tuple[bool, bool]:
        """Count evaluations in a row, and enter or clear the error."""
        self._low_in_a_row = self._low_in_a_row + 1 if score <= self.policy.low_critical else 0
        self._clear_in_a_row = self._clear_in_a_row + 1 if score >= self.policy.clear else 0
        entered = not self.holds and self._low_in_a_row >= self.policy.low_evaluations
        cleared = self.holds and self._clear_in_a_row >= self.policy.clear_evaluations
        if entered or cleared:
            self.holds = entered
            self._holds_since_ns = now_ns if entered else None
        return entered, cleared

    def _note_near_miss(self, score: int, now_ns: int) -> None:
        """While the error does not hold: scores that came close, and the lowest of all."""
        if self.holds:
            return
        if score <= self.policy.low_critical + NEAR_POINTS:
            self._near_count += 1
        if score < self._near_score:
            self._near_score, self._near_at_ns = score, now_ns

    def _level(self, score: int) -> Level:
        if self.holds or score <= self.policy.low_critical:
            return Level.RED
        if score < FULL_SCORE:
            return Level.YELLOW
        return Level.GREEN if self._tracks else Level.UNKNOWN

    def _resources(
        self,
        tracks: list[Track],
        points: Mapping[str, int],
        unread: Mapping[Resource, int],
        now_ns: int,
    ) -> tuple[ResourceHealth, ...]:
        found = []
        for resource in Resource:
            mine = [track for track in tracks if track.resource is resource]
            level = _worst(mine)
            held, since_ns = self._resource_since.get(resource, (None, now_ns))
            if level is not held:
                since_ns = now_ns
                self._resource_since[resource] = (level, now_ns)
            cost = sum(points[track.name] for track in mine) + unread.get(resource, 0)
            found.append(ResourceHealth(resource, level, cost, len(mine), since_ns))
        return tuple(found)


def _worst(tracks: list[Track]) -> Level:
    """Level of a resource: red, then yellow, then unknown, then green."""
    if not tracks:
        return Level.UNKNOWN
    counts_as = max(track.counts_as for track in tracks)
    known = {track.level for track in tracks}
    if counts_as == 1 and Level.YELLOW not in known:
        return Level.UNKNOWN
    return LEVEL_OF_RANK[counts_as]


def score_points(
    tracks: Iterable[Track], required: Iterable[Resource] = ()
) -> tuple[dict[str, int], dict[Resource, int]]:
    """What each sensor costs, and each required resource without one: the formula.

    Of a resource without a red sensor, the first yellow or unknown one (in the order given)
    carries the points of all.
    """
    points: dict[str, int] = {}
    by_resource: dict[Resource, list[Track]] = {}
    for track in tracks:
        points[track.name] = 0
        by_resource.setdefault(track.resource, []).append(track)
    for resource, mine in by_resource.items():
        red = [track for track in mine if track.counts_as == 2]
        for track in red:
            points[track.name] = CRITICAL_POINTS[resource]
        lesser = [track for track in mine if track.counts_as == 1]
        if lesser and not red:
            unknown = any(track.level is Level.UNKNOWN for track in lesser)
            points[lesser[0].name] = UNKNOWN_POINTS if unknown else MAJOR_POINTS
    unread = {r: UNKNOWN_POINTS for r in required if r not in by_resource}
    return points, unread


def markdown_table() -> str:
    """What each resource costs and what to do about it (docs/health.md holds it)."""
    rows = [
        "| resource | yellow, unknown | each red sensor | what to do |",
        "| --- | --- | --- | --- |",
    ]
    rows += [
        f"| {resource} | {MAJOR_POINTS} | {CRITICAL_POINTS[resource]} | {resource.action} |"
        for resource in Resource
    ]
    return "\n".join(rows) + "\n"
