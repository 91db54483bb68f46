"""Rule text → syntax tree: Suricata's rule syntax, whole, without meaning.

A rule is `action protocol source port direction destination port (option; option; …)`,
each option `keyword;` or `keyword:value;`. A `;` ends an option unless a backslash stands
before it — inside double quotes too, as Suricata has it. A line that begins with `#` (or
`;`) is a comment, a line that ends with `\\` goes on in the next.

Nothing here knows a keyword; `nsdata.rules.build` gives options their meaning.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nsdata.errors import RuleError

ACTIONS = ("alert", "drop", "pass", "reject", "rejectsrc", "rejectdst", "rejectboth")
DIRECTIONS = ("->", "<>", "=>")
MAX_RULE_LENGTH = 65536
_BLANK = " \t\r\n\f\v"

# First bytes of a file that is no rule file -> what it looks like, and what to do.
_CAPTURE = "a capture", "captures are given without --rules"
_LOOKS_LIKE: tuple[tuple[bytes, tuple[str, str]], ...] = (
    *((magic, _CAPTURE) for magic in (
        b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",
        b"\x0a\x0d\x0d\x0a",
    )),
    (b"\x1f\x8b", ("gzip data", "decompress it first: gzip -d")),
    (b"\x28\xb5\x2f\xfd", ("zstd data", "decompress it first: zstd -d")),
    (b"PK\x03\x04", ("a zip archive", "unzip it first")),
    (b"\xff\xfe", ("UTF-16 text", "save it as UTF-8")),
    (b"\xfe\xff", ("UTF-16 text", "save it as UTF-8")),
)  # fmt: skip
_LOOKED_AT = 8192  # bytes searched for a NUL


class Option(NamedTuple):
    """One option. `value` is the raw text after the colon (outer blanks stripped) or None
    when there was no colon; `offset` counts characters from the rule's start."""

    keyword: str
    value: str | None
    offset: int


@dataclass(frozen=True, slots=True)
class RawRule:
    """One rule as written. Header fields are raw text, `line` (1-based) is its first line."""

    action: str
    protocol: str
    src: str
    sport: str
    direction: str
    dst: str
    dport: str
    options: tuple[Option, ...]
    path: str
    line: int
    text: str
    # Where each physical line begins in `text`; one entry for a rule on one line.
    starts: tuple[int, ...] = field(default=(0,), repr=False)

    def place(self, offset: int) -> tuple[int, int]:
        """(line, column), both 1-based, of the character at `offset` in `text`."""
        index = bisect_right(self.starts, offset) - 1
        return self.line + index, offset - self.starts[index] + 1

    def error(self, reason: str, keyword: str | None = None, offset: int = 0) -> RuleError:
        """A RuleError that points into this rule."""
        line, column = self.place(offset)
        return RuleError(self.path, line, reason, keyword, column)


@dataclass(slots=True)
class Parsed:
    """What a rule file holds: the rules, the errors of those that are no rules, and the
    number of comment lines (disabled rules are comments)."""

    rules: list[RawRule] = field(default_factory=list)
    errors: list[RuleError] = field(default_factory=list)
    comments: int = 0


def parse_file(path: str | Path) -> Parsed:
    """Parse a rule file. Bytes that are no UTF-8 survive (surrogateescape).

    Raises RuleError when the file cannot be read, or is something else than text; a bad
    rule is in `Parsed.errors`.
    """
    try:
        data = _read(path)
    except OSError as error:
        reason = f"cannot read the rule file: {error.strerror}. Check path and permissions"
        raise RuleError(str(path), 0, reason) from error
    if found := _something_else(data):
        what, advice = found
        raise RuleError(str(path), 0, f"this looks like {what}, not a rule file: {advice}")
    data = data.removeprefix(b"\xef\xbb\xbf")  # some editors put a byte order mark
    return parse_text(data.decode("utf-8", "surrogateescape"), str(path))


def _read(path: str | Path) -> bytes:
    """What is in the file. A pipe or device, which might never end, is an OSError at once."""
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read()


def _something_else(data: bytes) -> tuple[str, str] | None:
    """What the bytes of a file look like when they are no rules, and what to do about it."""
    for magic, found in _LOOKS_LIKE:
        if data.startswith(magic):
            return found
    if data[257:262] == b"ustar":
        return "a tar archive", "unpack it first: tar -x"
    if b"\0" in data[:_LOOKED_AT]:
        return "binary data (it holds zero bytes)", "name a file of rules as text"
    return None


