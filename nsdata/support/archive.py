"""A support report as a file: a `.tar.gz` with a manifest, whole or not there at all.

It is written under another name, synced and then renamed; whatever goes wrong, nothing half
written is left. The same parts at the same time give the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from nsdata.errors import OutputError

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

    at_s: the time of everything in it, since the epoch; limit: bytes of the file. Raises
    OutputError from every method.
    """

    def __init__(self, path: Path, folder: str, at_s: int, limit: int) -> None:
        self.path = path
        self.folder = folder
        self.at_s = at_s
        self.left = limit - SLACK - limit // 1000  # bytes of parts, before they are compressed
        self._parts: list[dict[str, Any]] = []
        self._errors: list[dict[str, str]] = []
        self._temporary = path.with_name(f".{path.name}{PART}")
        self._done = False
        if path.exists():
            raise OutputError(f"{path}: is there already; reports are never overwritten")
        try:
            self._file = open(self._temporary, "xb")  # noqa: SIM115
            os.chmod(self._temporary, 0o600)
        except OSError as error:
            raise self._error(error) from error
        self._hashed = _Hashed(self._file)
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=self._hashed, mtime=at_s)
        self._tar = tarfile.TarFile(fileobj=self._gzip, mode="w", format=tarfile.USTAR_FORMAT)

    def _error(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path}: the report cannot be written: {error.strerror or error}; nothing of it "
            "is left"
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
        except OSError as error:
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
            os.rename(self._temporary, self.path)
            self._done = True
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._error(error) from error
        return Written(self.path, self._hashed.size, self._hashed.digest.hexdigest())

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


def sweep(directory: Path, keep: int) -> list[Path]:
    """Remove what was left half written, and all but the newest `keep` reports; what is gone."""
    found = sorted(directory.glob("*.tar.gz"), key=lambda path: (path.stat().st_mtime_ns, path))
    gone = [*directory.glob(f".*.tar.gz{PART}"), *found[: max(0, len(found) - keep)]]
    for path in gone:
        path.unlink(missing_ok=True)
    return gone
