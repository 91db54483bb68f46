"""A manager that is killed (-9) under load: every report and transition that was acknowledged is
stored, each once. `benches/manager_load.py` is the load; 50 kills with NSDATA_FULL=1."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from box import ROOT

FULL = bool(os.environ.get("NSDATA_FULL"))
KILLS, SECONDS = (50, 500) if FULL else (2, 20)


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


def test_killed_under_load() -> None:
    done = subprocess.run(
        [sys.executable, "benches/manager_load.py", "--appliances", "40", "--seconds", str(SECONDS),
         "--kills", str(KILLS), "--port", str(two_free_ports())],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=SECONDS * 3 + 120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["reports_acknowledged"] == told["reports_stored"] > 100
    assert told["transitions_acknowledged"] == told["transitions_stored"] > 0
    assert told["retries"] > 0, "the kills were felt"
