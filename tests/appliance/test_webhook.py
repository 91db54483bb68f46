"""A webhook's exchange, against servers that are slow, secure, or say too much."""

import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nsdata.appliance.monitoring.notification import TEST, Failed, Notification, Refused
from nsdata.appliance.monitoring.settings import WebhookSettings
from nsdata.appliance.monitoring.webhook import Webhook

ONE = Notification("a", 1, TEST, {"note": "ä"})


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """One that takes connections, reads a request and answers as told. Its port."""
    with socket.create_server(("127.0.0.1", 0)) as end:

        def take() -> None:
            while True:
                try:
                    client, _ = end.accept()
                except OSError:
                    return
                with client:
                    try:
                        answer(client)
                    except OSError:
                        continue

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield end.getsockname()[1]
        finally:
            end.shutdown(socket.SHUT_RDWR)
            thread.join()


def says(text: bytes) -> Callable[[socket.socket], None]:
    def answer(client: socket.socket) -> None:
        asked = b""
        while b'"data"' not in asked:  # to its end: what is left unread resets the connection
            asked += client.recv(65536)
        client.sendall(text)

    return answer


def hook(port: int, **more: str) -> Webhook:
    told = {"url": f"http://127.0.0.1:{port}/x", "timeout": "300ms", **more}
    return Webhook(WebhookSettings.model_validate(told))


def test_an_answer_that_drips_is_no_answer() -> None:
    """A byte every 50 ms: no single wait is long, all of them together are."""

    def drip(client: socket.socket) -> None:
        while True:
            client.sendall(b"H")
            threading.Event().wait(0.05)

    with server(drip) as port, pytest.raises(Failed, match="no answer in time"):
        hook(port).deliver(ONE)


def test_a_body_without_end_is_not_read() -> None:
    def flood(client: socket.socket) -> None:
        says(b"HTTP/1.1 200 OK\r\n\r\n")(client)
        while True:
            client.sendall(bytes(65536))

    with server(flood) as port:
        assert hook(port).deliver(ONE).endswith("HTTP 200")


@pytest.mark.parametrize(
    ("answer", "raised", "after_s"),
    [
        (b"HTTP/1.1 503 Later\r\nRetry-After: 7\r\n\r\n", Failed, 7.0),
        (b"HTTP/1.1 429 Later\r\nRetry-After: 99999\r\n\r\n", Failed, 600.0),
        (b"HTTP/1.1 500 No\r\nRetry-After: soon\r\n\r\n", Failed, 0.0),
        (b"HTTP/1.1 404 No\r\n\r\n", Failed, 0.0),  # it may be there later
        (b"HTTP/1.1 413 No\r\n\r\n", Refused, None),
        (b"SSH-2.0-x\r\n", Failed, 0.0),
        (b"", Failed, 0.0),
    ],
)
def test_what_is_no_success(answer: bytes, raised: type[Exception], after_s: float | None) -> None:
    with server(says(answer)) as port, pytest.raises(raised) as told:
        hook(port).deliver(ONE)
    if isinstance(told.value, Failed):
        assert told.value.after_s == after_s


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_https_with_a_certificate_that_is_trusted(tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", "/CN=test",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    bodies = []

    def answer(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True) as secure:
            text = b""
            while b'"data"' not in text:
                text += secure.recv(65536)
            bodies.append(text.partition(b"\r\n\r\n")[2])
            secure.sendall(b"HTTP/1.1 204 OK\r\n\r\n")

    with server(answer) as port:
        url = f"https://127.0.0.1:{port}/x"
        assert hook(port, url=url, **{"ca-file": str(tmp_path / "cert.pem")}).deliver(ONE)
        assert json.loads(bodies[0])["data"] == {"note": "ä"}
        with pytest.raises(Failed, match="CERTIFICATE_VERIFY_FAILED"):
            hook(port, url=url).deliver(ONE)
    with pytest.raises(Failed, match="No such file"):
        hook(1, **{"ca-file": str(tmp_path / "none")})