def parse_text(text: str, path: str = "<rules>") -> Parsed:
    """Parse the text of a rule file; never raises for what is in it."""
    parsed = Parsed()
    pieces: list[str] = []
    first = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not pieces:
            head = line.lstrip(_BLANK)
            if not head:
                continue
            if head[0] in "#;":
                parsed.comments += 1
                continue
            first = number
        body = line.rstrip(_BLANK)
        if body.endswith("\\"):
            pieces.append(body[:-1])
            continue
        pieces.append(body)
        _add(parsed, pieces, path, first)
        pieces = []
    if pieces:
        _add(parsed, pieces, path, first)
    return parsed


def _add(parsed: Parsed, pieces: list[str], path: str, first: int) -> None:
    text = "".join(pieces)
    starts = [0]
    for piece in pieces[:-1]:
        starts.append(starts[-1] + len(piece))
    try:
        parsed.rules.append(parse_rule(text, path, first, tuple(starts)))
    except RuleError as error:
        parsed.errors.append(error)


def parse_rule(
    text: str, path: str = "<rule>", line: int = 1, starts: tuple[int, ...] = (0,)
) -> RawRule:
    """Parse one rule (continuation lines already joined).

    Raises RuleError: no options, an unterminated option, an empty option (`;;`), a header
    that has not seven fields, an unknown action or direction.
    """
    shell = RawRule("", "", "", "", "", "", "", (), path, line, text, starts)
    if len(text) > MAX_RULE_LENGTH:
        raise shell.error(f"the rule is longer than {MAX_RULE_LENGTH} characters. Split it")
    opening = text.find("(")
    if opening < 0:
        raise shell.error("the rule has no options: write them in ( ) after the ports")
    fields = _header(text[:opening], shell)
    action, protocol, src, sport, direction, dst, dport = fields
    if action not in ACTIONS:
        legal = ", ".join(ACTIONS)
        offset = len(text) - len(text.lstrip(_BLANK))
        raise shell.error(f"unknown action {action!r}. Use one of {legal}", action[:32], offset)
    if direction not in DIRECTIONS:
        offset = max(text.find(direction), 0)
        raise shell.error(f"{direction!r} is no direction. Use -> or <>", None, offset)
    end = len(text.rstrip(_BLANK))
    if text[end - 1] != ")":
        raise shell.error("the rule does not end with )", None, max(end - 1, 0))
    options = _options(text, opening + 1, end - 1, shell)
    return RawRule(
        action, protocol, src, sport, direction, dst, dport, options, path, line, text, starts
    )


def _header(text: str, shell: RawRule) -> list[str]:
    """The seven header fields; blanks inside [ ] belong to the field."""
    if "[" not in text:
        fields = text.split()
    else:
        fields = []
        part = ""
        depth = 0
        for word in text.split():
            part = f"{part} {word}" if part else word
            depth += word.count("[") - word.count("]")
            if depth <= 0 and part != "!":
                fields.append(part)
                part, depth = "", 0
        if part:
            offset = max(text.rfind("["), 0)
            raise shell.error("a [ in the header is not closed. Add the missing ]", None, offset)
    if len(fields) != 7:
        raise shell.error(
            f"the header has {len(fields)} fields, not 7. Write: action protocol source port "
            "-> destination port (options)"
        )
    return fields


def _options(text: str, start: int, end: int, shell: RawRule) -> tuple[Option, ...]:
    options: list[Option] = []
    at = start
    while True:
        while at < end and text[at] in _BLANK:
            at += 1
        if at >= end:
            return tuple(options)
        stop = text.find(";", at, end)
        while stop > 0 and text[stop - 1] == "\\":
            stop = text.find(";", stop + 1, end)
        if stop < 0:
            name = text[at:end].split(":", 1)[0].strip(_BLANK)[:32]
            raise shell.error("the option is not ended by a ;", name or None, at)
        if stop == at:
            raise shell.error("empty option: a ; too many", None, at)
        colon = text.find(":", at, stop)
        if colon < 0:
            keyword, value = text[at:stop].rstrip(_BLANK), None
        else:
            keyword = text[at:colon].rstrip(_BLANK)
            value = text[colon + 1 : stop].strip(_BLANK)
            if not keyword:
                raise shell.error("a : without a keyword before it", None, at)
        options.append(Option(keyword, value, at))
        at = stop + 1
