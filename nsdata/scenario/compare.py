"""One incident under several policies: where they differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from nsdata.config.keys import Shape
from nsdata.config.settings import TREE
from nsdata.errors import SettingError
from nsdata.output.charts import WIDTH, Axes
from nsdata.output.html import Node, document, table, tag
from nsdata.output.report_page import STYLE, key
from nsdata.scenario.judge import states
from nsdata.scenario.page import LANE, MORE_STYLE, state_lane
from nsdata.scenario.run import Result, compiled, run
from nsdata.scenario.scenario import Appliance, Scenario, Traffic

MOST_POLICIES = 64
PERCENT = {"drop_threshold": "drop-meter.threshold"}  # given in percent
SCENARIO_KEYS = {
    f"{group}.{name}"
    for group, model in (("appliance", Appliance), ("traffic", Traffic))
    for name, field in model.model_fields.items()
    if name not in ("captures", "generate")
}
HEAD = (
    "policy", "course", "first fallback", "in fallback", "uninspected", "lost", "alerts",
    "expectations",
)  # fmt: skip
SHOWN_STATES = 12


def policies(sets: Sequence[str]) -> list[tuple[str, ...]]:
    """Every combination of the values given, each as `key=value` texts. Raises SettingError."""
    columns = [_values(text) for text in sets]
    number = 1
    for column in columns:
        number *= len(column)
    if number > MOST_POLICIES:
        raise SettingError(f"--set: {number} policies; legal: at most {MOST_POLICIES}")
    return [tuple(one) for one in itertools.product(*columns)]


def _values(text: str) -> list[str]:
    name, equals, values = text.partition("=")
    name = name.strip()
    if not equals or not values.strip():
        raise SettingError(f"--set {text}: write KEY=A,B,C, such as drop_threshold=50,70,90")
    real = PERCENT.get(name, name)
    between = ","
    if real not in SCENARIO_KEYS:
        found = TREE.find(real)
        if found is None:
            hint = f"{TREE.unknown(real, f'--set {text}')}"
            raise SettingError(f"{hint}; of the scenario: {', '.join(sorted(SCENARIO_KEYS))}")
        if found[0].shape in (Shape.LIST, Shape.MAP_OF_LISTS):
            between = "|"
    chosen = [one.strip() for one in values.split(between)]
    if name in PERCENT:
        chosen = [_share(text, one) for one in chosen]
    return [f"{real}={one}" for one in dict.fromkeys(chosen)]


def _share(text: str, value: str) -> str:
    """Percent as a share."""
    try:
        percent = float(value.removesuffix("%"))
    except ValueError:
        percent = 0.0
    if not 0 < percent < 100:
        raise SettingError(f"--set {text}: {value} is no percentage between 0 and 100")
    return f"{percent / 100:g}"


def comparison(
    scenario: Scenario,
    chosen: Sequence[tuple[str, ...]],
    told: Callable[[int, float], None] | None = None,
) -> list[Result]:
    """A run under each policy. Raises SettingError before the first when one makes no sense."""
    others = [scenario.with_sets(one) for one in chosen]
    found = []
    for number, other in enumerate(others):

        def share(done: float, number: int = number) -> None:
            if told is not None:
                told(number, done)

        found.append(run(other, share, compiled(other)))
    return found


def row(result: Result) -> tuple[Any, ...]:
    """A policy's row, as HEAD says."""
    record = result.record
    every = states(record)
    first = next((one for one in every if one.state == "fallback"), None)
    ends = [one.at_ns for one in every[1:]] + [record.end_ns]
    down = sum(
        end - one.at_ns for one, end in zip(every, ends, strict=True) if one.state == "fallback"
    )
    held = sum(one.ok for one in result.verdicts)
    return (
        ", ".join(result.scenario.sets),
        _course(result),
        "never" if first is None else f"{record.seconds(first.at_ns):.3f} s",
        f"{down / 1e9:.3f} s",
        record.ledger.bypassed.packets,
        record.ledger.lost.packets,
        sum(record.alerts.values()),
        f"{held} of {len(result.verdicts)} hold",
    )


def _course(result: Result) -> str:
    every = states(result.record)
    parts = [
        f"{result.record.seconds(one.at_ns):.3f} s "
        + (one.reason if one.state == "fallback" else "normal")
        for one in every[:SHOWN_STATES]
    ]
    if len(every) > SHOWN_STATES:
        parts.append(f"… {len(every) - SHOWN_STATES} more")
    return " → ".join(parts)


def differing(rows: Sequence[tuple[Any, ...]]) -> set[int]:
    """The rows that tell of another course, or other figures, than the first."""
    return {number for number, one in enumerate(rows) if one[1:] != rows[0][1:]}


def page_of(results: Sequence[Result]) -> str:
    """The policies' states below each other on one axis of time, and the table."""
    title = f"nsdata scenario compare: {results[0].scenario.title}"
    rows = [row(one) for one in results]
    made = table(HEAD, rows, numbers=(4, 5, 6), id="policies")
    body = made.find("tbody")
    assert body is not None
    for number in differing(rows):
        body[number].set("class", "bad")
    return document(
        title,
        STYLE + MORE_STYLE,
        tag("h1", title),
        tag("p", f"{results[0].scenario.path}: {len(results)} policies", class_="soft"),
        _bands(results),
        tag("p", key("normal", "inspecting"), key("fallback", "fallback"),
            key("warning", "fallback, by hand or unknown")),
        tag("h2", "Policies"),
        made,
        tag("p", "marked: another course, or other figures, than the first", class_="soft"),
    )  # fmt: skip


def _bands(results: Sequence[Result]) -> Node:
    axes = Axes(results[0].record.timeline)
    height = len(results) * 2 * LANE + 26
    node = tag(
        "svg", viewBox=f"0 0 {WIDTH} {height}", role="img",
        aria_label="states under each policy over time",
    )  # fmt: skip
    axes.ticks(node, height)
    for number, one in enumerate(results):
        top = number * 2 * LANE + 4
        node.append(tag("text", ", ".join(one.scenario.sets), x=70, y=top + 12))
        state_lane(axes, one.record, top + 18, node)
    return node
