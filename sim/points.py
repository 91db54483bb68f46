"""Functional coverage: what must have happened at least once in a simulation.

`hit("verdict", "CLEAR", 64)` records a point of the list below; with NSDATA_COVERAGE=1 it goes to
a file of the process under build/coverage/points, where sim/coverage.py counts them.
"""

import os
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.entry import FlowAction, Parse, Verdict
from nsdata.offload.registers import ErrorClass, RearmReason

POINTS = Path(__file__).parents[1] / "build" / "coverage" / "points"
WIDTHS = (64, 512)
MOMENTS = ("idle", "mid-frame", "last beat", "back-pressure", "during a drop", "reset mid-frame")
# Largest size of each bin, bytes.
SIZES = (1, 8, 13, 59, 64, 87, 88, 127, 255, 511, 1023, 1518, 4095, 9018)
TABLE_OPERATIONS = (
    "flow write", "flow read", "flow clear", "flow flush", "flow refused", "prefilter load",
    "prefilter commit", "prefilter commit failed", "prefilter read", "prefilter refused",
)  # fmt: skip

Point = tuple[str, ...]

UNIVERSE: dict[str, list[Point]] = {
    "verdict": [(v.name, str(w)) for v, w in product(Verdict, WIDTHS)],
    "parse": [(p.name, str(w)) for p, w in product(Parse, WIDTHS)],
    "action": [(a.name, str(w)) for a, w in product(FlowAction, WIDTHS)],
    "size": [(str(s), str(w)) for s, w in product(SIZES, WIDTHS)],
    "suspect because": [
        (why, str(w)) for why, w in product(("parse", "truncated", "ports", "prefilter"), WIDTHS)
    ],
    "back-pressure": [(how, str(w)) for how, w in product(("none", "random", "bursts"), WIDTHS)],
    "idle": [(how, str(w)) for how, w in product(("none", "random", "bursts"), WIDTHS)],
    "error": [(e.name, m) for e, m in product(ErrorClass, MOMENTS)],
    "re-arm refused": [(r.name,) for r in RearmReason if r != RearmReason.NONE],
    "table": [(operation,) for operation in TABLE_OPERATIONS],
    "reset": [("mid-frame",), ("soft",)],
}

_seen: set[Point] = set()


def hit(group: str, *point: object) -> None:
    """The point has happened. KeyError when it is not in the list."""
    key = (group, *(str(part) for part in point))
    if key in _seen:
        return
    if key[1:] not in UNIVERSE[group]:
        raise KeyError(f"{key} is no coverage point")
    _seen.add(key)
    if os.environ.get("NSDATA_COVERAGE", "") not in ("", "0"):
        POINTS.mkdir(parents=True, exist_ok=True)
        with open(POINTS / f"{os.getpid()}.txt", "a", encoding="utf-8") as file:
            file.write("\t".join(key) + "\n")


def frames(
    width: int, results: NDArray[np.void], length: NDArray[np.uint32],
    verdicts: NDArray[np.uint8],
) -> None:  # fmt: skip
    """Points of frames: RESULT of the model, sizes, and the verdicts the block gave."""
    for value in np.unique(verdicts):
        hit("verdict", Verdict(value).name, width)
    for value in np.unique(results["parse"]):
        hit("parse", Parse(value).name, width)
    for value in np.unique(results["action"]):
        hit("action", FlowAction(value).name, width)
    for bin_ in np.unique(np.searchsorted(SIZES, np.minimum(length, SIZES[-1]))):
        hit("size", SIZES[bin_], width)
    suspect = verdicts == Verdict.SUSPECT
    for why, where in (
        ("parse", results["parse"] != Parse.OK),
        ("truncated", results["len_short"] != 0),
        ("ports", (results["ports_hit"] != 0) & (results["pf_hit"] == 0)),
        ("prefilter", (results["pf_hit"] != 0) & (results["parse"] == Parse.OK)),
    ):
        if bool((suspect & where).any()):
            hit("suspect because", why, width)


def found() -> set[Point]:
    """Every point recorded under build/coverage/points."""
    lines = [line for path in sorted(POINTS.glob("*.txt"))
             for line in path.read_text(encoding="utf-8").splitlines()]  # fmt: skip
    return {tuple(line.split("\t")) for line in lines}
