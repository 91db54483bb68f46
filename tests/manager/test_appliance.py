"""A real appliance at a real manager: it enrols, reports, is told what to do."""

from pathlib import Path

from box import QUICK, Box
from site_ import Site, ended, wait

from nsdata.manager.audit import Role


def test_an_appliance_reports_and_is_switched(site: Site, tmp_path: Path) -> None:
    with Box(tmp_path, settings=QUICK) as box:
        appliance = site.enrol(box.directory)
        with site.client(Role.OPERATOR) as client:

            def reports() -> object:
                told = client.get(f"/appliances/{appliance}").raise_for_status().json()
                return told if told["reports"] > 3 and told["packets_per_second"] else None

            told = wait(reports, "it reports", lambda: site.log() + box.log())
            assert told["connected"] and told["name"] == "box"
            assert (told["state"], told["reason"], told["severity"]) == (
                "normal",
                "no error",
                "Info",
            )
            assert told["ledger"]["inspected"]["packets"] > 100
            assert 2000 < told["packets_per_second"] < 10_000
            assert told["processes"]["worker-0"]["phase"] == "running"
            asked = client.put(
                f"/appliances/{appliance}/inspection",
                json={"state": "bypass", "note": "for a test"},
            )
            assert asked.status_code == 202
            assert asked.headers["location"] == f"/api/v1/commands/{asked.json()['id']}"
            assert ended(client, asked.json())["state"] == "done"
            assert box.status()["state"] == "fallback"
            shown = wait(
                lambda: (
                    (found := client.get(f"/appliances/{appliance}/inspection").json())
                    and found["state"] == "bypass"
                    and found
                ),
                "the manager sees it",
            )
            assert (shown["reason"], shown["severity"]) == ("no error", "Info")
            told = client.get(f"/appliances/{appliance}").json()
            assert told["recheck"]["holds"] is False and told["recheck"]["why"]
            assert told["enrolled_ns"] < told["fallback_since_ns"] <= told["last_seen_ns"]
            asked = client.put(f"/appliances/{appliance}/inspection", json={"state": "inspect"})
            assert ended(client, asked.json())["state"] == "done"
            box.wait(lambda t: t["state"] == "normal", "restored")

            def told_transitions() -> list[str]:
                page = client.get(f"/appliances/{appliance}/transitions").json()
                return [one["told"]["to"] for one in page["items"]]

            wait(lambda: told_transitions() == ["normal", "fallback"], "both transitions are told")
            entry = client.get(f"/appliances/{appliance}/transitions").json()["items"][1]["told"]
            assert "for a test" in str(entry["evidence"])
            assert len(client.get(f"/appliances/{appliance}/samples").json()["points"]) > 3
            events = client.get(f"/appliances/{appliance}/events?query=started").json()["items"]
            assert {one["told"]["subject"] for one in events} >= {"port", "worker-0", "agent"}
