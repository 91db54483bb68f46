"""Who is notified, for tests: a web server and syslog receivers that do as they are told."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PATIENCE_S = 40.0


def patience(true: Callable[[], Any], what: str) -> Any:
    """What `true` gives, once it is true."""
    end = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)
    return found


class Hook:
    """A web server. `answers`: statuses of the next requests, 204 after them; "hang": none."""

    def __init__(self, port: int = 0, location: str = "") -> None:
        self.answers: list[int | str] = []
        self.requests: list[tuple[int | str, dict[str, str], bytes]] = []
        self.over = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = hook.answers.pop(0) if hook.answers else 204
                headers = {key.lower(): value for key, value in self.headers.items()}
                hook.requests.append((answer, headers, body))
                if isinstance(answer, str):
                    hook.over.wait(PATIENCE_S)
                    return
                self.send_response(answer)
                if 300 <= answer < 400:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/told"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Hook:
        return self

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def taken(self) -> list[dict[str, Any]]:
        """The bodies that were answered with success, in their order."""
        return [json.loads(body) for answer, _, body in self.requests if answer == 204]

    def outcomes(self) -> list[str]:
        return [one["data"]["outcome"] for one in self.taken() if "outcome" in one["data"]]


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return int(end.getsockname()[1])


class Receiver:
    """A syslog receiver: udp, tcp, unix. What it got, whole messages."""

    def __init__(self, kind: str, path: Path | None = None, port: int = 0) -> None:
        self.kind = kind
        self.messages: list[bytes] = []
        if kind == "unix":
            self.end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.end.bind(str(path))
            self.place = f"unix://{path}"
        else:
            sort = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
            self.end = socket.socket(socket.AF_INET, sort)
            self.end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.end.bind(("127.0.0.1", port))
            self.place = f"{kind}://127.0.0.1:{self.end.getsockname()[1]}"
        if kind == "tcp":
            self.end.listen()
        self.clients: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                if self.kind != "tcp":
                    self.messages.append(self.end.recv(65536))
                    continue
                client, _ = self.end.accept()
                self.clients.append(client)
                threading.Thread(target=self._stream, args=(client,), daemon=True).start()

    def _stream(self, client: socket.socket) -> None:
        """RFC 6587, 3.4.1: octet counting."""
        with suppress(OSError), client.makefile("rb") as file:
            while True:
                length = b""
                while (one := file.read(1)) != b" ":
                    if not one:
                        return
                    length += one
                self.messages.append(file.read(int(length)))

    def close(self) -> None:
        """Nobody receives any more; connections are closed."""
        for one in (self.end, *self.clients):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


_MESSAGE = re.compile(
    r"<(?P<pri>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (?P<host>[!-~]{1,255}) "
    r"(?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
    r'\[(?P<data>[!-<>-\\^-~]{1,32}(?: [!-~]+="(?:[^"\\\]]|\\["\\\]])*")*)\] (?P<text>.*)\Z',
    re.S,
)


def parsed(message: bytes) -> dict[str, Any]:
    """A message by the grammar of RFC 5424, 6: its parts, and `params` of its structured data."""
    found = _MESSAGE.match(message.decode())
    assert found, message
    params = re.findall(r'([!-~]+?)="((?:[^"\\\]]|\\["\\\]])*)"', found["data"])
    return {
        **found.groupdict(),
        "params": {key: re.sub(r'\\(["\\\]])', r"\1", value) for key, value in params},
    }
