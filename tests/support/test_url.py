"""Where a report may be sent: each rule with what keeps it and what breaks it."""

import ipaddress
import json
import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import botocore
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from locations import FILE, FINE, NOT_S3_HOSTS, REFUSED, RIGHT, S3_HOSTS, WRONG

from nsdata.errors import SettingError
from nsdata.support.address import AddressRefused, NotResolved, location, refused, resolve
from nsdata.support.url import CANNED_ACLS, LONGEST, below, is_s3, parse, redirected


@pytest.mark.parametrize("url", [url for _, url in RIGHT], ids=[name for name, _ in RIGHT])
def test_what_keeps_the_rules(url: str) -> None:
    found = parse(url)
    assert found.url == url
    assert found.file_name.endswith(".tar.gz")


@pytest.mark.parametrize(("url", "why"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_breaks_them_says_which(url: str, why: str) -> None:
    with pytest.raises(SettingError, match=why):
        parse(url)


@pytest.mark.parametrize("host", S3_HOSTS)
def test_hosts_of_s3_take_an_acl(host: str) -> None:
    assert is_s3(host)
    found = parse(f"https://{host}/b/{FILE}?x-amz-acl=bucket-owner-full-control")
    assert found.acl == "bucket-owner-full-control"


def test_s3_of_every_partition() -> None:
    """By the list that Amazon's own client has."""
    listed = Path(botocore.__file__).parent / "data" / "partitions.json"
    partitions = json.loads(listed.read_text())["partitions"]
    assert len(partitions) >= 8
    for one in partitions:
        for host in (f"s3.r-1.{one['outputs']['dnsSuffix']}",
                     f"b.s3.dualstack.r-1.{one['outputs']['dnsSuffix']}",
                     f"s3.dualstack.r-1.{one['outputs']['dualStackDnsSuffix']}"):  # fmt: skip
            assert is_s3(host), host


@pytest.mark.parametrize("host", NOT_S3_HOSTS)
def test_other_hosts_need_none(host: str) -> None:
    assert parse(f"https://{host}/{FILE}").acl is None


def test_a_presigned_url_is_sent_as_it_is() -> None:
    """A header that is not signed would be refused."""
    url = f"https://b.s3.amazonaws.com/{FILE}?x-amz-acl=private&X-Amz-Signature=00ff"
    assert parse(url).acl is None
    assert "Signature" not in parse(url).shown


ALPHABET = "".join(map(chr, range(33, 127))) + " \t\n\\é\0"
PIECES = st.sampled_from(
    ["http://", "https://", "s3.amazonaws.com", "bucket.", "/", "?", "#", "@", ":", "[::1]", "%2e",
     "127.0.0.1", "x-amz-acl=", "private", "&", ".tar.gz", "r", ".", "..", "0x7f", "8080", "%2f"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=300), st.text(ALPHABET, max_size=300),
    st.lists(PIECES, max_size=14).map("".join),
    st.builds("http://{}/{}.tar.gz{}".format, st.text(ALPHABET, max_size=20),
              st.text(ALPHABET, max_size=20), st.text(ALPHABET, max_size=20)),
)  # fmt: skip


@given(TEXTS)
@example("http://[/r.tar.gz")
@example("http://a:b:c/r.tar.gz")
@example("http://files.example/r.tar.gz?x-amz-acl=%ff")
@settings(max_examples=3000)
def test_anything_accepted_keeps_every_rule(url: str) -> None:
    """And nothing makes the parser fail otherwise than by saying so."""
    try:
        found = parse(url)
    except SettingError as error:
        assert str(error)
        return
    assert len(url) <= LONGEST and url.isascii() and url.isprintable() and " " not in url
    assert re.match(r"https?://[^/@?#\\]+/", url, re.IGNORECASE)
    assert "#" not in url and "@" not in urlsplit(url).netloc
    assert urlsplit(url).path.endswith(".tar.gz")
    assert found.host and 0 < found.port < 65536
    if found.is_s3:
        assert any(f"={acl}" in url for acl in CANNED_ACLS)
    try:
        socket.inet_aton(found.host)
    except OSError:
        return
    assert str(ipaddress.IPv4Address(found.host)) == found.host  # no other form of an address


@pytest.mark.parametrize("text", REFUSED)
def test_addresses_that_are_refused(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert refused(address)
    with pytest.raises(AddressRefused, match=r"support\.allow"):
        resolve(text, 80)
    assert refused(address, [ipaddress.ip_network(text)]) is None
    url = f"http://{f'[{text}]' if ':' in text else text}/{FILE}"
    with pytest.raises(AddressRefused, match=r"support\.allow"):
        location(url)
    assert location(url, [ipaddress.ip_network(text)]).url == url


@pytest.mark.parametrize("text", FINE)
def test_addresses_that_are_fine(text: str) -> None:
    assert refused(ipaddress.ip_address(text)) is None
    assert resolve(text, 80) == [ipaddress.ip_address(text)]


@given(st.integers(0, 2**32 - 1))
@example(0x7F000001)
def test_an_ipv4_address_is_the_same_in_any_dress(number: int) -> None:
    plain = refused(ipaddress.IPv4Address(number))
    for prefix in (0xFFFF << 32, int(ipaddress.IPv6Address("64:ff9b::"))):
        assert refused(ipaddress.IPv6Address(prefix | number)) == plain


def test_of_two_addresses_in_one_each_has_to_be_allowed() -> None:
    teredo = ipaddress.ip_address("2001:0:a00:1::80ff:fffe")  # server 10.0.0.1, client 127.0.0.1
    server, client = ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("127.0.0.0/8")
    assert refused(teredo, [server]) == "loopback"
    assert refused(teredo, [client]) is None


def test_names_are_looked_up() -> None:
    with pytest.raises(AddressRefused, match="loopback"):
        resolve("localhost", 80)
    assert resolve("localhost", 80, [ipaddress.ip_network("127.0.0.0/8"),
                                     ipaddress.ip_network("::1/128")])  # fmt: skip
    with pytest.raises(NotResolved):
        resolve("no-such-host.invalid", 80)


@pytest.mark.parametrize(("to", "why"), [
    ("http://other.example/r.tar.gz", "another host"),
    ("//other.example/r.tar.gz", "another host"),
    ("http://127.0.0.1/r.tar.gz", "another host"),
    ("http://files.example:81/r.tar.gz", "another port"),
    ("ftp://files.example/r", "begin with http"),
    ("http://u:p@files.example/r", "user information"),
    ("http://files.example/r#x", "fragment"),
])  # fmt: skip
def test_redirects_that_are_not_followed(to: str, why: str) -> None:
    with pytest.raises(SettingError, match=why):
        redirected(parse("http://files.example/r.tar.gz"), to)


def test_redirects_that_are() -> None:
    first = parse("http://files.example/r.tar.gz")
    assert redirected(first, "/b/").target == "/b/"
    assert redirected(first, "https://files.example/x").scheme == "https"
    secure = parse("https://files.example:8443/r.tar.gz")
    with pytest.raises(SettingError, match="https to http"):
        redirected(secure, "http://files.example:8443/r.tar.gz")


def test_a_file_below_a_place() -> None:
    found = below("https://support.example/in/?x-amz-acl=private", FILE)
    assert found.url == f"https://support.example/in/{FILE}?x-amz-acl=private"
    with pytest.raises(SettingError, match="characters"):
        below("https://support.example/" + "a" * 240, FILE)
