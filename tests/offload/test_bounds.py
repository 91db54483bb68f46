"""What would be cut on its way to C, a wire or a register: refused before, by all alike."""

from collections.abc import Iterator

import numpy as np
import pytest
from offload.blocks import Bench, bench, needed, opened

from nsdata.errors import BusFault, OffloadError
from nsdata.offload import registers as reg
from nsdata.offload.host import Start
from nsdata.offload.rtl.block import Block
from nsdata.offload.transport import open_transport


@pytest.fixture(scope="module", params=["model", "rtl", "cocotb", "pcie"])
def made(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A block of small tables by each transport."""
    needed(request.param)
    with opened(request.param) as transport:
        yield bench(transport)


@pytest.fixture
def armed(made: Bench) -> Bench:
    """Armed, the tables loaded."""
    made.up()
    return made


@pytest.mark.parametrize(
    "address",
    [0x018, 0x3FC, 0x7FC, 0xFFC, 0x1000, 0x101C, 1 << 32 | 0x1C, 1 << 64 | 0x1C, -4, 0x01D, 0x01E],
)
def test_a_bad_address_is_refused(made: Bench, address: int) -> None:
    """Also one that a bus of 12 or 32 bits would take for another register's."""
    made.transport.write(reg.SCRATCH.address, 1)
    with pytest.raises(BusFault):
        made.transport.read(address)
    with pytest.raises(BusFault):
        made.transport.write(address, 2)
    assert made.transport.read(reg.SCRATCH.address) == 1
    made.transport.write(reg.SCRATCH.address, 0xCAFE_F00D)
    assert made.transport.read(reg.SCRATCH.address) == 0xCAFE_F00D


@pytest.mark.parametrize("number", [-1, 1 << 32, (1 << 64) + 7])
def test_numbers_no_register_holds_are_refused(made: Bench, number: int) -> None:
    made.transport.write(reg.SCRATCH.address, 0xFFFF_FFFF)
    with pytest.raises(ValueError, match="legal are 0 to"):
        made.transport.write(reg.SCRATCH.address, number)
    with pytest.raises(ValueError, match="legal are 0 to"):
        made.transport.wait(number)
    made.transport.wait(0)
    assert made.transport.read(reg.SCRATCH.address) == 0xFFFF_FFFF


def test_frames_that_are_none_are_refused(armed: Bench) -> None:
    """Nothing is cut to fit, and nothing of it is sent."""
    data, offset, length = armed.frames(8)
    wide = length.astype(np.int64)
    for says, frames in (
        ("length 4294967", (data, offset, wide + (1 << 32))),
        ("length -", (data, offset, -wide)),
        ("offset -5", (data, offset.astype(np.int64) - 5, length)),
        ("outside the data", (data, offset + np.uint64(1 << 63), length)),
        ("outside the data", (data, offset * 0 + np.uint64(2**64 - 10), length)),
        ("offset: float64 are no whole numbers", (data, offset + 0.7, length)),
        ("length: float64 are no whole numbers", (data, offset, length * 1.0)),
        ("length: bool are no", (data, offset, length > 0)),
        ("data: int32 in 1", (data.astype(np.int32), offset, length)),
        ("data: uint8 in 2", (data[:80].reshape(8, 10).T, offset[:1], length[:1])),
        ("offset: an array of 2", (data, offset.reshape(2, 4), length.reshape(2, 4))),
        ("length: an array of 0", (data, offset[:1], length[0])),
        ("7 offsets and 8 lengths", (data, offset[:7], length)),
    ):
        with pytest.raises(ValueError, match=says):
            armed.transport.exchange(*frames)
        if "outside" not in says:
            with pytest.raises(OffloadError, match=says):
                armed.driver.inspect(*frames)
    wanted = armed.wanted((data, offset, length)).tolist()
    fit = (
        (np.repeat(data, 2)[::2], np.repeat(offset, 2)[::2], length.astype(np.int64)),
        (data.tobytes(), offset.tolist(), length.tolist()),
    )
    for frames in fit:
        assert armed.transport.exchange(*frames).verdict.tolist() == wanted
    assert armed.driver.statistics()["frames_in"] == 16


# --- numbers that no transport is at hand for ---------------------------------------------


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        ("model:64,64,512", "a width"),
        ("model:64,SETS_LOG2=4,sets_log2=5", "SETS_LOG2"),
        ("rtl:512,512", "a width"),
    ],
)
def test_what_is_given_twice_is_refused(spec: str, what: str) -> None:
    with pytest.raises(OffloadError, match=f"{spec}: {what} is given twice"):
        open_transport(spec)


@pytest.mark.parametrize(("limit", "hold"), [(0, 1), (-1, 1), (1 << 32, 1), (1, -1), (1, 1 << 32)])
def test_times_no_register_holds(limit: int, hold: int) -> None:
    with pytest.raises(ValueError, match=r"(limit|hold) .*: legal are [01] to 4294967295 cycles"):
        Start(limit, hold)
    assert Start((1 << 32) - 1, 0).limit


def test_the_block_in_process() -> None:
    needed("rtl")
    with Block(64) as block:
        block.reset()
        for call in (
            lambda: block.wait(-1),
            lambda: block.wait(1 << 64),
            lambda: block.drain(-1),
            lambda: block.drain(0, -1),
            lambda: block.reset(-1),
            lambda: block.read(1 << 32 | 0x1C),
            lambda: block.write(0x1C, 1 << 32),
            lambda: block.write(-4, 1),
        ):
            begin = block.cycle
            with pytest.raises(ValueError, match="legal are 0 to"):
                call()
            assert block.cycle == begin
