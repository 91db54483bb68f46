"""A file by HTTP PUT, streamed; again when that fails in a way that may pass.

    PUT ─► 2xx: done
           307, 308 on the same host: the same there, at most `REDIRECTS` times
           5xx, no connection, no answer: again, later
           anything else: an error

No other host is ever spoken to, so nothing but the location's own server sees the report.
"""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from nsdata.errors import NsdataError, SettingError
from nsdata.support.connection import NotConnected, NotTrusted, Pinned, Ways, connect, said
from nsdata.support.url import ACL, Location, redirected

CHUNK = 1 << 16  # bytes sent at a time
ANSWER = 2048  # bytes of an answer that are read
REDIRECTS = 3
FOLLOWED = (307, 308)  # the only ones that say: the same request there


class UploadError(NsdataError):
    """A report that could not be sent. `status`: of the last answer, or None."""

    def __init__(self, message: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(message)


class Cancelled(NsdataError):
    """Somebody does not want it any more."""


class _Again(NsdataError):
    """An attempt that failed and may be tried again."""

    def __init__(self, why: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class UploadPolicy:
    """How long to try. Times in seconds."""

    ways: Ways = field(default_factory=Ways)
    attempt_s: float = 1800.0  # of one attempt
    attempts: int = 5
    back_off_s: float = 1.0  # before the second attempt; doubles


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of it. url: where it went, without its query."""

    status: int
    url: str
    address: str
    attempts: int


class Upload:
    """One report on its way. progress: told the bytes sent, and all; wait(seconds): sleeps. Both
    may raise Cancelled."""

    def __init__(
        self,
        policy: UploadPolicy,
        progress: Callable[[int, int], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.policy = policy
        self.progress = progress
        self.wait = wait
        self.attempt = 0
        self.failures: list[str] = []  # of attempts so far

    def send(self, path: str | os.PathLike[str], location: Location) -> Sent:
        """PUT the file there. Raises UploadError, AddressRefused, SettingError, Cancelled."""
        policy = self.policy
        while True:
            self.attempt += 1
            try:
                return self._attempt(Path(path), location)
            except _Again as error:
                self.failures.append(str(error))
                if self.attempt >= policy.attempts:
                    times = f"{self.attempt} times" if self.attempt > 1 else "once"
                    told = f"{location.shown} did not take it (tried {times}): {error}"
                    raise UploadError(told, error.status) from error
            self.wait(policy.back_off_s * 2 ** (self.attempt - 1))

    def _attempt(self, path: Path, location: Location) -> Sent:
        to = location
        for _ in range(REDIRECTS + 1):
            try:
                connection = connect(to, self.policy.ways)
            except NotConnected as error:
                raise _Again(str(error)) from error
            except NotTrusted as error:
                raise UploadError(str(error)) from error
            try:
                status, more = self._exchange(connection, path, to)
            finally:
                connection.close()
            if 200 <= status < 300:
                return Sent(status, to.shown, str(connection.address), self.attempt)
            told = f"HTTP {status} {more}".rstrip()
            if status >= 500:
                raise _Again(told, status)
            if status not in FOLLOWED or not more:
                raise UploadError(f"{to.shown} refused it: {told}", status)
            try:
                to = redirected(to, more)
            except SettingError as error:
                raise UploadError(f"{to.shown}: {error}", status) from error
        raise UploadError(f"{location.shown} redirects more than {REDIRECTS} times")

    def _exchange(self, connection: Pinned, path: Path, to: Location) -> tuple[int, str]:
        """One request within its time: status, and where a redirect leads or what an error says."""
        end, late = connection.sock, threading.Event()

        def too_late() -> None:  # a server that sends a byte now and then runs into no time-out
            late.set()
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is closed already
                return

        timer = threading.Timer(self.policy.attempt_s, too_late)
        timer.daemon = True
        timer.start()
        try:
            with open(path, "rb") as file:
                broken = self._send(connection, to, file)
            try:
                answer = connection.getresponse()
                text = answer.read(ANSWER)
            except (OSError, http.client.HTTPException) as error:
                limit = f"it took longer than {self.policy.attempt_s:g} s"
                why = limit if late.is_set() else said(broken or error)
                raise _Again(f"no answer of {to.host}: {why}") from error
        finally:
            timer.cancel()
        if answer.status in FOLLOWED:
            return answer.status, answer.getheader("Location") or ""
        return answer.status, _line(text)

    def _send(self, connection: Pinned, to: Location, file: BinaryIO) -> OSError | None:
        """Head and body. What broke it off, if anything: the server may have answered before."""
        size = os.fstat(file.fileno()).st_size
        headers = {
            "Host": to.authority,
            "User-Agent": "nsdata",
            "Content-Type": "application/gzip",
            "Content-Length": str(size),
            "Connection": "close",
            **({ACL: to.acl} if to.acl else {}),
        }
        sent = 0
        try:
            connection.putrequest("PUT", to.target, skip_host=True, skip_accept_encoding=True)
            for key, value in headers.items():
                connection.putheader(key, value)
            connection.endheaders()
            self.progress(0, size)
            for chunk in _chunks(file, size):
                connection.send(chunk)
                sent += len(chunk)
                self.progress(sent, size)
        except TimeoutError as error:
            raise _Again(f"{to.host} takes no more: {said(error)}") from error
        except OSError as error:
            return error
        return None


def _chunks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes, as was announced."""
    while size:
        chunk = file.read(min(CHUNK, size))
        if not chunk:
            raise UploadError(f"{file.name}: became shorter while it was sent")
        size -= len(chunk)
        yield chunk


def _line(text: bytes) -> str:
    """What a server says of an error, for a message: one line, printable."""
    words = " ".join(text.decode("utf-8", "replace").split())
    return "".join(c for c in words if c.isprintable())[:200]
