"""How seldom a window of 4, 6 or 8 bytes is expected in a frame: what windows are chosen by.

What is learnt from is the text of `phrases`, kept as counts of one to four bytes in a row, case
folded. A byte's probability follows from the three before it, backing off to fewer where little
was seen (interpolation as Jelinek and Mercer's); a byte that repeats the last one or the last but
one is likely anyway. A capture of the traffic to expect makes better guesses: its frames that
hold a window are counted outright and outweigh the text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsdata.capture import open_capture
from nsdata.errors import EngineError
from nsdata.offload.phrases import PHRASES

LENGTHS = (4, 6, 8)  # of windows
FEW = 4  # windows of a pattern below which shorter ones are taken as well
ORDER = 3  # bytes that are looked back at
TRUST = (0, 24, 8, 4)  # sightings of a context at which it counts as much as a shorter one
NEVER_SEEN = 0.23  # share of a byte's probability that is the same for all bytes
REPEAT, ALTERNATE = 0.06, 0.03  # probability that a byte is the last one, the last but one
FRAME = 300  # bytes of a typical frame
SAMPLE_WEIGHT = 20  # frames of a sample that count as much as the text does
SAMPLE_MAX = 512 * 1024 * 1024  # bytes of a sample that are read
_CHUNK = 1 << 20

_FOLD = np.arange(256, dtype=np.uint8)
_FOLD[65:91] += 32


def window_length(length: int) -> int:
    """The bytes of a pattern's window; 0 when the pattern is too short for any."""
    return next((one for one in reversed(LENGTHS) if length >= one), 0)


def windows(pattern: bytes) -> list[bytes]:
    """The windows a pattern may be found by, case folded: all of the greatest length that fits;
    of shorter ones as well where those are few, so that it need not fail to find a place."""
    folded = pattern.lower()
    size = window_length(len(folded))
    few = len(folded) - size < FEW
    return [
        folded[i : i + one]
        for one in reversed(LENGTHS)
        if one == size or (few and one < size)
        for i in range(len(folded) - one + 1)
    ]


class Text:
    """What texts teach: counts of one to ORDER + 1 bytes in a row, case folded."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._seen: list[Counter[bytes]] = [Counter() for _ in range(ORDER + 2)]
        for text in texts:
            folded = text.lower()
            for size in range(1, ORDER + 2):
                self._seen[size].update(folded[i : i + size] for i in range(len(folded) - size + 1))
        self._total = sum(self._seen[1].values())
        self._follow = lru_cache(maxsize=1 << 20)(self._probability)

    def _probability(self, context: bytes, byte: bytes) -> float:
        """Of a byte after those of `context`, ORDER at most."""
        seen = self._seen[1][byte] / self._total if self._total else 0.0
        result = (1 - NEVER_SEEN) * seen + NEVER_SEEN / 256
        for size in range(1, len(context) + 1):
            before = context[-size:]
            sightings = self._seen[size][before]
            if not sightings:
                break
            trust = TRUST[size]
            result = (self._seen[size + 1][before + byte] + trust * result) / (sightings + trust)
        if context[-1:] == byte:
            return REPEAT + (1 - REPEAT) * result
        if context[-2:-1] == byte:
            return ALTERNATE + (1 - ALTERNATE) * result
        return result

    def bits(self, window: bytes) -> float:
        """-log2 of the probability that a given place of a frame holds the window (folded),
        by the text alone."""
        return -sum(
            math.log2(self._follow(window[max(0, i - ORDER) : i], window[i : i + 1]))
            for i in range(len(window))
        )


@cache
def common_text() -> Text:
    """What `phrases` teaches; learnt once."""
    return Text(PHRASES)


class Rarity:
    """Estimates of windows; `frames`: those of the sample, when `learn` was given one."""

    def __init__(self, text: Text | None = None) -> None:
        self._text = text or common_text()
        self._counts: dict[bytes, int] = {}
        self.frames = 0

    def share(self, window: bytes) -> float:
        """The share of frames expected to hold the window, 0 to 1."""
        guess = min(1.0, FRAME * 2 ** -self._text.bits(window))
        if not self.frames:
            return guess
        return (self._counts.get(window, 0) + SAMPLE_WEIGHT * guess) / (self.frames + SAMPLE_WEIGHT)

    def learn(self, frames: Iterable[NDArray[np.uint8]], candidates: Iterable[bytes]) -> None:
        """Count the frames (uint8 arrays) of a sample that hold each candidate window."""
        wanted = {size: _Wanted(size, candidates) for size in LENGTHS}
        for chunk, ends in _chunks(frames):
            self.frames += len(ends)
            for one in wanted.values():
                one.count(chunk, ends)
        for one in wanted.values():
            self._counts |= one.counted()


class _Wanted:
    """The candidate windows of one length as sorted numbers, and the frames that held them."""

    def __init__(self, size: int, candidates: Iterable[bytes]) -> None:
        self.size = size
        found = {int.from_bytes(one, "little") for one in candidates if len(one) == size}
        self.keys = np.array(sorted(found), dtype=np.uint64)
        self.frames = np.zeros(len(self.keys), dtype=np.int64)
        # Most places hold no candidate: 16 bits of each tell at once.
        self.starts = np.zeros(1 << 16, dtype=bool)
        self.starts[(self.keys & np.uint64(0xFFFF)).astype(np.int64)] = True

    def count(self, chunk: NDArray[np.uint8], ends: NDArray[np.int64]) -> None:
        """Frames lie one after another in `chunk`, each up to its end."""
        places = len(chunk) - self.size + 1
        if places <= 0 or not len(self.keys):
            return
        pairs = chunk[:-1].astype(np.int32) | chunk[1:].astype(np.int32) << 8
        at = np.flatnonzero(self.starts[pairs[:places]])
        value = np.zeros(len(at), dtype=np.uint64)
        for i in range(self.size):
            value |= chunk[at + i].astype(np.uint64) << np.uint64(8 * i)
        index = np.minimum(np.searchsorted(self.keys, value), len(self.keys) - 1)
        frame = np.searchsorted(ends, at, side="right")
        held = (self.keys[index] == value) & (at + self.size <= ends[frame])
        once = np.unique(frame[held] * len(self.keys) + index[held])
        np.add.at(self.frames, once % len(self.keys), 1)

    def counted(self) -> dict[bytes, int]:
        return {
            int(key).to_bytes(self.size, "little"): int(n)
            for key, n in zip(self.keys, self.frames, strict=True)
            if n
        }


def _chunks(
    frames: Iterable[NDArray[np.uint8]],
) -> Iterable[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """(bytes of many frames, folded; where each ends)."""
    held: list[NDArray[np.uint8]] = []
    size = 0
    for frame in frames:
        held.append(frame)
        size += len(frame)
        if size >= _CHUNK:
            yield _joined(held)
            held, size = [], 0
    if size:
        yield _joined(held)


def _joined(held: list[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return _FOLD[np.concatenate(held)], np.cumsum([len(one) for one in held])


def sample_frames(path: Path) -> Iterable[NDArray[np.uint8]]:
    """The frames of a capture, SAMPLE_MAX bytes of them at most. Raises CaptureError, and
    EngineError when it holds none."""
    size = 0
    with open_capture(path) as reader:
        for batch in reader.batches():
            for offset, length in zip(batch.offset.tolist(), batch.caplen.tolist(), strict=True):
                if size >= SAMPLE_MAX:
                    return
                size += length
                yield np.array(batch.data[offset : offset + length])
    if not size:
        raise EngineError(f"{path}: the sample holds no frames to learn from")
