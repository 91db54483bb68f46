"""Notifications by HTTP POST: a JSON body, signed as https://www.standardwebhooks.com has it.

    webhook-id         the same at every try: whoever has seen it leaves it out
    webhook-timestamp  seconds since the epoch, of this try
    webhook-signature  "v1," and base64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY"

A redirect is not followed: the body goes where the operator said and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import unquote, urlsplit

from nsdata.appliance.monitoring.notification import Failed, Notification, Refused
from nsdata.appliance.monitoring.settings import WebhookSettings, read_key, redacted

READ = 4096  # bytes of an answer that are looked at
NEVER = frozenset({400, 405, 410, 411, 413, 414, 415, 422, 501})  # will not take it later either
LONGEST_AFTER_S = 600.0  # of a Retry-After


def signature(key: bytes, identity: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{identity}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Webhook:
    """One URL. Raises Failed for a secret or certificates that cannot be read now."""

    def __init__(self, settings: WebhookSettings) -> None:
        self.name = redacted(settings.url)
        self._url = urlsplit(settings.url)
        self._timeout_s = settings.timeout / 1e9
        self._secure = self._url.scheme == "https"
        try:
            self._key = read_key(settings.secret_file) if settings.secret_file else None
            self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except (OSError, ValueError) as error:
            raise Failed(str(error)) from error

    def deliver(self, one: Notification) -> str:
        """POST it; what the answer was. Raises Refused or Failed."""
        body = json.dumps(one.as_dict(), separators=(",", ":")).encode()
        connection = self._connection()
        over = threading.Event()  # a time limit for all of it, however slowly it drips

        def end() -> None:
            over.set()
            if (sock := connection.sock) is not None:
                with suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)

        timer = threading.Timer(self._timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            connection.request("POST", self._path(), body, self._headers(one.id, body))
            answer = connection.getresponse()
            answer.read(READ)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = "no answer in time" if over.is_set() or isinstance(error, TimeoutError) else (
                f"{type(error).__name__}: {error}")  # fmt: skip
            raise Failed(f"{self.name}: {why}") from error
        finally:
            timer.cancel()
            connection.close()
        return self._judge(answer)

    def _connection(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        if self._secure:
            return http.client.HTTPSConnection(
                host, self._url.port, timeout=self._timeout_s, context=self._tls
            )
        return http.client.HTTPConnection(host, self._url.port, timeout=self._timeout_s)

    def _path(self) -> str:
        query = f"?{self._url.query}" if self._url.query else ""
        return f"{self._url.path or '/'}{query}"

    def _headers(self, identity: str, body: bytes) -> dict[str, str]:
        timestamp = int(time.time())
        identity = identity.encode("ascii", "backslashreplace").decode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "nsdata",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp),
        }
        if self._key is not None:
            headers["webhook-signature"] = signature(self._key, identity, timestamp, body)
        if self._url.username is not None:
            user, word = unquote(self._url.username), unquote(self._url.password or "")
            headers["Authorization"] = (
                "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()
            )
        return headers

    def _judge(self, answer: http.client.HTTPResponse) -> str:
        said = f"{self.name}: HTTP {answer.status}"
        if 200 <= answer.status < 300:
            return said
        if answer.status in NEVER:
            raise Refused(said)
        if 300 <= answer.status < 400:
            raise Failed(f"{said}, a redirect, which is not followed")
        after = answer.getheader("Retry-After", "")
        raise Failed(said, min(float(after), LONGEST_AFTER_S) if after.isdecimal() else 0.0)

    def close(self) -> None:
        """Nothing is kept open."""
