"""Which addresses a support report is not sent to, and what a host name stands for; with `url`,
all rules of a custom location (`location`).

Loopback, link-local and the metadata services of clouds would make the appliance speak to itself
or to its hypervisor in somebody else's name. Private networks are fine.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator

from nsdata.errors import NsdataError
from nsdata.support.url import Location, parse

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRefused(NsdataError):
    """A host has an address that nothing is sent to."""


class NotResolved(NsdataError):
    """A host name has no address now."""


_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("this host", ("0.0.0.0/8", "::/128")),
    ("loopback", ("127.0.0.0/8", "::1/128")),
    # Link-local holds the metadata service of most clouds, 169.254.169.254.
    ("link-local", ("169.254.0.0/16", "fe80::/10")),
    ("a cloud's metadata service", (
        "fd00:ec2::/32",  # Amazon: instance metadata (::254), credentials of pods (::23)
        "fd20:ce::254/128",  # Google
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
    )),
    ("multicast", ("224.0.0.0/4", "ff00::/8")),
    ("reserved", ("240.0.0.0/4", "fec0::/10", "100::/64")),
)  # fmt: skip
KINDS = tuple((kind, ipaddress.ip_network(net)) for kind, nets in _KINDS for net in nets)
_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")  # RFC 7915, by RFC 2765
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, 6.1: before the IPv4 address
_LOW = (1 << 32) - 1
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


def carried(address: Address) -> Iterator[Address]:
    """The address, and every IPv4 address that it stands for (mapped, translated, compatible,
    6to4, Teredo, ISATAP, NAT64)."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    number = int(address)
    if (
        any(address in net for net in (*_NAT64, _TRANSLATED))
        or (number >> 32) & _LOW in _ISATAP
        or (address in _COMPATIBLE and number > 1)  # :: and ::1 are themselves
    ):
        yield ipaddress.IPv4Address(number & _LOW)


def refused(address: Address, allowed: Iterable[Network] = ()) -> str | None:
    """What kind of address it is that nothing is sent to; None: it is fine. allowed: networks
    that are fine whatever they are; of several addresses in one, each has to be fine itself."""
    allowed = tuple(allowed)

    def named(one: Address) -> bool:
        return any(one in net for net in allowed if net.version == one.version)

    if named(address):
        return None
    for one in carried(address):
        if named(one):
            continue
        for kind, net in KINDS:
            if net.version == one.version and one in net:
                return kind
    return None


def location(url: str, allowed: Iterable[Network] = ()) -> Location:
    """The parts of a URL that a report may be PUT to, by every rule that needs no resolver. Raises
    SettingError with the rule it breaks, and AddressRefused."""
    found = parse(url)
    try:
        addresses: list[Address] = [ipaddress.ip_address(found.host)]
    except ValueError:
        own = found.host == "localhost" or found.host.endswith(".localhost")  # RFC 6761, 6.3
        addresses = [_LOOPBACK] if own else []
    _check(found.host, addresses, allowed)
    return found


def resolve(host: str, port: int, allowed: Iterable[Network] = ()) -> list[Address]:
    """The addresses of a host, in the order to be tried. Raises NotResolved, and AddressRefused
    when one of them is refused: nothing is sent to a name that is also that."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise NotResolved(f"{host} has no address: {error}") from error
    addresses = list(dict.fromkeys(
        ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found
    ))  # fmt: skip
    if not addresses:
        raise NotResolved(f"{host} has no address")
    _check(host, addresses, allowed)
    return addresses


def _check(host: str, addresses: Iterable[Address], allowed: Iterable[Network]) -> None:
    """Raises AddressRefused when one of the addresses of a host is refused."""
    allowed = tuple(allowed)
    for address in addresses:
        if kind := refused(address, allowed):
            named = host if host == str(address) else f"{host} ({address})"
            raise AddressRefused(
                f"{named} is {kind}: nothing is sent there unless support.allow names its network"
            )
