"""A support report as a file: a `.tar.gz` with a manifest, whole or not there at all.

It is written under another name, synced and then given its own; whatever goes wrong, nothing half
written is left, and nothing that was there is replaced. The same parts at the same time give the
same bytes.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import re
import stat
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from nsdata.errors import OutputError
from nsdata.support.url import SUFFIX

MANIFEST = "manifest.json"
SLACK = 1 << 16  # bytes for headers, the manifest, and what gzip adds to what it cannot shrink
PART = ".part"  # the name while it is written
SMALLEST = 4 * SLACK  # bytes of a limit


@dataclass(frozen=True, slots=True)
class Written:
    """A report that is there."""

    path: Path
    size: int
    sha256: str


class _Hashed(io.RawIOBase):
    """Writes through, and knows the digest."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.file.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)


class Archive:
    """A report being written: a context manager; without `finish` nothing of it is left.

    folder: the name of this report, which no other has; at_s: the time of everything in it, since
    the epoch; limit: bytes of the file. Raises OutputError from every method.
    """

    def __init__(self, path: Path, folder: str, at_s: int, limit: int) -> None:
        self.path = path
        self.folder = folder
        self.at_s = at_s
        self.left = limit - SLACK - limit // 1000  # bytes of parts, before they are compressed
        self._parts: list[dict[str, Any]] = []
        self._errors: list[dict[str, str]] = []
        self._temporary = half(path.parent, folder)
        self._done = False
        if os.path.lexists(path):  # a symbolic link to nowhere as well
            raise self._taken()
        try:
            self._file = open(self._temporary, "xb")  # noqa: SIM115
            os.chmod(self._temporary, 0o600)
        except OSError as error:
            raise self._error(error) from error
        self._hashed = _Hashed(self._file)
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=self._hashed, mtime=at_s)
        self._tar = tarfile.TarFile(fileobj=self._gzip, mode="w", format=tarfile.PAX_FORMAT,
                                    encoding="utf-8")  # fmt: skip

    def _taken(self) -> OutputError:
        return OutputError(f"{self.path}: is there already; reports are never overwritten")

    def _error(self, error: OSError | ValueError) -> OutputError:
        why = getattr(error, "strerror", None) or error
        return OutputError(
            f"{self.path}: the report cannot be written: {why}; nothing of it is left"
        )

    def add(self, name: str, data: bytes, **more: Any) -> None:
        """A part. more: what the manifest is to say of it. ValueError when there is no room."""
        if len(data) > self.left:
            raise ValueError(f"{name} has {len(data):,} bytes; {self.left:,} are left")
        self._put(name, data)
        self.left -= len(data)
        digest = hashlib.sha256(data).hexdigest()
        self._parts.append({"name": name, "size": len(data), "sha256": digest, **more})

    def lacks(self, name: str, why: str) -> None:
        """A part that there is not."""
        self._errors.append({"name": name, "error": why})

    def _put(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(f"{self.folder}/{name}")
        info.size, info.mtime, info.mode = len(data), self.at_s, 0o600
        try:
            self._tar.addfile(info, io.BytesIO(data))
        except (OSError, ValueError) as error:  # ValueError: what the format cannot hold
            raise self._error(error) from error

    def finish(self, about: dict[str, Any]) -> Written:
        """Write the manifest (`about`, and every part) and give the report its name."""
        told = {**about, "parts": self._parts, "lacking": self._errors}
        self._put(MANIFEST, json.dumps(told, indent=1).encode() + b"\n")
        try:
            self._tar.close()
            self._gzip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._name()
            self._done = True
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError:
            raise self._taken() from None
        except (OSError, ValueError) as error:
            raise self._error(error) from error
        return Written(self.path, self._hashed.size, self._hashed.digest.hexdigest())

    def _name(self) -> None:
        """Give it its name, unless something has that by now."""
        try:
            os.link(self._temporary, self.path)
            os.unlink(self._temporary)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            os.rename(self._temporary, self.path)  # a file system without hard links

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._done:
            return
        # A gzip file flushes what it has when it is collected: into nothing from now on.
        self._hashed.file = io.BytesIO()
        for one in (self._tar, self._gzip, self._file):
            with suppress(OSError, ValueError):
                one.close()
        self._temporary.unlink(missing_ok=True)


def half(directory: Path, folder: str) -> Path:
    """Where a report stands while it is written."""
    return directory / f".{folder}{SUFFIX}{PART}"


def report_name(name: str, stamp: str, token: str) -> str:
    """The folder in a report and its file name without suffix. name: of the appliance; stamp: UTC,
    20261123T034748Z; token: eight digits, hexadecimal."""
    return f"nsdata-support-{name}-{stamp}-{token}"


def sweep(written: Path, name: str, keep: int) -> list[Path]:
    """Remove what this appliance left half written beside its report `written`, and all but the
    newest `keep` of its reports; what is gone. Files of any other name, and whatever is no regular
    file, are not touched. Raises OSError when the directory cannot be read."""
    own = re.compile(
        report_name(re.escape(name), r"[0-9]{8}T[0-9]{6}Z", "[0-9a-f]{8}") + re.escape(SUFFIX)
    )
    found: list[tuple[int, Path]] = []
    gone: list[Path] = []
    for path in sorted(written.parent.iterdir()):
        is_half = path.name.startswith(".") and path.name.endswith(PART)
        plain = path.name[1 : -len(PART)] if is_half else path.name
        if path == written or not own.fullmatch(plain):
            continue
        try:
            about = path.lstat()
        except OSError:  # gone since
            continue
        if not stat.S_ISREG(about.st_mode):
            continue
        if is_half:
            gone.append(path)
        else:
            found.append((about.st_mtime_ns, path))
    found.sort()
    gone += [path for _, path in found[: max(0, len(found) + 1 - keep)]]
    for path in gone:
        with suppress(OSError):
            path.unlink()
    return gone
