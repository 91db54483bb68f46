"""A notification: what an operator is told, in words and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from nsdata.appliance.log import utc_text
from nsdata.fallback.controller import Outcome
from nsdata.fallback.reasons import Severity
from nsdata.output.shown import gist

TRANSITION, HEALTH, EVENT, TEST = "transition", "health", "event", "test"
_LEVELS = {"green": Severity.INFO, "yellow": Severity.WARNING, "unknown": Severity.WARNING,
           "red": Severity.CRITICAL}  # fmt: skip
_ALARMING = frozenset({
    "crash", "failed", "killed", "output", "store failed", "capture", "port was alone",
    "orphaned port ended", "orphaned port remains",
})  # fmt: skip


class Refused(Exception):
    """The other side will never take this notification."""


class Failed(Exception):
    """The other side did not take it now. after_s: it asks not to be tried again before."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class Target(Protocol):
    """Where notifications go. Only one thread uses it."""

    def deliver(self, one: Notification) -> str:
        """Hand it over; what the other side said. Raises Refused or Failed."""

    def close(self) -> None:
        """Let go."""


@dataclass(frozen=True, slots=True)
class Notification:
    """`at_ns`, since the epoch, tells those of one appliance apart; `told` is JSON-ready."""

    appliance: str
    at_ns: int
    kind: str
    told: Mapping[str, Any] = field(hash=False)

    @property
    def id(self) -> str:
        """The same however often it is sent."""
        return f"{self.appliance}-{self.at_ns}"

    @property
    def severity(self) -> Severity:
        """Of a transition that of its reason; a return to normal informs."""
        if self.kind == TRANSITION:
            return Severity(self.told["severity"])
        if self.kind == HEALTH:
            return _LEVELS[self.told["level"]]
        alarming = self.kind == EVENT and self.told["event"] in _ALARMING
        return Severity.WARNING if alarming else Severity.INFO

    @property
    def summary(self) -> str:
        """One line for people, ASCII."""
        told = self.told
        match self.kind:
            case "transition":
                text = _SUMMARY[Outcome(told["outcome"])].format(**told)
                if told["outcome"] in _CAUSED and (why := gist(told.get("evidence") or {})):
                    text += f" ({why})"
            case "health":
                text = f"health is {told['level']}, score {told['score']}"
            case "event":
                text = f"{told['event']} {told['subject']}".strip()
                if why := gist({**(told.get("evidence") or {}), "process": ""}):
                    text += f" ({why})"
            case _:
                text = "this is a test"
        return f"{self.appliance}: {text}".replace("µ", "u").encode("ascii", "replace").decode()

    @property
    def when(self) -> str:
        """In UTC, to the microsecond (RFC 3339)."""
        return utc_text(self.at_ns)

    def as_dict(self) -> dict[str, Any]:
        """The body of a webhook."""
        return {
            "id": self.id,
            "type": f"nsdata.{self.kind}",
            "timestamp": self.when,
            "appliance": self.appliance,
            "severity": self.severity.value,
            "summary": self.summary,
            "data": dict(self.told),
        }


_CAUSED = {Outcome.ENTERED, Outcome.REASON_CHANGED, Outcome.REASON_ADDED}
_SUMMARY = {
    Outcome.ENTERED: "entered fallback ({trigger}): {reason}; nothing is inspected",
    Outcome.RESTORED: "back to normal ({trigger}): inspecting",
    Outcome.REASON_CHANGED: "still in fallback, now for: {reason}",
    Outcome.REASON_ADDED: "still in fallback; also: {reason}",
    Outcome.REFUSED: "refused: {input}, while {from}",
}
