"""Under load: rules exchanged, a worker that is too slow, a port that dies with frames in hand."""

import signal
import time
from pathlib import Path

from box import QUICK, Box

ANY = 'alert ip any any -> any any (msg:"any"; sid:{};)\n'
PATIENT = '"watch.heartbeat" = "30s"\n"drop-meter.minimum-packets" = 100000000\n'


def test_a_reload_loses_and_skips_nothing(tmp_path: Path) -> None:
    with Box(tmp_path, rules=ANY.format(1)) as box:
        first = box.status()["ledger"]
        for number in range(3):
            box.rules.write_text(ANY.format(100 + number))
            orders = len([e for e in box.events("appliance") if e["event"] == "reloaded"])
            box.ask("reload")
            box.wait(lambda t, n=orders: len([e for e in box.events("appliance")
                                              if e["event"] == "reloaded"]) > n,
                     "reloaded")  # fmt: skip
            box.inspects()
        last = box.status()["ledger"]
        assert last["received"]["packets"] > first["received"]["packets"]
        assert last["lost"]["packets"] == first["lost"]["packets"] == 0
        for why in ("worker", "fallback", "share"):
            assert last["bypassed"]["reasons"][why] == first["bypassed"]["reasons"][why]
        box.stop()
        found = {e["alert"]["signature_id"] for e in box.events("alert")}
        assert {1, 102} <= found


def test_rules_that_cannot_be_read_leave_the_old_ones(tmp_path: Path) -> None:
    with Box(tmp_path) as box:
        box.ask("reload", rules=[str(tmp_path / "nowhere.rules")])
        box.wait(lambda t: any(e["event"] == "reloaded" and not e["evidence"]["ok"]
                               for e in box.events("appliance")), "refused")  # fmt: skip
        box.inspects()
        assert box.status()["state"] == "normal"


def test_what_would_wait_too_long_passes_with_best_effort(tmp_path: Path) -> None:
    settings = PATIENT + '"protection.best-effort.enabled" = true\n'
    settings += '"protection.best-effort.latency" = "20ms"\n'
    with Box(tmp_path, rate="20kpps", settings=settings) as box:
        pid = box.signal("worker-0", signal.SIGSTOP)
        try:
            box.wait(
                lambda t: t["ledger"]["bypassed"]["reasons"]["best_effort"] > 5000, "they pass"
            )
        finally:
            box.signal("worker-0", signal.SIGCONT)
        box.inspects()
        told = box.status()
        assert told["processes"]["worker-0"]["pid"] == pid and told["state"] == "normal"
        assert box.stop()["lost"]["packets"] == 0
        said = [e["evidence"]["on"] for e in box.events("appliance") if e["event"] == "best effort"]
        assert said[0] is True


def test_a_full_ring_loses_what_comes(tmp_path: Path) -> None:
    """Without best effort, until the worker is found to hang: stated, and counted."""
    with Box(tmp_path, rate="20kpps", settings=PATIENT) as box:
        box.signal("worker-0", signal.SIGSTOP)
        box.wait(lambda t: t["ledger"]["lost"]["reasons"]["oversubscribed"] > 1000, "lost")
        held = box.status()["port"]["held_packets"]
        assert 0 < held <= 64 * 64
        box.signal("worker-0", signal.SIGCONT)
        box.inspects()


def test_what_a_dying_port_held_is_lost_once(tmp_path: Path) -> None:
    """Workers let go of its rings; the ledger goes on over the next port, and balances."""
    with Box(tmp_path, rate="20kpps", settings=QUICK + PATIENT) as box:
        pid = box.signal("worker-0", signal.SIGSTOP)  # so that the port has frames in hand
        held = box.wait(lambda t: t["port"]["held_packets"] > 500, "it holds")["port"]
        port = box.signal("port", signal.SIGKILL)
        told = box.wait(lambda t: t["processes"]["port"]["pid"] not in (None, port)
                        and t["processes"]["port"]["phase"] == "running", "restarted")  # fmt: skip
        lost = told["ledger"]["lost"]["reasons"]["port"]
        assert lost >= held["held_packets"]
        alerts = box.wait(lambda t: t["port"].get("forwarded_packets", 0) >= 0, "it runs")
        assert alerts["processes"]["worker-0"]["pid"] == pid
        box.signal("worker-0", signal.SIGCONT)
        time.sleep(0.2)
        box.inspects()  # through a ring of the new port
        assert box.stop()["lost"]["reasons"]["port"] == lost
