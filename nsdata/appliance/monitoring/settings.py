"""How an appliance tells of itself: metrics, log, notifications. Tables of its TOML file.

[metrics]
listen = "127.0.0.1:9464"
[log]
format = "json"
[notify]
on = ["transition", "health"]
[notify.webhook]
url = "https://alerts.example/nsdata"
secret-file = "webhook.secret"
[notify.syslog]
to = "udp://192.0.2.7:514"
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import BeforeValidator, field_serializer, field_validator, model_validator

from nsdata.config.group import Group, of
from nsdata.config.values import DurationNs, Size
from nsdata.files import read_whole
from nsdata.units import duration_text

LARGEST_SECRET = 4096  # bytes of a file that holds one
SMALLEST_KEY = 16  # bytes
STANDARD_SECRET = "whsec_"  # Standard Webhooks: base64 follows
FACILITIES = (  # RFC 5424, 6.2.1, by number
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3",
    "local4", "local5", "local6", "local7",
)  # fmt: skip
PORTS = {"udp": 514, "tcp": 601}  # RFC 5426, RFC 6587


class Address(NamedTuple):
    """Where to listen or to send to."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


def _listen(value: Any) -> Any:
    """`HOST:PORT`; HOST an IP address ([…] around IPv6) or localhost. Empty: nowhere."""
    if value is None or value == "" or isinstance(value, Address):
        return value or None
    legal = 'legal: "ADDRESS:PORT", such as "127.0.0.1:9464" or "[::1]:9464", or "" for none'
    try:
        found = urlsplit(f"//{value}")
        host, port = found.hostname, found.port
        if not host or port is None or found.path or found.username is not None:
            raise ValueError
        if host != "localhost":
            ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{value!r} is no address; {legal}") from None
    return Address(host, port)


def read_secret(path: str) -> bytes:
    """What a file of one secret holds, without white space around it. Raises ValueError."""
    try:
        text = read_whole(path, LARGEST_SECRET).strip()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not text:
        raise ValueError(f"{path} holds no bytes; legal: 1 to {LARGEST_SECRET}")
    return text


def read_key(path: str) -> bytes:
    """The key in a secret file: base64 after `whsec_`, else the bytes. Raises ValueError."""
    text = read_secret(path)
    key = text
    if text.startswith(STANDARD_SECRET.encode()):
        try:
            key = base64.b64decode(text[len(STANDARD_SECRET) :], validate=True)
        except binascii.Error:
            raise ValueError(f"{path}: what follows {STANDARD_SECRET} is not base64") from None
    if len(key) < SMALLEST_KEY:
        raise ValueError(f"{path}: a key of {len(key)} bytes; legal: {SMALLEST_KEY} or more")
    return key


def redacted(url: str) -> str:
    """Scheme, host and port of a URL: everything else in it may be a secret."""
    found = urlsplit(url)
    return f"{found.scheme}://{found.netloc.rpartition('@')[2]}/…"


class MetricsSettings(Group):
    """Prometheus metrics over HTTP."""

    listen: Annotated[Address | None, BeforeValidator(_listen)] = of(
        "127.0.0.1:9464", 'address and port of `/metrics`; `""`: none'
    )
    token_file: str | None = of(None, "a file with the bearer token that a scraper has to show")

    @field_serializer("listen", when_used="json")
    def _as_text(self, value: Address | None) -> str:
        return "" if value is None else str(value)

    @model_validator(mode="after")
    def _guarded(self) -> MetricsSettings:
        if self.listen and not self.listen.loopback and not self.token_file:
            raise ValueError(
                f"listen {self.listen.host} can be reached from elsewhere, and token-file is not "
                "set; legal: 127.0.0.1, [::1], or a token-file"
            )
        return self


class LogSettings(Group):
    """The log of the supervisor and its processes."""

    format: Literal["json", "text"] = of("json", "one JSON object a line, or text for people")
    level: Literal["debug", "info", "warning", "error"] = of("info", "what is below is left out")
    to: Literal["auto", "file", "stderr"] = of(
        "auto", "`appliance.log` in `directory`, or standard error; auto: the latter under systemd"
    )
    max_size: Size = of("10mb", "bytes of the file, from which on a new one is begun", ge=4096)
    keep: int = of(5, "files kept besides the present one", ge=1, le=1000)


class _Target(Group):
    give_up: DurationNs = of("24h", "a notification is tried for so long")
    timeout: DurationNs = of("5s", "for one try, all in all")

    @field_validator("timeout")
    @classmethod
    def _timeout(cls, value: int) -> int:
        if not 10_000_000 <= value <= 60_000_000_000:
            raise ValueError("legal: 10ms to 60s")
        return value

    @field_serializer("give_up", "timeout", when_used="json")
    def _as_text(self, value: int) -> str:
        return duration_text(value)


class WebhookSettings(_Target):
    """JSON by HTTP POST, signed."""

    url: str = of(..., "where to; https, or http")
    secret_file: str | None = of(None, "a file with the key of the signature; none: not signed")
    ca_file: str | None = of(None, "certificates to trust in place of the system's")

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        try:
            found = urlsplit(value)
            sound = found.scheme in ("http", "https") and found.hostname and found.port != 0
        except ValueError:
            sound = None
        if not sound or any(ord(c) <= 32 or ord(c) > 126 for c in value):
            raise ValueError("legal: a URL such as https://host/path, in ASCII")
        return value


class SyslogSettings(_Target):
    """RFC 5424 messages."""

    to: str = of(..., "`udp://HOST:PORT`, `tcp://HOST:PORT` or `unix:///dev/log`")
    facility: str = of("daemon", "its name: daemon, user, local0 … local7, …")

    @field_validator("to")
    @classmethod
    def _to(cls, value: str) -> str:
        syslog_place(value)
        return value

    @field_validator("facility")
    @classmethod
    def _facility(cls, value: str) -> str:
        if value not in FACILITIES:
            raise ValueError(f"legal: {', '.join(FACILITIES)}")
        return value


def syslog_place(value: str) -> tuple[str, Address | str]:
    """(udp, tcp, or unix; where). Raises ValueError."""
    legal = "legal: udp://HOST:PORT, tcp://HOST:PORT, unix:///dev/log"
    try:
        found: SplitResult = urlsplit(value)
        if found.scheme == "unix" and not found.netloc and found.path not in ("", "/"):
            return "unix", found.path
        if found.scheme in PORTS and found.hostname and found.path in ("", "/"):
            port = found.port if found.port is not None else PORTS[found.scheme]
            return found.scheme, Address(found.hostname, port)
    except ValueError:
        pass
    raise ValueError(f"{value!r} is no place for syslog; {legal}")


Kind = Literal["transition", "health", "event"]


class NotifySettings(Group):
    """Who is told of what."""

    on: tuple[Kind, ...] = of(
        ("transition",), "transition, health (its level changed), event (crash, recovered, …)"
    )
    webhook: WebhookSettings | None = of(None, "JSON by HTTP POST")
    syslog: SyslogSettings | None = of(None, "RFC 5424")

    @property
    def targets(self) -> dict[str, _Target]:
        """Those that are set up, by name."""
        both = {"webhook": self.webhook, "syslog": self.syslog}
        return {name: one for name, one in both.items() if one is not None}
