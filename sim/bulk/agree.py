"""Two transports, the same frames: every verdict must be the same.

    python -m sim.bulk.agree [--frames 1000000] [--pair model rtl] [--width 64] [--seed 1]

Frames of sim.traffic's worlds and of captures (the shared one, or the repository's), in turn;
tables of a new world every so often, loaded through the driver; flows inserted and removed on
the way. Exit 1, naming the frame, when a verdict differs or an error is reported.
"""

import argparse
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from nsdata.capture import open_capture
from nsdata.offload.driver import Driver
from nsdata.offload.entry import PORT_RANGES, FlowAction, FlowKey, PortRange, Verdict
from nsdata.offload.image import PrefilterImage
from nsdata.offload.model import parse
from nsdata.offload.rtl.sources import ROOT
from nsdata.offload.transport import open_transport
from sim.traffic import Batch, World

CHUNK = 2000
ROUND = 20_000  # frames of one world


@dataclass
class Agreement:
    """What was compared."""

    frames: int = 0
    captured: int = 0
    worlds: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)


class Disagreement(AssertionError):
    """A frame of two verdicts."""


def capture_path() -> Path:
    """The shared capture, or the repository's own."""
    shared = Path(os.environ.get("NSDATA_SHARED") or ROOT.parent / "shared")
    mixed = shared / "captures" / "mixed.pcap"
    return mixed if mixed.is_file() else ROOT / "tests" / "captures" / "office.pcap"


def captured(path: Path) -> Iterator[Batch]:
    """A capture's frames for ever, CHUNK at a time."""
    while True:
        with open_capture(path) as reader:
            for one in reader.batches():
                for at in range(0, len(one), CHUNK):
                    part = slice(at, at + CHUNK)
                    yield Batch(one.data, one.offset[part], one.caplen[part])


def image_of(world: World) -> PrefilterImage:
    """The world's prefilter as an image."""
    tables = world.tables
    assert tables.buckets is not None
    ranges = (*tables.ranges, *[PortRange()] * (PORT_RANGES - len(tables.ranges)))
    return PrefilterImage(tables.seed, world.buckets_log2, world.words, tables.buckets, ranges)


def keys_of(frames: Batch, rng: random.Random, most: int = 40) -> list[FlowKey]:
    """Flows of some of the frames."""
    found = {}
    for index in rng.sample(range(len(frames.length)), min(4 * most, len(frames.length))):
        parsed = parse(frames.frame(index))
        if parsed.lookup:
            found[parsed.key] = FlowKey.unpack(parsed.key)
    return list(found.values())[:most]


class Pair:
    """Two drivers that are always told the same."""

    def __init__(self, specs: tuple[str, str], seed: int) -> None:
        self.names = specs
        self.drivers = [Driver(open_transport(spec)) for spec in specs]
        built = [driver.identify().built for driver in self.drivers]
        self.built = built[0]
        if built[0] != built[1]:
            raise Disagreement(f"the blocks were built differently: {built}")
        self.rng = random.Random(seed)
        self.done = Agreement()

    def close(self) -> None:
        """Both."""
        for driver in self.drivers:
            driver.close()

    def begin(self) -> World:
        """A new world in both, armed."""
        world = World(random.Random(self.rng.getrandbits(32)), self.built["sets_log2"],
                      self.built["buckets_log2"], self.built["pf_words"])  # fmt: skip
        image = image_of(world)
        for driver in self.drivers:
            driver.load(image)
            driver.start()
        self.done.worlds += 1
        return world

    def flows(self, frames: Batch) -> None:
        """Shunt some flows of these frames, take others back."""
        for key in keys_of(frames, self.rng):
            action = self.rng.choice((FlowAction.BYPASS, FlowAction.BLOCK))
            insert = self.rng.random() < 0.7
            told = {
                driver.insert_flow(key, action) if insert else driver.remove_flow(key)
                for driver in self.drivers
            }
            if len(told) > 1:
                raise Disagreement(f"{key}: one block has room, the other has not")

    def compare(self, frames: Batch) -> None:
        """The same frames through both."""
        first, second = (driver.inspect(*frames) for driver in self.drivers)
        self._judge(frames, first, second)
        self.done.frames += len(first)
        for verdict in Verdict:
            self.done.verdicts[verdict.name] += int((first == verdict).sum())

    def _judge(self, frames: Batch, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> None:
        for name, driver in zip(self.names, self.drivers, strict=True):
            report = driver.poll()
            if report is not None:
                raise Disagreement(f"{name} reports {report.words}")
        bad = np.flatnonzero(first != second)
        if len(bad):
            i = int(bad[0])
            raise Disagreement(
                f"{len(bad)} of {len(first)} frames; the first is frame {self.done.frames + i}: "
                f"{self.names[0]} says {Verdict(first[i]).name}, {self.names[1]} "
                f"{Verdict(second[i]).name}: {frames.frame(i)[:120].hex()}"
            )

    def run(self, frames: int, tick: Callable[[int], None]) -> Agreement:
        """At least `frames` frames; `tick` is told how many are done."""
        wild = captured(capture_path())
        while self.done.frames < frames:
            world = self.begin()
            until = min(self.done.frames + ROUND, frames)
            while self.done.frames < until:
                real = self.rng.random() < 0.6
                batch = next(wild) if real else world.frames(CHUNK // 4)
                if self.rng.random() < 0.5:
                    self.flows(batch)
                before = self.done.frames
                self.compare(batch)
                self.done.captured += self.done.frames - before if real else 0
                tick(self.done.frames)
            counts = [driver.statistics() for driver in self.drivers]
            for name in ("frames_in", "beats_in", *(one.name.lower() for one in Verdict)):
                if counts[0][name] != counts[1][name]:
                    raise Disagreement(f"statistics: {name} is {[c[name] for c in counts]}")
        return self.done


def main() -> int:
    """Compare, with a progress bar."""
    parser = argparse.ArgumentParser(prog="python -m sim.bulk.agree", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--pair", nargs=2, default=("model", "rtl"), metavar="KIND")
    parser.add_argument("--width", type=int, choices=(64, 512), default=64)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console = Console()
    with console.status("opening the transports"):
        pair = Pair((f"{options.pair[0]}:{options.width}", f"{options.pair[1]}:{options.width}"),
                    options.seed)  # fmt: skip
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    begin = time.monotonic()
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("frames", total=options.frames)
            done = pair.run(  # the last batch may go beyond what was asked for
                options.frames, lambda n: progress.update(task, completed=min(n, options.frames))
            )
    except Disagreement as error:
        print(f"nsdata: {error}", file=sys.stderr)
        return 1
    finally:
        pair.close()
    told = ", ".join(f"{name} {count:,}" for name, count in done.verdicts.items())
    console.print(
        f"{' and '.join(pair.names)} agree on {done.frames:,} frames ({done.captured:,} of "
        f"{capture_path().name}, {done.worlds} sets of tables) in "
        f"{time.monotonic() - begin:,.0f} s: {told}", highlight=False,
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
