"""The supervisor without its processes: what goes wrong in its own watch, and on record."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsdata.appliance import supervisor as supervisor_module
from nsdata.appliance.channel import Channel, pair
from nsdata.appliance.processes import Process
from nsdata.appliance.settings import ApplianceSettings
from nsdata.appliance.supervisor import HEARD, Supervisor
from nsdata.appliance.writer import mend
from nsdata.errors import OutputError
from nsdata.fallback.ledger import Count, LedgerSnapshot
from nsdata.fallback.reasons import Reason, State


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    file = tmp_path / "box.toml"
    file.write_text('directory = "run"\n[source]\ncaptures = ["a.pcap"]\n')
    found = Supervisor(ApplianceSettings.load(file))
    found._begin()
    yield found
    found.close()


def test_an_exception_nobody_expected_is_unknown(supervisor: Supervisor) -> None:
    supervisor._guarded("here", lambda: [][1])
    controller = supervisor.deciders.guard.controller
    assert (controller.state, controller.reason) == (State.FALLBACK, Reason.UNKNOWN)
    told = supervisor.record.store.transitions()[0]["evidence"]["given"]
    assert told["where"] == "here" and "IndexError" in told["error"]


def test_an_exception_in_what_deals_with_exceptions_ends_nothing(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    permitted = []

    def fail(*given: object) -> None:
        raise RuntimeError("this one as well")

    monkeypatch.setattr(supervisor.watch, "unexpected", fail)
    monkeypatch.setattr(supervisor, "_fall_back", lambda: permitted.append(True))
    supervisor._guarded("here", lambda: [][1])
    assert permitted == [True]


def test_a_ledger_that_does_not_balance_is_unknown(supervisor: Supervisor) -> None:
    empty = LedgerSnapshot.empty()
    supervisor.figures._ended = LedgerSnapshot(Count(3, 300), empty.by_fate, empty.by_why)
    supervisor._look(supervisor.moment().now_ns)
    controller = supervisor.deciders.guard.controller
    assert (controller.state, controller.reason) == (State.FALLBACK, Reason.UNKNOWN)
    told = supervisor.record.store.transitions()[0]["evidence"]["given"]
    assert told["where"] == "ledger balance" and "(+3)" in told["error"]


def test_lines_wait_for_a_writer_and_a_failing_store_is_said_once(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, (mine, theirs) = (
        supervisor.record,
        socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    )
    record.note("before there is a writer", "x", {})
    monkeypatch.setattr(record.store, "flush", lambda: False)
    record.store.error = record.store.failure = "disk full"
    monkeypatch.setattr(record, "_writer_end", lambda: mine)
    for now in (10**12, 10**12 + 2 * 10**9):
        record.save(now, LedgerSnapshot.empty(), State.NORMAL, Reason.NO_ERROR)
    record.store.error = ""
    record.save(10**12 + 4 * 10**9, LedgerSnapshot.empty(), State.NORMAL, Reason.NO_ERROR)
    theirs.setblocking(False)
    heard = []
    with pytest.raises(BlockingIOError):
        while True:
            heard.append(json.loads(theirs.recv(65536))["event"])
    assert heard[-3:] == ["before there is a writer", "store failed", "store works again"]
    theirs.close()


def test_one_who_says_much_does_not_keep_the_supervisor_to_itself(supervisor: Supervisor) -> None:
    """What is left is heard in the next turn, and what one that ended said, all of it."""
    mine, theirs = pair()
    popen = subprocess.Popen([sys.executable, "-c", ""])
    process = Process("worker-0", 1, popen, os.pidfd_open(popen.pid), supervisor.page,
                      Channel(mine))  # fmt: skip
    speaker, said = Channel(theirs), 3 * HEARD
    for number in range(said):
        assert speaker.send({"what": "costs", "by_rule": {str(number): [1, 0, 0, 0]}})
    for turn in (1, 2):
        supervisor._said(process)
        assert len(supervisor.measures().costs) == turn * HEARD
    supervisor._said(process, None)
    assert len(supervisor.measures().costs) == said
    popen.wait()
    process.close()
    speaker.close()


@pytest.mark.parametrize(
    ("before", "after"),
    [(b'{"a":1}\n{"b"', b'{"a":1}\n'), (b'{"a":1}\n', b'{"a":1}\n'), (b"torn", b""), (b"", b"")],
)
def test_a_torn_line_is_cut_off(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "eve.json"
    path.write_bytes(before)
    assert mend(str(path)) == len(before) - len(after)
    assert path.read_bytes() == after


def test_a_start_that_fails_leaves_no_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        assert path.with_name("control.sock").exists()
        raise OutputError(f"{path}: no store")

    monkeypatch.setattr(supervisor_module, "Store", fail)
    file = tmp_path / "box.toml"
    file.write_text('directory = "run"\n[source]\ncaptures = ["a.pcap"]\n')
    with pytest.raises(OutputError):
        Supervisor(ApplianceSettings.load(file))
    assert not (tmp_path / "run" / "control.sock").exists()
