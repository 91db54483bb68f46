"""A report on its way, against real servers that behave and that do not."""

import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Answer, answer, cut, drip, hang, refuse_early, serve, slow

from nsdata.errors import SettingError
from nsdata.support.address import AddressRefused
from nsdata.support.connection import Ways
from nsdata.support.release import check
from nsdata.support.upload import REDIRECTS, Cancelled, Sent, Upload, UploadError, UploadPolicy
from nsdata.support.url import parse

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
QUICK = Ways(connect_s=2, timeout_s=0.5, allowed=LOOPBACK)
BODY = os.urandom(3_000_000)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "r.tar.gz"
    path.write_bytes(BODY)
    return path


class Sending:
    """An upload with its waits and its progress."""

    def __init__(self, ways: Ways = QUICK, **policy: Any) -> None:
        self.waits: list[float] = []
        self.progress: list[int] = []
        self.upload = Upload(UploadPolicy(ways, **policy), self._progress, self.waits.append)

    def _progress(self, sent: int, size: int) -> None:
        assert size == len(BODY)
        self.progress.append(sent)

    def send(self, path: Path, url: str) -> Sent:
        return self.upload.send(path, parse(url))


def test_it_arrives_as_it_is(report: Path) -> None:
    with serve(answer(201)) as server:
        sending = Sending()
        sent = sending.send(report, server.url("/a/b/r.tar.gz?x=%20y"))
    (seen,) = server.seen
    assert seen.body == BODY and seen.path == "/a/b/r.tar.gz?x=%20y"
    assert seen.headers["Content-Length"] == str(len(BODY))
    assert seen.headers["Host"] == f"127.0.0.1:{server.port}"
    assert "Transfer-Encoding" not in seen.headers and "x-amz-acl" not in seen.headers
    assert (sent.status, sent.attempts, sent.address) == (201, 1, "127.0.0.1")
    assert sent.url == server.url("/a/b/r.tar.gz")  # no query: it may be a signature
    assert sending.progress[0] == 0 and sending.progress[-1] == len(BODY)
    assert sending.progress == sorted(sending.progress) and len(sending.progress) > 20


def test_it_is_streamed(tmp_path: Path) -> None:
    """A report of 200 MB is not in memory."""
    path = tmp_path / "r.tar.gz"
    with open(path, "wb") as file:
        file.truncate(200_000_000)
    code = """
import ipaddress, resource, sys
from nsdata.support.upload import *
from nsdata.support.url import parse
ways = Ways(allowed=(ipaddress.ip_network("127.0.0.0/8"),))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Upload(UploadPolicy(ways), lambda sent, size: None).send(sys.argv[1], parse(sys.argv[2]))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 20_000, grown
"""
    with serve(answer(200)) as server:
        subprocess.run([sys.executable, "-c", code, str(path), server.url()], check=True,
                       env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
        assert len(server.seen[0].body) == 200_000_000


def test_errors_of_the_server_are_tried_again(report: Path) -> None:
    with serve(answer(500), answer(503, "busy"), answer(200)) as server:
        sending = Sending()
        assert sending.send(report, server.url()).attempts == 3
    assert sending.waits == [1.0, 2.0]
    assert sending.upload.failures == ["HTTP 500", "HTTP 503 busy"]
    assert [seen.body for seen in server.seen] == [BODY] * 3


def test_and_not_for_ever(report: Path) -> None:
    with serve(answer(500, "broken\n\tagain")) as server:
        sending = Sending(attempts=3)
        with pytest.raises(UploadError, match=r"tried 3 times\): HTTP 500 broken again") as caught:
            sending.send(report, server.url())
    assert caught.value.status == 500 and len(server.seen) == 3


@pytest.mark.parametrize("refusal", [answer(403, "not here"), refuse_early], ids=["late", "early"])
def test_a_refusal_is_not_tried_again(report: Path, refusal: Answer) -> None:
    with serve(refusal) as server:
        sending = Sending()
        with pytest.raises(UploadError, match="refused it: HTTP 403"):
            sending.send(report, server.url())
    assert sending.waits == [] and len(server.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 304, 400, 404, 409, 413, 429])
