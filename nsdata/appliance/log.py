"""The log of an appliance: one record a line, of all its processes, JSON or text.

    {"time": …, "level": "warning", "process": "supervisor", "event": "crash",
     "subject": "worker-0", "message": …, "evidence": {…}}

Whoever logs does not wait: a thread writes, and with QUEUE records waiting the next are counted as
lost. Every line is one write, so lines of several processes do not mix. Only the supervisor
rotates the file; the others notice. A traceback is a member of its record.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import queue
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nsdata.appliance.monitoring.settings import LogSettings


QUEUE = 1000  # records on their way to the file
CLOSE_S = 1.0  # for what waits, at the end
NAME = "appliance.log"
MEMBERS = ("event", "subject", "evidence")


def utc_text(at_ns: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 has it, to the microsecond."""
    seconds, ns = divmod(at_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1000:06d}Z"


class Formatter(logging.Formatter):
    """A record as one line."""

    def __init__(self, process: str, kind: str) -> None:
        super().__init__()
        self.process, self.kind = process, kind

    def format(self, record: logging.LogRecord) -> str:
        """JSON, or text for people."""
        members = {key: getattr(record, key) for key in MEMBERS if hasattr(record, key)}
        told: dict[str, Any] = {
            "time": utc_text(int(record.created * 1e9)),
            "level": record.levelname.lower(),
            "process": self.process,
            "event": record.name,
            **members,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        if self.kind == "json":
            return json.dumps(told, default=str)
        return _text(told)


def _text(told: dict[str, Any]) -> str:
    line = "{time} {level:8} {process}: {message}".format(**told)
    if told.get("evidence"):
        line += " " + json.dumps(told["evidence"], default=str)
    if told.get("traceback"):
        line += " traceback=" + json.dumps(told["traceback"])
    return "".join(c if c.isprintable() else "?" for c in line)


class _Queue(logging.handlers.QueueHandler):
    """Never waits; counts what finds no room."""

    lost = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.lost += 1


class _Listener(logging.handlers.QueueListener):
    def __init__(self, waiting: queue.Queue[Any], to: logging.Handler) -> None:
        super().__init__(waiting, to)
        self._waiting = waiting

    def enqueue_sentinel(self) -> None:
        """Behind all that waits: a full queue is no reason not to end."""
        self._waiting.put(None)


class _Watched(logging.handlers.WatchedFileHandler):
    """Another process's. Twice too large, the file has nobody who rotates it: nothing more."""

    def __init__(self, path: str, most: int) -> None:
        self.most = most
        super().__init__(path, encoding="utf-8", delay=True)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if os.stat(self.baseFilename).st_size > 2 * self.most:
                return
        except OSError:
            pass  # between two files; emit makes one
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)  # there is no room for a file


def to_file(settings: LogSettings, environ: Mapping[str, str], stderr: int = 2) -> bool:
    """Whether a file is written; else standard error, which under systemd is the journal."""
    if settings.to != "auto":
        return settings.to == "file"
    try:
        found = os.fstat(stderr)
    except OSError:
        return True
    return environ.get("JOURNAL_STREAM") != f"{found.st_dev}:{found.st_ino}"


def log_plan(settings: LogSettings, directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What a process has to know to log; JSON-ready."""
    path = str(Path(directory) / NAME) if to_file(settings, os.environ) else None
    return {
        "format": settings.format, "level": settings.level, "path": path,
        "max_bytes": settings.max_size, "keep": settings.keep,
    }  # fmt: skip


@contextmanager
def logging_as(process: str, plan: dict[str, Any], *, rotates: bool = False) -> Iterator[None]:
    """Log as this process from here on, uncaught exceptions and warnings too."""
    to: logging.Handler
    if plan["path"] is None:
        to = logging.StreamHandler()
    elif rotates:
        to = logging.handlers.RotatingFileHandler(
            plan["path"], maxBytes=plan["max_bytes"], backupCount=plan["keep"], encoding="utf-8",
            delay=True,  # a disk without room for a file is no reason not to run
        )  # fmt: skip
    else:
        to = _Watched(plan["path"], plan["max_bytes"])
    waiting: queue.Queue[Any] = queue.Queue(QUEUE)
    handler = _Queue(waiting)
    handler.setFormatter(Formatter(process, plan["format"]))
    listener = _Listener(waiting, to)
    root = logging.getLogger()
    root.setLevel(plan["level"].upper())
    root.addHandler(handler)
    logging.raiseExceptions = False  # a full disk is no reason to write about it elsewhere
    logging.captureWarnings(True)
    before = sys.excepthook, threading.excepthook
    sys.excepthook, threading.excepthook = _uncaught, _uncaught_in_thread
    listener.start()
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = before
        root.removeHandler(handler)
        if handler.lost:
            handler.emit(_lost(handler.lost))

        def end() -> None:
            listener.stop()
            with suppress(OSError):  # it cannot be written: said nowhere else
                to.close()

        ending = threading.Thread(target=end, daemon=True)
        ending.start()
        ending.join(CLOSE_S)  # a file that hangs is not waited for


def _lost(number: int) -> logging.LogRecord:
    return logging.makeLogRecord({
        "name": __name__, "levelno": logging.WARNING, "levelname": "WARNING",
        "msg": f"{number} records were lost", "event": "records lost",
    })  # fmt: skip


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    logging.getLogger("uncaught").critical(
        "%s: %s", kind.__name__, error, exc_info=(kind, error, traceback)
    )


def _uncaught_in_thread(about: threading.ExceptHookArgs) -> None:
    if about.exc_value is not None:
        _uncaught(about.exc_type, about.exc_value, about.exc_traceback)


def stderr_file(plan: dict[str, Any], directory: str | os.PathLike[str]) -> IO[bytes]:
    """Where processes say what they cannot log (an interpreter that crashes): `stderr.log`, or
    the standard error that there is. Begun anew when it has grown past the log's size."""
    if plan["path"] is None:
        return os.fdopen(os.dup(2), "wb", buffering=0)
    path = Path(directory) / "stderr.log"
    try:
        large = path.exists() and path.stat().st_size > plan["max_bytes"]
        return open(path, "wb" if large else "ab", buffering=0)
    except OSError:  # no room for a file
        return os.fdopen(os.dup(2), "wb", buffering=0)
