"""A wire between agent and manager that can be cut, for tests: TCP, byte for byte."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Wire:
    """Passes on what comes at `port` to `to`. `cut_after_request`: the request gets through, and
    the connection ends before the answer does, so many times."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.cut_after_request = 0
        self.cuts = 0
        self._end = socket.create_server(("127.0.0.1", 0))
        self.port = self._end.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._end.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.to))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
                for pair, answers in (((client, server), False), ((server, client), True)):
                    threading.Thread(target=self._pump, args=(*pair, answers), daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket, answers: bool) -> None:
        seen = 0
        with suppress(OSError):
            while data := source.recv(65536):
                seen += len(data)
                # The handshake's answers are larger than this; then come those of requests.
                if answers and self.cut_after_request > 0 and seen > 3000:
                    self.cut_after_request -= 1
                    self.cuts += 1
                    break
                to.sendall(data)
        for end in (source, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self._open.discard(end)

    def cut(self) -> None:
        """Every connection that is open."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """No more."""
        self._end.close()
        self.cut()