def test_nothing_else_is_either(report: Path, status: int) -> None:
    with (
        serve(answer(status, Location="/x.tar.gz")) as server,
        pytest.raises(UploadError, match=f"HTTP {status}"),
    ):
        Sending().send(report, server.url())
    assert len(server.seen) == 1


def test_a_server_that_hangs_is_tried_again(report: Path) -> None:
    with serve(hang, answer(200)) as server:
        sending = Sending()
        assert sending.send(report, server.url()).attempts == 2
    assert "nothing happened in time" in sending.upload.failures[0]


def test_a_connection_that_is_cut_is_tried_again(report: Path) -> None:
    with serve(cut, answer(200)) as server:
        sending = Sending()
        assert sending.send(report, server.url()).attempts == 2
    assert "no answer" in sending.upload.failures[0]
    assert server.seen[-1].body == BODY


def test_a_slow_server_is_waited_for(report: Path) -> None:
    with serve(slow) as server:
        ways = Ways(timeout_s=20, allowed=LOOPBACK)
        assert Sending(ways).send(report, server.url()).attempts == 1
    assert server.seen[0].body == BODY


def test_a_server_that_drips_is_not(report: Path) -> None:
    """A byte now and then keeps every time-out from running out, but not that of the attempt."""
    with serve(drip) as server, pytest.raises(UploadError, match=r"longer than 0\.4 s"):
        Sending(attempts=1, attempt_s=0.4).send(report, server.url())


def test_nobody_there_is_tried_again(report: Path) -> None:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        port = end.getsockname()[1]
        sending = Sending(attempts=4, back_off_s=0.5)
        with pytest.raises(UploadError, match=r"tried 4 times.*no connection"):
            sending.send(report, f"http://127.0.0.1:{port}/r.tar.gz")
    assert sending.waits == [0.5, 1.0, 2.0]


def test_redirects_on_the_same_host_are_followed(report: Path) -> None:
    with serve(answer(307, Location="/b.tar.gz"), answer(308, Location="c.tar.gz"),
               answer(200)) as server:  # fmt: skip
        sent = Sending().send(report, server.url("/a.tar.gz"))
    assert [seen.path for seen in server.seen] == ["/a.tar.gz", "/b.tar.gz", "/c.tar.gz"]
    assert sent.url == server.url("/c.tar.gz") and sent.attempts == 1


def test_but_not_for_ever(report: Path) -> None:
    with (
        serve(answer(307, Location="/r.tar.gz")) as server,
        pytest.raises(UploadError, match=f"more than {REDIRECTS} times"),
    ):
        Sending().send(report, server.url())
    assert len(server.seen) == REDIRECTS + 1


@pytest.mark.parametrize(("host", "why"), [("localhost", "another host"), ("127.0.0.2", "host"),
                                           ("127.0.0.1", "another port")])  # fmt: skip
def test_redirects_to_others_are_not(report: Path, host: str, why: str) -> None:
    with serve(answer(200)) as other:
        with serve(answer(307, Location=other.url(host=host))) as server:
            sending = Sending()
            with pytest.raises(UploadError, match=why):
                sending.send(report, server.url())
        assert not other.seen and sending.waits == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]",
                                  "169.254.169.254"])  # fmt: skip
def test_loopback_and_the_like_are_refused(report: Path, host: str) -> None:
    with serve(answer(200)) as server:
        sending = Sending(Ways())
        with pytest.raises(AddressRefused, match=r"support\.allow"):
            sending.send(report, server.url(host=host))
    assert not server.seen and sending.waits == []


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """What a name resolves to, each time it is asked; the last for ever."""
    answers: list[list[str]] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host != "files.example":
            return real(host, port, *rest, **more)
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield answers


