"""Messages between the supervisor and its processes: JSON, with descriptors, one datagram each.

A datagram is whole or not there: a process that is killed while it sends tears nothing.
"""

from __future__ import annotations

import array
import json
import os
import socket
from typing import Any

LARGEST = 160_000  # bytes of a message; fits the kernel's default buffer (net.core.wmem_max)
DESCRIPTORS = 8

Message = dict[str, Any]


class Gone(Exception):
    """The other end is closed."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends; SOCK_SEQPACKET keeps messages apart and tells when one end dies."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class Channel:
    """One end. Nothing here blocks: what the other end does not take in time is not its concern."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        self.unsent = 0  # messages the other end did not take

    def fileno(self) -> int:
        """For selectors."""
        return self.end.fileno()

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> bool:
        """Whether it was taken. Raises Gone when the other end is closed."""
        data = json.dumps(message, separators=(",", ":")).encode()
        if len(data) > LARGEST:
            raise ValueError(f"a message of {len(data):,} bytes; {LARGEST:,} are possible")
        try:
            if descriptors:
                socket.send_fds(self.end, [data], list(descriptors))
            else:
                self.end.send(data)
        except BlockingIOError:
            self.unsent += 1
            return False
        except (BrokenPipeError, ConnectionError) as error:
            raise Gone from error
        return True

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message and its descriptors, or None. Raises Gone when there will be none."""
        try:
            data, ancillary, _, _ = self.end.recvmsg(
                LARGEST, socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)
            )
        except BlockingIOError:
            return None
        except ConnectionError as error:
            raise Gone from error
        descriptors = array.array("i")
        for level, kind, body in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = len(body) - len(body) % descriptors.itemsize
                descriptors.frombytes(body[:whole])
        if not data:
            raise Gone
        return json.loads(data), list(descriptors)

    def close(self) -> None:
        """Close this end."""
        self.end.close()


def close_all(descriptors: list[int]) -> None:
    """Descriptors that nobody asked for."""
    for one in descriptors:
        os.close(one)
