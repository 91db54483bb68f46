"""Buffer ops of a rule against one buffer, left to right, with backtracking.

Semantics are those of the rule language's reference engine: a `content` with distance or
within is relative to the end of the previous match; when a following op is relative, the
next place of this one is tried if the rest fails. Work per rule is bounded by a step limit
(a rule that reaches it does not match; `Inspection.limited` counts them).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stddef cimport size_t
from libc.string cimport memchr, memcmp

from nsdata.path.pcre2 cimport PCRE2_ERROR_NOMATCH, pcre2_get_ovector_pointer, pcre2_match
from nsdata.path.rulebase cimport *

cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t haystack_len, const void *needle, size_t needle_len)


cdef inline uint8_t _lower(uint8_t c) noexcept nogil:
    return c + 32 if 65 <= c <= 90 else c


cdef inline bint _equal_nocase(const uint8_t *a, const uint8_t *lower, int64_t n) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        if _lower(a[i]) != lower[i]:
            return False
    return True


cdef int64_t _find_nocase(const uint8_t *at, int64_t length, const uint8_t *lower,
                          int64_t n) noexcept nogil:
    """Offset of the lower-case needle in `at`, or -1. memchr on the first byte in both cases."""
    cdef const uint8_t *end = at + length - n + 1
    cdef const uint8_t *p = at
    cdef uint8_t first = lower[0]
    cdef uint8_t upper = first
    if 97 <= first <= 122:
        upper = first - 32
    if upper == first:
        while p < end:
            p = <const uint8_t *> memchr(p, first, end - p)
            if p == NULL:
                return -1
            if _equal_nocase(p + 1, lower + 1, n - 1):
                return p - at
            p += 1
        return -1
    while p < end:
        if (p[0] == first or p[0] == upper) and _equal_nocase(p + 1, lower + 1, n - 1):
            return p - at
        p += 1
    return -1


cdef int64_t _find(const uint8_t *at, int64_t length, const uint8_t *needle, int64_t n,
                   bint nocase) noexcept nogil:
    cdef const uint8_t *found
    if n <= 0:
        return 0
    if length < n:
        return -1
    if nocase:
        return _find_nocase(at, length, needle, n)
    found = <const uint8_t *> memmem(at, length, needle, n)
    if found == NULL:
        return -1
    return found - at


cdef inline int64_t _clamp(int64_t value) noexcept nogil:
    # keeps sums of a few variables far from overflow; every buffer is far smaller
    cdef int64_t most = <int64_t> 1 << 40
    if value > most:
        return most
    if value < -most:
        return -most
    return value


cdef inline int64_t _value(const Inspection *i, const Op *op, uint32_t flag,
                           int64_t literal) noexcept nogil:
    if op.flags & flag:
        return _clamp(i.vars[<uint32_t> literal & (MAX_VARS - 1)])
    return literal


cdef bint _window(Inspection *i, const Op *op, int64_t *low, int64_t *high) noexcept nogil:
    """Where a content may lie: [low, high). False: nowhere."""
    cdef int64_t distance = 0
    cdef int64_t limit
    low[0] = 0
    high[0] = i.length
    if op.flags & (OPF_DISTANCE | OPF_WITHIN):
        low[0] = i.cursor
        if op.flags & OPF_DISTANCE:
            distance = _value(i, op, OPF_VAR_DISTANCE, op.distance)
            low[0] += distance
            if low[0] < 0:
                low[0] = 0
        if op.flags & OPF_WITHIN:
            limit = i.cursor + distance + _value(i, op, OPF_VAR_WITHIN, op.within)
            if limit < high[0]:
                high[0] = limit
        if op.flags & OPF_DEPTH:
            limit = i.cursor + _value(i, op, OPF_VAR_DEPTH, op.depth)
            if limit < high[0]:
                high[0] = limit
        if op.flags & OPF_OFFSET:
            limit = _value(i, op, OPF_VAR_OFFSET, op.offset)
            if limit > low[0]:
                low[0] = limit
    else:
        if op.flags & OPF_OFFSET:
            low[0] = _value(i, op, OPF_VAR_OFFSET, op.offset)
        if op.flags & OPF_DEPTH:
            limit = low[0] + _value(i, op, OPF_VAR_DEPTH, op.depth)
            if limit < high[0]:
                high[0] = limit
        if low[0] < 0:
            low[0] = 0
    if high[0] <= 0 or low[0] > high[0]:
        return False
    if op.flags & OPF_ENDSWITH and high[0] < i.length:
        return False
    return True


cdef int64_t _find_content(Inspection *i, const Op *op, int64_t low, int64_t high) noexcept nogil:
    """Offset in the buffer of the content within [low, high), or -1."""
    cdef const uint8_t *needle = i.pool + op.data
    cdef int64_t n = op.length
    cdef int64_t at
    if high - low < n:
        return -1
    i.steps += <uint32_t> ((high - low) >> 8)
    if op.flags & OPF_ENDSWITH:
        at = high - n
        if op.flags & OPF_NOCASE:
            return at if _equal_nocase(i.buffer + at, needle, n) else -1
        return at if memcmp(i.buffer + at, needle, n) == 0 else -1
    at = _find(i.buffer + low, high - low, needle, n, (op.flags & OPF_NOCASE) != 0)
    return -1 if at < 0 else low + at


cdef bint _number_text(const uint8_t *at, int64_t n, int64_t base, uint64_t *value,
                       int64_t *used) noexcept nogil:
    """Parse digits of `base` (8, 10, 16; 0x allowed) after blanks; False when there is none."""
    cdef int64_t k = 0
    cdef int64_t digits = 0
    cdef uint64_t digit
    cdef uint8_t c
    cdef bint negative = False
    value[0] = 0
    while k < n and (at[k] == 32 or 9 <= at[k] <= 13):
        k += 1
    if k < n and (at[k] == 43 or at[k] == 45):
        negative = at[k] == 45
        k += 1
    if base == 16 and k + 1 < n and at[k] == 48 and (at[k + 1] | 32) == 120:
        k += 2
    while k < n:
        c = at[k]
        if 48 <= c <= 57:
            digit = c - 48
        elif 97 <= (c | 32) <= 102:
            digit = (c | 32) - 87
        else:
            break
        if digit >= <uint64_t> base:
            break
        value[0] = value[0] * <uint64_t> base + digit
        digits += 1
        k += 1
    if negative:
        value[0] = ~value[0] + 1
    used[0] = k
    return digits > 0


cdef bint _extract(Inspection *i, const Op *op, uint64_t *value, int64_t *start,
                   int64_t *used) noexcept nogil:
    """Read op's bytes; False when they do not lie in the buffer or are no number."""
    cdef int64_t n = op.nbytes
    cdef int64_t at = _value(i, op, OPF_VAR_OFFSET, op.offset)
    cdef int64_t k
    cdef uint32_t shift
    if op.flags & OPF_VAR_NBYTES:
        n = i.vars[op.nbytes & (MAX_VARS - 1)]
        if n < 0 or n > (23 if op.flags & OPF_STRING else 8):
            return False
    if op.flags & OPF_RELATIVE:
        at += i.cursor
    start[0] = at
    used[0] = n
    value[0] = 0
    if at < 0 or at > i.length or n > i.length - at:
        return False
    if n == 0 and op.kind == OP_BYTE_JUMP:
        return True
    if n == 0 or at >= i.length:
        return False
    if op.flags & OPF_STRING:
        if not _number_text(i.buffer + at, n, op.c, value, used):
            return False
        if op.kind == OP_BYTE_EXTRACT or op.kind == OP_BYTE_MATH:
            used[0] = n
    elif op.flags & OPF_LITTLE:
        for k in range(n):
            if k < 8:
                value[0] |= <uint64_t> i.buffer[at + k] << <uint32_t> (8 * k)
    else:
        for k in range(n):
            value[0] = value[0] << 8 | i.buffer[at + k]
    if op.flags & OPF_BITMASK:
        value[0] &= op.mask
        if op.mask:
            shift = 0
            while not (op.mask >> shift) & 1:
                shift += 1
            value[0] >>= shift
    return True


