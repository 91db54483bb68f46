"""What the prefilter must find: the fast patterns of the rules, and what it cannot look for.

What holds for every rule, frame by frame: if its fast pattern is in the frame's bytes, the frame
is SUSPECT. It must be that pattern, the one the software searches for, and not a rarer content
of the rule: in a stream the two may lie in different frames, and it is the frame with the fast
pattern that makes the software look at the rule.

- four bytes and more: a window of it goes into the table;
- one to three bytes: frames from or to the rule's ports are SUSPECT, whatever they hold;
- no fast pattern (header fields alone, pcre alone, negated contents, events): the software tries
  the rule on every packet, CLEAR or not. Such rules are listed, not loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nsdata.errors import EngineError
from nsdata.offload.entry import PORT_RANGES, PortRange
from nsdata.offload.rarity import LENGTHS
from nsdata.path.rulebase import Buffer, OpFlag, OpKind, ProtoBit
from nsdata.rules.ir import RuleIR
from nsdata.rules.variables import ANY_PORT, Intervals

SHORTEST = LENGTHS[0]
_TCP, _UDP, _ICMP = 1, 2, 4  # protocol bits of a port range
_ALL = _TCP | _UDP | _ICMP
_BITS = {
    ProtoBit.PB_TCP: _TCP, ProtoBit.PB_UDP: _UDP, ProtoBit.PB_ICMP: _ICMP,
    ProtoBit.PB_ICMPV6: _ICMP,
}  # fmt: skip


@dataclass(slots=True)
class Pattern:
    """Bytes to find, lower case when `nocase`; `rules` names who wants them."""

    data: bytes
    nocase: bool
    rules: list[str]

    def __str__(self) -> str:
        return f"{readable(self.data)} of {named(self.rules)}"


@dataclass(slots=True)
class Wanted:
    """`patterns` for the table, `ranges` for the short ones (`short`, those of the most ports
    first), and rules that stay with the software (`always`: rule, reason)."""

    patterns: list[Pattern] = field(default_factory=list)
    short: list[Pattern] = field(default_factory=list)
    ranges: list[PortRange] = field(default_factory=list)
    always: list[tuple[str, str]] = field(default_factory=list)
    rules: int = 0


def readable(data: bytes, most: int = 40) -> str:
    """Bytes as a rule would write them: text, and hex between bars."""
    words, in_hex = [], False
    for byte in data[:most]:
        plain = 32 <= byte < 127 and byte not in b'|";:\\'
        if plain == in_hex:
            words.append("|")
            in_hex = not in_hex
            words.append(chr(byte) if plain else f"{byte:02x}")
        else:
            words.append(chr(byte) if plain else f" {byte:02x}")
    return '"' + "".join(words) + "|" * in_hex + '"' + "…" * (len(data) > most)


def named(rules: Sequence[str], most: int = 2) -> str:
    """The first rules by name."""
    more = f" and {len(rules) - most:,} more" if len(rules) > most else ""
    return ", ".join(rules[:most]) + more


def name_of(rule: RuleIR) -> str:
    """sid, and where the rule stands."""
    return f"sid {rule.sid} ({rule.raw.path}:{rule.raw.line})"


def from_rules(rules: Iterable[RuleIR], ranges: int = PORT_RANGES) -> Wanted:
    """What the loaded rules want (LoadedRules.ruleset.rules, RuleSet.rules)."""
    result = Wanted()
    found: dict[tuple[bytes, bool], Pattern] = {}
    ports: list[tuple[int, int, int]] = []
    widths: dict[tuple[bytes, bool], int] = {}
    for rule in rules:
        result.rules += 1
        if rule.pattern is None:
            result.always.append((name_of(rule), _why(rule)))
            continue
        key = (rule.pattern.data, rule.pattern.nocase)
        if key not in found:
            found[key] = Pattern(*key, [])
            is_short = len(key[0]) < SHORTEST
            (result.short if is_short else result.patterns).append(found[key])
        found[key].rules.append(name_of(rule))
        if len(key[0]) < SHORTEST:
            own = ports_of(rule)
            width = sum(high - low + 1 for _, low, high in own)
            widths[key] = max(widths.get(key, 0), width)
            ports += own
    result.short.sort(key=lambda one: -widths[one.data, one.nocase])
    result.ranges = merge(ports, ranges)
    return result


def from_list(patterns: Iterable[tuple[bytes, bool]], name: str = "pattern") -> Wanted:
    """What a plain list of (bytes, nocase) wants. A short one has no ports, so it makes all
    frames SUSPECT."""
    result = Wanted()
    found: dict[tuple[bytes, bool], Pattern] = {}
    for number, (data, nocase) in enumerate(patterns, 1):
        if not data:
            raise EngineError(f"{name} {number} is empty")
        result.rules += 1
        key = (data.lower() if nocase else data, nocase)
        if key not in found:
            found[key] = Pattern(*key, [])
            (result.short if len(data) < SHORTEST else result.patterns).append(found[key])
        found[key].rules.append(f"{name} {number}")
    if result.short:
        result.ranges = [PortRange(0, 65535, True, True, True)]
    return result


def read_list(path: Path) -> list[tuple[bytes, bool]]:
    """Patterns of a file, one a line: `i` (any case) or `s`, then the bytes in hex.

    Raises EngineError naming the line.
    """
    result = []
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"{path}: cannot be read as a list of patterns: {error}") from error
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            data = bytes.fromhex(text[1:])
        except ValueError:
            data = b""
        if text[0] not in "is" or not data:
            raise EngineError(
                f"{path}:{number}: write i (any case) or s, then the bytes in hex: i474554"
            )
        result.append((data, text[0] == "i"))
    return result


def _why(rule: RuleIR) -> str:
    """Why a rule has no fast pattern."""
    ops = [op for _, ops in rule.buffers for op in ops]
    contents = [op for op in ops if op.kind == OpKind.OP_CONTENT]
    if any(op.kind == OpKind.CHK_EVENT for op in rule.checks):
        return "it is about an event of the decoder or the stream"
    if not ops:
        return "it looks at header fields alone"
    if contents and all(op.flags & OpFlag.OPF_NEGATED for op in contents):
        return "its contents are negated"
    if all(buffer != Buffer.BUF_PAYLOAD for buffer, _ in rule.buffers):
        return "it looks at header bytes, not at the payload"
    if any(op.kind == OpKind.OP_PCRE for op in ops):
        return "it has a pcre and no content"
    return "it has no content in the payload"


def ports_of(rule: RuleIR) -> list[tuple[int, int, int]]:
    """(protocol bits, low, high): ports on either side of frames the rule can match.

    The source and the destination must both be right, so the narrower of the two will do.
    SCTP and the other protocols need none: the parser makes their frames SUSPECT.
    """
    bits = 0
    for proto, bit in _BITS.items():
        if rule.protos & proto:
            bits |= bit
    sides: list[Intervals] = [rule.sport, rule.dport]
    narrow = min(sides, key=lambda side: sum(high - low + 1 for low, high in side))
    if not bits:
        return []
    return [(bits, low, high) for low, high in narrow or ANY_PORT]


def merge(ports: Iterable[tuple[int, int, int]], most: int = PORT_RANGES) -> list[PortRange]:
    """At most `most` ranges that cover all of `ports`: (protocol bits, low, high).

    Neighbours are joined as long as there are too many, those first that add the fewest ports.
    """
    icmp = False
    by_bits: dict[int, list[tuple[int, int]]] = {}
    for protos, low, high in ports:
        icmp |= bool(protos & _ICMP)
        for bit in (_TCP, _UDP):
            if protos & bit:
                by_bits.setdefault(bit, []).append((low, high))
    both: dict[tuple[int, int], int] = {}
    for bit, spans in by_bits.items():
        for span in union(spans):
            both[span] = both.get(span, 0) | bit
    ranges = sorted((low, high, bits) for (low, high), bits in both.items())
    while len(ranges) > most:
        pairs = [(a, b) for i, a in enumerate(ranges) for b in ranges[i + 1 :]]
        a, b = min(pairs, key=lambda pair: _width(_join(*pair)) - _width(pair[0]) - _width(pair[1]))
        ranges = sorted([one for one in ranges if one not in (a, b)] + [_join(a, b)])
    result = [PortRange(low, high, bool(b & _TCP), bool(b & _UDP)) for low, high, b in ranges]
    if icmp and result:
        result[0] = result[0]._replace(icmp=True)
    elif icmp:
        result.append(PortRange(icmp=True))
    return result


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Inclusive intervals, disjoint and ascending."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def _width(one: tuple[int, int, int]) -> int:
    return (one[1] - one[0] + 1) * one[2].bit_count()


def _join(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return min(a[0], b[0]), max(a[1], b[1]), a[2] | b[2]
