"""Frames by the million through the Verilated block, with back-pressure, faults and re-arms.

The harness's scoreboard holds that no frame is lost, made, reordered or changed, and that only
what the flow table blocks is dropped. Here every verdict is judged:

- a frame that came and went while no fault was about has exactly the golden model's verdict;
- between the cycle the block recorded for a fault and the re-arm, what leaves is FAULT;
- no frame is dropped from that cycle on until the re-arm;
- in between, each is one of the two, and what must be dropped is dropped or permitted.

Run it alone for the figures:  python -m sim.bulk --frames 1000000
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nsdata.offload import registers as reg
from nsdata.offload import sequences as host
from nsdata.offload.entry import Verdict
from nsdata.offload.model import parse
from nsdata.offload.registers import ErrorClass
from nsdata.offload.rtl.block import CANCELLED, DROPPED, OUT, Block
from sim import points
from sim.timing import DROP_AFTER, DROP_BEHIND, GRACE, LATENCY
from sim.traffic import Batch, World, batch

# (probability of holding per cycle, longest burst) of source and sink
MOODS = ((0.0, 1), (0.0, 1), (0.1, 3), (0.5, 2), (0.02, 200))
CHUNK = 10_000
ASKS = 42  # bytes of a frame from which on its flow is looked up: Ethernet, IPv4, UDP


@dataclass
class Figures:
    """What a soak saw."""

    width: int
    frames: int = 0
    bytes: int = 0
    cycles: int = 0
    beats: int = 0
    exact: int = 0  # frames judged by the model alone
    bypassed: int = 0  # frames that had to be FAULT
    dropped: int = 0
    cancelled: int = 0
    resets: int = 0
    rearms: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


@dataclass
class Window:
    """A time in which a fault was about: armed frames before `begin` and after `end` are exact.

    From `bypass` (the recorded cycle) to `until`, everything that leaves is FAULT.
    """

    begin: int
    end: int
    bypass: int = 0
    until: int = 0


def soonest_drop(got: NDArray[np.void], width: int) -> NDArray[np.int64]:
    """Per result, in order: the first cycle in which the block could have dropped that frame.

    A drop leaves no trace on m_axis; but it waits for the frame's own latency, and only the last
    few beats of the frame before it can still be on their way out when it happens.
    """
    soonest = got["in_first"].astype(np.int64) + DROP_AFTER
    long = got["length"].astype(np.int64) > DROP_BEHIND * (width // 8)
    led = np.flatnonzero((long & (got["fate"] == OUT))[:-1]) + 1
    soonest[led] = np.maximum(soonest[led], got["out_first"].astype(np.int64)[led - 1])
    return soonest


def counted(
    sequence: host.Sequence_[tuple[reg.RearmReason, ...]], seen: set[ErrorClass]
) -> host.Sequence_[tuple[reg.RearmReason, ...]]:
    """`sequence`; what the block has counted before it clears its counters goes into `seen`."""
    answer: int | None = None
    while True:
        try:
            operation = sequence.send(answer)
        except StopIteration as end:
            return end.value
        if isinstance(operation, host.Write) and operation.address == reg.ERR_CLEAR.address:
            report = yield from host.read_errors()
            seen |= {error for error in ErrorClass if report.counts[error]}
        answer = yield operation


class Soak:
    """One block, one world, a seeded course of events."""

    def __init__(self, width: int, seed: int, block: Block, world: World) -> None:
        self.rng = random.Random(seed)
        self.block = block
        self.world = world
        self.figures = Figures(width)
        self.expected: list[NDArray[np.void]] = []
        self.results: list[NDArray[np.void]] = []
        self.windows: list[Window] = []
        self.zero = 0  # the harness's cycle in which reset ended: the block counts from there

    def bring_up(self) -> None:
        """Reset, load, arm; all of it a time in which anything may be uninspected."""
        begin = self.block.cycle
        self.block.reset()
        self.zero = self.block.cycle
        assert host.drive(self.block, host.get(reg.BUILD_TIMING, "latency")) == LATENCY
        host.drive(self.block, host.bring_up(self.world.tables, hold=32))
        self.windows.append(Window(begin, self.block.cycle))

    def quiet(self) -> None:
        """No error has come that was not asked for."""
        report = host.drive(self.block, host.read_errors())
        if report.status or report.fault or report.state != reg.State.ARMED:
            names = [error.name for error in ErrorClass if report.status >> error & 1]
            when = self.zero + report.record_cycle
            raise AssertionError(
                f"an error nobody asked for: {names}, recorded in cycle {when}, {report}; "
                f"windows {self.windows[-3:]}"
            )

    def mood(self) -> None:
        """Other idle and back-pressure."""
        for group, hold in (("idle", self.block.idle), ("back-pressure", self.block.pause)):
            p, burst = self.rng.choice(MOODS)
            hold(p, burst)
            how = "none" if not p else "bursts" if burst > 100 else "random"
            points.hit(group, how, self.figures.width)

    def fault(self, *errors: ErrorClass) -> None:
        """Inject at once, wait until recorded, let bypass run, re-arm.

        What only inspected frames can show waits behind a fault of another class: it is seen
        after the re-arm, and is a fault of its own then.
        """
        block = self.block
        self.quiet()
        if ErrorClass.TABLE_CRC in errors:  # the background check needs gaps
            block.idle(0.3, 3)
        waiting = set(errors)
        begin = block.cycle
        host.drive(block, host.inject(*errors))
        while waiting:
            waiting -= self.struck(waiting, begin)
            begin = block.cycle
            # It is watched while the block is armed, and a re-arm begins with a heartbeat.
            waiting.discard(ErrorClass.HEARTBEAT)

    def struck(self, waiting: set[ErrorClass], begin: int) -> set[ErrorClass]:
        """One fault, from the cycle `begin` on, to the re-arm: the classes of `waiting` in it."""
        block, rng = self.block, self.rng
        said = " and ".join(sorted(error.name for error in waiting))
        window = Window(begin, 0)
        bits = sum(1 << error for error in waiting)
        # A corrected error makes no fault: then it is the other that is waited for.
        awaited = bits & ~(1 << ErrorClass.ECC_CE) or bits
        for _ in range(4000):
            if block.read(reg.ERR_STATUS.address) & awaited:
                break
            block.wait(rng.randint(1, 100))
        else:
            raise AssertionError(f"{said} was injected and not seen; before: {self.figures.errors}")
        report = host.drive(block, host.read_errors())
        seen = {error for error in waiting if report.status >> error & 1}
        assert not report.status & ~bits, f"{said}: {report}"
        assert all(report.counts[error] >= 1 for error in seen), f"{said} not counted: {report}"
        assert report.record_valid and report.record_class in seen, f"{said}: {report}"
        if seen == {ErrorClass.ECC_CE}:  # corrected: nothing happens, verdicts stay exact
            assert not report.fault, "a corrected error latched the fault"
            block.write(reg.ERR_STATUS.address, 1 << ErrorClass.ECC_CE)
            block.write(reg.ERR_CLEAR.address, 3)
            self.figures.errors[ErrorClass.ECC_CE.name] += 1
            return seen
        assert report.fault and report.state == reg.State.FAULT, f"{said}: {report}"
        if report.record_class != ErrorClass.ECC_CE:  # else the first fatal one's cycle is unknown
            window.bypass = self.zero + report.record_cycle
            block.wait(rng.randint(0, 3000))
            window.until = block.cycle
        host.drive(block, counted(host.rearm(), seen))
        assert seen <= waiting, f"{said}: {seen}"
        window.end = block.cycle
        self.windows.append(window)
        self.figures.rearms += 1
        for error in seen:
            self.figures.errors[error.name] += 1
        return seen

    def feed(self, frames: Batch) -> None:
        """Queue frames with the verdicts the model wants."""
        inspected = self.world.model.inspect(*frames)
        wanted = np.ascontiguousarray(inspected["verdict"])
        self.expected.append(inspected)
        mark = np.frombuffer(self.rng.randbytes(len(wanted)), np.uint8) & 1
        self.block.feed(*frames, mark=mark, may_drop=wanted == Verdict.BLOCK)
        self.figures.bytes += int(frames.length.sum())

    def collect(self) -> None:
        """Take what has come out; judge it when no window can touch it any more."""
        self.results.append(self.block.collect())

    def judge(self) -> None:
        """Every verdict of the frames collected since the last time. AssertionError names one."""
        self.collect()
        got = np.concatenate(self.results)
        if not len(got):
            return
        inspected = np.concatenate(self.expected)
        inspected, rest = inspected[: len(got)], inspected[len(got) :]
        wanted = inspected["verdict"]
        figures = self.figures
        verdict, fate = got["verdict"], got["fate"]
        came, gone = got["in_first"].astype(np.int64), got["out_last"].astype(np.int64)
        left = got["out_first"].astype(np.int64)
        cancelled = fate == CANCELLED
        exact = ~cancelled
        bypass = np.zeros(len(got), bool)
        for window in self.windows:
            exact &= (gone < window.begin) | (came > window.end)
            if window.until:
                # Of a frame already under way, only tlast's verdict counts, and a last beat that
                # the sink held when the fault came keeps what it said: AXI wants it so.
                after = (gone > window.bypass) & (gone < window.until) & (fate == OUT)
                if after.any():
                    held = int(after.argmax())
                    after[held] = verdict[held] != wanted[held]
                bypass |= after & (gone > window.bypass + GRACE)
        self._expect(exact, verdict == wanted, got, wanted, "not the model's verdict")
        self._expect(bypass, verdict == Verdict.FAULT, got, wanted, "not FAULT during a fault")
        between = ~cancelled & ~exact & (wanted != Verdict.BLOCK)
        fine = (verdict == wanted) | (verdict == Verdict.FAULT)
        # The prefilter may be empty in a window that loads it: then SUSPECT is right as well.
        fine |= verdict == Verdict.SUSPECT
        self._expect(between, fine, got, wanted, "neither the model's verdict nor FAULT")
        for window in self.windows:
            if window.until:
                inside = (soonest_drop(got, figures.width) > window.bypass + GRACE) & (
                    gone < window.until
                )
                self._expect(inside, fate != DROPPED, got, wanted, "dropped during a fault")
        blocked = ~cancelled & (wanted == Verdict.BLOCK) & (fate == OUT)
        self._expect(blocked, verdict == Verdict.FAULT, got, wanted, "blocked flow let out")
        in_order = (left <= gone) & (came <= got["in_last"].astype(np.int64))
        assert (in_order | cancelled).all()
        points.frames(figures.width, inspected[exact], got["length"][exact], verdict[exact])
        if bypass.any():
            points.hit("verdict", Verdict.FAULT.name, figures.width)
        figures.frames += len(got)
        figures.exact += int(exact.sum())
        figures.bypassed += int(bypass.sum())
        figures.dropped += int((fate == DROPPED).sum())
        figures.cancelled += int(cancelled.sum())
        for value in Verdict:
            figures.verdicts[value.name] += int((verdict[~cancelled] == value).sum())
        self.results, self.expected = [], [rest]
        self.windows = self.windows[-1:]

    def _expect(
        self, where: NDArray[np.bool_], fine: NDArray[np.bool_], got: NDArray[np.void],
        wanted: NDArray[np.uint8], says: str,
    ) -> None:  # fmt: skip
        bad = np.flatnonzero(where & ~fine)
        if len(bad):
            i = int(bad[0])
            raise AssertionError(
                f"{len(bad)} frames: {says}; first: wanted {wanted[i]}, "
                f"{got.dtype.names} = {got[i]}; windows {self.windows[-4:]}"
            )

    def run(self, frames: int, faults_per_chunk: int, tick: Callable[[int], None]) -> Figures:
        """`frames` frames; `tick` is told after each chunk how many are done."""
        rng, block = self.rng, self.block
        self.bring_up()
        errors = list(ErrorClass)
        begin = block.cycle
        while self.figures.frames < frames:
            self.mood()
            self.feed(self.world.frames(min(CHUNK, frames - self.figures.frames)))
            for _ in range(faults_per_chunk):
                block.wait(rng.randint(1, 4000))
                if block.pending < 1500:
                    break
                self.fault(errors[sum(self.figures.errors.values()) % len(errors)])
                self.mood()
            if rng.random() < 0.25:
                block.wait(rng.randint(1, 3000))
                self.bring_up()
                self.figures.resets += 1
            block.drain()
            host.drive(block, host.beat())
            self.quiet()
            self.judge()
            tick(self.figures.frames)
        self.check_statistics()
        self.figures.cycles = block.cycle - begin
        self.figures.beats = block.beats_in
        return self.figures

    def check_statistics(self) -> None:
        """At rest, what came in is the sum of the five verdicts (since the last reset)."""
        found = host.drive(self.block, host.snapshot())
        total = sum(found[name] for name in ("clear", "suspect", "bypass", "block", "fault"))
        assert found["frames_in"] == total, f"statistics do not add up: {found}"


def of_size(world: World, rng: random.Random, size: int, count: int) -> Batch:
    """`count` frames of `size` bytes, none to be dropped: every other one the head of a frame that
    asks the flow table, where `size` has room for it, and bytes at random behind."""
    heads = [head for head in world.fine if parse(head).lookup]
    rng.shuffle(heads)
    frames: list[bytes] = []
    while len(frames) < count:
        frame = rng.randbytes(size)
        if len(frames) % 2 and size >= ASKS:
            # Longer than the header says, or cut: the key is looked up all the same.
            frame = (heads[len(frames) // 2 % len(heads)] + frame)[:size]
        if world.model.verdict(frame) == Verdict.BLOCK:
            del heads[len(frames) // 2 % len(heads)]
            continue
        frames.append(frame)
    return batch(frames)


def throughput(block: Block, world: World, sizes: list[int]) -> dict[int, float]:
    """Beats per cycle at each frame size, source always valid and sink always ready: 1.0 is due.

    The block is armed, and every frame is inspected: the verdicts are the model's, and from a size
    of ASKS on some asked the flow table. Raises AssertionError when that is not so, or a rate is
    less.
    """
    lanes = block.data_w // 8
    block.reset()
    host.drive(block, host.bring_up(world.tables))
    block.idle(0)
    block.pause(0)
    rates = {}
    rng, seen = random.Random(1), set()
    for size in sizes:
        beats = -(-size // lanes)
        count = max(400 // beats, 4)
        frames = of_size(world, rng, size, count)
        said = world.model.inspect(*frames)
        assert size < ASKS or said["lookup"].any(), f"{size} bytes: no flow is looked up"
        block.feed(*frames)
        block.drain()
        got = block.collect()
        took_in = int(got["in_last"][-1] - got["in_first"][0]) + 1
        took_out = int(got["out_last"][-1] - got["out_first"][0]) + 1
        rates[size] = beats * count / max(took_in, took_out)
        assert took_in == took_out == beats * count, (
            f"{size} bytes: {beats * count} beats in {took_in} cycles, out in {took_out}"
        )
        wrong = np.flatnonzero(got["verdict"] != said["verdict"])
        assert not len(wrong), f"{size} bytes: frame {wrong[0]} is {got['verdict'][wrong[0]]}"
        seen |= set(got["verdict"].tolist())
    assert seen == {Verdict.CLEAR, Verdict.SUSPECT, Verdict.BYPASS}, f"only {seen} were seen"
    return rates