cdef bint _byte_test(Inspection *i, const Op *op) noexcept nogil:
    cdef uint64_t have
    cdef uint64_t want
    cdef int64_t start
    cdef int64_t used
    cdef bint hit
    if not _extract(i, op, &have, &start, &used):
        return False
    if op.flags & OPF_VAR_A:
        want = <uint64_t> i.vars[<uint32_t> op.a & (MAX_VARS - 1)]
    else:
        want = <uint64_t> op.a
    if op.cmp == CMP_EQ:
        hit = have == want
    elif op.cmp == CMP_NE:
        hit = have != want
    elif op.cmp == CMP_LT:
        hit = have < want
    elif op.cmp == CMP_GT:
        hit = have > want
    elif op.cmp == CMP_LE:
        hit = have <= want
    elif op.cmp == CMP_GE:
        hit = have >= want
    elif op.cmp == CMP_AND:
        hit = (have & want) != 0
    else:
        hit = (have ^ want) != 0
    if op.flags & OPF_CMP_NEGATED:
        return not hit
    return hit


cdef bint _byte_jump(Inspection *i, const Op *op) noexcept nogil:
    cdef uint64_t raw
    cdef int64_t start
    cdef int64_t used
    cdef int64_t jump
    if not _extract(i, op, &raw, &start, &used):
        return False
    if raw >> 32:
        return False
    jump = <int64_t> raw
    if op.b > 1:
        jump *= op.b & 0xFFFF
    if op.flags & OPF_ALIGN and jump & 3:
        jump += 4 - (jump & 3)
    jump += _value(i, op, OPF_VAR_A, op.a)
    if op.flags & OPF_FROM_END:
        jump += i.length
    elif not op.flags & OPF_FROM_BEGINNING:
        jump += start + used
    if jump > i.length:
        return False
    i.cursor = jump if jump > 0 else 0    # before the buffer means its beginning
    return True


