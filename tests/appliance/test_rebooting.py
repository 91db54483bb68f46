"""Rebooting a running appliance: what becomes of traffic, state and record."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from box import PATIENCE_S, QUICK, ROOT, Box, balances, many_flows

from nsdata.appliance.control import ask
from nsdata.errors import EngineError

EVERY_FLOW = 'alert udp any any -> any any (msg:"one a flow"; sid:5;)'


def rebooted(box: Box, number: str = "", state: str = "done", **more: Any) -> dict[str, Any]:
    """A reboot, once it is over."""
    asked = box.ask("reboot", id=number, **more)
    assert asked["started"]
    number = asked["reboot"]["id"]
    told = box.wait(lambda t: t["reboot"]["state"] != "running", "the reboot is over")["reboot"]
    assert (told["id"], told["state"]) == (number, state), json.dumps(told)
    return told


def pids(box: Box) -> dict[str, int]:
    return {name: one["pid"] for name, one in box.status()["processes"].items()}


def test_nothing_is_lost_and_it_inspects_again(tmp_path: Path) -> None:
    """Every process but the port is another; every frame was forwarded, every line written."""
    with Box(tmp_path, rules=EVERY_FLOW, capture=many_flows(tmp_path / "flows.pcap"), rate="2kpps",
             more='workers = 2\n[output]\nforward = "out.pcap"\n') as box:  # fmt: skip
        before = pids(box)
        told = rebooted(box, "one", note="new kernel")
        assert (told["of"], told["before"]["state"], told["after"]["state"]) == (
            4, "normal", "normal")  # fmt: skip
        after = pids(box)
        assert before.keys() == after.keys()
        assert {n for n in before if before[n] == after[n]} == {"port"}
        box.inspects()
        box.forwards_what_it_permits()
        ledger = box.stop()
        alerts = [e["src_ip"] for e in box.events("alert")]
    assert ledger["lost"]["packets"] == 0
    reasons = ledger["bypassed"]["reasons"]
    assert {why for why, packets in reasons.items() if packets} <= {"fallback", "worker"}
    assert reasons["fallback"] > 0
    assert len(alerts) == len(set(alerts)) == ledger["inspected"]["packets"]
    entered, restored = (e["fallback"] for e in box.events("fallback"))
    assert (entered["reason"], entered["trigger"], entered["outcome"]) == (
        "no error", "manual", "entered")  # fmt: skip
    assert entered["evidence"]["given"]["note"] == "new kernel"
    assert entered["evidence"]["given"]["reboot"]["id"] == "one"
    assert restored["outcome"] == "restored"
    assert restored["evidence"]["given"]["reboot"]["id"] == "one"
    steps = [e["evidence"]["reboot"]["what"] for e in box.events("appliance")
             if e["event"] == "reboot step"]  # fmt: skip
    assert steps == ["workers stop", "writer restarts", "workers start"]
    surprises = ("crash", "killed", "reporter failed", "stray observation")
    assert not [e for e in box.events("appliance") if e["event"] in surprises]


def test_frames_of_a_slow_reboot_are_permitted(tmp_path: Path) -> None:
    """A worker that does not stop is killed; what it held is forwarded, and all that comes."""
    with Box(tmp_path, settings=QUICK + '"watch.stop-grace" = "1s"\n"watch.heartbeat" = "20s"\n'
             ) as box:  # fmt: skip
        pid = box.signal("worker-0", signal.SIGSTOP)
        box.ask("reboot")
        box.permits()
        told = box.wait(lambda t: t["reboot"]["state"] != "running", "it is over")
        assert told["reboot"]["state"] == "done", told["reboot"]
        assert told["processes"]["worker-0"]["pid"] != pid
        box.inspects()
        box.forwards_what_it_permits()
        balances(box.status()["ledger"])


def test_asked_twice_it_happens_once(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        first = box.ask("reboot", id="a")
        second = box.ask("reboot", id="b")
        assert first["started"] and not second["started"]
        assert second["reboot"]["id"] == "a" and second["reboot"]["state"] == "running"
        for refused in ("restore", "reload"):
            with pytest.raises(EngineError, match="reboot a runs"):
                box.ask(refused)
        box.wait(lambda t: t["reboot"]["state"] == "done", "it is over")
        after = pids(box)
        again = box.ask("reboot", id="a")
        assert not again["started"] and again["reboot"]["state"] == "done"
        with pytest.raises(EngineError, match="no id"):
            box.ask("reboot", id="a b")
        box.stop()
        box.start()
        assert not box.ask("reboot", id="a")["started"]  # known after a restart, too
        assert box.status()["state"] == "normal"
        assert after != pids(box)


def test_by_hand_stays_by_hand(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        box.ask("fallback", note="maintenance")
        told = rebooted(box)
        assert told["by_hand"] and told["after"] == {"state": "fallback", "reason": "no error"}
        assert [one["outcome"] for one in box.ask("transitions")["transitions"]] == ["entered"]
        box.permits()
        box.restored()


def test_by_hand_while_it_runs_holds_afterwards(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        box.ask("reboot", id="r")
        assert box.ask("fallback", note="leave it")["after_reboot"]
        told = box.wait(lambda t: t["reboot"]["state"] == "done", "it is over")
        assert (told["state"], told["reason"]) == ("fallback", "no error")
        last = box.ask("transitions")["transitions"][0]
        assert last["outcome"] == "entered" and last["evidence"]["given"]["note"] == "leave it"
        box.restored()


def test_a_fault_that_is_gone_is_gone_and_one_that_holds_comes_back(tmp_path: Path) -> None:
    """A worker that hung is another one; heat is found again."""
    lab = tmp_path / "sensors"
    lab.mkdir()
    readings = {"temperature-inlet": ("40", "99"), "power-supply-1": ("1", "0")}
    for name, (well, _) in readings.items():
        (lab / name).write_text(well)
    settings = QUICK.replace('"watch.heartbeat-clear" = "1s"', '"watch.heartbeat-clear" = "10m"')
    settings += f'''"health.sensor-directory" = "{lab}"
"health.interval" = "300ms"
"health.deadline" = "300ms"
"health.stale-after" = "2s"
"health.required" = []
'''
    with Box(tmp_path, settings=settings) as box:
        box.signal("worker-0", signal.SIGSTOP)
        box.fallen("heartbeat error")
        told = rebooted(box)
        assert told["before"]["reason"] == "heartbeat error"
        assert told["after"] == {"state": "normal", "reason": "no error"}
        box.inspects()
        box.wait(lambda t: t["health"].get("score", 0) > 30, "it is well")
        for name, (_, ill) in readings.items():
            (lab / name).write_text(ill)
        box.fallen("low health score error")
        box.signal("worker-0", signal.SIGSTOP)
        box.wait(lambda t: t["reason"] == "heartbeat error", "the worker hangs, too")
        told = rebooted(box)
        assert told["after"] == {"state": "fallback", "reason": "low health score error"}
        box.refused("low health score error")
        for name, (well, _) in readings.items():
            (lab / name).write_text(well)
        box.restored()


def test_a_worker_that_does_not_come_back_ends_it(tmp_path: Path) -> None:
    """Rules that are no longer there: process error, and not a reboot without end."""
    with Box(tmp_path, settings=QUICK) as box:
        box.rules.rename(tmp_path / "away.rules")
        told = rebooted(box, state="failed")
        assert "worker-0: process error" in told["error"]
        assert told["after"] == {"state": "fallback", "reason": "process error"}
        box.permits()
        (tmp_path / "away.rules").rename(box.rules)
        box.restored()


def test_the_port_begins_anew_when_asked_to(tmp_path: Path) -> None:
    """Nothing it had taken is lost."""
    with Box(tmp_path) as box:
        before = pids(box)
        told = rebooted(box, port=True)
        assert told["of"] == 5
        assert not set(before.items()) & set(pids(box).items())
        box.inspects()
        assert box.stop()["lost"]["packets"] == 0


def test_a_supervisor_that_dies_in_it_does_not_leave_it_by_hand(tmp_path: Path) -> None:
    """The fallback was the reboot's own: the next start is normal, and the reboot has failed."""
    with Box(tmp_path, settings='"watch.stop-grace" = "20s"\n"watch.heartbeat" = "60s"\n') as box:
        box.signal("worker-0", signal.SIGSTOP)
        box.ask("reboot", id="cut")
        box.wait(lambda t: t["reboot"]["step"] == 2, "it waits for the worker")
        children = pids(box).values()
        assert box.process is not None
        box.process.kill()
        box.process.wait()
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        box.start()
        told = box.status()
        assert told["state"] == "normal"
        assert (told["reboot"]["id"], told["reboot"]["state"]) == ("cut", "failed")
        assert told["reboot"]["error"] == "the supervisor ended"


def test_on_the_command_line(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        done = subprocess.run(
            [sys.executable, "-c",
             "import sys; sys.argv[0] = 'nsdata'; from nsdata.cli import main; main()",
             "appliance", "reboot", str(box.directory), "--id", "cli", "--json"],
            capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True,
        )  # fmt: skip
        told = json.loads(done.stdout)
        assert told["started"] and told["reboot"]["state"] == "done"
        assert ask(box.directory, {"command": "status"})["reboot"]["id"] == "cli"
