"""The guard: drop meter and controller together, as both hosts use them.

The border to the C engine needs no Python per packet:

    guard.start(moment of the first frame)
    loop:
        the C loop runs frames whose time is below guard.next_evaluation_ns()
        guard.evaluate(time of the next frame, moment) → transitions
        hand the state to the C engine, which applies it from the next frame on

The loop stops *before* the first frame whose time is not below that instant, so that the
counters given are those of the instant itself; the answer is then the same however the
frames are cut into batches, and two replays are alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nsdata.errors import SettingError
from nsdata.fallback.controller import Controller, Moment, Transition
from nsdata.fallback.drop_meter import DropMeter, Reading
from nsdata.fallback.reasons import Reason, State


class Guard:
    """Meter and controller on one time line. Times are nanoseconds and never run back."""

    def __init__(self, meter: DropMeter, controller: Controller) -> None:
        self.meter = meter
        self.controller = controller

    @classmethod
    def build(
        cls,
        meter: DropMeter | None = None,
        *,
        restore_after_ns: int | None = None,
        capacity_pps: float | None = None,
    ) -> Guard:
        meter = meter or DropMeter()
        if restore_after_ns is not None and 0 < restore_after_ns < meter.interval_ns:
            raise SettingError(
                f"restore-after of {restore_after_ns / 1e9:g} s is shorter than "
                f"drop-meter.interval ({meter.interval_ns / 1e9:g} s): nothing new would be known"
            )
        return cls(
            meter,
            Controller(meter, restore_after_ns=restore_after_ns, capacity_pps=capacity_pps),
        )

    @property
    def state(self) -> State:
        return self.controller.state

    def start(self, moment: Moment) -> None:
        """Begin with the first frame: windows and durations count from its time."""
        self.meter.start(moment.now_ns, moment.ledger, moment.drops_by_rule)
        self.controller.start(moment)

    def adopt(self, meter: DropMeter, moment: Moment) -> None:
        """Another window or threshold from now on, after everything due before it. The window
        begins anew: what was read with the other one stays with the transitions it led to."""
        meter.start(moment.now_ns, moment.ledger, moment.drops_by_rule)
        self.meter = meter
        self.controller.adopt(meter)

    def next_evaluation_ns(self) -> int:
        """Where the C loop has to stop: before the first frame not below this time."""
        due = self.controller.next_due_ns()
        boundary = self.meter.next_evaluation_ns()
        return boundary if due is None else min(boundary, due)

    def evaluate(self, moment: Moment) -> list[Transition]:
        """Everything due up to `moment.now_ns`, in order of time.

        `moment` has the time of the next frame and the counters of all before it; these
        must all be below the `next_evaluation_ns()` that was asked for. At the same
        instant the meter is read first, so that a timed restore sees the latest load.
        """
        transitions: list[Transition] = []
        while (at_ns := self.next_evaluation_ns()) <= moment.now_ns:
            then = Moment(at_ns, moment.at_packet, moment.ledger, moment.drops_by_rule)
            if self.meter.next_evaluation_ns() == at_ns:
                reading = self.meter.observe(at_ns, then.ledger, then.drops_by_rule)
                self._keep(transitions, self.controller.on_reading(reading, then), then)
            self._keep(transitions, self.controller.on_time(then), then)
            due = self.controller.next_due_ns()
            self.meter.skip_idle(moment.now_ns if due is None else min(due, moment.now_ns))
        return transitions

    def fallback(self, moment: Moment, note: str = "") -> list[Transition]:
        """Fallback by hand, after everything due before it."""
        transitions = self.evaluate(moment)
        return self._keep(transitions, self.controller.fallback(moment, note), moment)

    def restore(self, moment: Moment, *, force: bool = False) -> list[Transition]:
        """Restore by hand, after everything due before it."""
        transitions = self.evaluate(moment)
        return self._keep(transitions, self.controller.restore(moment, force=force), moment)

    def restore_automatically(
        self, moment: Moment, evidence: Mapping[str, Any] | None = None
    ) -> list[Transition]:
        """Restore by a policy (`reentry`), after everything due before it."""
        transitions = self.evaluate(moment)
        restored = self.controller.restore_automatically(moment, evidence)
        return self._keep(transitions, restored, moment)

    def judge(
        self, reading: Reading, moment: Moment, evidence: Mapping[str, Any] | None = None
    ) -> list[Transition]:
        """A reading of another meter (`reentry`), after everything due before it."""
        transitions = self.evaluate(moment)
        entered = self.controller.on_reading(reading, moment, evidence)
        return self._keep(transitions, entered, moment)

    def fault(
        self, reason: Reason, moment: Moment, evidence: Mapping[str, Any] | None = None
    ) -> list[Transition]:
        """A fault from outside the packet path, after everything due before it."""
        transitions = self.evaluate(moment)
        return self._keep(transitions, self.controller.fault(reason, moment, evidence), moment)

    def clear_fault(self, reason: Reason, moment: Moment) -> list[Transition]:
        transitions = self.evaluate(moment)
        return self._keep(transitions, self.controller.clear_fault(reason, moment), moment)

    def _keep(
        self, transitions: list[Transition], new: Transition | None, moment: Moment
    ) -> list[Transition]:
        if new is not None:
            transitions.append(new)
            if new.from_state is State.FALLBACK and new.to_state is State.NORMAL:
                self.meter.restart(moment.now_ns, moment.ledger, moment.drops_by_rule)
        return transitions
