"""Frames until a silent fault is found, against the share of frames judged twice.

    .venv/bin/python benches/silent_faults.py [--runs 100] [--rtl-runs 10] [--write]

Each fault of nsdata.offload.silent is put into the golden model behind its registers; what it then
says of a whole capture is judged by the check of nsdata.offload.check, many times from a random
frame on, until it finds the fault. `order` is as captured, or shuffled: then frames are independent
and the geometric distribution must come out. A smaller number runs on the Verilated block, scrubber
and all. Same seeds, same figures. --write: the table and the picture in docs.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import corpus as corpora
import numpy as np
from bench_offload import wanted
from numpy.typing import NDArray
from silent_plot import Curve, picture
from silent_runs import distance, from_frame, seen, shuffled, until_found

from nsdata.capture import Batch
from nsdata.errors import FpgaError
from nsdata.offload import silent
from nsdata.offload.check import SampledCheck, part_of
from nsdata.offload.driver import Driver
from nsdata.offload.entry import MAX_FRAME, FlowAction, FlowEntry, FlowKey
from nsdata.offload.image import PrefilterImage, compile_image
from nsdata.offload.model import Prefilter, bucket_of, flow_set, parse
from nsdata.offload.rtl import sources
from nsdata.offload.session import CHUNK, ETHERNET, ModelOffload
from nsdata.offload.transport import open_transport
from nsdata.offload.transport_rtl import RtlTransport

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
RTL_SHARES = (0.1, 1.0)
SETS_LOG2 = 9
# A line's gap and preamble are 20 bytes a frame: of 40 beats, the source holds back before one in
# 25, for 1 to 3 cycles.
GAPS, GAP = 1 / 25, 3
PATTERNS = 400
DOCS = corpora.ROOT / "docs"
MARKS = ("<!-- silent faults, {}: written by benches/silent_faults.py -->",
         "<!-- /silent faults, {} -->")  # fmt: skip

NAMES = {
    silent.PREFILTER: "a bucket wrong in every copy",
    silent.PREFILTER_COPY: "a bucket wrong in one copy of eight",
    silent.FLOW: "a flow entry with another flow's key",
    silent.SEARCH: "the search finds nothing any more",
    silent.KEY: "the parser's key stuck at a bypassed flow's",
    silent.VERDICT: "SUSPECT and CLEAR exchanged",
}


@dataclass(frozen=True)
class Tables:
    """What is loaded, and the values that make the faults."""

    image: PrefilterImage
    flows: tuple[tuple[FlowKey, FlowAction], ...]
    faults: dict[str, int]


def ethernet(batches: Sequence[Batch]) -> Batch:
    """All frames as one batch that are Ethernet and no longer than the block takes."""
    ends = np.cumsum([0, *[len(one.data) for one in batches]])
    columns = []
    for field in ("offset", "caplen", "wirelen", "ts_ns", "linktype"):
        columns.append(np.concatenate([getattr(one, field) for one in batches]))
    for one, end, at in zip(
        batches, ends, np.cumsum([0, *[len(b) for b in batches]]), strict=False
    ):
        columns[0][at : at + len(one)] = one.offset + np.uint64(end)
    data = np.concatenate([one.data for one in batches])
    whole = Batch(data, *columns)
    fit = (whole.linktype == ETHERNET) & (whole.caplen <= MAX_FRAME)
    return part_of(whole, np.flatnonzero(fit))


def frame_of(frames: Batch, i: int) -> bytes:
    start = int(frames.offset[i])
    return frames.data[start : start + int(frames.caplen[i])].tobytes()


def busiest_bucket(frames: Batch, image: PrefilterImage, most: int = 20_000) -> tuple[int, int]:
    """The bucket most frames are SUSPECT for and for no other; the lowest bit of the slot."""
    table = Prefilter(image.table, image.seed, image.buckets_log2, image.words)
    some = part_of(frames, np.arange(min(most, len(frames))))
    count: Counter[int] = Counter()
    for i in np.flatnonzero(table.hits(some.data, some.offset, some.caplen)).tolist():
        frame = frame_of(some, i)
        found = {
            bucket_of(frame[p : p + length], image.seed, image.buckets_log2)
            for p, length in table.places(frame)
        }
        if len(found) == 1:
            count[found.pop()] += 1
    [(bucket, _)] = count.most_common(1)
    return bucket, 1 | 1 << 21 | 1 << 42  # every slot of it


def tables(frames: Batch) -> Tables:
    """Of real patterns and the capture's busiest flow."""
    image = compile_image(wanted(PATTERNS)[1], buckets_log2=10, words=1)
    keys = Counter(
        found.key for i in range(0, len(frames), 7) if (found := parse(frame_of(frames, i))).lookup
    )
    [(packed, _)] = keys.most_common(1)
    wanted_set = flow_set(packed, SETS_LOG2)
    mine = next(
        key
        for port in range(1, 65536)
        if flow_set((key := FlowKey.of("192.0.2.1", "192.0.2.2", 6, port, 9)).pack(), SETS_LOG2)
        == wanted_set
    )
    place = 2 * wanted_set  # the first way, for the table is empty else
    bits = FlowEntry(mine, 1, 0).pack() ^ FlowEntry(FlowKey.unpack(packed), 1, 0).pack()
    bucket, slots = busiest_bucket(frames, image)
    return Tables(
        image,
        ((mine, FlowAction.BYPASS),),
        {
            silent.PREFILTER: silent.flip(bucket, slots),
            silent.PREFILTER_COPY: silent.flip(bucket, slots, 3),
            silent.FLOW: silent.flip(place, bits),
            silent.SEARCH: 1,
            silent.KEY: silent.stuck_key(mine.pack()),
            silent.VERDICT: 1,
        },
    )


