"""One driver at a time: a lock on a card's BAR, and who has it.

The lock is flock's, on the file itself, so that it is gone with the process that held it.
"""

import fcntl
import os
from pathlib import Path

from nsdata.errors import OffloadError


def take(path: Path) -> int:
    """Lock a file; the descriptor that holds the lock until it is closed.

    Raises OffloadError when another has it, OSError when it cannot be opened.
    """
    held = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = holder(held)
        os.close(held)
        raise OffloadError(
            f"pcie: {path} is in use{who}: a block has one driver. End that one first"
        ) from None
    return held


def holder(file: int) -> str:
    """` by process 7 (nsdata)`: who has a lock on an open file; empty when it is not to be seen."""
    inode = str(os.fstat(file).st_ino)
    try:
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if "->" in fields or fields[1] != "FLOCK" or fields[5].rpartition(":")[2] != inode:
                continue
            name = Path(f"/proc/{fields[4]}/comm").read_text().strip()
            return f" by process {fields[4]} ({name})"
    except (OSError, IndexError):
        pass
    return ""
