"""Keywords that read numbers out of the bytes: byte_test, byte_jump, byte_extract, byte_math."""

from __future__ import annotations

from nsdata.path.rulebase import Compare, MathOp, OpFlag, OpKind
from nsdata.rules.builder import Builder
from nsdata.rules.ir import Op, Refused
from nsdata.rules.numbers import integer, is_number
from nsdata.rules.registry import Value, keyword

FAMILY = "bytes"
U32 = (1 << 32) - 1
U64 = (1 << 64) - 1
MAX_OFFSET = (1 << 31) - 1
MAX_BINARY = 8  # bytes of a binary number
MAX_TEXT = {8: 23, 10: 20, 16: 14}  # digits of a textual one, by base
_BASES = {"hex": 16, "dec": 10, "oct": 8}


def _count(b: Builder, op: Op, text: str, low: int) -> None:
    """How many bytes to read: a number, checked in `_finish`, or a variable."""
    if is_number(text):
        op.nbytes = integer(text, low, max(MAX_TEXT.values()), "the number of bytes")
    else:
        op.nbytes = b.variable(text)
        op.flags |= OpFlag.OPF_VAR_NBYTES


def _offset(b: Builder, op: Op, text: str) -> None:
    if is_number(text):
        op.offset = integer(text, -MAX_OFFSET, MAX_OFFSET, "the offset")
    else:
        op.offset = b.variable(text)
        op.flags |= OpFlag.OPF_VAR_OFFSET


def _signed(value: int) -> int:
    """A u64 as the i64 that has the same bits (Op.a)."""
    return value - (1 << 64) if value >> 63 else value


class _Options:
    """The options the four keywords share."""

    def __init__(self, op: Op) -> None:
        self.op = op
        self.base = 0
        self.endian = ""
        self.seen: set[str] = set()

    def take(self, text: str) -> bool:
        """Whether `text` is a shared option; applies it."""
        word, _, argument = text.partition(" ")
        if word == "bitmask":
            self.once(word)
            self.op.mask = integer(argument, 1, U64, "the bitmask")
            self.op.flags |= OpFlag.OPF_BITMASK
        elif text == "relative":
            self.once(text)
            self.op.flags |= OpFlag.OPF_RELATIVE
        elif text in ("big", "little"):
            self.once("endianness")
            self.endian = text
        elif text == "string":
            self.once(text)
            self.op.flags |= OpFlag.OPF_STRING
        elif text in _BASES:
            self.once("number base")
            self.base = _BASES[text]
        elif text == "dce":
            raise Refused("dce needs DCERPC inspection, not supported yet")
        else:
            return False
        return True

    def once(self, what: str) -> None:
        if what in self.seen:
            raise Refused(f"{what} is given twice")
        self.seen.add(what)

    def finish(self, low: int) -> None:
        """Check the options against each other; `low` is the least number of bytes."""
        op = self.op
        if self.endian == "little":
            op.flags |= OpFlag.OPF_LITTLE
        if op.has(OpFlag.OPF_STRING):
            if self.endian:
                raise Refused("big or little cannot go with string")
            if op.has(OpFlag.OPF_BITMASK):
                raise Refused("bitmask cannot go with string")
            op.c = self.base or 10
            most, what = MAX_TEXT[op.c], "digits"
        else:
            if self.base:
                raise Refused("hex, dec and oct need string")
            most, what = MAX_BINARY, "bytes"
        if not op.has(OpFlag.OPF_VAR_NBYTES) and not low <= op.nbytes <= most:
            raise Refused(f"{op.nbytes} {what} cannot be read; {low} to {most} can")


_TESTS = {
    "<": Compare.CMP_LT,
    ">": Compare.CMP_GT,
    "=": Compare.CMP_EQ,
    "<=": Compare.CMP_LE,
    ">=": Compare.CMP_GE,
    "&": Compare.CMP_AND,
    "^": Compare.CMP_OR,
}


def _parts(value: str, least: int, form: str) -> list[str]:
    parts = [" ".join(part.split()) for part in value.split(",")]
    if len(parts) < least or not all(parts):
        raise Refused(f"write {form}")
    return parts


@keyword("byte_test", family=FAMILY)
def byte_test(b: Builder, value: str) -> None:
    """`bytes,[!]operator,value,offset[,relative][,big|little][,string,hex|dec|oct]
    [,bitmask 0x…]`; operators < > = <= >= & ^."""
    parts = _parts(value, 4, "byte_test:bytes,operator,value,offset")
    op = Op(OpKind.OP_BYTE_TEST)
    _count(b, op, parts[0], 1)
    operator = parts[1]
    if operator.startswith("!"):
        op.flags |= OpFlag.OPF_CMP_NEGATED
        operator = operator[1:].strip() or "="
    if operator not in _TESTS:
        raise Refused(f"{operator!r} is no operator. Use < > = <= >= & ^, with ! before it")
    op.cmp = _TESTS[operator]
    if is_number(parts[2]):
        op.a = _signed(integer(parts[2], 0, U64))
    else:
        op.a = b.variable(parts[2])
        op.flags |= OpFlag.OPF_VAR_A
    _offset(b, op, parts[3])
    options = _Options(op)
    for part in parts[4:]:
        if not options.take(part):
            raise Refused(f"{part[:40]!r} is no option of it")
    options.finish(1)
    b.add(op, relative=op.has(OpFlag.OPF_RELATIVE))


