"""An engine with the block in the loop, and what a test asserts of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from nsdata.capture import Batch
from nsdata.errors import LedgerError
from nsdata.fallback.controller import Transition
from nsdata.fallback.reasons import Reason, State
from nsdata.inspection import Engine
from nsdata.output.events import plain
from nsdata.testing.fpga import Fpga
from nsdata.verdict import FORWARDED, Verdict

SHOWN = 5  # transitions in a message


class LoopEngine(Engine):
    """nsdata.Engine beside the block of `fpga`; its arguments are Engine's.

    All that came out of it is kept: `seen` (EVE events), `fed` (frames), `verdicts` (frames by
    nsdata.Verdict).
    """

    def __init__(self, rules: Any, fpga: Fpga, **options: Any) -> None:
        super().__init__(rules, offload=fpga.block, **options)
        self.fpga = fpga
        self.fed = 0
        self.verdicts: Counter[Verdict] = Counter()
        self.seen: list[dict[str, Any]] = []
        fpga.received = lambda: self.fed

    # --- what went in and came out ------------------------------------------------------------

    def inspect_batch(self, batch: Batch) -> npt.NDArray[np.uint8]:
        """Run a batch (a piece of a `capture`); a copy of the verdicts."""
        verdicts = super().inspect_batch(batch)
        self.fed += len(batch)
        for number, count in enumerate(np.bincount(verdicts).tolist()):
            if count:
                self.verdicts[Verdict(number)] += count
        return verdicts

    def events(self) -> list[dict[str, Any]]:
        """EVE events since the last call, in order; `seen` has all of them."""
        fresh = super().events()
        self.seen += fresh
        return fresh

    def alerts(self) -> Counter[int]:
        """How often each rule (signature_id) has alerted since the start."""
        self.events()
        return Counter(
            event["alert"]["signature_id"] for event in self.seen if event["event_type"] == "alert"
        )

    @property
    def transitions(self) -> list[Transition]:
        """Every change of state or reason, and every refusal, in order."""
        return self.pipeline.transitions

    def offload(self) -> dict[str, Any]:
        """Figures of the block: `verdicts`, `spared_share`, `checks`, `disagreements`, …
        (`offload` of docs/summary.md)."""
        session = self.pipeline.offload
        return dict(session.stats()) if session is not None else {}

    def describe(self) -> str:
        """State, ledger, transitions and block in a few lines: shown when a test fails."""
        lines = [f"state: {self.state.value} ({self.pipeline.guard.controller.reason.value})"]
        try:
            lines.append(f"ledger: {self.ledger.figures()}")
        except LedgerError as error:
            lines.append(f"ledger: {error}")
        lines += [f"transition: {_line(one)}" for one in self.transitions[-SHOWN:]]
        figures = self.offload()
        lines.append(f"block ({self.fpga.spec}): {json.dumps(plain(figures))}")
        return "\n".join(lines)

    # --- assertions ---------------------------------------------------------------------------

    def assert_fallback(
        self,
        reason: str | Reason = Reason.FPGA,
        within_frames: int | None = None,
        *,
        error: str | None = None,
        since: int | None = None,
    ) -> dict[str, Any]:
        """The engine is in fallback, for this reason; the evidence of the last entry.

        within_frames: at most so many frames were still judged otherwise after the fault that
        `fpga` brought about last (or after frame `since`). error: `class` of the block's record.
        """
        __tracebackhide__ = True
        try:
            wanted = Reason(reason)
        except ValueError:
            legal = "; ".join(one.value for one in Reason)
            raise AssertionError(f"reason {reason!r} is none. There are: {legal}") from None
        entries = [
            one for one in self.transitions if one.to_state is State.FALLBACK and not one.refused
        ]
        if self.state is not State.FALLBACK:
            times = sum(one.from_state is State.NORMAL for one in entries)
            was = f"; it was, {times} times, and was restored" if times else ""
            _fail(f"the engine is not in fallback (wanted: {wanted.value}){was}")
        now = self.pipeline.guard.controller.reason
        if now is not wanted:
            _fail(f"in fallback for another reason: {now.value}, not {wanted.value}")
        # Also where it took another reason's place, which is no new fallback.
        entered = next(one for one in reversed(entries) if one.reason is wanted)
        given = dict(entered.evidence.get("given") or {})
        block = given.get("fpga", {})
        if error is not None and block.get("class") != error:
            _fail(
                f"the evidence is of {block.get('class', 'no error of the block')}, not {error}: "
                f"{block.get('words') or block.get('error', '')}"
            )
        if within_frames is not None:
            start = self.fpga.fault_frame if since is None else since
            if start is None:
                raise AssertionError(
                    "within_frames counts from a fault, and none was brought about. Use a context "
                    "manager of fpga (fpga.injected, fpga.killed, …), call fpga.fault_begins(), or "
                    "say since=FRAME"
                )
            late = entered.at_packet - 1 - start
            if not 0 <= late <= within_frames:
                _fail(
                    f"fallback holds from frame {entered.at_packet} on, {late} frames after the "
                    f"fault (frame {start}); wanted: within {within_frames}"
                )
        return dict(entered.evidence)

    def assert_inspecting(self) -> None:
        """The engine inspects, and its block is in use."""
        __tracebackhide__ = True
        if self.state is not State.NORMAL:
            _fail("the engine is in fallback, not inspecting")
        if not self.offload().get("active"):
            _fail("the engine inspects without its block: that one is out of use")

    def assert_ledger_balanced(self) -> None:
        """Every frame handed in is inspected, bypassed, blocked or lost, once, and the verdicts
        that were given say the same."""
        __tracebackhide__ = True
        try:
            ledger = self.ledger
        except LedgerError as error:
            raise AssertionError(str(error)) from error
        forwarded = sum(self.verdicts[one] for one in FORWARDED)
        lost = self.verdicts[Verdict.LOST]
        for what, booked, counted in (
            ("received", ledger.received.packets, self.fed),
            ("inspected + bypassed", ledger.inspected.packets + ledger.bypassed.packets, forwarded),
            ("lost", ledger.lost.packets, lost),
            ("blocked", ledger.blocked.packets, sum(self.verdicts.values()) - forwarded - lost),
        ):
            if booked != counted:
                _fail(f"the ledger does not fit the frames: {what} {booked:,}, counted {counted:,}")


def _fail(text: str) -> NoReturn:
    """The plugin shows `describe` below it."""
    __tracebackhide__ = True
    raise AssertionError(text)


def _line(one: Transition) -> str:
    text = (
        f"{one.from_state.value} -> {one.to_state.value}, {one.outcome.value}, {one.reason.value}, "
        f"from frame {one.at_packet:,} on"
    )
    block = (one.evidence.get("given") or {}).get("fpga", {})
    said = block.get("words") or block.get("error")
    return f"{text}: {said}" if said else text
