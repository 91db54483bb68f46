"""HTTP connections to exactly the address that was checked.

A name is resolved, every address it has is checked, and one of them is connected to: what the name
stands for a moment later changes nothing. Proxies of the environment are not used.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass

from nsdata.errors import NsdataError, SettingError
from nsdata.support.address import Address, Network, NotResolved, resolve
from nsdata.support.url import Location


class NotConnected(NsdataError):
    """Nobody answers there now."""


class NotTrusted(NsdataError):
    """Who answers there cannot show that it is who it should be."""


@dataclass(frozen=True, slots=True)
class Ways:
    """How connections are made. Times in seconds."""

    connect_s: float = 10.0
    timeout_s: float = 30.0  # without a byte
    allowed: tuple[Network, ...] = ()  # addresses that are fine whatever they are
    ca_file: str | None = None  # else the system's


class Pinned(http.client.HTTPConnection):
    """A connection to one address of a location."""

    def __init__(self, to: Location, address: Address, ways: Ways) -> None:
        super().__init__(to.host, to.port)
        self.address = address
        self._to = to
        self._ways = ways
        self._context = _context(ways.ca_file) if to.scheme == "https" else None

    def connect(self) -> None:
        """To the address, TLS included. Raises OSError."""
        where = (str(self.address), self._to.port)
        end = socket.create_connection(where, self._ways.connect_s)
        try:
            end.settimeout(self._ways.timeout_s)
            if self._context is not None:
                end = self._context.wrap_socket(end, server_hostname=self._to.host)
        except BaseException:
            end.close()
            raise
        self.sock: socket.socket = end


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingError(f"support.ca-file {ca_file} cannot be used: {error}") from error


def connect(to: Location, ways: Ways) -> Pinned:
    """A connection to the first address that answers. Raises NotConnected, NotTrusted,
    AddressRefused, SettingError."""
    try:
        addresses = resolve(to.host, to.port, ways.allowed)
    except NotResolved as error:
        raise NotConnected(str(error)) from error
    refused = []
    for address in addresses:
        connection = Pinned(to, address, ways)
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not trusted: {error.verify_message}"
            raise NotTrusted(f"{to.authority}: {why}") from error
        except OSError as error:
            refused.append(f"{address}: {said(error)}")
        else:
            return connection
    raise NotConnected(f"no connection to {to.host}: {'; '.join(refused)}")


def said(error: Exception) -> str:
    """What an error of a connection says, for a person."""
    if isinstance(error, TimeoutError):
        return "nothing happened in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
