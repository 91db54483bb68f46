"""Frames until a silent fault is found: geometric, with the mean 1 / (share × wrong frames).

benches/silent_faults.py measures it on a capture; here is a small run of the same code.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traffic

from nsdata.capture import Batch
from nsdata.offload.check import SampledCheck
from nsdata.offload.entry import Verdict

RUNS = 400
FRAMES = 2000


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benches")
    import silent_runs

    return silent_runs


class Told:
    """Right verdicts by the frame's first byte."""

    def inspect(self, batch: Batch) -> np.ndarray:
        return batch.data[batch.offset]


def wrong_in(rate: float) -> tuple[Batch, np.ndarray]:
    """Frames of which a part is wrongly CLEAR; the others are CLEAR, SUSPECT, BYPASS or wrongly
    SUSPECT."""
    rng = random.Random(1)
    kinds = [(Verdict.SUSPECT, Verdict.CLEAR)] * round(rate * FRAMES)
    while len(kinds) < FRAMES:
        right = rng.choice((Verdict.CLEAR, Verdict.CLEAR, Verdict.SUSPECT, Verdict.BYPASS))
        said = Verdict.SUSPECT if rng.random() < 0.1 else right
        kinds.append((right, said))
    rng.shuffle(kinds)
    frames = [bytes([right]) + bytes(59) for right, _ in kinds]
    return traffic.batch(frames), np.array([said for _, said in kinds], np.uint8)


@pytest.mark.parametrize(("share", "rate"), [(0.1, 0.05), (0.3, 0.2), (1.0, 0.02)])
def test_frames_until_found_are_geometric(runs: Any, share: float, rate: float) -> None:
    frames, said = wrong_in(rate)
    right = Told().inspect(frames)
    assert runs.seen(right, said).mean() == pytest.approx(rate)
    found = np.array([
        runs.until_found(Told(), *runs.shuffled(frames, said, seed), share, seed)
        for seed in range(RUNS)
    ])  # fmt: skip
    p = share * rate
    # The mean of RUNS geometric draws is off by a part of 1/sqrt(RUNS); three of these.
    assert abs(found.mean() * p - 1) < 3 / math.sqrt(RUNS)
    assert runs.distance(found, p) < 1.63 / math.sqrt(RUNS)  # Kolmogorov, 1 in 100
    for other in (p / 1.5, p * 1.5):  # so far off, both bars tell
        assert abs(found.mean() * other - 1) > 3 / math.sqrt(RUNS)
        assert runs.distance(found, other) > 1.63 / math.sqrt(RUNS)


def test_a_seed_is_a_run(runs: Any) -> None:
    frames, said = wrong_in(0.1)
    found = [[runs.until_found(Told(), frames, said, 0.2, s) for s in range(20)] for _ in range(2)]
    assert found[0] == found[1] and len(set(found[0])) > 10


def test_nothing_wrong_is_never_found() -> None:
    frames, _ = wrong_in(0.0)
    check = SampledCheck(Told(), 1)
    for share in (0.0, 0.5, 1.0):
        assert check.look(frames, Told().inspect(frames).copy(), 1, share) is None
    assert check.checks and not check.disagreements
