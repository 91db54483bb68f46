"""Keywords on flows and on what rules remember: flow, flowbits, flowint, xbits, hostbits,
flow counters, stream_size."""

from __future__ import annotations

import re

from nsdata.path.rulebase import (
    Compare,
    FlowField,
    FlowIntOp,
    OpFlag,
    OpKind,
    ProtoBit,
    RuleFlag,
    StreamSide,
    Track,
)
from nsdata.rules.builder import Builder
from nsdata.rules.ir import Op, Refused
from nsdata.rules.numbers import integer, is_number, unsigned
from nsdata.rules.registry import Quotes, keyword

FAMILY = "flow"
U32 = (1 << 32) - 1

_FLOW = {
    "to_server": RuleFlag.RF_TO_SERVER,
    "from_client": RuleFlag.RF_TO_SERVER,
    "to_client": RuleFlag.RF_TO_CLIENT,
    "from_server": RuleFlag.RF_TO_CLIENT,
    "established": RuleFlag.RF_ESTABLISHED,
    "not_established": RuleFlag.RF_NOT_ESTABLISHED,
    "stateless": RuleFlag.RF_STATELESS,
    "only_stream": RuleFlag.RF_ONLY_STREAM,
    "no_stream": RuleFlag.RF_NO_STREAM,
    "only_frag": RuleFlag.RF_ONLY_FRAG,
    "no_frag": RuleFlag.RF_NO_FRAG,
}
# Words of one line exclude each other.
_EXCLUSIVE = (
    RuleFlag.RF_TO_SERVER | RuleFlag.RF_TO_CLIENT,
    RuleFlag.RF_ESTABLISHED | RuleFlag.RF_NOT_ESTABLISHED | RuleFlag.RF_STATELESS,
    RuleFlag.RF_ONLY_STREAM | RuleFlag.RF_NO_STREAM,
    RuleFlag.RF_ONLY_FRAG | RuleFlag.RF_NO_FRAG,
)


@keyword("flow", family=FAMILY)
def flow(b: Builder, value: str) -> None:
    """`to_server` or `to_client` (`from_client`, `from_server`), `established`,
    `not_established` or `stateless`, `only_stream` or `no_stream`, `only_frag` or
    `no_frag`."""
    b.once("flow")
    found = 0
    for word in value.split(","):
        name = word.strip().lower()
        flag = _FLOW.get(name)
        if flag is None:
            raise Refused(f"{name[:40]!r} is none of {', '.join(_FLOW)}")
        if found & flag:
            raise Refused(f"{name} is given twice (or by its other name)")
        found |= flag
        for group in _EXCLUSIVE:
            if flag & group and (found & group) != flag:
                raise Refused(f"{name} contradicts what stands before it")
    b.rule.flags |= found
    if found & RuleFlag.RF_ONLY_STREAM:
        b.rule.flags |= RuleFlag.RF_REQUIRE_STREAM
    if found & RuleFlag.RF_NO_STREAM:
        b.rule.flags |= RuleFlag.RF_REQUIRE_PACKET
    if found & ~(RuleFlag.RF_ONLY_FRAG | RuleFlag.RF_NO_FRAG | RuleFlag.RF_STATELESS):
        b.needs_flow()
    b.matchers += 1


def _name(text: str) -> str:
    name = text.strip()
    if not name or re.search(r"\s", name):
        raise Refused(f"{text[:40]!r} is no name (a name has no blanks)")
    return name


_FLOWBITS = {
    "isset": OpKind.CHK_FLOWBITS_ISSET,
    "isnotset": OpKind.CHK_FLOWBITS_ISNOTSET,
    "set": OpKind.POST_FLOWBITS_SET,
    "unset": OpKind.POST_FLOWBITS_UNSET,
    "toggle": OpKind.POST_FLOWBITS_TOGGLE,
}


@keyword("flowbits", family=FAMILY)
def flowbits(b: Builder, value: str) -> None:
    """`set,name` `unset,name` `toggle,name` after a match; `isset,name|name` (any),
    `isnotset,name|name`; `noalert`."""
    command, comma, names = value.partition(",")
    command = command.strip()
    if command == "noalert":
        if comma:
            raise Refused("noalert takes no name")
        b.seen.add("noalert")
        return
    kind = _FLOWBITS.get(command)
    if kind is None:
        raise Refused(f"{command[:40]!r} is none of {', '.join(_FLOWBITS)}, noalert")
    if not comma:
        raise Refused(f"{command} needs a name")
    parts = names.split("|")
    if len(parts) > 1 and command not in ("isset", "isnotset"):
        raise Refused("alternatives (|) are for isset and isnotset")
    op = Op(kind, names=tuple(_name(part) for part in parts))
    if kind < OpKind.POST_FLOWBITS_SET:
        b.needs_flow()
        b.check(op)
    else:
        b.post(op)


