"""The fallback controller: the state table normal ⇄ fallback, and what is on record of it.

Sans-IO: inputs and the time come in, `Transition`s go out; the host applies the state from
the packet `at_packet` on and writes the event. `STATE_TABLE` is the whole behaviour;
docs/operations.md carries the same table and its diagram.

- **Which reason wins.** The highest in rank (`Reason` lists them in order) is the reason;
  the others that hold are listed as `also_holding`. A fault that outranks the present
  reason replaces it, and that is recorded; a lower one is only added.
- **Restore is re-checked.** While a reported fault has not been cleared, or, after a
  threshold error whose drops were (also) lost packets, while the load offered is above
  what the engine can serve, a restore is refused and the refusal recorded, unless forced.
  What it can serve is the capacity the host states, or else the rate it served in the
  window in which the threshold was passed. Drops by rules alone cannot be re-checked while
  nothing is inspected: such a restore is granted, and the meter judges anew.
- **Restore after a set time** (`restore_after_ns`) is the same restore, given by the clock,
  that long after entering, for whatever reason; refused, it is tried again as much later.
  Without the option the engine stays in fallback until somebody restores it, or the policy of
  `reentry` finds the causes gone for long enough (`restore_automatically`, the same input).
- **How much is inspected after a restore** is no third state: it is normal, with a share
  (`reentry`) that grows to all; what goes wrong meanwhile is an input like any other.
- **After a restore the meter's window begins anew** (`Guard` sees to it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from nsdata.errors import EngineError, SettingError
from nsdata.fallback.drop_meter import Attribution, DropMeter, Reading
from nsdata.fallback.ledger import Count, LedgerSnapshot, Why
from nsdata.fallback.reasons import FAULT_REASONS, Reason, Severity, State, about

NEAR_POINTS = 0.10  # a ratio this close below the threshold is a near miss
MAX_TRANSITIONS_KEPT = 1000  # newest; every one is returned to the host anyway


class Input(StrEnum):
    """What can happen to the controller."""

    MANUAL_FALLBACK = "fallback by hand"
    THRESHOLD = "drop ratio over threshold"
    FAULT = "fault reported"
    FAULT_CLEARED = "fault cleared"
    MANUAL_RESTORE = "restore by hand"
    TIMED_RESTORE = "restore time reached"


class When(StrEnum):
    """Condition of a row; exactly one row of a state and an input applies."""

    ALWAYS = "always"
    OUTRANKS = "it outranks the reason"
    NEW = "it does not outrank the reason"
    KNOWN = "it is known already"
    CAUSE_GONE = "cause gone, unknowable, or forced"
    CAUSE_HOLDS = "cause still holds"


class Outcome(StrEnum):
    """What a row does; all but IGNORED are recorded."""

    ENTERED = "entered"
    RESTORED = "restored"
    REASON_CHANGED = "reason changed"
    REASON_ADDED = "reason added"
    REFUSED = "refused"
    IGNORED = "ignored"


class Row(NamedTuple):
    """One line of the state table."""

    state: State
    input: Input
    when: When
    to: State
    outcome: Outcome


_N, _F = State.NORMAL, State.FALLBACK
STATE_TABLE: tuple[Row, ...] = (
    Row(_N, Input.MANUAL_FALLBACK, When.ALWAYS, _F, Outcome.ENTERED),
    Row(_N, Input.THRESHOLD, When.ALWAYS, _F, Outcome.ENTERED),
    Row(_N, Input.FAULT, When.ALWAYS, _F, Outcome.ENTERED),
    Row(_N, Input.FAULT_CLEARED, When.ALWAYS, _N, Outcome.IGNORED),
    Row(_N, Input.MANUAL_RESTORE, When.ALWAYS, _N, Outcome.REFUSED),
    Row(_N, Input.TIMED_RESTORE, When.ALWAYS, _N, Outcome.IGNORED),
    Row(_F, Input.MANUAL_FALLBACK, When.ALWAYS, _F, Outcome.REFUSED),
    Row(_F, Input.THRESHOLD, When.ALWAYS, _F, Outcome.IGNORED),
    Row(_F, Input.FAULT, When.OUTRANKS, _F, Outcome.REASON_CHANGED),
    Row(_F, Input.FAULT, When.NEW, _F, Outcome.REASON_ADDED),
    Row(_F, Input.FAULT, When.KNOWN, _F, Outcome.IGNORED),
    Row(_F, Input.FAULT_CLEARED, When.ALWAYS, _F, Outcome.IGNORED),
    Row(_F, Input.MANUAL_RESTORE, When.CAUSE_GONE, _N, Outcome.RESTORED),
    Row(_F, Input.MANUAL_RESTORE, When.CAUSE_HOLDS, _F, Outcome.REFUSED),
    Row(_F, Input.TIMED_RESTORE, When.CAUSE_GONE, _N, Outcome.RESTORED),
    Row(_F, Input.TIMED_RESTORE, When.CAUSE_HOLDS, _F, Outcome.REFUSED),
)


def markdown_table() -> str:
    """STATE_TABLE as a Markdown table."""
    rows = ["| state | input | when | next state | outcome |", "| --- | --- | --- | --- | --- |"]
    rows += [f"| {r.state} | {r.input} | {r.when} | {r.to} | {r.outcome} |" for r in STATE_TABLE]
    return "\n".join(rows) + "\n"


def mermaid_diagram() -> str:
    """STATE_TABLE as a Mermaid state diagram (ignored inputs left out)."""
    lines = ["stateDiagram-v2", "    [*] --> normal"]
    for row in STATE_TABLE:
        if row.outcome is not Outcome.IGNORED:
            condition = "" if row.when is When.ALWAYS else f" [{row.when}]"
            lines.append(f"    {row.state} --> {row.to}: {row.input}{condition} / {row.outcome}")
    return "\n".join(lines) + "\n"


class Trigger(StrEnum):
    """Whether somebody asked for it."""

    MANUAL = "manual"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant of the run: time, number of the next frame (1-based), and counters.

    `ledger` and `drops_by_rule` are cumulative and hold every frame before `at_packet`.
    """

    now_ns: int
    at_packet: int
    ledger: LedgerSnapshot = field(default_factory=LedgerSnapshot.empty)
    drops_by_rule: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Transition:
    """One entry on the record: a change of state or reason, or a refusal.

    It holds from frame `at_packet` on. `severity`, `cause` and `resolution` are those of
    `reason`. `evidence` is JSON-ready; what it may hold is listed in docs/operations.md.
    """

    sequence: int
    at_ns: int
    at_packet: int
    from_state: State
    to_state: State
    outcome: Outcome
    input: Input
    reason: Reason
    severity: Severity
    cause: str
    resolution: str
    trigger: Trigger
    evidence: Mapping[str, Any]

    @property
    def refused(self) -> bool:
        return self.outcome is Outcome.REFUSED

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, keys in a fixed order."""
        return {
            "sequence": self.sequence,
            "at_ns": self.at_ns,
            "at_packet": self.at_packet,
            "from": self.from_state.value,
            "to": self.to_state.value,
            "outcome": self.outcome.value,
            "input": self.input.value,
            "reason": self.reason.value,
            "severity": self.severity.value,
            "cause": self.cause,
            "resolution": self.resolution,
            "trigger": self.trigger.value,
            "evidence": dict(self.evidence),
        }


class Controller:
    """Decides the state. `capacity_pps` is what the engine can serve, where known."""

    def __init__(
        self,
        meter: DropMeter,
        *,
        restore_after_ns: int | None = None,
        capacity_pps: float | None = None,
    ) -> None:
        if restore_after_ns is not None and restore_after_ns <= 0:
            raise SettingError(f"restore-after must be longer than 0, not {restore_after_ns} ns")
        self._meter = meter  # read only: threshold, minimum and latest reading, as evidence
        self.restore_after_ns = restore_after_ns
        self.capacity_pps = capacity_pps
        self.state = State.NORMAL
        self.reason = Reason.NO_ERROR
        self.transitions: list[Transition] = []
        self._sequence = 0
        self._since: Moment | None = None
        self._due_ns: int | None = None
        self._faults: dict[Reason, dict[str, Any]] = {}
        self._tripped: Reading | None = None  # the reading that led to this fallback
        self._near_count = 0
        self._near_ratio = 0.0
        self._near_at_ns: int | None = None

    def start(self, moment: Moment) -> None:
        """Say when normal operation began; durations count from here."""
        self._since = moment

    def adopt(self, meter: DropMeter) -> None:
        """Another meter is read from now on (`Guard.adopt`)."""
        self._meter = meter

    @property
    def faults(self) -> dict[Reason, dict[str, Any]]:
        """The reported faults that hold, with their evidence, the highest in rank first."""
        return dict(sorted(self._faults.items(), key=lambda held: held[0].rank))

    @property
    def since_ns(self) -> int | None:
        """Since when this state holds, by the clock of its moments; None: not started."""
        return self._since.now_ns if self._since else None

    def next_due_ns(self) -> int | None:
        """When `on_time` is due (the timed restore), or None."""
        return self._due_ns

    # inputs

    def on_reading(
        self, reading: Reading, moment: Moment, evidence: Mapping[str, Any] | None = None
    ) -> Transition | None:
        """A reading of a drop meter: enters fallback when it is over the threshold.

        `evidence`: what is to be said of it, where it is not of all traffic (re-entry).
        """
        if reading.over:
            given = dict(evidence or {})
            return self._apply(
                Input.THRESHOLD, moment, Reason.THRESHOLD, reading=reading, given=given
            )
        if self.state is State.NORMAL and reading.judged:
            if reading.ratio >= self._meter.threshold - NEAR_POINTS:
                self._near_count += 1
            if self._near_at_ns is None or reading.ratio > self._near_ratio:
                self._near_ratio, self._near_at_ns = reading.ratio, reading.now_ns
        return None

    def fallback(
        self, moment: Moment, note: str = "", evidence: Mapping[str, Any] | None = None
    ) -> Transition | None:
        """The operator puts the engine into fallback, for whatever `evidence` says more of."""
        given = {**({"note": note} if note else {}), **(evidence or {})}
        return self._apply(Input.MANUAL_FALLBACK, moment, Reason.NO_ERROR, given=given)

    def restore(
        self, moment: Moment, *, force: bool = False, evidence: Mapping[str, Any] | None = None
    ) -> Transition | None:
        """The operator restores the engine to normal; `force` skips the re-check."""
        given = dict(evidence or {})
        return self._apply(Input.MANUAL_RESTORE, moment, Reason.NO_ERROR, given=given, force=force)

    def on_time(self, moment: Moment) -> Transition | None:
        """The clock: restores when the timed restore is due."""
        if self._due_ns is None or moment.now_ns < self._due_ns:
            return None
        return self.restore_automatically(moment)

    def restore_automatically(
        self, moment: Moment, evidence: Mapping[str, Any] | None = None
    ) -> Transition | None:
        """A policy (`reentry`) finds that it is time to restore: re-checked as always."""
        given = dict(evidence or {})
        return self._apply(Input.TIMED_RESTORE, moment, Reason.NO_ERROR, given=given)

    def fault(
        self, reason: Reason, moment: Moment, evidence: Mapping[str, Any] | None = None
    ) -> Transition | None:
        """Something outside the packet path has failed; holds until `clear_fault`."""
        if reason not in FAULT_REASONS:
            raise EngineError(
                f"{reason.value!r} is not a fault that can be reported; legal: "
                + ", ".join(r.value for r in Reason if r in FAULT_REASONS)
            )
        return self._apply(Input.FAULT, moment, reason, given=dict(evidence or {}))

    def clear_fault(self, reason: Reason, moment: Moment) -> Transition | None:
        """A fault is over. The engine stays in fallback until it is restored."""
        self._faults.pop(reason, None)
        return self._apply(Input.FAULT_CLEARED, moment, reason)

    # the table at work

    def _apply(
        self,
        event: Input,
        moment: Moment,
        reason: Reason,
        *,
        reading: Reading | None = None,
        given: dict[str, Any] | None = None,
        force: bool = False,
    ) -> Transition | None:
        recheck = self.recheck(force) if self.state is _F else {}
        row = self._row(event, reason, recheck)
        if event is Input.FAULT:
            self._faults[reason] = given or {}
        if row.outcome is Outcome.IGNORED:
            return None
        evidence = self._evidence(moment, reading or self._meter.last, given or {})
        if event in (Input.MANUAL_RESTORE, Input.TIMED_RESTORE):
            evidence["recheck"] = recheck or {"holds": False, "why": "already normal"}
        elif row.outcome is Outcome.REFUSED:
            evidence["recheck"] = {"holds": True, "why": "already in fallback"}
        if self.state is _F:
            evidence["permitted_uninspected"] = self._permitted(moment)
        before = self.state
        recorded = self._settle(row, event, reason, reading, moment)
        others = sorted(
            (set(self._faults) | self._threshold_held()) - {recorded}, key=lambda r: r.rank
        )
        evidence["also_holding"] = [other.value for other in others]
        return self._record(row, event, recorded, moment, before, evidence)

    def _row(self, event: Input, reason: Reason, recheck: Mapping[str, Any]) -> Row:
        applies = {When.ALWAYS}
        if event is Input.FAULT:
            if reason is self.reason or reason in self._faults:
                applies.add(When.KNOWN)
            else:
                applies.add(When.OUTRANKS if reason.rank < self.reason.rank else When.NEW)
        elif event in (Input.MANUAL_RESTORE, Input.TIMED_RESTORE):
            applies.add(When.CAUSE_HOLDS if recheck.get("holds") else When.CAUSE_GONE)
        rows = [
            row
            for row in STATE_TABLE
            if row.state is self.state and row.input is event and row.when in applies
        ]
        if len(rows) != 1:
            raise EngineError(f"the state table has {len(rows)} rows for {self.state}, {event}")
        return rows[0]

    def _settle(
        self, row: Row, event: Input, reason: Reason, reading: Reading | None, moment: Moment
    ) -> Reason:
        """Carry the row out; give the reason to put on record."""
        if row.outcome is Outcome.ENTERED:
            self.state, self.reason = row.to, reason
            self._tripped = reading
            self._since = moment
            if self.restore_after_ns is not None:
                self._due_ns = moment.now_ns + self.restore_after_ns
        elif row.outcome is Outcome.REASON_CHANGED:
            self.reason = reason
        elif row.outcome is Outcome.RESTORED:
            self.state, self.reason = row.to, Reason.NO_ERROR
            self._since = moment
            self._due_ns = self._tripped = None
            self._faults.clear()
            self._near_count, self._near_ratio, self._near_at_ns = 0, 0.0, None
        elif event is Input.TIMED_RESTORE and self.restore_after_ns is not None:
            self._due_ns = moment.now_ns + self.restore_after_ns
        return reason if row.outcome is Outcome.REASON_ADDED else self.reason

    def _record(
        self,
        row: Row,
        event: Input,
        reason: Reason,
        moment: Moment,
        before: State,
        evidence: Mapping[str, Any],
    ) -> Transition:
        self._sequence += 1
        manual = event in (Input.MANUAL_FALLBACK, Input.MANUAL_RESTORE)
        told = about(reason, row.to)
        entry = Transition(
            sequence=self._sequence,
            at_ns=moment.now_ns,
            at_packet=moment.at_packet,
            from_state=before,
            to_state=row.to,
            outcome=row.outcome,
            input=event,
            reason=reason,
            severity=told.severity,
            cause=told.cause,
            resolution=told.resolution,
            trigger=Trigger.MANUAL if manual else Trigger.AUTOMATIC,
            evidence=evidence,
        )
        self.transitions.append(entry)
        del self.transitions[:-MAX_TRANSITIONS_KEPT]
        return entry

    # what is known

    def _threshold_held(self) -> set[Reason]:
        return {Reason.THRESHOLD} if self._tripped is not None else set()

    def recheck(self, force: bool = False) -> dict[str, Any]:
        """Whether the cause of the fallback still holds (`holds`), as far as it can be known,
        and `why`: what a restore is granted or refused by. JSON-ready."""
        found: dict[str, Any] = {"holds": False, "forced": force}
        why: list[str] = []
        standing = sorted(self._faults, key=lambda r: r.rank)
        if standing:
            found["holds"] = True
            why.append("not cleared: " + ", ".join(r.value for r in standing))
        if self._tripped is not None:
            if self._tripped.attribution is Attribution.OVER_TUNING:
                why.append("drops by rules cannot be re-checked while nothing is inspected")
            else:
                measured = self.capacity_pps is None
                capacity = self._tripped.served_pps if measured else self.capacity_pps
                assert capacity is not None
                offered = (self._meter.last or self._tripped).offered_pps
                found["offered_pps"] = round(offered, 3)
                found["capacity_pps"] = round(capacity, 3)
                found["capacity_source"] = "measured" if measured else "stated"
                if offered > capacity:
                    found["holds"] = True
                    why.append("still over-subscribed: load offered is above capacity")
                else:
                    why.append("load offered is within capacity")
        found["why"] = "; ".join(why) or "nothing stands against it"
        if force and found["holds"]:
            found["holds"] = False
            found["overridden"] = True
        return found

    def _permitted(self, moment: Moment) -> dict[str, int]:
        """What has been forwarded uninspected because of this fallback."""
        start = self._since.ledger.why(Why.FALLBACK) if self._since else Count()
        gone = moment.ledger.why(Why.FALLBACK) - start
        return {"packets": gone.packets, "bytes": gone.bytes}

    def _evidence(
        self, moment: Moment, reading: Reading | None, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        evidence: dict[str, Any] = {}
        if given:
            evidence["given"] = dict(given)
        if reading is not None:
            evidence["window"] = {
                "start_ns": reading.window_start_ns,
                "end_ns": reading.now_ns,
                "length_ns": reading.length_ns,
            }
            evidence["counters"] = {
                "received": reading.received,
                "inspected": reading.inspected,
                "bypassed": reading.bypassed,
                "blocked": reading.blocked,
                "lost": reading.lost,
                "dropped": reading.dropped,
            }
            evidence["ratio"] = round(reading.ratio, 6)
            evidence["attribution"] = reading.attribution.value
            evidence["top_rules"] = [
                {"rule": top.rule, "packets": top.packets, "share": round(top.share, 6)}
                for top in reading.top_rules
            ]
            evidence["offered_pps"] = round(reading.offered_pps, 3)
            evidence["served_pps"] = round(reading.served_pps, 3)
            evidence["peak"] = {
                "ratio": round(reading.peak_ratio, 6),
                "at_ns": reading.peak_at_ns,
            }
        evidence["threshold"] = self._meter.threshold
        evidence["minimum_packets"] = self._meter.minimum_packets
        if self.state is State.NORMAL:
            evidence["near_misses"] = {
                "count": self._near_count,
                "highest_ratio": round(self._near_ratio, 6),
                "at_ns": self._near_at_ns,
                "margin": round(self._meter.threshold - self._near_ratio, 6),
            }
        since = self._since.now_ns if self._since else moment.now_ns
        evidence["previous"] = {
            "state": self.state.value,
            "reason": self.reason.value,
            "since_ns": since,
            "duration_ns": moment.now_ns - since,
        }
        return evidence