@keyword("byte_jump", family=FAMILY)
def byte_jump(b: Builder, value: str) -> None:
    """`bytes,offset[,relative][,multiplier N][,big|little][,string,hex|dec|oct][,align]
    [,from_beginning|from_end][,post_offset N][,bitmask 0x…]`: moves the position by the
    number read."""
    parts = _parts(value, 2, "byte_jump:bytes,offset")
    op = Op(OpKind.OP_BYTE_JUMP, b=1)
    _count(b, op, parts[0], 0)
    _offset(b, op, parts[1])
    options = _Options(op)
    for part in parts[2:]:
        word, _, argument = part.partition(" ")
        if options.take(part):
            continue
        options.once(word)
        if word == "multiplier":
            op.b = integer(argument, 1, 65535, "the multiplier")
        elif word == "post_offset":
            if is_number(argument):
                op.a = integer(argument, -MAX_OFFSET, MAX_OFFSET, "post_offset")
            else:
                op.a = b.variable(argument)
                op.flags |= OpFlag.OPF_VAR_A
        elif part == "align":
            op.flags |= OpFlag.OPF_ALIGN
        elif part == "from_beginning":
            op.flags |= OpFlag.OPF_FROM_BEGINNING
        elif part == "from_end":
            op.flags |= OpFlag.OPF_FROM_END
        else:
            raise Refused(f"{part[:40]!r} is no option of it")
    if op.has(OpFlag.OPF_FROM_BEGINNING) and op.has(OpFlag.OPF_FROM_END):
        raise Refused("from_beginning and from_end exclude each other")
    options.finish(0)
    b.add(op, relative=op.has(OpFlag.OPF_RELATIVE))


@keyword("byte_extract", family=FAMILY)
def byte_extract(b: Builder, value: str) -> None:
    """`bytes,offset,name[,relative][,multiplier N][,big|little][,string,hex|dec|oct]
    [,align 2|4]`: the number read becomes a variable."""
    parts = _parts(value, 3, "byte_extract:bytes,offset,name")
    op = Op(OpKind.OP_BYTE_EXTRACT, b=1)
    op.nbytes = integer(parts[0], 1, max(MAX_TEXT.values()), "the number of bytes")
    op.offset = integer(parts[1], -MAX_OFFSET, MAX_OFFSET, "the offset")
    options = _Options(op)
    align = 0
    for part in parts[3:]:
        word, _, argument = part.partition(" ")
        if options.take(part):
            continue
        options.once(word)
        if word == "multiplier":
            op.b = integer(argument, 1, 65535, "the multiplier")
        elif word == "align":
            align = integer(argument, 2, 4, "align")
            if align == 3:
                raise Refused("align is 2 or 4")
            op.flags |= OpFlag.OPF_ALIGN
        else:
            raise Refused(f"{part[:40]!r} is no option of it")
    options.finish(1)
    if align:
        if op.has(OpFlag.OPF_STRING):
            raise Refused("align cannot go with string")
        op.c = align
    op.result = b.define(parts[2])
    b.add(op, relative=op.has(OpFlag.OPF_RELATIVE))


_MATH = {
    "+": MathOp.MATH_ADD,
    "-": MathOp.MATH_SUB,
    "*": MathOp.MATH_MUL,
    "/": MathOp.MATH_DIV,
    "<<": MathOp.MATH_SHL,
    ">>": MathOp.MATH_SHR,
}


@keyword("byte_math", family=FAMILY, value=Value.REQUIRED)
def byte_math(b: Builder, value: str) -> None:
    """`bytes N, offset N, oper + - * / << >>, rvalue N, result name[, relative]
    [, endian big|little][, string hex|dec|oct][, bitmask 0x…]`: computes a variable."""
    parts = _parts(value, 5, "byte_math:bytes N, offset N, oper +, rvalue N, result name")
    op = Op(OpKind.OP_BYTE_MATH)
    options = _Options(op)
    given: dict[str, str] = {}
    for part in parts:
        word, _, argument = part.partition(" ")
        if word in ("bytes", "offset", "oper", "rvalue", "result"):
            options.once(word)
            given[word] = argument
        elif word == "endian" and argument in ("big", "little", "dce"):
            options.take(argument)
        elif word == "string" and argument in _BASES:
            options.take("string")
            options.take(argument)
        elif part == "dce" or word in ("relative", "bitmask"):
            if not options.take(part):
                raise Refused(f"{part[:40]!r} is no option of it")
        else:
            raise Refused(f"{part[:40]!r} is no option of it")
    for word in ("bytes", "offset", "oper", "rvalue", "result"):
        if not given.get(word):
            raise Refused(f"{word} is missing")
    _count(b, op, given["bytes"], 1)
    if given["offset"] and not is_number(given["offset"]):
        raise Refused("the offset is no number")
    _offset(b, op, given["offset"])
    if given["oper"] not in _MATH:
        raise Refused(f"{given['oper']!r} is no operator. Use + - * / << >>")
    op.cmp = _MATH[given["oper"]]
    if is_number(given["rvalue"]):
        op.a = integer(given["rvalue"], 0, U32, "rvalue")
        if op.cmp == MathOp.MATH_DIV and op.a == 0:
            raise Refused("a division by zero")
        if op.cmp in (MathOp.MATH_SHL, MathOp.MATH_SHR) and op.a > 63:
            raise Refused("a shift by more than 63 bits")
    else:
        op.a = b.variable(given["rvalue"])
        op.flags |= OpFlag.OPF_VAR_A
    options.finish(1)
    op.result = b.define(given["result"])
    b.add(op, relative=op.has(OpFlag.OPF_RELATIVE))
