"""Memory two processes share: handed on by its descriptor, gone with the last of them."""

from __future__ import annotations

import mmap
import os

from nsdata.errors import EngineError
from nsdata.path.ring import Ring, ring_bytes
from nsdata.path.status import PAGE_BYTES, StatusPage


def make(name: str, size: int) -> int:
    """A descriptor of `size` bytes of shared memory; sealed, so that nobody can shrink it."""
    import fcntl

    try:
        fd = os.memfd_create(f"nsdata-{name}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except OSError as error:
        raise EngineError(
            f"no shared memory for {name} ({size:,} bytes): {error.strerror}; "
            "fewer or smaller rings need less (appliance.ring.*)"
        ) from error
    return fd


def view(fd: int, *, read_only: bool = False) -> mmap.mmap:
    """The memory behind a descriptor, mapped."""
    access = mmap.PROT_READ if read_only else mmap.PROT_READ | mmap.PROT_WRITE
    return mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED, access)


def new_page(name: str) -> tuple[int, StatusPage]:
    """A status page and its descriptor."""
    fd = make(f"{name}-status", PAGE_BYTES)
    return fd, StatusPage(view(fd), create=True)


class RingMemory:
    """A ring's two memories, by descriptor: `frames` and `answers`."""

    def __init__(self, name: str, slots: int, frames: int, room: int) -> None:
        sizes = ring_bytes(slots, frames, room)
        self.frames = make(f"{name}-frames", sizes[0])
        self.answers = make(f"{name}-answers", sizes[1])
        # Begun here, so that both sides find it whole.
        Ring(view(self.frames), view(self.answers), slots, frames, room)

    def close(self) -> None:
        """Let go of the descriptors; whoever mapped the memory keeps it."""
        os.close(self.frames)
        os.close(self.answers)


def port_ring(frames: int, answers: int) -> Ring:
    """The port's side of a ring."""
    return Ring(view(frames), view(answers))


def worker_ring(frames: int, answers: int) -> Ring:
    """The worker's side: frames cannot be written."""
    return Ring(view(frames, read_only=True), view(answers))
