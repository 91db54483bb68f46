"""TOML read with places: which line a key stands on, so that a message can say so.

`tomllib` keeps no positions; `read_toml` parses with it and finds the lines by a
second, simple pass over the text. Pure: text in, values out; the caller reads the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from nsdata.errors import SettingError

KeyPath = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*({_DOTTED})\s*=")
_STRING = re.compile(r'"""|\'\'\'')
_AT_LINE = re.compile(r"\s*\(at line (\d+), column (\d+)\)$")


def read_toml(text: str, path: str) -> tuple[dict[str, Any], Mapping[KeyPath, int]]:
    """Parse `text`; give its values and the 1-based line of every table and key.

    Keys of the second mapping are paths, with the index where a table array is meant:
    `("rule", 0, "name")`. `path` names the file in messages. Raises SettingError with
    file and line when the text is not TOML.
    """
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise SettingError(f"{path}: not valid TOML: nested too deeply") from None
    except tomllib.TOMLDecodeError as fault:
        place = _AT_LINE.search(str(fault))
        line = int(place.group(1)) if place else max(1, text.count("\n"))
        reason = _AT_LINE.sub("", str(fault))
        raise SettingError(f"{path}:{line}: not valid TOML: {reason}") from None
    return values, _lines(text)


def place_of(lines: Mapping[KeyPath, int], path: str, key: KeyPath) -> str:
    """`file:line` of `key`, or of the nearest table around it; `file` alone if unknown."""
    for end in range(len(key), 0, -1):
        if (line := lines.get(key[:end])) is not None:
            return f"{path}:{line}"
    return path


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _lines(text: str) -> dict[KeyPath, int]:
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts: dict[KeyPath, int] = {}
    quote = ""  # the delimiter of a multi-line string that is open
    for number, line in enumerate(text.splitlines(), 1):
        inside = bool(quote)
        for mark in _STRING.findall(line):
            if not quote:
                quote = mark
            elif quote == mark:
                quote = ""
        if inside:
            continue
        if header := _HEADER.match(line):
            name: KeyPath = ()
            parts = _parts(header.group(2))
            for at, part in enumerate(parts):
                name = (*name, part)
                last = at == len(parts) - 1
                if last and header.group(1) == "[[":
                    counts[name] = counts.get(name, -1) + 1
                if name in counts:
                    name = (*name, counts[name])
                lines.setdefault(name, number)
            table = name
        elif key := _KEY.match(line):
            parts = _parts(key.group(1))
            for end in range(1, len(parts) + 1):
                lines.setdefault((*table, *parts[:end]), number)
    return lines
