"""What a worker's status page costs its packet path: batches with and without it, in turn.

    pytest benches/bench_status.py --benchmark-only      (needs no corpus)

The worker's way of a batch of 64 frames: out of the ring, judged, handed back; a publication of
its counters every millisecond, as in nsdata.appliance.worker. Without rules, so that the rest
costs as little as it can and the share of the page is the highest there is.
"""

import statistics
import time
from pathlib import Path

import numpy as np

from nsdata import LoadedRules, Pipeline, Settings, build_engine, load_rules
from nsdata.appliance.child import PUBLISH_NS
from nsdata.appliance.memory import RingMemory, new_page, port_ring, worker_ring
from nsdata.appliance.worker import FIGURES as WORDS
from nsdata.capture import Batch, open_capture
from nsdata.fallback.guard import Guard
from nsdata.output.events import EveWriter
from nsdata.path.port import Port
from nsdata.path.status import StatusPage

CAPTURE = Path(__file__).parents[1] / "tests" / "captures" / "office.pcap"
TURNS = 40
OF_A_TURN = 5  # of each; the fastest counts, as what is slower was somebody else
PUBLICATIONS = 20_000


class Way:
    """A port and a worker in one process."""

    def __init__(self, batches: list[Batch]) -> None:
        settings = Settings.load(sets=["outputs.eve.types=alert"])
        loaded = LoadedRules.build(load_rules([], settings), settings, None)
        self.batches = batches
        self.pipeline = Pipeline(
            build_engine(loaded, settings), Guard.build(), EveWriter(None, ["alert"])
        )
        self.pipeline.set_rules(loaded.fragments, loaded.sids)
        memory = RingMemory("bench", 64, 64, 262144)
        self.ring = worker_ring(memory.frames, memory.answers)
        self.port = Port(1)
        self.port.attach(0, port_ring(memory.frames, memory.answers))
        self.counts = self.pipeline.engine.counts()
        self.publish_ns = 0
        self.words = np.zeros(len(WORDS), np.uint64)

    def turn(self, page: StatusPage | None) -> float:
        """Seconds of CPU the worker takes for all batches."""
        fate = np.zeros(64, np.uint8)
        lasted = 0.0
        for batch in self.batches:
            self.port.offer(
                batch.data, batch.offset, batch.caplen, batch.wirelen, batch.ts_ns,
                batch.linktype, fate[: len(batch)],
            )  # fmt: skip
            self.port.flush()
            begin = time.thread_time()
            data, offset, caplen, wirelen, ts_ns, linktype, verdicts = self.ring.take()
            verdicts[:] = self.pipeline.feed(Batch(data, offset, caplen, wirelen, ts_ns, linktype))
            before, self.counts = self.counts, self.pipeline.engine.counts()
            self.ring.hand_back(*(
                [a - b for a, b in zip(now, then, strict=True)]
                for now, then in zip(self.counts[2:], before[2:], strict=True)
            ))  # fmt: skip
            if page is not None and (now := time.monotonic_ns()) >= self.publish_ns:
                self.publish_ns = now + PUBLISH_NS
                self.words[:] = (1, self.counts[0], 2, 3, 4, 5)
                page.publish(self.words)
            lasted += time.thread_time() - begin
            self.port.collect(0)
        return lasted


def test_status_page(benchmark, figures) -> None:
    with open_capture(str(CAPTURE)) as reader:
        batches = [Batch(*(np.array(getattr(b, f)) for f in
                           ("data", "offset", "caplen", "wirelen", "ts_ns", "linktype")))
                   for b in reader.batches(64)]  # fmt: skip
    _, page = new_page("bench")
    page.enter()
    way = Way(batches)
    shares, seconds = [], []

    def pair() -> None:
        times = [(way.turn(page), way.turn(None)) for _ in range(OF_A_TURN)]
        with_page, without = (min(kind) for kind in zip(*times, strict=True))
        seconds.append(without)
        shares.append(with_page / without)

    benchmark.pedantic(pair, rounds=TURNS, warmup_rounds=3)
    begin = time.thread_time()
    for number in range(PUBLICATIONS):
        way.words[:] = (number, 1, 2, 3, 4, 5)
        page.publish(way.words)
    each = (time.thread_time() - begin) / PUBLICATIONS
    path = statistics.median(seconds) / sum(map(len, batches))
    benchmark.extra_info.update(figures.ratio("worker with a status page / without", shares))
    figures.notes.append(
        f"status page: {each * 1e9:.0f} ns each millisecond ({each * 1e3:.3%}); "
        f"the worker's path {path * 1e9:.0f} ns a frame"
    )
