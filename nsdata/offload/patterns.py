"""What the prefilter must find: the fast patterns of the rules, and what it cannot look for.

What holds for every rule, frame by frame: if its fast pattern is in the frame's bytes, the frame
is SUSPECT. It must be that pattern, the one the software searches for, and not a rarer content
of the rule: in a stream the two may lie in different frames, and it is the frame with the fast
pattern that makes the software look at the rule.

- four bytes and more: a window of it goes into the table;
- one to three bytes: frames from or to the rule's ports are SUSPECT, whatever they hold;
- frames of UDP ports that the software decodes as tunnels and the block does not know
  (KNOWN_TUNNELS) are SUSPECT as well: their inner ports and protocol are not the outer ones;
- no fast pattern (header fields alone, pcre alone, negated contents, events): the software tries
  the rule on every packet, CLEAR or not. Such rules are listed, not loaded;
- on request (`without_common`) rules whose pattern is so common that it would make nearly every
  frame SUSPECT are left to the software likewise: it must search CLEAR frames for those few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from heapq import heapify, heappop, heappush
from itertools import combinations, pairwise
from pathlib import Path
from typing import NamedTuple

from nsdata.errors import EngineError
from nsdata.offload.entry import PORT_RANGES, PortRange
from nsdata.offload.rarity import LENGTHS, windows
from nsdata.path.rulebase import Buffer, OpFlag, OpKind, ProtoBit
from nsdata.rules.ir import RuleIR
from nsdata.rules.variables import ANY_PORT, Intervals

SHORTEST = LENGTHS[0]
MANY_PORTS = 1024
PAIRED = 400  # ranges of which every pair is weighed; of more, neighbours are joined first
KNOWN_TUNNELS = frozenset({2152, 3544, 4789, 6081})  # UDP ports whose frames the parser refuses
Span = tuple[int, int, int]  # protocol bits, low, high; or low, high, protocol bits when sorted
_TCP, _UDP, _ICMP = 1, 2, 4  # protocol bits of a port range
_ALL = _TCP | _UDP | _ICMP
_BITS = {
    ProtoBit.PB_TCP: _TCP, ProtoBit.PB_UDP: _UDP, ProtoBit.PB_ICMP: _ICMP,
    ProtoBit.PB_ICMPV6: _ICMP,
}  # fmt: skip


class Owner(NamedTuple):
    """Who wants a pattern: a rule by name, and its number in evaluation order (Rule.number)."""

    name: str
    number: int


@dataclass(slots=True)
class Pattern:
    """Bytes to find, lower case when `nocase`; `ports` are those of the rules of a short one."""

    data: bytes
    nocase: bool
    rules: list[Owner] = field(default_factory=list)
    ports: list[Span] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{readable(self.data)} of {named(self.rules)}"

    @property
    def width(self) -> int:
        """How many ports a short pattern makes SUSPECT."""
        return sum(high - low + 1 for low, high in union(one[1:] for one in self.ports))


@dataclass(slots=True)
class Wanted:
    """`patterns` for the table, `short` ones (those of the most ports first), and rules that stay
    with the software (`always`: rule, reason)."""

    patterns: list[Pattern] = field(default_factory=list)
    short: list[Pattern] = field(default_factory=list)
    always: list[tuple[Owner, str]] = field(default_factory=list)
    rules: int = 0
    tunnels: list[int] = field(default_factory=list)  # UDP ports unknown to the block

    @property
    def ranges(self) -> list[PortRange]:
        """The port ranges that stand for the short patterns and for the tunnels."""
        spans = [span for one in self.short for span in one.ports]
        return merge([*spans, *((_UDP, port, port) for port in self.tunnels)])


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


def named(rules: Sequence[Owner], most: int = 2) -> str:
    """The first rules by name."""
    more = f" and {len(rules) - most:,} more" if len(rules) > most else ""
    return ", ".join(one.name for one in rules[:most]) + more


def name_of(rule: RuleIR) -> str:
    """sid, and where the rule stands."""
    return f"sid {rule.sid} ({rule.raw.path}:{rule.raw.line})"


def from_rules(rules: Iterable[RuleIR], tunnels: Iterable[int] = ()) -> Wanted:
    """What the loaded rules want (LoadedRules.ruleset.rules, RuleSet.rules). `tunnels`: the UDP
    ports that the software takes for tunnels."""
    result = Wanted(tunnels=sorted(set(tunnels) - KNOWN_TUNNELS))
    found: dict[tuple[bytes, bool], Pattern] = {}
    for number, rule in enumerate(rules):
        result.rules += 1
        owner = Owner(name_of(rule), number)
        if rule.pattern is None:
            result.always.append((owner, _why(rule)))
            continue
        one = _add(result, found, rule.pattern.data, rule.pattern.nocase, owner)
        if len(one.data) < SHORTEST:
            one.ports += ports_of(rule)
    result.short.sort(key=lambda one: -one.width)
    return result


def from_list(patterns: Iterable[tuple[bytes, bool]], name: str = "pattern") -> Wanted:
    """What a plain list of (bytes, nocase) wants. A short one has no ports, so it makes all
    frames SUSPECT."""
    result = Wanted()
    found: dict[tuple[bytes, bool], Pattern] = {}
    for number, (data, nocase) in enumerate(patterns):
        owner = Owner(f"{name} {number + 1}", number)
        if not data:
            raise EngineError(f"{owner.name} is empty")
        result.rules += 1
        one = _add(result, found, data.lower() if nocase else data, nocase, owner)
        if len(data) < SHORTEST:
            one.ports = [(_ALL, *ANY_PORT[0])]
    return result


def _add(
    wanted: Wanted, found: dict[tuple[bytes, bool], Pattern], data: bytes, nocase: bool,
    owner: Owner,
) -> Pattern:  # fmt: skip
    """The pattern of these bytes, the same one for all who want it."""
    one = found.get((data, nocase))
    if one is None:
        one = found[data, nocase] = Pattern(data, nocase)
        (wanted.short if len(data) < SHORTEST else wanted.patterns).append(one)
    one.rules.append(owner)
    return one


def without_common(wanted: Wanted, share: Callable[[bytes], float], most: float) -> Wanted:
    """`wanted` without patterns whose rarest window is expected in a share of frames above
    `most`, and without short ones of more than MANY_PORTS; their rules go to `always`."""
    result = Wanted(always=list(wanted.always), rules=wanted.rules, tunnels=wanted.tunnels)
    for one in wanted.patterns:
        least = min(share(window) for window in windows(one.data))
        if least <= most:
            result.patterns.append(one)
        else:
            result.always += [(owner, "its pattern is common") for owner in one.rules]
    for one in wanted.short:
        if one.width <= MANY_PORTS:
            result.short.append(one)
        else:
            why = f"its pattern is below {SHORTEST} bytes and its ports are many"
            result.always += [(owner, why) for owner in one.rules]
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


def ports_of(rule: RuleIR) -> list[Span]:
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


def merge(ports: Iterable[Span], most: int = PORT_RANGES) -> list[PortRange]:
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
    ranges = _fewest(_coarse(ranges, max(most, PAIRED)), most)
    result = [PortRange(low, high, bool(b & _TCP), bool(b & _UDP)) for low, high, b in ranges]
    if icmp and result:
        result[0] = result[0]._replace(icmp=True)
    elif icmp:
        result.append(PortRange(icmp=True))
    return result


def _coarse(ranges: list[Span], most: int) -> list[Span]:
    """Ascending `ranges` cut at the widest gaps into `most` groups, each of them joined."""
    if len(ranges) <= most:
        return ranges
    gaps = sorted(range(1, len(ranges)), key=lambda i: ranges[i - 1][1] - ranges[i][0])
    cuts = [0, *sorted(gaps[: most - 1]), len(ranges)]
    return sorted({reduce(_join, ranges[a:b]) for a, b in pairwise(cuts)})


def _fewest(ranges: list[Span], most: int) -> list[Span]:
    """`ranges` with the pair joined that adds the fewest ports, again until `most` are left."""

    def priced(a: Span, b: Span) -> tuple[int, Span, Span]:
        return _width(_join(a, b)) - _width(a) - _width(b), min(a, b), max(a, b)

    left = set(ranges)
    heap = [priced(a, b) for a, b in combinations(ranges, 2)] if len(left) > most else []
    heapify(heap)
    while len(left) > most:
        _, a, b = heappop(heap)
        if a in left and b in left:
            left -= {a, b}
            joined = _join(a, b)
            for one in left - {joined}:
                heappush(heap, priced(one, joined))
            left.add(joined)
    return sorted(left)


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Inclusive intervals, disjoint and ascending."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(high, result[-1][1]))
        else:
            result.append((low, high))
    return result


def _width(one: Span) -> int:
    return (one[1] - one[0] + 1) * one[2].bit_count()


def _join(a: Span, b: Span) -> Span:
    return min(a[0], b[0]), max(a[1], b[1]), a[2] | b[2]
