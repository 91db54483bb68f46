"""Signs of life to systemd (sd_notify): ready, watchdog, stopping. Nothing where it is not used."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notify:
    """`environ` names the socket (NOTIFY_SOCKET) and the watchdog's time (WATCHDOG_USEC)."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        path = environ.get("NOTIFY_SOCKET", "")
        self._path = "\0" + path[1:] if path.startswith("@") else path
        usec = environ.get("WATCHDOG_USEC", "")
        self.interval_ns = int(usec) * 1000 // 3 if usec.isdigit() else 0
        self._due_ns = 0
        self._end: socket.socket | None = None
        if self._path:
            self._end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._end.setblocking(False)

    def tell(self, text: str) -> None:
        """One message, such as `READY=1`; what cannot be told is not."""
        if self._end is None:
            return
        try:
            self._end.sendto(text.encode(), self._path)
        except OSError:  # systemd may be restarting, its queue full: the next one counts
            return

    def alive(self, now_ns: int) -> None:
        """A sign of life, three in the time the watchdog waits."""
        if self.interval_ns and now_ns >= self._due_ns:
            self._due_ns = now_ns + self.interval_ns
            self.tell("WATCHDOG=1")

    def close(self) -> None:
        """Nothing more will be told."""
        if self._end is not None:
            self._end.close()
            self._end = None