def golden_of(made: Tables) -> ModelOffload:
    """The right verdicts."""
    golden = ModelOffload(SETS_LOG2)
    golden.load(made.image)
    for key, action in made.flows:
        golden.insert_flow(key, action)
    return golden


def faulty(made: Tables, name: str, spec: str = "model:64") -> Driver:
    """An armed block with that fault in it ("": none)."""
    driver = Driver(open_transport(spec))
    driver.identify()
    driver.load(made.image, made.flows)
    driver.start(limit=0xFFFFFFFF)
    if name:
        assert driver.transport.faults is not None
        driver.transport.faults.poke(name, made.faults[name])
    return driver


def said_of(made: Tables, frames: Batch, name: str) -> NDArray[np.uint8]:
    """What the model with that fault says of all frames, were it not found."""
    with faulty(made, name) as driver:
        return driver.inspect(frames.data, frames.offset, frames.caplen)


@dataclass(frozen=True)
class Row:
    """Runs of one fault and one share."""

    name: str
    share: float
    rate: float
    captured: NDArray[np.int64]  # frames until found, as captured
    mixed: NDArray[np.int64]  # shuffled

    @property
    def p(self) -> float:
        """Chance of a frame to find it."""
        return self.share * self.rate

    def line(self) -> str:
        """Of the table."""
        middle, late = np.quantile(self.mixed, [0.5, 0.95])
        far = distance(self.mixed, self.p) * math.sqrt(len(self.mixed))
        return (
            f"| {NAMES[self.name]} | {self.rate:.4f} | {self.share:.0%} | {1 / self.p:,.0f} "
            f"| {self.mixed.mean():,.0f} | {middle:,.0f} | {late:,.0f} "
            f"| {self.captured.mean():,.0f} | {far:.2f} |"
        )


def on_model(made: Tables, frames: Batch, runs: int, tell: Callable[[str], None]) -> list[Row]:
    """Every fault at every share."""
    golden = golden_of(made)
    right = said_of(made, frames, "")
    rows = []
    for name in NAMES:
        said = said_of(made, frames, name)
        rate = float(seen(right, said).mean())
        if not rate:
            tell(f"{name}: no frame of this capture comes out wrong, so nothing can find it")
            continue
        other, other_said = shuffled(frames, said, 1)
        for share in SHARES:
            tell(f"{name}, {share:.0%}")
            chunk = int(np.clip(0.5 / (share * rate), CHUNK, 8192))
            found = [
                np.array([until_found(golden, *order, share, s, chunk) for s in range(runs)])
                for order in ((frames, said), (other, other_said))
            ]
            rows.append(Row(name, share, rate, *found))
    return rows


