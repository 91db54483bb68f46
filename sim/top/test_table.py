"""The document of the injected errors: what counts as news, and that damage is counted."""

import re

import pytest

from nsdata.offload.entry import Verdict
from sim.axis import Frame
from sim.runner import ROOT
from sim.top.bench import Sent, match
from sim.top.table import PROMPT, differs

WRITTEN = (ROOT / "docs" / "fpga-errors.md").read_text(encoding="utf-8")


def but(error: str, column: int, cycles: int) -> str:
    """The document with one cell changed."""
    row = next(line for line in WRITTEN.splitlines() if line.startswith(f"| {error} |"))
    cells = row.split(" | ")
    cells[column] = str(cycles)
    return WRITTEN.replace(row, " | ".join(cells))


def cell(error: str, column: int) -> int:
    row = next(line for line in WRITTEN.splitlines() if line.startswith(f"| {error} |"))
    return int(row.split(" | ")[column].strip(" |"))


def test_the_same_is_the_same() -> None:
    assert not differs(WRITTEN, WRITTEN)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("error", PROMPT)
def test_a_prompt_error_is_as_prompt_as_it_was(error: str, seed: int) -> None:
    for column in range(1, 6):
        for off in (1, -1, 64):
            now = but(error, column, cell(error, column) + off)
            assert error in differs(WRITTEN, now, seed)


def test_one_that_waits_may_shift_a_little() -> None:
    was = cell("TABLE_CRC", 1)
    for off, far in ((was // 8, False), (was // 8 + 1, True), (-was // 2, True)):
        now = but("TABLE_CRC", 1, was + off)
        assert bool(differs(WRITTEN, now)) == far
        assert not differs(WRITTEN, now, seed=2)  # where another moment is met
    assert differs(WRITTEN, but("CREDIT_LEAK", 3, cell("CREDIT_LEAK", 3) + 5))


@pytest.mark.parametrize("what", ["cases", "damaged", "re-arms"])
@pytest.mark.parametrize("seed", [1, 2])
def test_what_was_counted_is_exact(what: str, seed: int) -> None:
    now, changed = re.subn(rf"(\d+) {what}", lambda m: f"{int(m[1]) + 1} {what}", WRITTEN)
    assert changed == 1 and differs(WRITTEN, now, seed)


def test_totals_and_words() -> None:
    frames = re.search(r"(\d+) frames, ", WRITTEN)
    assert frames is not None
    for part, far in ((1.04, False), (0.96, False), (1.06, True)):
        now = WRITTEN.replace(frames[0], f"{int(int(frames[1]) * part)} frames, ")
        assert bool(differs(WRITTEN, now)) == far
    assert differs(WRITTEN, WRITTEN.replace("no frame was lost", "a frame was lost"))
    assert differs(WRITTEN, WRITTEN + "\nmore\n")
    assert differs(WRITTEN, WRITTEN.replace("| 28 |", "| many |"))


# --- damage -----------------------------------------------------------------------------

PLAIN = [bytes([i]) * 60 for i in range(6)]


def frame(data: bytes, mark: int = 0, verdict: int = Verdict.CLEAR) -> Frame:
    return Frame(data, mark << 3 | verdict, [mark << 3, mark << 3 | verdict])


def fate(outputs: list[Frame], wanted: int = Verdict.CLEAR) -> tuple[int, list[str]]:
    sent = [Sent(data, 0, wanted if i == 2 else Verdict.CLEAR) for i, data in enumerate(PLAIN)]
    found, damage = match(sent, [frame(data) for data in PLAIN], outputs)
    return len(found), damage


def test_damage_is_counted() -> None:
    whole = [frame(data) for data in PLAIN]
    assert fate(whole) == (6, [])
    lost = whole[:2] + whole[3:]
    assert fate(lost, Verdict.BLOCK) == (6, [])  # dropped, as it may be
    for outputs, says in (
        (lost, ["is lost"]),
        (whole[:5], ["is lost"]),
        ([*whole[:2], frame(b"\xff" * 60), *whole[3:]], ["came out as ff"]),
        ([*whole[:2], frame(PLAIN[2], mark=1), *whole[3:]], ["came out as 02"]),
        ([*whole, whole[5]], ["was made"]),
        ([], ["is lost"] * 6),
    ):
        _, damage = fate(outputs)
        assert len(damage) == len(says)
        assert all(word in one for word, one in zip(says, damage, strict=True))
    swapped = [whole[0], whole[2], whole[1], *whole[3:]]
    assert len(fate(swapped)[1]) >= 1
