"""docs/fpga-errors.md, from what sim/top/test_faults.py measured."""

import re
from collections.abc import Sequence
from typing import Any

from nsdata.offload.registers import ErrorClass

HEAD = """\
# Errors of the FPGA block, injected

Generated from the results of `sim/top/test_faults.py` by `make sim-full`; do not edit.

Every error class was injected through `ERR_INJECT` at every moment below, in `nsd_top` at 64 b
(small tables; stall watchdog of {stall} cycles). In every case: the class's sticky bit, counter
and interrupt came and no other class's; the first-error record named it; no frame was lost,
made, reordered or changed. A fatal error turned the block to bypass (every frame that began to
leave after the recorded cycle: FAULT), and after the re-arm every frame that entered had the
golden model's verdict. ECC_CE is corrected: every verdict stayed the model's.

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
        stall=PARAMETERS["STALL_LIMIT"], cases=len(rows),
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


def agrees(written: str, text: str) -> bool:
    """Whether two such documents say the same: words, cases, damaged frames and re-arms alike,
    the other figures within a half or 64 of each other (a change of the RTL shifts them by cycles;
    of another size it is news)."""
    number, exact = re.compile(r"\d+"), re.compile(r"\d+ (?:cases|damaged|re-arms)")
    if number.sub("#", written) != number.sub("#", text):
        return False
    if exact.findall(written) != exact.findall(text):
        return False
    pairs = zip(number.findall(written), number.findall(text), strict=True)
    return all(abs(int(a) - int(b)) <= max(64, int(a) // 2) for a, b in pairs)