cdef bint _byte_extract(Inspection *i, const Op *op) noexcept nogil:
    cdef uint64_t value
    cdef int64_t start
    cdef int64_t used
    if not _extract(i, op, &value, &start, &used):
        return False
    if op.b > 1:
        value *= <uint64_t> op.b
    if op.flags & OPF_ALIGN and op.c > 1 and not op.flags & OPF_STRING:
        if value % <uint64_t> op.c:
            value += <uint64_t> op.c - value % <uint64_t> op.c
    i.vars[op.result & (MAX_VARS - 1)] = <int64_t> value
    i.cursor = start + used
    return True


cdef bint _byte_math(Inspection *i, const Op *op) noexcept nogil:
    cdef uint64_t value
    cdef uint64_t right
    cdef int64_t start
    cdef int64_t used
    if not _extract(i, op, &value, &start, &used):
        return False
    if op.flags & OPF_VAR_A:
        right = <uint64_t> i.vars[<uint32_t> op.a & (MAX_VARS - 1)]
    else:
        right = <uint64_t> op.a
    if op.cmp == MATH_ADD:
        value += right
    elif op.cmp == MATH_SUB:
        value -= right
    elif op.cmp == MATH_MUL:
        value *= right
    elif op.cmp == MATH_DIV:
        if right == 0:
            return False
        value = value // right
    elif op.cmp == MATH_SHL:
        value = value << <uint32_t> right if right < 64 else 0
    else:
        value = value >> <uint32_t> right if right < 64 else 0
    i.vars[op.result & (MAX_VARS - 1)] = <int64_t> value
    i.cursor = start + used
    return True


cdef bint _compare_length(const Inspection *i, const Op *op) noexcept nogil:
    cdef int64_t x = i.length
    cdef int64_t a = _value(i, op, OPF_VAR_A, op.a)
    if op.cmp == CMP_EQ:
        return x == a
    if op.cmp == CMP_NE:
        return x != a
    if op.cmp == CMP_LT:
        return x < a
    if op.cmp == CMP_GT:
        return x > a
    if op.cmp == CMP_LE:
        return x <= a
    if op.cmp == CMP_GE:
        return x >= a
    if op.cmp == CMP_BETWEEN:
        return a < x < op.b
    if op.cmp == CMP_WITHIN:
        return a <= x <= op.b
    return x < a or x > op.b


