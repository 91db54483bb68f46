"""Runs until the sampled check finds a silent fault: what silent_faults.py and its test share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nsdata.capture import Batch
from nsdata.offload.check import Judge, SampledCheck, part_of
from nsdata.offload.entry import Verdict
from nsdata.offload.session import CHUNK

MOST = 50_000_000  # frames of a run: never reached


def seen(right: NDArray[np.uint8], said: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The frames whose verdict is wrong in a way the check looks for."""
    told = (said == Verdict.CLEAR) | (said == Verdict.BYPASS) | (said == Verdict.BLOCK)
    result: NDArray[np.bool_] = told & (said != right)
    return result


def from_frame(
    frames: Batch, said: NDArray[np.uint8], first: int, chunk: int = CHUNK
) -> Iterator[tuple[Batch, NDArray[np.uint8]]]:
    """Chunks from a frame on, round and round."""
    at = first
    while True:
        part = slice(at, min(at + chunk, len(frames)))
        columns = (getattr(frames, f)[part] for f in
                   ("offset", "caplen", "wirelen", "ts_ns", "linktype"))  # fmt: skip
        yield Batch(frames.data, *columns), said[part].copy()
        at = part.stop % len(frames)


def until_found(
    golden: Judge,
    frames: Batch,
    said: NDArray[np.uint8],
    share: float,
    seed: int,
    chunk: int = CHUNK,
) -> int:
    """Frames from a random one on until the check finds that one is wrong.

    Which one it is does not depend on the chunks, but large ones are quicker.
    """
    check = SampledCheck(golden, seed)
    first = int(np.random.default_rng((seed, 1)).integers(len(frames)))
    number = 1
    for batch, verdicts in from_frame(frames, said, first, chunk):
        error = check.look(batch, verdicts, number, share)
        if error is not None:
            return int(error.evidence["frame"])
        number += len(batch)
        if number > MOST:
            break
    raise AssertionError("not found")


def shuffled(frames: Batch, said: NDArray[np.uint8], seed: int) -> tuple[Batch, NDArray[np.uint8]]:
    order = np.random.default_rng((seed, 2)).permutation(len(frames))
    return part_of(frames, order), said[order]


def distance(found: NDArray[np.int64], p: float) -> float:
    """Kolmogorov's: the largest difference between the measured and the geometric distribution."""
    values, counts = np.unique(found, return_counts=True)
    steps = np.cumsum(counts) / len(found)
    at, before = 1 - (1 - p) ** values, 1 - (1 - p) ** (values - 1)
    ends = np.abs(steps - at), np.abs(np.concatenate([[0], steps[:-1]]) - before)
    return float(max(one.max() for one in ends))
