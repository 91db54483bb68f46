"""What processes say to each other and an operator to them: whole messages, and nobody waits."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsdata.appliance.channel import LARGEST, Channel, Gone, pair
from nsdata.appliance.control import Control, ask
from nsdata.errors import EngineError


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    one, other = map(Channel, pair())
    yield one, other
    one.close()
    other.close()


def test_messages_come_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    assert other.receive() is None
    assert one.send({"what": "a"}) and one.send({"what": "b", "text": "x" * 100_000})
    assert other.receive() == ({"what": "a"}, [])
    assert other.receive() == ({"what": "b", "text": "x" * 100_000}, [])


def test_descriptors_go_along(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    fd = os.memfd_create("x")
    os.write(fd, b"shared")
    one.send({"what": "here"}, (fd, fd))
    os.close(fd)
    got = other.receive()
    assert got is not None and len(got[1]) == 2
    assert os.pread(got[1][0], 10, 0) == b"shared"
    for one_fd in got[1]:
        os.close(one_fd)


def test_who_does_not_listen_holds_nobody_up(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    taken = 0
    while one.send({"text": "x" * 50_000}):
        taken += 1
    assert taken and one.unsent == 1
    for _ in range(taken):
        assert other.receive() is not None
    assert other.receive() is None and one.send({})


def test_an_end_that_is_gone_is_told(ends: tuple[Channel, Channel]) -> None:
    one, other = ends
    one.send({"what": "last"})
    one.close()
    assert other.receive() == ({"what": "last"}, [])
    with pytest.raises(Gone):
        other.receive()
    with pytest.raises(Gone):
        other.send({})


def test_a_message_too_long_is_an_error(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(ValueError, match="160,000 are possible"):
        ends[0].send({"text": "x" * LARGEST})


# --- the control socket -------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    def command(message: dict[str, object]) -> dict[str, object]:
        if message["command"] == "fail":
            raise EngineError("it cannot be done")
        return {"heard": message["command"]}

    control = Control(tmp_path / "control.sock", command)
    over = threading.Event()

    def serve() -> None:
        while not over.wait(0.005):
            control.serve()

    thread = threading.Thread(target=serve)
    thread.start()
    yield tmp_path
    over.set()
    thread.join()
    control.close()
    assert not (tmp_path / "control.sock").exists()


def test_a_command_is_answered(served: Path) -> None:
    assert ask(served, {"command": "hello"}) == {"heard": "hello"}
    assert (served / "control.sock").stat().st_mode & 0o777 == 0o600


def test_an_error_is_told(served: Path) -> None:
    with pytest.raises(EngineError, match="it cannot be done"):
        ask(served, {"command": "fail"})


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff\xfe", b'"x"'])
def test_what_is_no_command_is_told(served: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(10)
        end.connect(str(served / "control.sock"))
        end.sendall(line + b"\n")
        answer = json.loads(end.recv(65536))
    assert answer["ok"] is False and answer["error"]
    assert ask(served, {"command": "hello"}) == {"heard": "hello"}


def test_one_appliance_in_a_directory(served: Path) -> None:
    with pytest.raises(EngineError, match="another appliance runs in this directory"):
        Control(served / "control.sock", lambda message: {})


def test_a_socket_left_over_is_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    Control(path, lambda message: {}).close()


def test_nobody_there_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="nsdata appliance run --config FILE"):
        ask(tmp_path, {"command": "status"})
