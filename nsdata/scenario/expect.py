"""What must be true in a scenario: the model of an `[[expect]]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nsdata.fallback.controller import Outcome
from nsdata.fallback.ledger import Fate, Why
from nsdata.fallback.reasons import Reason, Severity, State
from nsdata.scenario.parts import Duration, Name, Part, of
from nsdata.units import duration_text

_NUMBERED = re.compile(r"[1-9][0-9]{0,9}")
COMPARISON = re.compile(r"(>=|<=|!=|>|<)\s*(-?[0-9]+(?:\.[0-9]+)?)")
COUNTED = ("received", *(fate.token for fate in Fate), *(why.token for why in Why))


def _sids(value: Mapping[str, int]) -> Mapping[str, int]:
    for sid in value:
        if not _NUMBERED.fullmatch(sid):
            raise ValueError(f"{sid!r} is no rule; legal: its sid in quotation marks")
    return value


def _counted(value: Mapping[str, int]) -> Mapping[str, int]:
    for name in value:
        if name not in COUNTED:
            raise ValueError(f"{name!r} is not counted; legal: {', '.join(dict.fromkeys(COUNTED))}")
    return value


def _one(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Count = Annotated[int, Field(ge=0)]
BySid = Annotated[dict[str, Count], AfterValidator(_sids)]
ByFate = Annotated[dict[str, Count], AfterValidator(_counted)]
Reasons = Annotated[tuple[Reason, ...], BeforeValidator(_one)]
Told = str | int | float | bool
OF_STATE = ("state", "reason", "severity")
OF_ENTRY = ("outcome", "evidence", "also_holding")
OF_EVENT = ("event",)
OF_FIGURES = (
    "alerts", "alerts_at_least", "packets", "packets_at_least", "packets_at_most",
    "permitted_at_least", "transitions", "lines_lost",
)  # fmt: skip
CHECKS = (*OF_STATE, *OF_ENTRY, *OF_EVENT, *OF_FIGURES)


class Expect(Part):
    """One expectation, one test case. All that is said in it must hold."""

    name: str | None = of(None, "of the test case; else made of what it says", max_length=120)
    only: Literal["virtual", "real"] | None = of(None, "leave it out of the other kind of run")

    after: Name | None = of(None, "counts from this action")
    at: Duration | None = of(None, "counts from so long after the start")
    at_packet: int | None = of(None, "counts from when so many packets have come", ge=1)
    within: Duration | None = of(None, "must come true in this time", gt=0)
    within_packets: int | None = of(None, "must come true in so many packets", ge=1)
    lasts: Duration | None = of(None, "must stay true for this time", alias="for", gt=0)

    state: State | None = of(None, "normal or fallback")
    reason: Reason | None = of(None, "one of the eight")
    severity: Severity | None = of(None, "Critical, Warning or Info")
    outcome: Outcome | None = of(None, "an entry on the record: entered, restored, refused, …")
    evidence: dict[str, Told] = of(
        {}, 'an entry with this evidence: dotted key = value, `">= 0.9"` or `"*"` (is there)'
    )
    also_holding: Reasons = of((), "an entry that lists these reasons as holding, too")
    event: str | None = of(None, "an event of this kind on the record, such as `crash`")
    subject: str | None = of(None, "of `event`: of this process or part alone")
    times: Count | None = of(None, "of `event`: exactly so often; else at least once")
    alerts: BySid = of({}, "alerts of rules, by sid: exactly so many")
    alerts_at_least: BySid = of({}, "alerts of rules, by sid: so many or more")
    packets: ByFate = of({}, "packets by fate or reason of the ledger: exactly so many")
    packets_at_least: ByFate = of({}, "the same: so many or more")
    packets_at_most: ByFate = of({}, "the same: so many or fewer")
    permitted_at_least: float | None = of(
        None, "share of the packets received that went on, inspected or not", ge=0, le=1
    )
    transitions: Count | None = of(None, "changes of state: exactly so many")
    lines_lost: Count | None = of(None, "EVE lines that were lost, in the whole run")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        given = self.given
        if not given:
            raise ValueError(f"expects nothing; say one of {', '.join(CHECKS)}")
        if sum(one is not None for one in (self.after, self.at, self.at_packet)) > 1:
            raise ValueError("counts from one thing: after, at or at_packet")
        timed = [one for one in (self.within, self.within_packets, self.lasts) if one is not None]
        if len(timed) > 1:
            raise ValueError("one of within, within_packets and for")
        if timed and not self.counts_from:
            raise ValueError("within and for count from something: say after, at or at_packet")
        soon = self.within is not None or self.within_packets is not None
        late = [key for key in given if key in OF_FIGURES]
        if soon and late:
            raise ValueError(f"within is of states, entries and events; leave out {late[0]}")
        if (self.subject is not None or self.times is not None) and self.event is None:
            raise ValueError("subject and times are of an event; say which")
        if self.lines_lost is not None and self.counts_from:
            raise ValueError("lines_lost is of the whole run; leave out after, at and at_packet")
        if self.times is not None and soon:
            raise ValueError("times counts to the end or for a time: use for, not within")
        return self

    @property
    def given(self) -> list[str]:
        """Which checks it makes."""
        found = []
        for key in CHECKS:
            value = getattr(self, key)
            if value is not None and value != {} and value != ():
                found.append(key)
        return found

    @property
    def counts_from(self) -> bool:
        """Whether it counts from something but the start."""
        return (self.after, self.at, self.at_packet) != (None, None, None)

    @property
    def what(self) -> str:
        """In words: what must be true, and when."""
        return f"{self.wanted}{self.when}"

    @property
    def wanted(self) -> str:
        """What must be true."""
        parts = []
        for key in self.given:
            value = getattr(self, key)
            if isinstance(value, dict):
                value = ", ".join(f"{name} {one}" for name, one in value.items())
            elif isinstance(value, tuple):
                value = ", ".join(value)
            parts.append(f"{key.replace('_', ' ')} {value}")
        if self.subject is not None:
            parts.append(f"of {self.subject}")
        if self.times is not None:
            parts.append(f"{self.times} times")
        return "; ".join(parts)

    @property
    def when(self) -> str:
        """When."""
        text = ""
        if self.after is not None:
            text = f" after {self.after}"
        elif self.at is not None:
            text = f" at {duration_text(self.at)}"
        elif self.at_packet is not None:
            text = f" at packet {self.at_packet}"
        if self.within is not None:
            text += f" within {duration_text(self.within)}"
        elif self.within_packets is not None:
            text += f" within {self.within_packets} packets"
        elif self.lasts is not None:
            text += f" for {duration_text(self.lasts)}"
        return text

    @property
    def title(self) -> str:
        """Of the test case."""
        return self.name or self.what
