"""Sensors and the health score: thresholds, hysteresis, the formula, and what unknown costs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.errors import EngineError, SettingError
from nsdata.fallback.health import (
    ALONE_POINTS,
    CRITICAL_POINTS,
    MAJOR_POINTS,
    PAIR_POINTS,
    UNKNOWN_POINTS,
    Health,
    Policy,
    Report,
)
from nsdata.fallback.sensor import Bad, Level, Reading, Resource, Sensor

SECOND = 10**9
NONE_REQUIRED = Policy(required=frozenset(), low_evaluations=1, clear_evaluations=1)
TEMPERATURE = Sensor(
    "inlet", Resource.TEMPERATURE, "°C", Bad.HIGH, 80, 95, clear_margin=5, clear_after_ns=None
)
FAN = Sensor("fan-1", Resource.FAN, "rpm", Bad.LOW, 1000, 300, 200, clear_after_ns=None)
ALONE = [Resource.FILE_SYSTEM, Resource.MEMORY, Resource.TEMPERATURE]


def sensor_of(resource: Resource, name: str = "") -> Sensor:
    """Yellow at 1, red at 2, without hysteresis."""
    return Sensor(name or resource.value, resource, "", Bad.HIGH, 1, 2, clear_after_ns=0)


def judge(*readings: Reading, health: Health | None = None, at: int = 0) -> Report:
    return (health or Health(NONE_REQUIRED)).evaluate(readings, at)


def levels(sensor: Sensor, values: list[float | None], step_ns: int = SECOND) -> list[str]:
    """Level after each value, `step_ns` apart; None: the reading failed. `!` marks: counts red."""
    health, found = Health(NONE_REQUIRED), []
    for number, value in enumerate(values):
        at = number * step_ns
        reading = Reading.failed(sensor, "gone", at)
        if value is not None:
            reading = Reading.of(sensor, value, at)
        one = health.evaluate([reading], at).sensors[0]
        found.append(one["level"] + ("!" * (one["counts_as"] == "red")))
    return found


# --- one sensor -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sensor", "value", "level"),
    [
        (TEMPERATURE, 79.9, "green"),
        (TEMPERATURE, 80, "yellow"),
        (TEMPERATURE, 94.9, "yellow"),
        (TEMPERATURE, 95, "red!"),
        (FAN, 1001, "green"),
        (FAN, 1000, "yellow"),
        (FAN, 301, "yellow"),
        (FAN, 300, "red!"),
        (FAN, 0, "red!"),
    ],
)
def test_reaching_a_threshold_is_its_level(sensor: Sensor, value: float, level: str) -> None:
    assert levels(sensor, [value]) == [level]


def test_a_level_is_left_when_the_value_is_back_by_the_margin() -> None:
    hot = [96, 94, 90.1, 90, 79, 75.1, 75, 79, 80]
    assert levels(TEMPERATURE, hot) == [
        "red!", "red!", "red!", "yellow", "yellow", "yellow", "green", "green", "yellow",
    ]  # fmt: skip
    slow = [300, 499, 500, 1199, 1200]
    assert levels(FAN, slow) == ["red!", "red!", "yellow", "yellow", "green"]


def test_or_when_it_was_not_reached_for_the_stated_time() -> None:
    sensor = replace(TEMPERATURE, clear_after_ns=3 * SECOND)
    assert levels(sensor, [96, 94, 94, 94]) == ["red!", "red!", "red!", "yellow"]
    assert levels(sensor, [96, 94, 95, 94, 94, 94]) == ["red!"] * 5 + ["yellow"], "time runs anew"
    assert levels(sensor, [96, 94, 94, 79, 79, 79, 79])[2:] == [
        "red!", "yellow", "yellow", "green", "green",
    ]  # fmt: skip
    assert levels(sensor, [96, 89]) == ["red!", "yellow"], "the margin need not wait"


def test_a_level_is_taken_when_it_lasts() -> None:
    sensor = replace(TEMPERATURE, after_ns=2 * SECOND)
    assert levels(sensor, [96, 96, 96]) == ["green", "green", "red!"]
    assert levels(sensor, [96, 96, 70, 96, 96, 96])[2:] == ["green", "green", "green", "red!"]
    assert levels(sensor, [85, 96, 85, 96]) == ["green", "green", "yellow", "yellow"]


def test_what_is_held_and_reached_again_is_held_from_then_on() -> None:
    sensor = replace(TEMPERATURE, after_ns=2 * SECOND, clear_after_ns=3 * SECOND)
    assert levels(sensor, [96, 96, 96, 94, 96, 94, 94, 94]) == [
        "green", "green", "red!", "red!", "red!", "red!", "red!", "yellow",
    ]  # fmt: skip


def test_time_unknown_is_time_at_yellow() -> None:
    sensor = replace(TEMPERATURE, after_ns=2 * SECOND, clear_after_ns=0)
    assert levels(sensor, [85, 85, 85]) == ["green", "green", "yellow"]
    assert levels(sensor, [None, 85, 85]) == ["unknown", "green", "yellow"]


def test_unknown_holds_what_was_red_and_is_not_green_when_it_returns_within_the_margin() -> None:
    assert levels(TEMPERATURE, [96, None, None, 94, 90, 75]) == [
        "red!", "unknown!", "unknown!", "red!", "yellow", "green",
    ]  # fmt: skip
    assert levels(TEMPERATURE, [60, None, 76, 75]) == ["green", "unknown", "yellow", "green"]
    timed = replace(TEMPERATURE, clear_after_ns=2 * SECOND)
    assert levels(timed, [96, None, None, None, 94, 94]) == [
        "red!", "unknown!", "unknown!", "unknown!", "red!", "yellow",
    ], "the time does not run while nobody knows"  # fmt: skip


@pytest.mark.parametrize(
    ("reading", "problem"),
    [
        (Reading.of(FAN, math.nan, 0), "not a finite number: nan"),
        (Reading.of(FAN, math.inf, 0), "not a finite number: inf"),
        (Reading.of(FAN, -math.inf, 0), "not a finite number: -inf"),
        (Reading.of(FAN, 10**400, 0), "not a finite number: 1000"),
        (Reading.of(FAN, True, 0), "not a finite number: True"),
        (Reading("fan-1", Resource.FAN, 0, None, FAN), "not a finite number: None"),
        (Reading("fan-1", Resource.FAN, 0, 1.0, None), "no thresholds"),
        (Reading.unnamed("fan-1", Resource.FAN, "garbage", 0), "garbage"),
        (Reading.of(FAN, 5000, -16 * SECOND), "stale: read 16.0 s ago"),
        (Reading.of(FAN, 5000, 1), "time-stamped 1ns ahead"),
    ],
)
def test_what_cannot_be_used_is_unknown_and_says_why(reading: Reading, problem: str) -> None:
    report = judge(reading)
    (sensor,) = report.sensors
    assert sensor["level"] == "unknown"
    assert sensor["problem"].startswith(problem)
    assert report.score == 100 - UNKNOWN_POINTS
    json.dumps(report.as_dict(), allow_nan=False)


def test_a_reading_is_stale_only_after_the_time() -> None:
    assert judge(Reading.of(FAN, 5000, -15 * SECOND)).score == 100


def test_two_of_one_name_are_unknown_whatever_they_say() -> None:
    report = judge(Reading.of(FAN, 5000, 0), Reading.of(FAN, 4000, 0))
    assert report.sensors[0]["problem"] == "2 sensors have this name"
    assert report.score == 100 - UNKNOWN_POINTS


def test_a_sensor_that_vanishes_is_unknown_until_it_returns_or_is_forgotten() -> None:
    health = Health(NONE_REQUIRED)
    judge(Reading.of(FAN, 5000, 0), health=health)
    gone = judge(health=health, at=SECOND)
    assert gone.sensors[0]["problem"] == "no reading: the sensor is gone"
    assert (gone.score, gone.sensors[0]["value"], gone.sensors[0]["since_ns"]) == (
        100 - UNKNOWN_POINTS,
        5000,
        SECOND,
    )
    back = judge(Reading.of(FAN, 5000, 2 * SECOND), health=health, at=2 * SECOND)
    assert (back.score, back.sensors[0]["level"]) == (100, "green")
    assert health.forget("fan-1") and not health.forget("fan-1")
    assert judge(health=health, at=3 * SECOND).sensors == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"major": 96}, "major = 96, critical = 95"),
        ({"bad": Bad.LOW}, "major is legal at or above critical"),
        ({"major": math.nan}, "major = nan"),
        ({"critical": math.inf}, "critical = inf"),
        ({"clear_margin": -1}, "clear_margin = -1: legal: 0 or more"),
        ({"clear_after_ns": -1}, "clear_after_ns = -1"),
        ({"after_ns": -1}, "after_ns = -1"),
        ({"name": ""}, "sensor name ''"),
        ({"name": "a\nb"}, "printable"),
        ({"name": "n" * 101}, "1 to 100"),
    ],
)
def test_a_sensor_that_makes_no_sense_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError) as raised:
        replace(TEMPERATURE, **change)
    assert says in str(raised.value)


# --- the score --------------------------------------------------------------------------


def test_every_resource_has_its_points() -> None:
    assert set(CRITICAL_POINTS) == set(Resource)
    assert MAJOR_POINTS <= UNKNOWN_POINTS < PAIR_POINTS < ALONE_POINTS


@pytest.mark.parametrize("resource", Resource)
def test_one_red_resource_alone(resource: Resource) -> None:
    report = judge(Reading.of(sensor_of(resource), 2, 0))
    assert report.holds == (resource in ALONE)
    assert report.score == (30 if resource in ALONE else 65)
    assert report.level is (Level.RED if resource in ALONE else Level.YELLOW)
    (entry,) = [r for r in report.evidence()["resources"] if r["points"]]
    assert (entry["resource"], entry["level"]) == (resource.value, "red")
    assert entry["action"] == resource.action


def test_several_yellow_ones_together() -> None:
    def score(count: int) -> int:
        some = list(Resource)[:count]
        return judge(*(Reading.of(sensor_of(r), 1, 0) for r in some)).score

    assert [score(n) for n in range(9)] == [100, 80, 60, 40, 20, 0, 0, 0, 0]


def test_two_fans_together_and_many_yellow_cores_once() -> None:
    def score(resource: Resource, *values: float) -> int:
        sensors = [sensor_of(resource, f"{resource}-{n}") for n in range(len(values))]
        return judge(*(Reading.of(s, v, 0) for s, v in zip(sensors, values, strict=True))).score

    assert score(Resource.FAN, 2, 0, 0) == 65
    assert score(Resource.FAN, 2, 2, 0) == 30
    assert score(Resource.FAN, 2, 1, 0) == 65
    assert score(Resource.TEMPERATURE, *[1] * 64) == 80


def test_unknown_costs_as_yellow_and_four_blind_resources_reach_the_critical_score() -> None:
    def blind(count: int) -> Report:
        some = list(Resource)[:count]
        return judge(*(Reading.failed(sensor_of(r), "?", 0) for r in some))

    assert [blind(n).score for n in range(1, 5)] == [80, 60, 40, 20]
    assert [blind(n).holds for n in range(1, 5)] == [False, False, False, True]


def test_a_required_resource_that_nothing_reads_costs() -> None:
    report = Health(Policy()).evaluate([], 0)
    assert report.score == 40
    unread = {r["resource"]: r for r in report.evidence()["resources"] if r["points"]}
    assert list(unread) == ["file-system", "cpu", "memory"]
    assert unread["cpu"]["action"] == "Find out why no sensor reads it."
    assert judge().level is Level.UNKNOWN, "no sensor at all is not green"


def test_the_evidence_names_the_sensors_that_cost_most() -> None:
    warm = replace(TEMPERATURE, name="outlet", action="Open the door.")
    health = Health(NONE_REQUIRED)
    judge(Reading.of(TEMPERATURE, 20, 0), health=health)
    report = judge(
        Reading.of(TEMPERATURE, 97, SECOND, "sensor 3"),
        Reading.of(warm, 85, SECOND),
        Reading.of(FAN, 900, SECOND),
        Reading.of(sensor_of(Resource.PSU), 0, SECOND),
        health=health,
        at=SECOND,
    )
    evidence = json.loads(json.dumps(report.evidence(), allow_nan=False))
    assert evidence["score"] == 10
    assert evidence["thresholds"] == {"low_critical": 30, "clear": 60}
    assert evidence["sensors"][0] == {
        "sensor": "inlet",
        "resource": "temperature",
        "level": "red",
        "counts_as": "red",
        "points": 70,
        "since_ns": SECOND,
        "value": 97,
        "value_at_ns": SECOND,
        "unit": "°C",
        "bad": "high",
        "major": 80,
        "critical": 95,
        "note": "sensor 3",
        "action": Resource.TEMPERATURE.action,
    }
    assert [(s["sensor"], s["points"]) for s in evidence["sensors"]] == [
        ("inlet", 70),
        ("fan-1", 20),
        ("outlet", 0),  # yellow beside a red one
    ]
    assert evidence["sensors"][2]["action"] == "Open the door."
    assert len(report.as_dict()["sensors"]) == 4


def test_resources_say_since_when() -> None:
    health = Health(NONE_REQUIRED)
    values = [0, 1, 1, 2, 0]
    since = []
    for at, value in enumerate(values):
        report = judge(Reading.of(sensor_of(Resource.CPU), value, at), health=health, at=at)
        (cpu,) = [r for r in report.resources if r.resource is Resource.CPU]
        since.append((cpu.level.value, cpu.since_ns))
    assert since == [("green", 0), ("yellow", 1), ("yellow", 1), ("red", 3), ("green", 4)]


def test_a_resource_is_as_its_worst_sensor() -> None:
    def level(*values: float | None) -> Level:
        report = judge(
            *(
                Reading(f"s{n}", Resource.PSU, 0, v, sensor_of(Resource.PSU, f"s{n}"))
                for n, v in enumerate(values)
            )
        )
        return next(r.level for r in report.resources if r.resource is Resource.PSU)

    assert level(0, 0) is Level.GREEN
    assert level(0, None) is Level.UNKNOWN
    assert level(None, 1) is Level.YELLOW
    assert level(None, 1, 2) is Level.RED
    assert level() is Level.UNKNOWN


def test_near_sensors_are_within_their_margin() -> None:
    def near(value: float) -> tuple[str, ...]:
        return judge(Reading.of(TEMPERATURE, value, 0)).near_sensors

    assert [near(v) for v in (75, 75.1, 80, 90.1, 95)] == [(), ("inlet",), (), ("inlet",), ()]


def test_near_misses_count_until_the_error_holds() -> None:
    health = Health(Policy(required=frozenset(), low_evaluations=2))
    heat = sensor_of(Resource.TEMPERATURE)
    seen = [
        judge(Reading.of(heat, value, at), health=health, at=at).near_misses
        for at, value in enumerate([0, 2, 0, 2, 2, 2])
    ]
    assert [s["count"] for s in seen] == [0, 1, 1, 2, 2, 2]
    assert seen[-1] == {"count": 2, "lowest_score": 30, "at_ns": 1, "margin": 0}


# --- the error --------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_it_begins_and_ends_after_so_many_in_a_row(bad: list[int], low: int, clear: int) -> None:
    policy = Policy(required=frozenset(), low_evaluations=low, clear_evaluations=clear)
    health = Health(policy)
    scores: list[int] = []
    holds, since = False, None
    for at, count in enumerate(bad):
        readings = [
            Reading.of(sensor_of(Resource.OTHER, f"s{n}"), 2 if n < count else 0, at)
            for n in range(3)
        ]
        report = health.evaluate(readings, at)
        scores.append(100 - 35 * count if count < 3 else 0)
        was = holds
        if not holds and len(scores) >= low and all(s <= 30 for s in scores[-low:]):
            holds, since = True, at
        elif holds and len(scores) >= clear and all(s >= 60 for s in scores[-clear:]):
            holds, since = False, None
        assert report.score == scores[-1]
        assert (report.holds, report.holds_since_ns) == (holds, since)
        assert (report.entered, report.cleared) == (holds and not was, was and not holds)


def test_between_the_two_scores_it_stays_as_it_is() -> None:
    health = Health(NONE_REQUIRED)
    heat = sensor_of(Resource.TEMPERATURE)
    cool, fan = sensor_of(Resource.CPU), sensor_of(Resource.FAN)

    def holds(at: int, *values: float) -> tuple[int, bool]:
        readings = [Reading.of(s, v, at) for s, v in zip((heat, cool, fan), values, strict=True)]
        report = health.evaluate(readings, at)
        return report.score, report.holds

    assert holds(0, 1, 2, 0) == (45, False)
    assert holds(1, 2, 0, 0) == (30, True)
    assert holds(2, 1, 2, 0) == (45, True)
    assert holds(3, 1, 1, 0) == (60, False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"low_critical": 60}, "0 <= low-critical < clear <= 100"),
        ({"low_critical": -1}, "low-critical = -1"),
        ({"clear": 101}, "clear = 101"),
        ({"low_evaluations": 0}, "low-evaluations = 0: legal: 1 or more"),
        ({"clear_evaluations": 0}, "clear-evaluations = 0"),
        ({"stale_after_ns": 0}, "stale-after-ns = 0"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError) as raised:
        Policy(**change)
    assert says in str(raised.value)


def test_time_does_not_run_backwards() -> None:
    health = Health()
    health.evaluate([], 5)
    health.evaluate([], 5)
    with pytest.raises(EngineError, match="5 → 4"):
        health.evaluate([], 4)
