"""Pages of appliances over HTTP, fed through the real protocol: what is shown, what is asked."""

import csv
import io
import json
import re
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from site_ import Site, wait
from visitor import HOSTILE, Prepared, Visitor, rows, visitor, words

from nsdata.fallback.reasons import ABOUT, Reason, State, about
from nsdata.manager.audit import Role

RIGHT = (
    "https://files.example/reports/edge-1.tar.gz",
    "http://192.0.2.1:8080/a.tar.gz?token=x",
    "https://bucket.s3.eu-west-1.amazonaws.com/a.tar.gz?x-amz-acl=bucket-owner-full-control",
    "https://files.example/" + "a" * 226 + ".tar.gz",
)
WRONG = {
    "": "needs a URL",
    "https://files.example/" + "a" * 227 + ".tar.gz": "at most 255",
    "https://files.example/report.zip": "file name, NAME.tar.gz",
    "https://files.example/": "file name, NAME.tar.gz",
    "ftp://files.example/a.tar.gz": "http:// or https://",
    "https://bucket.s3.amazonaws.com/a.tar.gz": "needs a parameter x-amz-acl",
    "https://files.example/a.tar.gz?x-amz-acl=everyone": "no canned access list",
    "https://user:pw@files.example/a.tar.gz": "user information",
    "https://files.example/a b.tar.gz": "character that a URL cannot",
}

# reason: (words of the cause, severity, words of what the operator is told to do)
TABLE = {
    "FPGA reported error": ("FPGA has reported an error", "Critical", "support report"),
    "heartbeat error": ("processes are unresponsive", "Critical", "support report"),
    "low health score error": ("low critical threshold", "Critical", "support report"),
    "memory error": ("passed the maximum", "Critical", "support report"),
    "no error": ("into fallback by hand", "Info", "restore to normal"),
    "process error": ("crashed and cannot be recovered", "Critical", "support report"),
    "threshold error": ("90 % of all packets received", "Critical", "no longer over-subscribed"),
    "unknown": ("unknown error", "Warning", "support report"),
}


@pytest.fixture
def prepared(site: Site, tmp_path: Path) -> Prepared:
    made = Prepared(site, tmp_path / "prepared", f"edge-{uuid4().hex[:6]}")
    made.send(made.told())
    return made


@pytest.fixture(scope="module")
def operator(site: Site) -> Iterator[Visitor]:
    with visitor(site, Role.OPERATOR) as found:
        yield found


@pytest.fixture(scope="module")
def admin(site: Site) -> Iterator[Visitor]:
    with visitor(site, Role.ADMIN) as found:
        yield found


# --- All Appliances -------------------------------------------------------------------------


def test_what_was_never_heard_of(site: Site, tmp_path: Path, operator: Visitor) -> None:
    name = f"silent-{uuid4().hex[:6]}"
    silent = site.enrol(tmp_path, name)
    text = words(operator.get(f"/appliances?q={name}").text)
    assert "not reported yet" in text and "never reported" in text
    for tab in ("", "/traffic", "/health", "/events", "/fpga"):
        answer = operator.get(f"/appliances/{silent}{tab}")
        assert answer.status_code == 200, tab
    assert 'role="switch"' not in operator.get(f"/appliances/{silent}").text


def test_removing(site: Site, prepared: Prepared, admin: Visitor) -> None:
    at = f"/appliances/{prepared.id}/remove"
    prepared.send(prepared.told())
    wrong = admin.post(at, at, name="other")
    assert wrong.status_code == 422 and f"Type the name, {prepared.name}" in wrong.text
    refused = admin.post(at, at, name=prepared.name)
    assert refused.status_code == 409 and "still reports" in words(refused.text)
    assert 'name="force"' in refused.text
    wait(lambda: "not seen for" in admin.get(f"/appliances?q={prepared.name}").text, "it is silent")
    done = admin.post(at, at, name=prepared.name)
    assert (done.status_code, done.headers["location"]) == (303, "/appliances")
    assert rows(admin.get(f"/appliances?q={prepared.name}").text) == []
    assert admin.get(f"/appliances/{prepared.id}").status_code == 404
    assert "appliance.remove" in admin.get(f"/admin/audit?q={prepared.id}").text


