"""What *General* says of a fallback: since when, whether it is over, who asked for it."""

import re
import time

from site_ import Site
from visitor import Prepared, Visitor, rows, visitor, words

from nsdata.fallback.reasons import Reason
from nsdata.manager.audit import Role

SECOND = 10**9


def test_whether_the_cause_holds(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    skewed = time.time_ns() - 3600 * SECOND  # its clock is an hour late
    told = {"at_ns": skewed, "since_ns": skewed - 600 * SECOND}
    entry = prepared.transition(Reason.HEARTBEAT, "fallback", {"process": "worker-0"})
    why = "not cleared: heartbeat error"
    refused = prepared.transition(Reason.HEARTBEAT, "fallback", {"recheck": {"why": why}})
    refused["told"] |= {"from": "fallback", "outcome": "refused", "input": "restore by hand"}
    holds = {"holds": True, "forced": False, "why": why}
    prepared.send(prepared.told(Reason.HEARTBEAT, recheck=holds, **told), history=[entry, refused])
    text = words(operator.get(at).text)
    assert "in fallback for 10 min" in text
    assert f"the cause still holds : {why}. A restore is refused until it is over." in text
    assert "normal → fallback, heartbeat error" in text and "fallback → fallback" not in text
    assert f"restore by hand: {why}" in text
    assert "fallback → " not in words(operator.get(f"{at}/events").text)
    assert re.search(r"fallback for 10 min", words(operator.get("/appliances").text))
    over = {"holds": False, "forced": False, "why": "nothing stands against it"}
    prepared.send(prepared.told(Reason.HEARTBEAT, recheck=over, **told))
    text = words(operator.get(at).text)
    assert "is over (nothing stands against it): restore now" in text
    assert "Inspection State: Not inspecting: all traffic is permitted" in text


def test_a_fallback_by_hand_says_who_and_why(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    operator.post(f"{at}/inspection", at, to="bypass", note="new rules at noon")
    command = prepared.asked()
    told = f"new rules at noon (user:{operator.name})"
    entry = prepared.transition(Reason.NO_ERROR, "fallback", {"given": {"note": told}})
    prepared.send(prepared.told(Reason.NO_ERROR, "fallback"), history=[entry],
                  results=[prepared.result(command, "done")])  # fmt: skip
    text = words(operator.get(f"{at}/inspection?to=inspect").text)
    assert f"put into fallback by hand by {operator.name} ," in text
    assert "with the note: “new rules at noon”" in text
    entry = prepared.transition(Reason.NO_ERROR, "fallback", {"given": {"note": "at the box"}})
    prepared.send(prepared.told(Reason.NO_ERROR, "fallback"), history=[entry])
    text = words(operator.get(f"{at}/inspection?to=inspect").text)
    assert "by hand, " in text and "with the note: “at the box”" in text
    assert "no error" in words(operator.get("/appliances").text)
    found = rows(operator.get(f"/appliances?reason=no+error&q=id:{prepared.id}").text)
    assert found == [prepared.name]
    prepared.send(prepared.told())
    assert not rows(operator.get(f"/appliances?reason=no+error&q=id:{prepared.id}").text)


def test_a_reboot_offers_no_restore(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    asks = words(operator.get(f"{at}/reboot").text)
    assert "nothing is lost, and open TCP sessions are picked up midstream" in asks
    operator.post(f"{at}/reboot", at)
    command = prepared.asked()
    runs = prepared.result(command, "running", progress=0.4, told={"what": "worker-1 begins"})
    prepared.send(prepared.told(Reason.NO_ERROR, "fallback"), results=[runs])
    text = operator.get(at).text
    state = text[text.index('id="part-state"') : text.index('id="part-figures"')]
    assert "Rebooting" in state and 'value="40"' in state and "worker-1 begins" in state
    assert 'id="toggle"' not in state and "by hand" not in state
    prepared.send(prepared.told(), results=[prepared.result(command, "done")])
    assert 'id="toggle"' in operator.get(at).text


def test_the_audit_log_in_words(site: Site, prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}"
    operator.post(f"{at}/inspection", at, to="bypass")
    with visitor(site, Role.ADMIN) as admin:
        text = admin.get(f"/admin/audit?q=appliance.bypass+{prepared.id}").text
        assert "· accepted" in words(text) and "done" not in words(text)
        assert f'<a href="{at}">{prepared.name}</a>' in text
        command = prepared.asked()
        prepared.send(prepared.told(), results=[prepared.result(command, "done")])
        read = words(admin.get(f"/admin/audit?q={prepared.id}").text)
        assert f"appliance {prepared.name} {prepared.id} agent" in read, "it has no role"


def test_files_and_times_of_events(prepared: Prepared, operator: Visitor) -> None:
    at = f"/appliances/{prepared.id}/events"
    entry = prepared.event("x", {}) | {"at_ns": 1_700_000_000_123_456_789}
    prepared.send(prepared.told(), history=[entry])
    answer = operator.get(f"{at}.csv")
    assert 'filename="events-edge-7.csv"' in answer.headers["content-disposition"]
    assert "2023-11-14T22:13:20.123Z" in answer.text
    assert 'filename="events-edge-7.json"' in operator.get(f"{at}.json").headers[
        "content-disposition"]  # fmt: skip
    assert "2023-11-14 22:13:20.123 UTC" in operator.get(at).text


def test_a_link_that_was_used(operator: Visitor) -> None:
    text = operator.get("/password/nsdp_used").text
    assert "<title>This link is not good any more" in text and "You may not do this" not in text
