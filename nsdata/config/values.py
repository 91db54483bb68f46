"""What settings hold: kinds of values, their legal names, and Suricata's usual groups."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator

from nsdata.errors import SettingError
from nsdata.units import parse_duration, parse_size

ACTION_ORDER = ("pass", "drop", "reject", "alert")
HOST_OS_POLICY: Mapping[str, tuple[str, ...]] = {"windows": ("0.0.0.0/0",)}


def listed(value: Any) -> Any:
    """`[a, b]` or `a,b` or `a` as a list of texts; `KEY.N` entries in order of N."""
    if isinstance(value, Mapping):
        return [value[index] for index in sorted(value)]
    if isinstance(value, str):
        inner = value.strip().removeprefix("[").removesuffix("]")
        return [part.strip().strip("\"'") for part in inner.split(",") if part.strip()]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _text(value: Any) -> Any:
    """Numbers and lists of a TOML file as the text the rule language has for them."""
    if isinstance(value, list):
        return "[" + ",".join(str(item) for item in value) + "]"
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Size = Annotated[int, BeforeValidator(parse_size)]
DurationNs = Annotated[int, BeforeValidator(parse_duration)]
TextList = Annotated[tuple[str, ...], BeforeValidator(listed)]
GroupText = Annotated[str, BeforeValidator(_text)]


class ExceptionPolicy(StrEnum):
    """What to do with traffic the engine cannot follow."""

    AUTO = "auto"
    IGNORE = "ignore"
    DROP_PACKET = "drop-packet"
    DROP_FLOW = "drop-flow"
    REJECT = "reject"
    BYPASS = "bypass"
    PASS_PACKET = "pass-packet"
    PASS_FLOW = "pass-flow"


class InlineMode(StrEnum):
    """Whether the stream is inspected as it passes."""

    AUTO = "auto"  # as the run is: --inline
    YES = "yes"
    NO = "no"


class DropLogFlows(StrEnum):
    """Which dropped packets are logged."""

    ALL = "all"
    START = "start"


class Action(StrEnum):
    """Action of a rule."""

    PASS = "pass"
    DROP = "drop"
    REJECT = "reject"
    ALERT = "alert"


class OsPolicy(StrEnum):
    """How a host puts overlapping segments and fragments together."""

    BSD = "bsd"
    BSD_RIGHT = "bsd-right"
    OLD_LINUX = "old-linux"
    LINUX = "linux"
    OLD_SOLARIS = "old-solaris"
    SOLARIS = "solaris"
    HPUX10 = "hpux10"
    HPUX11 = "hpux11"
    IRIX = "irix"
    MACOS = "macos"
    WINDOWS = "windows"
    VISTA = "vista"
    WINDOWS2K3 = "windows2k3"


class EveType(StrEnum):
    """Event types of EVE JSON."""

    ALERT = "alert"
    DROP = "drop"
    FLOW = "flow"
    STATS = "stats"
    FALLBACK = "fallback"
    LEDGER = "ledger"


def ports_of(text: str, groups: Mapping[str, str], depth: int) -> tuple[int, ...] | None:
    """Ports of `4789`, `[4789,8472]`, `$NAME` or `any`, sorted, each once; None is any."""
    legal = "legal: any, a port, [a,b], or $NAME of vars.port-groups"
    if depth > 8:
        raise SettingError(f"{text}: port groups that refer to each other in a circle")
    ports: set[int] = set()
    for part in listed(text):
        if part == "any":
            return None
        if part.startswith("$"):
            if part[1:] not in groups:
                raise SettingError(f"{text}: no port group {part[1:]}; {legal}")
            inner = ports_of(groups[part[1:]], groups, depth + 1)
            if inner is None:
                return None
            ports.update(inner)
        elif part.isascii() and part.isdigit() and len(part) <= 5 and int(part) <= 65535:
            ports.add(int(part))
        else:
            raise SettingError(f"{text}: {part!r} is not a port; {legal}")
    return tuple(sorted(ports))
