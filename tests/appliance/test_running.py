"""Reasons of a fallback from their real causes, in a running appliance."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from box import PATIENCE_S, QUICK, Box, is_entry, many_flows

from nsdata.appliance import orphan
from nsdata.appliance.child import environment
from nsdata.errors import EngineError

EVERY_FLOW = 'alert udp any any -> any any (msg:"one a flow"; sid:5;)'


def test_by_hand_and_back(tmp_path: Path) -> None:
    """no error: the operator's own fallback, told apart from normal by its state."""
    with Box(tmp_path) as box:
        assert box.ask("fallback", note="maintenance")["transitions"][0]["outcome"] == "entered"
        entered = box.fallen("no error")
        assert is_entry(entered, "Info")["note"] == "maintenance"
        assert entered["trigger"] == "manual"
        box.permits()
        assert box.ask("restore")["transitions"][0]["outcome"] == "restored"
        box.inspects()
    kinds = [(e["fallback"]["from"], e["fallback"]["state"]) for e in box.events("fallback")]
    assert kinds == [("normal", "fallback"), ("fallback", "normal")]


def test_a_hung_worker_is_a_heartbeat_error(tmp_path: Path) -> None:
    with Box(tmp_path, settings=QUICK) as box:
        pid = box.signal("worker-0", signal.SIGSTOP)
        entered = box.fallen("heartbeat error")
        evidence = is_entry(entered, "Critical")
        assert evidence["process"] == "worker-0" and evidence["pid"] == pid
        box.permits()
        box.refused("heartbeat error")
        box.wait(lambda t: t["processes"]["worker-0"]["pid"] not in (None, pid), "restarted")
        box.restored()
        box.forwards_what_it_permits()


def test_a_worker_that_crashes_once_is_an_event(tmp_path: Path) -> None:
    """Restarted, its packets accounted for, no fallback."""
    with Box(tmp_path, settings=QUICK) as box:
        pid = box.signal("worker-0", signal.SIGKILL)
        box.wait(lambda t: t["processes"]["worker-0"]["pid"] not in (None, pid)
                 and t["processes"]["worker-0"]["phase"] == "running", "restarted")  # fmt: skip
        box.inspects()
        assert box.status()["state"] == "normal"
        assert not box.ask("transitions")["transitions"]
        box.forwards_what_it_permits()
        ledger = box.stop()
        assert ledger["bypassed"]["reasons"]["worker"] > 0
    assert any(e["event"] == "recovered" for e in box.events("appliance"))


def test_a_worker_that_crashes_again_and_again_is_a_process_error(tmp_path: Path) -> None:
    with Box(tmp_path, settings=QUICK) as box:
        for _ in range(3):
            pid = box.signal("worker-0", signal.SIGSEGV)
            box.wait(lambda t, pid=pid: t["processes"]["worker-0"]["pid"] not in (None, pid)
                     or t["state"] == "fallback", "restarted or fallen")  # fmt: skip
        entered = box.fallen("process error")
        assert is_entry(entered, "Critical")["process"] == "worker-0"
        box.permits()
        box.restored()


def test_a_supervisor_that_is_stopped_leaves_traffic_flowing(tmp_path: Path) -> None:
    """The port permits everything by itself, and goes back to orders when there is one again."""
    with Box(tmp_path) as box:
        assert box.process is not None
        port = box.status()["port"]
        os.kill(box.process.pid, signal.SIGSTOP)
        try:
            subprocess.run([sys.executable, "-c", "import time; time.sleep(2.5)"], check=True)
        finally:
            os.kill(box.process.pid, signal.SIGCONT)
        told = box.wait(lambda t: t["port"]["alone"] == 0, "supervised again")
        assert told["port"]["forwarded_packets"] > port["forwarded_packets"] + 5000
        assert told["ledger"]["bypassed"]["reasons"]["fallback"] > 1000
        box.inspects()

        def was_alone() -> list[Any]:
            return [e["evidence"] for e in box.events("appliance")
                    if e["event"] == "port was alone"]  # fmt: skip

        box.wait(lambda t: bool(was_alone()), "on record")
        (alone,) = was_alone()
        bypassed = box.status()["ledger"]["bypassed"]["reasons"]["fallback"]
        assert alone["packets"] == told["port"]["alone_packets"] == bypassed
        assert alone["seconds"] > 0.5


