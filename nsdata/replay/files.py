"""The files of a run held against each other: no output may be an input, or another output."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable

from nsdata.errors import SettingError

PathLike = str | os.PathLike[str]
Named = tuple[str, PathLike]  # an option and the file it names

_COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bzip2", ".xz": "xz"}


def check_files(inputs: Iterable[Named], outputs: Iterable[Named]) -> None:
    """Raise SettingError, which names both, when an output would overwrite an input or
    another output, by whatever name or link. "-" is standard output.

    Opens nothing. Devices and pipes may be named twice: nothing in them can be lost.
    """
    read = [(option, os.fspath(path)) for option, path in inputs]
    written: list[tuple[str, str]] = []
    for option, path in ((option, os.fspath(path)) for option, path in outputs):
        for other, name in read:
            if _same(path, name):
                raise SettingError(
                    f"{option} {path} is the file read as {other} {name}: it would be "
                    "overwritten. Name another file to write"
                )
        for other, name in written:
            if _same(path, name):
                raise SettingError(
                    f"{option} {path} and {other} {name} are the same file: one would overwrite "
                    "the other. Name two files"
                )
        written.append((option, path))


def check_forwarded(option: str, path: PathLike) -> None:
    """Raise SettingError for a name that promises a compression nobody does."""
    name = os.fspath(path)
    stem, ending = os.path.splitext(name)
    if tool := _COMPRESSED.get(ending.lower()):
        raise SettingError(
            f"{option} {name}: captures are not compressed as they are written. Write {stem} "
            f"and compress it afterwards: {tool} {stem}"
        )


def _same(one: str, other: str) -> bool:
    if one == other == "-":
        return True
    first, second = _status(one), _status(other)
    if first is not None and second is not None:
        return os.path.samestat(first, second) and stat.S_ISREG(first.st_mode)
    if first is not None or second is not None or "-" in (one, other):
        return False
    return os.path.realpath(one) == os.path.realpath(other)  # neither is there yet


def _status(path: str) -> os.stat_result | None:
    try:
        return os.fstat(sys.stdout.fileno()) if path == "-" else os.stat(path)
    except (OSError, ValueError):
        return None
