"""A picture of how long silent faults last: what is measured over what is expected."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLOURS = ("#1b6ca8", "#2a9d8f", "#e09f3e", "#d1495b", "#6d597a")
WIDE, HIGH = 330, 190  # of a panel
LEFT, TOP, RIGHT, BOTTOM = 42, 30, 12, 34
COLUMNS = 2
TICKS = ("1", "10", "100", "1k", "10k", "100k", "1M", "10M")  # frames
DECADES = len(TICKS) - 1


@dataclass(frozen=True)
class Curve:
    """Runs at one share: p, the chance of a frame to find the fault; frames until found, sorted."""

    share: float
    p: float
    found: NDArray[np.int64]


def _x(frames: float) -> float:
    return LEFT + (WIDE - LEFT - RIGHT) * math.log10(max(frames, 1)) / DECADES


def _y(part: float) -> float:
    return HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * part


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)


def _expected(p: float) -> str:
    frames = np.logspace(0, DECADES, 120)
    return _path([(n, 1 - (1 - p) ** n) for n in frames.tolist()])


def _measured(found: NDArray[np.int64]) -> str:
    points = [(1.0, 0.0)]
    for i, frames in enumerate(found.tolist(), 1):
        points += [(frames, (i - 1) / len(found)), (frames, i / len(found))]
    return _path(points)


def _panel(title: str, curves: Sequence[Curve], x: int, y: int) -> list[str]:
    lines = [f'<g transform="translate({x},{y})">']
    lines.append(f'<text x="{LEFT}" y="18" font-weight="bold">{title}</text>')
    for decade, text in enumerate(TICKS):
        at = _x(10**decade)
        lines.append(
            f'<path d="M{at:.1f},{_y(0):.1f} V{_y(1):.1f}" stroke="#ddd"/>'
            f'<text x="{at:.1f}" y="{HIGH - 20}" text-anchor="middle">{text}</text>'
        )
    for part in (0, 0.5, 1):
        lines.append(
            f'<path d="M{_x(1):.1f},{_y(part):.1f} H{_x(10**DECADES):.1f}" stroke="#ddd"/>'
            f'<text x="{LEFT - 4}" y="{_y(part) + 3:.1f}" text-anchor="end">{part:.0%}</text>'
        )
    for colour, curve in zip(COLOURS, curves, strict=False):
        lines.append(
            f'<path d="{_expected(curve.p)}" fill="none" stroke="{colour}" stroke-width="1"'
            ' stroke-dasharray="4 3"/>'
            f'<path d="{_measured(curve.found)}" fill="none" stroke="{colour}"'
            ' stroke-width="1.4"/>'
        )
    lines.append("</g>")
    return lines


def picture(panels: Mapping[str, Sequence[Curve]]) -> str:
    """An SVG: for each fault the part of runs in which it was found, over frames."""
    rows = -(-len(panels) // COLUMNS)
    width, height = COLUMNS * WIDE, rows * HIGH + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, (title, curves) in enumerate(panels.items()):
        lines += _panel(title, curves, i % COLUMNS * WIDE, i // COLUMNS * HIGH)
    x, y = LEFT, rows * HIGH + 12
    for colour, curve in zip(COLOURS, next(iter(panels.values())), strict=False):
        lines.append(
            f'<path d="M{x},{y - 3} h18" stroke="{colour}" stroke-width="2"/>'
            f'<text x="{x + 22}" y="{y}">{curve.share:.0%}</text>'
        )
        x += 62
    lines.append(
        f'<text x="{x}" y="{y}">of the frames judged twice; dashed: geometric distribution</text>'
        f'<text x="{LEFT}" y="{y + 18}">part of the runs in which the fault is found, over frames'
        " since it came</text>"
    )
    return "\n".join([*lines, "</svg>", ""])