def test_a_name_is_connected_to_at_the_address_that_was_checked(
    report: Path, names: list[list[str]]
) -> None:
    """A name that stands for something else a moment later (rebinding) leads nowhere else."""
    names += [["127.0.0.1"], ["127.0.0.9"]]
    with serve(answer(200)) as server:
        sent = Sending().send(report, server.url(host="files.example"))
    assert sent.address == "127.0.0.1" and len(server.seen) == 1
    assert server.seen[0].headers["Host"] == f"files.example:{server.port}"
    assert names == [["127.0.0.9"]]  # it was asked once


def test_a_name_is_checked_again_at_every_attempt(report: Path, names: list[list[str]]) -> None:
    only = Ways(timeout_s=0.5, allowed=(ipaddress.ip_network("127.0.0.1"),))
    names += [["127.0.0.1"], ["127.0.0.9"]]
    with serve(answer(500)) as server:
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.9"):
            Sending(only).send(report, server.url(host="files.example"))
        assert len(server.seen) == 1


def test_a_name_is_checked_again_at_a_redirect(report: Path, names: list[list[str]]) -> None:
    """On the same host, which stands for loopback by now."""
    only = Ways(timeout_s=0.5, allowed=(ipaddress.ip_network("127.0.0.1"),))
    names += [["127.0.0.1"], ["127.0.0.9"]]
    with serve(answer(307, Location="/other.tar.gz")) as server:
        with pytest.raises(AddressRefused, match="loopback"):
            Sending(only).send(report, server.url(host="files.example"))
        assert len(server.seen) == 1


def test_a_name_that_is_also_refused_is_refused(report: Path, names: list[list[str]]) -> None:
    names += [["203.0.113.1", "169.254.169.254"]]
    with pytest.raises(AddressRefused, match="link-local"):
        Sending(Ways(connect_s=0.2)).send(report, "http://files.example/r.tar.gz")


def test_the_next_address_is_tried_when_one_does_not_answer(
    report: Path, names: list[list[str]]
) -> None:
    names += [["127.0.0.9", "127.0.0.1"]]
    with serve(answer(200)) as server:
        assert Sending().send(report, server.url(host="files.example")).address == "127.0.0.1"


def test_proxies_of_the_environment_are_not_used(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(answer(200)) as proxy, serve(answer(200)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        Sending().send(report, server.url())
        assert server.seen and not proxy.seen


def test_cancelled_on_the_way(report: Path) -> None:
    def stop(sent: int, size: int) -> None:
        if sent > 1_000_000:
            raise Cancelled("enough")

    with serve(answer(200)) as server:
        with pytest.raises(Cancelled):
            Upload(UploadPolicy(QUICK), stop).send(report, parse(server.url()))
        assert not [seen for seen in server.seen if seen.body == BODY]


def test_the_access_list_is_sent_unless_the_url_is_signed(report: Path) -> None:
    with serve(answer(200)) as server:
        Sending().send(report, server.url("/b/r.tar.gz?x-amz-acl=bucket-owner-full-control"))
        Sending().send(report, server.url("/b/r.tar.gz?x-amz-acl=private&X-Amz-Signature=0"))
    assert server.seen[0].headers["x-amz-acl"] == "bucket-owner-full-control"
    assert "x-amz-acl=bucket-owner-full-control" in server.seen[0].path
    assert "x-amz-acl" not in server.seen[1].headers


# --- TLS ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of files.example, signed by itself; key and certificate in one file."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes",
         "-days", "2", "-subj", "/CN=files.example", "-addext", "subjectAltName=DNS:files.example",
         "-keyout", str(path), "-out", str(path.with_name("ca.pem"))],
        check=True, capture_output=True,
    )  # fmt: skip
    with open(path, "ab") as both:
        both.write(path.with_name("ca.pem").read_bytes())
    return path


def secured(server: Any, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)


