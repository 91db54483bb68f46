"""Commands not begun in time, or without progress: given up, and the truth when it comes."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from agents import Simulated
from site_ import Site
from sqlalchemy import update

from nsdata.manager import commands
from nsdata.manager.audit import Role
from nsdata.manager.tables import CommandRow

HOUR_NS = 3600 * 10**9


def age(site: Site, command: str, by_ns: int) -> None:
    """As if it had been asked, and changed, so much earlier."""
    with site.service.database.writing() as session:
        session.execute(
            update(CommandRow)
            .where(CommandRow.id == command)
            .values(asked_ns=CommandRow.asked_ns - by_ns, changed_ns=CommandRow.changed_ns - by_ns)
        )


def test_an_hour(site: Site, tmp_path: Path) -> None:
    assert commands.UNSENT_NS == HOUR_NS
    one = Simulated(site, tmp_path)
    with site.client(Role.OPERATOR) as client:
        asked = client.post(f"/appliances/{one.id}/reboot").json()
        age(site, asked["id"], HOUR_NS)
        assert one.say().commands == []
        told = client.get(f"/commands/{asked['id']}").json()
        assert (told["state"], told["error"]) == ("failed", "not fetched within 1 h")


@pytest.mark.parametrize("outcome", ["done", "failed"])
def test_one_that_was_handed_out(site: Site, tmp_path: Path, outcome: str) -> None:
    one = Simulated(site, tmp_path)
    with site.client(Role.OPERATOR) as client:
        asked = client.post(f"/appliances/{one.id}/reboot").json()
        (command,) = one.say().commands
        assert command.expires_ns - command.asked_ns == HOUR_NS
        assert command.good_for_s is not None and 3000 < command.good_for_s <= 3600
        age(site, asked["id"], HOUR_NS // 2)
        (command,) = one.say().commands
        assert command.good_for_s is not None and command.good_for_s <= 1800
        age(site, asked["id"], HOUR_NS // 2)
        assert one.say().commands == []

        def state() -> str:
            return str(client.get(f"/commands/{asked['id']}").json()["state"])

        assert state() == "sent", "its result may be under way"
        age(site, asked["id"], commands.GRACE_NS)
        one.say()
        told = client.get(f"/commands/{asked['id']}").json()
        assert told["state"] == "failed" and "whether it was before is not known" in told["error"]
        one.say(results=[one.result(asked["id"], "running")])
        assert state() == "running"
        one.say(results=[one.result(asked["id"], outcome)])
        assert state() == outcome
        other = "failed" if outcome == "done" else "done"
        one.say(results=[one.result(asked["id"], other)])
        assert state() == outcome, "an end by its appliance stands"


def test_a_report_without_progress_does_not_block_others(site: Site, tmp_path: Path) -> None:
    one = Simulated(site, tmp_path)
    path = f"/appliances/{one.id}/support-reports"
    with site.client(Role.OPERATOR) as client:
        asked = client.post(path, json={"destination": "manager"}).json()
        one.say()
        one.say(results=[one.result(asked["id"], "running", progress=0.5)])
        age(site, asked["id"], 2 * HOUR_NS)
        one.say(results=[one.result(asked["id"], "running", progress=0.6)])
        assert client.post(path, json={"destination": "local"}).status_code == 409, "it goes on"
        age(site, asked["id"], 2 * HOUR_NS)
        for _ in range(2):
            one.say(results=[one.result(asked["id"], "running", progress=0.6)])
        told = client.get(f"/commands/{asked['id']}").json()
        assert told["state"] == "failed" and "no progress for 1 h" in told["error"]
        assert client.post(path, json={"destination": "local"}).status_code == 202


def test_a_report_is_done_when_it_is_here(site: Site, tmp_path: Path) -> None:
    one = Simulated(site, tmp_path)
    path = f"/appliances/{one.id}/support-reports"
    with site.client(Role.OPERATOR) as client:
        for to, state in (("manager", "failed"), ("local", "done")):
            asked = client.post(path, json={"destination": to}).json()
            one.say(results=[one.result(asked["id"])])
            told = client.get(f"/commands/{asked['id']}").json()
            assert told["state"] == state
            assert ("no whole archive" in told["error"]) == (state == "failed")


def test_a_key_is_of_who_used_it(site: Site, tmp_path: Path) -> None:
    one = Simulated(site, tmp_path)
    key = {"Idempotency-Key": str(uuid4())}
    path = f"/appliances/{one.id}/reload"
    with site.client(Role.OPERATOR) as client:
        assert client.post(path, headers=key).status_code == 202
        assert client.post(path, headers=key).status_code == 202
    with site.service.database.writing() as session:
        session.execute(update(CommandRow).values(asked_by="user:somebody"))
    with site.client(Role.OPERATOR) as client:
        answer = client.post(path, headers=key)
    assert answer.status_code == 409 and "somebody else" in answer.json()["detail"]
