"""What holds for a rule whole: contradictions, what it inspects, its type, its fast pattern.

Names are Suricata's: a rule's *type* decides whether its action falls on the packet or on
the flow (nsdata/path/rulebase.pxd, RuleType).
"""

from __future__ import annotations

from nsdata.path.rulebase import (
    MAX_PATTERN,
    Action,
    Buffer,
    Compare,
    Field,
    OpFlag,
    OpKind,
    ProtoBit,
    RuleFlag,
    RuleType,
)
from nsdata.rules.builder import Builder
from nsdata.rules.ir import FastPattern, Op, Refused, RuleIR

_BOTH = RuleFlag.RF_REQUIRE_PACKET | RuleFlag.RF_REQUIRE_STREAM
_PLACED = OpFlag.OPF_OFFSET | OpFlag.OPF_DEPTH
_RELATIVE = OpFlag.OPF_DISTANCE | OpFlag.OPF_WITHIN


def finish(b: Builder) -> None:
    """Check the rule and work out what follows from its keywords. Raises Refused."""
    rule = b.rule
    if not rule.sid:
        raise Refused("the rule has no sid. Give it a number of its own", "sid")
    _silence(b)
    rule.buffers = _order_buffers(b)
    rule.n_vars = len(b.vars)
    for _, ops in rule.buffers:
        _check_sizes(ops)
    if b.dsize is not None:
        _check_dsize(b.dsize, rule.payload)
    _what_to_inspect(b)
    rule.type = _type(rule)
    rule.pattern = _fast_pattern(rule.payload, b.fast)


def _silence(b: Builder) -> None:
    silent = "noalert" in b.seen
    # A pass rule says nothing unless told to.
    if silent or (b.rule.action == Action.ACTION_PASS and "alert" not in b.seen):
        b.rule.flags |= RuleFlag.RF_NOALERT


def _order_buffers(b: Builder) -> list[tuple[Buffer, list[Op]]]:
    """Header buffers first, they are the cheapest; otherwise an order in which every
    variable is written before it is read."""
    filled = [(buffer, ops) for buffer, ops in b.buffers.items() if ops]
    headers_first = sorted(filled, key=lambda item: item[0] == Buffer.BUF_PAYLOAD)
    for order in (headers_first, filled, filled[::-1]):
        if _written_before_read([op for _, ops in order for op in ops]):
            return order
    raise Refused(
        "variables are passed to and fro between buffers. Read them in one direction only",
        "byte_extract",
    )


def _variables_read(op: Op) -> list[int]:
    read = []
    for flag, number in (
        (OpFlag.OPF_VAR_A, op.a),
        (OpFlag.OPF_VAR_OFFSET, op.offset),
        (OpFlag.OPF_VAR_DEPTH, op.depth),
        (OpFlag.OPF_VAR_DISTANCE, op.distance),
        (OpFlag.OPF_VAR_WITHIN, op.within),
        (OpFlag.OPF_VAR_NBYTES, op.nbytes),
    ):
        if op.flags & flag:
            read.append(number)
    return read


def _written_before_read(ops: list[Op]) -> bool:
    written: set[int] = set()
    for op in ops:
        if not written.issuperset(_variables_read(op)):
            return False
        if op.kind in (OpKind.OP_BYTE_EXTRACT, OpKind.OP_BYTE_MATH):
            written.add(op.result)
    return True


def required_size(ops: list[Op], limit: int) -> int:
    """The least number of bytes a buffer must have for `ops` to match; a negated content
    counts alone (it must fit into `limit`, or it is never looked for)."""
    most = chain = 0
    for op in ops:
        if op.kind != OpKind.OP_CONTENT:
            # After these the position is not known.
            if op.kind in (OpKind.OP_PCRE, OpKind.OP_BYTE_JUMP, OpKind.OP_BYTE_EXTRACT):
                chain = 0
            continue
        start = 0
        if op.flags & _RELATIVE:
            start = chain
            if op.flags & OpFlag.OPF_DISTANCE and not op.flags & OpFlag.OPF_VAR_DISTANCE:
                start = max(0, chain + op.distance)
        elif op.flags & OpFlag.OPF_OFFSET and not op.flags & OpFlag.OPF_VAR_OFFSET:
            start = op.offset
        if op.flags & OpFlag.OPF_NEGATED:
            size = len(op.text)
            if op.flags & OpFlag.OPF_WITHIN and not op.flags & OpFlag.OPF_VAR_WITHIN:
                size = max(size, op.within)
            if start + size > limit:
                return start + size
            continue
        chain = start + len(op.text)
        most = max(most, chain)
    return most


def _largest(op: Op) -> int | None:
    """The greatest number that passes a comparison, None when there is none."""
    if op.cmp == Compare.CMP_EQ or op.cmp == Compare.CMP_LE:
        return op.a
    if op.cmp == Compare.CMP_LT:
        return op.a - 1
    if op.cmp == Compare.CMP_BETWEEN:
        return op.b - 1
    return None


def _check_dsize(dsize: Op, ops: list[Op]) -> None:
    limit = _largest(dsize)
    if limit is None:
        return
    needed = required_size(ops, limit)
    if needed > limit:
        raise Refused(
            f"the contents need {needed} bytes, dsize allows {limit}: it can never match", "dsize"
        )