_FLOWINT_WRITES = {
    "=": FlowIntOp.FLOWINT_SET,
    "+": FlowIntOp.FLOWINT_ADD,
    "-": FlowIntOp.FLOWINT_SUB,
}
_FLOWINT_READS = {
    "==": Compare.CMP_EQ,
    "!=": Compare.CMP_NE,
    "<": Compare.CMP_LT,
    "<=": Compare.CMP_LE,
    ">": Compare.CMP_GT,
    ">=": Compare.CMP_GE,
}


@keyword("flowint", family=FAMILY)
def flowint(b: Builder, value: str) -> None:
    """`name,operator,number or name`: operators = + - (after a match), == != < <= > >=;
    `name,isset` and `name,isnotset`."""
    parts = [part.strip() for part in value.split(",")]
    name = _name(parts[0])
    operator = parts[1] if len(parts) > 1 else ""
    if operator in ("isset", "isnotset", "notset"):
        if len(parts) != 2:
            raise Refused(f"{operator} takes no number")
        op = Op(OpKind.CHK_FLOWINT_ISSET, names=(name,))
        if operator != "isset":
            op.flags |= OpFlag.OPF_NEGATED
        b.needs_flow()
        b.check(op)
        return
    if len(parts) != 3 or operator not in {**_FLOWINT_WRITES, **_FLOWINT_READS}:
        raise Refused("write name,operator,number; operators = + - == != < <= > >=, or name,isset")
    if operator in _FLOWINT_WRITES:
        op = Op(OpKind.POST_FLOWINT, cmp=_FLOWINT_WRITES[operator], names=(name,))
    else:
        op = Op(OpKind.CHK_FLOWINT, cmp=_FLOWINT_READS[operator], names=(name,))
    if is_number(parts[2]):
        op.a = integer(parts[2], 0, U32)
    else:
        op.operand = _name(parts[2])
        op.flags |= OpFlag.OPF_VAR_A
    if operator in _FLOWINT_WRITES:
        b.post(op)
    else:
        b.needs_flow()
        b.check(op)


_XBITS = {
    "set": OpKind.POST_XBITS_SET,
    "unset": OpKind.POST_XBITS_UNSET,
    "toggle": OpKind.POST_XBITS_TOGGLE,
    "isset": OpKind.CHK_XBITS,
    "isnotset": OpKind.CHK_XBITS,
}
XBITS_EXPIRE = 30
HOSTBITS_EXPIRE = 300
_XBITS_TRACK = {"ip_src": Track.TRACK_SRC, "ip_dst": Track.TRACK_DST, "ip_pair": Track.TRACK_BOTH}
_HOSTBITS_TRACK = {"src": Track.TRACK_SRC, "dst": Track.TRACK_DST}


def _xbits(b: Builder, command: str, name: str, track: Track, expire: int) -> None:
    kind = _XBITS[command]
    op = Op(kind, names=(_name(name),), length=track, a=expire)
    if command == "isnotset":
        op.flags |= OpFlag.OPF_NEGATED
    if kind == OpKind.CHK_XBITS:
        op.a = 0
        b.check(op)
    else:
        b.post(op)


@keyword("xbits", family=FAMILY)
def xbits(b: Builder, value: str) -> None:
    """`set|unset|toggle|isset|isnotset,name,track ip_src|ip_dst|ip_pair[,expire seconds]`;
    30 s when not given."""
    parts = [" ".join(part.split()) for part in value.split(",")]
    if parts == ["noalert"]:
        b.seen.add("noalert")
        return
    if len(parts) not in (3, 4) or parts[0] not in _XBITS:
        raise Refused("write command,name,track ip_src|ip_dst|ip_pair[,expire seconds]")
    word, _, where = parts[2].partition(" ")
    if word != "track" or where not in _XBITS_TRACK:
        raise Refused(f"{parts[2][:40]!r}: write track ip_src, ip_dst or ip_pair")
    expire = XBITS_EXPIRE
    if len(parts) == 4:
        word, _, seconds = parts[3].partition(" ")
        if word != "expire":
            raise Refused(f"{parts[3][:40]!r}: write expire seconds")
        expire = integer(seconds, 1, U32, "expire")
    _xbits(b, parts[0], parts[1], _XBITS_TRACK[where], expire)


