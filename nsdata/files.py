"""Files that somebody names, read by who must not wait for them."""

from __future__ import annotations

import os
import stat


def read_whole(path: str | os.PathLike[str], most: int) -> bytes:
    """The whole of a regular file of at most so many bytes. A FIFO or a device in its place is
    an error, not a wait. Raises OSError, and ValueError for what is no such file."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise ValueError("it is no regular file")
        with open(number, "rb", closefd=False) as file:
            found = file.read(most + 1)
    finally:
        os.close(number)
    if len(found) > most:
        raise ValueError(f"it is longer than {most:,} bytes")
    return found
