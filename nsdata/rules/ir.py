"""What the keywords make of a rule: the intermediate representation between text and image.

`Op` mirrors the packet path's `Op` (nsdata/path/rulebase.pxd says what each field means);
names and bytes that only the whole rule set can number stay here as text.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nsdata.errors import NsdataError
from nsdata.path.rulebase import Buffer
from nsdata.rules.parse import RawRule
from nsdata.rules.variables import AddressSet, Intervals


class Refused(NsdataError):
    """A keyword refuses the rule; the builder adds the place and raises RuleError.

    `keyword` replaces the keyword that is being handled, when that is not the culprit.
    """

    def __init__(self, reason: str, keyword: str | None = None) -> None:
        self.reason = reason
        self.keyword = keyword
        super().__init__(reason)


class Skipped(NsdataError):
    """The rule asks (by `requires`) for what this engine has not; it is no error."""


@dataclass(slots=True)
class Op:
    """One operation: a check on a buffer, on the packet or flow, or a post-match action."""

    kind: int
    cmp: int = 0
    flags: int = 0
    nbytes: int = 0
    offset: int = 0
    depth: int = 0
    distance: int = 0
    within: int = 0
    data: int = 0
    length: int = 0
    a: int = 0
    b: int = 0
    c: int = 0
    mask: int = 0
    result: int = 0
    text: bytes = b""  # content (as written), or the PCRE expression
    letters: str = ""  # PCRE flags
    names: tuple[str, ...] = ()  # flowbits, flowint or xbit names; numbered later
    operand: str = ""  # flowint: the variable on the right
    chop: tuple[int, int] | None = None  # fast_pattern:offset,length

    def has(self, flag: int) -> bool:
        return bool(self.flags & flag)


@dataclass(frozen=True, slots=True)
class ThresholdIR:
    """A threshold or detection_filter; numbers as in rulebase.pxd, times in seconds."""

    kind: int
    track: int
    count: int
    seconds: int
    multiplier: int = 0


@dataclass(frozen=True, slots=True)
class FastPattern:
    """The bytes that make a packet a candidate for the rule. `data` is lower case when
    `nocase`."""

    data: bytes
    nocase: bool


@dataclass(slots=True)
class RuleIR:
    """One rule, understood. A rule that works in both directions is one RuleIR."""

    raw: RawRule
    action: int
    src: AddressSet
    dst: AddressSet
    sport: Intervals
    dport: Intervals
    bidirectional: bool
    protos: int = 0
    flags: int = 0
    type: int = 0
    sid: int = 0
    gid: int = 1
    rev: int = 0
    msg: str = ""
    priority: int = 3
    classtype: str = ""
    category: str = ""
    references: list[tuple[str, str]] = field(default_factory=list)
    metadata: dict[str, list[str]] = field(default_factory=dict)
    target: str = ""
    n_vars: int = 0
    buffers: list[tuple[Buffer, list[Op]]] = field(default_factory=list)
    checks: list[Op] = field(default_factory=list)
    posts: list[Op] = field(default_factory=list)
    threshold: ThresholdIR | None = None
    pattern: FastPattern | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def payload(self) -> list[Op]:
        """The ops on the payload, in evaluation order."""
        return next((ops for buffer, ops in self.buffers if buffer == Buffer.BUF_PAYLOAD), [])