def test_removing_one_that_reports_by_force(prepared: Prepared, admin: Visitor) -> None:
    at = f"/appliances/{prepared.id}/remove"
    prepared.send(prepared.told())
    assert admin.post(at, at, name=prepared.name, force="yes").status_code == 303
    assert (
        prepared.client.post("/agent/v1/reports", json={"boot": prepared.boot}).status_code == 403
    )


# --- General --------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", list(Reason), ids=lambda one: one.name)
def test_a_reason_and_what_to_do(prepared: Prepared, operator: Visitor, reason: Reason) -> None:
    evidence = {
        "window": {"length_ns": 5_000_000_000, "start_ns": 1_369_743_202_123_456_000},
        "ratio": 0.926,
        "served_pps": 300.0,
        "rss_bytes": 1 << 30,
        "top_rules": [{"rule": 17, "packets": 20}],
    }
    entry = prepared.transition(reason, "fallback", evidence)
    prepared.send(prepared.told(reason, "fallback"), history=[entry])
    text = words(operator.get(f"/appliances/{prepared.id}").text)
    about = ABOUT[reason]
    assert f"fallback reason {reason.value} severity" in text
    assert about.cause in text and about.resolution in text
    assert re.search(rf"severity \S {about.severity.value} cause", text)
    for told in ("length 5 s", "2013-05-28 12:13:22 UTC", "ratio 92.6 %", "served 300 pkt/s",
                 "rule packets 17 20", "memory 1 GiB"):  # fmt: skip
        assert told in text, told
    table = words(operator.get(f"/appliances?q={prepared.name}").text)
    assert f"fallback {reason.value} " in table


def test_reasons_as_a_program_is_told(site: Site, prepared: Prepared) -> None:
    at = f"/appliances/{prepared.id}"
    assert {one.value for one in Reason} == TABLE.keys()
    with site.client(Role.VIEWER) as client:
        for name, (cause, severity, resolution) in TABLE.items():
            told = about(Reason(name), State.FALLBACK)
            said = {"cause": told.cause, "resolution": told.resolution}
            prepared.send(prepared.told(Reason(name), "fallback", **said))
            found = client.get(f"{at}/inspection").json()
            assert (found["state"], found["reason"]) == ("bypass", name)
            assert found["severity"] == severity and cause in found["cause"]
            assert resolution in found["resolution"].lower()
            listed = client.get("/appliances", params={"query": f"name:{prepared.name}"}).json()
            assert [(one["reason"], one["severity"]) for one in listed["items"]] == [
                (name, severity)]  # fmt: skip
        normal = about(Reason.NO_ERROR, State.NORMAL)
        said = {"cause": normal.cause, "resolution": normal.resolution}
        prepared.send(prepared.told(**said))
        found = client.get(f"{at}/inspection").json()
        assert (found["state"], found["reason"]) == ("inspect", "no error")
        assert found["severity"] == "Info"
        assert (found["cause"], found["resolution"]) == ("Inspecting.", "Nothing to do.")


def test_times_of_evidence_are_told_by_its_transition(
    prepared: Prepared, operator: Visitor
) -> None:
    now = 63_860 * 10**9  # by the appliance's own clock
    given = {"process": "worker-0", "last_beat_ns": now - 500_000_000}
    evidence = {"given": given, "window": {"start_ns": now - 5 * 10**9, "end_ns": now}}
    entry = prepared.transition(Reason.HEARTBEAT, "fallback", evidence)
    entry["told"]["at_ns"] = now
    prepared.send(prepared.told(Reason.HEARTBEAT), history=[entry])
    at = f"/appliances/{prepared.id}"
    for path in (at, f"{at}/events"):
        text = words(operator.get(path).text)
        assert "process worker-0 last beat 500 ms before" in text, path
        assert "start 5 s before end then" in text, path


