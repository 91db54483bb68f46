"""Silent faults: a block that answers and is wrong, in the Verilated RTL and in the model.

The same fault in both gives the same wrong verdicts, frame by frame, and loses no frame; what
finds it is the scrubber or the sampled second judgement.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from offload.blocks import PARAMETERS, SMALL, Bench, bench, needed

from nsdata.offload import registers as reg
from nsdata.offload import silent
from nsdata.offload.entry import FlowAction, FlowEntry, FlowKey, Verdict
from nsdata.offload.model import flow_set, parse
from nsdata.offload.registers import ErrorClass
from nsdata.offload.transport import FaultPort, open_transport
from sim.traffic import Batch

KINDS = ("model", "rtl")


@pytest.fixture(scope="module", params=KINDS)
def block(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A small block with test-only ports."""
    needed(request.param)
    transport = open_transport(f"{request.param}:64,FAULTS=1,{PARAMETERS}")
    yield bench(transport)
    transport.close()


@pytest.fixture
def up(block: Bench) -> Iterator[Bench]:
    """Loaded and armed; without a fault before and after."""
    block.up()
    yield block
    for name in ports(block).names:
        ports(block).poke(name, 0)


def ports(block: Bench) -> FaultPort:
    found = block.transport.faults
    assert isinstance(found, FaultPort)
    return found


def judged(block: Bench, frames: Batch) -> NDArray[np.uint8]:
    """What the block says; nothing is lost or changed, or the transport raises."""
    return block.driver.inspect(*frames)


def a_slot(block: Bench, hit: bool = True) -> tuple[int, int]:
    """A bucket with a window in it, and the bit that makes another window of that one."""
    bucket = int(np.flatnonzero(block.image.table[:, 0])[0])
    return bucket, 1


def entry_of(key: FlowKey, action: FlowAction) -> int:
    return FlowEntry(key, int(action), 0).pack()


def place_of(block: Bench, key: FlowKey) -> int:
    place = block.driver.host.mirror.place(key)
    assert place is not None
    return place


def strangers(block: Bench) -> list[FlowKey]:
    """Keys of frames that have no entry."""
    keys = {parsed.key for frame in block.world.fine if (parsed := parse(frame)).lookup}
    return [key for one in sorted(keys) if (key := FlowKey.unpack(one)) not in block.flows]