def test_a_supervisor_that_is_killed_leaves_traffic_flowing(tmp_path: Path) -> None:
    """Workers and writer end with it, the port goes on alone; another appliance can begin."""
    with Box(tmp_path, more='[output]\nforward = "out.pcap"\n') as box:
        assert box.process is not None
        pids = {name: one["pid"] for name, one in box.status()["processes"].items()}
        out = box.directory / "out.pcap"
        box.process.kill()
        box.process.wait()
        try:
            patience(lambda: not alive(pids["worker-0"]) and not alive(pids["writer"]), "they end")
            size = out.stat().st_size
            patience(lambda: out.stat().st_size > size + 100_000, "traffic flows")
        finally:
            os.kill(pids["port"], signal.SIGTERM)
        patience(lambda: not alive(pids["port"]), "the port ends when told to")
        box.start()


@pytest.mark.parametrize("hangs", [False, True])
def test_an_orphaned_port_is_ended_by_the_next_run(tmp_path: Path, hangs: bool) -> None:
    """In order; killed when it does not end."""
    with Box(tmp_path) as box:
        assert box.process is not None
        port = box.pid("port")
        box.process.kill()
        box.process.wait()
        try:
            with pytest.raises(EngineError, match=rf"a port goes on alone \(pid {port}\)"):
                box.status()
            if hangs:
                os.kill(port, signal.SIGSTOP)
            box.start()
            assert not alive(port)
            assert box.pid("port") == int((box.directory / "port.lock").read_text())
        finally:
            if alive(port):
                os.kill(port, signal.SIGKILL)

        def ended() -> list[Any]:
            return [e["evidence"] for e in box.events("appliance")
                    if e["event"] == "orphaned port ended"]  # fmt: skip

        box.wait(lambda t: bool(ended()), "on record")
        assert ended() == [{"pid": port, "signal": "SIGKILL" if hangs else "SIGTERM"}]


def test_whoever_else_holds_the_lock_is_left_alone(tmp_path: Path) -> None:
    """A process of that number that is no port of this directory."""
    lock = tmp_path / "port.lock"
    code = ("import sys, time; from nsdata.appliance.orphan import hold; hold(sys.argv[1]); "
            "print(flush=True); time.sleep(600)")  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE,
                          env=environment()) as other:  # fmt: skip
        assert other.stdout is not None
        other.stdout.readline()
        told = orphan.end(lock)
        assert told is not None and told[0] == "orphaned port remains"
        assert told[1]["pid"] == other.pid and other.poll() is None
        other.kill()
    assert orphan.end(lock) is None


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def patience(true: Callable[[], bool], what: str) -> None:
    """Wait until it is true."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


def test_a_fallback_by_hand_outlives_a_restart(tmp_path: Path) -> None:
    """Only a person ends it; of other reasons the causes are looked for anew."""
    with Box(tmp_path, settings=QUICK) as box:
        box.ask("fallback", note="maintenance")
        box.stop()
        box.start(inspects=False)
        told = box.wait(lambda t: t["ledger"]["received"]["packets"] > 100, "traffic flows")
        assert (told["state"], told["reason"]) == ("fallback", "no error")
        assert [one["outcome"] for one in box.ask("transitions")["transitions"]] == ["entered"] * 2
        box.permits()
        box.wait(lambda t: t["processes"]["worker-0"]["phase"] == "running", "rules are loaded")
        box.signal("worker-0", signal.SIGSTOP)
        box.wait(lambda t: t["reason"] == "heartbeat error", "it hangs")
        box.stop()
        box.start()
        assert box.status()["state"] == "normal"


@pytest.mark.parametrize("name", ["port", "writer"])
def test_port_and_writer_come_back(tmp_path: Path, name: str) -> None:
    with Box(tmp_path, settings=QUICK) as box:
        pid = box.signal(name, signal.SIGKILL)
        box.wait(lambda t: t["processes"][name]["pid"] not in (None, pid)
                 and t["processes"][name]["phase"] == "running", "restarted")  # fmt: skip
        box.inspects()
        box.alerts()


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """As logrotate does it: lines go on in a new file, and none is lost between the two."""
    with Box(tmp_path, rules=EVERY_FLOW, capture=many_flows(tmp_path / "flows.pcap"),
             rate="2kpps") as box:  # fmt: skip
        eve, old = box.directory / "eve.json", box.directory / "eve.json.1"
        box.wait(lambda t: eve.exists(), "written")
        eve.rename(old)
        box.wait(lambda t: eve.exists() and bool(box.events("alert")), "begun anew")
        box.stop()
        alerts = [e["src_ip"] for name in (old.name, eve.name) for e in box.events("alert", name)]
        assert len(alerts) == len(set(alerts)) == box.events("ledger")[-1]["ledger"][
            "inspected"]["packets"]  # fmt: skip
