"""The sampled second judgement: what finds a block that answers and is wrong.

Each frame that the block spares or drops is judged again by the golden model with probability
`share`; the choice is seeded. While a fault makes a part `rate` of all frames come out wrongly
CLEAR, BYPASS or BLOCK, each frame finds it with probability share · rate: the frames until then
are distributed geometrically, with the mean 1 / (share · rate). A wrong SUSPECT is not looked for:
it costs time and nothing else.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nsdata.capture import Batch
from nsdata.errors import FpgaError
from nsdata.offload.entry import Verdict

EVIDENCE_BYTES = 64  # of a frame judged differently

Verdicts = NDArray[np.uint8]


class Judge(Protocol):
    """Whatever gives the right verdicts."""

    def inspect(self, batch: Batch) -> Verdicts:
        """Of every frame."""


class SampledCheck:
    """Judges some of the frames again. `checks`, `disagreements`: how many so far."""

    def __init__(self, golden: Judge, seed: int) -> None:
        self._golden = golden
        self._random = np.random.default_rng(seed)
        self.checks = self.disagreements = 0

    def look(self, batch: Batch, verdicts: Verdicts, number: int, share: float) -> FpgaError | None:
        """An error when the golden model says otherwise of a frame; `number`: of the first, from 1.

        `verdicts` become SUSPECT where a frame was judged again, so that it is inspected in full;
        after an error wherever the block would have one skipped, for it is believed no more.
        """
        skipped = (verdicts == Verdict.CLEAR) | (verdicts == Verdict.BYPASS)
        told = skipped | (verdicts == Verdict.BLOCK)
        if share <= 0 or not told.any():
            return None
        picked = np.flatnonzero(told & (self._random.random(len(batch)) < share))
        if not len(picked):
            return None
        self.checks += len(picked)
        golden = self._golden.inspect(part_of(batch, picked))
        said = verdicts[picked]
        wrong = np.flatnonzero(golden != said)
        if not len(wrong):
            verdicts[picked[said != Verdict.BLOCK]] = Verdict.SUSPECT
            return None
        self.disagreements += len(wrong)
        at = int(picked[wrong[0]])
        start, size = int(batch.offset[at]), int(batch.caplen[at])
        first = bytes(batch.data[start : start + min(size, EVIDENCE_BYTES)])
        hardware, model = Verdict(int(verdicts[at])), Verdict(int(golden[wrong[0]]))
        verdicts[skipped] = Verdict.SUSPECT
        return FpgaError(
            f"frame {number + at}: the FPGA says {hardware.name}, the model {model.name}",
            {
                "class": "disagreement", "frame": number + at, "hardware": hardware.name,
                "model": model.name, "frame_bytes": size, "bytes": first.hex(),
                "check_share": share,
            },
        )  # fmt: skip


def part_of(batch: Batch, at: NDArray[np.intp]) -> Batch:
    """Some frames of a batch."""
    return Batch(
        batch.data, batch.offset[at], batch.caplen[at], batch.wirelen[at], batch.ts_ns[at],
        batch.linktype[at],
    )  # fmt: skip
