"""Where a support report may be sent: the rules of a custom location, without asking anybody.

    https://files.example/reports/edge-1.tar.gz
    https://bucket.s3.eu-west-1.amazonaws.com/edge-1.tar.gz?x-amz-acl=bucket-owner-full-control

What only a resolver can say (which address a name has) is in `address`.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, unquote, unquote_to_bytes, urljoin, urlsplit

from nsdata.errors import SettingError

LONGEST = 255  # characters
SUFFIX = ".tar.gz"
SCHEMES = {"http": 80, "https": 443}
ACL = "x-amz-acl"
CANNED_ACLS = (
    "private", "public-read", "public-read-write", "aws-exec-read", "authenticated-read",
    "bucket-owner-read", "bucket-owner-full-control", "log-delivery-write",
)  # fmt: skip
SIGNED = ("x-amz-signature", "x-amz-credential", "signature", "awsaccesskeyid")

# RFC 3986: nothing but these is written in a URL as it is.
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_NAME = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
# What resolvers take for an IPv4 address in some form (127.1, 2130706433, 0x7f.1, 0177.0.0.1).
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
# s3, s3-REGION, s3-fips, s3-accelerate, s3-website-REGION, s3-accesspoint, s3express-…, s3-control
_S3 = re.compile(
    r"(?:.+\.)?s3(?:express)?(?:-[a-z0-9-]+)?(?:\.[a-z0-9-]+){0,3}\.(?:"
    r"amazonaws\.(?:com(?:\.cn)?|eu)|api\.amazonwebservices\.(?:com\.cn|eu)|api\.aws|"
    # The partitions of the United States' services and of the United Kingdom's.
    r"c2s\.ic\.gov|sc2s\.sgov\.gov|csp\.hci\.ic\.gov|cloud\.adc-e\.uk|"
    r"api\.aws\.(?:ic\.gov|scloud|hci\.ic\.gov)|api\.cloud-aws\.adc-e\.uk)"
)


@dataclass(frozen=True, slots=True)
class Location:
    """A URL that keeps the rules, in its parts. host: lower case, without [] or a final dot."""

    url: str
    scheme: str
    host: str
    port: int
    target: str  # path and query, as in a request
    file_name: str
    acl: str | None  # x-amz-acl, where it is to be sent as a header as well

    @property
    def is_s3(self) -> bool:
        """Whether the host is one of Amazon's S3."""
        return is_s3(self.host)

    @property
    def shown(self) -> str:
        """Without its query, which may be a signature: for status, record and messages."""
        return self.url.partition("?")[0]

    @property
    def place(self) -> str:
        """Where it is, in the one spelling (RFC 3986, 6.2): the same for every URL of one file."""
        path = unquote_to_bytes(self.target.partition("?")[0])
        return f"{self.scheme}://{self.host}:{self.port}{quote(path, safe='/')}"

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == SCHEMES[self.scheme] else f"{host}:{self.port}"


def is_s3(host: str) -> bool:
    """Whether a host name (lower case) is one of Amazon's S3: virtual-hosted or path-style,
    regional, dualstack, accelerated, access points."""
    return _S3.fullmatch(host) is not None


def parse(url: str) -> Location:
    """The parts of a URL that a report may be PUT to. Raises SettingError with the rule it
    breaks."""
    if len(url) > LONGEST:
        raise SettingError(f"the URL has {len(url)} characters; at most {LONGEST} are allowed")
    found = split(url)
    path = found.target.partition("?")[0]
    last = unquote(path.rpartition("/")[2], errors="replace")
    if not last.endswith(SUFFIX) or last == SUFFIX:
        raise SettingError(
            f"the path of the URL ends in {last[:80]!r}; it has to be a file name, NAME{SUFFIX}"
        )
    if "/" in last or "\\" in last or any(ord(c) < 32 or ord(c) == 127 for c in last):
        raise SettingError(f"{last[:80]!r} is no file name: it holds / or \\ or control characters")
    acl = _acl(found)
    return replace(found, file_name=last, acl=acl)


