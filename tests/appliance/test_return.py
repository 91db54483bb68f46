"""The way back of a running appliance by itself: a share of the flows first, and not for long when
it goes wrong again."""

import signal
from pathlib import Path
from typing import Any

from box import QUICK, RULE, Box, many_flows
from capture_frames import write_capture
from traffic import udp

BY_ITSELF = QUICK + """
"drop-meter.window" = "1s"
"drop-meter.interval" = "200ms"
"drop-meter.minimum-packets" = 20
"restore.automatic" = true
"restore.wait" = "1s"
"restore.wait-max" = "8s"
"restore.max-attempts" = 2
"restore.steps" = "10%:1s, 50%:1s, 100%:1s"
"""
ALL = 1 << 16


def notes(box: Box, kind: str) -> list[dict[str, Any]]:
    """What was put on record of this kind."""
    return [e["evidence"] for e in box.events("appliance") if e["event"] == kind]


def test_it_comes_back_by_itself_a_share_of_the_flows_first(tmp_path: Path) -> None:
    with Box(tmp_path, rate="5kpps", capture=many_flows(tmp_path / "flows.pcap"),
             settings=BY_ITSELF) as box:  # fmt: skip
        box.signal("worker-0", signal.SIGSTOP)
        box.fallen("heartbeat error")
        box.wait(lambda t: bool(notes(box, "re-entered")), "re-entered")
        told = notes(box, "re-entered")[0]
        assert told["automatic"] and [s["step"] for s in told["steps"]] == [
            "10%:1s", "50%:1s", "100%:1s"]  # fmt: skip
        shares = [one["reentry"]["share_percent"] for one in notes(box, "share")]
        assert shares == [10.0, 50.0, 100.0]
        for step, percent in zip(told["steps"][:2], shares, strict=False):
            # Every frame is a flow of its own: of 5,000 in a second so many are in the share.
            assert 0.5 * percent < 100 * step["received"] / 5000 < 2 * percent, step
        back = box.ask("transitions")["transitions"][0]
        assert (back["from"], back["to"], back["trigger"]) == ("fallback", "normal", "automatic")
        status = box.status()
        assert status["port"]["share"] == ALL
        assert status["ledger"]["bypassed"]["reasons"]["share"] > 0
        box.forwards_what_it_permits()


def test_a_flow_is_inspected_or_not_and_nothing_between(tmp_path: Path) -> None:
    """During a step of 10 % the alerts are of the same flows over and over."""
    rules = 'alert udp any any -> any any (msg:"every packet"; content:"x"; sid:5;)'
    steps = BY_ITSELF.replace("10%:1s, 50%:1s, 100%:1s", "30%:2s, 100%:1s")
    flows = [udp(b"x", f"10.1.{i // 200}.{i % 200 + 1}", "10.9.9.9") for i in range(400)]
    capture = write_capture(tmp_path / "again.pcap", flows, [10**18 + i for i in range(400)])
    with Box(tmp_path, rate="5kpps", rules=rules, capture=capture, settings=steps) as box:
        box.signal("worker-0", signal.SIGSTOP)
        box.fallen("heartbeat error")
        box.wait(lambda t: len(notes(box, "share")) == 2, "the second step")
        box.stop()
        found = box.events()
    kinds = [(i, e) for i, e in enumerate(found) if e["event_type"] == "appliance"]
    first, second = (i for i, e in kinds if e["event"] == "share")
    within = [e["src_ip"] for e in found[first:second] if e["event_type"] == "alert"]
    times = {address: within.count(address) for address in set(within)}
    # A whole round of 400 frames takes 80 ms: the flows of the share come 20 times and more.
    often = [address for address, count in times.items() if count >= 10]
    assert 0.15 * 400 < len(often) < 0.45 * 400
    assert sum(times[a] for a in often) > 0.9 * len(within)


def test_it_falls_back_on_the_first_sign_and_waits_longer(tmp_path: Path) -> None:
    """Rules that drop everything: each share drops too much, the wait doubles, then it gives up."""
    with Box(tmp_path, rate="5kpps", capture=many_flows(tmp_path / "flows.pcap"),
             settings=BY_ITSELF) as box:  # fmt: skip
        box.rules.write_text('drop ip any any -> any any (msg:"all"; sid:7;)\n')
        box.ask("reload")
        box.fallen("threshold error")
        box.wait(lambda t: bool(notes(box, "automatic restore gave up")), "it gives up")
        failed = notes(box, "re-entry failed")
        assert [one["failures"] for one in failed] == [1, 2]
        assert [one["next_wait_ns"] for one in failed] == [2 * 10**9, 4 * 10**9]
        assert all(one["step"] == 1 and one["reason"] == "threshold error" for one in failed)
        again = box.ask("transitions")["transitions"][0]
        assert again["evidence"]["given"]["reentry"]["share_percent"] == 10.0
        box.permits()
        # A person sees to it, and everything is inspected at once.
        box.rules.write_text(RULE)
        box.ask("reload")
        box.restored()
        assert box.status()["port"]["share"] == ALL
