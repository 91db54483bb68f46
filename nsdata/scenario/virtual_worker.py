"""Processes in virtual time: what the watch sees of them, and a worker's real pipeline.

A worker's frames, verdicts, counts and events are real. Virtual are its time (a slot of n frames
takes n / capacity), its heartbeat, its memory (a number) and its life.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nsdata.appliance.worker import EVENT_ROOM, NOBODY_JUDGES, RECOVER_NS, worker_types
from nsdata.assembly import LoadedRules, build_engine
from nsdata.capture import Batch
from nsdata.config.settings import Settings
from nsdata.fallback.drop_meter import DropMeter
from nsdata.fallback.guard import Guard
from nsdata.fallback.reasons import State
from nsdata.offload import registers
from nsdata.offload.driven import DrivenOffload
from nsdata.offload.session import Session, open_session
from nsdata.output.events import EveWriter
from nsdata.path.ring import LARGEST_FRAME, Ring, ring_bytes
from nsdata.pipeline import Pipeline
from nsdata.scenario.scenario import Appliance

BLOCK = "model:64"  # the block's model behind its registers
MAD_SLOTS = 1 << 60  # that a corrupted worker claims to have judged


@dataclass(slots=True)
class Process:
    """One start of one process."""

    name: str
    attempt: int
    pid: int
    ready_ns: int  # when it gets ready
    rss: int
    ready: bool = False
    gone: bool = False
    hung_ns: int | None = None  # since when it hangs
    beats: int = 0
    beat_ns: int = 0

    @property
    def works(self) -> bool:
        """Ready, there, and not hung."""
        return self.ready and not self.gone and self.hung_ns is None

    def due(self, now_ns: int) -> bool:
        """Whether it gets ready now."""
        waits = not self.ready and not self.gone and self.hung_ns is None
        return waits and self.ready_ns <= now_ns

    def beat(self, now_ns: int) -> None:
        """A sign of life, unless it cannot give one."""
        if not self.gone and self.hung_ns is None:
            self.beats += 1
            self.beat_ns = now_ns

    def hang(self, now_ns: int) -> None:
        """It stops, with what it has in hand."""
        if self.hung_ns is None:
            self.hung_ns = now_ns

    def go_on(self, now_ns: int) -> None:
        """It goes on where it stopped."""
        self.hung_ns = None


@dataclass(slots=True)
class Worker(Process):
    """A worker that was started; `begin` when it is ready."""

    number: int = 0
    capacity: float | None = None
    ring: Ring | None = None
    pipeline: Pipeline | None = None
    session: Session | None = None
    lines: deque[bytes] = field(default_factory=deque)  # that no writer has taken
    size: int = 0
    lines_lost: int = 0
    served_ns: int | None = None  # when the slot under way is judged
    counts: tuple[Any, ...] = ()
    sids: Sequence[int] = ()  # by source rule
    memory: mmap.mmap | None = None
    block_ns: int = 0
    block_failed: bool = False
    mad: bool = False

    def begin(self, loaded: LoadedRules, settings: Settings, inline: bool, offload: bool) -> None:
        """Its engine, as nsdata.appliance.worker makes it."""
        engine = build_engine(loaded, settings, inline=inline)
        eve = settings.outputs.eve
        writer = EveWriter(None, worker_types(eve.types), payload=eve.payload, packet=eve.packet)
        guard = Guard.build(DropMeter(minimum_packets=NOBODY_JUDGES))
        if offload:
            self.session = open_session(BLOCK, engine, loaded, settings)
        self.pipeline = Pipeline(engine, guard, writer, offload=self.session)
        self.pipeline.set_rules(loaded.fragments, loaded.sids)
        self.counts, self.sids = engine.counts(), loaded.sids

    def wire(self, appliance: Appliance) -> Ring:
        """A ring that was never used; the port's side of it."""
        room = LARGEST_FRAME
        front, back = (
            mmap.mmap(-1, size) for size in ring_bytes(appliance.slots, appliance.frames, room)
        )
        mine = Ring(front, back, appliance.slots, appliance.frames, room)
        self.ring, self.memory, self.served_ns = Ring(front, back), back, None
        return mine

    def corrupt(self) -> None:
        """Write over the memory in which it answers: it claims slots that it was never given."""
        if self.memory is not None:
            self.memory[8:16] = MAD_SLOTS.to_bytes(8, "little")
            self.mad = True

    # --- frames -----------------------------------------------------------------------------

    def next_ns(self, now_ns: int) -> int | None:
        """When the slot it has is judged; None while it has none, or does not work."""
        if not self.works or self.ring is None or self.mad:
            return None
        if self.served_ns is None:
            slot = self.ring.take()
            if slot is None:
                return None
            took = len(slot[1]) * 1e9 / self.capacity if self.capacity else 0
            self.served_ns = now_ns + int(took)
        return self.served_ns

    def serve(self, now_ns: int) -> bool:
        """Judge the slots that are due; whether there was one."""
        worked = False
        while (due := self.next_ns(now_ns)) is not None and due <= now_ns:
            assert self.ring is not None and self.pipeline is not None
            slot = self.ring.take()
            assert slot is not None
            data, offset, caplen, wirelen, ts_ns, linktype, verdicts = slot
            batch = Batch(data, offset, caplen, wirelen, ts_ns, linktype)
            verdicts[:] = self.pipeline.feed(batch)
            before = self.counts
            self.counts = now = self.pipeline.engine.counts()
            self.ring.hand_back(
                [a - b for a, b in zip(now[2], before[2], strict=True)],
                [a - b for a, b in zip(now[3], before[3], strict=True)],
            )
            self.keep(self.pipeline.eve.take())
            self.served_ns = None
            worked = True
        return worked

    def linger(self, end_ns: int, length_ns: int) -> None:
        """Judge what it can in so long after the end."""
        while (due := self.next_ns(end_ns)) is not None and due <= end_ns + length_ns:
            self.serve(due)
            end_ns, length_ns = due, end_ns + length_ns - due

    def go_on(self, now_ns: int) -> None:
        """It goes on where it stopped."""
        if self.hung_ns is not None and self.served_ns is not None:
            self.served_ns += now_ns - self.hung_ns
        super(Worker, self).go_on(now_ns)

    # --- events -----------------------------------------------------------------------------

    def keep(self, lines: bytes) -> None:
        """Lines for the writer; lost when there is no room, as in a worker's process."""
        if not lines:
            return
        if self.size + len(lines) > EVENT_ROOM:
            self.lines_lost += lines.count(b"\n")
        else:
            self.lines.append(lines)
            self.size += len(lines)

    def swap(self, loaded: LoadedRules, settings: Settings) -> None:
        """Inspect with other rules."""
        if self.pipeline is None:
            return
        self.pipeline.swap_rules(loaded.base, loaded.fragments, loaded.sids)
        self.sids = loaded.sids
        if self.session is not None:
            self.pipeline.load_offload(loaded, self.session.image_for(loaded, settings))

    def inject(self, error: str) -> None:
        """An error of this class, through the block's own register."""
        block = None if self.session is None else self.session.offload
        if isinstance(block, DrivenOffload):
            number = registers.ErrorClass[error]
            block.driver.transport.write(registers.ERR_INJECT.address, 1 << number)

    def block(self, now_ns: int) -> dict[str, Any] | None:
        """The block's sign of life. What the supervisor is to be told: `fpga` when it failed,
        `over` when it was brought back."""
        session, pipeline = self.session, self.pipeline
        if session is None or pipeline is None or not self.works:
            return None
        if session.active:
            pipeline.idle()
        if not session.active and not self.block_failed:
            self.block_failed, self.block_ns = True, now_ns + RECOVER_NS
            return {"fpga": session.last, "software": session.software}
        if not session.active and not session.software and now_ns >= self.block_ns:
            self.block_ns = now_ns + RECOVER_NS
            pipeline.switch(State.NORMAL, pipeline.last_ns)
        if session.active and self.block_failed:
            self.block_failed = False
            return {"over": True}
        return None

    def finish(self) -> None:
        """End flows; what is left to say is said."""
        if self.pipeline is not None:
            self.pipeline.finish()
            self.keep(self.pipeline.eve.take())

    def close(self) -> None:
        """Let go of the block."""
        if self.session is not None:
            self.session.close()
            self.session = None
