"""An engine over frames built by hand: which rules fired where, with which verdicts."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import traffic

from nsdata import LoadedRules, Settings, build_engine
from nsdata.capture import Batch
from nsdata.output.eve import record_dtype
from nsdata.path.engine import Engine
from nsdata.rules.ruleset import load_text

ALERT, DROP, FLOW = 0, 1, 2  # RecordKind
BLOCKED, VERDICT_DROP, VERDICT_PASS = 1 << 0, 1 << 5, 1 << 6  # RecordFlag
_RECORD = record_dtype()


@functools.lru_cache(maxsize=256)
def loaded(rules: str) -> LoadedRules:
    """The rules, compiled; every one of them must load."""
    ruleset = load_text(rules)
    assert not ruleset.refused, [str(error) for error in ruleset.refused]
    return LoadedRules.build(ruleset, Settings())


def sids_of(rules: LoadedRules) -> list[int]:
    """Signature numbers by index in the image."""
    return [json.loads(b"{" + text + b"}")["signature_id"] for text in rules.fragments]


@dataclass
class Event:
    """A record: kind, frame, signature (0: none), ledger reason, flags."""

    kind: int
    frame: int
    sid: int
    why: int
    flags: int
    record: Any


class Run:
    """An engine, fed in any portions; collects verdicts and events."""

    def __init__(
        self,
        rules: str = "",
        settings: Sequence[str] = (),
        engine: Engine | None = None,
        **options: Any,
    ) -> None:
        self.rules = loaded(rules)
        self.sids = sids_of(self.rules)
        self.engine = engine or build_engine(
            self.rules, Settings.load(sets=list(settings)), **options
        )
        self.verdicts: list[int] = []
        self.events: list[Event] = []
        self.drains = 0
        self.now_ns = traffic.START_NS

    def drain(self) -> None:
        records, _ = self.engine.records.view()
        for record in np.frombuffer(records, _RECORD):
            rule = int(record["rule"])
            self.events.append(
                Event(
                    int(record["kind"]),
                    int(record["frame_no"]),
                    0 if rule == 0xFFFFFFFF else self.sids[rule],
                    int(record["why"]),
                    int(record["flags"]),
                    record.copy(),
                )
            )
        self.engine.drain()
        self.drains += 1

    def feed(self, frames: Sequence[bytes] | Batch, times: Sequence[int] | None = None) -> Run:
        """Run frames; without `times` they go on a millisecond apart."""
        if not isinstance(frames, Batch):
            if times is None:
                times = [self.now_ns + i * traffic.MS for i in range(len(frames))]
                self.now_ns += len(frames) * traffic.MS
            frames = traffic.batch(frames, times)
        verdict = np.full(len(frames), 255, np.uint8)
        at = 0
        while at < len(frames):
            before = at
            at = process(self.engine, frames, verdict, at)
            self.drain()
            assert at > before, "the engine took no frame from an empty ring"
        self.verdicts += verdict.tolist()
        return self

    def finish(self) -> Run:
        while not self.engine.end_flows():
            self.drain()
        self.drain()
        self.balanced()
        return self

    def balanced(self) -> None:
        """received = sum over all reasons, in packets and in bytes."""
        packets, size, why_packets, why_bytes = self.engine.counts()
        assert packets == sum(why_packets) == len(self.verdicts)
        assert size == sum(why_bytes)

    def of(self, kind: int) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    def alerts(self) -> list[tuple[int, int]]:
        """(frame, sid) of every alert."""
        return [(event.frame, event.sid) for event in self.of(ALERT)]

    def fired(self) -> Counter[int]:
        """How often each signature fired."""
        return Counter(event.sid for event in self.of(ALERT))


def process(
    engine: Engine, frames: Batch, verdict: npt.NDArray[np.uint8], start: int = 0, **stop: Any
) -> int:
    return engine.process(
        frames.data, frames.offset, frames.caplen, frames.wirelen, frames.ts_ns, frames.linktype,
        verdict, start, **stop,
    )  # fmt: skip


def fired(
    rules: str, frames: Sequence[bytes], times: Sequence[int] | None = None, **options: Any
) -> Counter[int]:
    """How often each rule fires on these frames, ends of flows included."""
    return Run(rules, **options).feed(frames, times).finish().fired()
