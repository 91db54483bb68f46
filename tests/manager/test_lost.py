"""Connections that are lost, processes that are killed: nothing is lost, nothing done twice. A real
appliance at a real manager."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from box import QUICK, Box
from command_line import nsdata
from proxy import Wire
from site_ import Site, ended, wait

from nsdata.appliance.agent.agent import Agent
from nsdata.appliance.agent.journal import Journal
from nsdata.appliance.agent.membership import REACHED, REFUSED, Membership
from nsdata.appliance.protocol import Command, CommandKind
from nsdata.appliance.store import Store
from nsdata.manager.audit import Role

ROUNDS = 3 if os.environ.get("NSDATA_FULL") else 2


def switch(client: httpx.Client, appliance: str, state: str) -> dict[str, object]:
    answer = client.put(f"/appliances/{appliance}/inspection", json={"state": state})
    return dict(answer.raise_for_status().json())


def changes(box: Box) -> list[str]:
    """The states it went into, oldest first, refusals too."""
    told = box.ask("transitions", most=1000)["transitions"]
    return [one["to"] for one in reversed(told)]


def told_to(client: httpx.Client, appliance: str) -> list[str]:
    """The same, as the manager has it."""
    found, cursor = [], None
    while True:
        query = {"limit": 500} | ({"cursor": cursor} if cursor else {})
        page = client.get(f"/appliances/{appliance}/transitions", params=query).json()  # type: ignore[arg-type]
        found += [one["told"]["to"] for one in page["items"]]
        if (cursor := page["next"]) is None:
            return found[::-1]


def all_told(client: httpx.Client, appliance: str, expected: list[str]) -> None:
    wait(lambda: told_to(client, appliance) == expected, "all is told, and once")


def another_agent(client: httpx.Client, appliance: str, pid: int) -> None:
    wait(lambda: agent_pid(client, appliance) != pid, "another agent")


def agent_pid(client: httpx.Client, appliance: str) -> int:
    events = client.get(f"/appliances/{appliance}/events?query=started").json()["items"]
    return int(next(one["told"]["evidence"]["pid"] for one in events
                    if one["told"]["subject"] == "agent"))  # fmt: skip


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path, settings=QUICK)


def test_answers_that_are_lost(tmp_path: Path, box: Box) -> None:
    """Each command's answer is lost after the manager has stored what was said, again and again."""
    with Site(tmp_path / "site") as site:
        wire = Wire(int(site.agents_url.rpartition(":")[2]))
        appliance = site.enrol(box.directory)
        member = Membership.load(box.directory)
        assert member is not None
        member.moved(f"https://127.0.0.1:{wire.port}")
        with box, site.client(Role.OPERATOR) as client:
            for state in ("bypass", "inspect") * ROUNDS:
                wire.cut_after_request = 2
                assert ended(client, switch(client, appliance, state))["state"] == "done"
            assert wire.cuts >= 2 * ROUNDS
            expected = ["fallback", "normal"] * ROUNDS
            assert changes(box) == expected
            all_told(client, appliance, expected)
        wire.close()


def test_a_manager_that_is_killed(tmp_path: Path, box: Box) -> None:
    """Killed between a command and its result; what happens meanwhile is told afterwards."""
    with Site(tmp_path / "site") as site:
        appliance = site.enrol(box.directory)
        with box:
            for round_ in range(ROUNDS):
                with site.client(Role.OPERATOR) as client:
                    wait(lambda: client.get(f"/appliances/{appliance}").json()["connected"], "on")
                    asked = switch(client, appliance, "bypass")
                    site.kill()
                site.start()
                with site.client(Role.OPERATOR) as client:
                    assert ended(client, asked)["state"] == "done"
                site.kill()
                box.ask("restore")
                site.start()
                with site.client(Role.OPERATOR) as client:
                    expected = ["fallback", "normal"] * (round_ + 1)
                    all_told(client, appliance, expected)
            assert changes(box) == ["fallback", "normal"] * ROUNDS


