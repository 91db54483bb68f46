"""Keywords on bytes: content and its modifiers, isdataat, bsize, pcre, sticky buffers.

A sticky buffer (`tcp.hdr;`) is what the keywords after it look at, until the next one;
`pkt_data;` goes back to the payload, which is also where a rule begins.
"""

from __future__ import annotations

import re

from nsdata.path.rulebase import Buffer, OpFlag, OpKind, ProtoBit, RuleFlag, check_pcre
from nsdata.rules.builder import Builder
from nsdata.rules.ir import Op, Refused
from nsdata.rules.numbers import integer, is_number, unsigned
from nsdata.rules.registry import Quotes, Value, keyword

FAMILY = "payload"
MAX_CONTENT = 8192
MAX_POSITION = 65535
MAX_DISTANCE = 1 << 20
_RELATIVE = OpFlag.OPF_DISTANCE | OpFlag.OPF_WITHIN
_ABSOLUTE = OpFlag.OPF_OFFSET | OpFlag.OPF_DEPTH
_HEX = frozenset("0123456789abcdefABCDEF")
_ESCAPABLE = frozenset(';:"\\')


def content_bytes(value: str) -> bytes:
    """The bytes of a content value: text with `|0d 0A|` hex and `\\;` `\\:` `\\"` `\\\\`.

    Raises Refused: bad or incomplete hex, an unescaped quote, a stray backslash, nothing.
    """
    if "|" not in value and "\\" not in value and '"' not in value:
        return value.encode("utf-8", "surrogateescape")
    result = bytearray()
    in_hex = escaped = False
    nibble = ""
    for index, char in enumerate(value):
        if in_hex:
            if char == "|":
                if nibble:
                    raise Refused(f"incomplete hex {nibble!r} at character {index}")
                in_hex = False
            elif char in _HEX:
                nibble += char
                if len(nibble) == 2:
                    result.append(int(nibble, 16))
                    nibble = ""
            elif char in " ,":
                if nibble:
                    raise Refused(f"incomplete hex {nibble!r} at character {index}")
            else:
                raise Refused(f"{char!r} at character {index + 1} is no hex digit")
        elif escaped:
            if char not in _ESCAPABLE:
                raise Refused(f'\\{char} is no escape. Only \\; \\: \\" and \\\\ are')
            result += char.encode()
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "|":
            in_hex = True
        elif char == '"':
            raise Refused(f'an unescaped " inside the value, at character {index + 1}')
        else:
            result += char.encode("utf-8", "surrogateescape")
    if in_hex:
        raise Refused("a | is missing: the hex part is not closed")
    if escaped:
        raise Refused("the value ends with a lone backslash")
    return bytes(result)


@keyword("content", family=FAMILY, quotes=Quotes.MANDATORY, negation=True)
def content(b: Builder, value: str) -> None:
    """Bytes to find, `"GET|20 2f|"`; with `!` before them, bytes that must not be there."""
    text = content_bytes(value)
    if not text:
        raise Refused("the content is empty")
    if len(text) > MAX_CONTENT:
        raise Refused(f"the content is longer than {MAX_CONTENT} bytes")
    op = Op(OpKind.OP_CONTENT, text=text, length=len(text))
    if b.negated:
        op.flags |= OpFlag.OPF_NEGATED
    b.add(op)
    b.content, b.content_buffer = op, b.buffer


def _modified(b: Builder, name: str) -> Op:
    """The content a position modifier applies to, once checked for what excludes it."""
    op = b.last_content()
    if b.fast is op:
        if b.fast_only:
            raise Refused(f"{name} cannot go with fast_pattern:only")
        if op.has(OpFlag.OPF_NEGATED):
            raise Refused(f"{name} cannot go with fast_pattern on a negated content")
    if op.has(OpFlag.OPF_STARTSWITH):
        raise Refused(f"{name} cannot go with startswith")
    return op


def _absolute(b: Builder, name: str, flag: int) -> Op:
    op = _modified(b, name)
    if op.has(flag):
        raise Refused(f"{name} is given twice for one content")
    if op.has(_RELATIVE):
        raise Refused(f"{name} cannot go with distance or within on one content")
    op.flags |= flag
    return op