def test_tls_is_checked_against_the_name(
    report: Path, certificate: Path, names: list[list[str]]
) -> None:
    names += [["127.0.0.1"]]
    trusted = Ways(timeout_s=2, allowed=LOOPBACK, ca_file=str(certificate.with_name("ca.pem")))
    with serve(answer(200)) as server:
        secured(server, certificate)
        url = server.url(host="files.example").replace("http:", "https:")
        assert Sending(trusted).send(report, url).status == 200
        sending = Sending(Ways(timeout_s=2, allowed=LOOPBACK))
        with pytest.raises(UploadError, match="certificate is not trusted"):
            sending.send(report, url)
        with pytest.raises(UploadError, match="certificate is not trusted"):
            Sending(trusted).send(report, url.replace("files.example", "127.0.0.1"))
    assert sending.waits == [] and len(server.seen) == 1
    with pytest.raises(SettingError, match="ca-file"):
        Sending(Ways(ca_file="/nowhere.pem", allowed=LOOPBACK)).send(report, url)


# --- an S3-compatible server ------------------------------------------------------------------


def test_an_s3_server_takes_it_and_its_access_list(report: Path) -> None:
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    boto3 = pytest.importorskip("boto3")
    server.start()
    try:
        host, port = server.get_host_and_port()
        s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
                          aws_access_key_id="x", aws_secret_access_key="x")  # fmt: skip
        s3.create_bucket(Bucket="reports")
        for acl, grants in (("private", 1), ("public-read", 2)):
            url = f"http://{host}:{port}/reports/{acl}.tar.gz?x-amz-acl={acl}"
            assert Sending().send(report, url).status == 200
            stored = s3.get_object(Bucket="reports", Key=f"{acl}.tar.gz")
            assert stored["Body"].read() == BODY
            found = s3.get_object_acl(Bucket="reports", Key=f"{acl}.tar.gz")["Grants"]
            assert len(found) == grants, found
        presigned = s3.generate_presigned_url("put_object", Params={
            "Bucket": "reports", "Key": "p.tar.gz", "ACL": "public-read"})  # fmt: skip
        if len(presigned) <= 255:
            assert Sending().send(report, presigned).status == 200
    finally:
        server.stop()


# --- which version is the latest ----------------------------------------------------------------


@pytest.mark.parametrize(("document", "latest", "why"), [
    ('{"version": "1.2.0"}', True, "1.2.0 is the latest"),
    ('{"version": "1.1.9"}', True, "1.1.9 is the latest"),
    ('{"version": "1.10.0"}', False, "update first"),
    ('{"version": "1.2.1rc1"}', False, "update first"),
    ('{"version": "soon"}', False, "not known"),
    ('{"version": 2}', False, "not known"),
    ("[1]", False, "not known"),
    ("no JSON", False, "not known"),
    ("[" * 60_000, False, "not known"),
    ("x" * 100_000, False, "longer"),
])  # fmt: skip
def test_the_latest_version_is_what_the_document_says(
    tmp_path: Path, document: str, latest: bool, why: str
) -> None:
    path = tmp_path / "latest.json"
    path.write_text(document)
    found = check("1.2.0", str(path), Ways())
    assert found.is_latest is latest and why in found.why
    with serve(lambda handler, server: answer(200, document)(handler, server)) as server:
        over_http = check("1.2.0", server.url("/latest.json"), QUICK)
    assert over_http.is_latest is latest and why in over_http.why


def test_without_a_document_nobody_can_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "support.vendor.latest" in check("1.0", None, Ways()).why
    assert not check("1.0", None, Ways()).is_latest
    assert "No such file" in check("1.0", str(tmp_path / "none"), Ways()).why
    os.mkfifo(tmp_path / "fifo")
    assert "no regular file" in check("1.0", str(tmp_path / "fifo"), Ways()).why
    with monkeypatch.context() as quick, serve(drip) as server:
        quick.setattr("nsdata.support.release.LIMIT_S", 0.3)
        assert "not known" in check("1.0", server.url("/latest.json"), QUICK).why
    with serve(answer(404)) as server:
        assert "HTTP 404" in check("1.0", server.url("/latest.json"), QUICK).why
        refused = check("1.0", server.url("/latest.json?key=1"), Ways())
    assert "loopback" in refused.why and "key=1" not in refused.why
