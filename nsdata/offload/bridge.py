"""The messages between a transport and a simulator in another process, over a Unix socket.

A message is a 32-bit length of what follows, one byte of kind, and a body; all little-endian.
The client asks, the bridge answers each request once, in order; time in the simulator stands
still between requests.

    kind      body                                       answer
    HELLO     -                                          u32 protocol, u32 data_w
    READ      u32 address                                u32 value
    WRITE     u32 address, u32 value                     -
    WAIT      u64 cycles                                 -
    EXCHANGE  u32 frames, u32 length of each, the bytes  PROGRESS messages (u8 verdict of each
                                                         frame known so far and not yet told),
                                                         then the last with u8 bytes_ok
    IRQ       -                                          u8 level
    RESET     -                                          -
    PINS      u8 (bit 0 seu, bit 1 over_temp)            -
    WAVES     -                                          UTF-8 name of the file, empty: none

An answer's kind is DONE, or FAULT (SLVERR, DECERR), TIMEOUT, BREACH (the stream was broken, a
frame lost or changed), each with a reason in UTF-8. Closing the socket ends the simulation.
"""

import socket
import struct
from enum import IntEnum

PROTOCOL = 1
_HEAD = struct.Struct("<IB")


class Ask(IntEnum):
    """Kinds of requests."""

    HELLO = 0
    READ = 1
    WRITE = 2
    WAIT = 3
    EXCHANGE = 4
    IRQ = 5
    RESET = 6
    PINS = 7
    WAVES = 8


class Answer(IntEnum):
    """Kinds of answers."""

    DONE = 0
    FAULT = 1
    TIMEOUT = 2
    BREACH = 3
    PROGRESS = 4


def send(link: socket.socket, kind: int, body: bytes = b"") -> None:
    """One message. Raises OSError."""
    link.sendall(_HEAD.pack(len(body) + 1, kind) + body)


def receive(link: socket.socket) -> tuple[int, bytes]:
    """One message: kind and body. Raises EOFError at the end, OSError, TimeoutError."""
    size, kind = _HEAD.unpack(_exactly(link, _HEAD.size))
    return kind, _exactly(link, size - 1)


def _exactly(link: socket.socket, size: int) -> bytes:
    room = bytearray(size)
    view = memoryview(room)
    while view:
        got = link.recv_into(view)
        if not got:
            raise EOFError("the other side has closed")
        view = view[got:]
    return bytes(room)
