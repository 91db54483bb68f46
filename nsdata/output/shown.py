"""Figures, times and evidence in words. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from nsdata.fallback.drop_meter import SECOND_NS
from nsdata.output.console import percent as ratio_text

NOTHING = "–"
EPOCH_NS = 10**18  # what is larger is a time since the epoch (2001 or later), not a duration
PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
MOST, DEEPEST, LONGEST = 100, 6, 500  # members of one level, levels, characters of a text
INSTANTS = ("at", "since", "start", "end", "beat", "until")  # before _ns: a time, no duration
UNIT = 4  # characters; a longer one explains
SHARES = ("ratio", "threshold", "share")
NAMES = {
    "at_ns": "time", "pid": "process id", "rss_bytes": "memory", "offered_pps": "offered",
    "served_pps": "served", "sid": "rule", "why": "why", "fpga": "FPGA", "psu": "PSU",
    "given": "what was found",
}  # fmt: skip
SYMBOLS = {
    "normal": "✓", "fallback": "▲", "green": "✓", "yellow": "!", "red": "✕", "unknown": "?",
    "Critical": "✕", "Warning": "!", "Info": "i", "done": "✓", "failed": "✕", "running": "…",
    "sent": "…", "queued": "…", "refused": "✕",
}  # fmt: skip


def number(value: float | None) -> str:
    """1234567 -> 1,234,567; 0.25 -> 0.25."""
    if value is None or isinstance(value, bool):
        return NOTHING
    if isinstance(value, float):
        if not math.isfinite(value):
            return NOTHING
        return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}"


def scaled(value: float | None, unit: str) -> str:
    """1500, "bit/s" -> 1.5 kbit/s."""
    if value is None:
        return NOTHING
    for size, prefix in PREFIXES:
        if value >= size:
            return f"{value / size:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def bits(value: float | None) -> str:
    """Bits per second."""
    return scaled(value, "bit/s")


def packets(value: float | None) -> str:
    """Packets per second."""
    return scaled(value, "pkt/s")


def size(value: float) -> str:
    """Bytes: 1536 -> 1.5 KiB."""
    for power, prefix in ((40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")):
        if value >= 1 << power:
            return f"{value / (1 << power):.4g} {prefix}B"
    return f"{value:g} B"


def percent(value: float | None) -> str:
    """0.926 -> 92.6 %."""
    return NOTHING if value is None else ratio_text(value)


def score(value: float | None) -> str:
    """Of health, 0 to 100."""
    return NOTHING if value is None else f"{value:g}"


def moment(at_ns: int | None) -> str:
    """A time, to the second, in UTC."""
    if at_ns is None:
        return NOTHING
    try:
        return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at_ns} ns"


def iso(at_ns: int) -> str:
    """A time for programs."""
    try:
        return f"{datetime.fromtimestamp(at_ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return ""


def lasting(ns: int | None) -> str:
    """A duration in its two largest units: 3 min 20 s."""
    if ns is None:
        return NOTHING
    seconds = max(0, ns) // SECOND_NS
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (size, name), (smaller, lesser) in pairwise(units):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {name}" + (f" {rest} {lesser}" if rest else "")
    return f"{seconds} s"


def span(ns: int) -> str:
    """A duration that may be short: 50951862 -> 51 ms."""
    if abs(ns) >= 120 * SECOND_NS:
        return lasting(ns)
    for size, unit in ((SECOND_NS, "s"), (10**6, "ms"), (1000, "µs")):
        if abs(ns) >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"


def ago(at_ns: int | None, now_ns: int) -> str:
    """How long since."""
    if at_ns is None:
        return "never"
    since = now_ns - at_ns
    return "just now" if since < 3 * SECOND_NS else f"{lasting(since)} ago"


def symbol(word: object) -> str:
    """A sign beside a word that has a colour, for those who do not see it."""
    return SYMBOLS.get(str(word), "·")


def label(key: str) -> str:
    """The name of a member: window_start_ns -> window start."""
    if key in NAMES:
        return NAMES[key]
    for suffix in ("_ns", "_bytes", "_pps"):
        if key.endswith(suffix) and key != suffix:
            key = key.removesuffix(suffix)
    return key.replace("_", " ").strip() or NOTHING


def value(key: str, given: Any, at_ns: int | None = None) -> str:
    """A figure in its unit, which its name says. `at_ns`: when it was told, by the clock that its
    times are of (an appliance's own, which begins with it)."""
    if given is None:
        return NOTHING
    if isinstance(given, bool):
        return "yes" if given else "no"
    if isinstance(given, int | float):
        return _figure(key, given, at_ns)
    text = str(given)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _figure(key: str, given: int | float, at_ns: int | None) -> str:
    if key.endswith("_ns") and isinstance(given, int):
        if given > EPOCH_NS:
            return moment(given)
        instant = key.removesuffix("_ns").rpartition("_")[2] in INSTANTS
        if instant and given > 0:
            return _instant(given, at_ns)
        return span(given)
    if key.endswith("bytes") and given >= 0:
        return size(given)
    if key.endswith(("_pps", "packets_per_second")):
        return packets(float(given))
    if key.endswith("bits_per_second"):
        return bits(float(given))
    if key.rpartition("_")[2] in SHARES and 0 <= given <= 1:
        return percent(float(given))
    return str(given) if key in ("sid", "rule", "pid", "register") else number(given)


def _instant(given: int, at_ns: int | None) -> str:
    """A time of a clock that nobody reads, beside one of the same clock that is known."""
    if at_ns is None:
        return f"at {span(given)} of its clock"
    if given == at_ns:
        return "then"
    return f"{span(at_ns - given)} before" if given < at_ns else f"{span(given - at_ns)} after"


def reading(given: Any, unit: object, with_unit: bool = True) -> str:
    """Of a sensor, or a threshold of it (without its unit, but for bytes)."""
    usable = isinstance(given, int | float) and not isinstance(given, bool)
    if unit == "bytes" and usable and given >= 0:
        return size(given)
    said = value("reading", given)
    if not unit or not with_unit or given is None:
        return said
    text = str(unit)
    return f"{said} {text}" if len(text) <= UNIT else f"{said} ({text})"


@dataclass(frozen=True, slots=True)
class Fact:
    """One member of evidence: a text, or members of its own, or rows of a table."""

    label: str
    text: str = ""
    facts: list[Fact] = field(default_factory=list)
    head: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def facts(evidence: Mapping[str, Any], at_ns: Any = None) -> list[Fact]:
    """Evidence to be read by a person; `at_ns` as of `value`."""
    return _Reader(at_ns if isinstance(at_ns, int) else None).facts(evidence)


@dataclass(frozen=True, slots=True)
class _Reader:
    at_ns: int | None

    def facts(self, evidence: Mapping[str, Any], depth: int = 0) -> list[Fact]:
        return [self._fact(str(key), given, depth) for key, given in list(evidence.items())[:MOST]]

    def _fact(self, key: str, given: Any, depth: int) -> Fact:
        name = label(key)
        if isinstance(given, Mapping) and given and depth < DEEPEST:
            return Fact(name, facts=self.facts(given, depth + 1))
        rows = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
        if rows and all(isinstance(one, Mapping) for one in given):
            return self._rows(name, given)
        return Fact(name, self._short(key, given))

    def _rows(self, name: str, given: Sequence[Mapping[str, Any]]) -> Fact:
        keys = list(dict.fromkeys(str(key) for one in given[:MOST] for key in one))
        rows = [[self._short(key, one.get(key)) for key in keys] for one in given[:MOST]]
        return Fact(name, head=[label(key) for key in keys], rows=rows)

    def _short(self, key: str, given: Any, depth: int = 0) -> str:
        if depth > DEEPEST:
            return "…"
        if isinstance(given, Mapping):
            members = list(given.items())[:MOST]
            parts = [f"{label(str(k))} {self._short(str(k), v, depth + 1)}" for k, v in members]
            return value("", ", ".join(parts) or None)
        if isinstance(given, Sequence) and not isinstance(given, str):
            parts = [self._short(key, one, depth + 1) for one in given[:MOST]]
            return value("", ", ".join(parts) or None)
        return value(key, given, self.at_ns)


def gist(evidence: Mapping[str, Any]) -> str:
    """The heart of a transition's evidence in a few words: who, how much, of what limit."""
    given = evidence.get("given")
    told = given if isinstance(given, Mapping) else evidence
    parts = [
        str(told.get("process") or ""),
        _of_limit("silent for {}, limit {}", told, "silence_ns", "limit_ns"),
        _of_limit("has {}, maximum {}", told, "rss_bytes", "maximum_bytes"),
        _of_limit("{} dropped, threshold {}", told, "ratio", "threshold"),
        value("", told.get("attribution")) if "ratio" in told else "",
        f"score {score(told['score'])}" if isinstance(told.get("score"), int | float) else "",
        ", ".join(
            f"{one.get('sensor')} {reading(one.get('value'), one.get('unit'))}"
            for one in told.get("sensors") or ()
            if isinstance(one, Mapping) and one.get("level") == "red"
        ),
        value("", told.get("error") or told.get("why") or told.get("note") or ""),
    ]
    return ", ".join(part for part in parts if part and part != NOTHING)


def _of_limit(form: str, told: Mapping[str, Any], key: str, limit: str) -> str:
    if told.get(key) is None or told.get(limit) is None:
        return ""
    return form.format(value(key, told[key]), value(limit, told[limit]))


def raw(evidence: Mapping[str, Any]) -> str:
    """As it was told."""
    return json.dumps(evidence, indent=2, ensure_ascii=False, default=str)


def lines(text: str) -> list[str]:
    """Of a text of several."""
    return text.split("\n")


FILTERS = {
    "number": number, "bits": bits, "packets": packets, "percent": percent, "score": score,
    "moment": moment, "iso": iso, "lasting": lasting, "ago": ago, "symbol": symbol,
    "label": label, "value": value, "facts": facts, "reading": reading, "raw": raw, "lines": lines,
}  # fmt: skip
