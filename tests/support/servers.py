"""HTTP servers that take a PUT, or do not, in every way there is. Real sockets on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """What it was asked, and where it is."""

    http: ThreadingHTTPServer
    port: int
    seen: list[Seen] = field(default_factory=list)

    def url(self, path: str = "/r.tar.gz", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


Answer = Callable[[BaseHTTPRequestHandler, Server], None]


def answer(status: int, text: str = "", **headers: str) -> Answer:
    """Take the body, then say this."""

    def act(handler: BaseHTTPRequestHandler, server: Server) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        server.seen.append(Seen(handler.path, dict(handler.headers.items()), body))
        reply(handler, status, text, **headers)

    return act


def reply(handler: BaseHTTPRequestHandler, status: int, text: str = "", **headers: str) -> None:
    handler.send_response(status)
    for key, value in headers.items():
        handler.send_header(key, value)
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text.encode())


def refuse_early(handler: BaseHTTPRequestHandler, server: Server) -> None:
    """Answer without taking the body, and close."""
    server.seen.append(Seen(handler.path, dict(handler.headers.items()), b""))
    reply(handler, 403, "not here")
    handler.close_connection = True


def hang(handler: BaseHTTPRequestHandler, server: Server) -> None:
    """Take everything, and never answer."""
    body = handler.rfile.read(int(handler.headers["Content-Length"]))
    server.seen.append(Seen(handler.path, dict(handler.headers.items()), body))
    with contextlib.suppress(OSError):
        handler.connection.recv(1)


def cut(handler: BaseHTTPRequestHandler, server: Server) -> None:
    """Take some of the body, then break the connection off."""
    body = handler.rfile.read(1000)
    server.seen.append(Seen(handler.path, dict(handler.headers.items()), body))
    linger = b"\1\0\0\0\0\0\0\0"  # reset, not an orderly end
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def slow(handler: BaseHTTPRequestHandler, server: Server) -> None:
    """Take the body a little at a time."""
    left = int(handler.headers["Content-Length"])
    body = b""
    while left:
        part = handler.rfile.read(min(left, 100_000))
        left -= len(part)
        body += part
        time.sleep(0.02)
    server.seen.append(Seen(handler.path, dict(handler.headers.items()), body))
    reply(handler, 201)


def drip(handler: BaseHTTPRequestHandler, server: Server) -> None:
    """Answer a byte at a time, for ever."""
    handler.rfile.read(int(handler.headers["Content-Length"]))
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)


@contextlib.contextmanager
def serve(*answers: Answer) -> Iterator[Server]:
    """Answers in turn; the last one for ever."""
    waiting = list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            act = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            act(self, server)

        def do_GET(self) -> None:
            self.headers["Content-Length"] = self.headers.get("Content-Length", "0")
            self.do_PUT()

        def log_message(self, *arguments: object) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *arguments: object) -> None:
            """Clients that go away are what is tested."""

    http = Quiet(("127.0.0.1", 0), Handler)
    server = Server(http, http.server_address[1])
    thread = threading.Thread(
        target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
