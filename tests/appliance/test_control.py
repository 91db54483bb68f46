"""The control socket: whatever is sent, there is an answer, and nobody holds the supervisor up."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from box import Box
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsdata.appliance import control as control_module
from nsdata.appliance.commands import READING
from nsdata.appliance.control import CLIENTS, Control
from nsdata.appliance.settings import ApplianceSettings
from nsdata.appliance.supervisor import Supervisor
from nsdata.fallback.reasons import State

MALFORMED = (
    b'{"command":"transitions","most":null}', b'{"command":["x"]}', b'{"command":{}}',
    b'{"command":"reload","rules":5}', b'{"command":"reload","rules":[null]}', b"[" * 200_000,
    b'{"command":"transitions","most":1e400}', b'{"command":"transitions","most":-1}',
    b'{"command":"transitions","most":100000000000000000000}', b'{"command":"stats","most":true}',
    b'{"command":"notify-tested","number":[]}', b"\xff", b"5", b'{"command":"reboot","port":1}',
    b'{"command":"fallback","note":"\\ud800"}', b'{"command":"fallback","note":5}',
    b'{"command":"report","out":"\\u0000"}', b'{"command":"restore","force":"yes"}',
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
MEMBERS = ("most", "id", "number", "note", "rules", "to", "out", "by", "force", "port")
FUZZ = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)  # first use of tables
COMMANDS = sorted(READING - {"report-vendor"})  # which begins a process


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    directory = tmp_path_factory.mktemp("control")
    file = directory / "box.toml"
    file.write_text('directory = "run"\n[source]\ncaptures = ["a.pcap"]\n')
    found = Supervisor(ApplianceSettings.load(file))
    found._begin()
    yield found
    found.close()


def answer(supervisor: Supervisor, line: bytes) -> dict[str, Any]:
    """Over the socket, from a supervisor that would take what nobody expected for *unknown*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        client.connect(str(supervisor.control.path))
        left, told = memoryview(line + b"\n"), b""
        while not told.endswith(b"\n"):
            with suppress(BlockingIOError):
                left = left[client.send(left) :] if left else left
            supervisor._guarded("loop", supervisor.control.serve)
            with suppress(BlockingIOError):
                told += (data := client.recv(1 << 20))
                assert data, "the client was let go of"
        found: dict[str, Any] = json.loads(told)
        return found


@pytest.mark.parametrize("line", MALFORMED, ids=lambda line: ascii(line[:40]))
def test_a_malformed_command_is_answered(supervisor: Supervisor, line: bytes) -> None:
    told = answer(supervisor, line)
    assert told["ok"] is False and told["error"]
    assert supervisor.deciders.state is State.NORMAL
    assert not supervisor.record.store.transitions()


@FUZZ
@given(st.sampled_from(COMMANDS), st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=3))
def test_what_reads_is_answered(supervisor: Supervisor, command: str, members: Any) -> None:
    told = answer(supervisor, json.dumps({**members, "command": command}).encode())
    assert told["ok"] is True or "bug" not in told["error"]
    assert supervisor.deciders.state is State.NORMAL


@FUZZ
@given(st.binary(max_size=200).filter(lambda line: b"\n" not in line) | JSON.map(
    lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_line_is_answered(supervisor: Supervisor, line: bytes) -> None:
    assert answer(supervisor, line)["ok"] is False
    assert supervisor.deciders.state is State.NORMAL


def test_a_bug_in_what_reads_is_an_answer(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor.figures, "exposed", lambda: [][1])
    told = answer(supervisor, b'{"command":"status"}')
    assert told["ok"] is False and "IndexError" in told["error"]
    assert supervisor.deciders.state is State.NORMAL


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Control]:
    found = Control(tmp_path / "control.sock", lambda message: {"told": "x" * 100_000})
    yield found
    found.close()


def connected(control: Control) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.setblocking(False)
    client.connect(str(control.path))
    return client


def test_the_one_that_was_idle_longest_makes_room(control: Control) -> None:
    hoard = []
    for _ in range(CLIENTS + 1):
        hoard.append(connected(control))
        control.serve()
    assert hoard[0].recv(1) == b""
    with pytest.raises(BlockingIOError):
        hoard[1].recv(1)
    for client in hoard:
        client.close()


def test_who_is_idle_too_long_is_let_go_of(control: Control) -> None:
    with connected(control) as client:
        control.serve()
        control.look(time.monotonic_ns())
        with pytest.raises(BlockingIOError):
            client.recv(1)
        control.look(time.monotonic_ns() + control_module.IDLE_NS + 1)
        assert client.recv(1) == b""


def test_one_command_a_turn_and_none_before_the_answer_is_taken(tmp_path: Path) -> None:
    asked = []

    def command(message: dict[str, Any]) -> dict[str, Any]:
        asked.append(message["n"])
        return {"n": message["n"], "told": "x" * 400_000}

    control = Control(tmp_path / "control.sock", command)
    with connected(control) as client:
        client.send(b"".join(b'{"n":%d}\n' % n for n in range(3)))
        for _ in range(20):
            control.serve()
        assert asked == [0]  # its answer is more than the kernel takes
        told = b""
        while told.count(b"\n") < 3:
            before = len(asked)
            control.serve()
            assert len(asked) <= before + 1
            with suppress(BlockingIOError):
                told += client.recv(1 << 20)
        assert [json.loads(line)["n"] for line in told.splitlines()] == [0, 1, 2]
    control.close()


def test_slow_readers_hold_nothing_up(tmp_path: Path) -> None:
    """15 clients with thousands of commands that read no answer, and many more that are silent."""
    with Box(tmp_path) as box:
        before = box.status()["ledger"]["bypassed"]["reasons"].get("fallback", 0)
        hoard = []
        for _ in range(CLIENTS - 1):
            hoard.append(socket.socket(socket.AF_UNIX))
            hoard[-1].connect(str(box.directory / "control.sock"))
        for client in hoard:
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.send(b'{"command":"status"}\n' * 2900)
        for _ in range(CLIENTS):
            hoard.append(socket.socket(socket.AF_UNIX))
            hoard[-1].connect(str(box.directory / "control.sock"))
            hoard[-1].send(b'{"comm')
        told = box.status()
        assert told["state"] == "normal" and not told["port"]["alone"]
        assert told["ledger"]["bypassed"]["reasons"].get("fallback", 0) == before
        box.stop()
        for client in hoard:
            client.close()