def _check_sizes(ops: list[Op]) -> None:
    for op in ops:
        if op.kind == OpKind.OP_BSIZE and not op.flags & OpFlag.OPF_VAR_A:
            limit = _largest(op)
            if limit is None:
                continue
            needed = required_size(ops, limit)
            if needed > limit:
                raise Refused(
                    f"the contents need {needed} bytes, bsize allows {limit}: it can never match",
                    "bsize",
                )


def _what_to_inspect(b: Builder) -> None:
    """Packet payload, reassembled stream, or both (RF_REQUIRE_*), for TCP."""
    rule = b.rule
    if rule.flags & _BOTH == _BOTH:
        raise Refused(
            "it asks for the stream alone and for a property of the packet. Drop one of them",
            "flow" if "flow" in b.seen else f"protocol:{rule.raw.protocol}",
        )
    payload = rule.payload
    if not payload:
        return
    rule.flags |= RuleFlag.RF_PAYLOAD
    if not rule.protos & ProtoBit.PB_TCP or rule.flags & _BOTH:
        return
    rule.flags |= RuleFlag.RF_REQUIRE_STREAM
    # A place in the payload is a place in the packet as well as in the stream.
    if "stream_size" in b.seen or any(
        op.kind == OpKind.OP_CONTENT and op.flags & _PLACED for op in payload
    ):
        rule.flags |= RuleFlag.RF_REQUIRE_PACKET


# What a rule on addresses alone may leave behind and stay one.
_ADDRESS_ONLY_POSTS = frozenset(
    {
        OpKind.POST_FLOWBITS_SET,
        OpKind.POST_XBITS_SET,
        OpKind.POST_XBITS_UNSET,
        OpKind.POST_XBITS_TOGGLE,
    }
)


def _type(rule: RuleIR) -> RuleType:
    events = any(op.kind == OpKind.CHK_EVENT for op in rule.checks)
    flow_flags = rule.flags & (
        RuleFlag.RF_TO_SERVER | RuleFlag.RF_TO_CLIENT | RuleFlag.RF_ESTABLISHED
        | RuleFlag.RF_NOT_ESTABLISHED | RuleFlag.RF_STATELESS | RuleFlag.RF_ONLY_STREAM
        | RuleFlag.RF_NO_STREAM | RuleFlag.RF_ONLY_FRAG | RuleFlag.RF_NO_FRAG
    )  # fmt: skip
    # ip_proto only narrows the protocol the header names.
    checks = [
        op
        for op in rule.checks
        if not (op.kind == OpKind.CHK_FIELD and op.data == Field.FIELD_IP_PROTO)
    ]
    if (
        not rule.buffers
        and not checks
        and not flow_flags
        and not rule.flags & RuleFlag.RF_PKTHDR
        and all(op.kind in _ADDRESS_ONLY_POSTS for op in rule.posts)
    ):
        negated = rule.src.negated or rule.dst.negated
        return RuleType.RULE_LIKE_IPONLY if negated else RuleType.RULE_IPONLY
    if not rule.buffers and events and all(op.kind == OpKind.CHK_EVENT for op in checks):
        return RuleType.RULE_EVENT
    if not rule.payload or len(rule.buffers) > 1:
        return RuleType.RULE_PACKET
    needs = rule.flags & _BOTH
    if needs == RuleFlag.RF_REQUIRE_PACKET:
        return RuleType.RULE_PACKET
    if needs == RuleFlag.RF_REQUIRE_STREAM:
        return RuleType.RULE_STREAM
    return RuleType.RULE_PACKET_STREAM


# How much a byte tells: what is common in traffic tells little.
_COMMON = frozenset(b" \x00\x01\xff\r\n")


def _worth(byte: int, nocase: bool) -> int:
    if byte in _COMMON:
        return 2
    char = chr(byte)
    if byte < 128 and char.isalpha():
        return 3 if nocase or char.islower() else 4
    if 32 <= byte < 127:
        return 5
    return 6


def strength(text: bytes, nocase: bool) -> int:
    """How seldom `text` is expected in traffic: a byte counts by its rarity, a repeated
    one little."""
    seen: set[int] = set()
    total = 0
    for byte in text[:MAX_PATTERN]:
        total += 1 if byte in seen else _worth(byte, nocase)
        seen.add(byte)
    return total


def _fast_pattern(ops: list[Op], chosen: Op | None) -> FastPattern | None:
    """The bytes to look for in every packet: what the rule says, else the strongest."""
    candidates = [
        op for op in ops if op.kind == OpKind.OP_CONTENT and not op.flags & OpFlag.OPF_NEGATED
    ]
    if chosen is not None and any(op is chosen for op in candidates):
        best = chosen
    elif candidates:
        best = max(candidates, key=lambda op: strength(op.text, op.has(OpFlag.OPF_NOCASE)))
    else:
        return None
    text = best.text
    if best.chop is not None:
        start, length = best.chop
        text = text[start : start + length]
    best.flags |= OpFlag.OPF_FAST_PATTERN
    nocase = best.has(OpFlag.OPF_NOCASE)
    text = text[:MAX_PATTERN]
    return FastPattern(text.lower() if nocase else text, nocase)