def _relative(b: Builder, name: str, flag: int) -> Op:
    op = _modified(b, name)
    if op.has(flag):
        raise Refused(f"{name} is given twice for one content")
    if op.has(_ABSOLUTE):
        raise Refused(f"{name} cannot go with offset or depth on one content")
    first = not op.has(_RELATIVE)
    op.flags |= flag
    if first:
        ops, index = b.index_of(op)
        b.mark_relative(ops, index)
    return op


@keyword("depth", family=FAMILY, quotes=Quotes.OPTIONAL)
def depth(b: Builder, value: str) -> None:
    """The content lies within this many bytes, counted from the offset (or the start)."""
    op = _absolute(b, "depth", OpFlag.OPF_DEPTH)
    if is_number(value):
        op.depth = integer(value, 1, MAX_POSITION)
        if op.depth < len(op.text):
            raise Refused(f"depth {op.depth} is smaller than the content ({len(op.text)} bytes)")
    else:
        op.depth = b.variable(value)
        op.flags |= OpFlag.OPF_VAR_DEPTH


@keyword("offset", family=FAMILY, quotes=Quotes.OPTIONAL)
def offset(b: Builder, value: str) -> None:
    """The content begins at this byte or later."""
    op = _absolute(b, "offset", OpFlag.OPF_OFFSET)
    if is_number(value):
        op.offset = integer(value, 0, MAX_POSITION)
    else:
        op.offset = b.variable(value)
        op.flags |= OpFlag.OPF_VAR_OFFSET


@keyword("distance", family=FAMILY, quotes=Quotes.OPTIONAL)
def distance(b: Builder, value: str) -> None:
    """The content begins at least this many bytes after the end of the last match."""
    op = _relative(b, "distance", OpFlag.OPF_DISTANCE)
    if is_number(value):
        op.distance = integer(value, -MAX_DISTANCE, MAX_DISTANCE)
    else:
        op.distance = b.variable(value)
        op.flags |= OpFlag.OPF_VAR_DISTANCE


@keyword("within", family=FAMILY, quotes=Quotes.OPTIONAL)
def within(b: Builder, value: str) -> None:
    """The content ends at most this many bytes after the end of the last match (or after
    the distance)."""
    op = _relative(b, "within", OpFlag.OPF_WITHIN)
    if is_number(value):
        op.within = integer(value, -MAX_DISTANCE, MAX_DISTANCE)
        if op.within < len(op.text):
            raise Refused(f"within {op.within} is smaller than the content ({len(op.text)} bytes)")
    else:
        op.within = b.variable(value)
        op.flags |= OpFlag.OPF_VAR_WITHIN


@keyword("nocase", family=FAMILY, value=Value.NONE)
def nocase(b: Builder, value: str) -> None:
    """The content is compared without regard to ASCII case."""
    op = b.last_content()
    if op.has(OpFlag.OPF_NOCASE):
        raise Refused("nocase is given twice for one content")
    op.flags |= OpFlag.OPF_NOCASE


@keyword("startswith", family=FAMILY, value=Value.NONE)
def startswith(b: Builder, value: str) -> None:
    """The content stands at the buffer's very start."""
    op = b.last_content()
    if op.has(OpFlag.OPF_STARTSWITH):
        raise Refused("startswith is given twice for one content")
    if op.has(_RELATIVE | _ABSOLUTE):
        raise Refused("startswith cannot go with offset, depth, distance or within")
    if b.fast is op and (b.fast_only or op.has(OpFlag.OPF_NEGATED)):
        raise Refused("startswith cannot go with fast_pattern:only or a negated fast_pattern")
    op.flags |= OpFlag.OPF_STARTSWITH | _ABSOLUTE
    op.offset, op.depth = 0, len(op.text)


