"""The block in process: bulk traffic, faults, throughput; and that its scoreboard judges."""

import itertools
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest

from nsdata.offload.entry import Verdict
from nsdata.offload.registers import ErrorClass
from nsdata.offload.rtl.block import DROPPED, OUT, RESULT, Block, Breach, BusError
from nsdata.offload.rtl.build import build
from sim.bulk.soak import Soak, Window, throughput
from sim.traffic import World, batch

STUB = ["sim/bulk/nsd_top.sv", "sim/harness/slice.sv"]
LAPSES = ErrorClass.HEARTBEAT  # when the other class's fault comes first
FAULTS = 8  # in a chunk of frames: every class in turn
SEED = int(os.environ.get("NSDATA_SEED", "1"))


@pytest.fixture(params=[64, 512])
def block(request: pytest.FixtureRequest) -> Iterator[Block]:
    """nsd_top at both widths."""
    with Block(request.param, seed=SEED) as made:
        yield made


def soak(width: int, frames: int) -> None:
    """Run it and say what it saw; the bars are asserted inside."""
    with Block(width, seed=SEED) as block:
        run = Soak(width, SEED, block, World(random.Random(SEED)))
        figures = run.run(frames, FAULTS, lambda _: None)
        print(figures)
        assert figures.frames == frames
        assert figures.exact > frames // 4 and figures.bypassed > 100
        assert figures.dropped > 0 and figures.rearms > 0
        missed = [one.name for one in ErrorClass if not figures.errors[one.name]]
        assert not missed, f"never struck: {missed}"  # by the counters that were read
        assert all(figures.verdicts.values())


def test_bulk_traffic_64() -> None:
    soak(64, 40_000)


@pytest.mark.full  # the other tests of a block at 512 b are representative
def test_bulk_traffic_512() -> None:
    soak(512, 20_000)


@pytest.mark.full
def test_a_million_frames() -> None:
    soak(64, 1_000_000)


@pytest.mark.full
def test_a_quarter_million_frames_at_512() -> None:
    soak(512, 250_000)


@pytest.mark.parametrize(
    ("came", "led", "dropped"),
    [
        (100, 105, False),  # decided before the fault, though seen later
        (195, 190, True),  # not yet decided when the fault was there
        (300, 300, True),  # came during it
        (100, 400, True),  # came before, waited behind a frame that left during it
    ],
)
def test_a_drop_during_a_fault_is_seen(came: int, led: int, dropped: bool) -> None:
    got = np.zeros(3, RESULT)
    got["length"] = 800
    got["fate"] = OUT, DROPPED, OUT
    got["verdict"] = Verdict.SUSPECT, Verdict.BLOCK, Verdict.SUSPECT
    got["in_first"] = came - 50, came, came + 20
    got["in_last"] = got["in_first"] + 10
    got["out_first"] = led, 450, 450
    got["out_last"] = led + 20, 460, 460
    with Block(64, seed=SEED) as block:
        run = Soak(64, SEED, block, World(random.Random(SEED)))
    run.collect = lambda: None  # type: ignore[method-assign]
    run.results = [got]
    run.expected = [np.zeros(3, run.world.model.inspect(*batch([b"x"])).dtype)]
    run.expected[0]["verdict"] = got["verdict"]
    window = Window(90, 600, bypass=200, until=500)
    run.windows = [window]
    got["verdict"][[0, 2]] = Verdict.FAULT
    if not dropped:
        run.judge()
        return
    with pytest.raises(AssertionError, match="dropped during a fault"):
        run.judge()


def test_two_errors_at_once() -> None:
    """Each pair of classes injected in one cycle, under traffic: each seen, no frame harmed."""
    with Block(64, seed=SEED) as block:
        run = Soak(64, SEED, block, World(random.Random(SEED)))
        run.bring_up()
        for pair in itertools.combinations(ErrorClass, 2):
            run.feed(run.world.frames(1500))
            block.wait(run.rng.randint(1, 2000))
            run.fault(*pair)
            block.drain()
            run.quiet()
            run.judge()
        assert all(run.figures.errors[one.name] == 11 for one in ErrorClass if one != LAPSES)
        assert 5 <= run.figures.errors[LAPSES.name] <= 11
        assert run.figures.bypassed > 1000


def test_a_beat_every_cycle_at_every_size(block: Block) -> None:
    rates = throughput(block, World(random.Random(SEED)), [*range(1, 200), 1000, 1514, 9018])
    assert min(rates.values()) == 1.0


# --- the harness itself, on a block that can be told to err ------------------------------


def stub(err: int = 0) -> Block:
    """A register slice in nsd_top's clothes; `err` names what it does wrong."""
    block = Block(library=build(64, STUB))
    block.reset()
    block.write(0x01C, err)
    return block


def test_frames_and_registers_pass_the_harness() -> None:
    rng = random.Random(SEED)
    frames = [rng.randbytes(rng.randint(1, 300)) for _ in range(500)]
    with stub() as block:
        block.keep()
        for idle, pause in ((0.0, 0.0), (0.3, 0.3)):
            block.idle(idle, 5)
            block.pause(pause, 9)
            block.feed(*batch(frames), mark=np.arange(500, dtype=np.uint8) & 1)
            block.write(0x01C, 0xCAFE00)
            assert block.read(0x01C) == 0xCAFE00
            block.drain()
            got = block.collect()
            assert (got["fate"] == OUT).all() and (got["mark"] == np.arange(500) & 1).all()
            assert block.fetch() == b"".join(frames)
        with pytest.raises(BusError):
            block.read(0xFFC)


@pytest.mark.parametrize(
    ("err", "says"),
    [
        (1, "fell before tready"),
        (2, "changed before tready"),
        (3, "not the next one"),  # a bit flipped
        (4, "not the next one"),  # a frame left out
        (5, "not the next one|lost"),  # a frame twice
    ],
)
def test_the_scoreboard_sees_it(err: int, says: str) -> None:
    rng = random.Random(SEED)
    with stub(err) as block:
        block.pause(0.5, 4)
        block.feed(*batch([rng.randbytes(rng.choice((5, 7, 90))) for _ in range(200)]))
        with pytest.raises(Breach, match=says):
            block.drain()
            block.wait(100)


def test_a_frame_that_may_be_dropped_is_not_lost() -> None:
    rng = random.Random(SEED)
    with stub(4) as block:  # leaves out the frames whose first byte ends in E
        frames = [bytes([0xEE if i % 7 == 3 else 0x11]) + rng.randbytes(99) for i in range(50)]
        drop = np.array([i % 7 == 3 for i in range(50)], dtype=np.uint8)
        block.feed(*batch(frames), may_drop=drop)
        block.drain()
        assert ((block.collect()["fate"] == DROPPED) == drop).all()


def test_a_reset_cancels_what_is_inside() -> None:
    with stub() as block:
        block.feed(*batch([bytes(800)] * 4))
        block.wait(150)
        block.reset()
        block.drain()
        assert list(block.collect()["fate"]) == [OUT, 3, OUT, OUT]
