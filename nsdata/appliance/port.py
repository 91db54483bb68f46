"""The port's process: frames from the source to the workers, and out by their verdicts.

It does what it was last told (inspect or fall back; the share; which segments are blocked while
they are not inspected), and falls back by itself when the supervisor has not given a sign of life
for too long or is gone: whoever else fails, traffic flows. In its own words on the status page:
`FIGURES`.
"""

from __future__ import annotations

import ipaddress
import os
import time
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.appliance.channel import Message, close_all
from nsdata.appliance.child import BEAT_NS, PUBLISH_NS, Child
from nsdata.appliance.memory import port_ring, view
from nsdata.appliance.orphan import hold
from nsdata.appliance.sample import Sample
from nsdata.appliance.source import BATCH, DirectorySource, Failures, LoopSource, Source
from nsdata.capture import Batch, CaptureWriter
from nsdata.errors import CaptureError, EngineError, OutputError
from nsdata.fallback.ledger import Fate, LedgerSnapshot, Why
from nsdata.fallback.protection import BestEffort
from nsdata.path.port import FULL_SHARE, PENDING, Port
from nsdata.path.port_segments import Segments
from nsdata.path.status import StatusPage
from nsdata.verdict import FORWARDED

INSPECT, FALLBACK = 0, 1
# Words of the status page, in order; then packets by Why, then bytes by Why, then `EXPOSED` of each
# segment.
FIGURES = (
    "received_packets", "received_bytes",  # settled
    "held_packets", "held_bytes",  # by workers
    "mode", "share", "order",  # what it does, and the number of the order that said so
    "alone",  # it permits because the supervisor is silent
    "waiting_ns",  # the longest a slot has waited
    "forwarded_packets", "forwarded_bytes",
    "captures_failed",
    "clock_ns",  # the latest time stamp
    "missing",  # workers that take no frames
    "blocked",  # segments that are blocked while not inspected, a bit each
    "alone_packets", "alone_ns",  # that came while it was alone, and for how long it was
)  # fmt: skip
EXPOSED = ("permitted_packets", "permitted_bytes", "blocked_packets", "blocked_bytes")
LINGER_NS = 500_000_000  # at the end, for what workers hold
QUIET_NS = 1_000_000  # between two looks for answers
SAY_NS = 1_000_000_000  # between two words about best effort
PERMITTED = np.array([why.fate in (Fate.INSPECTED, Fate.BYPASSED) for why in Why] + [False])


def figures(counters: npt.NDArray[np.uint64]) -> dict[str, int]:
    """The named words of a port's status page."""
    return {name: int(counters[i]) for i, name in enumerate(FIGURES)}


def ledger_of(counters: npt.NDArray[np.uint64]) -> LedgerSnapshot:
    """The ledger on a port's status page, of frames that are settled."""
    start, n = len(FIGURES), len(Why)
    return LedgerSnapshot.from_counts(
        int(counters[0]), int(counters[1]),
        [int(x) for x in counters[start : start + n]],
        [int(x) for x in counters[start + n : start + 2 * n]],
    )  # fmt: skip


def exposed_of(counters: npt.NDArray[np.uint64], segments: int) -> npt.NDArray[np.uint64]:
    """On a port's status page: a row of EXPOSED for each segment, `default` last."""
    start = len(FIGURES) + 2 * len(Why)
    return counters[start : start + segments * len(EXPOSED)].reshape(segments, len(EXPOSED))