@keyword("hostbits", family=FAMILY)
def hostbits(b: Builder, value: str) -> None:
    """`set|unset|toggle|isset|isnotset,name[,src|dst]` of a host, for 300 s; `noalert`."""
    parts = [part.strip() for part in value.split(",")]
    if parts == ["noalert"]:
        b.seen.add("noalert")
        return
    if len(parts) not in (2, 3) or parts[0] not in _XBITS:
        raise Refused("write command,name[,src|dst]")
    where = parts[2] if len(parts) == 3 else "src"
    if where not in _HOSTBITS_TRACK:
        raise Refused(f"{where[:40]!r}: write src or dst")
    _xbits(b, parts[0], parts[1], _HOSTBITS_TRACK[where], HOSTBITS_EXPIRE)


def _flow_check(b: Builder, field: FlowField, text: str, bits: int) -> None:
    compare, low, high = unsigned(text, bits)
    b.needs_flow()
    b.require_packet()
    # Counters beyond i63 do not occur; keep the comparison's numbers in i64.
    limit = (1 << 63) - 1
    b.check(Op(OpKind.CHK_FLOW, cmp=compare, data=field, a=min(low, limit), b=min(high, limit)))


@keyword("flow.age", family=FAMILY)
def flow_age(b: Builder, value: str) -> None:
    """Age of the flow in seconds: `N`, `<N`, `>N`, `N<>M`, …"""
    _flow_check(b, FlowField.FLOWF_AGE, value, 32)


def _counter(unit: str, sides: dict[str, FlowField], bits: int) -> None:
    def both(b: Builder, value: str) -> None:
        side, comma, number = value.partition(",")
        field = sides.get(side.strip())
        if not comma or field is None:
            raise Refused(f"write {' or '.join(sides)}, a comma, and a number")
        _flow_check(b, field, number, bits)

    both.__doc__ = f"`toserver|toclient|either,N`: {unit} seen so far."
    keyword(f"flow.{unit}", family=FAMILY)(both)
    for side in ("toserver", "toclient"):

        def one(b: Builder, value: str, field: FlowField = sides[side]) -> None:
            _flow_check(b, field, value, bits)

        one.__doc__ = f"{unit} seen so far {side}: `N`, `<N`, `>N`, …"
        keyword(f"flow.{unit}_{side}", family=FAMILY)(one)


_counter(
    "pkts",
    {
        "toserver": FlowField.FLOWF_PKTS_TS,
        "toclient": FlowField.FLOWF_PKTS_TC,
        "either": FlowField.FLOWF_PKTS_EITHER,
    },
    32,
)
_counter(
    "bytes",
    {
        "toserver": FlowField.FLOWF_BYTES_TS,
        "toclient": FlowField.FLOWF_BYTES_TC,
        "either": FlowField.FLOWF_BYTES_EITHER,
    },
    64,
)

_SIDES = {
    "server": StreamSide.SIDE_SERVER,
    "client": StreamSide.SIDE_CLIENT,
    "both": StreamSide.SIDE_BOTH,
    "either": StreamSide.SIDE_EITHER,
}
_SIZE = {
    "=": Compare.CMP_EQ,
    "!=": Compare.CMP_NE,
    "<": Compare.CMP_LT,
    "<=": Compare.CMP_LE,
    ">": Compare.CMP_GT,
    ">=": Compare.CMP_GE,
}


@keyword("stream_size", family=FAMILY, quotes=Quotes.OPTIONAL)
def stream_size(b: Builder, value: str) -> None:
    """`server|client|both|either,operator,bytes`: payload bytes sent on the TCP session."""
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 3 or parts[0] not in _SIDES or parts[1] not in _SIZE:
        raise Refused("write server|client|both|either, one of = != < <= > >=, and a number")
    b.only(ProtoBit.PB_TCP)
    b.needs_flow()
    size = integer(parts[2], 0, U32)
    b.seen.add("stream_size")
    b.check(Op(OpKind.CHK_STREAM_SIZE, cmp=_SIZE[parts[1]], data=_SIDES[parts[0]], a=size))
