"""Two listeners in one event loop: people's over TLS, agents' over mutual TLS."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nsdata.errors import EngineError
from nsdata.manager.api.agents import PEER, make_agent_app
from nsdata.manager.api.app import make_app
from nsdata.manager.ca import check_pair
from nsdata.manager.pages import mount
from nsdata.manager.service import Service
from nsdata.manager.settings import Address

BACKLOG = 2048
STOP_S = 5  # for requests that are under way
KEEP_ALIVE_S = 30
log = logging.getLogger(__name__)


class PeerProtocol(HttpToolsProtocol):
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


class _Server(uvicorn.Server):
    """Signals are for the manager, which has two of these."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield


class Manager:
    """The running manager. Raises NsdataError when it cannot listen."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        settings = service.settings
        service.hold()
        self._sockets = [_listen(settings.listen), _listen(settings.agents)]
        ports = [end.getsockname()[1] for end in self._sockets]
        name = settings.names[0]
        host = f"[{name}]" if ":" in name else name
        service.url = f"https://{host}:{ports[0]}"
        service.enrolments.agents_url = f"https://{host}:{ports[1]}"
        own = service.authority.server(settings.names)
        people = own
        if settings.certificate and settings.key:
            people = Path(settings.certificate), Path(settings.key)
            check_pair(*people)
        pages = make_app(service)
        mount(pages)
        self._servers = [
            _server(pages, *people),
            _server(
                make_agent_app(service),
                *own,
                http=PeerProtocol,
                ssl_ca_certs=str(service.authority.certificate_file),
                ssl_cert_reqs=ssl.CERT_REQUIRED,
            ),
        ]
        for server in self._servers:
            context = server.config.ssl
            assert context is not None
            context.minimum_version = ssl.TLSVersion.TLSv1_2

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Until SIGTERM or Ctrl-C. `ready` is called when both listeners are open."""
        self.service.ingest.start()
        try:
            asyncio.run(self._serve(ready))
        finally:
            self.service.ingest.stop()
            self.service.close()

    async def _serve(self, ready: Callable[[], None] | None) -> None:
        self._loop = loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        serving = [
            asyncio.create_task(server.serve([end]))
            for server, end in zip(self._servers, self._sockets, strict=True)
        ]
        keeping = asyncio.create_task(self._keep())
        while not all(server.started for server in self._servers):
            if any(task.done() for task in serving):
                break
            await asyncio.sleep(0.01)
        if ready is not None:
            ready()
        try:
            await asyncio.gather(*serving)
        finally:
            keeping.cancel()

    async def _keep(self) -> None:
        """What is to be done now and then."""
        from nsdata.manager.upkeep import EVERY_S, tidy

        while True:
            try:
                await asyncio.to_thread(tidy, self.service.database)
                await asyncio.to_thread(self.service.reports.tidy)
            except Exception as error:
                log.error("upkeep: %s", error)
            await asyncio.sleep(EVERY_S)

    def stop_from_outside(self) -> None:
        """The same, from another thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Answer what is under way, and end."""
        for server in self._servers:
            server.should_exit = True


def _listen(address: Address) -> socket.socket:
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


def _server(app: Any, certificate: Path, key: Path, **more: Any) -> _Server:
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
        **{"http": "httptools", **more},
    )
    config.load()
    return _Server(config)
