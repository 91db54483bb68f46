"""Which rules a packet can be a candidate for: groups by protocol, direction and port.

The rule of it stands in nsdata/path/rulebase.pxd (candidate selection).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nsdata.errors import EngineError
from nsdata.path.rulebase import GroupClass, GroupKind, OpKind, ProtoBit, RuleFlag, RuleType
from nsdata.rules.ir import RuleIR

NO_GROUP = 0xFFFF
# Entries of rules in port groups; beyond it rules with the widest port sets are kept in
# the groups of all ports, where their ports are tested as well.
MAX_ENTRIES = 50_000
_OTHER = ProtoBit.PB_ICMP | ProtoBit.PB_ICMPV6 | ProtoBit.PB_SCTP | ProtoBit.PB_OTHER


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image rule: what it is, and the numbers of its port sets."""

    rule: RuleIR
    sport_set: int
    dport_set: int


@dataclass(slots=True)
class GroupSpec:
    """`patterns`: (bytes, nocase, image rule indices), `always`: rules without pattern."""

    patterns: list[tuple[bytes, bool, list[int]]]
    always: list[int]


def classes_of(rule: RuleIR) -> list[GroupClass]:
    """The group classes the rule belongs to."""
    classes = []
    payload = rule.flags & RuleFlag.RF_PAYLOAD
    if rule.protos & ProtoBit.PB_TCP:
        if not payload or rule.flags & RuleFlag.RF_REQUIRE_PACKET:
            classes.append(GroupClass.CLASS_TCP_PACKET)
        if payload and rule.flags & RuleFlag.RF_REQUIRE_STREAM:
            classes.append(GroupClass.CLASS_TCP_STREAM)
    if rule.protos & ProtoBit.PB_UDP:
        classes.append(GroupClass.CLASS_UDP)
    if rule.protos & _OTHER:
        classes.append(GroupClass.CLASS_OTHER)
    return classes


def directions_of(rule: RuleIR) -> tuple[int, ...]:
    """0 to server, 1 to client."""
    if rule.flags & RuleFlag.RF_TO_SERVER:
        return (0,)
    if rule.flags & RuleFlag.RF_TO_CLIENT:
        return (1,)
    return (0, 1)


def searched(pattern: bytes) -> bytes:
    """What is searched for a rule's pattern: all of it but a run of one byte at its end.

    Hyperscan looks for the last bytes of a literal first, so one that ends in zeros is a near
    hit at every byte of a payload full of zeros (a twentyfold cost on padded UDP). A candidate
    is evaluated as a whole anyway; a run keeps one byte, and the literal at least three.
    """
    start = len(pattern.rstrip(pattern[-1:]))
    return pattern[: max(start + 1, 3)] if start else pattern


class Groups:
    """`specs`, `group_of` [class, direction, kind, port class], `iponly`, `events`."""

    def __init__(
        self, candidates: Sequence[Candidate], of_set: Sequence[Sequence[int]], n_classes: int
    ) -> None:
        self.specs: list[GroupSpec] = []
        self.iponly: list[int] = []
        self.events: dict[int, list[int]] = {}
        self._candidates = candidates
        self._known: dict[tuple[int, ...], int] = {}
        widest = self._widest(candidates, of_set)
        members: defaultdict[tuple[int, int, int, int], list[int]] = defaultdict(list)
        for index, candidate in enumerate(candidates):
            rule = candidate.rule
            if rule.type == RuleType.RULE_IPONLY:
                self.iponly.append(index)
                continue
            event = next((op.data for op in rule.checks if op.kind == OpKind.CHK_EVENT), None)
            if event is not None and rule.pattern is None:
                self.events.setdefault(int(event), []).append(index)
                continue
            kind, ports = _key(candidate, of_set, widest)
            for group_class in classes_of(rule):
                for direction in directions_of(rule):
                    for port in ports:
                        members[(int(group_class), direction, int(kind), port)].append(index)
        self.group_of: npt.NDArray[Any] = np.full(
            (GroupClass.CLASS_COUNT, 2, GroupKind.GROUP_KINDS, max(n_classes, 1)),
            NO_GROUP,
            dtype=np.uint16,
        )
        absorbed = self._absorb(members)
        for place, rules in members.items():
            number = self._group(tuple(rules))
            if place[2] == GroupKind.GROUP_ANY:
                self.group_of[place[:3]] = number
            else:
                self.group_of[place] = number
        for pair, port in absorbed:
            self.group_of[(*pair, GroupKind.GROUP_ANY, port)] = NO_GROUP

    @staticmethod
    def _absorb(
        members: dict[tuple[int, int, int, int], list[int]],
    ) -> list[tuple[tuple[int, int], int]]:
        """Put the rules of all ports into the groups by destination port, where they are few,
        so that a packet is scanned once for both; returns ((class, direction), port class).

        Port class 0 keeps two groups: what has no ports looks for the rules of all ports there.
        """
        absorbed = []
        everywhere = [place for place in members if place[2] == GroupKind.GROUP_ANY]
        for place_of_all in everywhere:
            pair, rules = place_of_all[:2], members[place_of_all]
            kind = (*pair, int(GroupKind.GROUP_DPORT))
            places = [place for place in members if place[:3] == kind and place[3]]
            if len(rules) * len(places) <= MAX_ENTRIES:
                for place in places:
                    members[place] = sorted({*members[place], *rules})
                    absorbed.append((pair, place[3]))
        return absorbed

    @staticmethod
    def _widest(candidates: Sequence[Candidate], of_set: Sequence[Sequence[int]]) -> int:
        """The most port classes a rule may be entered in."""
        widths = [len(of_set[one.dport_set or one.sport_set]) for one in candidates]
        limit = max(widths, default=0)
        while sum(width for width in widths if width <= limit) > MAX_ENTRIES:
            limit //= 2
        return limit

    def _group(self, rules: tuple[int, ...]) -> int:
        known = self._known.get(rules)
        if known is None:
            known = self._known[rules] = len(self.specs)
            if known >= NO_GROUP:
                raise EngineError(
                    f"the rules fall into more than {NO_GROUP} groups by port. "
                    "Load fewer rules with ports of their own"
                )
            self.specs.append(self._spec(rules))
        return known

    def _spec(self, rules: Iterable[int]) -> GroupSpec:
        patterns: dict[tuple[bytes, bool], list[int]] = {}
        always: list[int] = []
        for index in rules:
            pattern = self._candidates[index].rule.pattern
            if pattern is None:
                always.append(index)
            else:
                key = (searched(pattern.data), pattern.nocase)
                patterns.setdefault(key, []).append(index)
        return GroupSpec([(*key, hits) for key, hits in patterns.items()], always)


def _key(
    candidate: Candidate, of_set: Sequence[Sequence[int]], widest: int
) -> tuple[GroupKind, Sequence[int]]:
    """The kind of group and the port classes the rule is entered in."""
    if candidate.dport_set and len(of_set[candidate.dport_set]) <= widest:
        return GroupKind.GROUP_DPORT, of_set[candidate.dport_set]
    sources = of_set[candidate.sport_set]
    if candidate.sport_set and not candidate.dport_set and len(sources) <= widest:
        return GroupKind.GROUP_SPORT, sources
    return GroupKind.GROUP_ANY, (0,)
