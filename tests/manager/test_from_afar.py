"""What the command line says of appliances from afar: the table, why one is as it is, waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import Simulated, transition
from box import PATIENCE_S, ROOT
from command_line import nsdata
from site_ import Site, wait

from nsdata.cli.remote import manager_of
from nsdata.errors import SettingError

NAME = "simulated"  # as the reports of agents.py say


@pytest.fixture
def one(site: Site, tmp_path: Path) -> Iterator[Simulated]:
    """An appliance that is the only one."""
    made = Simulated(site, tmp_path / "one")
    yield made
    made.client.close()
    with site.client() as client:
        client.delete(f"/appliances/{made.id}?force=true")


def test_the_table_fits(site: Site, access: tuple[str, ...], one: Simulated) -> None:
    one.say(report={"state": "fallback", "reason": "heartbeat error"})
    said = nsdata("appliance", "list", *access, COLUMNS="80")
    assert max(map(len, said.splitlines())) <= 80
    row = next(line for line in said.splitlines() if NAME in line)
    assert "fallback" in row and "heartbeat error" in row and "now" in row
    assert "…" not in said and one.id not in said and " id " not in said
    said = nsdata("appliance", "list", "--wide", *access, COLUMNS="80")
    row = next(line for line in said.splitlines() if NAME in line)
    assert one.id in row and "0.1.0" in row and "heartbeat error" in row


def test_nothing_old_is_shown_as_new(site: Site, access: tuple[str, ...], one: Simulated) -> None:
    for _ in range(2):
        one.say(report={"at_ns": time.time_ns()})
        time.sleep(0.2)
    rows = json.loads(nsdata("appliance", "list", "--json", *access))
    assert rows[0]["packets_per_second"] > 0
    wait(lambda: not json.loads(nsdata("appliance", "list", "--json", *access))[0]["connected"],
         "it is silent")  # fmt: skip
    said = nsdata("appliance", "list", "--wide", *access)
    cells = [cell.strip() for cell in next(s for s in said.splitlines() if NAME in s).split("│")]
    assert cells[4].endswith(" ago") and cells[5:9] == ["–"] * 4, cells
    assert "not connected" in nsdata("appliance", "show", one.id, *access)


def test_why_it_is_so(site: Site, access: tuple[str, ...], one: Simulated) -> None:
    given = {"note": "cabling (user:anna)"}
    began = transition(1, "manual fallback")
    began["told"]["evidence"] = {"given": given}
    refused = transition(2)
    refused["told"] |= {"from": "fallback", "to": "normal", "outcome": "refused"}
    one.say(
        report={"state": "fallback", "reason": "manual fallback", "severity": "Warning",
                "cause": "Somebody asked.", "resolution": "Restore it.", "drop_ratio": 0.25},
        history=[began, refused],
    )  # fmt: skip
    said = nsdata("appliance", "show", one.id, *access)
    for text in (
        "fallback, connected",
        "reason      manual fallback (Warning)",
        "cause       Somebody asked.",
        "what to do  Restore it.",
        "since       2001-09-09 01:46:40 UTC",
        "in short    cabling (user:anna)",
        "note: cabling (user:anna)",
        "drops       25.0 %, threshold 90.0 %",
        "health      100 of 100",
        "last seen   just now",
    ):
        assert text in said, said


def test_it_is_said_that_a_command_waits(
    site: Site, access: tuple[str, ...], one: Simulated
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "nsdata", "appliance", "bypass", one.id, *access],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        assert "was never heard of: bypass waits until it is, an hour at most" in said
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
        said = process.stderr.read()
    finally:
        process.kill()
        process.stderr.close()
    with site.client() as client:
        (command,) = client.get(f"/appliances/{one.id}").json()["open_commands"]
    assert command["state"] == "queued"
    assert f"nsdata appliance withdraw {command['id']} --manager {site.url}" in said
    said = nsdata("appliance", "withdraw", command["id"], *access)
    assert said == f"withdrawn: {command['id']}\n"
    assert "cannot be withdrawn" in nsdata(
        "appliance", "withdraw", command["id"], *access, status=1)  # fmt: skip
    one.say()
    wait(lambda: "not connected" in nsdata("appliance", "show", one.id, *access), "it is silent")
    said = nsdata("appliance", "reboot", one.id, "--no-wait", "--note", "a new fan", *access)
    with site.client() as client:
        (command,) = client.get(f"/appliances/{one.id}").json()["open_commands"]
    assert (command["kind"], command["parameters"]["note"]) == ("reboot", "a new fan")
    assert "simulated was not heard of for " in said and ": reboot waits until it is" in said


def test_the_manager_of_the_environment(
    site: Site, access: tuple[str, ...], one: Simulated, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    said = nsdata("appliance", "reboot", one.id, "--no-wait", *access[2:], NSDATA_MANAGER=site.url)
    assert "reboot: queued" in said
    said = nsdata("appliance", "reboot", one.id, "--port", *access, status=2)
    assert "--port: only at the appliance itself" in said
    said = nsdata("appliance", "report", one.id, status=2)
    assert "no directory of an appliance" in said and "--manager URL or NSDATA_MANAGER" in said
    (tmp_path / "appliance.db").touch()
    monkeypatch.setenv("NSDATA_MANAGER", "https://m:1")
    assert manager_of(tmp_path, "") == "", "its own directory is meant"
    assert manager_of(tmp_path, "https://n:2") == "https://n:2", "what is said holds"
    assert manager_of(Path("north"), "") == "https://m:1"
    monkeypatch.delenv("NSDATA_MANAGER")
    assert manager_of(tmp_path, "") == ""
    with pytest.raises(SettingError, match="NSDATA_MANAGER"):
        manager_of(Path("north"), "")
