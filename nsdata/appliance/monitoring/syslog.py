"""Notifications as syslog messages (RFC 5424) by UDP, TCP (octet counting, RFC 6587), or /dev/log.

Syslog has no answer: a message is delivered when the kernel took it. By TCP a connection that the
other side has closed is noticed before the next message; one that breaks just then may cost one.
"""

from __future__ import annotations

import json
import os
import select
import socket
from typing import Any

from nsdata.appliance.monitoring.notification import Failed, Notification
from nsdata.appliance.monitoring.settings import FACILITIES, Address, SyslogSettings, syslog_place
from nsdata.fallback.reasons import Severity

LEVELS = {Severity.CRITICAL: 2, Severity.WARNING: 4, Severity.INFO: 6}
DATA_ID = "nsdata@32473"  # 32473: the number set aside for examples (RFC 5612)
MOST = {"udp": 2048, "unix": 8192, "tcp": 8192}  # bytes; RFC 5424, 6.1: receivers should take 2048
TOLD = ("reason", "from", "to", "outcome", "trigger", "sequence", "level", "score", "event",
        "subject", "resolution")  # fmt: skip


def message(one: Notification, facility: str, host: str, most: int) -> bytes:
    """The message, at most `most` bytes: of the evidence what fits."""
    priority = FACILITIES.index(facility) * 8 + LEVELS[one.severity]
    params = {"id": one.id, "appliance": one.appliance, "severity": one.severity.value}
    params |= {key: str(one.told[key]) for key in TOLD if one.told.get(key) not in (None, "")}
    data = " ".join(f'{key}="{_escaped(value)}"' for key, value in params.items())
    head = (f"<{priority}>1 {one.when} {_token(host, 255)} nsdata {os.getpid()} "
            f"{one.kind.upper()} [{DATA_ID} {data}] {one.summary}")  # fmt: skip
    text = head.encode()
    evidence = one.told.get("evidence")
    if evidence:
        more = b" evidence=" + json.dumps(evidence, separators=(",", ":")).encode()
        if len(text) + len(more) > most:
            more = more[: max(0, most - len(text) - 3)] + b"..."
        text += more
    return text[:most]


def _escaped(value: str) -> str:
    for one in '\\"]':
        value = value.replace(one, "\\" + one)
    return "".join(c if c.isprintable() else "?" for c in value)


def _token(text: str, most: int) -> str:
    return "".join(c for c in text if 33 <= ord(c) <= 126)[:most] or "-"


class Syslog:
    """One receiver."""

    def __init__(self, settings: SyslogSettings) -> None:
        self.name = settings.to
        self._kind, self._where = syslog_place(settings.to)
        self._facility = settings.facility
        self._timeout_s = settings.timeout / 1e9
        self._end: socket.socket | None = None

    def deliver(self, one: Notification) -> str:
        """Send it. Raises Failed."""
        text = message(one, self._facility, socket.gethostname(), MOST[self._kind])
        try:
            end = self._connected()
            if self._kind == "tcp":
                end.sendall(b"%d %b" % (len(text), text))
            else:
                end.send(text)
        except (OSError, UnicodeError) as error:
            self.close()
            raise Failed(f"{self.name}: {_said(error)}") from error
        return f"{self.name}: {len(text)} bytes sent"

    def _connected(self) -> socket.socket:
        if self._end is not None and self._kind == "tcp" and _closed(self._end):
            self.close()
        if self._end is None:
            self._end = self._connect()
        return self._end

    def _connect(self) -> socket.socket:
        where = self._where
        if isinstance(where, Address) and self._kind == "tcp":
            return socket.create_connection(where, self._timeout_s)
        to: Any = where
        family = socket.AF_UNIX
        if isinstance(where, Address):
            found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM)
            family, to = found[0][0], found[0][4]
        end = socket.socket(family, socket.SOCK_DGRAM)
        try:
            end.settimeout(self._timeout_s)  # a receiver of /dev/log that hangs fills its queue
            end.connect(to)
        except OSError:
            end.close()
            raise
        return end

    def close(self) -> None:
        """Let go of the connection; the next message makes another."""
        if self._end is not None:
            self._end.close()
            self._end = None


def _closed(end: socket.socket) -> bool:
    """Whether the other side has closed a connection on which it has nothing to say."""
    ready, _, _ = select.select([end], [], [], 0)
    return bool(ready) and not end.recv(4096)


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
