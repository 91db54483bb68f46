"""Values of the command line: rates, times and packet numbers; what `info` prints; notes on
options without effect; and signals that end a run."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from nsdata.capture import CaptureInfo
from nsdata.capture.info import linktype_text
from nsdata.capture.pcapfile import Interface
from nsdata.errors import SettingError
from nsdata.fallback.reasons import State
from nsdata.output.eve import format_time
from nsdata.output.summary import Summary
from nsdata.pipeline import Switch
from nsdata.units import duration_text, parse_duration

SHOWN_INTERFACES = 16
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


def read_secret_option(what: str, value: str, file: Path | None, variable: str) -> str:
    """A secret, from a file (`-`: standard input), the environment, or the option itself.
    Raises SettingError."""
    if value and file is not None:
        raise SettingError(f"--{what}, --{what}-file: give one of them")
    if file is not None:
        try:
            value = sys.stdin.readline() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"--{what}-file {file}: cannot be read: {error}") from error
    value = (value or os.environ.get(variable, "")).strip()
    if not value:
        raise SettingError(f"a {what} is needed: --{what}-file FILE, or {variable}")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise SettingError(f"the {what} is one word of printable characters")
    return value


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


class Stop:
    """SIGINT and SIGTERM end a run in good order while this context is open: `asked()` is
    then true. The second one ends the process as it would without this."""

    last: ClassVar[int] = 0  # the signal that ended the last run of this process

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def asked(self) -> bool:
        return bool(self.signal)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signal = Stop.last = number
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def __enter__(self) -> Stop:
        Stop.last = 0
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()


def notes_before(
    *, queue: bool, capacity: bool, force_restore: bool, restore_at: bool
) -> Iterator[str]:
    """Options given that can have no effect, as sentences."""
    if queue and not capacity:
        yield "note: --queue has no effect without --capacity"
    if force_restore and not restore_at:
        yield "note: --force-restore has no effect without --restore-at"


def notes_after(summary: Summary, not_reached: Sequence[Switch]) -> Iterator[str]:
    """Switches by hand that did nothing, as sentences."""
    for switch in not_reached:
        option = "--restore-at" if switch.to is State.NORMAL else "--fallback-at"
        given = f"#{switch.at_frame}" if switch.at_ns is None else duration_text(switch.at_ns)
        yield (
            f"note: {option} {given} was never reached: {summary.packets:,} packets in "
            f"{summary.capture_seconds:.6g} s were read"
        )
    for item in summary.transitions:
        by_hand = (item.model_extra or {}).get("input")
        if item.outcome != "refused" or by_hand not in ("restore by hand", "fallback by hand"):
            continue
        at = f"at packet {item.at_packet:,}" if item.at_packet is not None else ""
        if by_hand == "fallback by hand":
            yield f"note: --fallback-at had no effect {at}: the engine was in fallback already"
        elif item.to == "normal":
            yield f"note: --restore-at had no effect {at}: the engine was not in fallback"
        else:
            yield (
                f"note: --restore-at was refused {at}: {item.reason} still holds; "
                "--force-restore restores nevertheless"
            )


def _interface_text(interface: Interface) -> str:
    """An interface in plain words."""
    step = {"10^-3 s": "milliseconds", "10^-6 s": "microseconds", "10^-9 s": "nanoseconds"}
    words = [interface.name] if interface.name else []
    snaplen = f"at most {interface.snaplen:,} bytes a frame" if interface.snaplen else "no limit"
    words += [linktype_text(interface.linktype), snaplen]
    words.append(f"times in {step.get(interface.resolution, interface.resolution)}")
    return ", ".join(words)


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
            ", ".join(
                f"{linktype_text(kind)}: {n:,} frames"
                for kind, n in info.frames_by_linktype.items()
            )
            or "none",
        ),
        *(
            ("interface" if len(info.interfaces) == 1 else f"interface {n}", _interface_text(each))
            for n, each in enumerate(info.interfaces[:SHOWN_INTERFACES])
        ),
    ]
    if not info.interfaces:
        rows.append(("interfaces", "none"))
    elif more := len(info.interfaces[SHOWN_INTERFACES:]):
        rows.append(("interfaces", f"… and {more:,} more"))
    if info.first_ns is not None and info.last_ns is not None:
        rows.append(("first", format_time(info.first_ns)))
        rows.append(("last", format_time(info.last_ns)))
        rows.append(("duration", f"{info.duration_ns / 1e9:.6f} s"))
    if info.backwards:
        rows.append(("time", f"runs backwards {info.backwards:,} times"))
    return rows
