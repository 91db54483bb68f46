"""The rule under construction: what keyword handlers read and write."""

from __future__ import annotations

from nsdata.path.rulebase import (
    MAX_VARS,
    Buffer,
    Compare,
    Field,
    OpFlag,
    OpKind,
    ProtoBit,
    RuleFlag,
)
from nsdata.rules.ir import Op, Refused, RuleIR

# Ops after which the position in the buffer has moved.
_MOVES = frozenset({OpKind.OP_CONTENT, OpKind.OP_PCRE, OpKind.OP_BYTE_JUMP, OpKind.OP_BYTE_EXTRACT})
PROTOCOL_NAMES = {
    ProtoBit.PB_TCP: "TCP",
    ProtoBit.PB_UDP: "UDP",
    ProtoBit.PB_ICMP: "ICMP",
    ProtoBit.PB_ICMPV6: "ICMPv6",
    ProtoBit.PB_SCTP: "SCTP",
    ProtoBit.PB_OTHER: "other IP protocols",
}


class Builder:
    """Collects one rule. `negated` tells the handler of a keyword declared with
    negation that a `!` stood before its value."""

    def __init__(self, rule: RuleIR) -> None:
        self.rule = rule
        self.negated = False
        self.keyword = ""
        self.seen: set[str] = set()
        self.vars: dict[str, int] = {}
        self.buffers: dict[Buffer, list[Op]] = {}
        self.buffer = Buffer.BUF_PAYLOAD
        self.content: Op | None = None  # the last content: what modifiers apply to
        self.content_buffer = Buffer.BUF_PAYLOAD
        self.fast: Op | None = None  # the content with fast_pattern
        self.fast_only = False
        self.priority_set = False
        self.matchers = 0  # keywords that match (for `prefilter`)
        self.dsize: Op | None = None

    # --- bookkeeping ---------------------------------------------------------------

    def once(self, name: str, what: str | None = None) -> None:
        """Refuse a second use of `name` in the rule."""
        if name in self.seen:
            raise Refused(f"{what or name} is given twice. Keep one")
        self.seen.add(name)

    def require_packet(self) -> None:
        self.rule.flags |= RuleFlag.RF_REQUIRE_PACKET

    def needs_flow(self) -> None:
        self.rule.flags |= RuleFlag.RF_NEEDS_FLOW

    def only(self, protos: int) -> None:
        """The rule can match packets of these protocols alone."""
        left = self.rule.protos & protos
        if not left:
            names = " or ".join(name for bit, name in PROTOCOL_NAMES.items() if bit & protos)
            raise Refused(
                f"it is about {names}, the rule about {self.rule.raw.protocol}: it can never match"
            )
        self.rule.protos = left

    def only_version(self, flag: int) -> None:
        """RF_IPV4 or RF_IPV6."""
        self.rule.flags |= flag
        both = RuleFlag.RF_IPV4 | RuleFlag.RF_IPV6
        if self.rule.flags & both == both:
            raise Refused("the rule asks for IPv4 and for IPv6 at once: it can never match")

    # --- ops -----------------------------------------------------------------------

    def check(self, op: Op) -> Op:
        self.rule.checks.append(op)
        self.matchers += 1
        return op

    def post(self, op: Op) -> Op:
        self.rule.posts.append(op)
        self.matchers += 1
        return op

    def check_field(self, field: Field, value: tuple[Compare, int, int]) -> Op:
        """A packet field compared with a number; looks at the packet, not the stream."""
        self.require_packet()
        compare, a, b = value
        return self.check(Op(OpKind.CHK_FIELD, cmp=compare, data=field, a=a, b=b))

    def add(self, op: Op, *, relative: bool = False) -> Op:
        """Append an op to the current buffer."""
        ops = self.buffers.setdefault(self.buffer, [])
        ops.append(op)
        self.matchers += 1
        if relative:
            self.mark_relative(ops, len(ops) - 1)
        return op

    def mark_relative(self, ops: list[Op], index: int) -> None:
        """ops[index] depends on where the ops before it matched."""
        while index > 0:
            index -= 1
            before = ops[index]
            if before is self.fast and self.fast_only:
                raise Refused(
                    "the content before it has fast_pattern:only, nothing can be relative to it"
                )
            before.flags |= OpFlag.OPF_NEXT_RELATIVE
            if before.kind in _MOVES and not before.has(OpFlag.OPF_NEGATED):
                return

    def index_of(self, op: Op) -> tuple[list[Op], int]:
        ops = self.buffers[self.content_buffer]
        for index in range(len(ops) - 1, -1, -1):
            if ops[index] is op:
                return ops, index
        raise AssertionError("the op is in its buffer")

    def last_content(self) -> Op:
        """The content a modifier applies to."""
        if self.content is None:
            raise Refused("it needs a content before it")
        return self.content

    # --- variables of byte_extract and byte_math -----------------------------------

    def define(self, name: str) -> int:
        """Number of a variable that is written."""
        if not (name and name.replace("_", "").replace("-", "").replace(".", "").isalnum()):
            raise Refused(f"{name!r} is no variable name")
        if name[0].isdigit():
            raise Refused(f"the variable name {name!r} begins with a digit")
        if name not in self.vars:
            if len(self.vars) >= MAX_VARS:
                raise Refused(f"more than {MAX_VARS} variables in a rule")
            self.vars[name] = len(self.vars)
        return self.vars[name]

    def variable(self, name: str) -> int:
        """Number of a variable that is read."""
        if name not in self.vars:
            raise Refused(
                f"{name!r} is neither a number nor a variable that byte_extract or byte_math "
                "set before"
            )
        return self.vars[name]
