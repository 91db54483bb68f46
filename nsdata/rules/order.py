"""The order in which rules are tried on a packet: Suricata's.

First by action, then by what a rule does with flowbits, flowints and xbits (who writes goes
before who reads), then by priority, then by sid.
"""

from __future__ import annotations

from collections.abc import Sequence

from nsdata.path.rulebase import Action, OpKind
from nsdata.rules.ir import RuleIR

DEFAULT_ACTION_ORDER = ("pass", "drop", "reject", "alert")
_ACTION_NAMES = {
    Action.ACTION_ALERT: "alert",
    Action.ACTION_DROP: "drop",
    Action.ACTION_PASS: "pass",
    Action.ACTION_REJECT: "reject",
    Action.ACTION_REJECT_DST: "reject",
    Action.ACTION_REJECT_BOTH: "reject",
}
_FLOWBITS = (
    frozenset({OpKind.CHK_FLOWBITS_ISSET, OpKind.CHK_FLOWBITS_ISNOTSET}),
    frozenset({OpKind.POST_FLOWBITS_SET, OpKind.POST_FLOWBITS_UNSET, OpKind.POST_FLOWBITS_TOGGLE}),
)
_FLOWINTS = (
    frozenset({OpKind.CHK_FLOWINT, OpKind.CHK_FLOWINT_ISSET}),
    frozenset({OpKind.POST_FLOWINT}),
)
_XBITS = (
    frozenset({OpKind.CHK_XBITS}),
    frozenset({OpKind.POST_XBITS_SET, OpKind.POST_XBITS_UNSET, OpKind.POST_XBITS_TOGGLE}),
)


def _stage(rule: RuleIR, kinds: tuple[frozenset[OpKind], frozenset[OpKind]]) -> int:
    """0 writes, 1 writes and reads, 2 reads, 3 neither."""
    reads = any(op.kind in kinds[0] for op in rule.checks)
    writes = any(op.kind in kinds[1] for op in rule.posts)
    if writes:
        return 1 if reads else 0
    return 2 if reads else 3


def in_order(
    rules: Sequence[RuleIR], action_order: Sequence[str] = DEFAULT_ACTION_ORDER
) -> list[RuleIR]:
    """`rules` in evaluation order. `action_order` names alert, drop, pass, reject."""
    place = {name: index for index, name in enumerate(action_order)}

    def key(rule: RuleIR) -> tuple[int, ...]:
        return (
            place[_ACTION_NAMES[Action(rule.action)]],
            _stage(rule, _FLOWBITS),
            _stage(rule, _FLOWINTS),
            _stage(rule, _XBITS),
            rule.priority,
            rule.sid,
        )

    return sorted(rules, key=key)
