"""Values of the command line: rates, times and packet numbers, and what `info` prints."""

from __future__ import annotations

import re
from collections.abc import Sequence

from nsdata.capture import CaptureInfo
from nsdata.errors import SettingError
from nsdata.fallback.reasons import State
from nsdata.output.eve import format_time
from nsdata.pipeline import Switch
from nsdata.units import parse_duration

_RATES = {"pps": 1.0, "kpps": 1e3, "mpps": 1e6}


def parse_capacity(text: str) -> float:
    """Packets per second of `500pps`, `200kpps`, `1.5Mpps`. Raises SettingError."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([kKmM]?pps)", text.strip())
    if not match:
        raise SettingError(f"--capacity {text}: write a rate such as 500pps, 200kpps or 1.5Mpps")
    rate = float(match[1]) * _RATES[match[2].lower()]
    if not 0 < rate <= 1e9:
        raise SettingError(f"--capacity {text}: must be above 0 and at most 1000Mpps")
    return rate


def parse_duration_option(option: str, text: str | None) -> int | None:
    """Nanoseconds of `10s`, `500ms`, `2min`; None stays None."""
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise SettingError(f"{option} {text}: {error}") from None


def parse_switches(
    fallback_at: Sequence[str], restore_at: Sequence[str], force: bool = False
) -> list[Switch]:
    """Switches of `--fallback-at` and `--restore-at`: `#N` is a packet, else a time."""
    switches = []
    for option, to, texts in (
        ("--fallback-at", State.FALLBACK, fallback_at),
        ("--restore-at", State.NORMAL, restore_at),
    ):
        for text in texts:
            if text.startswith("#"):
                if not text[1:].isdigit() or int(text[1:]) < 1:
                    raise SettingError(f"{option} {text}: a packet number is #1 or more")
                switches.append(Switch(to, at_frame=int(text[1:]), force=force))
            else:
                at_ns = parse_duration_option(option, text)
                switches.append(Switch(to, at_ns=at_ns, force=force))
    return switches


def info_rows(info: CaptureInfo) -> list[tuple[str, str]]:
    """What `nsdata info` prints of a capture, as (name, value)."""
    rows = [
        ("format", ", ".join(filter(None, (info.format, info.byte_order, info.resolution)))),
        ("compression", info.compression or "none"),
        ("frames", f"{info.frames:,}"),
        ("bytes", f"{info.wire_bytes:,} on the wire, {info.captured_bytes:,} captured"),
        ("mean frame", f"{info.mean_size:.1f} bytes"),
        (
            "link types",
            ", ".join(f"{kind} ({n:,} frames)" for kind, n in info.frames_by_linktype.items())
            or "none",
        ),
        ("interfaces", ", ".join(str(i) for i in info.interfaces) or "none"),
    ]
    if info.first_ns is not None and info.last_ns is not None:
        rows.append(("first", format_time(info.first_ns)))
        rows.append(("last", format_time(info.last_ns)))
        rows.append(("duration", f"{info.duration_ns / 1e9:.6f} s"))
    if info.backwards:
        rows.append(("time", f"runs backwards {info.backwards:,} times"))
    return rows
