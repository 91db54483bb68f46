"""What both listeners have in common: a socket, TLS, a server in an event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nsdata.errors import EngineError
from nsdata.manager.settings import Address

PEER = "nsdata.peer"  # in the scope: the client's certificate (DER)
BACKLOG = 2048
STOP_S = 5  # for requests that are under way
CLOSE_S = 0.2  # for a client to hear of the end of its connection
KEEP_ALIVE_S = 30


class PromptProtocol(HttpToolsProtocol):
    """HTTP whose idle connections end soon when the listener does. The end of TLS waits for the
    client to agree; one that sleeps between two requests does not."""

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
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls else None
        inner = cast(ASGIApp, self.app)

        async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
            scope[PEER] = der
            await inner(scope, receive, send)

        self.app = cast(Any, with_peer)


class Server(uvicorn.Server):
    """Signals are for the process, whatever it serves."""

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


def make_server(app: Any, certificate: Path, key: Path, **more: Any) -> Server:
    """For this app, over TLS 1.2 and later."""
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
        **{"http": PromptProtocol, **more},
    )
    config.load()
    assert config.ssl is not None
    config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return Server(config)
