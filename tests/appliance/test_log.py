"""The log: one record a line, whole, bounded, and nobody waits for it."""

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from box import QUICK, Box
from receivers import patience

from nsdata.appliance.log import Formatter, log_plan, logging_as, to_file
from nsdata.appliance.monitoring.settings import LogSettings

log = logging.getLogger("test")


def plan(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {**log_plan(LogSettings(to="file"), tmp_path), **more}


def records(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "appliance.log").read_text().splitlines()]


def test_a_record_has_its_members(tmp_path: Path) -> None:
    with logging_as("worker-7", plan(tmp_path)):
        log.warning("%d\nlines", 2, extra={"event": "crash", "evidence": {"pid": 3}})
        log.debug("not this")
    (one,) = records(tmp_path)
    assert one.pop("time").endswith("Z")
    assert one == {"level": "warning", "process": "worker-7", "event": "crash",
                   "evidence": {"pid": 3}, "message": "2\nlines"}  # fmt: skip


def test_a_traceback_is_in_its_record(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("two\nlines")

    with logging_as("port", plan(tmp_path)):
        try:
            fail()
        except ValueError:
            log.exception("it failed")
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    first, second = records(tmp_path)
    assert "in fail" in first["traceback"] and first["message"] == "it failed"
    assert "in fail" in second["traceback"] and second["level"] == "critical"


def test_text_is_one_line(tmp_path: Path) -> None:
    with logging_as("port", plan(tmp_path, format="text")):
        log.error("bad\nnews \x1b[31m", extra={"evidence": {"a": 1}})
    (line,) = (tmp_path / "appliance.log").read_text().splitlines()
    assert line.endswith('error    port: bad?news ?[31m {"a": 1}')


def test_the_supervisor_rotates_and_the_others_notice(tmp_path: Path) -> None:
    """Two other processes write 400 long records while the supervisor's fill the file again and
    again: every line is whole, and no more files are kept than was asked for."""
    told = plan(tmp_path, max_bytes=300_000, keep=3)
    code = ("import json, logging, sys, time\nfrom nsdata.appliance.log import logging_as\n"
            "with logging_as(sys.argv[1], json.loads(sys.argv[2])):\n"
            "    for i in range(200):\n"
            "        logging.info('x' * 20000)\n"
            "        time.sleep(0.002)\n")  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    others = [subprocess.Popen([sys.executable, "-c", code, name, json.dumps(told)], env=env)
              for name in ("port", "writer")]  # fmt: skip
    with logging_as("supervisor", told, rotates=True):
        while any(one.poll() is None for one in others):
            log.info("y" * 100)
            threading.Event().wait(0.002)
    assert all(one.returncode == 0 for one in others)
    files = sorted(tmp_path.glob("appliance.log*"))
    assert [file.name for file in files] == ["appliance.log", *(f"appliance.log.{i}" for i in
                                                                (1, 2, 3))]  # fmt: skip
    from_whom = set()
    for file in files:
        assert file.stat().st_size < 900_000
        from_whom |= {json.loads(line)["process"] for line in file.read_text().splitlines()}
    assert "supervisor" in from_whom and from_whom & {"port", "writer"}  # the newest of all


def test_without_somebody_who_rotates_it_stays_bounded(tmp_path: Path) -> None:
    with logging_as("port", plan(tmp_path, max_bytes=10_000)):
        for _ in range(900):
            log.info("x" * 100)
    size = (tmp_path / "appliance.log").stat().st_size
    assert 20_000 < size < 21_000


def test_a_file_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """A pipe that nobody reads, in place of the file: the writer's thread waits, and nobody else;
    what finds no room is counted."""
    os.mkfifo(tmp_path / "appliance.log")
    reader = os.open(tmp_path / "appliance.log", os.O_RDONLY | os.O_NONBLOCK)
    with logging_as("port", plan(tmp_path)):
        handler = logging.getLogger().handlers[-1]
        for _ in range(3000):
            log.info("x" * 1000)
        assert getattr(handler, "lost") > 1000  # noqa: B009
    os.close(reader)


def test_under_systemd_it_is_the_journals(tmp_path: Path) -> None:
    with open(tmp_path / "stderr", "w") as file:
        found = os.fstat(file.fileno())
        journal = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert not to_file(LogSettings(), journal, file.fileno())
        assert to_file(LogSettings(to="file"), journal, file.fileno())
        assert to_file(LogSettings(), {"JOURNAL_STREAM": "1:2"}, file.fileno())
        assert to_file(LogSettings(), {}, file.fileno())
        assert not to_file(LogSettings(to="stderr"), {})


def test_what_cannot_be_json_is_said_in_words() -> None:
    record = logging.makeLogRecord({"msg": "m", "evidence": {"path": Path("x")}})
    assert json.loads(Formatter("port", "json").format(record))["evidence"] == {"path": "x"}


@pytest.mark.parametrize("to", ["file", "stderr"])
def test_a_box_says_what_happened(tmp_path: Path, to: str) -> None:
    """A worker crashes and is restarted; a rule file cannot be read."""
    tmp = tmp_path / "box"
    tmp.mkdir()
    where = tmp / "run" / "appliance.log" if to == "file" else tmp / "supervisor.log"
    with Box(tmp, more=f'[log]\nto = "{to}"\n', settings=QUICK) as box:
        box.signal("worker-0", 9)
        patience(lambda: any(e["event"] == "recovered" for e in box.events("appliance")), "it is")
        box.ask("fallback", note="x")
        box.stop()
        lines = [line for line in where.read_text().splitlines() if line.startswith("{")]
        told = [json.loads(line) for line in lines]
        crash = next(one for one in told if one["event"] == "crash")
        assert (crash["level"], crash["process"]) == ("warning", "supervisor")
        assert crash["subject"] == "worker-0" and crash["evidence"]["signal"] == 9
        entered = next(one for one in told if one["event"] == "entered")
        assert entered["subject"] == "no error" and entered["evidence"]["given"] == {"note": "x"}
        if to == "file":
            assert len(lines) == len(where.read_text().splitlines())
