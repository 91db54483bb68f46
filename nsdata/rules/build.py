"""Syntax tree → RuleIR: header, keywords in order, then what holds for the rule whole."""

from __future__ import annotations

import difflib

from nsdata.errors import RuleError
from nsdata.path.rulebase import Action, ProtoBit, RuleFlag
from nsdata.rules import keywords  # noqa: F401 — importing it fills KEYWORDS
from nsdata.rules.builder import Builder
from nsdata.rules.ir import Refused, RuleIR, Skipped
from nsdata.rules.keywords.meta import check_requires
from nsdata.rules.keywords.unsupported import APPLICATION_PROTOCOLS, LINK_PROTOCOLS, needs
from nsdata.rules.parse import Option, RawRule
from nsdata.rules.registry import KEYWORDS, value_of
from nsdata.rules.validate import finish
from nsdata.rules.variables import ExpressionError, Variables

_KNOWN = frozenset(KEYWORDS)

ACTIONS = {
    "alert": Action.ACTION_ALERT,
    "drop": Action.ACTION_DROP,
    "pass": Action.ACTION_PASS,
    "reject": Action.ACTION_REJECT,
    "rejectsrc": Action.ACTION_REJECT,
    "rejectdst": Action.ACTION_REJECT_DST,
    "rejectboth": Action.ACTION_REJECT_BOTH,
}

_ICMP = ProtoBit.PB_ICMP | ProtoBit.PB_ICMPV6
# Protocol → (protocol mask, rule flags).
PROTOCOLS: dict[str, tuple[int, int]] = {
    "ip": (ProtoBit.PB_ANY, 0),
    "ipv4": (ProtoBit.PB_ANY, RuleFlag.RF_IPV4),
    "ip4": (ProtoBit.PB_ANY, RuleFlag.RF_IPV4),
    "ipv6": (ProtoBit.PB_ANY, RuleFlag.RF_IPV6),
    "ip6": (ProtoBit.PB_ANY, RuleFlag.RF_IPV6),
    "tcp": (ProtoBit.PB_TCP, 0),
    "tcp-pkt": (ProtoBit.PB_TCP, RuleFlag.RF_REQUIRE_PACKET),
    "tcp-stream": (ProtoBit.PB_TCP, RuleFlag.RF_REQUIRE_STREAM),
    "udp": (ProtoBit.PB_UDP, 0),
    "icmp": (_ICMP, 0),
    "icmpv4": (ProtoBit.PB_ICMP, RuleFlag.RF_IPV4),
    "icmp4": (ProtoBit.PB_ICMP, RuleFlag.RF_IPV4),
    "icmpv6": (ProtoBit.PB_ICMPV6, RuleFlag.RF_IPV6),
    "icmp6": (ProtoBit.PB_ICMPV6, RuleFlag.RF_IPV6),
    "sctp": (ProtoBit.PB_SCTP, 0),
    "pkthdr": (ProtoBit.PB_ANY, RuleFlag.RF_PKTHDR),
}


def build_rule(raw: RawRule, variables: Variables) -> RuleIR:
    """Understand one rule.

    Raises RuleError (with line, column and keyword) when it is refused and Skipped when
    its `requires` is not met.
    """
    option: Option | None = None
    try:
        # Before all else: a rule for another version may hold anything.
        for option in raw.options:
            if option.keyword == "requires" and option.value:
                check_requires(option.value, _KNOWN)
        option = None
        rule = _header(raw, variables)
        builder = Builder(rule)
        for option in raw.options:
            _apply(builder, option)
        option = None
        finish(builder)
        return rule
    except Refused as refusal:
        keyword = refusal.keyword or (option.keyword if option else None)
        offset = option.offset if option else _place(raw, keyword or "")
        raise raw.error(refusal.reason, keyword, offset) from None


def _place(raw: RawRule, keyword: str) -> int:
    """Where to point for a fault of the rule whole: the keyword, or the protocol."""
    if keyword.startswith("protocol:"):
        return max(raw.text.find(raw.protocol, len(raw.action)), 0)
    return next((one.offset for one in raw.options if one.keyword == keyword), 0)


def _apply(builder: Builder, option: Option) -> None:
    known = KEYWORDS.get(option.keyword)
    if known is None:
        family = needs(option.keyword)
        if family:
            raise Refused(f"needs {family} inspection, not supported yet")
        name = option.keyword[:40]
        near = difflib.get_close_matches(name, _KNOWN, n=3, cutoff=0.7)
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise Refused(f"unknown keyword{hint}", name or "(empty)")
    value, builder.negated = value_of(known, option)
    builder.keyword = option.keyword
    known.handler(builder, value)


def _header(raw: RawRule, variables: Variables) -> RuleIR:
    protocol = raw.protocol.lower()
    known = PROTOCOLS.get(protocol)
    if known is None:
        base, colon, hook = protocol.partition(":")
        name = f"protocol:{raw.protocol[:40]}"
        if base in APPLICATION_PROTOCOLS or base in LINK_PROTOCOLS:
            raise Refused(f"needs {base} inspection, not supported yet", name)
        if colon and base in PROTOCOLS:
            raise Refused(f"the rule hook {hook[:40]!r} is not supported", name)
        legal = ", ".join(PROTOCOLS)
        raise Refused(f"unknown protocol {raw.protocol[:40]!r}. Use one of {legal}", name)
    if raw.direction == "=>":
        raise Refused("transactional rules (=>) need application-layer inspection", "=>")
    try:
        src = variables.addresses(raw.src)
        sport = variables.ports(raw.sport)
        dst = variables.addresses(raw.dst)
        dport = variables.ports(raw.dport)
    except ExpressionError as error:
        raise Refused(str(error), "header") from None
    protos, flags = known
    return RuleIR(
        raw, ACTIONS[raw.action], src, dst, sport, dport,
        bidirectional=raw.direction == "<>" and (src, sport) != (dst, dport),
        protos=int(protos), flags=int(flags),
    )  # fmt: skip


__all__ = ["ACTIONS", "PROTOCOLS", "RuleError", "Skipped", "build_rule"]
