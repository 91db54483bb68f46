"""Address and port expressions → sorted, disjoint integer intervals.

    10.0.0.1   10.0.0.0/8   10.0.0.0/255.0.0.0   10.0.0.1-10.0.0.9   2001:db8::/32
    any   !10.0.0.1   [10.0.0.0/8,![10.1.0.0/16,!10.1.2.3]]   $HOME_NET   !$HOME_NET
    80   80:90   1024:   :1023   [80,8000:9000,!8080]   !$HTTP_PORTS

A group is what it lists minus what it negates, at every depth; a group in a group adds
its members to it, a negated group is worked out by itself first (all as Suricata does).
Where only negations are given, they are taken from everything of their address family:
`!10.0.0.0/8` is the rest of IPv4 and no IPv6.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass

from nsdata.errors import NsdataError

Intervals = tuple[tuple[int, int], ...]

V4_MAX = (1 << 32) - 1
V6_MAX = (1 << 128) - 1
PORT_MAX = 65535
MAX_DEPTH = 32
MAX_MEMBERS = 200_000

# The names rule sets count on, with the values a stock installation gives them.
DEFAULT_ADDRESSES: dict[str, str] = {
    "HOME_NET": "[192.168.0.0/16,10.0.0.0/8,172.16.0.0/12]",
    "EXTERNAL_NET": "!$HOME_NET",
    "HTTP_SERVERS": "$HOME_NET",
    "SMTP_SERVERS": "$HOME_NET",
    "SQL_SERVERS": "$HOME_NET",
    "DNS_SERVERS": "$HOME_NET",
    "TELNET_SERVERS": "$HOME_NET",
    "AIM_SERVERS": "$EXTERNAL_NET",
    "DC_SERVERS": "$HOME_NET",
    "DNP3_SERVER": "$HOME_NET",
    "DNP3_CLIENT": "$HOME_NET",
    "MODBUS_CLIENT": "$HOME_NET",
    "MODBUS_SERVER": "$HOME_NET",
    "ENIP_CLIENT": "$HOME_NET",
    "ENIP_SERVER": "$HOME_NET",
}
DEFAULT_PORTS: dict[str, str] = {
    "HTTP_PORTS": "80",
    "SHELLCODE_PORTS": "!80",
    "ORACLE_PORTS": "1521",
    "SSH_PORTS": "22",
    "DNP3_PORTS": "20000",
    "MODBUS_PORTS": "502",
    "FILE_DATA_PORTS": "[$HTTP_PORTS,110,143]",
    "FTP_PORTS": "21",
    "GENEVE_PORTS": "6081",
    "VXLAN_PORTS": "4789",
    "TEREDO_PORTS": "3544",
    "SIP_PORTS": "[5060,5061]",
}


class ExpressionError(NsdataError):
    """An address or port expression that makes no sense. The builder turns it into a
    RuleError that has the place."""


@dataclass(frozen=True, slots=True)
class AddressSet:
    """Disjoint, ascending, inclusive intervals of addresses as integers. `negated` says
    that a negation stood in the expression or in a variable of it."""

    v4: Intervals
    v6: Intervals
    negated: bool = False

    @property
    def is_any(self) -> bool:
        return self.v4 == ANY_V4 and self.v6 == ANY_V6


ANY_V4: Intervals = ((0, V4_MAX),)
ANY_V6: Intervals = ((0, V6_MAX),)
ANY_PORT: Intervals = ((0, PORT_MAX),)


def normalise(intervals: list[tuple[int, int]]) -> Intervals:
    """Sorted, and joined where they overlap or touch."""
    if len(intervals) == 1:
        return (intervals[0],)
    result: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if result and low <= result[-1][1] + 1:
            if high > result[-1][1]:
                result[-1] = (result[-1][0], high)
        else:
            result.append((low, high))
    return tuple(result)


def subtract(intervals: Intervals, taken: Intervals) -> Intervals:
    """`intervals` without `taken`; both normalised."""
    result: list[tuple[int, int]] = []
    first = 0
    for low, high in intervals:
        while first < len(taken) and taken[first][1] < low:
            first += 1
        index = first
        while index < len(taken) and taken[index][0] <= high:
            out_low, out_high = taken[index]
            if out_low > low:
                result.append((low, out_low - 1))
            low = out_high + 1
            index += 1
        if low <= high:
            result.append((low, high))
    return tuple(result)


class _Heads:
    """Members seen so far, listed and negated, per universe (v4, v6 — or ports)."""

    __slots__ = ("negative", "positive")

    def __init__(self, universes: int) -> None:
        self.positive: list[list[tuple[int, int]]] = [[] for _ in range(universes)]
        self.negative: list[list[tuple[int, int]]] = [[] for _ in range(universes)]


class _Evaluator:
    """Shared walk over groups, negations and variables; subclasses read literals."""

    what = "expression"
    limits: tuple[int, ...] = ()

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)
        self.members = 0
        self.negations = 0

    def literal(self, text: str) -> list[tuple[int, int, int]]:
        """(universe, low, high) of one literal."""
        raise NotImplementedError

    def evaluate(self, text: str) -> tuple[Intervals, ...]:
        self.members = self.negations = 0
        heads = _Heads(len(self.limits))
        self.walk(text, False, heads, (), 0)
        return self.merge(heads, text)

    def merge(self, heads: _Heads, text: str) -> tuple[Intervals, ...]:
        result: list[Intervals] = []
        for universe, limit in enumerate(self.limits):
            positive = normalise(heads.positive[universe])
            negative = normalise(heads.negative[universe])
            if negative:
                # IPv4 or ports wholly negated: no packet could ever match.
                if universe == 0 and negative == ((0, limit),):
                    raise ExpressionError(f"{text!r} negates every {self.what}")
                positive = subtract(positive or ((0, limit),), negative)
            result.append(positive)
        if not any(result):
            raise ExpressionError(f"no {self.what} is left in {text!r} after its negations")
        return tuple(result)

    def walk(
        self, text: str, negated: bool, heads: _Heads, seen: tuple[str, ...], depth: int
    ) -> None:
        text = text.strip()
        while text.startswith("!"):
            negated = not negated
            self.negations += 1
            text = text[1:].lstrip()
        if not text:
            raise ExpressionError(f"an empty {self.what}")
        if depth > MAX_DEPTH:
            raise ExpressionError(f"{self.what} groups nest deeper than {MAX_DEPTH}")
        self.members += 1
        if self.members > MAX_MEMBERS:
            raise ExpressionError(f"the {self.what} expression has over {MAX_MEMBERS} members")
        if text[0] == "[":
            if negated:
                self.negated_group(text, heads, seen, depth)
            else:
                for member in self.split(text):
                    self.walk(member, False, heads, seen, depth + 1)
        elif text[0] == "$":
            name = text[1:]
            if name in seen:
                chain = " → ".join(f"${one}" for one in (*seen, name))
                raise ExpressionError(f"variables refer to each other in a circle: {chain}")
            value = self.variables.get(name)
            if value is None:
                raise ExpressionError(f"unknown variable {text}. Define it in the settings")
            inner = (*seen, name)
            if negated:
                self.negated_group(f"[{value}]", heads, inner, depth)
            else:
                self.walk(value, False, heads, inner, depth + 1)
        else:
            target = heads.negative if negated else heads.positive
            for universe, low, high in self.literal(text):
                target[universe].append((low, high))

    def negated_group(self, text: str, heads: _Heads, seen: tuple[str, ...], depth: int) -> None:
        inner = _Heads(len(self.limits))
        for member in self.split(text):
            self.walk(member, False, inner, seen, depth + 1)
        for universe, intervals in enumerate(self.merge(inner, text)):
            heads.negative[universe].extend(intervals)

    def split(self, text: str) -> list[str]:
        """The members of a [group]; checks its brackets."""
        if text[-1] != "]":
            raise ExpressionError(f"{text!r}: a [ without its ]")
        body = text[1:-1]
        if "[" not in body and "]" not in body:
            return body.split(",")
        members: list[str] = []
        depth = start = 0
        for index, char in enumerate(body):
            if char == "[":
                depth += 1
            elif char == "]":
                depth -= 1
                if depth < 0:
                    raise ExpressionError(f"{text!r}: a ] without its [")
            elif char == "," and depth == 0:
                members.append(body[start:index])
                start = index + 1
        if depth:
            raise ExpressionError(f"{text!r}: a [ without its ]")
        members.append(body[start:])
        return members


def _v4(text: str) -> int:
    if text.count(".") != 3:
        raise ExpressionError(f"{text!r} is no IPv4 address")
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big")
    except (OSError, ValueError) as error:
        raise ExpressionError(f"{text!r} is no IPv4 address") from error


def _v6(text: str) -> int:
    try:
        return int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
    except (OSError, ValueError) as error:
        raise ExpressionError(f"{text!r} is no IPv6 address") from error


class _Addresses(_Evaluator):
    what = "address"
    limits = (V4_MAX, V6_MAX)

    def literal(self, text: str) -> list[tuple[int, int, int]]:
        if text.lower() == "any":
            return [(0, 0, V4_MAX), (1, 0, V6_MAX)]
        universe, bits, read = (1, 128, _v6) if ":" in text else (0, 32, _v4)
        if "/" in text:
            address, mask = (part.strip() for part in text.split("/", 1))
            base = read(address)
            if universe == 0 and "." in mask:
                value = _v4(mask)
                inverse = value ^ V4_MAX
                if inverse & (inverse + 1):
                    raise ExpressionError(f"{text!r}: the netmask has holes")
                prefix = 32 - inverse.bit_length()
            elif mask.isascii() and mask.isdigit() and int(mask[:4]) <= bits:
                prefix = int(mask[:4])
            else:
                raise ExpressionError(f"{text!r}: the prefix length is not 0 to {bits}")
            host = (1 << (bits - prefix)) - 1
            return [(universe, base & ~host, base | host)]
        if "-" in text:
            low, high = (read(part.strip()) for part in text.split("-", 1))
            if low > high:
                raise ExpressionError(f"{text!r}: the range ends before it begins")
            return [(universe, low, high)]
        value = read(text)
        return [(universe, value, value)]


class _Ports(_Evaluator):
    what = "port"
    limits = (PORT_MAX,)

    def literal(self, text: str) -> list[tuple[int, int, int]]:
        if text.lower() == "any":
            return [(0, 0, PORT_MAX)]
        if ":" in text:
            first, last = (part.strip() for part in text.split(":", 1))
            low = self.number(first, text) if first else 0
            high = self.number(last, text) if last else PORT_MAX
            if low > high:
                raise ExpressionError(f"{text!r}: the port range ends before it begins")
            return [(0, low, high)]
        value = self.number(text, text)
        return [(0, value, value)]

    @staticmethod
    def number(text: str, whole: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 6):
            raise ExpressionError(f"{whole!r} is no port. Use 0 to 65535, a:b, or a variable")
        value = int(text)
        if value > PORT_MAX:
            raise ExpressionError(f"port {value} is above 65535")
        return value


class Variables:
    """Evaluates expressions against one set of variables; results are kept by their text.

    `addresses` and `ports` map names without `$` to expressions; they add to (and replace)
    the defaults unless `defaults` is False.
    """

    def __init__(
        self,
        addresses: Mapping[str, str] | None = None,
        ports: Mapping[str, str] | None = None,
        *,
        defaults: bool = True,
    ) -> None:
        base_addresses = DEFAULT_ADDRESSES if defaults else {}
        base_ports = DEFAULT_PORTS if defaults else {}
        self._addresses = _Addresses({**base_addresses, **(addresses or {})})
        self._ports = _Ports({**base_ports, **(ports or {})})
        self._address_cache: dict[str, AddressSet | ExpressionError] = {}
        self._port_cache: dict[str, Intervals | ExpressionError] = {}

    def addresses(self, text: str) -> AddressSet:
        """The addresses `text` stands for. Raises ExpressionError."""
        known = self._address_cache.get(text)
        if known is None:
            try:
                v4, v6 = self._addresses.evaluate(text)
                known = AddressSet(v4, v6, self._addresses.negations > 0)
            except ExpressionError as error:
                known = error
            self._address_cache[text] = known
        if isinstance(known, ExpressionError):
            raise known
        return known

    def ports(self, text: str) -> Intervals:
        """The ports `text` stands for. Raises ExpressionError."""
        known = self._port_cache.get(text)
        if known is None:
            try:
                (known,) = self._ports.evaluate(text)
            except ExpressionError as error:
                known = error
            self._port_cache[text] = known
        if isinstance(known, ExpressionError):
            raise known
        return known
