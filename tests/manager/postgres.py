"""A real PostgreSQL server in a directory, for tests: Debian's binaries, a socket, no network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


def binaries() -> Path | None:
    """Where initdb and pg_ctl are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _as_nobody(data: Path) -> list[str]:
    """PostgreSQL does not run as root."""
    if os.geteuid():
        return []
    shutil.chown(data, "nobody")
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


@contextmanager
def server() -> Iterator[str]:
    """The URL of a database of a server that runs meanwhile; skips where there is none."""
    home = binaries()
    if home is None:
        pytest.skip("no PostgreSQL server here (Debian: postgresql)")
    with TemporaryDirectory(prefix="nsdata-pg-", dir="/tmp") as name:  # sockets have short names
        data = Path(name)
        data.chmod(0o755)
        prefix = _as_nobody(data)

        def run(tool: str, *arguments: str) -> None:
            done = subprocess.run(
                [*prefix, str(home / tool), *arguments], capture_output=True, cwd="/", text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr

        run("initdb", "-D", f"{name}/data", "-U", "nsdata", "-A", "trust", "--locale=C.UTF-8",
            "--no-sync")  # fmt: skip
        options = f"-k {name} -c listen_addresses='' -c max_connections=100"
        run("pg_ctl", "-D", f"{name}/data", "-w", "-l", f"{name}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://nsdata@/postgres?host={name}"
        finally:
            run("pg_ctl", "-D", f"{name}/data", "-w", "-m", "immediate", "stop")
