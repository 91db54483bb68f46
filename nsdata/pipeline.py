"""The pipeline both hosts drive: batches in, verdicts out, the fallback guard between.

    capture batch → Engine.process (C, no Python per packet) → records → EVE
                          ▲                         │
                    state of the guard  ◀── counters at each boundary

`Pipeline.feed` takes a batch, runs it in stretches that end where something is due (an
evaluation of the drop meter, a scheduled switch, a full record ring), and returns the
verdicts. It reads no clock: time is the frames' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.assembly import LoadedRules
from nsdata.capture import Batch
from nsdata.errors import EngineError, FpgaError
from nsdata.fallback.controller import Moment, Transition
from nsdata.fallback.guard import Guard
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import Reason, State
from nsdata.offload.image import PrefilterImage
from nsdata.offload.session import CHUNK, Session, Verdicts
from nsdata.output.eve import record_dtype
from nsdata.output.events import EveWriter
from nsdata.output.timeline import SAID, Band, Timeline
from nsdata.path.engine import Engine
from nsdata.path.rulebase import RuleBase

NEVER = (1 << 64) - 1
MAX_POINTS = 8192
EveryVerdict = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, order=True)
class Switch:
    """A switch by hand at a time (`at_ns`, after the first frame) or before a frame
    (`at_frame`, 1-based): into fallback, or back to normal."""

    to: State
    at_ns: int | None = None
    at_frame: int | None = None
    force: bool = False


@dataclass(slots=True)
class Pipeline:
    """One engine, its guard and its output. `switches` are done once each, in order."""

    engine: Engine
    guard: Guard
    eve: EveWriter
    switches: list[Switch] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    # readings: ns, drop ratio, state, whether it was judged (enough packets)
    points: list[tuple[int, float, str, bool]] = field(default_factory=list)
    first_ns: int | None = None
    last_ns: int = 0
    offload: Session | None = None
    timeline: Timeline | None = None  # for a report: figures over time
    _verdicts: EveryVerdict = field(default_factory=lambda: np.zeros(0, np.uint8))
    _dtype: np.dtype[Any] = field(default_factory=record_dtype)
    _sids: Sequence[int] = ()
    _dropped_before: dict[int, int] = field(default_factory=dict)  # by rules swapped out

    def set_rules(self, fragments: Sequence[bytes], sids: Sequence[int]) -> None:
        """What the output and the evidence call the rules: EVE fragments by image index,
        signature numbers by source rule."""
        self.eve.formatter.set_rules(list(fragments))
        self._sids = sids

    def swap_rules(self, base: RuleBase, fragments: Sequence[bytes], sids: Sequence[int]) -> None:
        """Inspect with other rules from the next frame on; flows and their state live on."""
        self.drain()
        dropped = self.drops_by_rule()
        self.engine.swap_rules(base, len(sids))
        self._dropped_before = dict(dropped)
        self.set_rules(fragments, sids)

    # --- figures -----------------------------------------------------------------------

    def ledger(self) -> LedgerSnapshot:
        """The ledger as it stands. Raises LedgerError when it does not balance."""
        snapshot = LedgerSnapshot.from_counts(*self.engine.counts())
        snapshot.check()
        return snapshot

    def drops_by_rule(self) -> Mapping[int, int]:
        """Packets blocked so far by signature number."""
        result = dict(self._dropped_before)
        for number, packets in self.engine.drops().items():
            sid = self._sids[number]
            result[sid] = result.get(sid, 0) + packets
        return result

    def moment(self, now_ns: int) -> Moment:
        ledger = self.ledger()
        return Moment(now_ns, ledger.received.packets + 1, ledger, self.drops_by_rule())

    # --- the run -----------------------------------------------------------------------

    def feed(self, batch: Batch) -> EveryVerdict:
        """Run a batch; the verdict (nsdata.Verdict) of every frame, valid until the next."""
        n = len(batch)
        if n > len(self._verdicts):
            self._verdicts = np.zeros(n, np.uint8)
        verdicts = self._verdicts[:n]
        if self.offload is None:
            self._run(batch, verdicts, None)
        else:
            for start in range(0, n, CHUNK):
                chunk = slice(start, min(start + CHUNK, n))
                self._chunk(_cut(batch, chunk), verdicts[chunk], self.offload)
        return verdicts

    def _chunk(self, batch: Batch, verdicts: EveryVerdict, offload: Session) -> None:
        """Few enough frames that an error of the block is acted upon soon."""
        judged = None
        if self.guard.state is State.NORMAL:
            judged = offload.judge(batch, self.engine.counts()[0] + 1)
        self._run(batch, verdicts, judged)
        self._settle(offload)

    def _settle(self, offload: Session) -> None:
        """Look for an error of the block, and act on it."""
        if offload.settle(self.engine) is not None:
            self._fault(offload)
        elif self.timeline is not None:
            self._band(self.last_ns)

    def _fault(self, offload: Session) -> None:
        """The block has failed: fall back, unless inspection is to go on without it."""
        if not offload.software:
            moment = self.moment(self.last_ns)
            self._apply(self.guard.fault(Reason.FPGA, moment, {"fpga": offload.last}))
            offload.settle(self.engine)  # the flows that ended
        self._band(self.last_ns)

    def idle(self) -> None:
        """While no frames come, more often than `offload.heartbeat`: the block's sign of life,
        and its errors."""
        if self.offload is not None and self.first_ns is not None:
            self._settle(self.offload)

    def load_offload(self, rules: LoadedRules, image: PrefilterImage) -> None:
        """Give the block the tables of the rules of `swap_rules`. What it cannot take is the
        block's fault, and acted on like one. Raises OffloadError when the image does not fit."""
        if self.offload is None:
            raise EngineError("there is no block to load")
        try:
            self.offload.attach(self.engine, rules, image)
        except FpgaError:
            if self.first_ns is None:
                raise
            self._fault(self.offload)

    def _recover(self, now_ns: int) -> None:
        """Before a restore: bring a block back that failed."""
        if self.offload is None or self.offload.active or self.guard.state is State.NORMAL:
            return
        if self.offload.recover(self.engine):
            cleared = self.guard.controller.clear_fault(Reason.FPGA, self.moment(now_ns))
            self._apply([cleared] if cleared else [])

    def _run(self, batch: Batch, verdicts: EveryVerdict, judged: Verdicts | None) -> None:
        """Frames through the engine; `judged`: what the block said of them."""
        n = len(batch)
        at = 0
        while at < n:
            ahead = 0 if judged is None else n - at
            self._due(self.engine.clock_at(int(batch.ts_ns[at])), ahead)
            stop_frame = min((s.at_frame for s in self.switches if s.at_frame), default=0)
            at = self.engine.process(
                batch.data, batch.offset, batch.caplen, batch.wirelen, batch.ts_ns,
                batch.linktype, verdicts, at, self._stop_ns(), stop_frame, judged,
            )  # fmt: skip
            self.drain()
            self.last_ns = max(self.last_ns, self.engine.clock_ns)

    def finish(self) -> None:
        """End every flow and write what is left. The ledger must balance."""
        while not self.engine.end_flows():
            self.drain()
        self.drain()
        ledger = self.ledger()
        if self.timeline is not None:
            self._sample(self.timeline, self.last_ns, ledger)

    def drain(self) -> None:
        """Hand the path's records to the output."""
        records, arena = self.engine.records.view()
        if len(records):
            self.eve.formatter.format_array(
                np.frombuffer(records, self._dtype), np.frombuffer(arena, np.uint8)
            )
            self.eve.drain()
            self.engine.drain()

    def _stop_ns(self) -> int:
        stop = self.guard.next_evaluation_ns()
        first = self.first_ns or 0
        for switch in self.switches:
            if switch.at_ns is not None:
                stop = min(stop, first + switch.at_ns)
        if self.timeline is not None:
            stop = min(stop, self.timeline.next_ns())
        return min(stop, NEVER)

    def _sample(
        self, timeline: Timeline, now_ns: int, ledger: LedgerSnapshot, ahead: int = 0
    ) -> None:
        """The counters of all frames before `now_ns`; `ahead` more were judged by the block."""
        said = [0] * len(SAID) if self.offload is None else self.offload.said(ahead)
        fates = (count.packets for count in ledger.by_fate)
        timeline.take(now_ns, (*fates, ledger.received.bytes, *said))

    def _band(self, now_ns: int) -> None:
        """Note what is done from now on."""
        if self.timeline is None or self.first_ns is None:
            return
        band = Band.INSPECTING
        if self.guard.state is State.FALLBACK:
            band = Band.FALLBACK
        elif self.offload is not None and not self.offload.active:
            band = Band.SOFTWARE
        elif self.offload is not None and self.offload.restoring:
            band = Band.RESTORING
        self.timeline.band(now_ns, band)

    def _due(self, now_ns: int, ahead: int = 0) -> None:
        """Everything due before the frame of time `now_ns` is taken; the block has judged it and
        what follows, `ahead` frames."""
        if self.first_ns is None:
            self.first_ns = self.last_ns = now_ns
            self.guard.start(self.moment(now_ns))
            if self.timeline is not None:
                self.timeline.start(now_ns)
        now_ns = max(now_ns, self.last_ns)
        self.last_ns = now_ns
        if self.timeline is not None and self.timeline.next_ns() <= now_ns:
            self._sample(self.timeline, now_ns, self.ledger(), ahead)
        restore_ns = self.guard.controller.next_due_ns()
        if restore_ns is not None and restore_ns <= now_ns:
            self._recover(now_ns)
        if self.guard.next_evaluation_ns() <= now_ns:
            self._apply(self.guard.evaluate(self.moment(now_ns)))
            self._point()
        received = self.engine.counts()[0] if self.switches else 0
        for switch in list(self.switches):
            by_time = switch.at_ns is not None and now_ns >= self.first_ns + switch.at_ns
            by_frame = switch.at_frame is not None and received + 1 >= switch.at_frame
            if by_time or by_frame:
                self.switches.remove(switch)
                self.switch(switch.to, now_ns, force=switch.force)

    def _point(self) -> None:
        """Keep the reading for the graph; thin them out when there are very many."""
        reading = self.guard.meter.last
        if reading is not None and reading.received:
            state = self.guard.state.value
            self.points.append((reading.now_ns, reading.ratio, state, reading.judged))
            if self.timeline is not None:
                self.timeline.reading(reading.now_ns, reading.ratio)
        if len(self.points) > MAX_POINTS:
            del self.points[1::2]

    def switch(self, to: State, now_ns: int, *, force: bool = False) -> list[Transition]:
        """Into fallback or back to normal by hand, from the next frame on."""
        if to is State.NORMAL:
            self._recover(now_ns)
        moment = self.moment(now_ns)
        if to is State.FALLBACK:
            transitions = self.guard.fallback(moment)
        else:
            transitions = self.guard.restore(moment, force=force)
        self._apply(transitions)
        return transitions

    def _apply(self, transitions: list[Transition]) -> None:
        for transition in transitions:
            self.transitions.append(transition)
            while not self.engine.set_fallback(transition.to_state is State.FALLBACK):
                self.drain()
            self.drain()
            self.eve.fallback(transition.at_ns, transition)
            self._band(transition.at_ns)


def _cut(batch: Batch, where: slice) -> Batch:
    """Frames of a batch that lie beside each other."""
    return Batch(
        batch.data, batch.offset[where], batch.caplen[where], batch.wirelen[where],
        batch.ts_ns[where], batch.linktype[where],
    )  # fmt: skip
