"""Reasons that come from load, memory, sensors, the block and the unforeseen, for real."""

import os
import signal
from pathlib import Path

import pytest
from box import QUICK, RULE, Box, is_entry, many_flows

FAST_METER = '"drop-meter.window" = "1s"\n"drop-meter.interval" = "200ms"\n'


def test_rules_that_drop_too_much_are_a_threshold_error(tmp_path: Path) -> None:
    """Over-tuning: a rule file read while it runs drops everything."""
    with Box(tmp_path, settings=QUICK + FAST_METER) as box:
        box.rules.write_text('drop ip any any -> any any (msg:"all"; sid:7;)\n')
        box.ask("reload")
        entered = box.fallen("threshold error")
        is_entry(entered, "Critical")
        evidence = entered["evidence"]
        assert evidence["ratio"] > evidence["threshold"] == 0.9
        assert evidence["attribution"] == "over-tuning"
        assert evidence["top_rules"][0]["rule"] == 7
        box.permits()
        # Nothing can be known of rules while nothing is inspected: granted, and judged anew.
        box.rules.write_text(RULE)
        box.ask("reload")
        box.wait(lambda t: any(e["event"] == "reloaded" for e in box.events("appliance")[-3:]),
                 "reloaded")  # fmt: skip
        box.restored()


def test_more_than_a_worker_can_do_is_a_threshold_error(tmp_path: Path) -> None:
    """Over-subscription: a worker that gets no CPU for longer than its ring holds, and not for
    so long that it is taken for hung. Refused while the same load is offered; forced."""
    patient = '"watch.heartbeat" = "30s"\n'
    with Box(tmp_path, rate="30kpps", settings=QUICK + FAST_METER + patient) as box:
        box.signal("worker-0", signal.SIGSTOP)
        try:
            entered = box.fallen("threshold error")
            is_entry(entered, "Critical")
            assert entered["evidence"]["attribution"] == "over-subscription"
            assert entered["evidence"]["counters"]["lost"] > 0
            box.permits()
            box.refused("offered")
        finally:
            box.signal("worker-0", signal.SIGCONT)
        assert box.ask("restore", force=True)["transitions"][-1]["outcome"] == "restored"
        box.inspects()
        assert box.stop()["lost"]["reasons"]["oversubscribed"] > 0


def test_a_worker_that_grows_is_a_memory_error(tmp_path: Path) -> None:
    with Box(tmp_path) as box:  # what it has touched once it has inspected a while
        told = box.wait(lambda t: t["ledger"]["inspected"]["packets"] > 5_000, "it settles")
        small = int(told["processes"]["worker-0"]["rss_bytes"])
    limit = small + (6 << 20)
    settings = QUICK + f'"watch.max-memory-of.worker" = "{limit}b"\n'
    settings += '"watch.memory-clear-share" = 0.99\n'
    with Box(tmp_path, rate="20kpps", capture=many_flows(tmp_path / "flows.pcap"),
             settings=settings) as box:  # fmt: skip
        entered = box.fallen("memory error")
        evidence = is_entry(entered, "Critical")
        assert evidence["process"] == "worker-0"
        assert evidence["rss_bytes"] > evidence["maximum_bytes"] == limit
        assert evidence["trend"][0]["rss_bytes"] < evidence["trend"][-1]["rss_bytes"]
        box.permits()
        box.refused("memory error")
        box.wait(lambda t: box.ask("restore") and box.status()["state"] == "normal", "restored")


def test_a_box_too_hot_has_a_low_health_score(tmp_path: Path) -> None:
    lab = tmp_path / "sensors"
    lab.mkdir()
    (lab / "temperature-inlet").write_text("40")
    (lab / "power-supply-1").write_text("1")
    settings = (
        QUICK
        + f'''"health.sensor-directory" = "{lab}"
"health.interval" = "300ms"
"health.deadline" = "300ms"
"health.stale-after" = "2s"
"health.required" = []
'''
    )
    with Box(tmp_path, settings=settings) as box:
        box.wait(lambda t: t["health"].get("score", 0) > 30, "it is well")
        (lab / "temperature-inlet").write_text("99")
        (lab / "power-supply-1").write_text("0")
        entered = box.fallen("low health score error")
        evidence = is_entry(entered, "Critical")
        assert evidence["score"] <= 30
        assert "temperature-inlet" in [one["sensor"] for one in evidence["sensors"]]
        box.permits()
        box.refused("low health score error")
        (lab / "temperature-inlet").write_text("40")
        (lab / "power-supply-1").write_text("1")
        box.restored()
        box.stop()
        levels = [e["health"]["level"] for e in box.events("health")]
        assert "red" in levels


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
def test_a_full_disk_has_a_low_health_score(tmp_path: Path) -> None:
    """The appliance's own directory on a small file system that something else fills."""
    import subprocess

    where = tmp_path / "run"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", where]).returncode:
        pytest.skip("no file system can be mounted here")
    settings = QUICK + '"health.interval" = "300ms"\n"health.deadline" = "300ms"\n'
    settings += '"health.stale-after" = "2s"\n"health.required" = []\n"health.clear-after" = "1s"\n'
    for key, size in (("free-major", "8mb"), ("free-critical", "1mb")):
        settings += f'"health.file-system.{key}" = "{size}"\n'
    try:
        with Box(tmp_path, settings=settings) as box:
            box.wait(lambda t: t["health"].get("score", 0) > 60, "it is well")
            ballast = where / "ballast"
            with open(ballast, "wb", buffering=0) as file, pytest.raises(OSError):
                while True:
                    file.write(bytes(1 << 16))
            evidence = is_entry(box.fallen("low health score error"), "Critical")
            assert any(one["resource"] == "file-system" for one in evidence["sensors"])
            box.permits()
            ballast.unlink()
            box.restored()
            assert box.stop()["received"]["packets"] > 0  # and every line is whole
    finally:
        subprocess.run(["umount", "-l", where], check=False)


def test_an_error_of_the_block_is_an_fpga_error(tmp_path: Path) -> None:
    """The block beside the worker (a model behind its registers) reports an error."""
    with Box(tmp_path, more='offload = "model:64"\ntesting = true', settings=QUICK) as box:
        box.ask("inject", error="SEU")
        entered = box.fallen("FPGA reported error")
        evidence = is_entry(entered, "Critical")
        assert evidence["process"] == "worker-0" and "SEU" in str(evidence["fpga"])
        box.permits()
        box.restored()
        kinds = [e["fallback"]["reason"] for e in box.events("fallback")]
        assert kinds[0] == "FPGA reported error" and kinds[-1] == "no error"


def test_an_error_of_the_block_may_be_left_to_software(tmp_path: Path) -> None:
    with Box(tmp_path, more='offload = "model:64"\ntesting = true',
             settings='"offload.on-failure" = "software"\n') as box:  # fmt: skip
        box.ask("inject", error="SEU")
        box.wait(lambda t: any(e["event"] == "FPGA out of use" for e in box.events("appliance")),
                 "it is told")  # fmt: skip
        box.inspects()
        assert box.status()["state"] == "normal"


def test_a_mad_worker_is_an_unknown_error(tmp_path: Path) -> None:
    """It claims to have judged what it was never given: its memory is written over."""
    with Box(tmp_path, settings=QUICK) as box:
        box.madden(0)
        entered = box.fallen("unknown")
        evidence = is_entry(entered, "Warning")
        assert evidence["where"] == "worker-0" and "claims" in evidence["error"]
        box.permits()
        box.refused("unknown")
        box.restored()
        box.forwards_what_it_permits()
