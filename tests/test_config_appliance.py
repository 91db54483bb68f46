"""Settings of the appliance: defaults, legal and not, and what is built of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nsdata.config.appliance import (
    BestEffortSettings,
    ExposureSettings,
    ProtectionSettings,
    RestoreSettings,
    WatchSettings,
)
from nsdata.config.settings import TREE, Settings, settings_rows, settings_table
from nsdata.errors import SettingError
from nsdata.fallback.drop_meter import DropMeter
from nsdata.fallback.exposure import SegmentAction
from nsdata.fallback.protection import Adaptive, BestEffort, ProtectionPolicy
from nsdata.fallback.reentry import Graduated, ReentryPolicy
from nsdata.fallback.watch_policy import ProcessLimits, WatchPolicy

DOCS = Path(__file__).parents[1] / "docs"
MS, SECOND, GB = 10**6, 10**9, 1 << 30


def of(*sets: str) -> Settings:
    return Settings.load(sets=sets)


def test_defaults_are_those_of_the_deciders() -> None:
    assert WatchSettings().build() == WatchPolicy()
    assert WatchSettings().limits("worker 0") == ProcessLimits(max_rss_bytes=4 * GB)
    assert RestoreSettings().build(DropMeter()).policy == ReentryPolicy()
    assert RestoreSettings().build(DropMeter()).meter.threshold == 0.9
    assert ProtectionSettings().build() == ProtectionPolicy()
    assert BestEffortSettings().build("q") == BestEffort("q")
    assert ExposureSettings().build().status() == {}


def test_limits_are_found_by_name_then_by_kind() -> None:
    watch = of(
        "watch.heartbeat=1s",
        "watch.heartbeat-of.worker=300ms",
        "watch.heartbeat-of.worker 1=400ms",
        "watch.max-memory=0",
        "watch.max-memory-of.worker=1gb",
    ).watch
    assert watch.limits("worker 0") == ProcessLimits(300 * MS, 60 * SECOND, GB)
    assert watch.limits("worker 1").heartbeat_ns == 400 * MS
    assert watch.limits("worker-12").heartbeat_ns == 300 * MS
    assert watch.limits("port") == ProcessLimits(SECOND, 60 * SECOND, None)


def test_the_meter_of_the_share_is_like_the_drop_meter() -> None:
    given = of("drop-meter.window=10s", "drop-meter.interval=2s", "restore.drop-threshold=0.5")
    meter = given.restore.build(given.drop_meter.build()).meter
    assert (meter.window_ns, meter.interval_ns) == (10 * SECOND, 2 * SECOND)
    assert (meter.threshold, meter.minimum_packets) == (0.5, 200)


@pytest.mark.parametrize(
    ("steps", "texts"),
    [
        ("[5%:1s, 100%:2m]", ["5%:1s", "100%:2m"]),
        ("0.5%:90s,100%:1h", ["0.5%:90s", "100%:1h"]),
    ],
)
def test_steps_of_re_entry(steps: str, texts: list[str]) -> None:
    policy = of(f"restore.steps={steps}", "restore.graduated=always").restore.build(DropMeter())
    assert [step.text for step in policy.policy.steps] == texts
    assert policy.policy.graduated is Graduated.ALWAYS


def test_segments_and_rules() -> None:
    given = of(
        "exposure.action.guest=block",
        "exposure.max-bytes.dmz=1gb",
        "exposure.max-time.dmz=90s",
        "protection.adaptive.mode=auto",
        "protection.adaptive.exempt=2001,2002",
    )
    exposure = given.exposure.build()
    assert exposure.action("guest") is SegmentAction.BLOCK
    dmz = exposure.status()["dmz"]
    assert (dmz["max_bytes"], dmz["max_ns"]) == (GB, 90 * SECOND)
    policy = given.protection.build()
    assert (policy.adaptive, policy.exempt) == (Adaptive.AUTO, {2001, 2002})


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["watch.heartbeat=150ms"], r"watch\.heartbeat 150ms must be at least twice watch\.stall"),
        (["watch.heartbeat-of.port=1ms"], r"watch\.heartbeat 1ms must be at least twice"),
        (["watch.stall=10ms"], r"watch\.stall 10ms must be longer than watch\.interval"),
        (["watch.interval=10us"], r"watch\.interval 10us; legal: at least 1ms"),
        (["protection.window=1ms"], r"protection\.window 1ms; legal: at least 10ms"),
        (["watch.crashes=0"], r"watch\.crashes = '0'.*greater than or equal to 1"),
        (["watch.start-grace=0"], r"watch\.start-grace 0ns must be longer than 0"),
        (["watch.memory-clear-share=2"], r"watch\.memory-clear-share = '2'"),
        (["watch.max-memory-of.port=x"], r"watch\.max-memory-of\.port = 'x': legal: a size"),
        (["restore.steps=1%:60s"], r"steps \[1%:1m\] must grow and end with 100%"),
        (["restore.steps=1:60s"], r"step '1:60s'; legal: "),
        (["restore.graduated=maybe"], r"restore\.graduated = 'maybe'.*'automatic'"),
        (["restore.wait=2h"], r"restore\.wait-max 1h must not be shorter than restore\.wait"),
        (["restore.drop-threshold=1"], r"restore\.drop-threshold = '1'"),
        (
            ["exposure.action.a=block", "exposure.max-bytes.a=1gb"],
            r"exposure\.max-bytes\.a says how much may pass, but exposure\.action\.a is block",
        ),
        (["exposure.action.a=allow"], r"exposure\.action\.a = 'allow': legal: 'permit' or 'block'"),
        (["exposure.refill=0"], r"exposure\.refill 0ns"),
        (["protection.loss=1"], r"protection\.loss = '1'"),
        (["protection.window=0"], r"protection\.window 0ns"),
        (["protection.adaptive.calm=0"], r"protection\.adaptive\.calm 0ns"),
        (["protection.adaptive.exempt=[0]"], r"protection\.adaptive\.exempt"),
        (["protection.adaptive.mode=on"], r"protection\.adaptive\.mode = 'on'"),
        (["protection.best-effort.latency=0"], r"protection\.best-effort\.latency 0ns"),
    ],
)
def test_what_makes_no_sense_is_refused_with_key_value_and_what_is_legal(
    sets: list[str], said: str
) -> None:
    with pytest.raises(SettingError, match=said):
        of(*sets)


def test_a_file_that_errs_is_named_with_its_line(tmp_path: Any) -> None:
    path = tmp_path / "nsdata.toml"
    path.write_text("[watch]\ncrashes = 2\n\n[exposure.max-time]\ndmz = 'soon'\n")
    with pytest.raises(SettingError, match=r"nsdata\.toml:5: exposure\.max-time\.dmz = 'soon'"):
        Settings.load(config=path)


def test_values_are_told_in_their_units() -> None:
    rows = {name: value for name, value, _ in settings_rows(of("watch.heartbeat=1500ms"))}
    assert rows["watch.heartbeat"] == "1500ms"
    assert rows["watch.max-memory"] == "4gb"
    assert rows["protection.adaptive.mode"] == "name"


@pytest.mark.parametrize(
    ("document", "groups"),
    [("watch.md", ("watch", "restore", "exposure")), ("protections.md", ("protection",))],
)
def test_the_documents_hold_every_setting_with_its_default(
    document: str, groups: tuple[str, ...]
) -> None:
    def rows(text: str) -> dict[str, str]:
        lines = [line for line in text.splitlines() if line[:3] == "| `"]
        return {line.split("`")[1].removesuffix(".NAME"): line.split("|")[2] for line in lines}

    known = {key: default for key, default in rows(settings_table()).items() if key in TREE.keys}
    told = rows((DOCS / document).read_text())
    wanted = {key: text for key, text in known.items() if key.split(".")[0] in groups}
    assert {key: told.get(key, "").strip() for key in wanted} == {
        key: text.strip() for key, text in wanted.items()
    }
