"""Appliances of a manager on a terminal: the table, and the account of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from nsdata.output import shown
from nsdata.output.console import safe
from nsdata.output.fpga_lines import fpga_lines

COLUMNS = ("name", "state", "reason", "seen", "health", "drops", "packets/s", "Mbit/s", "version",
           "id")  # fmt: skip
# Left out where there is no room for them, the first one first; the others always stay.
DISPENSABLE = ("id", "version", "Mbit/s", "packets/s", "drops", "health")
FATES = ("received", "inspected", "bypassed", "blocked", "lost")


def print_table(rows: Sequence[Mapping[str, Any]], now_ns: int, *, wide: bool) -> None:
    """All appliances, one a line, in the columns that fit in whole; `wide`: in all of them."""
    console = Console(highlight=False)
    cells = [_cells(one, now_ns) for one in rows]
    columns = list(COLUMNS)
    table = _table(columns, cells)
    if wide:
        width = max(console.width, _needed(console, table))
        Console(highlight=False, width=width).print(table, soft_wrap=True)
        return
    for name in DISPENSABLE:
        if _needed(console, table) <= console.width:
            break
        columns.remove(name)
        table = _table(columns, cells)
    console.print(table)


def _needed(console: Console, table: Table) -> int:
    unlimited = console.options.update(max_width=10_000)
    return Measurement.get(console, unlimited, table).maximum


def _table(columns: Sequence[str], cells: Sequence[Mapping[str, str]]) -> Table:
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold", min_width=len(name))
    for row in cells:
        table.add_row(*(row[name] for name in columns))
    return table


def _cells(one: Mapping[str, Any], now_ns: int) -> dict[str, str]:
    """Of one appliance. What it measures is only said while it is heard of."""
    on = bool(one["connected"])
    health, drops = one["health_score"], one["drop_ratio"]
    return {
        "name": safe(one["name"]),
        "state": one["state"] or shown.NOTHING,
        "reason": safe(one["reason"] or shown.NOTHING),
        "seen": "now" if on else shown.ago(one["last_seen_ns"], now_ns),
        "health": f"{health:.0f}" if on and health is not None else shown.NOTHING,
        "drops": shown.percent(drops if on else None),
        "packets/s": f"{one['packets_per_second']:,.0f}" if on else shown.NOTHING,
        "Mbit/s": f"{one['bits_per_second'] / 1e6:,.2f}" if on else shown.NOTHING,
        "version": safe(one["version"] or shown.NOTHING),
        "id": one["id"],
    }


def account(
    told: Mapping[str, Any], history: Sequence[Mapping[str, Any]], now_ns: int
) -> list[str]:
    """One appliance, in lines: what state it is in, why, since when, and what to do about it.
    `history`: its newest transitions, newest first, as the manager's API tells them."""
    seen = "connected" if told["connected"] else "not connected"
    lines = [
        f"{told['name']} ({told['id']}): {told['state'] or 'has not reported yet'}, {seen}",
        _line("last seen", shown.ago(told["last_seen_ns"], now_ns)),
    ]
    if told["state"] is not None:
        lines += _why(told, history)
        lines += _measured(told)
    for line in fpga_lines(told["fpga"]):
        lines.append(f"  {line}")
    for one in told["open_commands"]:
        lines.append(_line("asked", f"{one['kind']}: {one['state']}, by {one['asked_by']} "
                                    f"({one['id']})"))  # fmt: skip
    return [safe(line) for line in lines]


def _line(label: str, text: str) -> str:
    return f"  {label:<12}{text}"


def _why(told: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        _line("reason", f"{told['reason']} ({told['severity']})"),
        _line("cause", str(told["cause"])),
        _line("what to do", str(told["resolution"])),
    ]
    into = [
        one
        for one in history
        if one["told"].get("to") == told["state"] and one["told"].get("outcome") != "refused"
    ]
    begun = next((one for one in into if one["told"].get("from") != told["state"]), None)
    if begun is not None:
        lines.append(_line("since", shown.moment(begun["at_ns"])))
    if into:
        evidence = into[0]["told"].get("evidence") or {}
        if heart := shown.gist(evidence):
            lines.append(_line("in short", heart))
        facts = shown.facts(evidence, into[0]["told"].get("at_ns"))
        if facts:
            lines.append("  evidence")
            lines += fact_lines(facts, "    ")
    return lines


def _measured(told: Mapping[str, Any]) -> list[str]:
    age = "" if told["connected"] else " (when it was last seen)"
    ratio, threshold = shown.percent(told["drop_ratio"]), shown.percent(told["drop_threshold"])
    lines = [
        _line("drops", f"{ratio}, threshold {threshold}{age}"),
        _line("health", f"{shown.score(told['health_score'])} of 100{age}"),
    ]
    for fate in FATES:
        count = told["ledger"].get(fate, {}).get("packets", 0)
        lines.append(_line(fate, f"{count:>16,} packets"))
    return lines


def fact_lines(facts: Sequence[shown.Fact], indent: str) -> list[str]:
    """Evidence, with its members below and further to the right."""
    lines = []
    for fact in facts:
        lines.append(f"{indent}{fact.label}: {fact.text}".rstrip(" "))
        lines += fact_lines(fact.facts, indent + "  ")
        for row in fact.rows:
            cells = zip(fact.head, row, strict=True)
            lines.append(f"{indent}  " + ", ".join(f"{head} {cell}" for head, cell in cells))
    return lines