@keyword("endswith", family=FAMILY, value=Value.NONE)
def endswith(b: Builder, value: str) -> None:
    """The content stands at the buffer's very end."""
    op = b.last_content()
    if op.has(OpFlag.OPF_ENDSWITH):
        raise Refused("endswith is given twice for one content")
    if b.fast is op and b.fast_only:
        raise Refused("endswith cannot go with fast_pattern:only")
    op.flags |= OpFlag.OPF_ENDSWITH


@keyword("rawbytes", family=FAMILY, value=Value.NONE)
def rawbytes(b: Builder, value: str) -> None:
    """Accepted, changes nothing: the payload is never decoded."""
    op = b.last_content()
    name = f"rawbytes:{id(op)}"
    b.once(name, "rawbytes")
    if b.content_buffer != Buffer.BUF_PAYLOAD:
        raise Refused("rawbytes is for the payload, not for a sticky buffer")


@keyword("fast_pattern", family=FAMILY, value=Value.OPTIONAL)
def fast_pattern(b: Builder, value: str) -> None:
    """This content makes packets candidates for the rule: plain, `only`, or
    `offset,length` for a part of it. One per rule."""
    op = b.last_content()
    if b.fast is not None:
        raise Refused("fast_pattern is given twice in the rule")
    placed = op.has(_RELATIVE | _ABSOLUTE)
    if op.has(OpFlag.OPF_NEGATED) and placed:
        raise Refused("a negated content with a position cannot be the fast_pattern")
    text = value.strip()
    if text == "only":
        if placed or op.has(OpFlag.OPF_NEGATED | OpFlag.OPF_ENDSWITH):
            raise Refused("fast_pattern:only cannot go with a negated or placed content")
        if op.has(OpFlag.OPF_NEXT_RELATIVE):
            raise Refused("fast_pattern:only cannot go with keywords relative to the content")
        b.fast_only = True
    elif text:
        parts = text.split(",")
        if len(parts) != 2:
            raise Refused("write fast_pattern, fast_pattern:only or fast_pattern:offset,length")
        start = integer(parts[0], 0, MAX_POSITION, "the offset")
        length = integer(parts[1], 1, MAX_POSITION, "the length")
        if start + length > len(op.text):
            raise Refused(
                f"offset {start} + length {length} is over the content's {len(op.text)} bytes"
            )
        op.chop = (start, length)
    op.flags |= OpFlag.OPF_FAST_PATTERN
    b.fast = op


@keyword("prefilter", family=FAMILY, value=Value.NONE)
def prefilter(b: Builder, value: str) -> None:
    """Accepted, changes nothing: which rules a packet is a candidate for is decided from
    ports, protocol and the fast pattern."""
    if not b.matchers:
        raise Refused("it needs a matching keyword before it")


@keyword("isdataat", family=FAMILY, quotes=Quotes.OPTIONAL, negation=True)
def isdataat(b: Builder, value: str) -> None:
    """`[!]N[,relative][,rawbytes]`: there are (are not) bytes at this position."""
    parts = [part.strip() for part in value.split(",")]
    negated = b.negated
    if parts[0].startswith("!"):
        negated = not negated
        parts[0] = parts[0][1:].strip()
    op = Op(OpKind.OP_ISDATAAT)
    if negated:
        op.flags |= OpFlag.OPF_NEGATED
    for part in parts[1:]:
        if part == "relative":
            op.flags |= OpFlag.OPF_RELATIVE
        elif part != "rawbytes":
            raise Refused(f"{part[:40]!r} is no option of it. Use relative or rawbytes")
    if len(parts[1:]) != len(set(parts[1:])):
        raise Refused("an option is given twice")
    if is_number(parts[0]):
        op.a = integer(parts[0], 0, MAX_POSITION)
    else:
        op.a = b.variable(parts[0])
        op.flags |= OpFlag.OPF_VAR_A
    b.add(op, relative=op.has(OpFlag.OPF_RELATIVE))


