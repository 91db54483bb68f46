"""Rates over time as SVG, drawn as the replay's report draws its timeline."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from nsdata.manager.models import SamplePoint, Samples
from nsdata.manager.rates import FATES, SECOND_NS
from nsdata.output import shown
from nsdata.output.charts import BOTTOM, TOP, Axes, Series, line, stacked
from nsdata.output.html import Node, tag
from nsdata.output.timeline import Timeline

COLUMNS = 120  # of a chart, about
TICKS = 6
TEXTS = {
    "inspected": "inspected", "bypassed": "forwarded uninspected", "blocked": "blocked",
    "lost": "lost",
}  # fmt: skip


class Clock(Axes):
    """Times of day under a chart, in UTC. `at_s`: where it begins, since the epoch."""

    def __init__(self, at_s: int, step_s: int, columns: int) -> None:
        made = Timeline(columns + columns % 2, step_s * SECOND_NS)
        made.start(at_s * SECOND_NS)
        made.take((at_s + step_s * columns) * SECOND_NS - 1, [0] * made.counts.shape[1])
        super().__init__(made)
        self.at_s, self.step_s = at_s, step_s

    def ticks(self, node: Node, height: float) -> None:
        """Whole multiples of the columns' length."""
        every = max(1, self.n // TICKS)
        for column in range(0, self.n, every):
            x = f"{self.x(column):.1f}"
            node.append(tag("line", x1=x, x2=x, y1=TOP, y2=height - BOTTOM, class_="grid"))
            at = datetime.fromtimestamp(self.at_s + column * self.step_s, UTC)
            text = f"{at:%H:%M:%S}" if self.step_s < 60 else f"{at:%H:%M}"
            node.append(tag("text", text, x=x, y=height - 6, class_="mid"))


def _columns(samples: Samples) -> tuple[int, int, list[list[SamplePoint]]]:
    """(where they begin, length in s, the points of each)."""
    first, last = samples.points[0].at_s, samples.points[-1].at_s
    step = samples.step_s * max(1, -(-(last - first) // samples.step_s // COLUMNS))
    begin = first // step * step
    columns: list[list[SamplePoint]] = [[] for _ in range((last - begin) // step + 1)]
    for point in samples.points:
        columns[(point.at_s - begin) // step].append(point)
    return begin, step, columns


def draw(samples: Samples, threshold: float | None) -> list[tuple[str, Markup, str]]:
    """(title, SVG, the same in words) of packets by what became of them, throughput, drop ratio;
    none without samples."""
    if not samples.points:
        return []
    begin, step, columns = _columns(samples)
    axes = Clock(begin, step, len(columns))
    whens = [shown.moment((begin + i * step) * SECOND_NS) for i in range(len(columns))]
    covered = [max(1, len(one) * samples.step_s) for one in columns]
    series, said = [], [""] * len(columns)
    for fate in FATES:
        rates = np.array(
            [
                sum(getattr(p, fate) for p in one) / s
                for one, s in zip(columns, covered, strict=True)
            ]
        )
        series.append(Series(TEXTS[fate], fate, rates))
    for i, one in enumerate(columns):
        if one:
            parts = (f"{s.name} {shown.packets(float(s.values[i]))}" for s in series)
            said[i] = f"{whens[i]}: {', '.join(parts)}"
    bits = np.array([_mean([p.bits_per_second for p in one]) for one in columns])
    bit_titles = [f"{when}: {shown.bits(float(v))}" for when, v in zip(whens, bits, strict=True)]
    ratio = np.array([max((p.drop_ratio for p in one), default=np.nan) for one in columns])
    ratio_titles = [
        "" if np.isnan(v) else f"{when}: {shown.percent(float(v))}"
        for when, v in zip(whens, ratio, strict=True)
    ]
    return [
        ("Packets per second, by what became of them",
         _svg(stacked(axes, "packets per second over time", series, said)),
         "; ".join(f"{s.name}: {_words(s.values, whens, shown.packets)}" for s in series
                   if s.values.any()) or "No packet came."),
        ("Throughput in bits per second",
         _svg(stacked(axes, "bits per second over time", [Series("bits", "bits", bits)],
                      bit_titles)), _words(bits, whens, shown.bits)),
        ("Drop ratio against its threshold",
         _svg(line(axes, "drop ratio over time", Series("drop ratio", "ratio", ratio),
                   1.0 if threshold is None else threshold, ratio_titles)),
         _words(ratio, whens, shown.percent)),
    ]  # fmt: skip


def _words(values: NDArray[np.float64], whens: list[str], told: Callable[[float], str]) -> str:
    """For who does not see the chart, or cannot point at it."""
    there = np.flatnonzero(~np.isnan(values))
    if not len(there):
        return "Nothing was measured."
    most = int(there[np.argmax(values[there])])
    at = whens[most].split()[1]  # date, time, UTC
    return f"lately {told(float(values[there[-1]]))}, at most {told(float(values[most]))} at {at}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _svg(node: Node) -> Markup:
    return Markup(ET.tostring(node, encoding="unicode", method="html"))  # escaped
