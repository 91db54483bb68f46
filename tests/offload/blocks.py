"""A small block to drive, by every transport: tables, frames and the model that judges them."""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nsdata.offload.driver import Driver
from nsdata.offload.entry import PORT_RANGES, FlowAction, FlowEntry, FlowKey, PortRange
from nsdata.offload.image import PrefilterImage
from nsdata.offload.model import Model, Prefilter, flow_set, parse
from nsdata.offload.rtl import sources
from nsdata.offload.transport import Transport, open_transport
from sim.traffic import Batch, World

# Small tables and a short watchdog: their checks come round soon, and the build is quick.
SMALL = {"SETS_LOG2": 4, "BUCKETS_LOG2": 5, "STALL_LIMIT": 128, "RELAY_LOG2": 4}
PARAMETERS = ",".join(f"{name}={value}" for name, value in SMALL.items())


@dataclass
class Bench:
    """A driver, the tables it loads, frames, and what the model says of them."""

    driver: Driver
    image: PrefilterImage
    flows: dict[FlowKey, FlowAction]
    world: World

    @property
    def transport(self) -> Transport:
        """The way to the block."""
        return self.driver.transport

    def frames(self, count: int, largest: int = 400) -> Batch:
        """Frames of the world."""
        return self.world.frames(count, largest)

    def wanted(self, frames: Batch, flows: dict[FlowKey, FlowAction] | None = None,
               prefilter: bool = True) -> NDArray[np.uint8]:  # fmt: skip
        """The golden model's verdicts, with these flows (those loaded)."""
        image = self.image
        model = Model(SMALL["SETS_LOG2"])
        if prefilter:
            filled = Prefilter(image.table.reshape(-1), image.seed, image.buckets_log2, image.words)
            model.load(filled, image.ranges)
        used: dict[int, int] = {}
        for key, action in (self.flows if flows is None else flows).items():
            number = flow_set(key.pack(), SMALL["SETS_LOG2"])
            way = used[number] = used.get(number, -1) + 1
            assert way < 2, "the test's own flows do not fit"
            model.write(2 * number + way, FlowEntry(key, int(action), 0).words())
        return model.verdicts(*frames)

    def up(self) -> None:
        """From whatever it was to armed with the tables."""
        self.transport.reset()
        self.driver.host.__init__()  # type: ignore[misc]
        self.driver.identify()
        self.driver.load(self.image, self.flows.items())
        self.driver.start(hold=64)


def bench(transport: Transport, seed: int = 1) -> Bench:
    """Tables and frames for a block of SMALL parameters."""
    world = World(random.Random(seed), sets_log2=SMALL["SETS_LOG2"],
                  buckets_log2=SMALL["BUCKETS_LOG2"], flows=24, patterns=30)  # fmt: skip
    tables = world.tables
    assert tables.buckets is not None
    ranges = (*tables.ranges, *[PortRange()] * (PORT_RANGES - len(tables.ranges)))
    image = PrefilterImage(tables.seed, SMALL["BUCKETS_LOG2"], 1, tables.buckets, ranges)
    return Bench(Driver(transport), image, some_flows(world), world)


def some_flows(world: World) -> dict[FlowKey, FlowAction]:
    """Flows of the world's frames, at most two of a set: bypass and block in turn."""
    keys = sorted({parsed.key for frame in world.base if (parsed := parse(frame)).lookup})
    world.rng.shuffle(keys)
    used: dict[int, int] = {}
    chosen: dict[FlowKey, FlowAction] = {}
    for key in keys:
        number = flow_set(key, SMALL["SETS_LOG2"])
        if used.get(number, 0) < 2 and len(chosen) < 20:
            used[number] = used.get(number, 0) + 1
            action = (FlowAction.BYPASS, FlowAction.BLOCK, FlowAction.BYPASS)[len(chosen) % 3]
            chosen[FlowKey.unpack(key)] = action
    return chosen


def needed(kind: str) -> None:
    """Skip when a transport cannot be had here."""
    if kind != "model" and (why := sources.missing()):
        pytest.skip(why)
    if kind == "cocotb":
        pytest.importorskip("cocotbext.axi")


@contextmanager
def card() -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """An emulated card in a process of its own: its directory, and the process."""
    with tempfile.TemporaryDirectory(prefix="nsdata-card-") as place:
        command = [sys.executable, "-m", "sim.bridge.bar", place, *PARAMETERS.split(",")]
        log = Path(place) / "log"
        with open(log, "wb") as file:
            process = subprocess.Popen(command, cwd=sources.ROOT, stdout=file, stderr=file)
        try:
            until = time.monotonic() + 600
            while not (Path(place) / "resource0").exists():
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield Path(place), process
        finally:
            process.kill()
            process.wait()


@contextmanager
def opened(kind: str) -> Iterator[Transport]:
    """The transport of a small block, closed in the end."""
    with ExitStack() as stack:
        spec = f"{kind}:64,{PARAMETERS}"
        if kind == "pcie":
            place, _ = stack.enter_context(card())
            spec = f"pcie:{place}"
        transport = open_transport(spec)
        stack.callback(transport.close)
        yield transport
