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

from nsdata.errors import SettingError
from nsdata.support.address import AddressRefused, NotResolved, refused, resolve
from nsdata.support.url import CANNED_ACLS, LONGEST, below, is_s3, parse, redirected

FILE = "r.tar.gz"
RIGHT = [
    ("http", "http://files.example/r.tar.gz"),
    ("https", "https://files.example/r.tar.gz"),
    ("scheme in capitals", "HTTPS://files.example/r.tar.gz"),
    ("port", "http://files.example:8080/r.tar.gz"),
    ("private network", "http://10.1.2.3/r.tar.gz"),
    ("IPv6", "http://[2001:db8::1]:8080/r.tar.gz"),
    ("folders", "http://files.example/a/b/r.tar.gz"),
    ("query", "https://files.example/r.tar.gz?token=abc&x=1"),
    ("percent", "https://files.example/r%20s.tar.gz"),
    ("host with a final dot", "https://files.example./r.tar.gz"),
    ("one label", "http://files/r.tar.gz"),
    ("number in a name", "http://1.2.3.example/r.tar.gz"),
    ("as long as may be", "http://files.example/" + "a" * (LONGEST - 28) + ".tar.gz"),
    ("acl elsewhere", "http://minio.lan:9000/b/r.tar.gz?x-amz-acl=private"),
    *((f"acl {acl}", f"https://s3.amazonaws.com/b/r.tar.gz?x-amz-acl={acl}")
      for acl in CANNED_ACLS),
]  # fmt: skip
S3_HOSTS = (
    "s3.amazonaws.com", "bucket.s3.amazonaws.com", "s3.eu-west-1.amazonaws.com",
    "bucket.s3.eu-west-1.amazonaws.com", "my.dotted.bucket.s3.eu-west-1.amazonaws.com",
    "s3-eu-west-1.amazonaws.com", "bucket.s3-us-west-2.amazonaws.com",
    "s3.dualstack.eu-west-1.amazonaws.com", "bucket.s3.dualstack.eu-west-1.amazonaws.com",
    "bucket.s3-accelerate.amazonaws.com", "bucket.s3-accelerate.dualstack.amazonaws.com",
    "s3-fips.us-east-1.amazonaws.com", "bucket.s3-fips.dualstack.us-east-1.amazonaws.com",
    "bucket.s3.cn-north-1.amazonaws.com.cn",
    "point-123456789012.s3-accesspoint.eu-west-1.amazonaws.com",
    "bucket--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
)  # fmt: skip
NOT_S3_HOSTS = (
    "amazonaws.com", "ec2.eu-west-1.amazonaws.com", "s3.amazonaws.com.evil.example",
    "s3.example.com", "s3.api.aws.example", "xs3.amazonaws.com", "s3amazonaws.com",
)  # fmt: skip
WRONG = [
    ("too long", "http://files.example/" + "a" * (LONGEST - 27) + ".tar.gz", "256 characters"),
    ("no scheme", "files.example/r.tar.gz", "begin with http"),
    ("ftp", "ftp://files.example/r.tar.gz", "begin with http"),
    ("file", "file:///tmp/r.tar.gz", "begin with http"),
    ("one slash", "http:/files.example/r.tar.gz", "begin with http"),
    ("empty", "", "begin with http"),
    ("no host", "http:///r.tar.gz", "no host"),
    ("user", "http://me@files.example/r.tar.gz", "user information"),
    ("user and password", "http://me:pw@files.example/r.tar.gz", "user information"),
    ("empty user", "http://@files.example/r.tar.gz", "user information"),
    ("fragment", "http://files.example/r.tar.gz#top", "fragment"),
    ("empty fragment", "http://files.example/r.tar.gz#", "fragment"),
    ("no file", "http://files.example/", "file name"),
    ("no path", "http://files.example", "file name"),
    ("folder", "http://files.example/r.tar.gz/", "file name"),
    ("other suffix", "http://files.example/r.zip", "file name"),
    ("tgz", "http://files.example/r.tgz", "file name"),
    ("capitals", "http://files.example/r.TAR.GZ", "file name"),
    ("suffix alone", "http://files.example/.tar.gz", "file name"),
    ("suffix in the query", "http://files.example/r?x=.tar.gz", "file name"),
    ("slash in the name", "http://files.example/a%2Fr.tar.gz", "no file name"),
    ("backslash in the name", "http://files.example/a%5Cr.tar.gz", "no file name"),
    ("control in the name", "http://files.example/a%0Ar.tar.gz", "no file name"),
    ("dot segments", "http://files.example/a/../r.tar.gz", "segment"),
    ("hidden dot segments", "http://files.example/a/%2e%2E/r.tar.gz", "segment"),
    ("space", "http://files.example/a b.tar.gz", "character"),
    ("line end", "http://files.example/r.tar.gz\r\nHost: x", "character"),
    ("backslash", "http:\\\\files.example\\r.tar.gz", "character"),
    ("not ASCII", "http://bücher.example/r.tar.gz", "character"),
    ("bare percent", "http://files.example/100%.tar.gz", "character"),
    ("port 0", "http://files.example:0/r.tar.gz", "port"),
    ("port beyond", "http://files.example:65536/r.tar.gz", "cannot be read"),
    ("no port", "http://files.example:/r.tar.gz", "port"),
    ("port in words", "http://files.example:http/r.tar.gz", "cannot be read"),
    ("decimal address", "http://2130706433/r.tar.gz", "four decimal"),
    ("hex address", "http://0x7f000001/r.tar.gz", "four decimal"),
    ("hex parts", "http://0x7f.0.0.0x1/r.tar.gz", "four decimal"),
    ("octal address", "http://0177.0.0.1/r.tar.gz", "four decimal"),
    ("short address", "http://127.1/r.tar.gz", "four decimal"),
    ("address beyond", "http://256.1.1.1/r.tar.gz", "four decimal"),
    ("IPv6 zone", "http://[fe80::1%25eth0]/r.tar.gz", "IPv6|cannot be read|character"),
    ("no IPv6", "http://[::g]/r.tar.gz", "IPv6|cannot be read"),
    ("odd name", "http://-files-.example/r.tar.gz", "no host name"),
    ("long label", f"http://{'a' * 64}.example/r.tar.gz", "no host name"),
    ("two acls", f"https://s3.amazonaws.com/b/{FILE}?x-amz-acl=private&x-amz-acl=private", "one"),
    ("other acl", f"https://s3.amazonaws.com/b/{FILE}?x-amz-acl=everybody", "canned"),
    ("empty acl", f"https://s3.amazonaws.com/b/{FILE}?x-amz-acl=", "canned"),
    ("wrong acl elsewhere", f"http://minio.lan/b/{FILE}?x-amz-acl=all", "canned"),
    *((f"{host} without acl", f"https://{host}/{FILE}", "x-amz-acl") for host in S3_HOSTS),
    ("S3 in capitals", f"https://Bucket.S3.Amazonaws.COM/{FILE}", "x-amz-acl"),
    ("S3 with a final dot", f"https://s3.amazonaws.com./b/{FILE}", "x-amz-acl"),
]  # fmt: skip


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


REFUSED = [
    "127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.170.2",
    "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "::1", "::",
    "fe80::1", "febf::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "2002:7f00:1::",
    "64:ff9b::169.254.169.254", "64:ff9b:1::7f00:1", "2001:0:7f00:1::",
    "::ffff:0:169.254.169.254", "::ffff:0:127.0.0.1", "fd00::5efe:127.0.0.1",
    "2001:db8::200:5efe:169.254.169.254",
]  # fmt: skip
FINE = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8", "fd00::1", "2001:db8::1",
    "::ffff:10.0.0.1", "::ffff:0:10.0.0.1", "fd00::5efe:10.0.0.1",
    "64:ff9b::8.8.8.8", "128.0.0.1", "126.255.255.255", "2a00:1450::1",
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_addresses_that_are_refused(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert refused(address)
    with pytest.raises(AddressRefused, match=r"support\.allow"):
        resolve(text, 80)
    assert refused(address, [ipaddress.ip_network(text)]) is None


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
