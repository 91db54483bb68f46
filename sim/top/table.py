"""docs/fpga-errors.md, from what sim/top/test_faults.py measured."""

import re
from collections.abc import Sequence
from typing import Any

from nsdata.offload.registers import ErrorClass
from sim.timing import GRACE

SEED = 1  # of the run it is written from
# What waits for no beat's turn, decision, credit or pass: as soon at every seed.
PROMPT = ("PARITY", "FIFO_OVF", "HEARTBEAT", "SEU", "OVER_TEMP")
NUMBER, TOTALS = re.compile(r"\d+"), re.compile(r"\d+ cases, ")
EXACT = re.compile(r"\d+ (?:cases|damaged|re-arms)")

HEAD = """\
# Errors of the FPGA block, injected

Generated from the results of `sim/top/test_faults.py` by `make sim-full`; do not edit.

Every error class was injected through `ERR_INJECT` at every moment below, in `nsd_top` at 64 b
(small tables; stall watchdog of {stall} cycles). In every case: the class's sticky bit, counter
and interrupt came and no other class's; the first-error record named it; no frame was lost,
made, reordered or changed (counted by comparing every frame sent with what came out; a frame of
a blocked flow may be missing). A fatal error turned the block to bypass: every frame first held
out more than {grace} cycles after the recorded one was FAULT until the re-arm began, and every
frame that entered after it had the golden model's verdict. ECC_CE is corrected: every verdict
stayed the model's.

What is granted: a frame that leaves between the injection and {grace} cycles behind the record (two
beats were handed to the output before the fault was there), or that entered before the re-arm was
over and left after it began, may have the model's verdict *or* FAULT, never another. A drop may
begin until {grace} cycles behind the record, and again for frames that entered while it re-armed.

{cases} cases, {frames} frames, {damaged} damaged; {bypassed} frames bypassed, {rearmed} re-arms.

## Cycles from the injection to the record

An error that needs a beat, a decision, or the background check's turn comes when that comes.
"Reset mid-frame": reset while the error was latched and a frame was under way; nothing of either
was left.

"""


def render(rows: Sequence[dict[str, Any]], moments: Sequence[str]) -> str:
    """The document."""
    from sim.top.bench import PARAMETERS

    by = {(row["error"], row["moment"]): row for row in rows}
    text = HEAD.format(
        grace=GRACE, stall=PARAMETERS["STALL_LIMIT"], cases=len(rows),
        frames=sum(row["frames"] for row in rows), damaged=sum(row["damaged"] for row in rows),
        bypassed=sum(row["bypassed"] for row in rows),
        rearmed=sum(row["rearmed"] for row in rows),
    )  # fmt: skip
    text += "| error | " + " | ".join(moments) + " |\n"
    text += "|---|" + "---:|" * len(moments) + "\n"
    for error in ErrorClass:
        cells = [str(by[error.name, moment]["cycles"]) for moment in moments]
        text += f"| {error.name} | " + " | ".join(cells) + " |\n"
    return text


def differs(written: str, text: str, seed: int = SEED) -> str:
    """Where two such documents say another thing, empty where they agree; `seed`: of `text`.

    Words, cases, damaged frames and re-arms are alike, and so is every cycle of an error that
    waits for nothing (PROMPT), whatever the seed. With the document's own seed the other cycles
    are within 4 or an eighth of each other, the other figures within a twentieth: a change of the
    RTL may shift what an injection meets, and nothing else does.
    """
    were, are = (one.splitlines() for one in (written, text))
    if len(were) != len(are):
        return f"{len(were)} lines, now {len(are)}"
    for was, now in zip(were, are, strict=True):
        news = f"{was!r}, now {now!r}"
        if NUMBER.sub("#", was) != NUMBER.sub("#", now):
            return news
        row, totals = was.startswith("| "), TOTALS.search(was)
        prompt = row and was.split("|")[1].strip() in PROMPT
        for old, new in zip(NUMBER.finditer(was), NUMBER.findall(now), strict=True):
            number, off = int(old[0]), abs(int(old[0]) - int(new))
            if not off:
                continue
            if prompt or not (row or totals) or EXACT.match(was, old.start()):
                return news
            if seed == SEED and off > (max(4, number // 8) if row else number // 20):
                return news
    return ""
