"""Runs that several benchmarks time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from corpus import Corpus

from nsdata import Engine, LoadedRules, Settings, replay
from nsdata.capture import Batch, open_capture
from nsdata.path.decode import decode_batch


def decode(batches: list[Batch], checksums: bool) -> None:
    """Decode every frame."""
    for batch in batches:
        decode_batch(
            batch.data, batch.offset, batch.caplen, batch.wirelen, batch.linktype, checksums
        )


def engine(batches: list[Batch], machine: Engine, judged: Sequence[Any] = ()) -> None:
    """Every frame through an engine; its records are thrown away. judged: what the FPGA block
    says of each batch's frames."""
    for number, batch in enumerate(batches):
        verdicts = np.zeros(len(batch), np.uint8)
        at = 0
        while at < len(batch):
            at = machine.process(
                batch.data, batch.offset, batch.caplen, batch.wirelen, batch.ts_ns,
                batch.linktype, verdicts, at, offload=judged[number] if judged else None,
            )  # fmt: skip
            machine.drain()


def read(path: Any, loops: int = 1) -> int:
    """Every frame of a capture indexed, none looked at."""
    frames = 0
    for _ in range(loops):
        with open_capture(path) as reader:
            for batch in reader.batches():
                frames += len(batch)
    return frames


class Seconds(NamedTuple):
    """Time of a replay: inside the loop over batches (summary.seconds), and all around."""

    engine: float
    wall: float


def whole_replay(
    corpus: Corpus,
    loaded: LoadedRules,
    *,
    eve_types: Sequence[str] | None = None,
    eve: Any = None,
    **options: Any,
) -> Seconds:
    """A replay of the corpus; `eve_types` None writes all types."""
    settings = Settings()
    if eve_types is not None:
        settings = Settings.load(None, [f"outputs.eve.types=[{','.join(eve_types)}]"])
    start = time.perf_counter()
    result = replay(
        corpus.capture, loaded=loaded, settings=settings, loops=corpus.loops, eve=eve,
        checksum_validation=False, **options,
    )  # fmt: skip
    wall = time.perf_counter() - start
    assert result.ok and result.summary.packets == corpus.packets
    return Seconds(result.summary.seconds, wall)


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
