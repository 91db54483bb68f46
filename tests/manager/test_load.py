"""A manager that is killed (-9) under load: every report and transition that was acknowledged is
stored, each once; every command that was accepted is carried out once, or was replaced by its
opposite before it was sent, and ends.
`benches/manager_load.py` is the load; 50 kills over each database with NSDATA_FULL=1."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest
from box import ROOT

FULL = bool(os.environ.get("NSDATA_FULL"))
KILLS = 50 if FULL else 2
LONGEST_S = 3600 if FULL else 300


def two_free_ports() -> int:
    """The first of two that follow each other."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port = int(one.getsockname()[1])
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port
            except OSError:
                continue


@pytest.mark.parametrize("database", ["sqlite", "postgresql"] if FULL else ["sqlite"])
def test_killed_under_load(database: str, request: pytest.FixtureRequest) -> None:
    url = "" if database == "sqlite" else request.getfixturevalue("postgres_url")
    done = subprocess.run(
        [sys.executable, "benches/manager_load.py", "--appliances", "40", "--seconds", "1",
         "--kills", str(KILLS), "--commands", "2", "--database", url,
         "--port", str(two_free_ports())],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=LONGEST_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["reports_acknowledged"] == told["reports_stored"] > 100
    assert told["transitions_acknowledged"] == told["transitions_stored"] > 0
    assert told["retries"] > 0, "the kills were felt"
    assert told["kills_of_intake"] > 0
    assert told["commands_carried_out"] > 0
    assert told["commands_asked"] == told["commands_carried_out"] + told["commands_replaced"]
    assert told["commands_done"] + told["commands_failed"] == told["commands_asked"]
    assert told["commands_twice"] == 0
