"""Read captures: pcap and pcapng, plain or compressed, as batches of numpy arrays.

A plain file is mapped and never copied; a compressed one runs through a sliding buffer.
Either way memory does not grow with the length of the capture: mapped pages are let go
behind the reader, and the buffer is reused.

A file that another program cuts short while it is mapped would end this process with
SIGBUS when a lost page is touched. Its size is checked before every batch, which turns
all but a race of one batch into a CaptureError.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nsdata.capture import index, sniff
from nsdata.capture.compressed import SOURCES, StreamError
from nsdata.errors import CaptureError

MAX_FRAMES = 4096  # frames of a batch
STEP = 8 * 1024 * 1024  # bytes of a mapping that are let go at a time
BUFFER = 2 * 1024 * 1024  # bytes of the sliding buffer; grows to the longest block, 16 MiB
MAX_INTERFACES_KEPT = 65536  # for `CaptureReader.interfaces`
_ADVICE = "; the packets before it were read"


class Batch:
    """Frames of one batch, as arrays over `data`; valid until the next batch is asked for.

    Frame i is `data[offset[i] : offset[i] + caplen[i]]`. `base` is the (decompressed) file
    offset of `data[0]`. All arrays are read-only.
    """

    __slots__ = ("base", "caplen", "data", "linktype", "offset", "ts_ns", "wirelen")

    def __init__(
        self,
        data: NDArray[np.uint8],
        offset: NDArray[np.uint64],
        caplen: NDArray[np.uint32],
        wirelen: NDArray[np.uint32],
        ts_ns: NDArray[np.uint64],
        linktype: NDArray[np.uint16],
        base: int = 0,
    ) -> None:
        self.data = data  # uint8, 1-D: the mapped file or the decompression buffer
        self.offset = offset  # uint64[n]: index of each frame's first byte in data
        self.caplen = caplen  # uint32[n]: bytes captured
        self.wirelen = wirelen  # uint32[n]: bytes on the wire
        self.ts_ns = ts_ns  # uint64[n]: ns since the epoch, below 2^63
        self.linktype = linktype  # uint16[n]: LINKTYPE_*
        self.base = base

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True)
class Interface:
    """An interface frames were captured on. A pcap has one, without a name."""

    linktype: int
    snaplen: int
    resolution: str
    tsoffset: int
    name: str
    section: int


class _Window(Protocol):
    """Bytes of the capture in reach: `data[:size]`, whose first byte is byte `base` of it."""

    data: NDArray[np.uint8]
    size: int
    base: int
    fault: str | None

    def consumed(self, position: int) -> int: ...
    def slide(self, position: int, need: int) -> int | None: ...
    def advance(self, position: int) -> None: ...
    def close(self) -> None: ...


class _Mapped:
    """The whole file, mapped."""

    def __init__(self, path: str, fd: int, size: int) -> None:
        self._fd = fd
        self._length = size
        self._dropped = 0
        self.size = size
        self.base = 0
        self.fault: str | None = None
        try:
            self._map = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise CaptureError(path, f"cannot be mapped: {error.strerror}") from None
        self._map.madvise(mmap.MADV_SEQUENTIAL)
        self.data: NDArray[np.uint8] = np.frombuffer(self._map, np.uint8)

    def consumed(self, position: int) -> int:
        return position

    def slide(self, position: int, need: int) -> int | None:
        return None

    def advance(self, position: int) -> None:
        # Everything before `position` is done with.
        now = os.fstat(self._fd).st_size
        if now < self.size:
            self.size = now
            self.fault = f"the file shrank from {self._length} to {now} bytes while it was read"
        if position - self._dropped >= STEP:
            until = position - position % mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, self._dropped, until - self._dropped)
            self._dropped = until

    def close(self) -> None:
        # Arrays may still point into the mapping; it goes when they do.
        del self.data
        os.close(self._fd)


class _Sliding:
    """A stretch of the decompressed file that slides along it."""

    def __init__(self, path: str, fd: int, compression: str) -> None:
        self._file = os.fdopen(fd, "rb", buffering=0)
        self._pieces = SOURCES[compression](self._read)
        self._piece = memoryview(b"")
        self._path = path
        self._ended = False
        self._compressed = 0
        self._buffer: NDArray[np.uint8] = np.empty(BUFFER, np.uint8)
        self.data = self._locked()
        self.size = 0
        self.base = 0
        self.fault: str | None = None

    def _locked(self) -> NDArray[np.uint8]:
        view = self._buffer.view()
        view.flags.writeable = False
        return view

    def _read(self, count: int) -> bytes:
        try:
            data = self._file.read(count)
        except OSError as error:
            raise CaptureError(self._path, f"cannot be read: {error.strerror}") from None
        self._compressed += len(data)
        return data

    def consumed(self, position: int) -> int:
        return self._compressed

    def slide(self, position: int, need: int) -> int | None:
        """Move `position` to the front and fill up; its new index, or None at the end."""
        if self._ended:
            return None
        rest = self.size - position
        old = self._buffer
        if need > len(old):
            self._buffer = np.empty(need + BUFFER, np.uint8)
            self.data = self._locked()
        self._buffer[:rest] = old[position : self.size].copy()
        self.base += position
        self.size = rest
        room = memoryview(self._buffer)  # type: ignore[arg-type]
        try:
            while self.size < len(room):
                if not self._piece:
                    self._piece = memoryview(next(self._pieces))
                taken = min(len(self._piece), len(room) - self.size)
                room[self.size : self.size + taken] = self._piece[:taken]
                self._piece = self._piece[taken:]
                self.size += taken
        except StopIteration:
            self._ended = True
        except StreamError as error:
            self._ended = True
            self.fault = str(error)
        return 0 if self.size > rest else None

    def advance(self, position: int) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class CaptureReader:
    """An open capture: a context manager, and an iterable of `Batch`.

    Every iteration begins at the first frame. A capture that ends inside a packet or is
    corrupt yields every whole packet before the fault; then CaptureError is raised, whose
    offset is where the packet or block at fault begins (in the decompressed data).
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.size_bytes = 0  # of the file as it lies on the disk
        self.position_bytes = 0  # how much of size_bytes has been read
        self.compression: str | None = None  # "gzip", "zstd" or None
        self.truncated = False  # the last iteration found the end missing
        self._interfaces: list[Interface] = []
        self._section = 0
        self._indexer = index.Indexer(MAX_FRAMES)
        self._window: _Window | None = self._open()
        try:
            self._begin(self._window)
        except BaseException:
            self.close()
            raise
        state = self._indexer.state
        self.format = state["format"] or ""  # "pcap" or "pcapng"
        self._swapped = state["swapped"]
        self._started = False

    # -- opening

    def _open(self) -> _Window:
        path = self.path
        if path == "-":
            raise CaptureError(
                path,
                "captures are not read from standard input; save it to a file first, then name "
                "the file (a file that is called - is ./-)",
            )
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise CaptureError(path, "no such file; check the name and the directory") from None
        except PermissionError:
            raise CaptureError(
                path, "permission denied; read access to the file is needed"
            ) from None
        except OSError as error:
            raise CaptureError(path, f"cannot be opened: {error.strerror}") from None
        except ValueError:
            raise CaptureError(path, "the name holds a zero byte") from None
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise CaptureError(path, "this is a directory; name the capture files in it")
            if not stat.S_ISREG(status.st_mode):
                raise CaptureError(
                    path, "this is not a regular file; save the capture to a file first"
                )
            self.size_bytes = status.st_size
            if not status.st_size:
                raise CaptureError(path, "the file is empty; was the capture stopped early?", 0)
            head = os.pread(fd, 512, 0)
            self.compression = sniff.compression(head)
            if self.compression:
                return _Sliding(path, fd, self.compression)
            return _Mapped(path, fd, status.st_size)
        except OSError as error:
            os.close(fd)
            raise CaptureError(path, f"cannot be read: {error.strerror}") from None
        except BaseException:
            os.close(fd)
            raise

    def _begin(self, window: _Window) -> None:
        indexer = self._indexer
        window.advance(0)
        status = indexer.begin(window.data, window.size)
        while status == index.MORE and window.slide(0, indexer.state["need"]) is not None:
            status = indexer.begin(window.data, window.size)
        if status == index.FULL:
            return
        head = window.data[: min(window.size, 512)].tobytes()
        inside = f"inside the {self.compression} data: " if self.compression else ""
        if status == index.MORE:
            if window.fault:
                reason = window.fault
            elif not head:
                reason = inside + "there is nothing"
            elif len(head) < 4:
                reason = f"{inside}{len(head)} bytes are too short for a capture"
            else:
                reason = (
                    f"{inside}the file ends inside its header: "
                    f"{len(head)} bytes of {indexer.state['need']} are there"
                )
            self.truncated = True
            raise self._fault(reason, window.size)
        if index.FAULTS[status] == "magic":
            raise self._fault(inside + sniff.describe(head), 0)
        raise self._fault(inside + self._reason(status), 0)

    # -- what is known about the capture

    @property
    def byte_order(self) -> str:
        """ "little" or "big"; of the first section of a pcapng."""
        host_is_little = bool(np.little_endian)
        return "little" if host_is_little != self._swapped else "big"

    @property
    def interfaces(self) -> tuple[Interface, ...]:
        """The interfaces met so far, in the order of the file."""
        return (*self._interfaces, *self._current_interfaces())

    @property
    def linktypes(self) -> tuple[int, ...]:
        """LINKTYPE_* of the interfaces met so far, each once, ascending."""
        return tuple(sorted({interface.linktype for interface in self.interfaces}))

    @property
    def resolution(self) -> str:
        """Step of the timestamps, such as "10^-6 s"; several are joined by ", "."""
        return ", ".join(sorted({interface.resolution for interface in self.interfaces}))

    def _current_interfaces(self) -> list[Interface]:
        return [
            Interface(link, snaplen, _resolution(tsresol), tsoffset, name, self._section)
            for link, snaplen, tsresol, tsoffset, name in self._indexer.interfaces
        ]

    def _leave_section(self) -> None:
        room = MAX_INTERFACES_KEPT - len(self._interfaces)
        if room > 0:
            self._interfaces += self._current_interfaces()[:room]
        self._indexer.leave_section()
        self._section += 1

    # -- reading

    def batches(self, max_frames: int = MAX_FRAMES) -> Iterator[Batch]:
        """Batches of at most `max_frames` frames, from the first frame on.

        The arrays of a batch are valid until the next one is asked for. One iteration at
        a time: a new one ends the one before.
        """
        if self._started or max_frames != self._indexer.capacity:
            self.close()
            self._indexer = index.Indexer(max_frames)
            self._interfaces = []
            self._section = 0
            self.truncated = False
            self._window = self._open()
            self._begin(self._window)
        if self._window is None:
            raise ValueError(f"{self.path}: the capture is closed")
        self._started = True
        return self._iterate(self._window, self._indexer)

    def __iter__(self) -> Iterator[Batch]:
        return self.batches()

    def _iterate(self, window: _Window, indexer: index.Indexer) -> Iterator[Batch]:
        offset, caplen, wirelen = indexer.offset, indexer.caplen, indexer.wirelen
        ts_ns, linktype = indexer.ts_ns, indexer.linktype
        position = indexer.position
        count = 0
        while self._window is window:
            status = (
                indexer.run(window.data, position, window.size, count)
                if position <= window.size
                else index.MORE  # the file shrank
            )
            position = max(position, indexer.position)
            count = indexer.count
            if status == index.SECTION:
                self._leave_section()
                continue
            self.position_bytes = window.consumed(position)
            if count:
                yield Batch(
                    window.data,
                    offset[:count],
                    caplen[:count],
                    wirelen[:count],
                    ts_ns[:count],
                    linktype[:count],
                    window.base,
                )
                if self._window is not window:
                    return
                count = 0
                window.advance(position)
            if status == index.FULL:
                continue
            if status != index.MORE:
                fault_at = window.base + indexer.state["fault_at"]
                raise self._fault(self._reason(status) + _ADVICE, fault_at)
            moved = window.slide(position, indexer.state["need"])
            if moved is None:
                self._end(window, position)
                return
            position = moved

    def _end(self, window: _Window, position: int) -> None:
        left = window.size - position
        self.position_bytes = self.size_bytes
        if window.fault:
            self.truncated = True
            place = window.base + min(position, window.size)
            raise self._fault(window.fault + _ADVICE, place)
        if left:
            self.truncated = True
            what = "packet" if self.format == "pcap" else "block"
            need = self._indexer.state["need"]
            known = f"{left} bytes of {'at least ' if need <= 16 else ''}{need} are there"
            raise self._fault(
                f"the file ends inside this {what} ({known}){_ADVICE}", window.base + position
            )

    def _fault(self, reason: str, offset: int) -> CaptureError:
        return CaptureError(self.path, reason, offset, decompressed=self.compression is not None)

    def _reason(self, status: int) -> str:
        state = self._indexer.state
        a, b = state["fault_a"], state["fault_b"]
        match index.FAULTS[status]:
            case "version":
                return f"version {a}.{b} of the format is not known"
            case "caplen":
                return f"corrupt: a packet of {a} bytes, where {b} are possible"
            case "length":
                return f"corrupt: a block of type {a:#x} that is {b} bytes long"
            case "trailer":
                return f"corrupt: a block that is {a} bytes long in front and {b} behind"
            case "byte order":
                return f"corrupt: {a:#010x} is no byte-order magic of pcapng"
            case "interface":
                return f"corrupt: a packet of interface {a}, where {b} are described"
            case "interfaces":
                return f"more than {a} interfaces in a section"
            case "option":
                return f"corrupt: interface option {a} with {b} bytes"
            case fault:
                return f"corrupt: {fault}"

    def close(self) -> None:
        """Let go of the file. Arrays already handed out stay readable. May be repeated."""
        window, self._window = self._window, None
        if window is not None:
            window.close()

    def __enter__(self) -> CaptureReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _resolution(tsresol: int) -> str:
    return f"{2 if tsresol & 0x80 else 10}^-{tsresol & 0x7F} s"


def open_capture(path: str | os.PathLike[str]) -> CaptureReader:
    """Open a capture and read its header; CaptureError says what is wrong with the file."""
    return CaptureReader(path)
