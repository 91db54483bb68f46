"""RuleIR → image: the arrays `nsdata.path.rulebase.RuleBase` takes over.

What each array means stands in nsdata/path/rulebase.pxd, `RuleBase` says which it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nsdata.path.rulebase import OpFlag, OpKind, RuleBase, dtypes
from nsdata.rules.classes import AddressClasses, Numbers, PortClasses
from nsdata.rules.groups import Candidate, Groups, GroupSpec
from nsdata.rules.ir import Op, RuleIR, ThresholdIR
from nsdata.rules.variables import ANY_PORT, ANY_V4, ANY_V6, AddressSet, Intervals

Array = npt.NDArray[Any]

_FLOWBIT_KINDS = frozenset(
    {
        OpKind.CHK_FLOWBITS_ISSET,
        OpKind.CHK_FLOWBITS_ISNOTSET,
        OpKind.POST_FLOWBITS_SET,
        OpKind.POST_FLOWBITS_UNSET,
        OpKind.POST_FLOWBITS_TOGGLE,
    }
)
_FLOWINT_KINDS = frozenset({OpKind.CHK_FLOWINT, OpKind.CHK_FLOWINT_ISSET, OpKind.POST_FLOWINT})
_XBIT_KINDS = frozenset(
    {
        OpKind.CHK_XBITS,
        OpKind.POST_XBITS_SET,
        OpKind.POST_XBITS_UNSET,
        OpKind.POST_XBITS_TOGGLE,
    }
)


@dataclass(slots=True)
class Image:
    """What RuleBase wants, under the names it wants it."""

    rules: Array
    ops: Array
    buffers: Array
    thresholds: Array
    pool: bytes
    lists: Array
    pcres: list[tuple[bytes, str]]
    groups: list[GroupSpec]
    group_of: Array
    port_class: Array
    port_bits: Array
    v4_starts: Array
    v4_class: Array
    v6_starts: Array
    v6_class: Array
    addr_bits: Array
    iponly: list[int]
    events: dict[int, list[int]]
    n_flowbits: int
    n_flowints: int
    n_xbits: int
    flowbits: list[str] = field(default_factory=list)  # names by number
    flowints: list[str] = field(default_factory=list)
    xbits: list[str] = field(default_factory=list)

    def load(self) -> RuleBase:
        """The image as the packet path runs it. Raises ValueError, MemoryError."""
        return RuleBase(self)


class Names(Protocol):
    """What an image calls flowbits, flowints and xbits, by number."""

    @property
    def flowbits(self) -> Sequence[str]: ...
    @property
    def flowints(self) -> Sequence[str]: ...
    @property
    def xbits(self) -> Sequence[str]: ...


class _Names:
    """Numbers names 0, 1, …, after those of the image before."""

    def __init__(self, before: Sequence[str] = ()) -> None:
        self.numbers: dict[str, int] = {name: n for n, name in enumerate(before)}

    def number(self, name: str) -> int:
        return self.numbers.setdefault(name, len(self.numbers))


class _Compiler:
    def __init__(self, before: Names | None = None) -> None:
        self.rules: list[tuple[int, ...]] = []
        self.ops: list[tuple[int, ...]] = []
        self.buffers: list[tuple[int, int, int]] = []
        self.thresholds: list[ThresholdIR] = []
        self.pool = bytearray()
        self.pooled: dict[bytes, int] = {}
        self.lists: list[int] = []
        self.listed: dict[tuple[int, ...], int] = {}
        self.pcres: list[tuple[bytes, str]] = []
        self.pcre_numbers: dict[tuple[bytes, str], int] = {}
        self.addresses = Numbers(AddressSet(ANY_V4, ANY_V6), "address")
        self.ports = Numbers(ANY_PORT, "port")
        self.flowbits = _Names(before.flowbits if before else ())
        self.flowints = _Names(before.flowints if before else ())
        self.xbits = _Names(before.xbits if before else ())
        self.candidates: list[Candidate] = []

    def place(self, text: bytes) -> int:
        """Offset of `text` in the pool."""
        at = self.pooled.get(text)
        if at is None:
            at = self.pooled[text] = len(self.pool)
            self.pool += text
        return at

    def list_at(self, numbers: tuple[int, ...]) -> int:
        at = self.listed.get(numbers)
        if at is None:
            at = self.listed[numbers] = len(self.lists)
            self.lists.extend(numbers)
        return at

    def op(self, op: Op) -> tuple[int, ...]:
        data, length, a = op.data, op.length, op.a
        kind = OpKind(op.kind)
        if kind == OpKind.OP_CONTENT:
            text = op.text.lower() if op.flags & OpFlag.OPF_NOCASE else op.text
            data, length = self.place(text), len(text)
        elif kind == OpKind.OP_PCRE:
            key = (op.text, op.letters)
            if key not in self.pcre_numbers:
                self.pcre_numbers[key] = len(self.pcres)
                self.pcres.append(key)
            data = self.pcre_numbers[key]
        elif kind in _FLOWBIT_KINDS:
            numbers = tuple(self.flowbits.number(name) for name in op.names)
            data, length = self.list_at(numbers), len(numbers)
        elif kind in _FLOWINT_KINDS:
            data = self.flowints.number(op.names[0])
            if op.operand:
                a = self.flowints.number(op.operand)
        elif kind in _XBIT_KINDS:
            data = self.xbits.number(op.names[0])
        return (
            int(kind), int(op.cmp), op.nbytes, int(op.flags), op.offset, op.depth, op.distance,
            op.within, int(data), int(length), int(a), int(op.b), int(op.c), op.mask, op.result,
        )  # fmt: skip

    def put(self, ops: Sequence[Op]) -> int:
        at = len(self.ops)
        self.ops.extend(self.op(op) for op in ops)
        return at

    def add(self, rule: RuleIR, number: int) -> None:
        check_at = self.put(rule.checks)
        post_at = self.put(rule.posts)
        buffer_at = len(self.buffers)
        for buffer, ops in rule.buffers:
            self.buffers.append((int(buffer), len(ops), self.put(ops)))
        threshold = 0
        if rule.threshold is not None:
            self.thresholds.append(rule.threshold)
            threshold = len(self.thresholds)
        ways = [(rule.src, rule.sport, rule.dst, rule.dport)]
        if rule.bidirectional:
            ways.append((rule.dst, rule.dport, rule.src, rule.sport))
        for src, sport, dst, dport in ways:
            sport_set, dport_set = self.ports.number(sport), self.ports.number(dport)
            self.candidates.append(Candidate(rule, sport_set, dport_set))
            self.rules.append(
                (
                    rule.sid, rule.gid, rule.rev, number, int(rule.action), int(rule.type),
                    rule.priority, rule.n_vars, int(rule.flags), int(rule.protos),
                    self.addresses.number(_plain(src)), self.addresses.number(_plain(dst)),
                    sport_set, dport_set, len(rule.checks), len(rule.posts), len(rule.buffers),
                    check_at, post_at, buffer_at, threshold,
                )
            )  # fmt: skip

    def image(self) -> Image:
        kinds = dtypes()
        addresses = AddressClasses(self.addresses.values)
        port_sets: list[Intervals] = self.ports.values
        ports = PortClasses(port_sets)
        groups = Groups(self.candidates, ports.of_set, ports.n_classes)
        thresholds = [
            (int(one.kind), int(one.track), one.count, one.seconds, one.multiplier)
            for one in self.thresholds
        ]
        return Image(
            rules=np.array(self.rules, dtype=kinds["rule"]),
            ops=np.array(self.ops, dtype=kinds["op"]),
            buffers=np.array(self.buffers, dtype=kinds["buffer"]),
            thresholds=np.array(thresholds, dtype=kinds["threshold"]),
            pool=bytes(self.pool),
            lists=np.array(self.lists, dtype=np.uint32),
            pcres=self.pcres,
            groups=groups.specs,
            group_of=groups.group_of,
            port_class=ports.port_class,
            port_bits=ports.bits,
            v4_starts=addresses.v4_starts,
            v4_class=addresses.v4_class,
            v6_starts=addresses.v6_starts,
            v6_class=addresses.v6_class,
            addr_bits=addresses.bits,
            iponly=groups.iponly,
            events=groups.events,
            n_flowbits=len(self.flowbits.numbers),
            n_flowints=len(self.flowints.numbers),
            n_xbits=len(self.xbits.numbers),
            flowbits=list(self.flowbits.numbers),
            flowints=list(self.flowints.numbers),
            xbits=list(self.xbits.numbers),
        )


def _plain(addresses: AddressSet) -> AddressSet:
    """Without the memory of how it was written, so that equal sets share a number."""
    return AddressSet(addresses.v4, addresses.v6) if addresses.negated else addresses


def compile_rules(rules: Sequence[RuleIR], before: Names | None = None) -> Image:
    """The image of `rules`, which stand in evaluation order; Rule.number is the index here.

    `before`: the image these rules take over from while traffic flows. What flows and hosts
    remember is kept by number, so names keep the numbers they have there.
    """
    compiler = _Compiler(before)
    for number, rule in enumerate(rules):
        compiler.add(rule, number)
    return compiler.image()
