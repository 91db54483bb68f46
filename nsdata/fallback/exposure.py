"""What becomes of a segment's traffic that is not inspected: permit, block, or a budget.

In fallback, and outside the share of a re-entry, a segment is permitted (the default) or
blocked as its policy says. A segment that asks for it has an *exposure budget*: so many bytes
or so much time permitted uninspected. When it is used up, permit becomes block for that
segment, with evidence. Once everything is inspected again it is permitted again; the budget is
whole only after `refill_ns` of full inspection, so that going in and out of fallback does
not make it endless.

The host calls `observe` when the exposure changes, when `next_due_ns` is reached, and as often
as bytes are to be looked at: a segment passes its bytes by what comes between two looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nsdata.errors import EngineError, SettingError
from nsdata.fallback.decisions import Decision
from nsdata.fallback.drop_meter import SECOND_NS
from nsdata.units import duration_text

DEFAULT_SEGMENT = "default"  # what no other segment takes
DEFAULT_REFILL_NS = 600 * SECOND_NS


class SegmentAction(StrEnum):
    """What is done with frames that are not inspected."""

    PERMIT = "permit"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class SegmentPolicy:
    """Of one segment. None: no limit of that kind."""

    action: SegmentAction = SegmentAction.PERMIT
    max_bytes: int | None = None
    max_ns: int | None = None

    def check(self, segment: str) -> None:
        """Raise SettingError unless it makes sense."""
        for key, value in (("max-bytes", self.max_bytes), ("max-time", self.max_ns)):
            if value is None:
                continue
            if value <= 0:
                raise SettingError(f"exposure.{key}.{segment} {value} must be above 0")
            if self.action is SegmentAction.BLOCK:
                raise SettingError(
                    f"exposure.{key}.{segment} says how much may pass, but "
                    f"exposure.action.{segment} is block: nothing does"
                )


@dataclass(frozen=True, slots=True)
class SetSegment(Decision):
    """From now on do this with the frames of `segment` that are not inspected."""

    segment: str
    action: SegmentAction
    why: str
    evidence: Mapping[str, Any]


@dataclass(slots=True)
class _Segment:
    policy: SegmentPolicy
    used_bytes: int = 0
    used_ns: int = 0
    seen_bytes: int = 0  # the counter, when last looked at
    blocked: bool = False


class Exposure:
    """Decides per segment; unknown segments are permitted without limit."""

    def __init__(
        self, policies: Mapping[str, SegmentPolicy], refill_ns: int = DEFAULT_REFILL_NS
    ) -> None:
        if refill_ns <= 0:
            raise SettingError(f"exposure.refill {duration_text(refill_ns)} must be longer than 0")
        for name, policy in policies.items():
            policy.check(name)
        self.refill_ns = refill_ns
        self._segments = {name: _Segment(policy) for name, policy in policies.items()}
        self._now: int | None = None
        self._exposed = False
        self._since_ns = 0  # exposed, or fully inspected, since

    def adopt(self, other: Exposure) -> None:
        """The policies of `other` from now on; what was used of budgets stays used."""
        self.refill_ns = other.refill_ns
        for name, theirs in other._segments.items():
            mine = self._segments.setdefault(name, theirs)
            mine.policy = theirs.policy
            mine.blocked = mine.blocked and bool(_used_up(mine))

    def action(self, segment: str) -> SegmentAction:
        """What is to be done with frames of this segment that are not inspected."""
        known = self._segments.get(segment)
        if known is None:
            return SegmentAction.PERMIT
        return SegmentAction.BLOCK if known.blocked else known.policy.action

    def blocked(self, segments: Iterable[str]) -> int:
        """Those of `segments` whose action is block, a bit each by their place."""
        actions = map(self.action, segments)
        return sum(1 << at for at, one in enumerate(actions) if one is SegmentAction.BLOCK)

    def observe(
        self, now_ns: int, exposed: bool, permitted_bytes: Mapping[str, int]
    ) -> tuple[SetSegment, ...]:
        """Whether, from now on, some traffic is not inspected, and per segment the bytes that
        were permitted uninspected, cumulative (a counter that began anew counts from 0).

        EngineError when time runs backwards.
        """
        if self._now is None:
            self._now = self._since_ns = now_ns
            for name, segment in self._segments.items():
                segment.seen_bytes = permitted_bytes.get(name, 0)
        if now_ns < self._now:
            raise EngineError(f"time ran backwards in the exposure: {self._now} → {now_ns}")
        out = self._use(now_ns, permitted_bytes)
        if exposed is not self._exposed:
            out += self._turn(now_ns, exposed)
        self._now = now_ns
        return tuple(out)

    def next_due_ns(self) -> int | None:
        """When the first budget of time is used up, if nothing changes."""
        if self._now is None or not self._exposed:
            return None
        left = [
            segment.policy.max_ns - segment.used_ns
            for segment in self._segments.values()
            if segment.policy.max_ns is not None and not segment.blocked
        ]
        return self._now + min(left) if left else None

    def status(self) -> dict[str, dict[str, Any]]:
        """Of every segment with a policy: action, what is used, its budget; JSON-ready."""
        return {
            name: {"action": self.action(name).value, **_told(segment)}
            for name, segment in self._segments.items()
        }

    def _use(self, now_ns: int, permitted: Mapping[str, int]) -> list[SetSegment]:
        assert self._now is not None
        out = []
        for name, segment in self._segments.items():
            seen = permitted.get(name, segment.seen_bytes)
            more = seen - segment.seen_bytes if seen >= segment.seen_bytes else seen
            segment.seen_bytes = seen
            if not self._exposed or segment.blocked:
                continue
            maximum, before = segment.policy.max_ns, segment.used_ns
            segment.used_bytes += more
            segment.used_ns += now_ns - self._now
            at_ns = now_ns
            if maximum is not None and segment.used_ns >= maximum:
                at_ns = self._now + max(0, maximum - before)  # when the time was over
            out += self._judge(name, segment, at_ns)
        return out

    def _turn(self, now_ns: int, exposed: bool) -> list[SetSegment]:
        """Exposure begins, or everything is inspected again."""
        out = []
        full_ns = now_ns - self._since_ns
        self._exposed, self._since_ns = exposed, now_ns
        for name, segment in self._segments.items():
            if exposed:
                if full_ns >= self.refill_ns:
                    segment.used_bytes = segment.used_ns = 0
                out += self._judge(name, segment, now_ns)
            elif segment.blocked:
                segment.blocked = False
                why = "everything is inspected again"
                action = segment.policy.action
                out.append(SetSegment(now_ns, name, action, why, _told(segment)))
        return out

    def _judge(self, name: str, segment: _Segment, at_ns: int) -> list[SetSegment]:
        over = _used_up(segment)
        if not over:
            return []
        segment.blocked = True
        told = {**_told(segment), "exposed_since_ns": self._since_ns, "used_up": over}
        why = f"its exposure budget is used up ({' and '.join(over)})"
        return [SetSegment(at_ns, name, SegmentAction.BLOCK, why, told)]


def _used_up(segment: _Segment) -> list[str]:
    """The budgets that are."""
    policy, over = segment.policy, []
    if policy.max_bytes is not None and segment.used_bytes >= policy.max_bytes:
        over.append("bytes")
    if policy.max_ns is not None and segment.used_ns >= policy.max_ns:
        over.append("time")
    return over


def _told(segment: _Segment) -> dict[str, Any]:
    return {
        "used_bytes": segment.used_bytes,
        "max_bytes": segment.policy.max_bytes,
        "used_ns": segment.used_ns,
        "max_ns": segment.policy.max_ns,
    }