@keyword("bsize", family=FAMILY)
def bsize(b: Builder, value: str) -> None:
    """Length of the sticky buffer: `N`, `<N`, `>N`, `N<>M`, … Not for the payload, whose
    length is dsize."""
    if b.buffer == Buffer.BUF_PAYLOAD:
        raise Refused("it needs a sticky buffer before it; the payload's length is dsize")
    compare, low, high = unsigned(value, 32)
    b.once(f"bsize:{b.buffer}", "bsize")
    b.add(Op(OpKind.OP_BSIZE, cmp=compare, a=low, b=high))


_PCRE_LETTERS = frozenset("ismxAEG")
_PCRE_IGNORED = frozenset("OB")  # match limit override, rawbytes
_PCRE_HTTP = frozenset("UIPQHDMCSYVW")


@keyword("pcre", family=FAMILY, quotes=Quotes.OPTIONAL, negation=True)
def pcre(b: Builder, value: str) -> None:
    """`"/expression/flags"`, PCRE2 on bytes. Flags: i s m x A E G as in Perl and PCRE, R
    relative to the last match, O and B accepted; those of HTTP buffers (U I P Q H D M C S Y
    V W) are refused."""
    end = value.rfind("/")
    if not value.startswith("/") or end == 0:
        raise Refused('write it as "/expression/flags"')
    expression, tail = value[1:end], value[end + 1 :]
    letters, comma, _ = tail.partition(",")
    if comma:
        raise Refused("captures into flow or packet variables are not supported")
    op = Op(OpKind.OP_PCRE)
    if b.negated:
        op.flags |= OpFlag.OPF_NEGATED
    kept = ""
    for letter in letters.strip():
        if letter == "R":
            op.flags |= OpFlag.OPF_RELATIVE
        elif letter in _PCRE_LETTERS:
            if letter not in kept:
                kept += letter
        elif letter in _PCRE_HTTP:
            raise Refused(f"flag {letter} needs HTTP inspection, not supported yet", "pcre:http")
        elif letter not in _PCRE_IGNORED:
            raise Refused(f"unknown flag {letter!r} after the expression")
    if re.search(r"\(\?P?<(?:flow|pkt)(?:var|int|bit)?_", expression):
        raise Refused("captures into flow or packet variables are not supported")
    op.text = expression.encode("utf-8", "surrogateescape")
    op.letters = "".join(sorted(kept))
    try:
        check_pcre(op.text, op.letters)
    except ValueError as error:
        raise Refused(str(error)) from error
    b.add(op, relative=op.has(OpFlag.OPF_RELATIVE))


def _sticky(name: str, buffer: Buffer, protos: int, version: int, what: str) -> None:
    def handler(b: Builder, value: str) -> None:
        if protos:
            b.only(protos)
        if version:
            b.only_version(version)
        b.require_packet()
        b.buffer = buffer
        b.buffers.setdefault(buffer, [])

    handler.__doc__ = f"Sticky buffer: {what}"
    keyword(name, family=FAMILY, value=Value.NONE)(handler)


_sticky("ipv4.hdr", Buffer.BUF_IPV4_HDR, 0, RuleFlag.RF_IPV4, "IPv4 header with options.")
_sticky("ipv6.hdr", Buffer.BUF_IPV6_HDR, 0, RuleFlag.RF_IPV6, "IPv6 header with extensions.")
_sticky("tcp.hdr", Buffer.BUF_TCP_HDR, ProtoBit.PB_TCP, 0, "TCP header with options.")
_sticky("udp.hdr", Buffer.BUF_UDP_HDR, ProtoBit.PB_UDP, 0, "UDP header.")
_sticky("icmpv4.hdr", Buffer.BUF_ICMPV4_HDR, ProtoBit.PB_ICMP, RuleFlag.RF_IPV4, "ICMP header.")
_sticky("icmpv6.hdr", Buffer.BUF_ICMPV6_HDR, ProtoBit.PB_ICMPV6, RuleFlag.RF_IPV6, "ICMPv6 header.")


@keyword("pkt_data", family=FAMILY, value=Value.NONE)
def pkt_data(b: Builder, value: str) -> None:
    """Back to the payload after a sticky buffer."""
    b.buffer = Buffer.BUF_PAYLOAD
