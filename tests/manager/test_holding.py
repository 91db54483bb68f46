"""One manager at a time, and the process of reports: who comes second is told who is first; who
has lost the database ends; a process that dies is started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from agents import Simulated
from box import PATIENCE_S, ROOT
from site_ import Site, wait
from sqlalchemy import create_engine, text

from nsdata.manager.audit import Role
from nsdata.manager.holding import HOLDER, KEY, FileHold, Held
from nsdata.manager.server import Manager
from nsdata.manager.service import Service
from nsdata.manager.settings import ManagerSettings

SECOND = """
directory = "other"
listen = "127.0.0.1:0"
agents = "127.0.0.1:0"
"""
TERMINATE = text(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A manager over each database, for one test."""
    sqlite = request.param == "sqlite"
    url = "" if sqlite else request.getfixturevalue("postgres_url")
    with Site(tmp_path / "site", database=url) as found:
        yield found


def start_second(config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nsdata", "manager", "run", "--config", str(config)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=4 * PATIENCE_S,
    )  # fmt: skip


def intake_of(site: Site) -> int:
    assert site.process is not None
    tasks = Path(f"/proc/{site.process.pid}/task").iterdir()
    [found] = [int(one) for task in tasks for one in (task / "children").read_text().split()]
    return found


def cut(site: Site) -> None:
    """End the connection that holds the database; it is taken again."""
    engine = create_engine(site.database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        before = connection.execute(HOLDER, {"key": KEY}).one()
        connection.execute(TERMINATE)

        def again() -> bool:
            found = connection.execute(HOLDER, {"key": KEY}).first()
            return found is not None and found.backend_start > before.backend_start

        wait(again, "it holds the database again", site.log)
    engine.dispose()


def rob(site: Site) -> None:
    """Take the database away from its manager."""
    if not site.database:
        (site.directory / "manager.db.lock").unlink()
        return
    engine = create_engine(site.database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(TERMINATE)
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": KEY})
        assert site.process is not None
        site.process.wait(4 * PATIENCE_S)
    engine.dispose()


def test_who_comes_second_is_told_and_who_is_robbed_ends(running: Site, tmp_path: Path) -> None:
    url = running.database or f"sqlite:///{running.directory}/manager.db"
    config = tmp_path / "second.toml"
    config.write_text(SECOND + f'database = "{url}"\n')
    done = start_second(config)
    assert done.returncode == 1
    assert "another manager runs on this database" in done.stderr
    assert str(intake_of(running)) in done.stderr, "it says which process"

    agent = Simulated(running, tmp_path / "box")
    assert agent.say().acked == 1
    if running.database:
        cut(running)
        wait(lambda: agent.post([]).status_code == 200, "reports are taken again", running.log)
        assert agent.say().acked == 2
    rob(running)
    assert running.process is not None
    assert running.process.wait(4 * PATIENCE_S) == 1
    assert re.search("another manager runs|removed or replaced", running.log())


def test_a_database_that_is_removed_ends_the_manager(tmp_path: Path) -> None:
    """Nothing is acknowledged that is stored in a file without a name."""
    with Site(tmp_path / "site") as site:
        agent = Simulated(site, tmp_path / "box")
        assert agent.say().acked == 1
        for part in site.directory.glob("manager.db*"):
            if part.suffix != ".lock":
                part.rename(tmp_path / part.name)
        with suppress(httpx.TransportError):  # it ends without an answer, or with this one
            assert agent.post([]).status_code == 503
        assert site.process is not None
        assert site.process.wait(4 * PATIENCE_S) == 1
        assert "manager.db: removed or replaced while this manager ran" in site.log()


def test_the_same_directory_is_refused(site: Site) -> None:
    done = start_second(site.config)
    assert done.returncode == 1
    assert site.process is not None
    assert f"another manager runs in this directory: process {site.process.pid}" in done.stderr


def test_the_process_of_reports_is_started_again(site: Site, tmp_path: Path) -> None:
    with site.client(Role.VIEWER) as client:
        agent = Simulated(site, tmp_path / "box")
        agent.say()
        dead = intake_of(site)
        os.kill(dead, signal.SIGKILL)
        told = wait(
            lambda: client.get("/about").raise_for_status().json()["failing"], "it is noticed"
        )
        assert "was killed by signal 9" in told
        assert client.get(f"/appliances/{agent.id}").json()["reports"] == 1, "reading goes on"
        agent.client = agent.connect(agent.member.context())
        wait(lambda: not client.get("/about").json()["failing"], "it is ready again", site.log)
        assert agent.say().acked == 2
        assert "was killed by signal 9; it is started again" in site.log()
        assert intake_of(site) != dead


def test_a_process_of_reports_that_hangs_is_replaced(tmp_path: Path) -> None:
    settings = ManagerSettings(directory=str(tmp_path), listen="127.0.0.1:0", agents="127.0.0.1:0")
    service = Service(settings)
    Manager(service)
    intake = service.intake
    assert intake is not None
    intake.silent_s = 5.0
    try:
        intake.wait()
        first = intake.pid
        time.sleep(2 * intake.silent_s)
        assert not intake.failing and intake.pid == first, "it gives signs of life"
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        wait(lambda: "no sign of life for 5 s" in intake.failing, "it is noticed")
        wait(lambda: not intake.failing, "it is ready again")
        assert intake.pid != first
    finally:
        intake.stop()
        service.close()


def test_a_file_lock_says_who_has_it(tmp_path: Path) -> None:
    first, second = (FileHold(tmp_path / "x.lock", "here") for _ in range(2))
    first.take()
    with pytest.raises(Held, match=rf"runs here: process {os.getpid()} on "):
        second.take(wait_s=0)
    first.check()
    (tmp_path / "x.lock").unlink()
    second.take(wait_s=0)
    with pytest.raises(Held, match="removed or replaced"):
        first.check()
    second.check()
    first.close()
    second.close()
