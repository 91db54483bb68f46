"""model and rtl agree, frame by frame; and the comparison can fail."""

import pytest

from nsdata.offload.transport import Exchange
from sim.bulk.agree import Disagreement, Pair

SPECS = ("model:64", "rtl:64")


def agree(specs: tuple[str, str], frames: int) -> None:
    """Compare; every verdict but FAULT was seen."""
    pair = Pair(specs, seed=1)
    try:
        done = pair.run(frames, lambda _: None)
    finally:
        pair.close()
    print(done)
    assert done.frames >= frames and not done.verdicts["FAULT"]
    assert all(done.verdicts[name] for name in ("CLEAR", "SUSPECT", "BYPASS", "BLOCK"))


def test_model_and_rtl_agree() -> None:
    agree(SPECS, 6_000)


@pytest.mark.full
def test_model_and_rtl_agree_on_a_million_frames() -> None:
    agree(SPECS, 1_000_000)


@pytest.mark.full
def test_model_and_rtl_agree_at_512() -> None:
    agree(("model:512", "rtl:512"), 100_000)


def test_a_wrong_verdict_is_seen() -> None:
    pair = Pair(("model:64", "model:64"), seed=1)
    inner = pair.drivers[1].transport.exchange

    def wrong(*frames: object) -> Exchange:
        done = inner(*frames)  # type: ignore[arg-type]
        done.verdict[-1] ^= 1
        return done

    pair.drivers[1].transport.exchange = wrong  # type: ignore[method-assign]
    with pytest.raises(Disagreement, match=r"1 of .* frames; the first is frame"):
        pair.run(3_000, lambda _: None)