def on_rtl(
    made: Tables, frames: Batch, name: str, share: float, runs: int
) -> tuple[NDArray[np.int64], Counter[str]]:
    """Frames until the Verilated block's fault is known, by check or scrubber; and by which."""
    golden = golden_of(made)
    found, by = [], Counter[str]()
    with faulty(made, "", "rtl:64,FAULTS=1") as driver:
        assert driver.transport.faults is not None and isinstance(driver.transport, RtlTransport)
        driver.transport.block.idle(GAPS, GAP)
        for seed in range(runs):
            draw = np.random.default_rng((seed, 3))
            driver.transport.wait(int(draw.integers(20_000)))
            driver.transport.faults.poke(name, made.faults[name])
            check, number = SampledCheck(golden, seed), 1
            error: FpgaError | None = None
            chunks = from_frame(frames, np.zeros(len(frames), np.uint8),
                                int(draw.integers(len(frames))))  # fmt: skip
            while error is None:
                batch, _ = next(chunks)
                said = driver.inspect(batch.data, batch.offset, batch.caplen)
                error = check.look(batch, said, number, share)
                number += len(batch)
                if error is None and (report := driver.poll()) is not None:
                    error = report.failure("rtl")
            by[error.evidence["class"]] += 1
            found.append(int(error.evidence.get("frame", number - 1)))
            driver.transport.faults.poke(name, 0)
            if name in silent.TABLES and driver.errors().fatal:
                driver.rearm()
    return np.array(found), by


def rtl_lines(made: Tables, frames: Batch, runs: int, tell: Callable[[str], None]) -> Iterator[str]:
    """The table of the RTL."""
    yield "| fault | share | found by | mean | median | latest |"
    yield "| --- | ---: | --- | ---: | ---: | ---: |"
    for name in NAMES:
        for share in (0.0,) if name in silent.TABLES else RTL_SHARES:
            tell(f"rtl: {name}, {share:.0%}")
            found, by = on_rtl(made, frames, name, share, runs)
            told = ", ".join(f"{what} {count}" for what, count in by.most_common())
            yield (
                f"| {NAMES[name]} | {share:.0%} | {told} | {found.mean():,.0f} "
                f"| {np.median(found):,.0f} | {found.max():,.0f} |"
            )


def model_lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table of the model."""
    yield (
        "| fault | wrong frames | share | expected | mean | median | 95 % by "
        "| mean as captured | distance |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in rows:
        yield row.line()


def write(name: str, lines: Sequence[str]) -> None:
    """Between the marks of that name in the document."""
    path = DOCS / "offload.md"
    begin, end = (mark.format(name) for mark in MARKS)
    head, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text("\n".join([head + begin, "", *lines, "", end]) + tail, encoding="utf-8")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100, help="of each row; 0: no model")
    parser.add_argument("--rtl-runs", type=int, default=10, help="of each row; 0: no RTL")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()

    def tell(text: str) -> None:
        print(f"… {text}", flush=True)

    corpus = corpora.find()
    frames = ethernet(corpora.kept(corpus.capture))
    made = tables(frames)
    patterns = made.image.report["patterns"]  # PATTERNS, unless there are fewer
    what = f"{len(frames):,} frames of {corpus.capture.name}, {patterns} patterns"
    if options.runs:
        rows = on_model(made, frames, options.runs, tell)
        lines = [f"The golden model, {what}, {options.runs} runs each.", "", *model_lines(rows)]
        print("\n".join(lines))
        if options.write:
            write("model", lines)
            curves = {
                NAMES[name]: [Curve(r.share, r.p, np.sort(r.mixed)) for r in rows if r.name == name]
                for name in {row.name: None for row in rows}
            }
            (DOCS / "silent-faults.svg").write_text(picture(curves), encoding="utf-8")
    if options.rtl_runs and (why := sources.missing()):
        print(f"no RTL: {why}")
    elif options.rtl_runs:
        lines = [
            f"The Verilated block at 64 b, {what}, {options.rtl_runs} runs each, frames in chunks "
            "of 64 with a line's gaps, and the scrubber at work.",
            "",
            *rtl_lines(made, frames, options.rtl_runs, tell),
        ]
        print("\n".join(lines))
        if options.write:
            write("rtl", lines)


if __name__ == "__main__":
    main()
