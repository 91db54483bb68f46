"""The SECDED code of every memory of the block (hdl/nsd_ecc_pkg.sv): its check bits.

Hsiao, "A Class of Optimal Minimum Odd-weight-column SEC-DED Codes", IBM J. R&D 14 (1970).
"""

from functools import cache


@cache
def columns(width: int) -> list[int]:
    """The columns of `width` data bits: odd weights 3, 5, 7, each ascending."""
    ordered = sorted((v for v in range(256) if v.bit_count() in (3, 5, 7)),
                     key=lambda v: (v.bit_count(), v))  # fmt: skip
    return ordered[:width]


def check_bits(data: int, width: int = 64) -> int:
    """The check bits of `data`."""
    check = 0
    for i, column in enumerate(columns(width)):
        if data >> i & 1:
            check ^= column
    return check


def code_word(data: int, words: int) -> int:
    """`words` 64-bit words as they stand in a memory: each with its 8 check bits above it."""
    mask = (1 << 64) - 1
    code = 0
    for i in range(words):
        word = data >> 64 * i & mask
        code |= (word | check_bits(word) << 64) << 72 * i
    return code
