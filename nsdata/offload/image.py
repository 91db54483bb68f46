"""Rules → the prefilter's image: table, seed and port ranges, as the block is loaded with.

An image guarantees, frame by frame: a frame that holds the fast pattern of a rule is SUSPECT
(nsdata/offload/patterns.py says which rules that leaves to the software). Everything in it
follows from the rules, the sizes, the first seed and the sample, so that equal input gives equal
bytes.

The file is little-endian: magic, version, buckets_log2, words, seed, sizes; the table, 64-bit
words, bucket by bucket, low word first; PORT_RANGES ranges of 64 bits; the report, JSON; CRC-32
of all before it.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsdata.errors import EngineError, OutputError
from nsdata.offload.entry import PORT_RANGES, PortRange
from nsdata.offload.fit import FIRST_SEED, SLOTS, Fit, fit
from nsdata.offload.image_report import Report, read_report
from nsdata.offload.model import Prefilter, signature
from nsdata.offload.patterns import Pattern, Wanted, named, readable, without_common
from nsdata.offload.rarity import FRAME, LENGTHS, Rarity, windows

MAGIC = b"NSDIMAGE"
VERSION = 1
SLOT_BITS = 21
BUCKETS_LOG2 = (4, 20)  # least and most
WORDS = (1, 8)
COMMON = 0.001  # a window expected in a larger share of frames is called common
SHOWN = 20  # of each list in the report
_HEADER = struct.Struct("<8sHBBIII")


@dataclass(frozen=True, slots=True)
class PrefilterImage:
    """`table`: uint64 [2**buckets_log2, words]; `ranges`: PORT_RANGES of them."""

    seed: int
    buckets_log2: int
    words: int
    table: NDArray[np.uint64]
    ranges: tuple[PortRange, ...]
    report: Report = field(default_factory=dict)

    def entry(self, address: int) -> tuple[int, ...]:
        """The 64-bit words of a bucket, low word first."""
        return tuple(int(word) for word in self.table[address])

    def configuration(self) -> NDArray[np.uint64]:
        """What is signed beside the table, at the addresses after it: seed, then ranges,
        zero-extended; uint64 [1 + PORT_RANGES, words]."""
        result = np.zeros((1 + PORT_RANGES, self.words), dtype=np.uint64)
        result[:, 0] = [self.seed, *(one.pack() for one in self.ranges)]
        return result

    @property
    def signature(self) -> int:
        """What the block must be told to expect at commit: table and configuration."""
        return signature(np.concatenate([self.table, self.configuration()]))

    def prefilter(self) -> Prefilter:
        """The golden model's prefilter with this image in it."""
        return Prefilter(self.table, self.seed, self.buckets_log2, self.words)

    def to_bytes(self) -> bytes:
        """The image as a file."""
        report = json.dumps(self.report, sort_keys=True, separators=(",", ":")).encode()
        body = b"".join(
            (
                _HEADER.pack(
                    MAGIC, VERSION, self.buckets_log2, self.words, self.seed, PORT_RANGES,
                    len(report),
                ),
                self.table.astype("<u8").tobytes(),
                np.array([one.pack() for one in self.ranges], dtype="<u8").tobytes(),
                report,
            )
        )  # fmt: skip
        return body + zlib.crc32(body).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "image") -> PrefilterImage:
        """The image of a file's bytes. Raises EngineError when it is none, or damaged."""
        if len(data) < _HEADER.size or not data.startswith(MAGIC):
            raise EngineError(f"{name}: is no image. Make one with: nsdata offload compile")
        _, version, buckets_log2, words, seed, ranges, size = _HEADER.unpack_from(data)
        if version != VERSION:
            raise EngineError(
                f"{name}: is of version {version}, this nsdata reads {VERSION}. Compile it anew"
            )
        table_size = 8 * words << buckets_log2
        ends = list(accumulate((_HEADER.size, table_size, 8 * ranges, size, 4)))
        if len(data) != ends[-1] or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise EngineError(f"{name}: is damaged: its checksum is wrong. Compile it anew")

        def unfit(at: int, what: str) -> EngineError:
            return EngineError(f"{name}: byte {at}: {what}. Compile it anew")

        for at, field_, value, (least, most) in (
            (10, "buckets_log2", buckets_log2, BUCKETS_LOG2), (11, "words", words, WORDS),
            (16, "port ranges", ranges, (PORT_RANGES, PORT_RANGES)),
        ):  # fmt: skip
            if not least <= value <= most:
                raise unfit(at, f"{field_} {value}: legal are {least} to {most}")
        table = np.frombuffer(data[ends[0] : ends[1]], dtype="<u8").astype(np.uint64)
        if len(bad := np.flatnonzero(table >> np.uint64(SLOTS * SLOT_BITS))):
            raise unfit(ends[0] + 8 * int(bad[0]), "a word of the table is more than its slots")
        packed = np.frombuffer(data[ends[1] : ends[2]], dtype="<u8").tolist()
        chosen = tuple(PortRange.unpack(one) for one in packed)
        for i, one in enumerate(chosen):
            if one.pack() != packed[i]:
                raise unfit(ends[1] + 8 * i, f"port range {i} is none: {packed[i]:#x}")
        try:
            report = read_report(data[ends[2] : ends[3]])
        except ValueError as error:
            raise unfit(ends[2], f"its report is unfit: {error}") from error
        return cls(seed, buckets_log2, words, table.reshape(-1, words), chosen, report)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PrefilterImage:
        """The image of a file. Raises EngineError."""
        try:
            return cls.from_bytes(Path(path).read_bytes(), str(path))
        except OSError as error:
            raise EngineError(f"{path}: cannot be read: {error.strerror}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the image to a file. Raises OutputError."""
        try:
            Path(path).write_bytes(self.to_bytes())
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error


def check_sizes(buckets_log2: int, words: int) -> None:
    """Raise EngineError for a table no block has."""
    for name, value, (least, most) in (
        ("buckets_log2", buckets_log2, BUCKETS_LOG2), ("words", words, WORDS),
    ):  # fmt: skip
        if not least <= value <= most:
            raise EngineError(f"{name} {value}: legal are {least} to {most}")


def compile_image(
    wanted: Wanted,
    *,
    buckets_log2: int = 10,
    words: int = 1,
    seed: int = FIRST_SEED,
    most_common: float = 1.0,
    sample: Callable[[], Iterable[NDArray[np.uint8]]] | None = None,
) -> PrefilterImage:
    """The image of what rules want (patterns.from_rules, patterns.from_list).

    `sample`: gives the frames of a typical capture, from which to learn what is common.
    `most_common`: rules whose pattern is expected in a larger share of frames are left to the
    software, which must then search CLEAR frames for them (patterns.without_common).
    Raises EngineError naming the pattern and its rules when one does not fit.
    """
    check_sizes(buckets_log2, words)
    rarity = Rarity()
    if sample is not None:
        rarity.learn(sample(), {one for each in wanted.patterns for one in windows(each.data)})
    if most_common < 1:
        wanted = without_common(wanted, rarity.share, most_common)
    placed = fit(wanted.patterns, rarity.share, buckets_log2, words, seed)
    table = np.zeros((1 << buckets_log2, words), dtype=np.uint64)
    filled: Counter[int] = Counter()
    for bucket, kind, fingerprint in sorted(placed.slots):
        word, place = divmod(filled[bucket], SLOTS)
        table[bucket, word] |= np.uint64((kind << 19 | fingerprint) << SLOT_BITS * place)
        filled[bucket] += 1
    ranges = wanted.ranges
    padding = [PortRange()] * (PORT_RANGES - len(ranges))
    report = _report(wanted, placed, rarity, buckets_log2, words, filled)
    return PrefilterImage(placed.seed, buckets_log2, words, table, (*ranges, *padding), report)


def _report(
    wanted: Wanted, placed: Fit, rarity: Rarity, buckets_log2: int, words: int,
    filled: Counter[int],
) -> Report:  # fmt: skip
    """What the image came to, JSON-able."""
    capacity = SLOTS * words << buckets_log2
    kinds = Counter(LENGTHS[kind - 1] for _, kind, _ in placed.slots)
    common = sorted(
        (
            (choice.cost, pattern)
            for pattern, choice in zip(wanted.patterns, placed.chosen, strict=True)
            if choice.cost >= COMMON
        ),
        key=lambda one: -one[0],
    )
    full = sum(n == SLOTS * words for n in filled.values())
    return {
        "rules": wanted.rules,
        "patterns": len(wanted.patterns),
        "slots": len(placed.slots),
        "capacity": capacity,
        "load": round(len(placed.slots) / capacity, 4),
        "full_buckets": full,
        "windows": {str(size): kinds[size] for size in LENGTHS},
        "seed": placed.seed,
        "seeds_tried": placed.tried,
        "sample_frames": rarity.frames,
        # By chance alone: a slot answers to one place in 2**19.
        "chance_share": round(FRAME * len(placed.slots) / (1 << buckets_log2) / (1 << 19), 6),
        "common_windows": len(common),
        "common": [{**_told(one), "share": float(f"{cost:.3g}")} for cost, one in common[:SHOWN]],
        "short_patterns": len(wanted.short),
        "short": [_told(one) for one in wanted.short[:SHOWN]],
        "ranges": [range_text(one) for one in wanted.ranges],
        "always_software": len(wanted.always),
        "always_reasons": dict(Counter(reason for _, reason in wanted.always).most_common()),
        "always": [[owner.name, reason, owner.number] for owner, reason in wanted.always],
    }


def _told(one: Pattern) -> dict[str, Any]:
    return {"pattern": readable(one.data), "rules": named(one.rules)}


def range_text(one: PortRange) -> str:
    """A port range in words: `tcp, udp 53`, `tcp 80 to 90`, `icmp`."""
    ports = [name for name, on in (("tcp", one.tcp), ("udp", one.udp)) if on]
    text = ", ".join(ports)
    if text:
        span = f"{one.low}" if one.low == one.high else f"{one.low} to {one.high}"
        text += " all ports" if (one.low, one.high) == (0, 65535) else f" {span}"
    return " and ".join(filter(None, (text, "icmp" if one.icmp else "")))
