"""nsd_stats: every event is counted once, and a snapshot is of one cycle."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from sim.runner import simulate
from sim.tb import TB

NAMES = (
    "frames_in", "clear", "suspect", "bypass", "block", "fault", "beats_in", "backpressure",
)  # fmt: skip
VERDICTS = {0: "fault", 1: "clear", 2: "suspect", 3: "bypass", 4: "block"}


class StatsTB(TB):
    """Counts what it strobes."""

    def __init__(self, dut: Any) -> None:
        super().__init__(dut)
        self.counts = dict.fromkeys(NAMES, 0)
        self.now = 0
        self.quiet()
        dut.cycle.value = 0
        dut.frame_out_verdict.value = 0

    def quiet(self) -> None:
        """No event."""
        for name in ("snapshot", "frame_in", "frame_out", "beat_in", "backpressure"):
            getattr(self.dut, name).value = 0

    async def cycle(self, snapshot: int = 0, **events: int) -> dict[str, int]:
        """One cycle with these events; what was counted before it."""
        before = {**self.counts, "cycle": self.now}
        self.quiet()
        self.dut.snapshot.value = snapshot
        self.dut.cycle.value = self.now
        for name, value in events.items():
            getattr(self.dut, name).value = value
        await RisingEdge(self.clk)
        self.now += 1
        self.counts["frames_in"] += events.get("frame_in", 0)
        self.counts["beats_in"] += events.get("beat_in", 0)
        self.counts["backpressure"] += events.get("backpressure", 0)
        if events.get("frame_out"):
            self.counts[VERDICTS.get(events["frame_out_verdict"], "fault")] += 1
        return before

    def snap(self) -> dict[str, int]:
        """The snapshot as it stands."""
        return {n: int(getattr(self.dut, f"snap_{n}").value) for n in (*NAMES, "cycle")}


def random_events(tb: StatsTB) -> dict[str, int]:
    """Any events at once, verdicts that do not exist included."""
    events = {name: tb.rng.getrandbits(1) for name in ("frame_in", "beat_in", "backpressure")}
    events["frame_out"] = tb.rng.getrandbits(1)
    events["frame_out_verdict"] = tb.rng.randrange(8)
    return events


@cocotb.test()
async def every_event_counts_once(dut: Any) -> None:
    """Random events without pause; snapshots at random, also back to back."""
    tb = StatsTB(dut)
    await tb.reset()
    taken = 0
    due: list[tuple[int, dict[str, int]]] = []  # from which cycle on, what
    shown = {**dict.fromkeys(NAMES, 0), "cycle": 0}
    for _ in range(4000):
        snapshot = int(tb.rng.random() < 0.02)
        if due and tb.now < due[-1][0]:
            snapshot = 0  # the one before is still being taken
        before = await tb.cycle(snapshot, **random_events(tb))
        if due and tb.now - 1 >= due[0][0]:
            shown = due.pop(0)[1]
            taken += 1
        if not due:
            assert tb.snap() == shown
        if snapshot:
            due.append((tb.now - 1 + 3, before))
    assert taken > 40 and shown["clear"] > 100


@cocotb.test()
async def a_snapshot_holds(dut: Any) -> None:
    """It does not move until the next, and counting does not stop for it."""
    tb = StatsTB(dut)
    await tb.reset()
    for _ in range(10):
        await tb.cycle(frame_in=1)
    before = await tb.cycle(1, frame_in=1)
    for _ in range(50):
        await tb.cycle(frame_in=1)
        if tb.now > before["cycle"] + 3:
            assert tb.snap() == before
    assert before["frames_in"] == 10
    before = await tb.cycle(1)
    await tb.cycle()
    await tb.cycle()
    await tb.cycle()
    assert tb.snap() == before and before["frames_in"] == 61


@cocotb.test()
async def the_halves_of_a_snapshot_belong_together(dut: Any) -> None:
    """Around the carry into the high word, in every cycle."""
    tb = StatsTB(dut)
    await tb.reset()
    for offset in range(12):
        low, high = 0xFFFF_FFFA, 0x1234
        counter = dut.g_counter[6]
        counter.low_reg.value, counter.high_reg.value = low, high
        tb.counts["beats_in"] = high << 32 | low
        for _ in range(offset):
            await tb.cycle(beat_in=1)
        before = await tb.cycle(1, beat_in=1)
        for _ in range(3):
            await tb.cycle(beat_in=1)
        assert tb.snap()["beats_in"] == before["beats_in"], offset
        for _ in range(3):
            await tb.cycle()


@cocotb.test()
async def reset_starts_from_nothing(dut: Any) -> None:
    """Counters and snapshot."""
    tb = StatsTB(dut)
    await tb.reset()
    for _ in range(20):
        await tb.cycle(1, **random_events(tb))
    tb.quiet()
    await tb.reset()
    assert set(tb.snap().values()) == {0}
    tb.now = 0
    await tb.cycle(1)
    for _ in range(3):
        await tb.cycle()
    assert set(tb.snap().values()) == {0}


def test_stats() -> None:
    simulate("nsd_stats", __name__)
