"""Write frames to a capture file, with the timestamps they came with.

A name that ends in .pcapng (or .ntar) gives a pcapng, any other a pcap. Both hold
nanoseconds whatever the source had, so that no timestamp is ever rounded: a pcap gets the
magic a1b23c4d, which libpcap ≥ 1.5 and everything built on it reads; a pcapng gets
if_tsresol 9. A pcap has one link type; a second one is an error that asks for .pcapng,
where every link type becomes an interface.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Iterable
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nsdata.capture import pack
from nsdata.capture.pcapfile import Batch
from nsdata.errors import OutputError

LINKTYPE_ETHERNET = 1
SNAPLEN = 262144
BUFFER = 1024 * 1024  # bytes gathered before they are written; a frame is at most SNAPLEN


class CaptureWriter:
    """A capture being written: a context manager.

    `inputs` names the captures being read, none of which may be the output. `linktype` is
    for a pcap to which no frame is ever written. Every failure of the disk is an
    OutputError that names the file; what is on the disk then ends behind a whole packet.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        linktype: int = LINKTYPE_ETHERNET,
        inputs: Iterable[str | os.PathLike[str]] = (),
    ) -> None:
        self.path = os.fspath(path)
        self.format = "pcapng" if self.path.lower().endswith((".pcapng", ".ntar")) else "pcap"
        self.frames = 0  # written so far, those in the buffer included
        self._blocks = self.format == "pcapng"
        self._linktype = linktype
        self._interface_of = np.full(65536, -1, np.int32)
        self._interfaces = 0
        self._out: NDArray[np.uint8] = np.zeros(BUFFER, np.uint8)
        self._used = 0
        self._size = 0  # of the file, up to the last whole packet
        self._fd: int | None = None
        for source in inputs:
            try:
                same = os.path.samefile(source, self.path)
            except (OSError, ValueError):
                continue
            if same:
                raise OutputError(
                    f"{self.path}: this is the capture being read; choose another output file"
                )
        try:
            self._fd = os.open(
                self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644
            )
        except (OSError, ValueError) as error:
            raise OutputError(f"{self.path}: cannot be written: {_why(error)}") from None
        if self._blocks:
            self._put(struct.pack("=IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28))

    def write(self, batch: Batch, select: ArrayLike | None = None) -> int:
        """Append frames of `batch`; returns how many.

        `select` is None (all), a bool mask of len(batch), or the indices of the frames in
        the order to write them. OutputError when the disk fails or a pcap would need a
        second link type (the frames before that one are written).
        """
        if self._fd is None:
            raise OutputError(f"{self.path}: the output is closed, or failed before")
        chosen = _indices(select, len(batch))
        start = 0
        while True:
            reason, now, self._used = pack.pack(
                self._blocks,
                batch.data,
                batch.offset,
                batch.caplen,
                batch.wirelen,
                batch.ts_ns,
                batch.linktype,
                chosen,
                start,
                self._interface_of,
                self._out,
                self._used,
            )
            self.frames += now - start
            start = now
            if reason == pack.DONE:
                return len(chosen)
            if reason == pack.OUTSIDE:
                raise OutputError(f"{self.path}: frame {chosen[start]} is not in the batch")
            if reason == pack.LINK:
                self._add_interface(int(batch.linktype[chosen[start]]))
            elif self._used == 0:
                raise OutputError(
                    f"{self.path}: a frame of {batch.caplen[chosen[start]]} bytes is too long; "
                    f"at most {SNAPLEN} can be written"
                )
            else:
                self._flush()

    def _add_interface(self, linktype: int) -> None:
        if self._blocks:
            option = struct.pack("=HHB3xHH", 9, 1, 9, 0, 0)
            self._put(struct.pack("=IIHHI", 1, 32, linktype, 0, SNAPLEN))
            self._put(option + struct.pack("=I", 32))
        elif self._interfaces:
            raise OutputError(
                f"{self.path}: a pcap holds one link type, and a frame of link type {linktype} "
                f"came after those of {self._linktype}; name the output .pcapng"
            )
        else:
            self._linktype = linktype
            self._put_header()
        self._interface_of[linktype] = self._interfaces
        self._interfaces += 1

    def _put_header(self) -> None:
        self._put(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAPLEN, self._linktype))

    def _put(self, data: bytes) -> None:
        if len(data) > BUFFER - self._used:
            self._flush()
        self._out[self._used : self._used + len(data)] = np.frombuffer(data, np.uint8)
        self._used += len(data)

    def _flush(self) -> None:
        done = 0
        room = self._out.data
        try:
            while done < self._used:
                assert self._fd is not None
                done += os.write(self._fd, room[done : self._used])
        except OSError as error:
            self._cut(done)
            self._fail(error)
        self._size += self._used
        self._used = 0

    def _cut(self, done: int) -> None:
        # Leave a file that ends behind a whole packet.
        head = 24 if not self._blocks and self._size == 0 else 0
        if done > head:
            done = head + pack.whole(self._blocks, self._out[head : self._used], done - head)
        assert self._fd is not None
        try:
            os.ftruncate(self._fd, self._size + done)
        except OSError:
            return  # a pipe or a device; nothing more can be done

    def _fail(self, error: OSError) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
        raise OutputError(
            f"{self.path}: cannot be written: {_why(error)}; "
            "the file ends behind the last whole packet that fitted"
        ) from error

    def close(self) -> None:
        """Write what is left and wait until it is on the disk. May be repeated."""
        if self._fd is None:
            return
        if not self._blocks and not self._interfaces:
            self._put_header()
        self._flush()
        fd = self._fd
        try:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                os.fsync(fd)
        except OSError as error:
            self._fail(error)
        self._fd = None
        try:
            os.close(fd)
        except OSError as error:
            self._fail(error)

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _indices(select: ArrayLike | None, count: int) -> NDArray[np.int64]:
    if select is None:
        return np.arange(count, dtype=np.int64)
    chosen = np.asarray(select)
    if chosen.dtype == np.bool_:
        if chosen.shape != (count,):
            raise ValueError(f"a mask of shape {chosen.shape} for {count} frames")
        return np.flatnonzero(chosen).astype(np.int64, copy=False)
    if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
        raise ValueError("select must be a bool mask or integer indices, one-dimensional")
    return np.ascontiguousarray(chosen, np.int64)


def _why(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    hints = {
        errno.ENOSPC: "free some space, or write elsewhere",
        errno.EDQUOT: "the quota is used up; write elsewhere",
        errno.EFBIG: "the file is at its size limit (ulimit -f)",
        errno.ENOENT: "make the directory first",
        errno.EACCES: "write access is needed",
        errno.EROFS: "write elsewhere",
        errno.EISDIR: "name a file in it",
    }
    text = error.strerror or str(error)
    hint = hints.get(error.errno or 0)
    return f"{text} ({hint})" if hint else text
