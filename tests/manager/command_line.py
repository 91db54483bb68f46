"""The command line as its users type it, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from box import PATIENCE_S, ROOT

SECRETS = ("NSDATA_TOKEN", "NSDATA_ENROL_TOKEN", "NSDATA_MANAGER", "NSDATA_CA")


def nsdata(*arguments: str, status: int = 0, given: str = "",
           cwd: Path = ROOT, **environment: str) -> str:  # fmt: skip
    """What it says."""
    clean = {name: value for name, value in os.environ.items() if name not in SECRETS}
    done = subprocess.run(
        [sys.executable, "-m", "nsdata", *arguments], cwd=cwd, text=True, input=given,
        capture_output=True, timeout=PATIENCE_S * 2,
        env={**clean, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr
