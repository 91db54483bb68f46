"""What the benchmarks run on: captures and rules, the shared ones when they are there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nsdata import LoadedRules, Settings, load_rules
from nsdata.capture import Batch, open_capture

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("NSDATA_SHARED") or ROOT.parent / "shared")
OFFICE = ROOT / "tests" / "captures" / "office.pcap"
DEMO_RULES = ROOT / "demo" / "demo.rules"
FEW = 100_000  # frames a replay of a small capture is looped up to


@dataclass(frozen=True)
class Corpus:
    """A capture, the rules it is inspected with, and how often it is played in a run."""

    capture: Path
    rules: Path
    frames: int
    loops: int
    name: str

    @property
    def packets(self) -> int:
        """Frames of a whole run."""
        return self.frames * self.loops


def find() -> Corpus:
    """The shared corpus, or the repository's own capture and rules, looped."""
    mixed, et = SHARED / "captures" / "mixed.pcap", SHARED / "rules" / "et-open-2021.rules"
    capture = mixed if mixed.is_file() else OFFICE
    rules = et if et.is_file() else DEMO_RULES
    with open_capture(capture) as reader:
        frames = sum(len(batch) for batch in reader.batches())
    loops = max(1, FEW // frames)
    name = f"{capture.name} × {loops}" if loops > 1 else capture.name
    return Corpus(capture, rules, frames, loops, f"{name}, {rules.name}")


def compiled(rules: Path | None, settings: Settings) -> LoadedRules:
    """The rules of a file (all that load), or no rules."""
    files = [rules] if rules is not None else []
    return LoadedRules.build(load_rules(files, settings), settings)


def kept(capture: Path) -> list[Batch]:
    """All batches of a capture, with arrays of their own and the frames in one buffer."""
    result = []
    with open_capture(capture) as reader:
        for batch in reader.batches():
            arrays = (batch.offset, batch.caplen, batch.wirelen, batch.ts_ns, batch.linktype)
            first, end = int(batch.offset[0]), int(batch.offset[-1]) + int(batch.caplen[-1])
            offset, caplen, wirelen, ts_ns, linktype = (array.copy() for array in arrays)
            data = np.array(batch.data[first:end])
            offset -= np.uint64(first)
            result.append(Batch(data, offset, caplen, wirelen, ts_ns, linktype))
    return result


def frames_of(batches: list[Batch], count: int, linktype: int = 1) -> list[bytes]:
    """The first `count` frames of a link type, one by one, for libraries that take bytes."""
    result = []
    for batch in batches:
        for i in range(len(batch)):
            if batch.linktype[i] == linktype:
                start = int(batch.offset[i])
                result.append(batch.data[start : start + int(batch.caplen[i])].tobytes())
            if len(result) == count:
                return result
    return result
