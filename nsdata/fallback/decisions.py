"""What the deciders around the controller tell the host, and who holds which fault.

A decider returns a tuple of these; the host carries them out in the order given: a fault is
declared (`guard.fault`) before the process that caused it is killed, so that traffic is
permitted first and the evidence is kept. All are frozen, and `as_dict` is JSON-ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nsdata.fallback.reasons import Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """Base: something decided, at `at_ns` (when it was due; the host may be later)."""

    at_ns: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `decision` names the kind, the other keys are the fields (those without
        repr are for the host alone)."""
        name = type(self).__name__
        kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        given = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}
        return {"decision": kind, **{key: _plain(value) for key, value in given.items()}}


@dataclass(frozen=True, slots=True)
class Start(Decision):
    """Start process `name`. `attempt` counts its starts from 1 and tags what is observed."""

    name: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class Kill(Decision):
    """Kill (SIGKILL) this attempt of process `name` and report its exit."""

    name: str
    attempt: int
    why: str


@dataclass(frozen=True, slots=True)
class FaultHeld(Decision):
    """A fault began: `guard.fault(reason, moment, evidence)`."""

    reason: Reason
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FaultCleared(Decision):
    """Nothing holds the fault any more: `guard.clear_fault(reason, moment)`."""

    reason: Reason
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Note(Decision):
    """An event for the record; nothing is to be done. `subject`: process, rule, segment."""

    kind: str
    subject: str
    evidence: Mapping[str, Any]


def _plain(value: Any) -> Any:
    if isinstance(value, Reason):
        return value.value
    return dict(value) if isinstance(value, Mapping) else value


class Standing:
    """Which causes hold which fault. A fault holds while one of its causes does.

    A restore that was forced while a cause stood *overrides* that cause: the controller has
    forgotten the fault, and it is not declared again until it is over and comes anew. Another
    cause of the same fault is declared at once.
    """

    def __init__(self) -> None:
        self._held: dict[Reason, dict[str, bool]] = {}  # reason → holder → overridden

    def holds(self, reason: Reason, holder: str) -> bool:
        """Whether this holder holds this fault, overridden or not."""
        return holder in self._held.get(reason, {})

    def holders(self, reason: Reason) -> tuple[str, ...]:
        """Who holds it, in the order they began to."""
        return tuple(self._held.get(reason, {}))

    def hold(
        self, at_ns: int, reason: Reason, holder: str, evidence: Mapping[str, Any]
    ) -> Decision | None:
        """A cause came up (anew): the fault, a note when others hold it, None when known."""
        causes = self._held.setdefault(reason, {})
        declared = not all(causes.values())
        if causes.get(holder) is False:
            return None
        causes[holder] = False
        if declared:
            return Note(at_ns, f"another cause of {reason.value}", holder, evidence)
        return FaultHeld(at_ns, reason, evidence)

    def release(
        self, at_ns: int, reason: Reason, holder: str, evidence: Mapping[str, Any]
    ) -> Decision | None:
        """A cause is over: the fault is cleared with the last one; None if it held nothing."""
        causes = self._held.get(reason, {})
        if holder not in causes:
            return None
        overridden = causes.pop(holder)
        if overridden or not all(causes.values()):
            return Note(at_ns, f"a cause of {reason.value} is over", holder, evidence)
        return FaultCleared(at_ns, reason, evidence)

    def override(self) -> None:
        """The controller was restored to normal: what stands has been overridden."""
        for causes in self._held.values():
            for holder in causes:
                causes[holder] = True
