"""The health score over generated histories: never better for worse, always explained."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from nsdata.fallback.health import Health, Policy
from nsdata.fallback.sensor import Bad, Reading, Resource, Sensor

NONE_REQUIRED = Policy(required=frozenset())

SENSORS = st.builds(
    lambda resource, bad, major, gap, margin, clear_after, after: Sensor(
        "x",
        resource,
        "",
        bad,
        major,
        major + gap if bad is Bad.HIGH else major - gap,
        margin,
        clear_after,
        after,
    ),
    st.sampled_from(Resource),
    st.sampled_from(Bad),
    st.integers(-3, 3),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([None, 0, 1, 2, 5]),
    st.sampled_from([0, 0, 2, 3]),
)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_worse_reading_never_raises_the_score(data: st.DataObject) -> None:
    """Two histories, one of which is everywhere as bad or worse: so is its score, always."""
    sensors = [
        replace(sensor, name=f"s{n}")
        for n, sensor in enumerate(data.draw(st.lists(SENSORS, min_size=1, max_size=4)))
    ]
    better, worse = Health(NONE_REQUIRED), Health(NONE_REQUIRED)
    at = 0
    for _ in range(data.draw(st.integers(1, 15))):
        at += data.draw(st.integers(0, 3))
        good: list[Reading] = []
        bad: list[Reading] = []
        for sensor in sensors:
            value = data.draw(st.none() | st.integers(-8, 8))
            sign = 1 if sensor.bad is Bad.HIGH else -1
            if value is None:
                good.append(Reading.failed(sensor, "?", at))
                # worse than unknown is what is red at once; else unknown as well
                red = not sensor.after_ns and data.draw(st.booleans())
                bad.append(Reading.of(sensor, sensor.critical, at) if red else good[-1])
                continue
            good.append(Reading.of(sensor, value, at))
            below = value + sign * data.draw(st.integers(0, 6))
            if sensor.rank(value) < 2 and data.draw(st.booleans()):
                bad.append(Reading.failed(sensor, "?", at))
            else:
                bad.append(Reading.of(sensor, below, at))
        first, second = better.evaluate(good, at), worse.evaluate(bad, at)
        assert second.score <= first.score
        ranks = ["green", "yellow", "red"]
        counts = {s["sensor"]: ranks.index(s["counts_as"]) for s in first.sensors}
        assert all(ranks.index(s["counts_as"]) >= counts[s["sensor"]] for s in second.sensors)


ANYTHING = st.floats() | st.integers() | st.none() | st.just(10**400)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), SENSORS, ANYTHING, st.integers(-40, 2)), max_size=6),
        max_size=8,
    )
)
def test_points_are_the_score_and_all_is_json_and_alike_twice(
    steps: list[list[tuple[int, Sensor, Any, int]]],
) -> None:
    def run() -> list[str]:
        health = Health(Policy(stale_after_ns=20))
        lines = []
        for now, step in enumerate(steps):
            readings = [
                Reading.of(replace(sensor, name=f"s{n}"), value, now + offset)
                for n, sensor, value, offset in step
            ]
            report = health.evaluate(readings, now)
            out = report.as_dict()
            spent = sum(r["points"] for r in out["resources"])
            unread = sum(r["points"] for r in out["resources"] if not r["sensors"])
            assert report.score == max(0, 100 - spent)
            assert sum(s["points"] for s in out["sensors"]) == spent - unread
            assert all(s["points"] == 0 for s in out["sensors"] if s["level"] == "green")
            lines.append(json.dumps(out, allow_nan=False))
        return lines

    assert run() == run()