def test_every_part_of_a_page_follows(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    number = 0
    for path in ("/appliances", at, f"{at}/traffic", f"{at}/health", f"{at}/events", f"{at}/fpga"):
        parts = re.findall(r'id="(part-\w+)" hx-get="([^"]+)"', operator.get(path).text)
        number += len(parts)
        for name, url in parts:
            answer = operator.get(url.replace("&amp;", "&").replace("seen=", "seen=x")[:-1])
            assert answer.status_code == 200 and answer.text.startswith(f'<div id="{name}"'), url
    assert number == 11


def test_the_toggle(site: Site, prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    asks = operator.get(f"{at}/inspection?to=bypass")
    assert f"Put {prepared.name} into fallback?" in asks.text and "<html" in asks.text
    piece = operator.get(f"{at}/inspection?to=bypass", **{"HX-Request": "true"})
    assert "<html" not in piece.text and "into fallback?" in piece.text
    done = operator.post(f"{at}/inspection", at, to="bypass", note=HOSTILE[:199])
    assert (done.status_code, done.headers["location"]) == (303, at)
    assert "waiting for the appliance" in operator.get(at).text
    command = prepared.asked()
    assert command["kind"] == "bypass"
    assert command["parameters"] == {"by": f"user:{operator.name}", "note": HOSTILE}
    failed = prepared.result(command, "failed", error=f"it could not {HOSTILE}")
    prepared.send(prepared.told(), results=[failed])
    text = operator.get(at).text
    assert "failed: it could not" in words(text) and "<script>alert" not in text
    operator.post(f"{at}/inspection", at, to="inspect", force="yes")
    command = prepared.asked()
    assert (command["kind"], command["parameters"]["force"]) == ("inspect", True)
    prepared.send(prepared.told(), results=[prepared.result(command, "done")])
    assert operator.post(f"{at}/inspection", at, to="sideways").status_code == 422
    assert not prepared.send(prepared.told())["commands"]


def test_a_reboot(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    assert f"Reboot {prepared.name}?" in operator.get(f"{at}/reboot").text
    for _ in range(2):
        assert operator.post(f"{at}/reboot", at).status_code == 303
    commands = prepared.send(prepared.told())["commands"]
    assert [one["kind"] for one in commands] == ["reboot"]
    runs = prepared.result(commands[0], "running", progress=0.4, told={"what": "worker-1 begins"})
    prepared.send(prepared.told(), results=[runs])
    text = operator.get(at).text
    assert 'value="40"' in text and "40.0 % worker-1 begins" in words(text)
    prepared.send(prepared.told(), results=[prepared.result(commands[0], "done")])
    assert "✓ done reboot" in words(operator.get(at).text)


@pytest.mark.parametrize("url", RIGHT)
def test_a_right_location(prepared: Prepared, operator: Visitor, url: str) -> None:
    at = f"/appliances/{prepared.id}"
    done = operator.post(f"{at}/support-reports", at, destination="custom", url=url, packets="yes")
    assert (done.status_code, done.headers["location"]) == (303, f"{at}#support")
    command = prepared.asked()
    assert command["kind"] == "support-report"
    assert command["parameters"] == {"destination": "custom", "url": url, "packets": True,
                                     "by": f"user:{operator.name}"}  # fmt: skip
    text = operator.get(at).text
    assert url.partition("?")[0] in text and "token=x" not in text


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_location(prepared: Prepared, operator: Visitor, url: str) -> None:
    at = f"/appliances/{prepared.id}"
    refused = operator.post(f"{at}/support-reports", at, destination="custom", url=url)
    assert refused.status_code == 422
    assert WRONG[url] in words(refused.text)
    assert 'aria-invalid="true"' in refused.text
    assert not prepared.send(prepared.told())["commands"]


def test_one_report_at_a_time(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    assert operator.post(f"{at}/support-reports", at, destination="local").status_code == 303
    second = operator.post(f"{at}/support-reports", at, destination="local")
    command = prepared.asked()
    assert second.status_code == 409
    assert f"runs already: {command['id']}" in words(second.text)
    told = {"doing": "collecting logs"}
    runs = prepared.result(command, "running", progress=0.5, told=told)
    prepared.send(prepared.told(), results=[runs])
    assert "50.0 % collecting logs" in words(operator.get(at).text)
    stop = f"{at}/support-reports/{command['id']}/stop"
    assert operator.post(stop, at).status_code == 303
    stops = next(
        one for one in prepared.send(prepared.told())["commands"] if "report" in one["parameters"]
    )
    assert stops["parameters"]["report"] == command["id"]
    told = {"file_name": "r.tar.gz", "size": 2048, "sha256": "ab" * 32, "location": "/r.tar.gz"}
    ends = [prepared.result(command, "done", told=told), prepared.result(stops, "done")]
    prepared.send(prepared.told(), results=ends)
    text = words(operator.get(at).text)
    assert "r.tar.gz, 2 KiB" in text and "ab" * 32 in text and "at /r.tar.gz" in text
    assert operator.post(f"{at}/support-reports", at, destination="local").status_code == 303
    other = f"/appliances/{uuid4()}/support-reports/{command['id']}/stop"
    assert operator.post(other, at).status_code == 404


def test_the_vendor_takes_reports_of_the_latest_version_only(
    prepared: Prepared, operator: Visitor
) -> None:
    at = f"/appliances/{prepared.id}"
    why = "0.1.0 runs, 0.2.0 is the latest version: update first"
    for vendor, said in ((None, "which version is the latest is not known"),
                         ({"available": False, "why": why}, why)):  # fmt: skip
        prepared.send(prepared.told(support={"vendor": vendor}))
        text = operator.get(at).text
        assert re.search(r'value="vendor" disabled', text) and f"Not possible: {said}" in text
        refused = operator.post(f"{at}/support-reports", at, destination="vendor")
        assert refused.status_code == 409 and said in words(refused.text)
    assert not prepared.send(prepared.told())["commands"]
    latest = {"available": True, "why": "0.1.0 runs, 0.1.0 is the latest version"}
    prepared.send(prepared.told(support={"vendor": latest}))
    assert 'value="vendor" disabled' not in operator.get(at).text
    assert operator.post(f"{at}/support-reports", at, destination="vendor").status_code == 303
    assert prepared.asked()["parameters"]["destination"] == "vendor"


# --- the other tabs -------------------------------------------------------------------------


def test_traffic(prepared: Prepared, operator: Visitor) -> None:
    ledger = prepared.told()["ledger"]
    ledger["lost"] = {"packets": 500, "bytes": 9, "reasons": {"oversubscribed": 500}}
    prepared.send(
        prepared.told(
            ledger=ledger,
            drop_ratio=0.95,
            top_rules=[{"sid": 2_000_017, "dropped_packets": 20}],
            tiers=[
                {
                    "tier": 2,
                    "name": "balancing",
                    "packets_per_second": 1500.0,
                    "bits_per_second": 2e6,
                    "highest_packets_per_second": 3e6,
                    "highest_bits_per_second": 4e9,
                    "ratio_to_next": 0.25,
                },
            ],
        )
    )
    at = f"/appliances/{prepared.id}/traffic"
    text = operator.get(at).text
    read = words(text)
    assert "▲ 95.0 % of 90.0 %" in read
    assert "dropped because it could not be inspected in time 500 25.0 % 9 the inspection" in read
    assert "the inspection queue was full: 500" in read
    assert "2000017 20" in read
    assert "2 balancing 1.5 kpkt/s 3 Mpkt/s 2 Mbit/s 4 Gbit/s 25.0 %" in read
    assert text.count("<svg") == 3 and "style=" not in text
    assert operator.get(f"{at}?span=day").status_code == 200
    assert operator.get(f"{at}?span=year").status_code == 422


def test_health(prepared: Prepared, operator: Visitor) -> None:
    sensors: list[dict[str, Any]] = [
        {"sensor": "fan-1", "resource": "fan", "level": "green", "value": 2400.0, "unit": "rpm",
         "major": 1000, "critical": 500, "points": 0},
        {"sensor": "temperature-inlet", "resource": "temperature", "level": "red", "value": 97.5,
         "unit": "°C", "major": 80, "critical": 95, "points": 60, "action": "Cool it."},
        {"sensor": "psu-2", "resource": "PSU", "level": "unknown", "value": None, "points": 10,
         "problem": HOSTILE},
    ]  # fmt: skip
    health = {"score": 40, "level": "red", "holds": True, "sensors": sensors,
              "thresholds": {"low_critical": 50, "clear": 60},
              "resources": [{"resource": "temperature", "level": "red", "sensors": 1, "points": 60,
                             "action": "Cool it."}]}  # fmt: skip
    prepared.send(prepared.told(Reason.HEALTH, health=health))
    text = operator.get(f"/appliances/{prepared.id}/health").text
    read = words(text)
    assert "40 of 100 ✕ red" in read and "at or below 50; over again at 60" in read
    assert "It holds now" in read
    assert "temperature-inlet temperature ✕ red 97.5 °C 80 95 60 Cool it." in read
    assert read.index("temperature-inlet") < read.index("psu-2") < read.index("fan-1")
    assert "<script>alert" not in text


def test_fpga(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}/fpga"
    assert "runs without an FPGA" in operator.get(at).text
    prepared.send(prepared.told(fpga={"transport": "pcie", "state": "working"}))
    read = words(operator.get(at).text)
    assert "✓ working transport pcie" in read
    for said in ("Error records were not reported", "No register was reported",
                 "identity was not reported", "No counter was reported"):  # fmt: skip
        assert said in read
    prepared.send(prepared.told(fpga={
        "transport": "pcie", "state": "unused",
        "identity": {"version": "1.2.0", "built": {"ways": 4}},
        "registers": {"ctrl": {"address": 32, "value": 5, "fields": {"enable": 1}}}, "errors": [],
        "record": {"words": HOSTILE}, "error_counters": {"ECC_CE": 7},
    }))  # fmt: skip
    text = operator.get(at).text
    read = words(text)
    assert "! out of use: inspection goes on in software" in read
    assert "version 1.2.0" in read and "ways 4" in read and "ECC CE 7" in read
    assert "ctrl 0x020 0x00000005 enable 1" in read and "No error is on record" in read
    assert "On the block now: &lt;script" in read and "<script>alert" not in text
    errors = [{"error": HOSTILE, "class": HOSTILE, "at_ns": time.time_ns()}]
    prepared.send(prepared.told(fpga={"transport": "pcie", "state": "failed", "errors": errors}))
    text = operator.get(at).text
    assert "&lt;script&gt;alert" in text and "<script>alert" not in text


@pytest.fixture
def eventful(prepared: Prepared) -> Prepared:
    """Into fallback for two reasons, back again, and an event with the state in its evidence."""
    prepared.send(
        prepared.told(),
        history=[
            prepared.transition(Reason.PROCESS, "fallback", {"process": HOSTILE}),
            prepared.transition(Reason.NO_ERROR, "normal", {"was": {"to": "fallback"}}),
            prepared.transition(Reason.THRESHOLD, "fallback", {"ratio": 0.926}),
            prepared.event("=cmd|' /C calc'!A0", {"to": "fallback"}),
        ],
    )
    return prepared


def events(text: str) -> list[str]:
    """Reasons and events in the table, in order."""
    return [
        words(one) for one in re.findall(r'data-label="(?:Reason|Event)">(.*?)</td>', text, re.S)
    ]


def test_events_are_filtered(eventful: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{eventful.id}/events"
    found = events(operator.get(at).text)
    assert [one.split()[0] for one in found] == ["=cmd|&#39;", "threshold", "no", "process"]
    for query, number in (
        ("kind=event", 1), ("kind=transition", 3), ("reason=threshold+error", 1),
        ("state=fallback", 2), ("state=normal", 1), ("q=0.926", 1), ("since=2020-01-01T00:00", 4),
        ("until=2020-01-01T00:00", 0), ("since=2020-01-01T00:00&until=2099-01-01T00:00:00Z", 4),
    ):  # fmt: skip
        assert len(events(operator.get(f"{at}?{query}").text)) == number, query
    text = operator.get(at).text
    assert "<script>alert" not in text and "\u202e" not in text
    assert "ratio 92.6 %" in words(text)


def test_events_as_files(eventful: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{eventful.id}/events"
    answer = operator.get(f"{at}.csv")
    assert answer.headers["content-disposition"].startswith("attachment;")
    told = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(told) == 4 and told[0]["subject"] == "'=cmd|' /C calc'!A0"
    assert told[1]["to"] == "fallback" and json.loads(told[1]["evidence"]) == {"ratio": 0.926}
    for kind in ("csv", "json"):  # what is printed in a terminal steers nothing there
        text = operator.get(f"{at}.{kind}").text
        assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cf")} - {"\r", "\n"}
    answer = operator.get(f"{at}.json?state=fallback")
    reasons = [one["told"]["reason"] for one in answer.json()]
    assert reasons == ["threshold error", "process error"]
    assert operator.get(f"{at}.json?kind=event&state=normal").json() == []
    assert operator.get(f"/appliances/{uuid4()}/events.csv").status_code == 404


def test_events_in_parts(prepared: Prepared, operator: Visitor) -> None:
    history = [prepared.event(f"event-{i}", {}) for i in range(120)]
    prepared.send(prepared.told(), history=history)
    at: str | None = f"/appliances/{prepared.id}/events"
    found: list[str] = []
    while at:
        text = operator.get(at).text
        found += [one.split()[0] for one in events(text)]
        after = re.search(r'id="next" rel="next" href="([^"]+)"', text)
        at = after[1].replace("&amp;", "&") if after else None
    assert found == [f"event-{i}" for i in reversed(range(120))]
    whole = operator.get(f"/appliances/{prepared.id}/events.json").json()
    assert [one["subject"] for one in whole] == found


def test_nothing_hostile_is_on_any_page(
    prepared: Prepared, operator: Visitor, admin: Visitor
) -> None:
    hostile = {HOSTILE: HOSTILE, "rows": [{HOSTILE: HOSTILE}], "deep": {"er": [HOSTILE]}}
    prepared.send(
        prepared.told() | dict(
            reason=HOSTILE, cause=HOSTILE, resolution=HOSTILE, version=HOSTILE, health=hostile,
            top_rules=[hostile], tiers=[hostile], processes={HOSTILE: hostile, "x": HOSTILE},
            fpga=hostile | {"registers": {HOSTILE: HOSTILE}, "identity": hostile},
            support={"vendor": {"why": HOSTILE}},
        ),
        history=[prepared.transition(Reason.UNKNOWN, "normal", hostile)],
    )  # fmt: skip
    at = f"/appliances/{prepared.id}"
    tabs = [at, *(f"{at}/{tab}" for tab in ("traffic", "health", "events", "fpga", "remove"))]
    for path in ("/appliances", *tabs, f"{at}/inspection?to=inspect", "/admin/audit"):
        answer = admin.get(path)
        assert answer.status_code == 200, path
        assert "<script>alert" not in answer.text and "<img" not in answer.text, path
        assert "\u202e" not in answer.text, path
    assert "&lt;script&gt;" in operator.get(at).text
