"""Keyword name → handler, and what the value of each keyword may look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from nsdata.rules.builder import Builder
from nsdata.rules.ir import Refused
from nsdata.rules.parse import Option


class Value(Enum):
    """Whether a keyword has a value."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


class Quotes(Enum):
    """Whether the value stands in double quotes."""

    FORBIDDEN = "forbidden"
    OPTIONAL = "optional"
    MANDATORY = "mandatory"


Handler = Callable[[Builder, str], None]


@dataclass(frozen=True, slots=True)
class Keyword:
    """`handler(builder, value)` gets the value without its quotes and, where `negation`
    is set, without its `!` (which is in `builder.negated`)."""

    name: str
    family: str
    handler: Handler
    value: Value
    quotes: Quotes
    negation: bool
    help: str


KEYWORDS: dict[str, Keyword] = {}


def keyword(
    *names: str,
    family: str,
    value: Value = Value.REQUIRED,
    quotes: Quotes = Quotes.FORBIDDEN,
    negation: bool = False,
) -> Callable[[Handler], Handler]:
    """Register a handler under its names; its docstring is the documentation."""

    def register(handler: Handler) -> Handler:
        text = " ".join((handler.__doc__ or "").split())
        for name in names:
            if name in KEYWORDS:
                raise ValueError(f"keyword {name} is registered twice")
            KEYWORDS[name] = Keyword(name, family, handler, value, quotes, negation, text)
        return handler

    return register


def value_of(known: Keyword, option: Option) -> tuple[str, bool]:
    """(value without quotes and negation, negated). Raises Refused."""
    raw = option.value
    if not raw:
        if known.value is Value.REQUIRED:
            raise Refused("it needs a value")
        return "", False
    if known.value is Value.NONE:
        raise Refused("it takes no value")
    negated = False
    if known.negation and raw[0] == "!":
        negated = True
        raw = raw[1:].lstrip()
    quoted = raw.startswith('"')
    if known.quotes is Quotes.MANDATORY and not quoted:
        raise Refused("the value must stand in double quotes")
    if quoted:
        if known.quotes is Quotes.FORBIDDEN:
            raise Refused("the value must not stand in quotes")
        if len(raw) < 2 or raw[-1] != '"':
            raise Refused("the closing quote is missing (or a ; inside it is not escaped by \\)")
        raw = raw[1:-1]
        if not raw:
            raise Refused("the quoted value is empty")
    return raw, negated
