"""Charts of a timeline as SVG: stacked steps, a line against its threshold, bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsdata.output.html import Node, tag
from nsdata.output.timeline import Band, Timeline

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 70, 14, 8, 22
SPAN = WIDTH - LEFT - RIGHT
UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
TICKS = 8


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn: name, CSS class, a value for each interval."""

    name: str
    style: str
    values: NDArray[np.float64]


class Axes:
    """Time from left to right for every chart of a timeline, so that they stand in line."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.n = max(1, len(timeline.counts))
        self.seconds = self.n * timeline.interval_ns / 1e9
        largest = next((one for one in UNITS if self.seconds >= one[0]), UNITS[-1])
        self.unit, self.unit_name = largest

    def x(self, interval: float) -> float:
        """Where an interval begins."""
        return LEFT + SPAN * interval / self.n

    def at(self, ns: int) -> float:
        """Where a time is."""
        since = ns - (self.timeline.start_ns or 0)
        return self.x(min(max(since / self.timeline.interval_ns, 0.0), self.n))

    def when(self, interval: int) -> str:
        """An interval in words: 1.5–2.0 s."""
        step = self.timeline.interval_ns / 1e9 / self.unit
        digits = max(0, 2 - int(np.floor(np.log10(step)))) if step < 100 else 0
        ends = (f"{step * (interval + one):.{digits}f}" for one in (0, 1))
        return f"{'–'.join(ends)} {self.unit_name}"

    def ticks(self, node: Node, height: float) -> None:
        """Times under a chart."""
        whole = self.seconds / self.unit
        step = nice(whole / TICKS)
        for number in range(int(whole / step + 1e-9) + 1):
            x = f"{LEFT + SPAN * number * step / whole:.1f}"
            node.append(tag("line", x1=x, x2=x, y1=TOP, y2=height - BOTTOM, class_="grid"))
            text = f"{number * step:g}" + (f" {self.unit_name}" if not number else "")
            node.append(tag("text", text, x=x, y=height - 6, class_="mid"))


def nice(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if value <= 0 or not np.isfinite(value):
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(one * power for one in (1, 2, 5, 10) if one * power >= value * (1 - 1e-9)))


def short(value: float) -> str:
    """1500 -> 1.5k, for an axis."""
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"


def _canvas(label: str, height: int) -> Node:
    return tag("svg", viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)


def _shade(axes: Axes, node: Node, height: int) -> None:
    """Where it was in fallback, behind a chart."""
    for start, end, band in spans(axes.timeline):
        if band is Band.FALLBACK:
            left, right = axes.at(start), axes.at(end)
            node.append(
                tag("rect", x=f"{left:.1f}", y=TOP, width=f"{max(right - left, 1):.1f}",
                    height=height - TOP - BOTTOM, class_="shade")
            )  # fmt: skip


def spans(timeline: Timeline) -> list[tuple[int, int, Band]]:
    """The bands with their ends: (from ns, to ns, what)."""
    ends = [start for start, _ in timeline.bands[1:]] + [max(timeline.end_ns, 0)]
    return [(a, b, what) for (a, what), b in zip(timeline.bands, ends, strict=False)]


def bands(axes: Axes) -> Node:
    """A strip of what the engine did when."""
    height = 24
    node = _canvas("states over time", height)
    for start, end, band in spans(axes.timeline):
        left, right = axes.at(start), axes.at(end)
        seconds = (start - (axes.timeline.start_ns or 0)) / 1e9
        last = (end - (axes.timeline.start_ns or 0)) / 1e9
        style = f"band-{band.name.lower()}"
        node.append(
            tag("rect", tag("title", f"{band.value}: {seconds:.3f} s to {last:.3f} s"),
                x=f"{left:.1f}", y=2, width=f"{max(right - left, 1):.1f}", height=20, class_=style)
        )  # fmt: skip
        if right - left > 7 * len(band.value):
            x = f"{(left + right) / 2:.1f}"
            node.append(tag("text", band.value, x=x, y=16, class_="mid on"))
    return node


def stacked(
    axes: Axes, label: str, series: Sequence[Series], titles: Sequence[str],
    top: float | None = None, unit: str = "", height: int = 190,
) -> Node:  # fmt: skip
    """Series one upon the other, in steps; `titles`: what is said of each interval. `top`: the
    end of the axis, else the highest sum."""
    node = _canvas(label, height)
    _shade(axes, node, height)
    sums = np.sum([one.values for one in series], axis=0) if series else np.zeros(axes.n)
    highest = float(sums.max(initial=0.0))
    most = top if top is not None else nice(highest / 4) * 4 if highest > 0 else 1.0
    room = height - TOP - BOTTOM

    def y(value: float) -> float:
        return height - BOTTOM - room * min(value / most, 1.0)

    _levels(node, most, y, unit)
    axes.ticks(node, height)
    floor = np.zeros(axes.n)
    for one in series:
        ceiling = floor + one.values
        if one.values.any():
            node.append(tag("path", d=_steps(axes, floor, ceiling, y), class_=f"s {one.style}"))
        floor = ceiling
    _touch(axes, node, titles, room)
    return node


def line(
    axes: Axes, label: str, series: Series, threshold: float, titles: Sequence[str],
    height: int = 140,
) -> Node:  # fmt: skip
    """Shares from 0 to 1 against a threshold; intervals without a value are bridged."""
    node = _canvas(label, height)
    _shade(axes, node, height)
    room = height - TOP - BOTTOM

    def y(value: float) -> float:
        return height - BOTTOM - room * min(max(value, 0.0), 1.0)

    _levels(node, 1.0, y, "%")
    axes.ticks(node, height)
    known = np.flatnonzero(~np.isnan(series.values)).tolist()
    points = " ".join(f"{axes.x(i + 0.5):.1f},{y(series.values[i]):.1f}" for i in known)
    if points:
        node.append(tag("polyline", points=points, class_=f"l {series.style}"))
    if len(known) == 1:
        i = known[0]
        node.append(tag("circle", cx=f"{axes.x(i + 0.5):.1f}", cy=f"{y(series.values[i]):.1f}", r=3,
                        class_=f"s {series.style}"))  # fmt: skip
    limit = f"{y(threshold):.1f}"
    node.append(tag("line", tag("title", f"threshold {threshold:.0%}"), x1=LEFT, x2=WIDTH - RIGHT,
                    y1=limit, y2=limit, class_="limit"))  # fmt: skip
    _touch(axes, node, titles, room)
    return node


def _levels(node: Node, most: float, y: object, unit: str) -> None:
    assert callable(y)
    for part in range(5):
        value = most * part / 4
        place = y(value)
        text = f"{100 * value:g} %" if unit == "%" else short(value)
        node.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{place:.1f}", y2=f"{place:.1f}",
                        class_="grid"))  # fmt: skip
        node.append(tag("text", text, x=LEFT - 6, y=f"{place + 4:.1f}", class_="end"))


def _steps(axes: Axes, floor: NDArray[np.float64], ceiling: NDArray[np.float64], y: object) -> str:
    """The area between two staircases."""
    assert callable(y)
    path = [f"M{axes.x(0):.1f} {y(floor[0]):.1f}"]
    for i in range(axes.n):
        path.append(f"V{y(ceiling[i]):.1f}H{axes.x(i + 1):.1f}")
    for i in reversed(range(axes.n)):
        path.append(f"V{y(floor[i]):.1f}H{axes.x(i):.1f}")
    return "".join([*path, "Z"])


def _touch(axes: Axes, node: Node, titles: Sequence[str], room: float) -> None:
    """What is said of an interval when it is pointed at."""
    wide = f"{SPAN / axes.n:.2f}"
    for i, text in enumerate(titles):
        if text:
            node.append(tag("rect", tag("title", text), x=f"{axes.x(i):.2f}", y=TOP, width=wide,
                            height=room, class_="t"))  # fmt: skip
