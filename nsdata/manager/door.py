"""Who is let in to a listener: so many connections, so many of an address.

A connection costs a descriptor before anything is known of it. The door counts each from the
moment it is taken until it is closed. When there are too many, the one that has waited longest for
a request (or for its handshake) goes, so that whoever speaks at once gets in beside those who say
nothing. When all are busy, the new one goes.
"""

from __future__ import annotations

import logging
import resource
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

RESERVED = 256  # descriptors for everything else: database, archives, the other process
ENDING = 64  # connections that were told to go and are not closed yet
SAY_S = 10.0  # between two lines of the log
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a listener bears. `known_are_free`: who has shown a certificate counts for no address
    (a thousand appliances may be behind one), and does not go for another."""

    most: int = 1000  # connections
    of_address: int = 250
    known_are_free: bool = False
    handshake_s: float = 10.0
    header_s: float = 10.0  # from connecting, or from its first byte, until it is complete
    header_most: int = 64 << 10  # bytes
    body_s: float = 20.0  # without a byte of it
    body_least: int = 1024  # bytes a second, in the mean after the first `body_s`


PEOPLE = Limits()
AGENTS = Limits(most=5000, of_address=1500, known_are_free=True)


def raise_descriptors() -> None:
    """As many open files as this process may have; its children inherit that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # then it is as it was, and the door knows it
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Guest(socket.socket):
    """A connection, which the door knows until it is closed."""

    door: Door
    address: Any
    busy = False  # with a request; or known
    ending = False

    def close(self) -> None:
        """Let go, and say so."""
        self.door.left(self)
        super().close()


class Door(socket.socket):
    """A listening socket that counts whom it lets in."""

    def __init__(self, end: socket.socket, limits: Limits, name: str) -> None:
        super().__init__(end.family, end.type, end.proto, fileno=end.detach())
        self.limits, self.name = limits, name
        self.refused = 0  # connections ended for others, since the start
        self._guests: dict[Any, Guest] = {}  # by address and port, the oldest first
        self._of_host: dict[str, dict[Guest, None]] = {}
        self._ending = 0
        self._said_s = -SAY_S

    @property
    def most(self) -> int:
        """Connections, below what descriptors there are."""
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if descriptors == resource.RLIM_INFINITY:
            return self.limits.most
        return max(1, min(self.limits.most, max(descriptors // 2, descriptors - RESERVED)))

    @property
    def of_address(self) -> int:
        """Connections of one address: others are to have room, too."""
        return max(1, min(self.limits.of_address, self.most * 3 // 4))

    def accept(self) -> tuple[socket.socket, Any]:
        """The next who may stay. Raises BlockingIOError when there is none, or when those who
        were told to go have to be closed first."""
        if self._ending >= ENDING:
            raise BlockingIOError
        taken, address = super().accept()
        guest = Guest(taken.family, taken.type, taken.proto, fileno=taken.detach())
        guest.door, guest.address = self, address
        host: str = address[0]
        mine = self._of_host.get(host, {})
        full = len(self._guests) >= self.most
        if (full or len(mine) >= self.of_address) and not self._make_room(host, full):
            guest.close()
            raise BlockingIOError  # the next one in its turn
        self._guests[address] = guest
        self._of_host.setdefault(host, {})[guest] = None
        return guest, address

    def guest(self, address: Any) -> Guest | None:
        """The one with this address and port."""
        return self._guests.get(address)

    def known(self, guest: Guest) -> None:
        """It has shown who it is."""
        guest.busy = True
        self._leave_host(guest)

    def left(self, guest: Guest) -> None:
        """It is closed."""
        if guest.ending:
            guest.ending = False
            self._ending -= 1
        self._forget(guest)

    def _forget(self, guest: Guest) -> None:
        if self._guests.get(guest.address) is guest:
            del self._guests[guest.address]
        self._leave_host(guest)

    def _leave_host(self, guest: Guest) -> None:
        host = guest.address[0]
        if (mine := self._of_host.get(host)) is not None:
            mine.pop(guest, None)
            if not mine:
                del self._of_host[host]

    def _make_room(self, host: str, full: bool) -> bool:
        """Whether one went for another: of the same address if that has too many."""
        self.refused += 1
        now = time.monotonic()
        if now - self._said_s >= SAY_S:
            self._said_s = now
            log.warning(
                "%s listener: %s (%d): idle ones are ended or new ones refused; "
                "%d so far, the last for one from %s",
                self.name, "too many connections" if full else "too many connections of an address",
                self.most if full else self.of_address, self.refused, host,
            )  # fmt: skip
        mine = self._of_host.get(host, {})
        among = mine if len(mine) >= self.of_address else self._guests.values()
        oldest = next((one for one in among if not one.busy), None)
        if oldest is None:
            return False
        oldest.ending = True
        self._ending += 1
        self._forget(oldest)
        with suppress(OSError):  # it is gone by itself
            oldest.shutdown(socket.SHUT_RDWR)  # whoever reads it sees its end, and closes it
        return True
