"""Requests that an appliance has not carried out yet: said, withdrawn, replaced."""

import time

from site_ import Site
from visitor import Prepared, Visitor, words

from nsdata.manager.audit import Role
from nsdata.manager.tables import Appliance


def test_a_request_is_withdrawn_before_it_begins(
    site: Site, prepared: Prepared, operator: Visitor
) -> None:
    at = f"/appliances/{prepared.id}"
    with site.client(Role.OPERATOR) as client, site.client(Role.ADMIN) as admin:
        asked = client.put(f"{at}/inspection", json={"state": "bypass"}).json()
        assert client.delete(f"/commands/{asked['id']}").status_code == 204
        told = client.get(f"/commands/{asked['id']}").json()
        assert told["state"] == "failed" and told["error"].startswith("withdrawn by ")
        assert not prepared.send(prepared.told())["commands"]
        again = client.delete(f"/commands/{asked['id']}")
        assert again.status_code == 409 and "is over" in again.json()["detail"]
        found = admin.get("/audit", params={"query": "appliance.bypass.withdraw"}).json()["items"]
        assert found[0]["details"]["command"] == asked["id"]
    operator.post(f"{at}/reboot", at, note="a new fan")
    command = prepared.asked()
    assert command["parameters"]["note"] == "a new fan"
    assert f'id="withdraw-{command["id"]}"' in operator.get(at).text
    path = f"{at}/commands/{command['id']}/withdraw"
    prepared.send(prepared.told(), results=[prepared.result(command, "running", progress=0.1)])
    assert "it cannot be withdrawn" in operator.post(path, at).text
    assert f'id="withdraw-{command["id"]}"' not in operator.get(at).text
    prepared.send(prepared.told(), results=[prepared.result(command, "done")])


def test_what_was_carried_out_all_the_same_is_said(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    operator.post(f"{at}/inspection", at, to="bypass")
    command = prepared.asked()
    operator.post(f"{at}/commands/{command['id']}/withdraw", at)
    assert "if the appliance has begun it already, it says so" in operator.get(at).text
    assert not prepared.send(prepared.told())["commands"]
    prepared.send(prepared.told(), results=[prepared.result(command, "done")])
    assert "✓ done into fallback" in words(operator.get(at).text)


def test_the_opposite_replaces_what_only_waits(site: Site, prepared: Prepared) -> None:
    at = f"/appliances/{prepared.id}/inspection"
    with site.client(Role.OPERATOR) as client:
        first = client.put(at, json={"state": "bypass"}).json()
        second = client.put(at, json={"state": "inspect"}).json()
        told = client.get(f"/commands/{first['id']}").json()
        assert told["state"] == "failed"
        assert told["error"] == f"replaced by {second['id']} before the appliance had it"
        sent = prepared.send(prepared.told())["commands"]
        assert [one["id"] for one in sent] == [second["id"]]
        third = client.put(at, json={"state": "bypass"}).json()
        sent = prepared.send(prepared.told())["commands"]
        assert [one["id"] for one in sent] == [second["id"], third["id"]], "it has the one before"


def test_the_question_says_that_it_is_away(
    site: Site, prepared: Prepared, operator: Visitor
) -> None:
    at = f"/appliances/{prepared.id}"
    assert "Not heard of" not in operator.get(f"{at}/reboot").text
    with site.service.database.writing() as session:
        row = session.get(Appliance, prepared.id)
        assert row is not None
        row.last_seen_ns = time.time_ns() - 29 * 10**9
    for question in ("reboot", "inspection?to=bypass", "inspection?to=inspect"):
        text = words(operator.get(f"{at}/{question}").text)
        assert "Not heard of for 29 s: it is told when it is back" in text, question
        assert "within 1 h at the latest, and does it then" in text, question
