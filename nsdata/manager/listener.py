"""What both listeners have in common: a socket, TLS, a server in an event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nsdata.errors import EngineError
from nsdata.manager.door import Door, Guest
from nsdata.manager.settings import Address

PEER = "nsdata.peer"  # in the scope: the client's certificate (DER)
BACKLOG = 2048
STOP_S = 5  # for requests that are under way
CLOSE_S = 0.2  # for a client to hear of the end of its connection
KEEP_ALIVE_S = 30
_BETWEEN, _HEADER, _BODY = range(3)  # what is being read
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n"


class PromptProtocol(HttpToolsProtocol):
    """HTTP whose connections end when nothing comes of them: no header, no body, too much header;
    and whose idle ones end soon when the listener does. The end of TLS waits for the client to
    agree; one that sleeps between two requests does not."""

    def __init__(self, *given: Any, door: Door, **more: Any) -> None:
        super().__init__(*given, **more)
        self.door = door
        self.guest: Guest | None = None
        self._stage = _BETWEEN
        self._header_bytes = self._body_bytes = 0
        self._began_s = self._moved_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The time for the first header runs."""
        super().connection_made(transport)
        self.guest = self.door.guest(transport.get_extra_info("peername"))
        self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """No more time runs."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece. What it leaves undone has its time."""
        if self.transport.is_closing():
            return
        self._moved_s = self.loop.time()
        if self._stage != _BODY:
            self._header_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._stop_waiting()
        elif self._stage == _BODY:
            if self._timer is None:
                self._timer = self.loop.call_later(self.door.limits.body_s, self._look_at_body)
        elif self._stage == _HEADER or self.cycle is None or self.cycle.response_complete:
            if self._header_bytes > self.door.limits.header_most:
                self.transport.write(TOO_LARGE)
                self.transport.close()
            elif self._timer is None:
                self._wait_for_header()

    def on_message_begin(self) -> None:
        """A header has begun."""
        super().on_message_begin()
        self._stage = _HEADER

    def on_headers_complete(self) -> None:
        """A body, if any, follows."""
        self._stop_waiting()
        self._stage = _BODY
        self._header_bytes = self._body_bytes = 0
        self._began_s = self.loop.time()
        if self.guest is not None:
            self.guest.busy = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of it."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """All is there."""
        self._stop_waiting()
        self._stage = _BETWEEN
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It waits for the next request, unless that is there."""
        super().on_response_complete()
        if self.guest is not None and self.cycle.response_complete:
            self.guest.busy = self.door.limits.known_are_free

    def _wait_for_header(self) -> None:
        self._timer = self.loop.call_later(self.door.limits.header_s, self.transport.abort)

    def _look_at_body(self) -> None:
        """End it when nothing came for too long, or too little; time in which we did not read is
        ours."""
        limits, now = self.door.limits, self.loop.time()
        if self.flow.read_paused:
            self._moved_s = now
        enough = self._began_s + limits.body_s + self._body_bytes / limits.body_least
        left = min(self._moved_s + limits.body_s, enough) - now
        if left <= 0 and not self.flow.read_paused:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(max(left, 0.1), self._look_at_body)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def shutdown(self) -> None:
        """End when what is under way is answered."""
        super().shutdown()
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(CLOSE_S, self.transport.abort)


class PeerProtocol(PromptProtocol):
    """HTTP whose requests say which certificate the client has shown."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the connection once, for all of its requests."""
        super().connection_made(transport)
        if self.guest is not None:
            self.door.known(self.guest)
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls else None
        inner = cast(ASGIApp, self.app)

        async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
            scope[PEER] = der
            await inner(scope, receive, send)

        self.app = cast(Any, with_peer)


class Server(uvicorn.Server):
    """Behind a door. Signals are for the process, whatever it serves."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self.door = door

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until it is to end."""
        await super().serve([self.door])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. uvicorn has no setting for how long a handshake and the end of TLS may last."""
        loop: Any = asyncio.get_running_loop()
        loop.create_server = partial(
            loop.create_server,
            ssl_handshake_timeout=self.door.limits.handshake_s,
            ssl_shutdown_timeout=STOP_S,
        )
        try:
            await super().startup(sockets)
        finally:
            del loop.create_server

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


def listen(address: Address) -> socket.socket:
    """Bound, not listening yet. Raises EngineError."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    end = socket.socket(family, socket.SOCK_STREAM)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        end.bind((address.host, address.port))
    except OSError as error:
        end.close()
        raise EngineError(f"{address}: cannot listen: {error.strerror or error}") from error
    end.set_inheritable(False)
    return end


def make_server(app: Any, certificate: Path, key: Path, door: Door, **more: Any) -> Server:
    """For this app, over TLS 1.2 and later, behind this door."""
    protocol = partial(PeerProtocol if door.limits.known_are_free else PromptProtocol, door=door)
    config = uvicorn.Config(
        app,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
        http=cast(Any, protocol),
        **more,
    )
    config.load()
    assert config.ssl is not None
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return Server(config, door)
