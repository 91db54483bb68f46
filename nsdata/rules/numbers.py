"""Numbers as the rule language writes them."""

from __future__ import annotations

import re

from nsdata.path.rulebase import Compare
from nsdata.rules.ir import Refused

_NUMBER = r"(0[xX][0-9a-fA-F]+|[0-9]+)"
_ONE = re.compile(rf"\s*(!=|<=|>=|[!<>=])?\s*{_NUMBER}\s*")
_RANGE = re.compile(rf"\s*(!)?\s*{_NUMBER}\s*(?:<>|-)\s*{_NUMBER}\s*")
_OPERATORS = {
    None: Compare.CMP_EQ,
    "=": Compare.CMP_EQ,
    "!": Compare.CMP_NE,
    "!=": Compare.CMP_NE,
    "<": Compare.CMP_LT,
    "<=": Compare.CMP_LE,
    ">": Compare.CMP_GT,
    ">=": Compare.CMP_GE,
}


def integer(text: str, low: int, high: int, what: str = "the value") -> int:
    """A decimal or 0x number in [low, high]; a sign where low < 0. Raises Refused."""
    stripped = text.strip()
    body = stripped[1:] if low < 0 and stripped[:1] in ("-", "+") else stripped
    if not re.fullmatch(_NUMBER, body) or len(body) > 24:
        raise Refused(f"{what} {stripped[:40]!r} is no number")
    value = int(body, 16) if body[:2].lower() == "0x" else int(body)
    if stripped[:1] == "-":
        value = -value
    if not low <= value <= high:
        raise Refused(f"{what} {value} is not in {low} to {high}")
    return value


def is_number(text: str) -> bool:
    """Whether `text` is written as a number (as opposed to a variable's name)."""
    return bool(re.fullmatch(rf"[-+]?{_NUMBER}", text.strip()))


def unsigned(text: str, bits: int) -> tuple[Compare, int, int]:
    """(compare, a, b) of `5` `=5` `!5` `<5` `<=5` `>5` `>=5` `3<>7` `3-7` `!3-7`.

    A range excludes its ends. Raises Refused: no such form, a number over `bits` bits, a
    comparison that is always or never true.
    """
    top = (1 << bits) - 1
    one = _ONE.fullmatch(text)
    if one:
        compare = _OPERATORS[one[1]]
        value = integer(one[2], 0, top)
        if (compare == Compare.CMP_LT and value == 0) or (
            compare == Compare.CMP_GT and value == top
        ):
            raise Refused(f"{text.strip()!r} can never be true")
        if (compare == Compare.CMP_GE and value == 0) or (
            compare == Compare.CMP_LE and value == top
        ):
            raise Refused(f"{text.strip()!r} is always true")
        return compare, value, 0
    span = _RANGE.fullmatch(text)
    if not span:
        raise Refused(f"{text[:40]!r} is no number or comparison. Write 5, !5, <5, >5 or 3<>7")
    low, high = integer(span[2], 0, top), integer(span[3], 0, top)
    if high <= low + 1:
        raise Refused(f"no number is between {low} and {high} (a range excludes its ends)")
    if span[1]:
        return Compare.CMP_NOT_WITHIN, low + 1, high - 1
    return Compare.CMP_BETWEEN, low, high
