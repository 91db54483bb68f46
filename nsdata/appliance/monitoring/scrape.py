"""The HTTP server of `/metrics`: text or OpenMetrics, gzip, a bearer token; nobody can hold it up.

A connection has DEADLINE_S all in all, however slowly it asks or takes the answer. With MOST of
them open the oldest makes room for the next: slow clients get in each other's way, not in that of
a scraper. Line and header lengths are limited by `http.server` (64 KiB a line, 100 headers).
"""

from __future__ import annotations

import hmac
import socket
import socketserver
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler

DEADLINE_S = 10.0  # of a connection; Prometheus' own usual one
MOST = 16  # connections
PATH = "/metrics"
LOOK_S = 0.25  # between two looks for connections past their deadline


class _Handler(MetricsHandler):
    server: MetricsServer
    timeout = DEADLINE_S
    server_version, sys_version = "nsdata", ""

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != PATH:
            self._refuse(HTTPStatus.NOT_FOUND)
        elif not self._permitted():
            self._refuse(HTTPStatus.UNAUTHORIZED)
        else:
            self.server.scrapes += 1
            super().do_GET()

    def _permitted(self) -> bool:
        token = self.server.token
        if token is None:
            return True
        scheme, _, shown = self.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode("latin-1", "replace"), token)
        return scheme.lower() == "bearer" and right

    def _refuse(self, status: HTTPStatus) -> None:
        self.server.refused += 1
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.send_header("Content-Length", "0")
        self.end_headers()


class MetricsServer(ThreadingHTTPServer):
    """Serves `registry` at (host, port), from `start` on. Raises OSError. token: None asks for
    none."""

    daemon_threads = True
    block_on_close = False  # a client that hangs is not waited for
    request_queue_size = MOST

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, token: bytes | None = None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.token = token
        self.scrapes = self.refused = self.evicted = 0
        self._open: dict[socket.socket, float] = {}  # oldest first: since when
        self._lock = threading.Lock()
        super().__init__((host, port), _Handler.factory(registry))

    def server_bind(self) -> None:
        """Bind, without asking the name service who this is."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    @property
    def port(self) -> int:
        """The one it has, where 0 was asked for."""
        return int(self.server_port)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    def start(self) -> None:
        """Serve, in threads of its own."""
        threading.Thread(
            target=self.serve_forever, args=(LOOK_S,), name="metrics", daemon=True
        ).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """A connection has come."""
        with self._lock:
            if len(self._open) >= MOST:
                self._end(next(iter(self._open)))
            self._open[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Those past their deadline end."""
        limit = time.monotonic() - DEADLINE_S
        with self._lock:
            for request in [one for one, since in self._open.items() if since < limit]:
                self._end(request)

    def _end(self, request: socket.socket) -> None:
        self.evicted += 1
        del self._open[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)  # its thread wakes up, and closes it

    def shutdown_request(self, request: Any) -> None:
        """A connection has ended."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; what else failed is its answer's concern."""

    def stop(self) -> None:
        """No more connections."""
        self.shutdown()
        self.server_close()
