"""Frames for the whole block, and the tables they are judged by.

A `World` is a set of patterns, flows and port ranges with the golden model that holds them.
Frames are made in batches, from templates: every parse class, flows that are bypassed, blocked,
unknown or of an old generation, patterns at every place (also across beats, also cut by the
frame's end), headers with bytes changed at random, sizes from 1 to 9018 bytes.
"""

import logging
import random
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsdata.offload.entry import FlowAction, FlowEntry, FlowKey, Parse, PortRange
from nsdata.offload.model import Model, Prefilter, bucket_of, fingerprint, flow_set, parse
from nsdata.offload.sequences import Tables

ROOT = Path(__file__).parents[1]
CLASSES = {4: 1, 6: 2, 8: 3}  # window length -> class of a slot
JUMBO = 9018


class Batch(NamedTuple):
    """Frames one after the other, as the harness and the model take them."""

    data: NDArray[np.uint8]
    offset: NDArray[np.uint64]
    length: NDArray[np.uint32]

    def frame(self, index: int) -> bytes:
        """One frame's bytes."""
        start = int(self.offset[index])
        return self.data[start : start + int(self.length[index])].tobytes()


def batch(frames: list[bytes]) -> Batch:
    """Frames as a batch."""
    length = np.array([len(frame) for frame in frames], dtype=np.uint32)
    offset = np.zeros(len(frames), dtype=np.uint64)
    np.cumsum(length[:-1], out=offset[1:])
    return Batch(np.frombuffer(b"".join(frames), dtype=np.uint8), offset, length)


def place(
    windows: list[bytes], buckets_log2: int, words: int, seed: int
) -> tuple[NDArray[np.uint64], list[bytes]]:
    """A prefilter table of `windows` (4, 6 or 8 bytes); those that did not fit are left out."""
    buckets = np.zeros((1 << buckets_log2, words), dtype=np.uint64)
    used = [0] * (1 << buckets_log2)
    placed = []
    for window in windows:
        bucket = bucket_of(window, seed, buckets_log2)
        if used[bucket] == 3 * words:
            continue
        slot = CLASSES[len(window)] << 19 | fingerprint(window)
        word, at = divmod(used[bucket], 3)
        buckets[bucket, word] |= np.uint64(slot << 21 * at)
        used[bucket] += 1
        placed.append(window)
    return buckets, placed


@cache
def templates(seed: int) -> tuple[bytes, ...]:
    """Frames of every parse class: the parser's own, and the headers of the captures."""
    logging.getLogger("scapy").setLevel(logging.ERROR)
    from sim.parse import frames

    rng = random.Random(seed)
    found = [frame for _, frame, _, _ in frames.named()]
    found += rng.sample(list(frames.grid(rng)), 120)
    found += rng.sample(list(frames.numbers(rng)), 150)
    return tuple(frame for frame in found if frame)


@dataclass
class World:
    """Tables with contents drawn from `rng`, and the golden model that holds the same."""

    rng: random.Random
    sets_log2: int = 9
    buckets_log2: int = 10
    words: int = 1
    flows: int = 120
    patterns: int = 60
    tables: Tables = field(init=False)
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng
        windows = [rng.randbytes(rng.choice((4, 6, 8))) for _ in range(self.patterns // 2)]
        letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/.-_%= 0123456789"
        windows += [
            bytes(rng.choices(letters, k=rng.choice((4, 6, 8)))) for _ in range(self.patterns // 2)
        ]
        seed = rng.getrandbits(32)
        buckets, self.windows = place(windows, self.buckets_log2, self.words, seed)
        ranges = (
            PortRange(6660, 6669, tcp=True),
            PortRange(69, 69, udp=True),
            PortRange(500, 600, tcp=True, udp=True),
            PortRange(icmp=rng.random() < 0.5),
        )
        self.prefilter = Prefilter(buckets.reshape(-1), seed, self.buckets_log2, self.words)
        self.model = Model(self.sets_log2, self.prefilter, ranges)
        self.base = list(templates(rng.getrandbits(16)))
        self.fine = [frame for frame in self.base if parse(frame).parse == Parse.OK]
        self.tables = Tables({}, buckets, seed, ranges)
        self._fill_flows()

    def _fill_flows(self) -> None:
        """Half the keys that can be looked up get an entry: bypass, block, none, old, invalid."""
        rng = self.rng
        keys = {parsed.key for f in self.base if (parsed := parse(f)).lookup}
        chosen = rng.sample(sorted(keys), min(self.flows, len(keys) * 2 // 3))
        # One flow is blocked for certain.
        entry = FlowEntry(FlowKey.unpack(chosen[0]), int(FlowAction.BLOCK), 0)
        address = 2 * flow_set(chosen[0], self.sets_log2)
        self.tables.flow[address] = entry.words()
        self.model.write(address, entry.words())
        self.blocked = next(f for f in self.base if parse(f).key == chosen[0])
        for key in chosen[1:]:
            action = rng.choice(
                (FlowAction.BYPASS, FlowAction.BYPASS, FlowAction.BLOCK, FlowAction.NONE)
            )
            generation = 0 if rng.random() < 0.9 else 7
            valid = int(rng.random() < 0.95)
            entry = FlowEntry(FlowKey.unpack(key), int(action), generation, valid)
            address = 2 * flow_set(key, self.sets_log2) + rng.randint(0, 1)
            if address not in self.tables.flow:
                self.tables.flow[address] = entry.words()
                self.model.write(address, entry.words())

    def frame(self, largest: int = JUMBO) -> bytes:
        """One frame, mostly small."""
        rng = self.rng
        draw = rng.random()
        if draw < 0.03:
            return rng.randbytes(rng.randint(1, 90))
        frame = bytearray(rng.choice(self.fine if rng.random() < 0.6 else self.base))
        if draw < 0.15:  # a header that says something else
            for _ in range(rng.randint(1, 3)):
                frame[rng.randrange(min(len(frame), 60))] = rng.getrandbits(8)
        draw = rng.random()
        if draw < 0.75:
            frame += rng.randbytes(rng.randint(0, 120))
        elif draw < 0.96:
            frame += rng.randbytes(rng.randint(0, 1400))
        elif draw < 0.975:
            frame += rng.randbytes(rng.randint(1400, JUMBO))
        elif draw < 0.99:  # truncated
            del frame[rng.randint(1, len(frame)) :]
        if rng.random() < 0.3 and len(frame) > 20:
            window = bytearray(rng.choice(self.windows))
            if rng.random() < 0.5:
                window = bytearray(window.swapcase())
            # Anywhere, and often at the very end, whole or cut.
            at = rng.randrange(14, len(frame))
            if rng.random() < 0.3:
                at = max(len(frame) - len(window) + rng.choice((-1, 0, 0, 1)), 14)
            frame[at : at + len(window)] = window[: len(frame) - at]
        return bytes(frame[:largest])

    def frames(self, count: int, largest: int = JUMBO) -> Batch:
        """`count` frames."""
        return batch([self.frame(largest) for _ in range(count)])