def test_an_agent_that_is_killed(site: Site, box: Box) -> None:
    appliance = site.enrol(box.directory)
    with box, site.client(Role.OPERATOR) as client:
        for state in ("bypass", "inspect"):
            wait(lambda: client.get(f"/appliances/{appliance}").json()["connected"], "it reports")
            pid = agent_pid(client, appliance)
            os.kill(pid, signal.SIGKILL)
            asked = switch(client, appliance, state)
            assert ended(client, asked)["state"] == "done"
            another_agent(client, appliance, pid)
        assert changes(box) == ["fallback", "normal"], "and no fallback for the agent's sake"


def test_what_was_interrupted_is_not_done_again(site: Site, tmp_path: Path, box: Box) -> None:
    """The agent ended after it noted that a command is begun, and before its result."""
    appliance = site.enrol(box.directory)
    command = Command(id=uuid4(), kind=CommandKind.BYPASS)
    journal = Journal(box.directory / "manager" / "agent.db")
    assert journal.begin(command)
    journal.close()
    with site.client(Role.OPERATOR) as client:
        headers = {"Idempotency-Key": str(command.id)}
        path = f"/appliances/{appliance}/inspection"
        asked = client.put(path, json={"state": "bypass"}, headers=headers).json()
        with box:
            told = ended(client, asked)
            assert told["state"] == "failed"
            assert "restarted while it was carried out" in told["error"]
            assert changes(box) == []


def test_a_restarted_appliance_tells_what_was(site: Site, box: Box) -> None:
    """Transitions that could not be told before it stopped are told after it starts again."""
    with box:
        box.ask("fallback", note="nobody sees it")
        box.ask("restore")
    appliance = site.enrol(box.directory)
    with box, site.client(Role.VIEWER) as client:
        wait(lambda: told_to(client, appliance) == ["fallback", "normal"], "all is told")


def test_enrolled_while_it_runs_and_removed(site: Site, box: Box) -> None:
    with box, site.client() as client:
        assert "manager: enrolled nowhere" in nsdata("appliance", "status", str(box.directory))
        first = site.enrol(box.directory)
        wait(lambda: client.get(f"/appliances/{first}").json()["connected"], "it reports")
        box.wait(lambda t: (t["manager"] or {}).get("takes"), "it knows that it is heard")
        said = nsdata("appliance", "status", str(box.directory))
        assert f"manager: {site.agents_url}, enrolled as {first}; takes its reports since" in said
        assert client.delete(f"/appliances/{first}").status_code == 409
        assert client.delete(f"/appliances/{first}?force=true").status_code == 200
        box.wait(lambda t: "manager refuses" in str(box.events("appliance")), "it is refused")
        said = nsdata("appliance", "status", str(box.directory))
        assert "does NOT take its reports since" in said and "(403)" in said
        assert client.get(f"/appliances/{first}").status_code == 404
        second = site.enrol(box.directory)
        wait(lambda: client.get(f"/appliances/{second}").json()["reports"] > 1, "it is back")
        assert box.status()["state"] == "normal"


def test_another_membership_is_tried_at_once(site: Site, tmp_path: Path) -> None:
    """A refusal keeps the agent quiet for half a minute; it is of the membership that there was."""
    words: list[str] = []
    (tmp_path / "manager").mkdir()
    store = Store(tmp_path / "appliance.db")
    agent = Agent(tmp_path, lambda event, why: words.append(event))
    try:
        for event in (REFUSED, REACHED):
            assert agent._due(time.monotonic())
            agent._try()
            assert words[-1] == event
            if event == REFUSED:
                assert not agent._due(time.monotonic()), "it waits"
                site.enrol(tmp_path)
    finally:
        if agent.client is not None:
            agent.client.close()
        agent.journal.close()
        store.close()
