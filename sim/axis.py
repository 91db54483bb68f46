"""AXI4-Stream agents for cocotb: whole beats as integers, one coroutine per agent.

A beat is one Python integer per signal; byte 0 of a frame is tdata[7:0]. Every agent finds its
signals by prefix (`s_axis`, `m_axis`) and works on the rising edge of one clock.

Idle and back-pressure come from patterns: iterators over cycles that say "hold" (True: no tvalid,
or no tready, in this cycle).
"""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cocotb
from cocotb.triggers import Event, RisingEdge

Pattern = Iterator[bool]


def never() -> Pattern:
    """Never hold."""
    while True:
        yield False


def sometimes(p: float, rng: random.Random | None = None) -> Pattern:
    """Hold each cycle with probability `p`."""
    draw = (rng or random).random
    while True:
        yield draw() < p


def bursts(run: int, hold: int, rng: random.Random | None = None) -> Pattern:
    """Up to `run` free cycles, then up to `hold` held ones, again and again."""
    draw = (rng or random).randint
    while True:
        yield from (False for _ in range(draw(1, run)))
        yield from (True for _ in range(draw(1, hold)))


def pattern(name: str, rng: random.Random | None = None) -> Pattern:
    """A pattern by name, for parametrised tests: none, random, bursts, heavy."""
    made: dict[str, Callable[[], Pattern]] = {
        "none": never,
        "random": lambda: sometimes(0.5, rng),
        "bursts": lambda: bursts(40, 60, rng),
        "heavy": lambda: sometimes(0.9, rng),
    }
    return made[name]()


PATTERNS = ("none", "random", "bursts")


class Beat(NamedTuple):
    """One transfer as the wires hold it."""

    data: int
    keep: int
    last: int
    user: int = 0


@dataclass
class Frame:
    """A frame as it was seen; cycles count rising edges since the agent was made."""

    data: bytes
    user: int = 0  # tuser on tlast
    users: list[int] = field(default_factory=list)  # tuser of every beat
    start: int = 0  # cycle of the first beat's handshake
    shown: int = 0  # cycle in which it was first held out: later ones of a stall are the sink's
    end: int = 0  # cycle of the last beat's handshake
    beats: list[Beat] = field(default_factory=list)


def to_beats(data: bytes, lanes: int, user: int = 0) -> list[Beat]:
    """`data` cut into beats of `lanes` bytes; tkeep all ones but on the last."""
    full = (1 << lanes) - 1
    beats = []
    for at in range(0, len(data), lanes):
        chunk = data[at : at + lanes]
        last = at + lanes >= len(data)
        beats.append(
            Beat(int.from_bytes(chunk, "little"), full >> (lanes - len(chunk)), int(last), user)
        )
    return beats


