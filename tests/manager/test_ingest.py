"""Reports and history: stored once, however often they come; commands: sent until answered. Over
both databases."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

from agents import Simulated, report, transition
from site_ import Site, wait

from nsdata.manager.audit import Role

SECOND = 10**9


def test_a_report_is_stored_once(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    batch = [report(n) for n in (1, 2, 3)]
    for _ in range(3):
        assert one.post(batch).json()["acked"] == 3
    assert one.post([*batch[1:], report(4)]).json()["acked"] == 4
    one.boot = str(uuid4())  # the agent was restarted: it counts anew
    assert one.post([report(1)]).json()["acked"] == 1
    with either_site.client(Role.VIEWER) as client:
        assert client.get(f"/appliances/{one.id}").json()["reports"] == 5


def test_history_is_stored_once(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    rows = [transition(n) for n in range(1, 4)]
    for sent in (rows, rows[1:], [*rows, transition(3, at_ns=7)]):  # another row 3: another store
        assert one.post(history=sent).status_code == 200
    with either_site.client(Role.VIEWER) as client:
        page = client.get(f"/appliances/{one.id}/transitions").json()
    told = [(row["at_ns"], row["told"]["evidence"]["row"]) for row in page["items"]]
    assert told == [(7, 3), (10**18 + 3, 3), (10**18 + 2, 2), (10**18 + 1, 1)]


def test_rates_and_samples(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    begin = 1_700_000_040 * SECOND  # a whole minute
    counts = [0, 1000, 3000, 3000]
    for n, packets in enumerate(counts):
        one.post([report(n + 1, begin + n * SECOND, packets, drop_ratio=n / 10)])
    with either_site.client(Role.VIEWER) as client:

        def samples(step: str) -> list[dict[str, float]]:
            found = client.get(f"/appliances/{one.id}/samples", params={"step": step}).json()
            return list(found["points"])

        points = samples("second")
        assert [p["packets_per_second"] for p in points] == [0, 1000, 2000, 0]
        assert [p["bits_per_second"] for p in points] == [0, 800_000, 1_600_000, 0]
        assert [p["inspected"] for p in points] == [0, 1000, 2000, 0]
        assert samples("minute") == []
        one.post([report(5, begin + 60 * SECOND, 3000)])  # the minute is over
        (minute,) = samples("minute")
        assert minute["at_s"] == begin // SECOND
        assert (minute["inspected"], minute["packets_per_second"]) == (3000, 750)
        assert (minute["drop_ratio"], minute["health_score"]) == (0.3, 100)
        one.post([report(6, begin + 601 * SECOND, 4000)])  # its slot is that of the 2nd second
        assert [p["at_s"] - begin // SECOND for p in samples("second")] == [2, 3, 60, 601]


def test_a_restarted_appliance_has_no_rate(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    now = time.time_ns()
    one.post([report(1, now, 5000)])
    one.post([report(2, now + SECOND, 100, started_ns=2)])
    with either_site.client(Role.VIEWER) as client:
        assert client.get(f"/appliances/{one.id}").json()["packets_per_second"] == 0


def test_what_makes_no_sense_is_refused_whole(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    for wrong in ({"drop_ratio": 2}, {"state": "odd"}, {"name": "a b"}, {"at_ns": -1}):
        answer = one.post([report(1), report(2, **wrong)])
        assert answer.status_code == 422, wrong
        assert answer.headers["content-type"] == "application/problem+json"
    assert one.client.post("/agent/v1/reports", content=b"{").status_code == 422
    assert one.client.get("/agent/v1/reports").status_code == 405
    assert one.client.post("/agent/v1/other").status_code == 404
    assert one.client.post("/agent/v1/reports", content=bytes(5 << 20)).status_code == 413
    assert one.say().acked == 1


def test_a_command_is_sent_until_its_result_is_here(either_site: Site, tmp_path: Path) -> None:
    one, other = (
        Simulated(either_site, tmp_path / "one"),
        Simulated(either_site, tmp_path / "other"),
    )
    with either_site.client(Role.OPERATOR) as client:
        asked = client.post(f"/appliances/{one.id}/reboot").json()
        assert asked["state"] == "queued"
        assert other.say().commands == []
        for _ in range(2):  # the first answer may have been lost
            (command,) = one.say().commands
            assert (str(command.id), command.kind) == (asked["id"], "reboot")
        assert client.get(asked["status_url"].removeprefix("/api/v1")).json()["state"] == "sent"
        other.say(results=[other.result(asked["id"])])  # not its command
        one.say(results=[one.result(asked["id"], "running", progress=0.5)])
        told = client.get(f"/commands/{asked['id']}").json()
        assert (told["state"], told["progress"]) == ("running", 0.5)
        again = client.post(f"/appliances/{one.id}/reboot").json()
        assert again["id"] == asked["id"], "a reboot asked twice happens once"
        assert one.say(results=[one.result(asked["id"])]).commands == []
        one.say(results=[one.result(asked["id"], "failed", error="late")])  # the first end stands
        assert client.get(f"/commands/{asked['id']}").json()["state"] == "done"
        assert client.post(f"/appliances/{one.id}/reboot").json()["id"] != asked["id"]


def test_a_key_is_one_command(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    key = {"Idempotency-Key": str(uuid4())}
    path = f"/appliances/{one.id}/inspection"
    with either_site.client(Role.OPERATOR) as client:
        first, second = (client.put(path, json={"state": "bypass"}, headers=key) for _ in "ab")
        assert first.json()["id"] == second.json()["id"] == key["Idempotency-Key"]
        one.say(results=[one.result(key["Idempotency-Key"])])
        late = client.put(path, json={"state": "bypass"}, headers=key)
        assert (late.status_code, late.json()["state"]) == (202, "done")
        other = client.put(path, json={"state": "inspect"}, headers=key)
        assert other.status_code == 409


def test_one_support_report_at_a_time(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    path = f"/appliances/{one.id}/support-reports"
    with either_site.client(Role.OPERATOR) as client:
        first = client.post(path, json={"destination": "local"})
        assert first.status_code == 202
        second = client.post(path, json={"destination": "local"})
        assert second.status_code == 409
        assert second.json()["running"] == first.json()["id"] in second.json()["detail"]
        shown = client.get(f"{path}/{first.json()['id']}").json()
        assert shown["state"] == "queued"
        assert client.delete(f"{path}/{first.json()['id']}").json()["kind"] == "stop-report"
        assert client.delete(f"{path}/{uuid4()}").status_code == 404
        one.say(results=[one.result(first.json()["id"], "failed", error="the disk is full")])
        assert client.post(path, json={"destination": "local"}).status_code == 202
        assert len(client.get(path).json()["items"]) == 2


def test_every_command_is_audited_at_both_ends(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    with either_site.client(Role.OPERATOR) as client, either_site.client() as admin:
        asked = client.put(f"/appliances/{one.id}/inspection", json={"state": "bypass"}).json()
        one.say(results=[one.result(asked["id"], "failed", error="no")])
        rows = admin.get("/audit", params={"query": one.id}).json()["items"]
    told = [(row["action"], row["result"], row["role"]) for row in rows[:2]]
    assert told == [
        ("appliance.bypass.result", "failed", "appliance"),
        ("appliance.bypass", "accepted", "operator"),
    ]
    assert rows[0]["details"]["asked_by"] == rows[1]["actor"]
    assert rows[1]["source"] == "127.0.0.1"


def test_disconnected_after_a_while(either_site: Site, tmp_path: Path) -> None:
    one = Simulated(either_site, tmp_path)
    one.say()
    with either_site.client(Role.VIEWER) as client:
        assert client.get(f"/appliances/{one.id}").json()["connected"]
        wait(lambda: not client.get(f"/appliances/{one.id}").json()["connected"], "it is gone")