cdef inline bint _is_data_at(const Inspection *i, const Op *op) noexcept nogil:
    cdef int64_t at = _value(i, op, OPF_VAR_A, op.a)
    cdef bint there
    if op.flags & OPF_RELATIVE:
        there = i.cursor + at <= i.length
    else:
        there = at < i.length
    return there != ((op.flags & OPF_NEGATED) != 0)


cdef bint _content(Inspection *i, const Op *op, uint32_t rest) noexcept nogil:
    """Match a content and, where something relative follows, everything after it."""
    cdef int64_t low
    cdef int64_t high
    cdef int64_t at
    cdef int64_t end
    cdef int64_t best = i.match_end
    if not _window(i, op, &low, &high):
        if op.flags & OPF_NEGATED:
            return _run(i, op + 1, rest)
        return False
    if op.flags & OPF_NEGATED:
        if _find_content(i, op, low, high) >= 0:
            return False
        return _run(i, op + 1, rest)
    while True:
        at = _find_content(i, op, low, high)
        if at < 0:
            return False
        end = at + op.length
        i.cursor = end
        i.match_end = end if end > best else best
        if not op.flags & OPF_NEXT_RELATIVE:
            return _run(i, op + 1, rest)
        if _run(i, op + 1, rest):
            return True
        if i.steps > i.step_limit or op.flags & OPF_ENDSWITH:
            return False
        low = at + 1


cdef bint _pcre(Inspection *i, const Op *op, uint32_t rest) noexcept nogil:
    cdef int64_t base = i.cursor if op.flags & OPF_RELATIVE else 0
    cdef int64_t best = i.match_end
    cdef size_t start = 0
    cdef size_t length
    cdef size_t *ovector
    cdef int status
    if base > i.length:
        base = i.length
    length = <size_t> (i.length - base)
    ovector = pcre2_get_ovector_pointer(i.match_data)
    while True:
        i.steps += 4
        status = pcre2_match(i.pcres[op.data], i.buffer + base, length, start, 0, i.match_data,
                             i.match_context)
        if status < 0 and status != PCRE2_ERROR_NOMATCH:
            i.limited += 1            # a limit was reached: nothing is known, so no match
            return False
        if op.flags & OPF_NEGATED:
            if status >= 0:
                return False
            return _run(i, op + 1, rest)
        if status < 0:
            return False
        start = ovector[0] + 1
        i.cursor = base + <int64_t> ovector[1]
        i.match_end = i.cursor if i.cursor > best else best
        if not op.flags & OPF_NEXT_RELATIVE:
            return _run(i, op + 1, rest)
        if _run(i, op + 1, rest):
            return True
        if i.steps > i.step_limit or start > length:
            return False


cdef bint _run(Inspection *i, const Op *op, uint32_t n) noexcept nogil:
    """The ops from `op` on. Recursion depth is the number of ops of the rule."""
    cdef bint ok
    while n:
        i.steps += 1
        if i.steps > i.step_limit:
            i.limited += 1
            return False
        if op.kind == OP_CONTENT:
            return _content(i, op, n - 1)
        if op.kind == OP_PCRE:
            return _pcre(i, op, n - 1)
        if op.kind == OP_BYTE_TEST:
            ok = _byte_test(i, op)
        elif op.kind == OP_BYTE_JUMP:
            ok = _byte_jump(i, op)
        elif op.kind == OP_BYTE_EXTRACT:
            ok = _byte_extract(i, op)
        elif op.kind == OP_BYTE_MATH:
            ok = _byte_math(i, op)
        elif op.kind == OP_ISDATAAT:
            ok = _is_data_at(i, op)
        elif op.kind == OP_BSIZE:
            ok = _compare_length(i, op)
        else:
            ok = False
        if op.kind <= OP_BYTE_JUMP and op.flags & OPF_NEGATED:
            ok = not ok
        if not ok:
            return False
        op += 1
        n -= 1
    return True


cdef bint inspect(Inspection *i, const Op *ops, uint32_t n) noexcept nogil:
    """True when all `n` ops match `i.buffer`. `i.cursor` starts at 0; vars persist across a
    rule's buffers; `i.match_end` is the furthest byte a content or pcre matched."""
    i.cursor = 0
    i.match_end = 0
    i.steps = 0
    return _run(i, ops, n)
