"""What gives way before a fallback, and what is done with traffic that is not inspected: on real
processes, with rules that really cost too much and captures of what was forwarded."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from box import QUICK, Box
from capture_frames import write_capture
from traffic import udp
from typer.testing import CliRunner

from nsdata.cli import app

# Every `a` of the payload begins a search through the rest of it: some 350 µs a packet.
SEARCH = 'alert udp any any -> any any (pcre:"/a[a-c]*[a-d]*[xy]q/"; sid:{};)\n'
RULES = (
    'alert udp any any -> any 5000 (content:"aaaa"; sid:1;)\n'
    'drop udp any any -> any 7 (content:"aaaa"; sid:2;)\n'
)
PATIENT = '"watch.heartbeat" = "30s"\n"drop-meter.minimum-packets" = 100000000\n'
PROTECT = PATIENT + '"protection.window" = "400ms"\n"protection.minimum-packets" = 50\n'


def heavy(directory: Path) -> Path:
    """Large frames of many flows, one in four to port 7."""
    payload = b"a" * 1390 + b"q"
    frames = [
        udp(payload, f"10.0.{i % 50}.{i % 7}", "10.9.9.9", dport=5000 if i % 4 else 7)
        for i in range(400)
    ]
    return write_capture(directory / "heavy.pcap", frames, [10**18 + i * 1000 for i in range(400)])


def overloaded(directory: Path, settings: str, costly: int = 1, workers: int = 1) -> Box:
    """More comes than can be searched through, because of the rules from sid 10 on."""
    rules = RULES + "".join(SEARCH.format(10 + i) for i in range(costly))
    return Box(directory, rate="10kpps", rules=rules, capture=heavy(directory),
               more=f"workers = {workers}\n", settings=PROTECT + settings)  # fmt: skip


def noted(box: Box, event: str) -> list[dict[str, Any]]:
    """Events of the appliance, of this kind."""
    return [e for e in box.events("appliance") if e["event"] == event]


def suppressed(told: dict[str, Any]) -> int:
    return int(told["protection"]["suppressed_alerts"])


def grows(box: Box, of: Callable[[dict[str, Any]], int], by: int, what: str) -> dict[str, Any]:
    """Its status once this figure has grown."""
    first = of(box.status())
    return box.wait(lambda t: of(t) > first + by, what)


def rule_drops(told: dict[str, Any]) -> int:
    return int(told["ledger"]["blocked"]["reasons"]["rule_drop"]) + int(
        told["ledger"]["blocked"]["reasons"]["flow_drop"]
    )


def test_loss_suspends_alerts_and_rules_go_on_dropping(tmp_path: Path) -> None:
    settings = '"protection.suppression" = "8s"\n"protection.adaptive.mode" = "off"\n' + QUICK
    with overloaded(tmp_path, settings) as box:
        box.wait(lambda t: suppressed(t) > 100, "alerts are suspended")
        assert box.status()["state"] == "normal"
        written = -1
        while written != (written := len(box.events("alert"))):  # those on their way
            grows(box, suppressed, 200, "alerts are left out")
        told = grows(box, rule_drops, 200, "rules drop")
        assert told["protection"]["alerts_suspended_until_ns"] is not None

        pid = box.signal("worker-0", signal.SIGKILL)
        box.wait(lambda t: t["processes"]["worker-0"]["pid"] not in (None, pid), "restarted")
        grows(box, suppressed, 200, "a new worker leaves them out")
        assert len(box.events("alert")) == written

        box.rules.write_text(RULES)
        box.ask("reload")
        told = box.wait(lambda t: t["protection"]["alerts_suspended_until_ns"] is None, "over")
        box.wait(lambda _: len(box.events("alert")) > written + 100, "alerts are written again")
        left_out = suppressed(box.status())
        grows(box, lambda t: int(t["ledger"]["inspected"]["packets"]), 500, "inspected")
        assert suppressed(box.status()) == left_out >= suppressed(told)
    first = noted(box, "alerts suspended")[0]["evidence"]
    assert len(first["windows"]) == 2 and all(w["ratio"] > 0.01 for w in first["windows"])
    over = noted(box, "alerts written again")
    said = sum(e["evidence"]["suppressed_alerts"] for e in over)
    assert 0.8 * left_out < said <= left_out  # the rest: until the worker obeyed


def test_a_rule_that_costs_too_much_is_named(tmp_path: Path) -> None:
    """The default: who it is, with its share, and nothing is changed."""
    with overloaded(tmp_path, "") as box:
        told = box.wait(lambda t: t["protection"]["costly_rules"], "named")["protection"]
        assert [rule["rule"] for rule in told["costly_rules"]] == [10]
        assert told["costly_rules"][0]["by"] == "work" and not told["disabled_rules"]
        stats = box.ask("stats")
        assert stats["rules"][0]["rule"] == 10 and stats["rules"][0]["share"] > 0.5
        assert stats["rules"][0]["verified"] > 100
        box.wait(lambda _: box.ask("stats")["tiers"][3]["packets_per_second"] > 0, "tiers")
        found = [tier["highest_packets_per_second"] for tier in box.ask("stats")["tiers"]]
        assert found[0] >= found[1] >= found[2] >= found[3] > 0

        def lossy(_: dict[str, Any]) -> bool:
            return 0 < (box.ask("stats")["tiers"][1]["ratio_to_next"] or 0) < 1

        box.wait(lossy, "what is lost enters no tier 3")
        shown = CliRunner().invoke(app, ["appliance", "stats", str(box.directory)])
        assert shown.exit_code == 0, shown.output
        assert "Named as costly: 10" in shown.output and "load balancing" in shown.output
    evidence = noted(box, "costly rule")[0]["evidence"]
    assert evidence["rule"] == 10 and evidence["share"] > 0.5


def test_costly_rules_are_disabled_one_by_one_until_loss_ends(tmp_path: Path) -> None:
    """On all workers; one that begins anew is told; a reload enables them."""
    settings = '"protection.adaptive.mode" = "auto"\n"protection.suppression" = 0\n' + QUICK
    settings += '"protection.adaptive.exempt" = [1, 2]\n'  # they go on when a machine is busy
    with overloaded(tmp_path, settings, costly=2, workers=2) as box:
        told = box.wait(lambda t: len(t["protection"]["disabled_rules"]) == 2, "both are disabled")
        assert set(told["protection"]["disabled_rules"]) == {10, 11}

        def lost(told: dict[str, Any]) -> int:
            return int(told["ledger"]["lost"]["packets"])

        def ends(told: dict[str, Any]) -> bool:
            before = lost(told)
            now = grows(box, lambda t: int(t["ledger"]["inspected"]["packets"]), 3000, "inspected")
            return lost(now) == before

        box.wait(ends, "loss ends")
        pid = box.signal("worker-0", signal.SIGKILL)
        box.wait(lambda t: t["processes"]["worker-0"]["pid"] not in (None, pid), "restarted")
        box.inspects()
        box.wait(ends, "loss has ended for the new worker, too")
        checked = {rule["rule"]: rule["checked"] for rule in box.ask("stats", most=99)["rules"]}
        grows(box, rule_drops, 200, "rules drop")
        again = {rule["rule"]: rule["checked"] for rule in box.ask("stats", most=99)["rules"]}
        assert {rule for rule in checked if again[rule] == checked[rule]} == {10, 11}
        box.ask("reload")
        box.wait(lambda t: len(noted(box, "rule disabled")) > 2, "enabled and disabled again")
    order = [int(e["subject"]) for e in noted(box, "rule disabled")]
    assert set(order[:2]) == {10, 11}


def test_an_exempt_rule_stays(tmp_path: Path) -> None:
    settings = '"protection.adaptive.mode" = "auto"\n"protection.adaptive.exempt" = [10]\n'
    with overloaded(tmp_path, settings, costly=2) as box:
        box.wait(lambda t: t["protection"]["disabled_rules"] == [11], "the other is disabled")
        grows(box, lambda t: int(t["ledger"]["lost"]["packets"]), 5000, "it still costs too much")
        assert box.status()["protection"]["disabled_rules"] == [11]
    named = noted(box, "costly rule")
    assert [int(e["subject"]) for e in named] == [10] and named[0]["evidence"]["exempt"]
