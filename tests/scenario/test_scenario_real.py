"""Scenarios on real processes: what is done to them, what is found, what is left behind."""

import os
import tempfile
from pathlib import Path

import psutil
import pytest
from scenes import QUICK, scene

from nsdata.errors import SettingError
from nsdata.scenario.judge import Verdict
from nsdata.scenario.page import page
from nsdata.scenario.real import ledger_of, run, unbalanced, wall_ns
from nsdata.scenario.real_box import RealBox, check
from nsdata.scenario.scenario import Scenario

SMALL = QUICK + '"watch.max-memory-of.worker-0" = "500mb"\n'


def verdicts(scenario: Scenario) -> list[Verdict]:
    """Of a real run, of which nothing is left: no directory, no process."""
    before = set(Path(tempfile.gettempdir()).glob("nsdata-scenario-*"))
    result = run(scenario)
    assert set(Path(tempfile.gettempdir()).glob("nsdata-scenario-*")) == before
    ours = [one for one in psutil.Process().children(recursive=True)
            if "nsdata" in " ".join(one.cmdline())]  # fmt: skip
    assert not ours
    assert "on real processes" in page([result])
    return result.verdicts


def test_load_hangs_and_hands() -> None:
    """A pause, another rate, a hang that is over in time, fallback by hand and a reload."""
    patient = QUICK + '"watch.heartbeat" = "20s"\n'
    found = verdicts(scene("""
[[action]]
name = "pause"
at = "500ms"
do = "pause"
for = "1500ms"
[[action]]
name = "faster"
at = "2s"
do = "rate"
rate = "3kpps"
[[action]]
at = "3s"
do = "stop"
process = "worker-0"
[[action]]
at = "3300ms"
do = "continue"
process = "worker-0"
[[action]]
name = "new"
at_packet = 3000
do = "reload"
rule_text = 'alert udp any any -> any any (msg:"new"; content:"ATTACK"; sid:2;)'
[[action]]
name = "hands"
at = "7s"
do = "fallback"
[[action]]
name = "back"
at = "8s"
do = "restore"
[[expect]]
name = "nothing comes in a pause but what was under way"
after = "pause"
for = "1s"
packets_at_most = { received = 200 }
[[expect]]
after = "faster"
packets_at_least = { received = 3000 }
[[expect]]
after = "new"
event = "reloaded"
[[expect]]
alerts_at_least = { "1" = 1, "2" = 1 }
[[expect]]
after = "hands"
within = "1s"
state = "fallback"
severity = "Info"
[[expect]]
after = "back"
for = "1s"
state = "normal"
[[expect]]
transitions = 2
[[expect]]
name = "this one fails"
after = "hands"
within = "1s"
reason = "memory error"
[[expect]]
at = "1s"
alerts = { "1" = 1 }
[[expect]]
lines_lost = 0
""", duration="10s", settings=patient))  # fmt: skip
    wrong = [one.title for one in found if not one.ok]
    assert wrong == ["this one fails"], [one for one in found if not one.ok]
    assert [bool(one.skipped) for one in found[-2:]] == [True, True]


def test_a_process_grows_in_truth() -> None:
    """Twice: near the maximum, then past it."""
    found = verdicts(scene("""
[[action]]
name = "near"
at = "500ms"
do = "bloat"
process = "worker-0"
to = "450mb"
[[action]]
name = "past"
at = "3s"
do = "bloat"
process = "worker-0"
to = "600mb"
[[expect]]
after = "near"
for = "2s"
state = "normal"
[[expect]]
after = "past"
within = "9s"
state = "fallback"
reason = "memory error"
""", duration="13s", settings=SMALL))  # fmt: skip
    assert all(one.ok for one in found), found


@pytest.mark.parametrize(("entry", "box", "said"), [
    ('do = "fill-disk"', "", "scene.toml:23: fill-disk: with --real the disk is memory, at most"),
    ('do = "bloat"\nprocess = "port"\nto = "5gb"', "", "bloat: with --real a process is given"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_with_its_line(entry: str, box: str, said: str) -> None:
    if "fill" in entry and os.geteuid() != 0:
        said = "takes root"
    one = scene(f'[[action]]\nat = "1s"\n{entry}\n', box=box)
    with pytest.raises(SettingError) as caught:
        check(one)
    assert said in str(caught.value)
    with pytest.raises(SettingError):
        RealBox(one)


def test_a_disk_is_filled_as_root_only(monkeypatch: pytest.MonkeyPatch) -> None:
    one = scene('[[action]]\nat = "1s"\ndo = "fill-disk"\n', box='disk = "40mb"')
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SettingError, match=r"scene.toml:23: fill-disk: .* takes root"):
        check(one)


def test_what_an_appliance_says_of_its_ledger_is_checked() -> None:
    told = {fate: {"packets": 0, "bytes": 0, "reasons": {}}
            for fate in ("inspected", "bypassed", "blocked", "lost")}  # fmt: skip
    told["lost"] = {"packets": 2, "bytes": 200, "reasons": {"oversubscribed": 2}}
    assert unbalanced(ledger_of({**told, "received": {"packets": 2, "bytes": 200}})) == []
    assert unbalanced(ledger_of({**told, "received": {"packets": 3, "bytes": 200}})) == [
        "received 3 packets ≠ 2 accounted"
    ]
    told["lost"]["reasons"] = {"oversubscribed": 1}
    wrong = unbalanced(ledger_of({**told, "received": {"packets": 2, "bytes": 200}}))
    assert wrong == ["lost: 2 ≠ 1 by its reasons"]


def test_times_of_events_are_those_of_eve() -> None:
    assert wall_ns("2026-01-01T00:00:01.500000+0000") == 1_767_225_601_500_000_000
