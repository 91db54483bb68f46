"""The writer's process: the lines of all others into the EVE file, whole ones only.

A line that was torn by a death in the middle of a write is cut off at the next start. A disk that
is full, or something else than a regular file at its path, is reported and tried again: what comes
meanwhile waits, and what finds no room is counted as lost. A file that was moved away or removed
(logrotate) is begun anew within a second.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from nsdata.appliance.channel import LARGEST, Message
from nsdata.appliance.child import BEAT_NS, Child
from nsdata.errors import OutputError
from nsdata.output.eve_file import EveFile, output_error

FIGURES = ("lines", "bytes", "lines_lost", "failures", "torn_bytes")
RETRY_NS = 1_000_000_000
MOVED_NS = 1_000_000_000  # between two looks whether the file is still at its path
ROOM = 1 << 22  # bytes of lines that wait while nothing can be written
TAIL = 1 << 20  # bytes looked at for the end of the last whole line, at a time


def mend(path: str) -> int:
    """Cut a torn last line off; its bytes. Raises OutputError."""
    if path == "-" or not Path(path).is_file():
        return 0
    try:
        # Should another thing stand there by now, opening it does not block.
        with open(path, "r+b", opener=lambda name, how: os.open(name, how | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return 0
            size = whole = file.seek(0, os.SEEK_END)
            while whole:
                start = max(0, whole - TAIL)
                file.seek(start)
                newline = file.read(whole - start).rfind(b"\n")
                whole = start + newline + 1 if newline >= 0 else start
                if newline >= 0:
                    break
            if whole < size:
                file.truncate(whole)
    except OSError as error:
        raise output_error(path, "mend the last line of", error) from error
    return size - whole


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class WriterProcess:
    """The loop. `plan`: eve, the file."""

    def __init__(self, child: Child, plan: dict[str, Any]) -> None:
        self.child = child
        self.path = plan["eve"]
        self.ends: dict[int, socket.socket] = {}
        self.file: EveFile | None = None
        self.inode: tuple[int, int] | None = None
        self.lines = self.bytes = self.lost = self.failures = self.torn = 0
        self.retry_ns = self.moved_ns = 0
        self.waiting = bytearray()  # whole lines
        self.words = np.zeros(len(FIGURES), np.uint64)
        child.on("from", self._from)

    def _from(self, message: Message, descriptors: list[int]) -> None:
        end = socket.socket(fileno=descriptors[0])
        end.setblocking(False)
        self.ends[end.fileno()] = end

    def _open(self, now: int) -> None:
        if self.file is not None or now < self.retry_ns:
            return
        try:
            self.torn += mend(self.path)
            self.file = EveFile(self.path, append=True, regular=True)
            self.inode = _inode(self.path)
            if self.failures:
                self.child.tell("output", why="", lost=self.lost)
        except OutputError as error:
            self._failed(error, now)

    def _moved(self, now: int) -> None:
        """Close the file when another, or none, stands at its path."""
        if self.file is None or now < self.moved_ns:
            return
        self.moved_ns = now + MOVED_NS
        if _inode(self.path) != self.inode:
            moved, self.file = self.file, None
            with suppress(OutputError):  # all lines were flushed
                moved.close()

    def _failed(self, error: OutputError, now: int) -> None:
        self.failures += 1
        self.retry_ns = now + RETRY_NS
        self.child.tell("output", why=str(error), lost=self.lost)
        if self.file is not None:
            broken, self.file = self.file, None
            with suppress(OutputError):  # said above
                broken.close()

    def write(self, lines: bytes, now: int) -> None:
        """Write whole lines, or have them wait; the oldest beyond ROOM are lost, and counted."""
        if not lines.endswith(b"\n"):
            self.lost += lines.count(b"\n")
            return
        self.waiting += lines
        if (over := len(self.waiting) - ROOM) > 0:
            end = self.waiting.index(b"\n", over - 1) + 1
            self.lost += self.waiting.count(b"\n", 0, end)
            del self.waiting[:end]
        self.push(now)

    def push(self, now: int) -> None:
        """Write what waits, if that can be."""
        self._moved(now)
        self._open(now)
        if self.file is None or not self.waiting:
            return
        file, lines, size = self.file, self.file.lines, self.file.bytes
        try:
            file.write(self.waiting)
            file.flush()
        except OutputError as error:
            self._failed(error, now)
        self.lines += file.lines - lines
        self.bytes += file.bytes - size
        del self.waiting[: file.bytes - size]

    def take(self) -> bool:
        """Write what has come; whether anything had."""
        ready, _, _ = select.select(list(self.ends), [], [], 0)
        now = time.monotonic_ns()
        for number in ready:
            end = self.ends[number]
            try:
                data = end.recv(LARGEST)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                end.close()
                del self.ends[number]
            else:
                self.write(data, now)
        return bool(ready)

    def publish(self) -> None:
        """The counters."""
        self.words[:] = (self.lines, self.bytes, self.lost, self.failures, self.torn)
        self.child.page.publish(self.words)

    def loop(self) -> None:
        """Until it is told to stop or the supervisor is gone, and all has been written."""
        while True:
            self.child.listen()
            took = self.take()
            self.publish()
            if not took:
                if self.child.stopping or self.child.orphan:
                    break
                self.push(time.monotonic_ns())
                self.child.pause(BEAT_NS, *self.ends)
        self.retry_ns = 0  # the last that can be tried
        self.push(time.monotonic_ns())
        self.lost += self.waiting.count(b"\n")
        if self.file is not None:
            self.file.close()
        self.child.tell("stopped", lost=self.lost)


def run(child: Child, plan: dict[str, Any]) -> None:
    """Be the writer."""
    process = WriterProcess(child, plan)
    process._open(time.monotonic_ns())
    child.tell("ready")
    process.loop()
