"""Numbers that would be cut on their way to C or to a register: refused before."""

import pytest
from offload.blocks import needed

from nsdata.errors import OffloadError
from nsdata.offload.host import Start
from nsdata.offload.rtl.block import Block
from nsdata.offload.transport import open_transport


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
