"""The statistics of a running appliance as tables: tiers, protections, rules, segments.

`told` is the answer to the command `stats` (docs/appliance.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from nsdata.output.console import safe
from nsdata.units import duration_text

Told = Mapping[str, Any]
SECOND_NS = 1_000_000_000


def stats_page(told: Told) -> RenderableType:
    """All of it."""
    head = f"{safe(told['name'])}: {told['state']} ({told['reason']})"
    if told["share"] < 1:
        head += f", {told['share']:.2%} of the flows are inspected"
    return Group(head, _tiers(told), _alerts(told), _rules(told), _segments(told))


def _tiers(told: Told) -> Table:
    table = Table("tier", "packets/s", "highest", "Mbit/s", "highest", "ratio to next",
                  title="Tiers", title_justify="left")  # fmt: skip
    for tier in told["tiers"]:
        ratio = tier["ratio_to_next"]
        table.add_row(
            f"{tier['tier']} {tier['name']}",
            f"{tier['packets_per_second']:,.0f}",
            f"{tier['highest_packets_per_second']:,.0f}",
            f"{tier['bits_per_second'] / 1e6:,.2f}",
            f"{tier['highest_bits_per_second'] / 1e6:,.2f}",
            "–" if ratio is None else f"{ratio:.3f}",
        )
    return table


def _alerts(told: Told) -> str:
    protection = told["protection"]
    until = protection["alerts_suspended_until_ns"]
    left = f"{protection['suppressed_alerts']:,} left out so far"
    if until is None:
        return f"Alerts are written; {left}."
    seconds = max(0, until - told["now_ns"]) // SECOND_NS
    return f"Alerts are suspended for {seconds:,} s more; {left}. Rules act all the same."


def _rules(told: Told) -> RenderableType:
    table = Table("rule", "share", "time", "checked", "verified", "matches", "",
                  title="Rules that cost most", title_justify="left")  # fmt: skip
    for rule in told["rules"]:
        table.add_row(
            str(rule["rule"]),
            f"{rule['share']:.1%}",
            f"{rule['work'] / 1e6:,.1f} ms",
            f"{rule['checked']:,}",
            f"{rule['verified']:,}",
            f"{rule['matches']:,}",
            "disabled" if rule["disabled"] else "",
        )
    protection = told["protection"]
    lines = []
    for what, rules in (
        ("Named as costly", [rule["rule"] for rule in protection["costly_rules"]]),
        ("Disabled", protection["disabled_rules"]),
    ):
        if rules:
            lines.append(f"{what}: {', '.join(map(str, rules))}")
    return Group(table, *lines)


def _segments(told: Told) -> Table:
    table = Table("segment", "not inspected", "permitted", "blocked", "budget used",
                  title="Segments", title_justify="left")  # fmt: skip
    for name, one in told["segments"].items():
        table.add_row(
            safe(name),
            one["action"],
            f"{one['permitted_packets']:,} ({one['permitted_bytes']:,} bytes)",
            f"{one['blocked_packets']:,} ({one['blocked_bytes']:,} bytes)",
            _budget(one),
        )
    return table


def _budget(one: Told) -> str:
    parts = []
    if one["max_bytes"] is not None:
        parts.append(f"{one['used_bytes']:,} of {one['max_bytes']:,} bytes")
    if one["max_ns"] is not None:
        used = one["used_ns"] / SECOND_NS
        parts.append(f"{used:,.1f} s of {duration_text(one['max_ns'])}")
    return ", ".join(parts) or "–"