def split(url: str) -> Location:
    """The parts of any http(s) URL that is whole and unambiguous; no rule of the file name.

    Raises SettingError.
    """
    if not _CHARACTERS.fullmatch(url):
        raise SettingError(
            "the URL holds a character that a URL cannot: white space, control characters, "
            'letters beyond ASCII and \\ " < > ^ ` { } | are written as %XX'
        )
    scheme = url.partition(":")[0].lower()
    if scheme not in SCHEMES or not url[len(scheme) :].startswith("://"):
        raise SettingError("the URL has to begin with http:// or https://")
    if "#" in url:
        raise SettingError("the URL has a fragment (#…), which no server would see; leave it out")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise SettingError(f"the URL cannot be read: {error}") from error
    if "@" in parts.netloc:
        raise SettingError("the URL has user information (USER:PASSWORD@); it is not sent")
    if parts.netloc.endswith(":") or port == 0:
        raise SettingError("the port of the URL is none; 1 to 65535 are, or leave the : out")
    path = parts.path or "/"
    if any(unquote(part) in (".", "..") for part in path.split("/")):
        raise SettingError("the path of the URL has a . or .. segment; write it out")
    target = path + (f"?{parts.query}" if "?" in url else "")
    host = _host(host, bracketed=parts.netloc.startswith("["))
    return Location(url, scheme, host, port or SCHEMES[scheme], target, "", None)


def _host(host: str, *, bracketed: bool) -> str:
    if bracketed:
        try:
            return ipaddress.IPv6Address(host if "%" not in host else "").compressed
        except ValueError:
            raise SettingError(f"[{host[:80]}] is no IPv6 address (zones are not taken)") from None
    host = host.removesuffix(".")
    if not host:
        raise SettingError("the URL has no host")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise SettingError(
                f"{host[:80]} is not how an address is written here: four decimal numbers "
                "without leading zeros (192.0.2.1)"
            ) from None
    if len(host) > 253 or not _NAME.fullmatch(host):
        raise SettingError(f"{host[:80]} is no host name")
    return host


def _acl(location: Location) -> str | None:
    """The access list to send as a header; it has to be legal, and there for S3."""
    query = location.target.partition("?")[2]
    values = parse_qsl(query, keep_blank_values=True)
    lists = [value for key, value in values if key.lower() == ACL]
    legal = f"legal: {', '.join(CANNED_ACLS)}"
    if not lists and location.is_s3:
        raise SettingError(
            f"{location.host} is S3: the URL needs a parameter {ACL}, for example "
            f"?{ACL}=bucket-owner-full-control; {legal}"
        )
    if len(lists) > 1:
        raise SettingError(f"the URL has {len(lists)} parameters {ACL}; one is legal")
    if lists and lists[0] not in CANNED_ACLS:
        raise SettingError(f"{ACL}={lists[0][:80]} is no canned access list; {legal}")
    # A header that a signature does not cover would make a presigned URL invalid.
    signed = any(key.lower() in SIGNED for key, _ in values)
    return lists[0] if lists and not signed else None


def redirected(location: Location, to: str) -> Location:
    """Where a redirect leads that is followed: the same host. Raises SettingError."""
    found = split(urljoin(location.url, to))
    if found.host != location.host:
        raise SettingError(f"it redirects to another host ({found.host}), which is not followed")
    secure = location.scheme == "http" and found.scheme == "https"
    ports = (location.port, found.port)
    if not (secure and ports == (80, 443)) and ports[0] != ports[1]:
        raise SettingError(f"it redirects to another port ({found.port}), which is not followed")
    if location.scheme == "https" and found.scheme == "http":
        raise SettingError("it redirects from https to http, which is not followed")
    return replace(found, file_name=location.file_name, acl=location.acl)


def below(base: str, file_name: str) -> Location:
    """A file in the place that a URL names, its query kept. Raises SettingError."""
    place, mark, query = base.partition("?")
    return parse(place.removesuffix("/") + "/" + file_name + mark + query)
