"""What an agent has to say is bounded in bytes: after an outage, and with one report too large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agents import report
from site_ import Site

from nsdata.appliance.agent import agent as agent_module
from nsdata.appliance.agent.agent import Agent
from nsdata.appliance.agent.membership import REACHED
from nsdata.appliance.protocol import BODY_MOST
from nsdata.manager.audit import Role


def talking(site: Site, directory: Path, sizes: list[int], said: list[tuple[str, str]],
            monkeypatch: pytest.MonkeyPatch) -> Agent:  # fmt: skip
    """An agent with a report of each size to say."""
    directory.mkdir()
    site.enrol(directory)
    found = Agent(directory, lambda *what: said.append(what))
    monkeypatch.setattr(found, "_history", list)  # there is no appliance, and no store

    def account(size: int) -> dict[str, Any]:
        return {**report(1), "processes": {"x": "x" * size}}

    for size in sizes:
        told = account(size)
        monkeypatch.setattr(agent_module, "ask", lambda *_, told=told: told)
        found._observe()
    return found


@pytest.mark.parametrize("room", [agent_module.ROOM, 8 * BODY_MOST])
def test_after_an_outage(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Also when the manager takes less than the agent thinks."""
    said: list[tuple[str, str]] = []
    sizes = [60_000] * 60 + [BODY_MOST + 1] + [60_000] * 60
    one = talking(site, tmp_path / "box", sizes, said, monkeypatch)
    one._room = room
    one._try()
    assert not one.reports
    (event, why), last = said
    assert event == "too large for the manager" and "report 61" in why
    assert last == (REACHED, "")
    assert one.member is not None
    with site.client(Role.VIEWER) as client:
        assert client.get(f"/appliances/{one.member.id}").json()["reports"] == 120
