"""Connections that nothing comes of, over real sockets: they end, and keep nobody out."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from agents import Simulated
from box import PATIENCE_S
from site_ import Site, wait
from starlette.types import Receive, Scope, Send

from nsdata.manager.ca import Authority
from nsdata.manager.door import Door, Limits
from nsdata.manager.listener import KEEP_ALIVE_S, Server, listen, make_server
from nsdata.manager.settings import Address

SOON = Limits(
    most=8, of_address=4, handshake_s=0.3, header_s=0.3, header_most=4096, body_s=0.3,
    body_least=1 << 20,
)  # fmt: skip
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers when the body is there."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        size, more = size + len(message["body"]), message["more_body"]
    body = b"%d" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(directory: Path, limits: Limits = SOON) -> Iterator[tuple[Server, Authority]]:
    authority = Authority(directory / "ca")
    door = Door(listen(Address(host="127.0.0.1", port=0)), limits, "test's")
    server = make_server(echo, *authority.server(["127.0.0.1"]), door)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        wait(lambda: server.started, "it listens")
        yield server, authority
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def connected(server: Server, authority: Authority, source: str = "127.0.0.1") -> Iterator[
    ssl.SSLSocket
]:  # fmt: skip
    context = ssl.create_default_context(cafile=str(authority.certificate_file))
    end = socket.create_connection(server.door.getsockname(), PATIENCE_S, (source, 0))
    with context.wrap_socket(end, server_hostname="127.0.0.1") as found:
        yield found


def bare(port: int, stack: ExitStack, source: str = "127.0.0.1") -> socket.socket:
    end = socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0))
    return stack.enter_context(end)


def heard(end: socket.socket) -> bytes:
    """All until it ends, which it does."""
    found = b""
    try:
        while data := end.recv(65536):
            found += data
    except TimeoutError:
        raise
    except OSError:  # it ended hard
        pass
    return found


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        REQUEST + b"GET",
    ],
    ids=["nothing", "half a header", "half a body", "half a second"],
)
def test_what_never_comes(tmp_path: Path, said: bytes) -> None:
    with serving(tmp_path) as site, connected(*site) as end:
        end.sendall(said)
        answer = heard(end)
        assert answer.startswith(b"HTTP/1.1 200") == said.startswith(REQUEST)


def test_a_line_after_an_answer(tmp_path: Path) -> None:
    with serving(tmp_path) as site, connected(*site) as end:
        end.settimeout(KEEP_ALIVE_S - 5)  # less than an idle connection is kept
        end.sendall(REQUEST)
        assert end.recv(1000).startswith(b"HTTP/1.1 200")
        end.sendall(b"\r\n")
        assert b"HTTP" not in heard(end)


def test_a_body_that_trickles(tmp_path: Path) -> None:
    with serving(tmp_path) as site, connected(*site) as end:
        end.settimeout(0.05)
        end.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n")
        for _ in range(2000):
            try:
                end.sendall(b"x")
                if end.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it goes on for ever")


def test_nobody_shakes_hands(tmp_path: Path) -> None:
    with serving(tmp_path) as (server, _), ExitStack() as stack:
        assert heard(bare(server.door.getsockname()[1], stack)) == b""


@pytest.mark.parametrize("line", [b"X: " + b"a" * 500_000, b"X: a\r\n" * 100_000])
def test_a_header_has_a_bound(tmp_path: Path, line: bytes) -> None:
    with serving(tmp_path) as site, connected(*site) as end:
        try:
            end.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + line)
        except OSError:
            return  # it hung up
        assert heard(end)[:12] in (b"", b"HTTP/1.1 431")


def test_who_speaks_gets_in_beside_those_who_do_not(tmp_path: Path) -> None:
    patient = Limits(most=8, of_address=4, handshake_s=60, header_s=60)
    with serving(tmp_path, patient) as (server, authority), ExitStack() as stack:
        port = server.door.getsockname()[1]
        idle = [bare(port, stack) for _ in range(40)]
        with connected(server, authority) as end:
            end.sendall(REQUEST)
            assert end.recv(100).startswith(b"HTTP/1.1 200")
        assert heard(idle[0]) == b"", "the oldest went"
        idle[-1].setblocking(False)
        with pytest.raises(BlockingIOError):
            idle[-1].recv(1)
        assert server.door.refused == 40 + 1 - patient.of_address
        for number in range(40):
            bare(port, stack, f"127.0.0.{2 + number}")
        with connected(server, authority, "127.0.1.1") as end:
            end.sendall(REQUEST)
            assert end.recv(100).startswith(b"HTTP/1.1 200")


def test_the_busy_ones_stay(tmp_path: Path) -> None:
    patient = Limits(most=4, of_address=2, handshake_s=60, header_s=60)
    begun = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{"
    with serving(tmp_path, patient) as site, ExitStack() as stack:
        busy = [stack.enter_context(connected(*site)) for _ in range(2)]
        for end in busy:
            end.sendall(begun)
        wait(lambda: all(g.busy for g in list(site[0].door._guests.values())), "they are heard")
        assert heard(bare(site[0].door.getsockname()[1], stack)) == b"", "the new one goes"
        for end in busy:
            end.sendall(b"}")
            assert end.recv(1000).startswith(b"HTTP/1.1 200")


def test_both_listeners_with_few_descriptors(tmp_path: Path) -> None:
    with Site(tmp_path) as site, site.client() as client, ExitStack() as stack:
        assert client.get("/about").json()["refused_connections"] == 0
        assert site.process is not None
        pid = site.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        assert soft == hard, "all there are"
        children = Path(f"/proc/{pid}/task").glob("*/children")
        for one in (pid, *(int(c) for file in children for c in file.read_text().split())):
            resource.prlimit(one, resource.RLIMIT_NOFILE, (400, 400))
        agent = Simulated(site, tmp_path / "a", "a")
        agent.say()
        for url in (site.url, site.agents_url):
            for _ in range(500):
                bare(int(url.rpartition(":")[2]), stack)
        with httpx.Client(verify=site.context(), trust_env=False, timeout=PATIENCE_S) as other:
            assert other.get(f"{site.url}/login").status_code == 200
        agent.client.close()  # and so it connects again
        agent.client = agent.connect(agent.member.context())
        agent.say()
        wait(lambda: client.get("/about").json()["refused_connections"] > 300, "it is told")
        text = site.output.read_text()
        assert "people's listener: too many" in text and "agents' listener: too many" in text
        assert "Errno 24" not in text