class PortProcess:
    """The loop. `plan`: workers, source, after_ns, supervisor (its page), silence_ns, forward,
    best_effort (of a queue: enter_ns, leave_percent; or None), segments (vlan and networks of the
    named ones), blocked (a bit for each that is, `default` last), lock (orphan.py)."""

    def __init__(self, child: Child, plan: dict[str, Any]) -> None:
        self.child = child
        segments = [(one["vlan"], _networks(one["networks"])) for one in plan.get("segments", [])]
        self.port = Port(plan["workers"], plan.get("seed", 0), Segments(segments))
        self.blocked = plan.get("blocked", 0)
        self.port.block(self.blocked)
        self.source = _source(plan["source"], plan.get("after_ns", 0))
        self.supervisor = StatusPage(view(plan["supervisor"]))
        self.silence_ns = plan["silence_ns"]
        limits = plan.get("best_effort")
        self.queues = [] if not limits else [BestEffort(str(i), *limits) for i in self.workers]
        self.passing = 0  # queues whose frames pass, a bit each
        self.best_effort_ns = self.publish_ns = 0
        self.told = INSPECT if plan.get("inspect", True) else FALLBACK
        self.share = FULL_SHARE
        self.order = 0
        self.alone_packets = self.alone_ns = 0
        self._turn_ns = 0  # when it was last seen to be alone; 0: it was not
        self.forwarded = [0, 0]
        self.captures_failed = 0
        self.failures = Failures()
        self.forward = CaptureWriter(plan["forward"]) if plan.get("forward") else None
        self.fate = np.zeros(4096, np.uint8)
        exposed = (len(segments) + 1) * len(EXPOSED)
        self.words = np.zeros(len(FIGURES) + 2 * len(Why) + exposed, np.uint64)
        self.sample: Sample | None = None
        for what in ("attach", "detach", "mode", "sample"):
            child.on(what, getattr(self, f"_{what}"))
        child.on("offer", self._offered)

    # --- orders -----------------------------------------------------------------------------

    def _attach(self, message: Message, descriptors: list[int]) -> None:
        worker = message["worker"]
        try:
            self.port.attach(worker, port_ring(*descriptors))
        except EngineError as error:  # it has written into it already: its word is worth nothing
            self.child.tell("mad", worker=worker, why=str(error), held=0)
        else:
            self.child.tell("attached", worker=worker)
        finally:
            close_all(descriptors)

    def _detach(self, message: Message, descriptors: list[int]) -> None:
        worker = message["worker"]
        self._collect(worker)
        self.child.tell("detached", worker=worker, held=self._let_go(worker), **self._now())

    def _offered(self, message: Message, descriptors: list[int]) -> None:
        self.source.offer(message["rate"])

    def _let_go(self, worker: int) -> int:
        """A worker takes no more frames; what it had goes on uninspected, unless its segment is
        blocked then. How many frames."""
        held = 0
        for slot in self.port.detach(worker):
            batch, fate = Batch(*slot[:-1]), slot[-1]
            held += len(batch)
            self._forward(batch, PERMITTED[fate])
        return held

    def _mode(self, message: Message, descriptors: list[int]) -> None:
        self.told, self.share = message["mode"], message["share"]
        self.order, self.blocked = message["order"], message["blocked"]
        self.port.block(self.blocked)
        self._publish()
        self.child.tell("mode", order=self.order, mode=self.told, **self._now())

    def _sample(self, message: Message, descriptors: list[int]) -> None:
        """Copy the next frames into memory, for a support report."""
        try:
            self.sample = Sample(descriptors[0], message["frames"], time.monotonic_ns())
        except OutputError:
            self.child.tell("sampled", frames=0)
        finally:
            close_all(descriptors)

    def _now(self) -> dict[str, int]:
        """How many frames had come when an order was obeyed: it holds from the next on."""
        received = self.port.counts()[0] + self.port.holding[0]
        return {"at_packet": received + 1, "at_ns": time.monotonic_ns()}

    @property
    def alone(self) -> bool:
        """The supervisor is gone, or silent for too long: nobody watches."""
        if self.child.orphan:
            return True
        silent_ns: int = time.monotonic_ns() - self.supervisor.beat_ns
        return bool(silent_ns > self.silence_ns)

    def _time_alone(self, now: int) -> None:
        """Add what has passed since the last turn, where it was alone at both ends."""
        alone = self.alone
        if alone and self._turn_ns:
            self.alone_ns += now - self._turn_ns
        self._turn_ns = now if alone else 0

    # --- frames -----------------------------------------------------------------------------

    def _offer(self, batch: Batch) -> None:
        n = len(batch)
        if n > len(self.fate):
            self.fate = np.zeros(n, np.uint8)
        fate = self.fate[:n]
        alone = self.alone
        self.alone_packets += n if alone else 0
        self.port.offer(
            batch.data, batch.offset, batch.caplen, batch.wirelen, batch.ts_ns, batch.linktype,
            fate, mode=FALLBACK if alone else self.told, share=self.share,
            best_effort=bool(self.queues), passing=self.passing,
        )  # fmt: skip
        settled = fate != PENDING
        if settled.any():
            self._forward(batch, settled & PERMITTED[np.minimum(fate, len(Why))])

    def _forward(self, batch: Batch, chosen: npt.NDArray[np.bool_]) -> None:
        """The frames that go on: counted, and written where that is asked for."""
        self.forwarded[0] += int(chosen.sum())
        self.forwarded[1] += int(batch.wirelen[chosen].sum())
        if self.forward is not None:
            try:
                self.forward.write(batch, chosen)
            except OutputError as error:
                self.forward = None  # traffic flows without its record
                self.child.tell("output", why=str(error))

    def _collect(self, worker: int) -> bool:
        try:
            done = self.port.collect(worker)
        except EngineError as error:
            held = self._let_go(worker)
            self.child.tell("mad", worker=worker, why=str(error), held=held)
            return True
        for data, offset, caplen, wirelen, ts_ns, linktype, verdicts in done:
            batch = Batch(data, offset, caplen, wirelen, ts_ns, linktype)
            self._forward(batch, np.isin(verdicts, FORWARDED))
        return bool(done)

    def _best_effort(self, now: int) -> None:
        """Which queues are too slow: their frames pass. Said once a second at most."""
        passed = self.port.counts()[2][Why.BEST_EFFORT] if self.queues else 0
        for worker, queue in enumerate(self.queues):
            decided = queue.observe(now, self.port.waiting_ns(worker), passed)
            if decided is None:
                continue
            self.passing ^= 1 << worker
            if now >= self.best_effort_ns:
                self.best_effort_ns = now + SAY_NS
                self.child.tell("best effort", worker=worker, on=queue.active, **decided.evidence)

    def _publish(self) -> None:
        received, received_bytes, packets, nbytes = self.port.counts()
        n = len(FIGURES)
        self.words[:n] = (
            received, received_bytes, *self.port.holding, self.told, self.share, self.order,
            self.alone, max(map(self.port.waiting_ns, range(self.port.workers))),
            *self.forwarded, self.captures_failed, self.source.last_ns, self.port.missing,
            self.blocked, self.alone_packets, self.alone_ns,
        )  # fmt: skip
        self.words[n : n + len(Why)] = packets
        self.words[n + len(Why) : n + 2 * len(Why)] = nbytes
        self.words[n + 2 * len(Why) :] = np.ravel(self.port.exposure())
        self.child.page.publish(self.words)

    @property
    def workers(self) -> range:
        """By number."""
        return range(self.port.workers)

    def loop(self) -> None:
        """Until it is told to stop; an orphan goes on until its source ends."""
        while not self.child.stopping:
            self.child.listen()
            now = time.monotonic_ns()
            self._time_alone(now)
            batch = None
            try:
                batch = self.source.next(now)
            except CaptureError as error:
                self.captures_failed += 1
                if failed := self.failures.add(str(error), now):
                    self.child.tell("capture", why=str(error), failed=failed)
            if self.sample is not None and self.sample.add(batch, now):
                self.child.tell("sampled", frames=self.sample.frames)
                self.sample = None
            if batch is not None:
                self._offer(batch)
            wait = 0 if batch is not None and len(batch) == BATCH else self.source.wait_ns(now)
            if wait or batch is None:
                self.port.flush()
            self._best_effort(now)
            answered = [self._collect(worker) for worker in self.workers]
            if wait or now >= self.publish_ns:
                self.publish_ns = now + PUBLISH_NS
                self._publish()
            if self.source.ended and not self.port.holding[0]:
                self.child.tell("ended")
                wait = BEAT_NS
                if self.child.orphan:
                    break
            if wait and not any(answered):
                self.child.pause(min(wait, QUIET_NS) if self.port.holding[0] else wait)
        self._finish()

    def _finish(self) -> None:
        """What workers hold is waited for, then permitted."""
        self.port.flush()
        limit = time.monotonic_ns() + LINGER_NS
        while self.port.holding[0] and time.monotonic_ns() < limit:
            if not any([self._collect(worker) for worker in self.workers]):
                time.sleep(QUIET_NS / 1e9)
        for worker in self.workers:
            self._collect(worker)
            self._let_go(worker)
        self._publish()
        self.source.close()
        if self.forward is not None:
            with suppress(OutputError):
                self.forward.close()
        self.child.tell("stopped", **self._now())


def _networks(texts: list[str]) -> list[tuple[int, bytes, int]]:
    networks = map(ipaddress.ip_network, texts)
    return [(one.version, one.network_address.packed, one.prefixlen) for one in networks]


def _source(plan: dict[str, Any], after_ns: int) -> Source:
    rate = plan.get("rate", 0)
    source: Source
    if "directory" in plan:
        source = DirectorySource(plan["directory"], rate or 0, after_ns)
    else:
        source = LoopSource(plan["captures"], rate or 0, plan.get("loops", 0), after_ns)
    if rate is None:
        source.offer(None)
    return source


def run(child: Child, plan: dict[str, Any]) -> None:
    """Be the port."""
    lock = hold(plan["lock"]) if plan.get("lock") else None
    process = PortProcess(child, plan)
    child.tell("ready")
    process.loop()
    if lock is not None:
        os.close(lock)
