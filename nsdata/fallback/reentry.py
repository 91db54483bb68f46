"""Coming back: when to restore by itself, and how much to inspect at first.

Restore is by hand; `Controller` has it, re-check, refusal and force included. This adds, as
inputs to the same controller and without a state of its own there:

- **Automatic restore** (off by default). When no cause holds for `wait_ns`, a restore is
  tried. An attempt fails when it is refused, or falls back again before the re-entry is done;
  each failure doubles the wait, up to `wait_max_ns`. After `max_attempts` that failed, a
  person has to act. What a person put into fallback, or asked to stay there, only a person
  restores.
- **Graduated re-entry.** After a restore a share of the flows (`share`) is inspected, the
  rest goes on being permitted; step by step it grows to all. The drop ratio *of the share*
  is judged by a meter of its own, for among all packets it would be diluted below notice.
  Any fault, or that ratio over the threshold, falls back at once. The last step takes in
  all, and when its time is over too the re-entry is done and the failures are forgotten.

The controller stays normal meanwhile. Only the share differs, and every input means what it
means at full share; a third state would double the state table without a row that differs.

The host calls `on_transition` with every transition of the guard and `tick` each time it
wakes, carries the decisions out, and publishes the state and `threshold` together, in one
write; `SetShare` is the event that says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nsdata.errors import SettingError
from nsdata.fallback.controller import Controller, Input, Moment, Outcome, Transition, Trigger
from nsdata.fallback.decisions import Decision, Note
from nsdata.fallback.drop_meter import SECOND_NS, DropMeter, Reading
from nsdata.fallback.ledger import LedgerSnapshot
from nsdata.fallback.reasons import State
from nsdata.fallback.share import ALL, Step, check_steps, of_share
from nsdata.units import duration_text

DEFAULT_STEPS = tuple(Step.parse(text) for text in ("1%:60s", "10%:60s", "100%:60s"))


class Graduated(StrEnum):
    """After which restores re-entry is graduated."""

    OFF = "off"
    AUTOMATIC = "automatic"  # a restore by hand takes in all at once
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class ReentryPolicy:
    """How to come back; the names of settings are those of `restore.*`."""

    automatic: bool = False
    wait_ns: int = 300 * SECOND_NS  # the causes are gone for so long
    wait_max_ns: int = 3600 * SECOND_NS
    max_attempts: int = 5  # that failed, in a row
    graduated: Graduated = Graduated.AUTOMATIC
    steps: tuple[Step, ...] = DEFAULT_STEPS

    def __post_init__(self) -> None:
        check_steps(self.steps)
        if self.wait_ns <= 0:
            raise SettingError(f"restore.wait {duration_text(self.wait_ns)} must be longer than 0")
        if self.wait_max_ns < self.wait_ns:
            raise SettingError(
                f"restore.wait-max {duration_text(self.wait_max_ns)} must not be shorter than "
                f"restore.wait ({duration_text(self.wait_ns)})"
            )
        if self.max_attempts < 1:
            raise SettingError(f"restore.max-attempts {self.max_attempts} must be at least 1")


@dataclass(frozen=True, slots=True)
class SetShare(Decision):
    """Inspect the flows below `threshold` of 65536 (`share.inside`); permit the others."""

    threshold: int
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TryRestore(Decision):
    """The causes are gone: `guard.restore_automatically(moment, evidence)`."""

    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FallBackAgain(Decision):
    """The share drops too much: `guard.judge(reading, moment, evidence)`."""

    reading: Reading = field(repr=False)
    evidence: dict[str, Any]


@dataclass(slots=True)
class _Ramp:
    """A re-entry under way."""

    steps: tuple[Step, ...]
    automatic: bool
    at: int
    since_ns: int
    before: LedgerSnapshot  # of the share, when the step began
    done: list[dict[str, Any]] = field(default_factory=list)
    judged: int = 0  # readings of this step that were judged
    highest: float = 0.0
    tripped: bool = False


class Reentry:
    """Decides when and how to come back; `meter` is its own, for the share alone."""

    def __init__(self, policy: ReentryPolicy | None = None, meter: DropMeter | None = None) -> None:
        self.policy = policy or ReentryPolicy()
        self.meter = meter or DropMeter()
        self._next_meter = self.meter
        self.threshold = ALL
        self.failures = 0  # in a row; they make the wait
        self.attempts = 0  # automatic ones since a person acted or one succeeded
        self._by_hand = False
        self._asked = False
        self._gave_up = False
        self._gone_ns: int | None = None
        self._ramp: _Ramp | None = None

    def adopt(self, other: Reentry) -> None:
        """The policy of `other` from now on; a re-entry under way ends as it began."""
        self.policy = other.policy
        self._next_meter = other.meter

    @property
    def wait_ns(self) -> int:
        """How long the causes have to be gone before the next attempt."""
        return min(self.policy.wait_ns << min(self.failures, 40), self.policy.wait_max_ns)

    def next_due_ns(self) -> int | None:
        """When `tick` is due: the next reading, step or attempt; None: nothing by time alone."""
        if self._ramp is not None and not self._ramp.tripped:
            step = self._ramp.steps[self._ramp.at]
            return min(self.meter.next_evaluation_ns(), self._ramp.since_ns + step.duration_ns)
        if self._gone_ns is not None and not self._asked:
            return self._gone_ns + self.wait_ns
        return None

    def on_transition(self, entry: Transition, moment: Moment) -> tuple[Decision, ...]:
        """A transition of the guard, in its order; `moment` as it was given to the guard."""
        by_person = entry.trigger is Trigger.MANUAL
        if entry.input is Input.MANUAL_RESTORE:
            self.attempts = self.failures = 0
            self._gave_up = False
        if entry.input is Input.MANUAL_FALLBACK:
            self._by_hand = True  # also when it was in fallback already: it is to stay there
            self._gone_ns = None
        if entry.outcome is Outcome.ENTERED:
            return self._entered(entry)
        if entry.outcome is Outcome.RESTORED:
            return self._restored(entry, moment, automatic=not by_person)
        if entry.outcome is Outcome.REFUSED and entry.input is Input.TIMED_RESTORE and self._asked:
            return self._failed(entry.at_ns, "refused", entry.evidence["recheck"])
        return ()

    def tick(self, moment: Moment, controller: Controller) -> tuple[Decision, ...]:
        """Everything due up to `moment.now_ns`, after the guard has been evaluated for it.

        Reads the controller, never changes it.
        """
        if controller.state is State.FALLBACK:
            return self._wait(moment, controller)
        out: list[Decision] = []
        while self._ramp and not self._ramp.tripped:
            due = self.next_due_ns()
            if due is None or due > moment.now_ns:
                break
            out += self._step(self._ramp, due, moment)
        return tuple(out)

    def status(self) -> dict[str, Any]:
        """For the operator; JSON-ready."""
        return {
            "automatic": self.policy.automatic,
            "by_hand": self._by_hand,
            "failures": self.failures,
            "attempts": self.attempts,
            "attempts_left": max(0, self.policy.max_attempts - self.attempts),
            "wait_ns": self.wait_ns,
            "causes_gone_since_ns": self._gone_ns,
            "threshold": self.threshold,
            "reentry": self._told(self._ramp) if self._ramp else None,
        }

    # waiting in fallback

    def _entered(self, entry: Transition) -> tuple[Decision, ...]:
        self._by_hand = entry.input is Input.MANUAL_FALLBACK
        self._gone_ns = None
        ramp, self._ramp = self._ramp, None
        self.threshold = ALL
        if ramp is None:
            return ()
        told = {"reason": entry.reason.value, **self._told(ramp)}
        if self._by_hand:
            return (Note(entry.at_ns, "re-entry ended by hand", "re-entry", told),)
        return self._failed(entry.at_ns, "fell back again", told)

    def _failed(self, at_ns: int, how: str, told: dict[str, Any]) -> tuple[Decision, ...]:
        self.failures += 1
        self._asked = False
        self._gone_ns = None
        evidence = {"how": how, "failures": self.failures, "next_wait_ns": self.wait_ns, **told}
        notes = [Note(at_ns, "re-entry failed", "re-entry", evidence)]
        if self.policy.automatic and self.attempts >= self.policy.max_attempts:
            if not self._gave_up:
                told = {"attempts": self.attempts, "failures": self.failures}
                notes.append(Note(at_ns, "automatic restore gave up", "re-entry", told))
            self._gave_up = True
        return tuple(notes)

    def _wait(self, moment: Moment, controller: Controller) -> tuple[Decision, ...]:
        if not self.policy.automatic or self._by_hand or self._asked or self._gave_up:
            return ()
        recheck = controller.recheck()
        if recheck["holds"]:
            self._gone_ns = None
            return ()
        if self._gone_ns is None:
            self._gone_ns = moment.now_ns
        if moment.now_ns < self._gone_ns + self.wait_ns:
            return ()
        self.attempts += 1
        self._asked = True
        evidence = {
            "automatic_restore": {
                "attempt": self.attempts,
                "of": self.policy.max_attempts,
                "failures": self.failures,
                "causes_gone_since_ns": self._gone_ns,
                "wait_ns": self.wait_ns,
            }
        }
        return (TryRestore(self._gone_ns + self.wait_ns, evidence),)

    # re-entering

    def _restored(
        self, entry: Transition, moment: Moment, *, automatic: bool
    ) -> tuple[Decision, ...]:
        self._by_hand = self._asked = False
        self._gone_ns = None
        graduated = self.policy.graduated
        gradually = graduated is Graduated.ALWAYS or (
            automatic and graduated is Graduated.AUTOMATIC
        )
        if not gradually and not automatic:
            self.threshold = ALL
            return ()
        # not graduated, an automatic restore still has to prove itself for the last step's time
        steps = self.policy.steps if gradually else self.policy.steps[-1:]
        share = of_share(moment.ledger)
        self.meter = self._next_meter
        self.meter.start(entry.at_ns, share, moment.drops_by_rule)
        self._ramp = _Ramp(steps, automatic, 0, entry.at_ns, share)
        return (self._set(self._ramp, entry.at_ns),)

    def _step(self, ramp: _Ramp, at_ns: int, moment: Moment) -> list[Decision]:
        """What is due at this instant: the reading first, so that no step hides a drop."""
        share = of_share(moment.ledger)
        ends = at_ns >= ramp.since_ns + ramp.steps[ramp.at].duration_ns
        if ends or self.meter.next_evaluation_ns() == at_ns:
            reading = self.meter.observe(at_ns, share, moment.drops_by_rule)
            ramp.judged += reading.judged
            ramp.highest = max(ramp.highest, reading.ratio if reading.judged else 0.0)
            if reading.over:
                ramp.tripped = True
                told = {**self._told(ramp), "drop_threshold": self.meter.threshold}
                return [FallBackAgain(at_ns, reading, {"reentry": told})]
        if not ends:
            return []
        ramp.done.append(self._result(ramp, at_ns, share))
        ramp.at += 1
        if ramp.at < len(ramp.steps):
            ramp.since_ns, ramp.before = at_ns, share
            ramp.judged, ramp.highest = 0, 0.0
            self.meter.restart(at_ns, share, moment.drops_by_rule)
            return [self._set(ramp, at_ns)]
        self._ramp = None
        self.failures = self.attempts = 0
        told = {"automatic": ramp.automatic, "steps": ramp.done}
        return [Note(at_ns, "re-entered", "re-entry", told)]

    def _set(self, ramp: _Ramp, at_ns: int) -> SetShare:
        self.threshold = ramp.steps[ramp.at].threshold
        return SetShare(at_ns, self.threshold, {"reentry": self._told(ramp)})

    @staticmethod
    def _result(ramp: _Ramp, at_ns: int, share: LedgerSnapshot) -> dict[str, Any]:
        """What a step showed."""
        seen = share.difference(ramp.before)
        received = seen.received.packets
        dropped = seen.dropped.packets
        return {
            "step": ramp.steps[ramp.at].text,
            "from_ns": ramp.since_ns,
            "to_ns": at_ns,
            "received": received,
            "inspected": seen.inspected.packets,
            "blocked": seen.blocked.packets,
            "lost": seen.lost.packets,
            "ratio": round(dropped / received, 6) if received else 0.0,
            "readings_judged": ramp.judged,
            "highest_ratio": round(ramp.highest, 6),
        }

    @staticmethod
    def _told(ramp: _Ramp) -> dict[str, Any]:
        step = ramp.steps[ramp.at]
        return {
            "automatic": ramp.automatic,
            "step": ramp.at + 1,
            "steps": [s.text for s in ramp.steps],
            "share_percent": float(step.percent),
            "since_ns": ramp.since_ns,
            "until_ns": ramp.since_ns + step.duration_ns,
            "done": list(ramp.done),
        }
