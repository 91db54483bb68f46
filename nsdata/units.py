"""Sizes, durations and rates as people write them, and as numbers. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([kmg]?)(?:i?b)?$", re.IGNORECASE)
_TIME_UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
_TIME = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*(ns|us|µs|ms|s|min|m|h)?$")
_RATE_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_RATE = re.compile(r"^([0-9]+(?:\.[0-9]+)?)\s*([kmg]?)pps$", re.IGNORECASE)


def _number(text: str) -> Fraction:
    if len(text) > 30:
        raise ValueError("a number of at most 30 digits is legal")
    return Fraction(text)


def parse_size(value: Any) -> int:
    """Bytes from `65536`, `64mb`, `1.5GiB` (units are powers of 1024).

    ValueError says what is legal; so do the others here.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    found = _SIZE.match(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ValueError("legal: a size such as 65536, 64kb, 64mb or 1gb")
    size = int(_number(found.group(1)) * _SIZE_UNITS[found.group(2).lower()])
    if size >= 1 << 63:
        raise ValueError("legal: a size below 2^63 bytes")
    return size


def parse_duration(value: Any) -> int:
    """Nanoseconds from seconds (`5`, `0.5`) or `5s`, `100ms`, `2m`, `1h`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = format(value, ".9f") if isinstance(value, float) else str(value)
    found = _TIME.match(value.strip()) if isinstance(value, str) else None
    if not found:
        raise ValueError("legal: a duration such as 5 (seconds), 5s, 100ms, 2m or 1h")
    duration = int(_number(found.group(1)) * _TIME_UNITS[found.group(2) or "s"])
    if duration >= 1 << 63:
        raise ValueError("legal: a duration below 292 years")
    return duration


def parse_rate(value: str) -> float:
    """Packets per second from `200kpps`, `1.5Mpps`, `900pps`; above 0."""
    found = _RATE.match(value.strip())
    rate = _number(found.group(1)) * _RATE_UNITS[found.group(2).lower()] if found else None
    if not rate:
        raise ValueError("legal: a rate above 0 with its unit, such as 900pps, 200kpps or 1.5Mpps")
    return float(rate)


def duration_text(ns: int) -> str:
    """The shortest exact form that `parse_duration` takes: 7000000000 -> 7s, 1500000000 ->
    1500ms."""
    for unit in ("h", "m", "s", "ms", "us"):
        if ns and ns % _TIME_UNITS[unit] == 0:
            return f"{ns // _TIME_UNITS[unit]}{unit}"
    return f"{ns}ns"


def size_text(value: int) -> str:
    """The shortest exact form that `parse_size` takes: 67108864 -> 64mb."""
    for unit in ("g", "m", "k"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit}b"
    return str(value)