class _Agent:
    """Signals of one stream by prefix; missing tkeep, tlast or tuser read as all ones and 0."""

    def __init__(self, dut: Any, prefix: str, clock: Any = None) -> None:
        self.dut = dut
        self.prefix = prefix
        self.clock = dut.clk if clock is None else clock
        self.tdata = getattr(dut, f"{prefix}_tdata")
        self.tvalid = getattr(dut, f"{prefix}_tvalid")
        self.tready = getattr(dut, f"{prefix}_tready", None)
        self.tkeep = getattr(dut, f"{prefix}_tkeep", None)
        self.tlast = getattr(dut, f"{prefix}_tlast", None)
        self.tuser = getattr(dut, f"{prefix}_tuser", None)
        self.lanes = len(self.tdata) // 8
        self._task: Any = None

    def _start(self) -> None:
        self._task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        raise NotImplementedError

    def _stop(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()


class AxisSource(_Agent):
    """Drives a stream. tvalid, once high, stays until tready; idle falls between beats only."""

    def __init__(self, dut: Any, prefix: str = "s_axis", clock: Any = None) -> None:
        super().__init__(dut, prefix, clock)
        self.idle: Pattern = never()
        self.beats: deque[Beat] = deque()
        self.sent = 0  # beats handed over
        self._work = Event()
        self._empty = Event()
        self._empty.set()
        self.tvalid.value = 0
        self._start()

    def send(self, data: bytes, user: int = 0) -> None:
        """Queue one frame; `user` stands on each of its beats. Does not wait."""
        self.send_beats(to_beats(data, self.lanes, user))

    def send_beats(self, beats: Iterable[Beat]) -> None:
        """Queue beats as they are, legal or not."""
        self.beats.extend(beats)
        if self.beats:
            self._empty.clear()
            self._work.set()

    async def drained(self) -> None:
        """Wait until every queued beat was handed over."""
        await self._empty.wait()

    def clear(self) -> None:
        """Forget what is queued and lower tvalid at once, mid-frame or not: for a reset."""
        self._stop()
        self.beats.clear()
        self.tvalid.value = 0
        self._work.clear()
        self._empty.set()
        self._start()

    async def _run(self) -> None:
        edge = RisingEdge(self.clock)
        tdata, tkeep, tlast, tuser = self.tdata, self.tkeep, self.tlast, self.tuser
        tvalid, tready, beats = self.tvalid, self.tready, self.beats
        high = False
        while True:
            if not beats:
                tvalid.value = 0
                high = False
                self._empty.set()
                self._work.clear()
                await self._work.wait()
                await edge
            while next(self.idle):
                if high:
                    tvalid.value = 0
                    high = False
                await edge
            data, keep, last, user = beats[0]
            tdata.value = data
            if tkeep is not None:
                tkeep.value = keep
            if tlast is not None:
                tlast.value = last
            if tuser is not None:
                tuser.value = user
            if not high:
                tvalid.value = 1
                high = True
            await edge
            while tready is not None and not tready.value:
                await edge
            beats.popleft()
            self.sent += 1


class ProtocolError(AssertionError):
    """A stream broke AXI4-Stream."""


class AxisMonitor(_Agent):
    """Watches a stream: collects frames, and asserts that nothing changes before tready.

    `strict` also asserts tkeep: all ones before tlast, contiguous from bit 0 and not zero on it.
    `reset`: the reset signal, during which nothing is judged and the frame in progress forgotten.
    """

    def __init__(
        self, dut: Any, prefix: str = "m_axis", clock: Any = None, *,
        reset: Any = None, strict: bool = True, keep_beats: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(dut, prefix, clock)
        self.reset = getattr(dut, "rst", None) if reset is None else reset
        self.strict = strict
        self.keep_beats = keep_beats
        self.frames: deque[Frame] = deque()
        self.cycle = 0
        self.held = 0  # cycles in which tvalid waited for tready
        self._arrived = Event()
        self._partial: list[Beat] = []
        self._start()

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._partial)

    async def recv(self) -> Frame:
        """The next frame, waiting for it."""
        while not self.frames:
            self._arrived.clear()
            await self._arrived.wait()
        return self.frames.popleft()

    def clear(self) -> None:
        """Forget the frames collected and the one in progress."""
        self.frames.clear()
        self._partial.clear()

    def _ready(self) -> int:
        return 1 if self.tready is None else int(self.tready.value)

    def _drive(self) -> None:
        """For the sink: decide the next cycle's tready."""

    async def _run(self) -> None:
        edge = RisingEdge(self.clock)
        tvalid, reset = self.tvalid, self.reset
        waiting: Beat | None = None
        begin = shown = 0
        self._drive()
        while True:
            await edge
            self.cycle += 1
            if reset is not None and reset.value:
                waiting = None
                self._partial.clear()
                self._drive()
                continue
            if not tvalid.value:
                if waiting is not None:
                    raise ProtocolError(f"{self.prefix}: tvalid fell before tready")
                self._drive()
                continue
            beat = self._sample()
            if waiting is not None and beat != waiting:
                raise ProtocolError(
                    f"{self.prefix}: payload changed before tready: {waiting} -> {beat}"
                )
            if not self._partial and waiting is None:
                shown = self.cycle
            if not self._ready():
                waiting = beat
                self.held += 1
                self._drive()
                continue
            waiting = None
            if not self._partial:
                begin = self.cycle
            self._partial.append(beat)
            if beat.last:
                self._finish(begin, shown)
            elif self.strict and beat.keep != (1 << self.lanes) - 1:
                raise ProtocolError(f"{self.prefix}: tkeep {beat.keep:#x} before the last beat")
            self._drive()

    def _sample(self) -> Beat:
        return Beat(
            int(self.tdata.value),
            (1 << self.lanes) - 1 if self.tkeep is None else int(self.tkeep.value),
            1 if self.tlast is None else int(self.tlast.value),
            0 if self.tuser is None else int(self.tuser.value),
        )

    def _finish(self, begin: int, shown: int) -> None:
        beats, lanes = self._partial, self.lanes
        keep = beats[-1].keep
        if self.strict and (keep == 0 or keep & (keep + 1)):
            raise ProtocolError(f"{self.prefix}: tkeep {keep:#x} on the last beat")
        data = b"".join(b.data.to_bytes(lanes, "little") for b in beats[:-1])
        data += beats[-1].data.to_bytes(lanes, "little")[: keep.bit_count()]
        users = [b.user for b in beats]
        kept = list(beats) if self.keep_beats else []
        self.frames.append(Frame(data, users[-1], users, begin, shown, self.cycle, kept))
        beats.clear()
        self._arrived.set()


class AxisSink(AxisMonitor):
    """A monitor that also drives tready, held down by the pattern `pause`."""

    def __init__(self, dut: Any, prefix: str = "m_axis", clock: Any = None, **options: Any) -> None:
        self.pause: Pattern = never()
        self._driven = -1
        super().__init__(dut, prefix, clock, **options)

    def _ready(self) -> int:
        return self._driven

    def _drive(self) -> None:
        ready = int(not next(self.pause))
        if ready != self._driven:
            self.tready.value = ready
            self._driven = ready
