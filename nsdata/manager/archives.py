"""Archives of support reports that appliances have sent here: whole, checked, of a bounded number.

    DIRECTORY/support-reports/APPLIANCE/REPORT.tar.gz        an archive that is whole
                                        REPORT.json          name, size, SHA-256; written first
                                        .REPORT.SHA256.part  while it comes, in pieces

Files are the only truth: an archive is there when its file is. A piece belongs where the last one
ended; after a lost connection the sender asks with an empty one where that is.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from nsdata.manager.models import Archive
from nsdata.manager.problems import Problem, not_found
from nsdata.manager.settings import ReportLimits

FOLDER = "support-reports"
SUFFIX, ABOUT, PART = ".tar.gz", ".json", ".part"
CHUNK = 1 << 20  # bytes
LOCKS = 64
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,180}\.tar\.gz")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an archive. size, sha256: of the whole."""

    offset: int
    size: int
    sha256: str
    file_name: str
    data: bytes


class Archives:
    """Of one manager's directory. Methods raise Problem."""

    def __init__(self, directory: Path, limits: ReportLimits) -> None:
        self.directory = directory / FOLDER
        self.limits = limits
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    # --- as it comes ------------------------------------------------------------------------

    def take(self, appliance_id: UUID, report_id: UUID, piece: Piece) -> int:
        """Bytes that are here, with this piece; all of them: the archive is whole, and kept.

        Raises Problem: 409 with `received` when the piece belongs elsewhere, 413, 422, and 507
        when there is no room; then nothing of it is left.
        """
        most = self.limits.size
        if piece.size > most:
            raise Problem(413, f"the archive has {piece.size:,} bytes; {most:,} are taken here "
                          "(report-size of the manager)")  # fmt: skip
        if not NAME.fullmatch(piece.file_name):
            raise Problem(422, f"{piece.file_name[:80]!r} is no name of an archive")
        folder = self.directory / str(appliance_id)
        part = folder / f".{report_id}.{piece.sha256}{PART}"
        with self._locks[report_id.int % LOCKS]:
            kept = self.of(appliance_id, report_id)
            if kept is not None and kept.sha256 == piece.sha256:
                return kept.size
            try:
                return self._append(folder, part, report_id, piece)
            except OSError as error:
                _unlink(part)
                raise _no_room(error) from error

    def _append(self, folder: Path, part: Path, report_id: UUID, piece: Piece) -> int:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in folder.glob(f".{report_id}.*{PART}"):
            if other != part:  # it was made anew, and announced as something else
                _unlink(other)
        received = part.stat().st_size if part.exists() else 0
        if piece.data:
            if piece.offset != received:
                told = f"the next piece begins at {received:,}, not at {piece.offset:,}"
                raise Problem(409, told, kind="archive-offset", received=received)
            if received + len(piece.data) > piece.size:
                raise Problem(422, f"more comes than the {piece.size:,} bytes that were announced")
            self._look_for_room(folder, piece.size - received)
            with open(part, "ab", opener=_private) as out:
                out.write(piece.data)
            received += len(piece.data)
        if received == piece.size:
            self._finish(folder, part, report_id, piece)
        return received

    def _look_for_room(self, folder: Path, more: int) -> None:
        """For the rest of it, and what is to stay free. Raises OSError."""
        free, least = shutil.disk_usage(folder).free, self.limits.reserve
        if free - more < least:
            raise OSError(
                errno.ENOSPC,
                f"No space left: {free:,} bytes are free, {more:,} are needed, and {least:,} stay "
                "free (report-reserve of the manager)",
            )

    def _finish(self, folder: Path, part: Path, report_id: UUID, piece: Piece) -> None:
        with open(part, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        if found != piece.sha256:
            _unlink(part)
            raise Problem(422, f"what came has the SHA-256 {found}, not {piece.sha256} as was "
                          "announced: it is thrown away", kind="archive-digest")  # fmt: skip
        about = Archive(file_name=piece.file_name, size=piece.size, sha256=found,
                        kept_ns=time.time_ns())  # fmt: skip
        beside = folder / f"{report_id}{ABOUT}"
        try:
            with open(beside, "w", opener=_private) as out:
                out.write(about.model_dump_json())
                out.flush()
                os.fsync(out.fileno())
            os.rename(part, folder / f"{report_id}{SUFFIX}")
        except OSError:
            _unlink(beside)
            raise
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
        for old in self._kept(folder)[self.limits.keep :]:
            _remove(folder, old)

    def drop(self, appliance_id: UUID, report_id: UUID) -> None:
        """What has come of one that does not go on; one that is whole stays."""
        with self._locks[report_id.int % LOCKS]:
            for part in (self.directory / str(appliance_id)).glob(f".{report_id}.*{PART}"):
                _unlink(part)

    # --- as it is kept ----------------------------------------------------------------------

    def of(self, appliance_id: UUID, report_id: UUID) -> Archive | None:
        """The archive of a report; None: there is none here."""
        folder = self.directory / str(appliance_id)
        if not (folder / f"{report_id}{SUFFIX}").is_file():
            return None
        try:
            return Archive.model_validate_json((folder / f"{report_id}{ABOUT}").read_bytes())
        except (OSError, ValueError):
            return None

    def is_here(self, appliance_id: str, report_id: str) -> bool:
        """Whether the archive of a report is whole here."""
        return self.of(UUID(appliance_id), UUID(report_id)) is not None

    def all(self, appliance_id: UUID) -> list[Archive]:
        """Those of an appliance, newest first."""
        kept = self._kept(self.directory / str(appliance_id))
        found = [self.of(appliance_id, UUID(one)) for one in kept]
        return [one for one in found if one is not None]

    def open(self, appliance_id: UUID, report_id: UUID) -> tuple[Archive, BinaryIO]:
        """What it is, and the open file. Raises Problem (404)."""
        found = self.of(appliance_id, report_id)
        file = self.directory / str(appliance_id) / f"{report_id}{SUFFIX}"
        try:
            if found is not None:
                return found, open(file, "rb")
        except FileNotFoundError:
            pass
        raise not_found("archive: it is not whole yet, went elsewhere, or was removed")

    def remove(self, appliance_id: UUID, report_id: UUID) -> Archive:
        """Remove an archive; what it was. Raises Problem (404)."""
        with self._locks[report_id.int % LOCKS]:
            found, file = self.open(appliance_id, report_id)
            file.close()
            _remove(self.directory / str(appliance_id), str(report_id))
        return found

    def forget(self, appliance_id: UUID) -> None:
        """All of an appliance that is removed."""
        shutil.rmtree(self.directory / str(appliance_id), ignore_errors=True)

    def tidy(self, going_on: Callable[[], tuple[set[str], set[str]]]) -> None:
        """Remove archives that are too old, parts of reports that are over, and whatever is of
        appliances that are no more. going_on: these appliances and reports are not."""
        oldest = time.time_ns() - self.limits.age_ns
        here = [(folder, list(folder.glob(f".*{PART}"))) for folder in self.directory.glob("*")]
        appliances, reports = going_on()  # after the look: what comes meanwhile is not judged
        for folder, parts in here:
            if folder.name not in appliances:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for part in parts:
                if part.name.split(".")[1] not in reports:
                    _unlink(part)
            for one in self._kept(folder):
                found = self.of(UUID(folder.name), UUID(one))
                if found is None or found.kept_ns < oldest:
                    _remove(folder, one)

    def _kept(self, folder: Path) -> list[str]:
        """Reports whose archives are in a folder, newest first."""
        times: list[tuple[int, str]] = []
        for file in folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):  # gone since
                times.append((file.stat().st_mtime_ns, file.name.removesuffix(SUFFIX)))
        return [name for _, name in sorted(times, reverse=True)]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _unlink(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)


def _remove(folder: Path, report: str) -> None:
    """The archive first: without it nothing is there."""
    for suffix in (SUFFIX, ABOUT):
        _unlink(folder / f"{report}{suffix}")


def _no_room(error: OSError) -> Problem:
    return Problem(507, f"the manager cannot keep the archive: {error.strerror or error}; nothing "
                   "of it is left there")  # fmt: skip
