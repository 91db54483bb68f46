"""The ends of files in a report: no packets unasked, no waiting, no secret over several lines."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from nsdata.appliance.reports.parts import Context, eve, log
from nsdata.support.redact import Redactor

EVENT: dict[str, Any] = {
    "event_type": "alert", "payload": "U0VDUkVU", "packet": "U0VDUkVU",
    "alert": {"signature": "seen \u2028 \u2029 \x85 it"},
}  # fmt: skip


def context(directory: Path, packets: int | None = None, size: int = 1 << 20) -> Context:
    running = {"eve": str(directory / "eve.json"), "log": str(directory / "a.log")}
    return Context(directory, running, {}, None, Redactor(), size, size, packets)


def test_no_bytes_of_packets_whatever_the_lines_hold(tmp_path: Path) -> None:
    """Separators of lines that are none in EVE, a line cut off, and what is no event."""
    whole = json.dumps(EVENT, ensure_ascii=False)
    lines = [whole, whole[:-3], json.dumps([EVENT]), json.dumps(json.dumps(EVENT)), "", whole,
             '{"a":' * 100_000, whole[:-2]]  # fmt: skip
    (tmp_path / "eve.json").write_text("\n".join(lines), encoding="utf-8")
    found = eve(context(tmp_path))
    assert b"U0VDUkVU" not in found.data
    events = [json.loads(line) for line in found.data.decode().split("\n")[:-1]]
    assert [event["alert"] for event in events] == [EVENT["alert"]] * 2
    assert found.more["dropped_lines"] == 6 and found.more["cut"] is False
    asked = eve(context(tmp_path, packets=0))
    assert asked.data.count(b"U0VDUkVU") >= 8 and asked.more["dropped_lines"] == 0


def test_the_end_of_a_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    whole = json.dumps(EVENT, ensure_ascii=False) + "\n"
    (tmp_path / "eve.json").write_text(whole * 3, encoding="utf-8")
    found = eve(context(tmp_path, size=len(whole.encode()) * 2 + 9))
    assert found.data.count(b"\n") == 2 and found.more["dropped_lines"] == 0
    assert found.more["cut"] is True and b"U0VDUkVU" not in found.data


def test_a_key_over_several_lines_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(
        "before it\nT: -----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\n-----END PRIVATE KEY-----\n"
        "behind it\n"
    )
    assert log(context(tmp_path)).data == b"before it\nT: (redacted)\nbehind it\n"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "eve.json")
    with pytest.raises(OSError, match="no regular file"):
        eve(context(tmp_path))
