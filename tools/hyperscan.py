"""Hyperscan over whole frames by ctypes: the judge of what a prefilter must find."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CASELESS, SINGLEMATCH, MODE_BLOCK, TERMINATED = 1, 8, 1, -3
HANDLER = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_uint, ctypes.c_ulonglong, ctypes.c_ulonglong, ctypes.c_uint,
    ctypes.c_void_p,
)  # fmt: skip


def library() -> ctypes.CDLL | None:
    """libhs, or None when the machine has none."""
    name = ctypes.util.find_library("hs")
    return ctypes.CDLL(name) if name else None


class Literals:
    """(bytes, nocase) patterns, searched for in frames."""

    def __init__(self, patterns: Sequence[tuple[bytes, bool]]) -> None:
        found = library()
        if found is None:
            raise OSError("libhs is not installed. Try: make setup")
        self._hs = found
        self._scan = found.hs_scan
        self._scan.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p,
            HANDLER, ctypes.c_void_p,
        ]  # fmt: skip
        n = len(patterns)
        texts = (ctypes.c_char_p * n)(*(text for text, _ in patterns))
        flags = (ctypes.c_uint * n)(*(SINGLEMATCH | CASELESS * nocase for _, nocase in patterns))
        numbers = (ctypes.c_uint * n)(*range(n))
        sizes = (ctypes.c_size_t * n)(*(len(text) for text, _ in patterns))
        self._db, self._scratch = ctypes.c_void_p(), ctypes.c_void_p()
        error = ctypes.c_void_p()
        if found.hs_compile_lit_multi(
            texts, flags, numbers, sizes, n, MODE_BLOCK, None, ctypes.byref(self._db),
            ctypes.byref(error),
        ) or found.hs_alloc_scratch(self._db, ctypes.byref(self._scratch)):  # fmt: skip
            raise ValueError("Hyperscan refuses the patterns")

    def hits(
        self, data: NDArray[np.uint8], offset: NDArray[np.uint64], length: NDArray[np.uint32]
    ) -> NDArray[np.uint8]:
        """Whether a pattern occurs in each frame: uint8 [frames]."""
        stop = HANDLER(lambda *_: 1)
        scan, db, scratch, base = self._scan, self._db, self._scratch, data.ctypes.data
        status = [
            scan(db, base + at, size, 0, scratch, stop, None)
            for at, size in zip(offset.tolist(), length.tolist(), strict=True)
        ]
        result = np.array(status, dtype=np.int64)
        if bool(((result != 0) & (result != TERMINATED)).any()):
            raise RuntimeError("hs_scan failed")
        return (result == TERMINATED).astype(np.uint8)

    def found(self, data: bytes) -> set[int]:
        """The numbers of all patterns that occur in `data`."""
        seen: set[int] = set()
        note = HANDLER(lambda number, *_: seen.add(number) or 0)
        if self._scan(self._db, data, len(data), 0, self._scratch, note, None):
            raise RuntimeError("hs_scan failed")
        return seen

    def close(self) -> None:
        """Give the memory back."""
        self._hs.hs_free_scratch(self._scratch)
        self._hs.hs_free_database(self._db)
