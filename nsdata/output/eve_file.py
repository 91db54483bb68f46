"""Where EVE lines go: a file or standard output, whole lines only.

A full disk leaves a torn line in most logs, and every reader of it chokes there.
`EveFile` takes whole lines, and when a write fails half way it cuts the file back to the
last whole line, keeps what was good and raises OutputError.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
from pathlib import Path
from types import TracebackType

from nsdata.errors import OutputError

BUFFER = 1 << 20  # bytes collected before a write

HINTS = {
    errno.ENOSPC: "free some space or choose another file system",
    errno.EDQUOT: "the user's disk quota is used up: free some space",
    errno.EFBIG: "the file reached its size limit (ulimit -f): raise it or write elsewhere",
    errno.EPIPE: "the reader of the pipe went away",
    errno.ENOENT: "create the directory first",
    errno.ENOTDIR: "a part of the path is not a directory",
    errno.EISDIR: "name a file, not a directory",
    errno.EACCES: "check the permissions of the file and its directory",
    errno.EROFS: "the file system is mounted read-only: choose another place",
    errno.ENXIO: "name a regular file; pipes and devices can block",
    errno.EIO: "the device reports an error: check the disk",
}


def output_error(path: str, doing: str, error: OSError, kept: str = "") -> OutputError:
    """OutputError for `path`: what was being done, the system's reason, what to try."""
    hint = HINTS.get(error.errno or 0, "try another file")
    return OutputError(f"{path}: cannot {doing}: {error.strerror or error}{kept} ({hint})")


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file (text also to "-", standard output) at once or not at all.

    Raises OutputError; what was there before is then still whole.
    """
    if os.fspath(path) == "-":
        print(content, end="", flush=True)
        return
    data = content.encode() if isinstance(content, str) else content
    target = Path(path)
    if target.exists() and not target.is_file():  # /dev/stdout, a pipe
        try:
            target.write_bytes(data)
        except OSError as error:
            raise output_error(str(target), "write", error) from error
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise output_error(str(target), "write", error) from error


class EveFile:
    """A file of lines at `path` ("-": standard output), emptied unless `append`.

    `lines` and `bytes` count what is surely written. Raises OutputError when the file
    cannot be opened, and on any failed write; after that every write raises again.

    `regular`: for who must never wait. A pipe or device, which could block, cannot be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, append: bool = False, regular: bool = False
    ) -> None:
        self.path = os.fspath(path)
        self.lines = 0
        self.bytes = 0
        self._pending = bytearray()
        self._broken: OutputError | None = None
        self._owned = self.path != "-"
        self._regular = False
        try:
            if self._owned:
                # not O_TRUNC: a device or pipe has nothing to empty
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                # a pipe nobody reads is waited for otherwise, here, before it can be looked at
                self._fd = os.open(self.path, flags | (os.O_NONBLOCK if regular else 0), 0o644)
                self._regular = stat.S_ISREG(os.fstat(self._fd).st_mode)
                if regular and not self._regular:
                    os.close(self._fd)
                    raise OSError(errno.ENXIO, "it is no regular file")
            else:
                self.path = "standard output"
                sys.stdout.flush()
                self._fd = sys.stdout.fileno()
            if self._regular and not append:
                os.ftruncate(self._fd, 0)
            self._start = os.lseek(self._fd, 0, os.SEEK_END) if self._regular else 0
        except OSError as error:
            raise output_error(self.path, "open for writing", error) from error
        self._end = self._start  # offset of the next byte
        self._whole = self._start  # offset behind the last whole line

    def write(self, lines: bytes | bytearray | memoryview) -> None:
        """Take whole lines, each ending in a newline; written at once or with later ones."""
        if self._broken is not None:
            raise self._broken
        if not len(lines):
            return
        if lines[-1] != 10:
            raise OutputError(f"{self.path}: refusing to write a line without its end")
        self._pending += lines
        if len(self._pending) >= BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand everything taken so far to the system."""
        if self._broken is not None:
            raise self._broken
        done = 0
        view = memoryview(self._pending)
        try:
            while done < len(view):
                try:
                    done += os.write(self._fd, view[done:])
                except BlockingIOError:  # a pipe that its owner made non-blocking
                    select.select([], [self._fd], [])
        except BaseException as error:
            # Ctrl-C may come between a write and its counting: the file knows better
            if self._regular:
                done = os.lseek(self._fd, 0, os.SEEK_CUR) - self._end
            self._count(done)
            if not isinstance(error, OSError):
                raise  # the next flush goes on in the middle of the line
            self._cut_back()
            self._broken = output_error(
                self.path, "write", error, f"; the {self.lines} whole lines before it are kept"
            )
            raise self._broken from error
        self._count(done)

    def close(self) -> None:
        """Flush and close. Raises OutputError if the last lines cannot be written."""
        if self._fd < 0:
            return
        try:
            if self._broken is None:
                self.flush()
        finally:
            fd, self._fd = self._fd, -1
            if self._owned:
                try:
                    os.close(fd)
                except OSError as error:  # NFS reports a full disk here
                    raise output_error(self.path, "close", error) from error

    def _count(self, done: int) -> None:
        """The first `done` pending bytes are written."""
        self.lines += self._pending.count(b"\n", 0, done)
        newline = self._pending.rfind(b"\n", 0, done)
        if newline >= 0:
            self._whole = self._end + newline + 1
        self._end += done
        self.bytes = self._whole - self._start
        self._pending = self._pending[done:]  # a new one: a view may look at the old

    def _cut_back(self) -> None:
        """Best effort: a pipe cannot be cut, and the write's own error says more."""
        self._pending = bytearray()
        if self._regular:
            try:
                os.ftruncate(self._fd, self._whole)
                os.lseek(self._fd, self._whole, os.SEEK_SET)
            except OSError:
                pass

    def __enter__(self) -> EveFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except OutputError:
            if error is None:
                raise
