"""A port whose supervisor was killed goes on alone; the next supervisor in its directory ends it.

A port holds a lock (flock) on `port.lock` while it runs, with its process id in it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import signal
from pathlib import Path
from typing import Any

LOCK = "port.lock"
TERM_S, KILL_S = 5.0, 5.0  # for it to end when asked to, and when killed
log = logging.getLogger(__name__)


def hold(path: str) -> int | None:
    """Hold the lock from here on; its descriptor. None, on the log, when that cannot be: traffic is
    not kept waiting for it."""
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        log.warning("%s: no lock: %s", path, error.strerror)
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(number, 0)
        os.pwrite(number, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        log.warning("%s: no lock: %s", path, error.strerror)
    return number


def holder(path: str | os.PathLike[str]) -> int | None:
    """The process id in a lock that is held; 0: it is held, and by whom cannot be said."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.pread(number, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    except OSError:
        return None
    finally:
        os.close(number)
    return None


def end(path: Path) -> tuple[str, dict[str, Any]] | None:
    """End the port that holds the lock: in order, or else killed. What happened to it (event and
    evidence), or None when there is none. Waits for it."""
    pid = holder(path)
    if pid is None:
        return None
    try:
        process = os.pidfd_open(pid) if pid else -1
    except OSError:
        process = -1
    if process < 0 or not _is_port(pid, path):  # looked at after it cannot become another
        if process >= 0:
            os.close(process)
        if holder(path) is None:  # it has just ended by itself
            return None
        return "orphaned port remains", {"pid": pid, "why": f"whoever holds {path} is no port"}
    try:
        for number, seconds in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            try:
                signal.pidfd_send_signal(process, number)
            except ProcessLookupError:
                pass  # it has ended; that is seen below
            except PermissionError as error:
                return "orphaned port remains", {"pid": pid, "why": str(error.strerror)}
            if select.select([process], [], [], seconds)[0]:
                return "orphaned port ended", {"pid": pid, "signal": number.name}
    finally:
        os.close(process)
    return "orphaned port remains", {"pid": pid, "why": "it was killed and does not end"}


def _is_port(pid: int, path: Path) -> bool:
    """Whether it is the port that was told of this lock."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        at = arguments.index(b"nsdata.appliance")
        role, plan = arguments[at + 1 : at + 3]
        return role == b"port" and json.loads(plan).get("lock") == str(path)
    except (OSError, ValueError):
        return False
