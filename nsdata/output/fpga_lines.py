"""What an appliance says of its FPGA block, in a few lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nsdata.output.shown import lasting, moment, number

SHOWN = 3  # errors


def fpga_lines(told: Mapping[str, Any] | None) -> Iterator[str]:
    """State, identity, what it counted, the newest errors; nothing when there is no block."""
    if told is None:
        return
    yield f"FPGA ({told.get('transport')}): {told.get('state')}"
    if note := told.get("note"):
        yield f"  {note}"
    identity = _members(told, "identity")
    if identity:
        built = _members(identity, "built")
        yield (
            f"  {identity.get('magic')}, register map {identity.get('version')}, "
            f"{built.get('data_w')}-bit datapath, {number(identity.get('flow_capacity'))} flows, "
            f"{number(identity.get('clock_khz'))} kHz"
        )
    if counters := _members(told, "counters"):
        words = (f"{name.replace('_', ' ')} {number(n)}" for name, n in counters.items())
        yield f"  {', '.join(words)}"
    if counts := _members(told, "error_counters"):
        words = (f"{name} {number(n)}" for name, n in counts.items())
        yield f"  errors since it was reset: {', '.join(words)}"
    errors = [one for one in told.get("errors") or () if isinstance(one, Mapping)]
    for one in errors[:SHOWN]:
        yield f"  {moment(one.get('at_ns'))}: {one.get('words') or one.get('error')}{_over(one)}"


def _members(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = of.get(key)
    return found if isinstance(found, Mapping) else {}


def _over(error: Mapping[str, Any]) -> str:
    at, over = error.get("at_ns"), error.get("over_ns")
    if isinstance(at, int) and isinstance(over, int):
        return f" (over after {lasting(over - at)})"
    return " (still so)"
