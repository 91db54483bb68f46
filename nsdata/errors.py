"""Every exception nsdata raises on purpose.

    NsdataError
    ├── CaptureError        a capture that cannot be read or written: file, byte offset
    ├── RuleError           a rule that is refused: file, line, reason
    ├── SettingError        a setting or option that makes no sense: key, value
    ├── EngineError         the packet path cannot go on (memory, wrong use of the API)
    │   └── LedgerError     received ≠ inspected + bypassed + blocked + lost: a bug
    ├── OffloadError        the FPGA offload cannot be used: no device, wrong transport, no fit
    │   └── FpgaError       the block or the way to it has failed: evidence
    │       ├── BusFault        a register access was refused (SLVERR, DECERR)
    │       ├── BusTimeout      the block did not answer in time
    │       └── TransportDied   the way to the block is gone
    ├── OutputError         the output cannot be written (full disk, wrong path)
    └── Interrupted         the operator ended the run; what was read is on record

Each message says what is wrong, where, and what to try. The command line prints the
message alone and exits 1 (the run failed) or 2 (misuse: SettingError).
"""

from __future__ import annotations

from typing import Any


class NsdataError(Exception):
    """Root of the tree; catch this to catch everything nsdata raises on purpose."""


class CaptureError(NsdataError):
    """A capture file that cannot be read or written.

    `path` is the file, `offset` the byte offset of the fault in the (decompressed) file
    or None when the fault has no place in it; `decompressed`: the file is compressed.
    """

    def __init__(
        self, path: str, reason: str, offset: int | None = None, decompressed: bool = False
    ) -> None:
        self.path = path
        self.offset = offset
        self.reason = reason
        where = path if offset is None else f"{path}: byte {offset}"
        if decompressed and offset is not None:
            where += " of the decompressed data"
        super().__init__(f"{where}: {reason}")


class RuleError(NsdataError):
    """A rule that is refused: `path`, `line` (1-based; 0: the file as a whole), `column`
    (1-based or None), `keyword` it failed on (or None) and `reason`."""

    def __init__(
        self,
        path: str,
        line: int,
        reason: str,
        keyword: str | None = None,
        column: int | None = None,
    ) -> None:
        self.path = path
        self.line = line
        self.column = column
        self.keyword = keyword
        self.reason = reason
        place = ":".join(str(part) for part in (path, line, column) if part)
        super().__init__(f"{place}: {keyword + ': ' if keyword else ''}{reason}")


class SettingError(NsdataError):
    """A setting, option or argument that makes no sense; says which and what is legal."""


class EngineError(NsdataError):
    """The packet path cannot go on, or its API was used wrongly."""


class LedgerError(EngineError):
    """The ledger does not balance. Always a bug, reported as reason *unknown*."""


class OffloadError(NsdataError):
    """The FPGA offload cannot be used as asked: no such device or transport, a transport that
    lacks what it needs, tables that do not fit the block."""


class FpgaError(OffloadError):
    """The block, or the way to it, has failed.

    `evidence` is JSON-able: what the block and the transport had to say (docs/offload.md lists
    the keys). When frames were under way, `evidence` has `frames`, how many were handed over,
    and `accounted`, of how many the fate is known, and `verdict` holds theirs: a sequence of
    numbers for frames 0 … accounted - 1; None when no frames were under way.
    """

    def __init__(
        self, message: str, evidence: dict[str, Any] | None = None, verdict: Any = None
    ) -> None:
        super().__init__(message)
        self.evidence: dict[str, Any] = evidence or {}
        self.verdict = verdict


class BusFault(FpgaError):
    """A register access was refused: SLVERR or DECERR."""


class BusTimeout(FpgaError):
    """The block did not answer a register access, or frames did not come out, in time."""


class TransportDied(FpgaError):
    """The way to the block is gone: its process or device does not answer any more."""


class OutputError(NsdataError):
    """An output file cannot be written."""


class Interrupted(NsdataError):
    """The run was ended by the operator before the captures were read to their end."""
