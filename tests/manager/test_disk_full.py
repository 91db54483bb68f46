"""The disk of the database is full: it is said, reading goes on, nothing is acknowledged that is
not stored, and it goes on by itself once there is room. A real disk: a small tmpfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from agents import Simulated, report, transition
from site_ import Site, wait
from sqlalchemy import create_engine
from visitor import visitor

from nsdata.manager.audit import Role
from nsdata.manager.problems import MEDIA_TYPE

LARGE = 60_000  # bytes of a history row
ADVICE = "make room on the disk of the database"


@contextmanager
def disk(directory: Path, size: str) -> Iterator[Path]:
    """A file system of its own; skips where none may be mounted."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(file: Path) -> None:
    """To the last byte."""
    with open(file, "wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(65536))
        except OSError:
            return


@contextmanager
def on_sqlite(tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    with (
        disk(tmp_path / "disk", "16m") as small,
        Site(tmp_path / "site", database=f"sqlite:///{small}/manager.db") as site,
    ):
        yield site, small


@contextmanager
def on_postgres(server: str, tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    """The tables of a database on the disk; the server's log and WAL are elsewhere."""
    name = f"full_{uuid4().hex[:8]}"
    home = Path("/tmp") / f"nsdata-{name}"  # where the server's user may go
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with disk(home, "40m") as small:
        place = small / "tables"
        place.mkdir()
        if not os.geteuid():
            shutil.chown(place, "nobody")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE TABLESPACE {name} LOCATION '{place}'")
            connection.exec_driver_sql(f"CREATE DATABASE {name} TABLESPACE {name}")
        try:
            url = server.replace("/postgres?", f"/{name}?")
            with Site(tmp_path / "site", database=url) as site:
                yield site, small
        finally:
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
                connection.exec_driver_sql(f"DROP TABLESPACE {name}")
            engine.dispose()
    home.rmdir()


@pytest.fixture(params=["sqlite", "postgresql"])
def small_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Site, Path]]:
    """A manager and the disk of its database."""
    if request.param == "sqlite":
        with on_sqlite(tmp_path) as found:
            yield found
    else:
        with on_postgres(request.getfixturevalue("postgres_server"), tmp_path) as found:
            yield found


def large(row: int) -> dict[str, object]:
    """A transition that takes room, however it is packed."""
    return transition(row, evidence={"noise": os.urandom(LARGE // 2).hex()})


def test_a_full_disk_is_told_and_got_over(small_site: tuple[Site, Path], tmp_path: Path) -> None:
    site, small = small_site
    agent = Simulated(site, tmp_path / "box")
    agent.say()
    with site.client(Role.ADMIN) as client, visitor(site, Role.VIEWER) as someone:
        fill(small / "filler")
        acked = 0
        for row in range(1, 500):
            agent.sequence += 1
            answer = agent.post([report(agent.sequence)], history=[large(row)])
            if answer.status_code != 200:
                break
            acked = answer.json()["acked"]
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert ADVICE in answer.json()["detail"]
        lost = row

        about = client.get("/about").raise_for_status().json()
        assert ADVICE in about["failing"]
        shown = someone.get("/appliances")
        assert shown.status_code == 200
        assert "Reports cannot be stored now" in shown.text
        assert ADVICE in shown.text
        assert client.get(f"/appliances/{agent.id}").json()["reports"] == max(acked, 1)
        assert "ERROR" in site.log()
        assert ADVICE in site.log()
        if site.database.startswith("sqlite"):  # in PostgreSQL a row may go where others have been
            tokens = client.get("/tokens").raise_for_status().json()
            refused = client.post("/tokens", json={"name": "x", "role": "viewer"})
            assert refused.status_code == 503
            assert refused.headers["content-type"] == MEDIA_TYPE
            assert ADVICE in refused.json()["detail"]
            assert client.get("/tokens").json() == tokens

        (small / "filler").unlink()
        batch = [report(agent.sequence)]
        wait(
            lambda: agent.post(batch, history=[large(lost)]).status_code == 200,
            "it goes on by itself",
            site.log,
        )
        told = client.get(f"/appliances/{agent.id}").json()
        assert told["reports"] == agent.sequence, "each once"
        assert not client.get("/about").json()["failing"]
        assert "reports are stored again" in site.log()
        rows = client.get(f"/appliances/{agent.id}/transitions", params={"limit": 500}).json()
        assert len(rows["items"]) == lost
