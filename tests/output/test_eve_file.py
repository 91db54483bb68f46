"""Whole lines only, whatever the disk does."""

import errno
import os
import subprocess
import sys

import pytest

from nsdata.errors import OutputError
from nsdata.output import eve_file
from nsdata.output.eve_file import EveFile

LINE = b'{"a":1}\n'


def failing_write(monkeypatch, room, code=errno.ENOSPC):
    """os.write that takes `room` bytes in all, in pieces of 5, then fails."""
    left = [room]

    def write(fd, data):
        n = min(len(data), 5, left[0])
        if n == 0:
            raise OSError(code, os.strerror(code))
        left[0] -= n
        return real(fd, bytes(data[:n]))

    real = os.write
    monkeypatch.setattr(eve_file.os, "write", write)


def test_lines_arrive_in_order(tmp_path):
    path = tmp_path / "eve.json"
    path.write_text("old\n")
    with EveFile(path) as out:
        for _ in range(3):
            out.write(LINE)
        assert path.read_bytes() == b""  # buffered
        out.flush()
        assert (out.lines, out.bytes) == (3, 24)
        out.write(memoryview(LINE))
        out.write(b"")
    assert path.read_bytes() == LINE * 4
    with EveFile(path, append=True) as out:
        out.write(LINE)
    assert path.read_bytes() == LINE * 5
    out.close()  # twice is fine


def test_much_is_written_before_close(tmp_path):
    path = tmp_path / "eve.json"
    out = EveFile(path)
    out.write(LINE * (eve_file.BUFFER // len(LINE) + 1))
    assert path.stat().st_size == out.bytes > eve_file.BUFFER
    out.close()


@pytest.mark.parametrize("room", range(0, 33))
def test_full_disk_keeps_whole_lines(tmp_path, monkeypatch, room):
    path = tmp_path / "eve.json"
    path.write_bytes(b"before\n")
    out = EveFile(path, append=True)
    failing_write(monkeypatch, room)
    out.write(LINE * 5)
    with pytest.raises(OutputError, match=r"eve\.json: cannot write: No space left.*free some"):
        out.flush()
    whole = room // len(LINE)
    assert path.read_bytes() == b"before\n" + LINE * whole
    assert (out.lines, out.bytes) == (whole, whole * len(LINE))
    with pytest.raises(OutputError):  # broken stays broken: no line is skipped silently
        out.write(LINE)
    out.close()
    assert path.read_bytes() == b"before\n" + LINE * whole


@pytest.mark.parametrize("room", range(0, 41))
@pytest.mark.parametrize("counted", [True, False])
def test_an_interrupt_loses_and_doubles_nothing(tmp_path, monkeypatch, room, counted):
    """Ctrl-C in the middle of a flush, before or after the last piece was counted."""
    path = tmp_path / "eve.json"
    out = EveFile(path)
    left, real = [room], os.write

    def write(fd, data):
        n = min(len(data), 5, left[0])
        if n == 0:
            raise KeyboardInterrupt
        left[0] -= n
        real(fd, bytes(data[:n]))
        if left[0] == 0 and not counted:
            raise KeyboardInterrupt
        return n

    out.write(b"".join(b'{"n":%d}\n' % n for n in range(6)))
    expected = bytes(out._pending)
    with monkeypatch.context() as patch:
        patch.setattr(eve_file.os, "write", write)
        with pytest.raises(KeyboardInterrupt):
            out.flush()
    out.close()
    assert path.read_bytes() == expected
    assert (out.lines, out.bytes) == (6, len(expected))


def test_a_full_disk_after_an_interrupt_still_leaves_whole_lines(tmp_path, monkeypatch):
    path = tmp_path / "eve.json"
    out = EveFile(path)
    out.write(LINE * 3)
    pieces = iter([11, KeyboardInterrupt(), 2, OSError(errno.ENOSPC, "No space left")])
    real = os.write

    def write(fd, data):
        piece = next(pieces)
        if isinstance(piece, BaseException):
            raise piece
        return real(fd, bytes(data[:piece]))

    monkeypatch.setattr(eve_file.os, "write", write)
    with pytest.raises(KeyboardInterrupt):
        out.flush()
    with pytest.raises(OutputError, match="the 1 whole lines"):
        out.close()
    assert path.read_bytes() == LINE


def test_a_torn_line_is_refused(tmp_path):
    with EveFile(tmp_path / "eve.json") as out, pytest.raises(OutputError, match="without its end"):
        out.write(b'{"a":')


@pytest.mark.parametrize(
    ("name", "hint"), [("no/such/eve.json", "create the directory"), ("", "name a file")]
)
def test_a_path_that_cannot_be_opened(tmp_path, name, hint):
    with pytest.raises(OutputError, match=f"cannot open for writing.*{hint}"):
        EveFile(tmp_path / name)


def test_devices_are_not_truncated():
    with pytest.raises(OutputError, match="No space left"), EveFile("/dev/full") as out:
        out.write(LINE)
    with EveFile("/dev/null") as out:
        out.write(LINE)


def test_the_error_of_the_body_wins():
    with pytest.raises(ZeroDivisionError), EveFile("/dev/full") as out:
        out.write(LINE)
        raise ZeroDivisionError


def test_file_size_limit_of_the_system(tmp_path):
    """The same for real: RLIMIT_FSIZE in a child process."""
    code = (
        "import resource, signal, sys\n"
        "from nsdata.output.eve_file import EveFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1003, 1003))\n"
        "out = EveFile(sys.argv[1])\n"
        "out.write(b'123456789\\n' * 500)\n"
        "try:\n    out.close()\nexcept Exception as e:\n    print(e)\n"
    )
    path = tmp_path / "eve.json"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "ulimit -f" in done.stdout, done.stderr
    assert path.read_bytes() == b"123456789\n" * 100


def test_standard_output_and_a_reader_that_goes_away():
    code = (
        "from nsdata.output.eve_file import EveFile\n"
        "with EveFile('-') as out: out.write(b'{}\\n' * {n})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{n}", "3")], capture_output=True, text=True
    )
    assert done.stdout == "{}\n{}\n{}\n"
    gone = subprocess.Popen(
        [sys.executable, "-c", code.replace("{n}", "500000")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert gone.stdout is not None and gone.stderr is not None
    gone.stdout.close()
    assert b"OutputError: standard output: cannot write" in gone.stderr.read()
    gone.stderr.close()
    assert gone.wait() == 1


def test_a_pipe_that_does_not_block():
    """A slow reader of a non-blocking pipe is waited for."""
    code = (
        "import os\n"
        "from nsdata.output.eve_file import EveFile\n"
        "os.set_blocking(1, False)\n"
        "with EveFile('-') as out: out.write(b'123456789\\n' * 100000)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = child.communicate(timeout=60)
    assert (out, err) == (b"123456789\n" * 100000, b"")
