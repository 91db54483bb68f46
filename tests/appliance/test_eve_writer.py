"""Lines that cannot be written wait, those beyond the room are counted, none is written twice."""

import os
import socket
import time
from pathlib import Path

import pytest

from nsdata.appliance.channel import Channel
from nsdata.appliance.child import Child
from nsdata.appliance.memory import new_page
from nsdata.appliance.writer import RETRY_NS, ROOM, WriterProcess


@pytest.mark.parametrize(("lines", "kept_from"), [(1000, 0), (3 * ROOM // 100, 2 * ROOM // 100)])
def test_lines_wait_for_a_file(tmp_path: Path, lines: int, kept_from: int) -> None:
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine, theirs:
        path = tmp_path / "eve.json"
        os.mkfifo(path)
        writer = WriterProcess(Child("writer", new_page("writer")[1], Channel(mine)),
                               {"eve": str(path)})  # fmt: skip
        text = [b"%099d\n" % number for number in range(lines)]
        now = time.monotonic_ns()
        for start in range(0, lines, 500):
            writer.write(b"".join(text[start : start + 500]), now)
        assert writer.lines == 0
        path.unlink()
        writer.push(now + RETRY_NS)
        written = path.read_bytes().splitlines(keepends=True)
        assert written == text[-len(written) :] and len(written) >= lines - kept_from - 1
        assert (writer.lines, writer.lines + writer.lost) == (len(written), lines)
        assert writer.bytes == path.stat().st_size and not writer.waiting
        writer.write(b"more\n", now + RETRY_NS)
        assert path.read_bytes().endswith(text[-1] + b"more\n")
