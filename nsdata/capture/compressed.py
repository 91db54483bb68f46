"""Decompress gzip and zstd piece by piece: bounded memory whatever the input claims.

A source is an iterator of decompressed pieces of at most PIECE bytes. When the compressed
data is damaged or ends early it first yields everything that could be decompressed and
then raises StreamError.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

CHUNK = 64 * 1024  # compressed bytes read at a time
PIECE = 256 * 1024  # decompressed bytes handed on at a time
ZSTD_WINDOW = 128 * 1024 * 1024  # largest window that is accepted, as the zstd command does
ZSTD_BLOCK = 128 * 1024  # largest zstd block (RFC 8878, section 3.1.1.2.4)

Read = Callable[[int], bytes]


class StreamError(Exception):
    """The compressed data is damaged, or ends early; the message says which."""


def gunzip(read: Read) -> Iterator[bytes]:
    """Pieces of a gzip file (RFC 1952) of one or more members; zeros may pad its end."""
    member = zlib.decompressobj(wbits=31)
    members = 0
    between = True
    data = b""
    while True:
        if not data:
            data = read(CHUNK)
            if between and members:
                if not data:
                    return
                data = data.lstrip(b"\0")
                if not data:
                    continue
        ended = not data
        before = member.copy()
        try:
            piece = member.decompress(data, PIECE)
        except zlib.error as error:
            yield from _salvage(before, data)
            if between and members:
                raise StreamError("something that is not gzip follows the gzip data") from None
            raise StreamError(f"the gzip data is damaged ({error})") from None
        between = False
        if piece:
            yield piece
        if member.eof:
            data = member.unused_data.lstrip(b"\0")
            member = zlib.decompressobj(wbits=31)
            members += 1
            between = True
        else:
            data = member.unconsumed_tail
            if ended and not piece:
                raise StreamError("the gzip data ends early")


def _salvage(member: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    # zlib's binding throws away what it decompressed before a fault: go byte by byte.
    for at in range(len(data)):
        try:
            piece = member.decompress(data[at : at + 1])
        except zlib.error:
            return
        if piece:
            yield piece


class _Exact:
    """Reads exactly n bytes or says that the data ends early."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._rest = b""

    def upto(self, count: int) -> bytes:
        parts = [self._rest]
        have = len(self._rest)
        while have < count:
            more = self._read(max(CHUNK, count - have))
            if not more:
                break
            parts.append(more)
            have += len(more)
        whole = b"".join(parts)
        self._rest = whole[count:]
        return whole[:count]

    def exactly(self, count: int) -> bytes:
        data = self.upto(count)
        if len(data) < count:
            raise StreamError("the zstd data ends early")
        return data

    def skip(self, count: int) -> None:
        while count:
            count -= len(self.exactly(min(count, CHUNK)))


def unzstd(read: Read) -> Iterator[bytes]:
    """Pieces of a zstd file (RFC 8878) of one or more frames, some of them skippable.

    Frames are fed to the decompressor block by block. That bounds what one call can give
    (a block holds 128 KiB at most) and tells a file that ends early from one that ends.
    """
    source = _Exact(read)
    frames = 0
    while True:
        magic = source.upto(4)
        if not magic and frames:
            return
        if len(magic) < 4:
            raise StreamError("the zstd data ends early")
        frames += 1
        number = int.from_bytes(magic, "little")
        if number >> 4 == 0x184D2A5:
            source.skip(int.from_bytes(source.exactly(4), "little"))
        elif number == 0xFD2FB528:
            yield from _zstd_frame(source, magic)
        else:
            raise StreamError("something that is not zstd follows the zstd data")


def _zstd_frame(source: _Exact, magic: bytes) -> Iterator[bytes]:
    import zstandard as zstd  # here: only who reads zstd pays for loading it

    frame = zstd.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    def feed(data: bytes) -> bytes:
        try:
            return bytes(frame.decompress(data))
        except (zstd.ZstdError, MemoryError) as error:
            raise StreamError(f"the zstd data is damaged ({error})") from None

    descriptor = source.exactly(1)
    flags = descriptor[0]
    single = flags >> 5 & 1
    length = (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    feed(magic + descriptor + source.exactly(length))
    last = False
    while not last:
        header = source.exactly(3)
        value = int.from_bytes(header, "little")
        last = bool(value & 1)
        kind, size = value >> 1 & 3, value >> 3
        if kind == 3 or size > ZSTD_BLOCK:
            raise StreamError("the zstd data is damaged (impossible block)")
        piece = feed(header + source.exactly(1 if kind == 1 else size))
        if piece:
            yield piece
    if flags >> 2 & 1:
        feed(source.exactly(4))
    if not frame.eof:
        raise StreamError("the zstd data is damaged (frame does not end)")


SOURCES: dict[str, Callable[[Read], Iterator[bytes]]] = {"gzip": gunzip, "zstd": unzstd}
